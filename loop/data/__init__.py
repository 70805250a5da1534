"""Where batches come from: arrays in memory, `tf.data` pipelines, and sources in Python.

`source.py` says what a source is. Arrays: `arrays.py`, their rows in `placed.py`, their order in `array_orders.py`.
Pipelines: `stream.py`, whose datasets come from `epochs.py`, which reads some of them again by `replay.py`; what comes
of one that the user wrote is in `written.py`. Sources in Python begin with `fed.py` and read ahead by `ahead.py`:
`indexed.py`, with `indexable.py`, what may be given, and `item_batches.py`, how it is read; and `stateful.py`, with
`iterated.py` and `tried.py`. It may import `state`, `exact`, `rebuilt` and `errors`.
"""
