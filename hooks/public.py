"""All hooks, imported: TensorFlow comes with them, which takes seconds. See `__init__.py`."""

from hooks.checkpoint import Checkpoint as Checkpoint
from hooks.checkpoint import CorruptCheckpoint as CorruptCheckpoint
from hooks.checkpoint import restore as restore
from hooks.early_stopping import EarlyStopping as EarlyStopping
from hooks.export import Export as Export
from hooks.keras_callbacks import KerasCallbacks as KerasCallbacks
from hooks.learning_rate import LearningRate as LearningRate
from hooks.metrics_log import MetricsLog as MetricsLog
from hooks.nan_guard import NaNGuard as NaNGuard
from hooks.optuna_pruning import OptunaPruning as OptunaPruning
from hooks.preemption import Preemption as Preemption
from hooks.profile import Profile as Profile
from hooks.progress import Progress as Progress
from hooks.reduce_lr_on_plateau import ReduceLROnPlateau as ReduceLROnPlateau
from hooks.tensorboard import TensorBoard as TensorBoard
from hooks.time_budget import TimeBudget as TimeBudget
from hooks.tracker import Tracker as Tracker
from hooks.weight_average import WeightAverage as WeightAverage
