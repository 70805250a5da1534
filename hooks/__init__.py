"""Hooks for `loop.Loop`: each in its own file, each working alone."""

from hooks.checkpoint import Checkpoint
from hooks.checkpoint_manifest import CorruptCheckpoint
from hooks.checkpoint_restore import restore
from hooks.early_stopping import EarlyStopping
from hooks.preemption import Preemption
from hooks.profile import Profile
from hooks.progress import Progress
from hooks.prove import Proof, prove
from hooks.tensorboard import TensorBoard

__all__ = [
    "Checkpoint",
    "CorruptCheckpoint",
    "EarlyStopping",
    "Preemption",
    "Profile",
    "Progress",
    "Proof",
    "TensorBoard",
    "prove",
    "restore",
]
