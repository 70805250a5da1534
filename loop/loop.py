"""The training loop."""

import contextlib
import functools
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import ClassVar, NoReturn, TypeVar

import keras

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
from loop.engine.clock import Clock, Spent
from loop.engine.ring import LONGEST
from loop.errors.calls import explained
from loop.errors.readonly import ReadOnly
from loop.errors.tracebacks import in_user_lines
from loop.evaluation import Evaluation, check_eval_every
from loop.events import Event, Moment, RunResult
from loop.failures import Failures, with_notes
from loop.findings import Finding, report
from loop.finished import why_over
from loop.hook import Hook
from loop.limits import Limit, first_batches
from loop.making import Making
from loop.parts import Parts
from loop.registry import HookRegistry
from loop.rehearsal import Rehearsal
from loop.schedule import Schedule
from loop.state.history import History
from loop.state.position import Place, Position
from loop.state.rates import optimizers_by_path
from loop.state.training_state import TrainingState
from loop.steps import Step, Values, as_step
from loop.stops import RollBack, Stops
from loop.tensors import Nest
from loop.triggers import NEVER, Every, Halt, Trigger, of_steps_only

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
        jit_compile: Whether to compile the whole loop, and evaluations on `ArrayData`, into one program of XLA each: on
            a CPU several times as fast for small networks and recurrent ones, and slower with convolutions. For
            `ArrayData`; has other bits than without.
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
        self._bound = Bound()
        self._stops = Stops(self._bound.pull_in)
        self._clock = Clock(self._bound.pull_in)
        self._history = History()
        own = self._step, self._data, [*self._evaluations], self._given, self.hooks
        self._making = Making(
            Parts(*own, self._position, self._clock, self._bound, self._history, self._limit, jit_compile), exact=exact
        )
        self._running, self._runner = threading.Lock(), 0
        self._round: dict[str, float] = {}
        self._spent, self._place, self._resumed, self._over = Spent(), Place(0, 0, 0), False, False
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
    def _built(self) -> Compiled:
        return self._making.compiled

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
        evaluated = {f"{each.name}_{name}": m for each in self._evaluations for name, m in each.step.metrics.items()}
        return {**self._step.metrics, **evaluated}

    @property
    def train_names(self) -> tuple[str, ...]:
        """The names that `EPOCH_END` will log of training: of the step, and learning rates; from `SETUP` on."""
        return (*self._making.train_names, *self._making.rates.names)

    @property
    def evaluation_names(self) -> dict[str, tuple[str, ...]]:
        """The names that each evaluation will log, by its own name; from `SETUP` on."""
        return {evaluation.name: evaluation.names for evaluation in self._evaluations}

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
        if self._position.is_pending:
            return ""
        step, epoch, _ = self._place
        if said := self._stops.nothing_left(step, epoch):
            return said
        reason = why_over(self.hooks)
        return f"{reason}: nothing to do" if reason else ""

    @property
    def spent(self) -> dict[str, float]:
        """The seconds of the latest run, so far, by what they went into; see `RunResult`. Empty before the first."""
        return self._spent.with_rest(self.hooks.seconds) if self._runner else {}

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
        if not self._running.acquire(blocking=False):
            raise RuntimeError("This loop is running. Rehearse before a run or after it.")
        try:
            self._making.build_alone()
            self._built.check(self.state, at_length=True)
            with self.state.put_back_after():
                self._position.step_in_epoch.assign(0)
                self._built.reset()
                yield Rehearsal(self._built.chunk, self._data, self._position.place().epoch)
        finally:
            self._running.release()

    @in_user_lines
    def dry_run(self) -> RunResult:
        """Trains one step and evaluates one batch, with all hooks and every event, and puts everything back.

        To be called before `run()`, to see within seconds whether all of a program works. Every `on_step_end` and every
        evaluation is due, checkpoints are saved, and what hooks write goes to a directory that is removed; callbacks of
        Keras, which write elsewhere, are left out, and so is what there is to resume.

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
        with self._started(epochs, steps):
            while isinstance(error := self._live(), RollBack) and self._position.torn:
                self._go_back(error)
            return self._end(error)

    def _live(self) -> BaseException | None:
        """Restores the state, and trains until the run is over; returns what was raised."""
        try:
            self.hooks.begin(self, self._moment(Event.SETUP))
            self._check_state()
            self._emit_whole(Event.RUN_BEGIN)
            self._begin()
            while not self._over:
                self._position.torn = True  # until everybody is done with this step
                if not self._position.is_pending:  # or an earlier run was stopped in mid-round
                    self._begin_epoch()
                    self._train()
                self._evaluate_if_due()
                self._end_epoch_if_over()
                self._settle()
        except BaseException as raised:
            return raised
        return None

    def _go_back(self, error: BaseException) -> None:
        """Ends what went on, and gets ready to begin again with what was saved."""
        self._clock.stop()
        self._bound.let_go()
        if failures := self.hooks.finish(self._moment(Event.RUN_END, error=error)):
            raise with_notes(failures)
        self._stops.forget_round()
        self._round, self._resumed = {}, False
        self._get_ready()

    @contextlib.contextmanager
    def _started(self, epochs: int | None, steps: int | None) -> Iterator[None]:
        totals = check_totals(epochs, steps)
        if not self._running.acquire(blocking=False):
            raise RuntimeError("This loop is running. A hook, or another thread, cannot run it at the same time.")
        try:
            self._runner = threading.get_ident()
            standard.occupy()
            self._stops.begin(*totals)
            self._round, self._resumed, self._idle = {}, False, False
            self._spent = Spent()
            with self.hooks.around(self):
                self._get_ready()
                yield
        finally:
            self._running.release()

    def _get_ready(self) -> None:
        """Finds out where the run stands, and traces what is yet to be traced."""
        self._making.begin(self._spent)
        self._place = self._position.load()
        if not self._making.ends_untraced(self._place, self._stops, lambda: self.finished):
            self._making.trace()  # takes its time; a stop that comes meanwhile counts

    def _check_state(self) -> None:
        if self._position.torn:
            why = "An earlier run of this loop ended with an exception, which may have left the state half-updated"
            if self._position.condemned:
                why = f"{self._position.condemned}. Nothing that was saved was restored since"
            raise RuntimeError(f"{why}. Restore it (the Checkpoint hook does), or build the loop anew.")
        if late := self.state.late():
            raise RuntimeError(
                f"Hooks made variables in on_setup, too late to be restored: {', '.join(late)}. Make them in __init__."
            )
        self._place = self._position.load()
        self._resumed = self._place.step > 0
        self._making.begun = True

    def _begin(self) -> None:
        """Begins to train, unless that is over already."""
        self._idle = self._over = self._stops.asked or (self._reached() and not self._position.is_pending)
        if not self._over:
            self._making.trace_after_all()
            self._built.check(self.state)
            self._constants = self._built.constants(self.state)
            self._clock.start()
            self._since = self._clock.now()

    def _begin_epoch(self) -> None:
        if self._place.step_in_epoch == 0:
            self._data.open(self._place.epoch)
            self._built.reset()
            self._emit(Event.EPOCH_BEGIN)
            self._built.check(self.state)

    def _train(self) -> None:
        """Runs to the next step that somebody wants, and tells those who asked for it."""
        step, epoch, step_in_epoch = self._place
        length = self.steps_per_epoch
        left = None if length is None else step + length - step_in_epoch
        longest = step + (1 if self._stops.asked else LONGEST)
        skip = self.hooks.next_skip(step)
        wanted = (self.hooks.next_stop(step), None if skip is None else skip - 1)
        stops = (self._stops.steps, left, self._evaluations.next_after(step), *wanted, longest)
        self._clock.set_alarm(self.hooks.next_time(self._since))
        with self._spent.on("steps"):
            end, chunk = min(stop for stop in stops if stop is not None), self._built.chunk
            ran = chunk.skip(self._data) if skip == step + 1 else chunk(self._data, end - step)
            count = int(ran.steps)  # sync: waits for the chunk
        self._bound.let_go()  # before the reasons are looked at: one for a stop, and the time
        if count == 0:
            raise RuntimeError(
                f"The data ended after step {step}, in mid-epoch: it had more when the run was there before."
            )
        self._place = Place(step + count, epoch, step_in_epoch + count)
        over = not ran.more or step_in_epoch + count == length
        if over:
            self._data.close()
            self._position.set_over(True)
        now = self._clock.now()
        halt = Halt(step + count, epoch + 1 if over else None, self._since, now)
        if self._due(over=over):
            self._position.set_due(True)
        self._round = {}
        if skip == step + 1:
            return
        self._since = now
        record = self._built.chunk.record
        self._round = ran.values(record) | self._built.trace.results.logs(ran.results)
        self.hooks.send_steps(step + 1, lambda: ran.columns(record))
        self._emit(Event.STEP_END, self._round, halt=None if self._limit.is_dry else halt)

    def _due(self, *, over: bool) -> list[Evaluation]:
        return [*self._evaluations] if self._limit.is_dry else self._evaluations.due(self._place, over=over)

    def _evaluate_if_due(self) -> None:
        if self._stops.at_once or not self._position.is_due:
            return
        held = self.state.hold()  # for random streams and hooks, if the evaluation has to be redone
        self._emit(Event.EVAL_BEGIN)
        # Of a program whose schedule was another when a stop came, nothing may be due by now.
        due = self._due(over=self._position.is_over) or [*self._evaluations]
        for evaluation in due:
            with self._spent.on("evaluation"):
                complete = self._built.evaluate(evaluation, self._abandons)
            if not complete:
                self.state.put_back(held)
                return
        self._position.set_due(False)
        found = {name: value for evaluation in due for name, value in evaluation.results().items()}
        self._round = self._round | found
        self._emit(Event.EVAL_END, found)

    def _abandons(self) -> bool:
        self._bound.let_go()
        return self._stops.at_once

    def _end_epoch_if_over(self) -> None:
        if self._position.is_over and not self._position.is_due:
            self._place = self._position.next_epoch(self._place)
            trained = self._built.trained() | self._making.rates.now()
            self._round = self._round | trained  # what an evaluation of an earlier step found is no value of this one
            self._emit(Event.EPOCH_END, trained | self._built.evaluated())
            self._remember(trained)

    def _remember(self, trained: Mapping[str, float]) -> None:
        """Adds an epoch's values to the history, with what was evaluated and reported in it."""
        step, before = self._history.since()
        before += [0] * len(self._evaluations)  # of those that are new
        counts = [evaluation.count() for evaluation in self._evaluations]
        new = [each for each, now, then in zip(self._evaluations, counts, before, strict=False) if now != then]
        evaluated = {name: value for evaluation in new for name, value in evaluation.results().items()}
        reported = self.hooks.reports.latest(since=step)
        self._history.add({**trained, **evaluated, **reported}, self._place.step, counts)

    def _settle(self) -> None:
        """Ends the round, with those that save last. If a stop is asked for while they do, they are told once more.

        An exception out of a hook is such a stop, because the step is complete, and is raised after it. But not a
        `KeyboardInterrupt`: somebody is impatient.
        """
        over = self._place.step_in_epoch == 0 or self._reached()
        if over:
            report(self._constants.findings() + self._built.found_since(), exact=self._exact)
        failures = Failures()
        failures.raised += self.hooks.settle(lambda: self._moment(Event.SETTLED, self._round), self._held)
        with failures.kept(BaseException):
            # Before anybody saves, or who starts again would go on without the change; a Checkpoint asks once more.
            ends, told = over or bool(failures), len(failures.raised)
            self._built.check(self.state, at_length=ends)
            self._over = self._save(failures)
            if (self._stops.asked or failures) and not self._over:
                self._over = self._save(failures)
            # What is not saved is done again, or a run that has nothing left to do would end well without it.
            self._position.torn = len(failures.raised) > told or self._position.condemned != ""
        failures.come_out()
        self.hooks.reports.settle(over=self._place.step_in_epoch == 0)

    def _held(self) -> Callable[[], None]:
        """Holds the present state, and returns what puts it back."""
        held = self.state.hold()
        return lambda: self.state.put_back(held)

    def _emit_whole(self, event: Event) -> None:
        """Sends an event at which the state is whole, and puts it back if a hook raises."""
        back = self._held()
        try:
            self._emit(event)
        except BaseException:
            back()
            raise
        finally:
            del back  # or this frame, which an exception has, would keep the values

    def _save(self, failures: Failures) -> bool:
        """Tells those that save, and returns whether they were told that it is for the last time."""
        if failures:
            self._stops.after_round("an exception")
        moment = self._moment(Event.SETTLED, self._round)
        standard.occupy()  # 1 us; a hook may have closed them

        def told() -> Moment:
            self._clock.mark()
            if moment.last:
                self._clock.stop()  # a run that is finished and started again took as long as is saved
            return moment

        if self._position.condemned:
            told()
        else:
            failures.raised += self.hooks.save(told)
        return moment.last

    def _end(self, error: BaseException | None) -> RunResult:
        """Sends `RUN_END`, raises what was raised, and says in one sentence how the run ended."""
        self._clock.stop()
        self._bound.let_go()
        self._place = self._position.place()  # a failed call of the compiled loop has gone on, too
        logs = {} if error else {**self.state.logs(), **self._making.rates.now()}  # before hooks put the best back
        history = {} if error else self._history.result()
        failures = self.hooks.finish(self._moment(Event.RUN_END, error=error))
        raised = ([error] if error else []) + sorted(failures, key=lambda failure: not isinstance(failure, Exception))
        step, epoch, _ = self._place
        seconds = self._clock.now()
        finished = self.finished if self._idle else ""
        reason = self._stops.ended(step, epoch, finished)
        said = raised[0] if raised else finished or reason
        log.info("Ended at step %d, in %.1f s of training: %s.", step, seconds, said)
        if raised:
            raise with_notes(raised)
        return RunResult(step, epoch, reason, logs, seconds, history, self.spent)

    def _emit(
        self,
        event: Event,
        logs: Mapping[str, float] | None = None,
        *,
        halt: Halt | None = None,
        saves: bool | None = None,
    ) -> None:
        self.hooks.send(event, lambda: self._moment(event, logs), halt=halt, saves=saves)

    def _moment(
        self, event: Event, logs: Mapping[str, float] | None = None, error: BaseException | None = None
    ) -> Moment:
        last, reports = self._stops.asked or self._reached(), self.hooks.reports
        if logs is not None:
            rates = self._making.rates.now() if event is Event.STEP_END else {}  # made only if somebody listens
            logs = {**logs, **rates, **reports.round}
        report = functools.partial(reports.take, event, self._place.step)
        stop = self._stops.after_round
        return Moment(event, *self._place, ReadOnly(logs or {}), self._resumed, last, error, stop, report)

    def _reached(self) -> bool:
        """Whether what was asked for is done when this round is."""
        return self._stops.reached(self._place.step, self._place.epoch + self._position.is_over)
