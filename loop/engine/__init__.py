"""What is compiled and runs: many steps in one call.

Read `chunk.py` first, the compiled loop, and `body.py`, its steps: the step as it was traced (`trace.py`, with
`returned.py`), what hooks have in it (`inside.py`), its ring of values (`ring.py`), its means (`means.py`) and up to
where it runs (`bound.py`). `way.py` says how the body is called, and `chunk_result.py` what comes back:

    in one call; of a stream whose end nobody knows         one_call.py, while_loop.py
    one by one, as Python makes batches                     one_by_one.py
    in a program of XLA, cut by time                        in_cuts.py, cut.py, program.py
    in one that is handed blocks of batches                 in_blocks.py, blocks.py, feed.py: streamed.py, handed.py

Of several workers: `several.py`, `averaged.py`, `measured.py`. Around it: `results.py` (metrics), `purity.py` (what an
evaluation must put back), `unfit.py` (what XLA cannot have) and `clock.py`. It may import everything below: `data`,
`state`, `exact`, `errors`.
"""
