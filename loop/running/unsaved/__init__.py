"""What hooks have and no checkpoint holds, which is warned of at the end of an epoch.

Read `variables.py`: variables that are no part of the state, and all that is said. `counters.py` is about plain values,
lists and the like, of which `used.py` knows by the instructions of functions what they do with them; `begun.py` about
what is set as a run or an epoch begins; `own_files.py` about files that no resume cuts back.

It imports nothing of the room around it.
"""
