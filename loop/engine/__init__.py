"""What is compiled and runs: many steps in one call.

Read `chunk.py` first, the compiled loop; it has its bound, its ring of values and its means from the files beside it.
`clock.py` and `purity.py` stand around it. It may import everything below: `data`, `state`, `exact`, `errors`.
"""
