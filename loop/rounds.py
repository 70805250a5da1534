"""One round after the other: train, evaluate, end the epoch, settle. `docs/events.md` draws it."""

import functools
from collections.abc import Mapping

from loop import standard
from loop.engine.clock import TimeSpent
from loop.engine.traced.chunk_result import ChunkResult
from loop.engine.traced.ring import LONGEST
from loop.evaluation import Evaluation
from loop.events import Event, Moment
from loop.findings import report
from loop.listeners.failures import Failures
from loop.running.agreed import Agreed
from loop.running.compiled import Compiled
from loop.running.making import Making
from loop.running.moments import Moments
from loop.running.parts import Parts
from loop.state.position import Position
from loop.stops import RollBack
from loop.triggers import Halt


class Rounds:
    """Goes from one step that somebody wants to the next, and does there all that is due.

    Args:
        parts: What the loop is made of.
        making: Has the state, and what is compiled.
        moments: Tells the hooks; knows where the run stands.
        agreed: What no worker decides alone.
        spent: Takes the time of what is done.
        exact: Whether to refuse what could not be resumed exactly.
    """

    def __init__(
        self, parts: Parts, making: Making, moments: Moments, agreed: Agreed, spent: TimeSpent, *, exact: bool
    ) -> None:
        self._making, self._moments, self._agreed, self._spent, self._exact = making, moments, agreed, spent, exact
        self._hooks, self._data, self._evaluations = parts.hooks, parts.data, parts.evaluations
        self._position, self._clock, self._bound = parts.position, parts.clock, parts.bound
        self._history, self._limit, self._stops = parts.history, parts.limit, parts.stops
        self._phase = parts.position.phase
        self._since = 0.0  # the training time of the halt before
        self._ran: ChunkResult | None = None  # what came of the call in this round, if there was one

    def begin(self) -> None:
        """Gets ready to train: looks at what is compiled, and lets the clock run."""
        self._built.check(self._making.state)
        # By digest, as they are before the first step: hooks may change what no checkpoint holds, and are found out so.
        self._constants = self._built.audits.constants(self._making.state)
        self._unsaved = self._built.audits.unsaved(self._making.state)
        self._begun_at = self._moments.place.step
        self._clock.start()
        # Or all times up to where the run goes on from would be due at its first halt.
        self._since = self._agreed.now()

    def next(self) -> bool:
        """Goes through one round; returns whether everybody was told that it is the last."""
        self._phase.torn = True  # until everybody is done with this step
        self._ran = None
        if not self._position.is_pending:  # or an earlier run was stopped in mid-round
            self._begin_epoch()
            self._train()
        self._evaluate_if_due()
        self._end_epoch_if_over()
        return self._settle()

    @property
    def _built(self) -> Compiled:
        return self._making.compiled

    def _begin_epoch(self) -> None:
        if self._moments.place.step_in_epoch == 0:
            # The number of the epoch is all that its order depends on, so whoever resumes opens the same pass.
            self._data.open(self._moments.place.epoch)
            self._built.reset()
            self._moments.emit(Event.EPOCH_BEGIN)
            self._built.check(self._making.state)
            if self._moments.place.step > self._begun_at:
                self._unsaved.warn()

    def _train(self) -> None:
        """Runs to the next step that somebody wants, and tells those who asked for it."""
        step, epoch, step_in_epoch = self._moments.place
        length, skip = self._limit.of(self._data.steps_per_epoch), self._hooks.next_skip(step)
        wanted = self._wanted(length, skip)
        self._clock.set_alarm(self._agreed.alarm(self._hooks.next_time(self._since)))
        with self._spent.on("steps"):
            # Workers exchange how far, and so wait here for the slowest of them.
            end, chunk = self._agreed.end(step, wanted), self._built.chunk
            self._ran = ran = chunk.skip(self._data) if skip == step + 1 else chunk(self._data, end - step)
            count = int(ran.steps)  # sync: waits for the chunk
        self._bound.let_go()  # before the reasons are looked at: one for a stop, and the time
        # A call trains at least one step if there is data: so there is none, where there was some.
        if count == 0:
            raise RuntimeError(
                f"The data ended after step {step}, in mid-epoch: it had more when the run was there before."
            )
        self._moments.place = Position(step + count, epoch, step_in_epoch + count)
        # Whichever comes first, the end of the data or the limit on batches.
        over = not ran.more or step_in_epoch + count == length
        if over:
            self._data.close()
            self._phase.is_over = True
        # Read once: hooks that ask the clock by themselves would not agree on what is due.
        now = self._agreed.now()
        if self._due(over=over):
            self._phase.is_due = True  # before hooks are told: a stop from here on leaves it to the next run
        self._moments.round = {}
        if skip != step + 1:  # or it has no values, and nobody can wait for it
            halt = Halt(step + count, epoch + 1 if over else None, self._since, now)
            self._since = now
            self._tell(step + 1, ran, None if self._limit.is_dry else halt)
        if not over:
            self._end_epoch_if_asked()

    def _wanted(self, length: int | None, skip: int | None) -> int:
        """Returns the next step that somebody wants, or at which the epoch is over.

        Args:
            length: Steps in an epoch.
            skip: The next step whose batch is not trained on.
        """
        step, _, step_in_epoch = self._moments.place
        wanted = [self._stops.steps, self._evaluations.next_after(step), self._hooks.next_stop(step)]
        # None of an unknown length: the compiled loop has the next batch already, and so sees the end when it comes.
        wanted.append(None if length is None else step + length - step_in_epoch)
        wanted.append(None if skip is None else skip - 1)  # a skipped batch is read alone
        longest = step + (1 if self._stops.asked else LONGEST)  # the ring of values has room for no more
        return min([longest, *(at for at in wanted if at is not None)])

    def _tell(self, first: int, ran: ChunkResult, halt: Halt | None) -> None:
        """Tells hooks of steps from the first one on; those that wait for the last one, unless all do."""
        ring = self._built.chunk.ring
        # A metric hides the value of its name, as `Step` says.
        self._moments.round = ran.values(ring) | self._built.trace.results.logs(ran.results)
        self._hooks.calls.send_steps(first, lambda: ran.columns(ring))
        self._moments.emit(Event.STEP_END, self._moments.round, halt=halt)

    def _end_epoch_if_asked(self) -> None:
        self._agreed.stops()
        # The pass is given up, as at a limit: the rest of its batches is not read.
        if self._stops.ends_epoch:
            self._data.close(complete=False)
            self._phase.is_over = True
            self._phase.is_due = self._phase.is_due or bool(self._due(over=True))

    def _due(self, *, over: bool) -> list[Evaluation]:
        return [*self._evaluations] if self._limit.is_dry else self._evaluations.due(self._moments.place, over=over)

    def _evaluate_if_due(self) -> None:
        if self._stops.at_once or not self._phase.is_due:
            return
        if not len(self._evaluations):  # a program that had some was stopped before them; this one has none
            self._phase.is_due = False
            return
        put_back = self._moments.capture()  # random streams and hooks, if the evaluation has to be redone
        self._moments.emit(Event.EVAL_BEGIN)
        # Of a program whose schedule was another when a stop came, nothing may be due by now.
        due = self._due(over=self._phase.is_over) or [*self._evaluations]
        for evaluation in due:
            with self._spent.on("evaluation"):
                complete = self._built.evaluate(evaluation, self._abandons)
            if not complete:
                put_back()
                return
        self._phase.is_due = False
        found = {name: value for evaluation in due for name, value in evaluation.results().items()}
        self._moments.round |= found
        self._moments.emit(Event.EVAL_END, found)

    def _abandons(self) -> bool:
        self._bound.let_go()
        self._agreed.stops()
        return self._stops.at_once

    def _end_epoch_if_over(self) -> None:
        if self._phase.is_over and not self._phase.is_due:
            self._moments.place = self._position.next_epoch(self._moments.place)
            # Read before EPOCH_END, in which hooks may set other rates: the history has those of the epoch.
            trained = self._built.trained(self._ran) | self._making.rates.now()
            self._moments.round |= trained  # what an evaluation of an earlier step found is no value of this one
            self._moments.emit(Event.EPOCH_END, trained | self._built.evaluated())
            self._remember(trained)

    def _remember(self, trained: Mapping[str, float]) -> None:
        """Adds an epoch's values to the history, with what was evaluated and reported in it."""
        evaluated = {name: value for evaluation in self._evaluations for name, value in evaluation.take().items()}
        # Of a value that was not reported in this epoch there is no entry: the list is shorter.
        reports = self._hooks.reports
        reported = reports.latest(since=self._history.since()) if reports.names else {}
        self._history.add({**trained, **evaluated, **reported}, self._moments.place.step)

    def _settle(self) -> bool:
        """Ends the round, with those that save last. If a stop is asked for while they do, they are told once more.

        An exception out of a hook is such a stop, because the step is complete, and is raised after it. But not a
        `KeyboardInterrupt`: somebody is impatient.
        """
        self._position.settle()  # before anybody holds the state, or saves it
        over = self._moments.place.step_in_epoch == 0 or self._moments.reached()
        self._agreed.stops()
        if over:
            report(self._constants.findings() + self._built.audits.found_since(), exact=self._exact)
        failures, last = Failures(), False
        # What hooks write before it is read is written again when they save: here, it would be so at each step.
        held = functools.partial(self._moments.capture, as_written=True)
        failures.raised += self._hooks.calls.settle(self._settled, held)
        self._agreed.stops(failures.raised)
        with failures.kept(BaseException):
            # Before anybody saves, or who starts again would go on without the change; a Checkpoint asks once more.
            ends, told = over or bool(failures), len(failures.raised)
            self._built.check(self._making.state, at_length=ends)
            self._warn_of_unsaved()
            last = self._save(failures)
            self._agreed.stops(failures.raised)
            if (self._stops.asked or failures) and not last:
                last = self._save(failures)
            # What is not saved is done again, or a run that has nothing left to do would end well without it.
            self._phase.torn = len(failures.raised) > told or self._position.condemned != ""
        failures.come_out()
        self._agreed.come_out()
        if self._position.condemned and not self._stops.asked:
            raise RollBack(self._position.condemned)  # a hook has caught it: the run would go on, and save nothing
        self._hooks.reports.settle(over=self._moments.place.step_in_epoch == 0)
        return last

    def _warn_of_unsaved(self) -> None:
        """Looks for what no checkpoint holds where a run may be taken up in mid-epoch; or at its end, if nobody has."""
        in_epoch, last = self._moments.place.step_in_epoch > 0, self._moments.is_last()
        if (in_epoch and (last or self._hooks.calls.saves_here)) or (last and not self._unsaved.looked):
            self._unsaved.warn(in_epoch=in_epoch)
        if last:
            self._unsaved.warn_at_end()

    def _settled(self, *, last: bool | None = None) -> Moment:
        return self._moments.moment(Event.SETTLED, self._moments.round, last=last)

    def _save(self, failures: Failures) -> bool:
        """Tells those that save, and returns whether they were told that it is for the last time."""
        if failures:
            self._stops.after_round("an exception")
        # Asked anew each time: it may have changed since hooks were told before.
        last = self._moments.is_last()
        standard.occupy()  # 1 us; a hook may have closed them

        def told() -> Moment:
            self._clock.mark()
            if last:
                self._clock.stop()  # a run that is finished and started again took as long as is saved
            return self._settled(last=last)

        # The checkpoint before it is the one to go on from, and must not be replaced.
        if self._position.condemned:
            told()
        else:
            failures.raised += self._hooks.calls.save(told)
        return last
