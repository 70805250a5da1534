"""The manifest: the commit record of a checkpoint, in a form in which no damage goes unnoticed.

Read `manifest.py`, then `shape.py`, what it looks like in each format and has to say. `limit.py` is for what somebody
else may have written there. `environment.py` and `writer.py` are what it says: versions, and who wrote
it. `tensors.py` reads values, by what TensorFlow calls what has a path in the state; `rows.py` is what the file of rows
in memory is made of.

It imports none of the other rooms; the manifest goes without TensorFlow.
"""
