"""Pipelines made anew, so that each pass is a function of a seed and of its number.

Read `pipeline.py`, which says what comes of a dataset. `stages.py` makes a graph of its stages (`hidden.py` of
those of which Python knows nothing), and `emit.py` makes that graph again with other operations in the place of some:
`changing.py` says of which, `copies.py` makes the others as they were, and `places.py` counts those that get a seed of
their own. `seeds.py` says where the numbers come from.
Where a stage or an operation is made anew:

    shuffle, repeat, random, cache, options                             orders.py
    rows of arrays that are shuffled                                    late_rows.py, shuffled.py
    map, filter, flat_map, interleave, scan, reduce, group_by_window    maps.py
    what draws in functions: tf.random, tf.image, generators, Keras     draws.py, samplers.py, pools.py
    conditions, loops and calls in functions                            calls.py
    from_generator, py_function, numpy_function                         python.py
    what would read ahead of Python that draws                          alone.py
    the names of files, of which each of several workers reads some     files.py

It may import `exact`.
"""
