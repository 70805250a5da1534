"""What the first of several workers, which saves, asks of the others.

`followers.py` has them restore what it has restored, and compares what they hold before a commit; `told.py` is what
they say, and `parcel.py` tensors as bytes.

It may import all rooms beside it.
"""
