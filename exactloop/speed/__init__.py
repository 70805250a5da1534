"""How fast a script trains, what its steps' time goes into, and what would make it faster.

Read `command.py`, then `config.py` for what is measured, `trying.py`, `child.py` and `measuring.py` for how,
`behind.py` for what is left of it, `telling.py` for how it is said, and `advice.py` for what to do.
"""
