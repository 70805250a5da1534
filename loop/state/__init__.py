"""What a resumed run needs, as one object that can be saved, compared and restored.

Read `training_state.py`; the others say where things are in it: `position.py`, `randomness.py`, `settings.py`,
`derived.py`, `overridden.py`. It may import `exact` and `errors`.
"""
