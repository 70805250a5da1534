"""Where batches come from: arrays in memory, `tf.data` pipelines, and sources in Python.

`source.py` says what a source is, and `coerce.py` makes one of what a user gives: `arrays.py`, `stream.py` (its
`own_files.py` for workers each of which reads files of its own), `indexed.py`, `stateful.py`, `constant.py`. `fed.py`
is for all those whose batches Python makes before each step (`at_hand.py`); `blocks.py` is what a program of XLA is
given, and `fetched.py` what was read for it and is yet to be trained.

Below them, each with a word of its own on what it is for:

    python/     batches that Python makes: items by their numbers, iterators that can say where they are
    pipelines/  a dataset as the user wrote it, the dataset of each epoch, data that are read again
    orders/     the rows that data are made of, and the order in which they are visited
    objects/    what things of the program keep and change while they make batches: their state

It may import `state`, `exact`, `rebuilt` and `errors`.
"""
