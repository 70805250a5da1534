"""One run, in order: the events of each round, and what is done between them."""

import functools
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from loop import standard
from loop.agreed import Agreed
from loop.alike import check_alike, check_equal, check_program
from loop.compiled import Compiled
from loop.engine.clock import Spent
from loop.engine.ring import LONGEST
from loop.errors.readonly import ReadOnly
from loop.evaluation import Evaluation
from loop.events import Event, Moment, RunResult
from loop.failures import Failures, with_notes
from loop.findings import report
from loop.finished import why_over
from loop.making import Making
from loop.parts import Parts
from loop.state.position import Place
from loop.stops import RollBack
from loop.triggers import Halt

if TYPE_CHECKING:
    from loop.loop import Loop

log = logging.getLogger("exactloop")


class Run:
    """One run of a loop, from `SETUP` to `RUN_END`.

    Attributes:
        place: Where it stands.
        spent: The seconds of it by what they went into.

    Args:
        loop: The loop, for the hooks.
        parts: What it is made of.
        making: Traces it.
        exact: Whether to refuse what could not be resumed exactly.
    """

    def __init__(self, loop: "Loop", parts: Parts, making: Making, *, exact: bool) -> None:
        self._loop, self._parts, self._making, self._exact = loop, parts, making, exact
        self._hooks, self._data, self._evaluations = parts.hooks, parts.data, parts.evaluations
        self._position, self._clock, self._bound = parts.position, parts.clock, parts.bound
        self._history, self._limit, self._stops = parts.history, parts.limit, parts.stops
        self._agreed = Agreed(parts.workers, parts.stops, parts.clock)
        self.place, self.spent, self._since = Place(0, 0, 0), Spent(), 0.0
        self._round: dict[str, float] = {}  # what was measured at this step
        self._resumed = self._idle = self._over = False

    def through(self) -> RunResult:
        """Runs until the totals are reached or somebody stops it, and says how it ended, or raises what was raised."""
        self._get_ready()
        while isinstance(error := self._live(), RollBack) and self._position.torn:
            self._go_back(error)
        return self._end(error)

    @property
    def finished(self) -> str:
        """Why nothing is left to do of what was asked for, in a sentence; empty if something is."""
        if self._position.is_pending or self._position.condemned:
            return ""
        step, epoch, _ = self.place
        if said := self._stops.nothing_left(step, epoch):
            return said
        reason = why_over(self._hooks)
        return f"{reason}: nothing to do" if reason else ""

    @property
    def _built(self) -> Compiled:
        return self._making.compiled

    def _live(self) -> BaseException | None:
        """Restores the state, and trains until the run is over; returns what was raised."""
        try:
            check_program(self._parts)
            self._hooks.calls.begin(self._loop, self._moment(Event.SETUP))
            self._check_state()
            self._emit_whole(Event.RUN_BEGIN)
            check_alike(self._parts, self._making.state)
            self._agreed.stops()
            self._begin()
            while not self._over:
                self._position.torn = True  # until everybody is done with this step
                if not self._position.is_pending:  # or an earlier run was stopped in mid-round
                    self._begin_epoch()
                    self._train()
                self._evaluate_if_due()
                self._end_epoch_if_over()
                self._settle()
            if not self._idle:
                check_equal(self._parts, self._making.state)
        except BaseException as raised:
            return raised if isinstance(raised, RollBack) else self._parts.workers.failed(raised)
        return None

    def _go_back(self, error: BaseException) -> None:
        """Ends what went on, and gets ready to begin again with what was saved."""
        self._clock.stop()
        self._bound.let_go()
        if failures := self._hooks.calls.finish(self._moment(Event.RUN_END, error=error)):
            raise with_notes(failures)
        self._stops.forget_round()
        self._round, self._resumed = {}, False
        self._get_ready()

    def _get_ready(self) -> None:
        """Finds out where the run stands, and traces what is yet to be traced."""
        self._making.begin(self.spent)
        self.place = self._position.load()
        if not self._making.ends_untraced(self.place, self._stops, lambda: self.finished):
            self._making.trace()  # takes its time; a stop that comes meanwhile counts

    def _check_state(self) -> None:
        if self._position.torn:
            why = "An earlier run of this loop ended with an exception, which may have left the state half-updated"
            if self._position.condemned:
                why = f"{self._position.condemned}. Nothing that was saved was restored since"
            raise RuntimeError(f"{why}. Restore it (the Checkpoint hook does), or build the loop anew.")
        if late := self._making.state.late():
            raise RuntimeError(
                f"Hooks made variables in on_setup, too late to be restored: {', '.join(late)}. Make them in __init__."
            )
        self.place = self._position.load()
        self._resumed = self.place.step > 0
        self._making.begun = True

    def _begin(self) -> None:
        """Begins to train, unless that is over already."""
        self._idle = self._over = self._stops.asked or (self._reached() and not self._position.is_pending)
        if not self._over:
            self._making.trace_after_all()
            self._built.check(self._making.state)
            self._constants = self._built.constants(self._making.state)
            self._clock.start()
            self._since = self._clock.now()

    def _begin_epoch(self) -> None:
        if self.place.step_in_epoch == 0:
            self._data.open(self.place.epoch)
            self._built.reset()
            self._emit(Event.EPOCH_BEGIN)
            self._built.check(self._making.state)

    def _train(self) -> None:
        """Runs to the next step that somebody wants, and tells those who asked for it."""
        step, epoch, step_in_epoch = self.place
        length = self._limit.of(self._data.steps_per_epoch)
        left = None if length is None else step + length - step_in_epoch
        longest = step + (1 if self._stops.asked else LONGEST)
        skip = self._hooks.next_skip(step)
        wanted = (self._hooks.next_stop(step), None if skip is None else skip - 1)
        stops = (self._stops.steps, left, self._evaluations.next_after(step), *wanted, longest)
        self._clock.set_alarm(self._agreed.alarm(self._hooks.next_time(self._since)))
        with self.spent.on("steps"):
            end, chunk = self._agreed.end(step, min(stop for stop in stops if stop is not None)), self._built.chunk
            ran = chunk.skip(self._data) if skip == step + 1 else chunk(self._data, end - step)
            count = int(ran.steps)  # sync: waits for the chunk
        self._bound.let_go()  # before the reasons are looked at: one for a stop, and the time
        if count == 0:
            raise RuntimeError(
                f"The data ended after step {step}, in mid-epoch: it had more when the run was there before."
            )
        self.place = Place(step + count, epoch, step_in_epoch + count)
        over = not ran.more or step_in_epoch + count == length
        if over:
            self._data.close()
            self._position.set_over(True)
        now = self._agreed.now()
        halt = Halt(step + count, epoch + 1 if over else None, self._since, now)
        if self._due(over=over):
            self._position.set_due(True)
        self._round = {}
        if skip == step + 1:
            return
        self._since = now
        record = self._built.chunk.record
        self._round = ran.values(record) | self._built.trace.results.logs(ran.results)
        self._hooks.calls.send_steps(step + 1, lambda: ran.columns(record))
        self._emit(Event.STEP_END, self._round, halt=None if self._limit.is_dry else halt)

    def _due(self, *, over: bool) -> list[Evaluation]:
        return [*self._evaluations] if self._limit.is_dry else self._evaluations.due(self.place, over=over)

    def _evaluate_if_due(self) -> None:
        if self._stops.at_once or not self._position.is_due:
            return
        held = self._making.state.hold()  # for random streams and hooks, if the evaluation has to be redone
        self._emit(Event.EVAL_BEGIN)
        # Of a program whose schedule was another when a stop came, nothing may be due by now.
        due = self._due(over=self._position.is_over) or [*self._evaluations]
        for evaluation in due:
            with self.spent.on("evaluation"):
                complete = self._built.evaluate(evaluation, self._abandons)
            if not complete:
                self._making.state.put_back(held)
                return
        self._position.set_due(False)
        found = {name: value for evaluation in due for name, value in evaluation.results().items()}
        self._round = self._round | found
        self._emit(Event.EVAL_END, found)

    def _abandons(self) -> bool:
        self._bound.let_go()
        self._agreed.stops()
        return self._stops.at_once

    def _end_epoch_if_over(self) -> None:
        if self._position.is_over and not self._position.is_due:
            self.place = self._position.next_epoch(self.place)
            trained = self._built.trained() | self._making.rates.now()
            self._round = self._round | trained  # what an evaluation of an earlier step found is no value of this one
            self._emit(Event.EPOCH_END, trained | self._built.evaluated())
            self._remember(trained)

    def _remember(self, trained: Mapping[str, float]) -> None:
        """Adds an epoch's values to the history, with what was evaluated and reported in it."""
        evaluated = {name: value for evaluation in self._evaluations for name, value in evaluation.take().items()}
        reported = self._hooks.reports.latest(since=self._history.since())
        self._history.add({**trained, **evaluated, **reported}, self.place.step)

    def _settle(self) -> None:
        """Ends the round, with those that save last. If a stop is asked for while they do, they are told once more.

        An exception out of a hook is such a stop, because the step is complete, and is raised after it. But not a
        `KeyboardInterrupt`: somebody is impatient.
        """
        over = self.place.step_in_epoch == 0 or self._reached()
        self._agreed.stops()
        if over:
            report(self._constants.findings() + self._built.found_since(), exact=self._exact)
        failures = Failures()
        failures.raised += self._hooks.calls.settle(lambda: self._moment(Event.SETTLED, self._round), self._held)
        self._agreed.stops(failures.raised)
        with failures.kept(BaseException):
            # Before anybody saves, or who starts again would go on without the change; a Checkpoint asks once more.
            ends, told = over or bool(failures), len(failures.raised)
            self._built.check(self._making.state, at_length=ends)
            self._over = self._save(failures)
            self._agreed.stops(failures.raised)
            if (self._stops.asked or failures) and not self._over:
                self._over = self._save(failures)
            # What is not saved is done again, or a run that has nothing left to do would end well without it.
            self._position.torn = len(failures.raised) > told or self._position.condemned != ""
        failures.come_out()
        self._agreed.come_out()
        self._hooks.reports.settle(over=self.place.step_in_epoch == 0)

    def _held(self) -> Callable[[], None]:
        """Holds the present state, and returns what puts it back."""
        held = self._making.state.hold()
        return lambda: self._making.state.put_back(held)

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
            failures.raised += self._hooks.calls.save(told)
        return moment.last

    def _end(self, error: BaseException | None) -> RunResult:
        """Sends `RUN_END`, raises what was raised, and says in one sentence how the run ended."""
        self._clock.stop()
        self._bound.let_go()
        self.place = self._position.place()  # a failed call of the compiled loop has gone on, too
        logs = (
            {} if error else {**self._making.state.logs(), **self._making.rates.now()}
        )  # before hooks put the best back
        failures = self._hooks.calls.finish(self._moment(Event.RUN_END, error=error))
        raised = ([error] if error else []) + sorted(failures, key=lambda failure: not isinstance(failure, Exception))
        step, epoch, _ = self.place
        seconds = self._clock.now()
        finished = self.finished if self._idle else ""
        reason = self._stops.ended(step, epoch, finished)
        said = raised[0] if raised else finished or reason
        log.info("Ended at step %d, in %.1f s of training: %s.", step, seconds, said)
        if raised:
            raise with_notes(raised)
        spent = self.spent.with_rest(self._hooks.seconds)
        return RunResult(step, epoch, reason, logs, seconds, self._history.result(), spent)

    def _emit(
        self,
        event: Event,
        logs: Mapping[str, float] | None = None,
        *,
        halt: Halt | None = None,
        saves: bool | None = None,
    ) -> None:
        self._hooks.calls.send(event, lambda: self._moment(event, logs), halt=halt, saves=saves)

    def _moment(
        self, event: Event, logs: Mapping[str, float] | None = None, error: BaseException | None = None
    ) -> Moment:
        last, reports = self._stops.asked or self._reached(), self._hooks.reports
        if logs is not None:
            rates = self._making.rates.now() if event is Event.STEP_END else {}  # made only if somebody listens
            logs = {**logs, **rates, **reports.round}
        report = functools.partial(reports.take, event, self.place.step)
        stop = self._stops.after_round
        return Moment(event, *self.place, ReadOnly(logs or {}), self._resumed, last, error, stop, report)

    def _reached(self) -> bool:
        """Whether what was asked for is done when this round is."""
        return self._stops.reached(self.place.step, self.place.epoch + self._position.is_over)
