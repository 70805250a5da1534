"""How fast a script trains, what its steps' time goes into, and what would make it faster.

Read `command.py`, then `config.py` for what is measured, `trying.py`, `child.py`, `behind.py` and `measuring.py` for
how, `telling.py` for how it is said, and `advice.py` for what to do.
"""
