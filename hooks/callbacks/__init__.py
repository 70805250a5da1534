"""What `keras_callbacks.py` needs.

Read `state.py` first, what is saved of a callback, and then `values.py`, `writing.py` and `reading.py`, `objects.py`
and `records.py`, `things.py`, which thing is which, and `closed.py`, what is only seen to change. In `kinds.py` is what
is known of the callbacks of Keras, in `model.py` the model that all of them are told of, in `asked.py` who of them has
asked for the end, in `told.py` what is said where they are not as in `fit`.
"""
