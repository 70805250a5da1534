"""A compiled GradientTape training loop with lifecycle events and exact resume.

Read `loop.py`, then `run.py` and `rounds.py`, one run in order, and `stops.py`, which says when it ends. What is given
to a loop: `steps.py`, `supervised.py`, `keras_steps.py`, `evaluation.py`, and what hooks are: `events.py`,
`triggers.py`, `hook.py`, `registry.py`. On the ground floor: `findings.py` (why a run would not be exact), `digest.py`,
`comparable.py` (with what others have saved), `handles.py` (by what a variable is known again), `tensors.py`,
`numbered.py`, `logs.py`, `standard.py`.

docs/architecture.md has the rooms below, and what may import what. Nothing of `hooks` is imported but by `registry.py`,
when it is given callbacks of Keras.
"""

from loop import standard
from loop.data.arrays import ArrayData
from loop.data.indexed import IndexedData
from loop.data.stateful import StatefulData
from loop.data.stream import StreamData
from loop.digest import digest
from loop.evaluation import Evaluation
from loop.events import Event, Moment, RunResult
from loop.findings import Finding, InexactRun
from loop.hook import Hook
from loop.keras_steps import keras_steps
from loop.loop import Loop
from loop.registry import HookRegistry
from loop.state.training_state import TrainingState
from loop.steps import Step
from loop.supervised import supervised
from loop.triggers import NEVER, At, Every, Halt, Trigger
from loop.workers.joining import connect
from loop.workers.sums import average, total

__all__ = [
    "NEVER",
    "ArrayData",
    "At",
    "Evaluation",
    "Event",
    "Every",
    "Finding",
    "Halt",
    "Hook",
    "HookRegistry",
    "IndexedData",
    "InexactRun",
    "Loop",
    "Moment",
    "RunResult",
    "StatefulData",
    "Step",
    "StreamData",
    "TrainingState",
    "Trigger",
    "average",
    "connect",
    "digest",
    "keras_steps",
    "supervised",
    "total",
]

__version__ = "0.1.0"

standard.occupy()  # also for what is done without a run
