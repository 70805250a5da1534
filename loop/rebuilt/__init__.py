"""Pipelines made anew, so that each pass is a function of a seed and of its number.

Read `pipeline.py`, which says what comes of a dataset; `stages.py` makes a graph of it, `emit.py` makes that graph
again with other operations in the place of some: `orders.py` of those that shuffle and repeat, `maps.py` of those that
call functions, `draws.py` and `samplers.py` of what draws in these, `python.py` of what calls Python, `alone.py` of
what would read that ahead. `seeds.py` says where numbers come from. It may import `exact`.
"""
