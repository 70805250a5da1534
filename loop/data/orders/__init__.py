"""The rows that data are made of, and the order in which they are visited.

`order.py` makes the order of a pass of a seed (`seed.py`), `array_orders.py` that of the next epoch while this one runs
(`prefetch.py`), for the arrays of `placed.py`. What a program has shuffled before it gave it goes back to where it was
in the first process: `rows.py` tells rows by what is in them, `array_rows.py` and `lists.py` put them back,
`one_order.py` and `pool.py` know of data that were made of one order, as when one is split into two. `arguments.py` has
the numbers that were drawn for sizes and seeds.

It imports none of the other rooms.
"""
