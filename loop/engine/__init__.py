"""What is compiled and runs: many steps in one call.

Read `chunk.py` first, the compiled loop. What stands in it is `traced/`: the step as it was traced, with what is done
before and after it. How it is called is `ways/`: in one call, one by one, or as a program of XLA. Around it:
`purity.py` (what an evaluation must put back) and `clock.py` (training time, and what is due by it).

It may import everything below: `data`, `state`, `exact`, `errors`.
"""
