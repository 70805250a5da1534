"""Where batches come from: arrays in memory, `tf.data` pipelines, and sources in Python.

Read `arrays.py`, which says in the protocol `Data` what a source is, then `stream.py`; `epochs.py` and `replay.py` are
for datasets that functions make, or that have to be read again. Sources in Python begin with `fed.py`: `indexed.py` and
`stateful.py` are two of them, which read ahead by `ahead.py`. It may import `state`, `exact` and `errors`.
"""
