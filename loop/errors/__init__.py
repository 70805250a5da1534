"""What is said when something cannot be: which argument, which line of the user's, and what to write instead.

Read `calls.py`, the decorator of public constructors, `members.py`, that of what is asked of their objects, and
`tracebacks.py`. What an argument may be is in `kinds.py`
and `names.py`, what to write for it in `instead.py`, `elsewhere.py`, `keras_arguments.py` and `remedies.py`; what
TensorFlow has said is read by `op_errors.py` and `theirs.py`. `later.py` and `readonly.py` are values that say when
they are misused. It imports nothing of the other rooms.
"""
