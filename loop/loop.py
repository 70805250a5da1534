"""The training loop."""

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import ClassVar, NoReturn, TypeVar

import keras
import tensorflow as tf

from loop import standard
from loop.arguments import OF_LOOP, OF_RUN, as_evaluations, check_compilable, check_state, check_totals
from loop.compiled import Compiled
from loop.data.arrays import ArrayData
from loop.data.coerce import Given, as_data
from loop.data.indexed import IndexedData
from loop.data.source import Data
from loop.digest import Seen
from loop.dry_run import leaving_nothing
from loop.engine.bound import Bound
from loop.engine.clock import Clock
from loop.engine.several import several_of
from loop.errors.calls import explained
from loop.errors.tracebacks import in_user_lines
from loop.evaluation import Evaluation, check_eval_every
from loop.events import Event, RunResult
from loop.findings import Finding
from loop.hook import Hook
from loop.limits import Limit, first_batches
from loop.making import Making
from loop.parts import Parts
from loop.registry import HookRegistry
from loop.rehearsal import Rehearsal
from loop.run import Run
from loop.schedule import Schedule
from loop.state.history import History
from loop.state.position import Position
from loop.state.rates import optimizers_by_path
from loop.state.training_state import TrainingState
from loop.steps import Step, Values, as_step
from loop.stops import RollBack, Stops
from loop.tensors import Nest
from loop.triggers import NEVER, Every, Trigger, of_steps_only
from loop.workers.cluster import Workers, here

log = logging.getLogger("exactloop")
Function = TypeVar("Function", bound=Callable[..., object])


@explained(OF_LOOP)
class Loop:
    """A training loop that runs as one compiled function from one wanted step to the next.

    Attributes:
        hooks: The hooks; more may be added.
        witnesses: Functions that are called with each new loop, for tools that watch all loops of a process.

    Args:
        train_step: A `Step`, or a function from a batch to `{name: scalar}`.
        data: `ArrayData`, `StreamData`, `IndexedData`, `StatefulData`, a batched `tf.data.Dataset`, or a
            `keras.utils.PyDataset`.
        state: What the step changes, by name: Keras models, layers, optimizers, metrics, `SeedGenerator`s;
            `tf.Module`s, `tf.Variable`s, `tf.random.Generator`s; lists and dicts of them.
        evaluate: One `Evaluation`, or several with different names.
        eval_every: When to evaluate what has no `every` of its own; not by seconds, because results, and what hooks
            make of them, are state.
        hooks: The hooks, in the order in which they are called; callbacks of Keras may be among them.
        steps_per_epoch: For a bare dataset: after how many batches an epoch ends; see `StreamData`.
        limit_batches: To try a program: the largest number of batches in an epoch, and in an evaluation. The next epoch
            begins anew.
        overfit: To see whether a model can learn at all: trains on the first so many batches, the same in each epoch,
            and evaluates as many. Of `ArrayData`, not shuffled; or a `tf.data.Dataset`, kept in memory.
        jit_compile: Whether to compile the whole loop, and evaluations, into one program of XLA each: on a CPU several
            times as fast for small networks and recurrent ones, and slower with convolutions. Batches are dense
            tensors of numbers; has other bits than without.
        exact: Whether to refuse to run what could not be resumed exactly, with a list of all reasons; or else to log
            the list. See `audit`.

    Raises:
        TypeError, ValueError: If an argument cannot be used; the message says what would do.
    """

    witnesses: ClassVar[list[Callable[["Loop"], None]]] = []

    def __init__(
        self,
        train_step: Step | Callable[[Nest], Values],
        data: Given,
        *,
        state: Mapping[str, object],
        evaluate: Evaluation | Sequence[Evaluation] | None = None,
        eval_every: Trigger = Every(epochs=1),
        hooks: Sequence[Hook | keras.callbacks.Callback] = (),
        steps_per_epoch: int | None = None,
        limit_batches: int | None = None,
        overfit: int | None = None,
        jit_compile: bool = False,
        exact: bool = True,
    ) -> None:
        self._step, self._exact = as_step(train_step), exact
        self._limit = Limit(limit_batches, overfit)
        data = data if overfit is None else first_batches(data, overfit)
        steps_per_epoch = steps_per_epoch and self._limit.of(steps_per_epoch)
        self._data: Data = as_data(data, steps_per_epoch)
        if jit_compile:
            check_compilable(self._data)
        if isinstance(self._data, ArrayData | IndexedData):
            self._data.draw()
        self._given = check_state(state)
        check_eval_every("Loop(eval_every=...)", eval_every)
        self._evaluations = Schedule(as_evaluations(evaluate, self._step), eval_every)
        self.hooks = HookRegistry(hooks)
        self._position = Position()
        workers = here()
        evaluated = [each.data for each in self._evaluations]
        several = several_of(workers, self._given, self._data, evaluated, jit_compile=jit_compile)
        self._bound = Bound(together=several is not None)
        self._stops = Stops(self._bound.pull_in, together=several is not None)
        self._parts = Parts(
            step=self._step,
            data=self._data,
            evaluations=self._evaluations,
            given=self._given,
            hooks=self.hooks,
            position=self._position,
            clock=Clock(self._bound.pull_in),
            bound=self._bound,
            history=History(),
            limit=self._limit,
            stops=self._stops,
            jit_compile=jit_compile,
            workers=workers,
            several=several,
        )
        self._making = Making(self._parts, exact=exact)
        self._running, self._runner = threading.Lock(), 0
        self._run = Run(self, self._parts, self._making, exact=exact)
        for witness in self.witnesses:
            witness(self)

    @property
    def state(self) -> TrainingState:
        """Everything that a resumed run needs; from `SETUP` on."""
        return self._making.state

    def describe_data(self) -> str:
        """Returns what the data do in another way than they were written, so that they can be resumed exactly.

        Nothing is read for that. A line for each stage that shuffles, repeats, draws or calls Python, with what that
        depends on now; see `StreamData`.
        """
        said = {"training": self._data} | {each.name: each.data for each in self._evaluations}
        lines = [f"{name}: {change}" for name, data in said.items() for change in data.changes()]
        return "\n".join(lines) or "The data are read as they were written."

    @property
    def workers(self) -> Workers:
        """This process among those that train together: its `rank`, and their `count`."""
        return self._parts.workers

    @property
    def _built(self) -> Compiled:
        return self._making.compiled

    @property
    def graph(self) -> tf.Graph:
        """The train step as it was traced; from `SETUP` on, unless nothing is left to run."""
        return self._built.trace.graph

    @property
    def step(self) -> int:
        """Train steps completed since the very first start."""
        return self._position.place().step

    @property
    def epoch(self) -> int:
        """Epochs completed."""
        return self._position.place().epoch

    @property
    def step_in_epoch(self) -> int:
        """Train steps completed in the current epoch."""
        return self._position.place().step_in_epoch

    @property
    def running(self) -> bool:
        """Whether `run` is under way, in whatever thread."""
        return self._running.locked()

    @property
    def total_steps(self) -> int | None:
        """The step at which the run will end if nobody stops it; None before a run, or if nobody knows."""
        return self._stops.total_steps(self.steps_per_epoch)

    @property
    def total_epochs(self) -> int | None:
        """How many epochs are complete, the last one maybe in part, when the run ends if nobody stops it; None if
        nobody knows."""
        return self._stops.total_epochs(self.steps_per_epoch)

    @property
    def steps_per_epoch(self) -> int | None:
        """Train steps in an epoch; None if nobody knows before it ends."""
        return self._limit.of(self._data.steps_per_epoch)

    @property
    def metrics(self) -> dict[str, keras.Metric]:
        """The metrics of the train step and of evaluations, by the names under which their results are logged."""
        evaluated = {f"{each.name}_{name}": m for each in self._evaluations for name, m in each.step.measured().items()}
        return {**self._step.measured(), **evaluated}

    @property
    def train_names(self) -> tuple[str, ...]:
        """The names that `EPOCH_END` will log of training: of the step, and learning rates; from `SETUP` on."""
        return (*self._making.train_names, *self._making.rates.names)

    @property
    def evaluation_names(self) -> dict[str, tuple[str, ...]]:
        """The names that each evaluation will log, by its own name; from `SETUP` on."""
        return {evaluation.name: evaluation.names for evaluation in self._evaluations}

    @property
    def evaluated_batches(self) -> dict[str, tuple[int, int | None]]:
        """How many batches each evaluation has read in its latest pass, which may be under way, and how many there are,
        if that is known; by its name. To be read from any thread; from `SETUP` on."""
        return {evaluation.name: evaluation.read() for evaluation in self._evaluations}

    @property
    def optimizers(self) -> dict[str, keras.optimizers.Optimizer]:
        """The optimizers in `state=`, by the paths that the names of their learning rates have."""
        return optimizers_by_path(self._given)

    @property
    def rate_names(self) -> tuple[str, ...]:
        """The names under which learning rates are logged, as far as no step logs a value of that name."""
        return self._making.rates.names

    @property
    def reported_names(self) -> tuple[str, ...]:
        """The names that hooks announce, and may report in any round."""
        return self.hooks.reports.names

    @property
    def finished(self) -> str:
        """Why nothing is left to do of what `run()` was asked for, in a sentence; empty if something is.

        From `RUN_BEGIN` on.
        """
        return self._run.finished

    @property
    def spent(self) -> dict[str, float]:
        """The seconds of the latest run, so far, by what they went into; see `RunResult`. Empty before the first."""
        return self._run.spent.with_rest(self.hooks.seconds) if self._runner else {}

    def needs_halt(self, trigger: Trigger) -> bool:
        """Returns whether `on_steps` lacks something of what `STEP_END` would log at the steps of a trigger.

        That is: running results of metrics, and steps that `next_after` alone does not tell.
        """
        return bool(self._step.metrics) or not of_steps_only(trigger)

    @in_user_lines
    def on(
        self, event: Event | str, every: Trigger = NEVER, *, reports: Sequence[str] = ()
    ) -> Callable[[Function], Function]:
        """Decorates a function that is called at each such event; see `HookRegistry.on`."""
        return self.hooks.on(event, every, reports=reports)

    def stop(self, reason: str) -> None:
        """Ends the run after the step in progress; may be called from any thread.

        An evaluation is abandoned, or not begun, and made up for when the run is resumed.
        """
        self._stops.now(reason)

    def roll_back(self, why: str, *, latest: int | None = None) -> NoReturn:
        """Has the run go on from the newest state that was saved, as if it had been killed and started again.

        To be called by a hook in `on_step_end`, `on_eval_end` or `on_epoch_end`, where it raises what the loop waits
        for. Hooks hear `RUN_END`, with that as `moment.error`, and then `SETUP`; what they know of the steps that are
        undone goes with their state.

        Args:
            why: What to say if there is nothing to go on from, or the hook cannot be called here.
            latest: The last step that the state may be of; None: any.
        """
        if not self._position.torn:
            raise RuntimeError(f"A run is rolled back in on_step_end, on_eval_end or on_epoch_end. Asked for: {why}.")
        self.state.condemn(why)
        self._position.latest = latest
        raise RollBack(why)

    def rows(self, epoch: int, index: int) -> list[int] | None:
        """Returns the numbers of the rows in batch `index` of an epoch, both from 0; None if the data do not know."""
        return self._data.rows(epoch, index) if isinstance(self._data, ArrayData | IndexedData) else None

    @in_user_lines
    def evaluate(self) -> dict[str, float]:
        """Evaluates now and returns the results: no events, and no effect on any state.

        Raises:
            RuntimeError: If there is no evaluation, or the loop is running in another thread; or if something was
                changed in Python that is compiled into an evaluation.
        """
        if self._running.locked() and self._runner != threading.get_ident():
            raise RuntimeError("This loop is running in another thread. Evaluate in a hook, or when it has ended.")
        if not self._evaluations:
            raise RuntimeError("There is nothing to evaluate: this loop was made without evaluate=Evaluation(...).")
        self._making.build()
        self.state.derived.check()
        self._built.check(self.state, evaluating=True, at_length=True)
        held = self.state.hold()
        try:
            with self.workers.needed():
                for evaluation in self._evaluations:
                    self._built.evaluate(evaluation, abandon=lambda: False)
            return self._built.evaluated()
        finally:
            self.state.put_back(held)

    @contextlib.contextmanager
    def rehearse(self) -> Iterator[Rehearsal]:
        """Trains as `Rehearsal.train` is asked to, from the present state, and leaves no trace of that.

        No hook is called, nothing is evaluated, and the present epoch is read from its beginning. When it is left, all
        variables, random states and the place in the data are put back, bit for bit. Between calls of `train`,
        variables of the state may be assigned. Only what Python does by itself, as in a function of the data or in a
        step, is not undone.

        Raises:
            RuntimeError: If the loop is running.
        """
        with self._alone("Rehearse before a run or after it."):
            self._making.build_alone()
            self._built.check(self.state, at_length=True)
            with self.state.put_back_after():
                self._position.step_in_epoch.assign(0)
                self._built.reset()
                chunk, epoch = self._built.chunk, self._position.place().epoch
                yield Rehearsal(chunk, self._data, epoch, self._built.on_one_batch)

    @in_user_lines
    def dry_run(self) -> RunResult:
        """Trains one step and evaluates one batch, with all hooks and every event, and puts everything back.

        To be called before `run()`, to see within seconds whether all of a program works. Every `on_step_end` and every
        evaluation is due, checkpoints are saved, and what hooks write goes to a directory that is removed; callbacks of
        Keras, which write elsewhere, are left out, and so is what there is to resume. Files that a hook of your own
        writes stay, unless it overrides `before_dry_run`.

        Returns:
            The result of that step.

        Raises:
            RuntimeError: If something was trained or restored, or a run is under way.
            InexactRun: As `run()` raises it.
        """
        if self._running.locked() or self._making.begun or self.step:
            raise RuntimeError("A dry run is for the beginning, before run(). Make the loop anew, and begin with it.")
        self._making.build()
        with leaving_nothing(lambda: self.state, self.hooks, self._data.mark), self._limit.dry():
            try:
                return self.run(steps=1)
            finally:
                self._making.begun, self._runner = False, 0

    @in_user_lines
    def audit(self) -> list[Finding]:
        """Returns what would keep a run from being resumed exactly, as far as it can be seen in what was traced.

        That is: what the steps change and no checkpoint would hold; random numbers from streams that cannot be saved;
        calls of Python; data that do not come again in the same order. What hooks keep in Python cannot be seen.
        """
        self._making.build()
        return self._built.audit(self.state)

    def digest_batches(self) -> None:
        """Makes a digest of the batches of the current pass a part of the state, `position/seen/digest`.

        For tools that compare runs; to be called before the loop is first run or audited.
        """
        self._data.seen = self._data.seen or Seen()
        if self._parts.several:
            self._parts.several.read_apart(self._data)

    @explained(OF_RUN, kinds=False)
    def run(self, *, epochs: int | None = None, steps: int | None = None) -> RunResult:
        """Trains until that many epochs or steps are completed in all, whichever comes first, or somebody stops it.

        The totals count from the very first start, so a script that is finished and started again does nothing.

        Raises:
            ValueError: If neither is given or one is not positive.
            InexactRun: With `exact`, if `audit` finds anything.
            RuntimeError: If this loop is running, or an earlier run failed and nothing restored its state; or if layers
                were frozen or unfrozen, or anything else in Python was changed, that is compiled into the steps.
        """
        totals = check_totals(epochs, steps)
        with self._alone("A hook, or another thread, cannot run it at the same time."):
            self._runner = threading.get_ident()
            standard.occupy()
            self._stops.begin(*totals)
            self._run = Run(self, self._parts, self._making, exact=self._exact)
            with contextlib.ExitStack() as around, self.workers.needed():
                around.enter_context(self.hooks.calls.around(self))  # and left when the others need nobody any more
                return self._run.through()

    @contextlib.contextmanager
    def _alone(self, otherwise: str) -> Iterator[None]:
        if not self._running.acquire(blocking=False):
            raise RuntimeError(f"This loop is running. {otherwise}")
        try:
            yield
        finally:
            self._running.release()
