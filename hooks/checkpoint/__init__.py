"""Saves the whole training state, and takes a run up again where it was.

Read `hook.py` (`arguments.py`, `best_metric.py`), then down the rooms, each with a word of its own on what it is for:

    resuming/  a checkpoint that is taken over: whether it fits, and what would be restored
    saving/    a snapshot of the state, and the thread that writes it
    workers/   what the first of several workers, which saves, asks of the others
    commits/   the protocol: what is committed, what is whole, what may go
    disk/      what that asks of a disk or an address, and who may write there
    record/    the manifest, the commit record of a checkpoint

`reader.py` is for scripts. `report.py`, `differences.py` and `average.py` look at what is there, and lock nothing.

It may import `loop`, and the helpers that all hooks share. Who only looks at what is there (`report.py`) goes without
TensorFlow, so the hook is imported when it is asked for.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hooks.checkpoint.hook import Checkpoint
    from hooks.checkpoint.reader import restore
    from hooks.checkpoint.record.manifest import CorruptCheckpoint
else:

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import hooks.checkpoint.hook
        import hooks.checkpoint.reader

        return getattr(hooks.checkpoint.reader if name == "restore" else hooks.checkpoint.hook, name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


__all__ = ["Checkpoint", "CorruptCheckpoint", "restore"]
