"""What `loop.py` and `run.py` go through, from what a program gives to the end of a run.

In this order: `limits.py` and `schedule.py` look at what is given, `assembled.py` makes `parts.py` of it, `compiled.py`
is what is traced for a loop, once, and `making.py` says when that is, and what is restored before and after it.
`finished.py` knows whether anything is left to run, `caught_up.py` what comes after a run of which more is complete,
and `ended.py` which runs of this process would go on if it were started again. In a round, `moments.py` is what hooks
are told, and `agreed.py` what all workers agree on; `alike.py` compares their programs at the start. What no checkpoint
would hold is found by `audits.py`: of the steps and the data, and in `unsaved/` of hooks; `drawn_in_trace.py` finds a
step that the next process would trace otherwise, and `idle.py` one that trains nothing. `alone.py` lets one train or
evaluate at a time, and `turns.py` has loops that share a step train in turns. `facts.py` is what hooks and tools may
ask a loop. `dry_run.py` and `rehearsal.py` train, and leave nothing behind.

It may import all that `loop` has but `loop.py`, `run.py` and `rounds.py`.
"""
