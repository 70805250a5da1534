"""How the workers of a script are started and watched, on this machine; without TensorFlow, so it costs nothing.

Read `command.py`, then `places.py` (where they listen), `devices.py` (what they compute on), `keeper.py` (why none is
left behind), `output.py` (what is seen of them), `worker.py` (one of them), `crew.py` (all of one start) and
`launcher.py` (starts them again).
"""
