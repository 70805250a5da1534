"""Tools for people and for CI: the command, the proof that a script can be resumed exactly, the search for a rate.

It may import `hooks` and `loop`, and neither of them imports it. Read `proving.py`, then `proof/`; `batch_size.py` and
`range_test.py` stand alone, and `speed/` is a room of its own. The command is in `cli.py`, with `options.py` and
`helps.py`, `looking.py` (without TensorFlow) and `commands.py`; `wanted.py` is what these are given, `printing.py` what
they print. `watching/` looks at runs, `launching/` starts workers. `script.py` runs scripts, and `quiet.py` begins
TensorFlow.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from exactloop.batch_size import find_batch_size
    from exactloop.proving import Proof, prove
    from exactloop.range_test import find_learning_rate
else:

    def __getattr__(name: str) -> object:
        """Imports a tool when it is asked for: the command's help is there without TensorFlow."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from exactloop import batch_size, proving, range_test

        rooms = {"find_batch_size": batch_size, "find_learning_rate": range_test}
        return getattr(rooms.get(name, proving), name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


__all__ = ["Proof", "find_batch_size", "find_learning_rate", "prove"]
__version__ = "0.1.0"
