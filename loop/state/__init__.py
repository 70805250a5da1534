"""What a resumed run needs, as one object that can be saved, compared and restored.

Read `training_state.py` (`captured.py` is what it was at one instant); the others say where things are in it:
`position.py`, `randomness.py`, `settings.py`, `derived.py`, `overridden.py`, `history.py`, `rates.py`. `variables.py`,
`weights.py`, `gathering.py` and `plain.py` find and hold it, `differences.py` and `trainable.py` compare two, and
`beside.py` says by what workers compare theirs. `resumable.py` is what it asks of data. `rows_in_memory.py` has what is
saved once: the rows that data are made of, where `settled.py` says that others may be. It may import `exact` and
`errors`.
"""
