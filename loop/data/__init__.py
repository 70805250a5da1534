"""Where batches come from: arrays in memory, and `tf.data` pipelines.

Read `arrays.py`, which says in the protocol `Data` what a source is, then `stream.py`; `epochs.py` and `replay.py` are
for datasets that functions make, or that have to be read again. It may import `state`, `exact` and `errors`.
"""
