"""Takes over what is in a checkpoint.

`resume.py` restores the whole state, after `fit.py` has said whether a run can go on from there, and what has changed;
`saved.py` says what would be restored, as the manifest has it; `added.py` restores what comes later, and `begin.py`
decides what a run that begins does of all that.

It may import `commits`, `disk` and `record`.
"""
