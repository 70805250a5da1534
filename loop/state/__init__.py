"""What a resumed run needs, as one object that can be saved, compared and restored.

Read `training_state.py`; the others say where things are in it: `position.py`, `randomness.py`, `settings.py`,
`derived.py`, `overridden.py`, `history.py`, `rates.py`. `variables.py`, `gathering.py` and `plain.py` find and hold it,
`differences.py` compares two, and `beside.py` says by what workers compare theirs. `rows_in_memory.py` has what is
saved once: the rows that data are made of, where `settled.py` says that others may be. It may import `exact` and
`errors`.
"""
