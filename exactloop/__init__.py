"""Tools for people and for CI: the command, and the proof that a script can be resumed exactly.

It may import `hooks` and `loop`, and neither of them imports it. Read `prove.py`, then `proof/`. The command is in
`cli.py`.
"""

from exactloop.prove import Proof, prove

__all__ = ["Proof", "prove"]
