"""Saves the whole training state, and takes a run up again where it was.

Read `hook.py`, then `store.py`, the protocol of commits, `manifest.py`, the commit record, and `saver.py`.
`resume.py` goes the other way, and `reader.py` does for scripts. The others stand around these:

    the hook     arguments.py, contents.py, best_metric.py, retention.py, ranks.py
    workers      followers.py, told.py (what they say), parcel.py (tensors as bytes)
    a save       background.py (the thread), writing.py, snapshot.py, bundle.py, graph.py (names), state_file.py
    the store    stems.py (names), erasing.py, aside.py (what is set aside), pin.py (what is read), errors.py (damage)
    a manifest   shape.py, plausible.py, limit.py, environment.py, writer.py (versions); index.py (TensorFlow's own)
    the disk     files.py (what it has to do), directory.py (which it is), local.py, remote.py, lock.py, durable.py
    a resume     fit.py (what may differ), saved.py (what would be restored)
    to look      report.py, differences.py, average.py

It may import `loop`, and the helpers that all hooks share. Who only looks at what is there (`report.py`) goes without
TensorFlow, so the hook is imported when it is asked for.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hooks.checkpoint.hook import Checkpoint
    from hooks.checkpoint.manifest import CorruptCheckpoint
    from hooks.checkpoint.reader import restore
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
