"""Hooks for `loop.Loop`: each in its own file, each working alone.

They are imported when one of them is asked for. What only reads the files of runs, as the command does, goes without
TensorFlow.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hooks.checkpoint import Checkpoint, CorruptCheckpoint, restore
    from hooks.early_stopping import EarlyStopping
    from hooks.export import Export
    from hooks.keras_callbacks import KerasCallbacks
    from hooks.learning_rate import LearningRate
    from hooks.metrics_log import MetricsLog
    from hooks.nan_guard import NaNGuard
    from hooks.optuna_pruning import OptunaPruning
    from hooks.preemption import Preemption
    from hooks.profile import Profile
    from hooks.progress import Progress
    from hooks.reduce_lr_on_plateau import ReduceLROnPlateau
    from hooks.tensorboard import TensorBoard
    from hooks.time_budget import TimeBudget
    from hooks.tracker import Tracker
    from hooks.weight_average import WeightAverage
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
