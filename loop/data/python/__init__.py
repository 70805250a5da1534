"""Batches that Python makes.

Of items by their numbers: `indexable.py` (what they are read from), `items.py` (what one is as arrays),
`item_batches.py`, `item_rows.py` (what another process may have drawn of them), and `ahead.py`, the threads that read
ahead of the step. Of an iterator that can say where it is: `iterated.py`, and `tried.py`, its first batch, which is
read to see it and undone.

It may import `objects`.
"""
