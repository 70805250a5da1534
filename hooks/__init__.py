"""Hooks for `loop.Loop`: each in its own file, each working alone."""

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


def __getattr__(name: str) -> object:
    if name in ("prove", "Proof"):
        raise ImportError(f"{name} is in another package now: write from exactloop import {name}.")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
