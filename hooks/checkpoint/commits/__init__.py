"""The protocol of checkpoints: what is committed, what is whole, and what may go.

Read `store.py`, then `erasing.py` (how one goes), `retention.py` (which do) and `ranks.py` (which are best),
`aside.py` (what is set aside when a run goes back), `pin.py` (one that stays while it is read), `beside.py` (reading
while a trainer writes there), and `index.py`, which looks at TensorFlow's own index before TensorFlow does.

It may import `disk` and `record`.
"""
