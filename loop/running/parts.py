"""What a loop is made of, and the training state that is gathered from it."""

from collections.abc import Callable, Mapping, Set
from typing import NamedTuple

import tensorflow as tf

from loop.data.orders.pool import Pool
from loop.data.own_files import OwnFiles
from loop.data.source import Data
from loop.data.stream import StreamData
from loop.engine.clock import Clock
from loop.engine.traced.bound import StopBound
from loop.engine.traced.means import Means
from loop.engine.traced.several import Several
from loop.hook import has_state
from loop.registry import HookRegistry
from loop.running.limits import Limit
from loop.running.schedule import Schedule
from loop.state.derived import Derived
from loop.state.history import History
from loop.state.plain import Kept
from loop.state.position import PositionState
from loop.state.randomness import random_streams
from loop.state.settings import Setting, settings
from loop.state.training_state import TrainingState
from loop.steps import Step
from loop.stops import Stops
from loop.workers.cluster import Workers


class Parts(NamedTuple):
    """What a loop is made of.

    Attributes:
        step: The train step.
        data: The train data.
        evaluations: The evaluations, and when each is due.
        given: The user's `state=`.
        hooks: The hooks.
        position: Counts the steps.
        clock: Counts the time.
        bound: Makes the compiled functions return early.
        history: The values of the epochs.
        limit: How many batches there are at most in an epoch, and in an evaluation.
        stops: What a run is asked to reach, and who has asked for its end.
        jit_compile: Whether XLA compiles the loop, and evaluations on batches that it can have.
        workers: This process among the workers.
        several: What tracing needs to know of them, if there are several.
        pool: The rows that the data are made of.
    """

    step: Step
    data: Data
    evaluations: Schedule
    given: Mapping[str, object]
    hooks: HookRegistry
    position: PositionState
    clock: Clock
    bound: StopBound
    history: History
    limit: Limit
    stops: Stops
    jit_compile: bool
    workers: Workers
    several: Several | None
    pool: Pool

    @property
    def steps(self) -> dict[str, Step]:
        """The steps by name: "train", and those of the evaluations."""
        return {"train": self.step, **{each.name: each.step for each in self.evaluations}}

    @property
    def evaluated(self) -> dict[str, Data]:
        """The data of the evaluations, by the names of these."""
        return {each.name: each.data for each in self.evaluations}

    def gather(self, means: Means, *, derived: Derived | None = None) -> TrainingState:
        """Gathers everything that a resumed run needs."""
        self.position.seen = self.data.seen  # its path is `position/seen/digest`
        own = {
            "clock": self.clock,
            "history": self.history,
            "means": means,
            "metrics": self.step.variables(),
            "evaluations": {evaluation.name: evaluation for evaluation in self.evaluations},
            # Gathered anew for each run, because Keras may have made a global generator meanwhile.
            "random": random_streams(),
            "hooks": {hook.name: hook for hook in self.hooks},
            "hook_states": {
                each.name: Kept(each.get_state, each.set_state, f"hook {each.name!r}")
                for each in self.hooks
                if has_state(each)
            },
        }
        own |= {"accumulated": self.step.kept} if self.step.kept else {}
        data, evaluated = self.data, self.evaluated
        state = TrainingState(self.given, own, position=self.position, data=data, evaluated=evaluated, derived=derived)
        state.limits, state.passed = self.limit.said(), self.stops.passed
        state.apart = data.shard if isinstance(data, OwnFiles) else None
        state.goes_by = data.goes_by if isinstance(data, OwnFiles | StreamData) else tuple
        state.sketches = {name: step.sketch for name, step in self.steps.items()}
        return state

    def settings(
        self,
        state: TrainingState,
        *,
        is_constant: Callable[[tf.Variable], bool] = lambda variable: True,
        used: Set[int] | None = None,
    ) -> dict[str, Setting]:
        """Returns what the program has set, if nothing was trained or restored yet; see `settings`.

        Before it is known what the steps do, all variables count: more than there will be, and so more than is
        compared.
        """
        known = {id(variable) for variable in state.given().values()} if used is None else used
        # What a layer derives from its variables was not set by the program.
        derived = {id(variable) for variable in state.derived.variables()}
        return settings(self.given, state.given(), is_constant=is_constant, used=known - derived)
