"""One run, from its beginning to its end: what is restored, the rounds, and how it is told that it has ended."""

import contextlib
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from loop.data.pipelines.warned import warn_of_parts
from loop.engine.clock import TimeSpent
from loop.events import Event, RunResult
from loop.exact.text import calls_method
from loop.listeners.failures import with_notes
from loop.rounds import Rounds
from loop.running import ended
from loop.running.agreed import Agreed
from loop.running.alike import check_alike, check_equal, check_program
from loop.running.finished import why_over
from loop.running.making import Making
from loop.running.moments import Moments
from loop.running.parts import Parts
from loop.stops import RollBack

if TYPE_CHECKING:
    from loop.loop import Loop

log = logging.getLogger("exactloop")
SECOND = (
    "%s. The totals of run() count from the very first start. For one more epoch, write "
    "loop.run(epochs=loop.epoch + 1)."
)


class Run:
    """One run of a loop, from `SETUP` to `RUN_END`.

    Attributes:
        spent: The seconds of it by what they went into.
        idle: Whether nothing was left to do from the beginning.

    Args:
        loop: The loop, for the hooks.
        parts: What it is made of.
        making: Traces it.
        exact: Whether to refuse what could not be resumed exactly.
        is_second: Whether this loop has trained in a run before this one, in this process.
    """

    def __init__(self, loop: "Loop", parts: Parts, making: Making, *, exact: bool, is_second: bool) -> None:
        self._is_second = is_second
        self._loop, self._parts, self._making = loop, parts, making
        self._hooks, self._position, self._stops = parts.hooks, parts.position, parts.stops
        self._clock, self._bound, self._history = parts.clock, parts.bound, parts.history
        self.spent, self._moments = TimeSpent(), Moments(parts, making)
        self._agreed = Agreed(parts.workers, parts.stops, parts.clock)
        self._rounds = Rounds(parts, making, self._moments, self._agreed, self.spent, exact=exact)
        self.idle = False

    def through(self) -> RunResult:
        """Runs until the totals are reached or somebody stops it, and says how it ended, or raises what was raised."""
        self._get_ready()  # not within `_live`: no hook has begun, so none is owed RUN_END
        # Without a bound: a hook that is to give up some time has to know by itself how often it went back.
        while isinstance(error := self._live(), RollBack) and self._position.torn:
            self._go_back(error)
        return self._end(error)

    @property
    def finished(self) -> str:
        """Why nothing is left to do of what was asked for, in a sentence; empty if something is."""
        # What a stop has put off is still to be done, even if all steps are; what is condemned is restored first.
        if self._position.is_pending or self._position.condemned:
            return ""
        step, epoch, _ = self._moments.place
        if said := self._stops.nothing_left(step, epoch):
            return said
        reason = why_over(self._hooks)
        return f"{reason}: nothing to do" if reason else ""

    def _live(self) -> BaseException | None:
        """Restores the state, and trains until the run is over; returns what was raised."""
        try:
            # First: a hook that opens files or locks a directory must not begin beside workers that run something else.
            check_program(self._parts, self._making.state)
            self._moments.begin()
            self._hooks.calls.begin(self._loop, self._moments.moment(Event.SETUP), calls_method)
            # Only now: what is torn may just have been restored, in SETUP.
            self._check_state()
            self._moments.emit_whole(Event.RUN_BEGIN)
            # After RUN_BEGIN, in which hooks may still set values, and may do so in one worker alone.
            check_alike(self._parts, self._making.state)
            # Of a stop that came while it was traced and restored, which may take minutes.
            self._agreed.stops()
            self._begin()
            over = self.idle
            while not over:
                over = self._rounds.next()
            if not self.idle:
                # Or what the first worker has saved would pass for the state of all.
                check_equal(self._parts, self._making.state)
        except BaseException as raised:
            if self._hooks.calls.left:  # a child: its own end is all that it has to do
                raise
            # A roll back is no failure: all workers go back together.
            return raised if isinstance(raised, RollBack) else self._parts.workers.failed(raised)
        return None

    def _go_back(self, error: BaseException) -> None:
        """Ends what went on, and gets ready to begin again with what was saved."""
        self._clock.stop()
        self._bound.let_go()
        # A hook that cannot end is not begun again: the run ends here, torn.
        if failures := self._hooks.calls.finish(self._moments.moment(Event.RUN_END, error=error)):
            raise with_notes(failures)
        # A stop by what is undone is undone with it; a signal from outside still counts.
        self._stops.forget_round()
        self._moments.begin_again()
        self._get_ready()

    def _get_ready(self) -> None:
        """Finds out where the run stands, and traces what is yet to be traced."""
        self._making.begin(self.spent)
        self._moments.place = self._position.load()
        if not self._making.ends_untraced(self._moments.place, self._stops, lambda: self.finished):
            self._making.trace()  # takes its time; a stop that comes meanwhile counts

    def _check_state(self) -> None:
        if self._position.torn:
            why = "An earlier run of this loop ended with an exception, which may have left the state half-updated"
            if self._position.condemned:
                why = f"{self._position.condemned}. Nothing that was saved was restored since"
            raise RuntimeError(f"{why}. Restore it (the Checkpoint hook does), or build the loop anew.")
        # They are in no checkpoint, and would begin anew whenever the run goes on.
        late, grown = self._making.state.late(), self._making.grown()
        if made := late or grown:
            when = "in on_setup" if late else "since the run before began"
            raise RuntimeError(
                f"Hooks made variables {when}, too late to be restored: {', '.join(made)}. Make them in __init__."
            )
        self._moments.place = self._position.load()
        self._history.load()
        self._moments.resumed = self._moments.place.step > 0
        self._making.begun = True

    def _begin(self) -> None:
        """Begins to train, unless that is over already."""
        self.idle = self._stops.asked or (self._moments.reached() and not self._position.is_pending)
        if not self.idle:
            if not self._moments.resumed:
                ended.begin(self._parts)
            self._making.trace_after_all()
            if not self._moments.resumed and any(hook.saves for hook in self._parts.hooks):
                warn_of_parts()
            self._rounds.begin()
            self._position.untouched = False
        self._position.ahead = self._position.untouched and self._stops.passed(*self._moments.place)
        if self._position.ahead:
            self._making.caught_up.hold(self._making.state)

    def _failed_elsewhere(self, failures: Sequence[BaseException]) -> BaseException | None:
        """Returns what to raise if a hook of another worker has raised in `RUN_END`; tells the others of these."""
        try:
            self._agreed.stops(failures)
            if not failures:
                self._agreed.come_out()
        except BaseException as raised:
            return self._parts.workers.failed(raised)
        return None

    def _end(self, error: BaseException | None) -> RunResult:
        """Sends `RUN_END`, raises what was raised, and says in one sentence how the run ended."""
        self._clock.stop()
        self._bound.let_go()
        self._moments.place = self._position.place()  # a failed call of the compiled loop has gone on, too
        # Taken before hooks put the best back.
        logs = {} if error else {**self._making.state.logs(), **self._making.rates.now()}
        # All hear it, whatever the others raise: files are closed and signals given back here.
        failures = self._hooks.calls.finish(self._moments.moment(Event.RUN_END, error=error))
        if error is None:
            error = self._failed_elsewhere(failures)
        # An `Exception` first: `SystemExit(0)` in its place would end the process as if all were well.
        raised = ([error] if error else []) + sorted(failures, key=lambda failure: not isinstance(failure, Exception))
        step, epoch, _ = self._moments.place
        seconds = self._clock.now()
        finished = self.finished if self.idle else ""
        reason = self._stops.ended(step, epoch, finished)
        said = raised[0] if raised else finished or reason
        with contextlib.suppress(Exception):  # an exception of a program may have no text
            log.info("Ended at step %d, in %.1f s of training: %s.", step, seconds, str(said).removesuffix("."))
        if raised:
            raise with_notes(raised)
        ended.end(self._parts)
        # Whoever asks for less goes back to a cell of a notebook, say.
        if self._is_second and finished and (epoch == self._stops.epochs or step == self._stops.steps):
            # As in `for epoch in range(10): loop.run(epochs=1)`, which would train one epoch in silence.
            log.warning(SECOND, finished)
        spent = self.spent.with_rest(self._hooks.seconds)
        return RunResult(step, epoch, reason, logs, seconds, self._history.result(), spent)
