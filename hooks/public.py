"""All hooks, imported: TensorFlow comes with them, which takes seconds. See `__init__.py`."""

# ruff: noqa: F401

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
