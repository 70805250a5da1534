"""How the compiled loop is called.

`way.py` is what they have in common. Then, by what the data and the device ask for:

    all steps in one call                       one_call.py, while_loop.py
    one by one, as Python makes batches         one_by_one.py
    in a program of XLA, cut by time            in_cuts.py, cut.py, program.py
    in one that is handed blocks of batches     in_blocks.py, blocks.py, feed.py: streamed.py, handed.py

`unfit.py` and `lengths.py` say what no program of XLA can have in it, `other_operations.py` what to write instead. It
may import `traced`.
"""
