"""How fast a script trains, what its steps' time goes into, and what would make it faster.

Read `command.py`, then `config.py` for what is measured, `measuring.py` for how, and `advice.py` for what to do.
"""
