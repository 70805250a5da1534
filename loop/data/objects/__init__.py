"""What things of the program keep and change while they make batches: that is state, and a checkpoint has to hold it.

`slots.py` finds where a thing keeps values, `looks.py` all that it holds at one time, `changed.py` what of this it has
been seen to change; `uses.py` and `reached.py` say what it cannot change, and what it can see. `around.py` (Python in a
pipeline) and `progress.py` (`on_epoch_end`) are its two users; `kept_values.py` and `kept_batches.py` write values
down, `held_rows.py` all arrays and lists at once, and `keyed.py` makes the random streams of Python and NumPy functions
of numbers.

It imports none of the other rooms.
"""
