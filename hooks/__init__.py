"""Hooks for `loop.Loop`: each in its own file, each working alone.

They are imported when one of them is asked for. What only reads the files of runs, as the command does, goes without
TensorFlow.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hooks.public import *
else:

    def __getattr__(name: str) -> object:
        """Imports the hooks, all of them, and whatever they consist of."""
        if name in ("prove", "Proof"):
            raise ImportError(f"{name} is in another package now: write from exactloop import {name}.")
        if not name.startswith("__"):
            import hooks.public

            globals().update({each: getattr(hooks.public, each) for each in __all__})
            if name in globals():
                return globals()[name]
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


__all__ = [
    "Checkpoint",
    "CorruptCheckpoint",
    "EarlyStopping",
    "Export",
    "KerasCallbacks",
    "LearningRate",
    "MetricsLog",
    "NaNGuard",
    "OptunaPruning",
    "Preemption",
    "Profile",
    "Progress",
    "ReduceLROnPlateau",
    "TensorBoard",
    "TimeBudget",
    "Tracker",
    "WeightAverage",
    "restore",
]
