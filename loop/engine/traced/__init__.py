"""What stands in the compiled loop: a step, with all that is done before and after it.

Read `body.py`, then `trace.py`, a step that was traced once (`returned.py` and `results.py`: what it returns, and its
metrics). Around each step: what hooks have there (`inside.py`), the ring of values (`ring.py`), means (`means.py`), and
up to where it runs (`bound.py`). `chunk_result.py` is what comes back. Of several workers: `several.py`, `averaged.py`,
`measured.py`; what each would do otherwise is found in `decided.py` and `kept.py`, by `followed.py`. `made.py` is for
variables that are made while a step is traced, `drawn.py` for what it draws, `strategies.py` for what TensorFlow would
divide among devices instead.

It imports nothing of `ways`.
"""
