"""Pipelines of `tf.data`: which dataset each epoch has, and whether another process would make the same.

Read `written.py`, a dataset as the user wrote it, then `epochs.py`, the dataset of each epoch; `one_dataset.py` is for
one that all epochs have, `each_dataset.py` for those that a function makes (`of_epoch.py`), and `known.py` for what of
them stands in a checkpoint; `epoch_alone.py` sees what else a function goes by; `audited.py` looks for what keeps a run
from being resumed exactly. `replay.py` and `passes.py` are for data that are read again, `loaders.py`, `unseeded.py`
and `warned.py` for what drew when it was made, and `recalled.py` brings that back, as `exchanged.py` has it:
`python_rows.py` what Python has of it, `of_functions.py` what functions in TensorFlow have, and `layer_tables.py`
layers. `shares.py` is for the files of several workers. `iterators.py`, `cores.py` and `errors.py` know what TensorFlow
keeps, decides and says.

It may import `objects` and `orders`.
"""
