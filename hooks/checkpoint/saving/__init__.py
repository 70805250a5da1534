"""Writes the state as it was at one instant, while training goes on.

Read `saver.py`, one save after the other, then `snapshot.py`, what is copied of the state, `bundle.py`, TensorFlow's
files, `rows_file.py`, what is written once, and `contents.py`, what the manifest says of it. `background.py` is the
thread, `writing.py` the wait for one save.

It may import `commits`, `disk` and `record`.
"""
