"""Tools for people and for CI: the command, and the proof that a script can be resumed exactly.

It may import `hooks` and `loop`, and neither of them imports it. Read `proving.py`, then `proof/`. The command is in
`cli.py` and `commands.py`.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from exactloop.proving import Proof, prove

__all__ = ["Proof", "prove"]
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """Imports the proof when it is asked for: the command's help is there without TensorFlow."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from exactloop import proving

    return getattr(proving, name)
