"""What is said when something cannot be: which argument, which line of the user's, and what to write instead.

Read `calls.py`, the decorator of public constructors, and `tracebacks.py`. It imports nothing of the other rooms.
"""
