"""Where batches come from: arrays in memory, `tf.data` pipelines, and sources in Python.

`source.py` says what a source is, and `coerce.py` makes one of what a user gives. Then, by what they read:

    arrays        arrays.py; placed.py, array_orders.py (their rows, and the order of these), order.py;
                  rows.py, array_rows.py (rows that a program has shuffled), pool.py
    pipelines     stream.py; epochs.py (a dataset for each epoch), written.py (what the user wrote), of_epoch.py,
                  replay.py and passes.py (those that are read again), around.py (what Python in one keeps outside),
                  loaders.py, lists.py, unseeded.py (what drew when it was made), one_order.py, iterators.py, cores.py;
                  own_files.py and shares.py (of several workers, each of which reads files of its own)
    Python        fed.py (one batch before each step); indexed.py: indexable.py, items.py, item_batches.py, ahead.py
                  (threads), progress.py (what changes between passes); stateful.py: iterated.py, tried.py
    its state     changed.py, slots.py, looks.py, uses.py, reached.py (what a source changes and sees), kept_values.py,
                  kept_batches.py, keyed.py (random streams of their own)
    for the loop  at_hand.py, constant.py, blocks.py (for XLA), prefetch.py, errors.py

It may import `state`, `exact`, `rebuilt` and `errors`.
"""
