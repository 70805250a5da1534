"""What a run that goes on elsewhere is doing, read from its files alone: nothing is locked, nothing is written.

Read `watch.py`, the command, then `run.py`, which gathers what the files of one run say: `found.py` (which they are),
`growing.py` (what is new in one of them), `events.py`, `rows.py`, `series.py` and `saves.py` (what they say); then
`status.py`, what follows from that, and `picture.py`. TensorFlow is not needed for any of it.
"""
