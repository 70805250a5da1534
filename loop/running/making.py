"""When a loop is traced, and what it has to be restored before that, and after it."""

import contextlib
import gc
import logging
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence

from loop.engine.clock import TimeSpent
from loop.engine.traced.means import Means
from loop.errors.later import later
from loop.findings import report
from loop.hook import Hook
from loop.numbered import numbered
from loop.running.caught_up import CaughtUp
from loop.running.compiled import Compiled
from loop.running.finished import Untraced, recall_counts, recall_derived, saved_by, untraced
from loop.running.parts import Parts
from loop.state.position import Position
from loop.state.rates import LoggedRates
from loop.state.settings import Setting
from loop.state.training_state import TrainingState
from loop.stops import Stops
from loop.supervision.scaling import check_step

log = logging.getLogger("exactloop")
FROM_SETUP = "from SETUP on: in a hook's on_setup, or after run(), audit() or evaluate()."


class Making:
    """Makes the training state, and what is compiled, where something is left to run.

    Where nothing is, the state is gathered without a trace, and grows if the loop is traced after all.

    Attributes:
        state: Everything that a resumed run needs.
        compiled: The compiled train loop and evaluations.
        begun: Whether something may have been trained or restored, so that what is there is not what was set.
        caught_up: Holds a state that a run has found ahead of what it was asked for.

    Args:
        parts: What the loop is made of.
        exact: Whether to refuse what cannot be resumed exactly.
    """

    state: TrainingState = later(f"loop.state is there {FROM_SETUP}")
    compiled: Compiled = later(f"The names of what a loop logs are there {FROM_SETUP}")

    def __init__(self, parts: Parts, *, exact: bool) -> None:
        self._parts, self._exact, self._spent = parts, exact, TimeSpent()
        self._compiled: Compiled | None = None
        self._untraced: Untraced | None = None  # until a run goes on from it
        self._settings: Mapping[str, Setting] = {}
        self._rates: LoggedRates | None = None
        self.begun, self.caught_up = False, CaughtUp()
        # What each hook had when a run began.
        self._of_hooks: weakref.WeakKeyDictionary[Hook, set[str]] = weakref.WeakKeyDictionary()

    @property
    def train_names(self) -> tuple[str, ...]:
        """The names of what is logged of the train step."""
        if self._compiled is None and self._untraced is not None:
            return self._untraced.train_names
        return self.compiled.trace.logged

    @property
    def rates(self) -> LoggedRates:
        """The learning rates."""
        if self._rates is None:
            evaluated = [name for each in self._parts.evaluations for name in each.names]
            self._rates = LoggedRates(
                self._parts.given, {*self.train_names, *evaluated, *self._parts.hooks.reports.names}
            )
        return self._rates

    def grown(self) -> list[str]:
        """Returns the paths of variables that hooks have made since a run began before. To be called once in a run."""
        found = list[str]()
        for hook in self._parts.hooks:
            now = {path for path in self.state.variables if path.startswith(f"hooks/{hook.name}/")}
            found += sorted(now - self._of_hooks.get(hook, now))
            self._of_hooks[hook] = now
        return found

    def begin(self, spent: TimeSpent) -> None:
        """Takes back what an earlier run has lent, and checks that what is compiled is what would be compiled now."""
        # Rates anew: hooks that were added may report a value of their name.
        self._spent, self._rates = spent, None
        if self._compiled or self._untraced:
            # Such as the best weights, which a hook leaves in the place of the last ones.
            self.state.revert()
            self.caught_up.put_back(self.state)
        if self._compiled is not None:
            self.state.derived.check()  # first, because it names the cause
            self._compiled.spent = spent
            self._compiled.check(self.state, at_length=True)

    def ends_untraced(self, place: Position, stops: Stops, finished: Callable[[], str]) -> bool:
        """Returns whether nothing is left to run, as is known without a trace; then the state is gathered without.

        Args:
            place: Where the loop stands.
            stops: What the run is asked to reach.
            finished: Returns why nothing is left to do of that; nothing if something is.
        """
        if self._compiled is not None:
            return False
        if self._untraced is not None and place.step > 0 and not self._parts.position.torn:  # restored before
            self.state = self._untraced.begin_again()
            return finished() != ""
        saved = saved_by(self._parts)
        if saved is not None:
            recall_counts(self._parts, saved)
            recall_derived(self._parts, saved)
        self._untraced = untraced(self._parts, saved, self._gather, stops)
        if self._untraced is None:
            return False
        self.state = self._untraced.state
        return True

    def _gather(self, means: Means) -> TrainingState:
        state = self._parts.gather(means)
        if self._is_as_set():  # more than there are: which ones the steps change is not known
            self._settings = self._parts.settings(state)
        state.settings = self._settings
        return state

    def _is_as_set(self) -> bool:
        return not self.begun and self._parts.position.place().step == 0

    def trace(self) -> None:
        """Traces everything if that is yet to be done, and looks at what came of it, and has been restored before."""
        with self._spent.on("tracing"):
            self._build(self._parts.hooks.inside())
            self.compiled.spent = self._spent
            self._audit()
        now = self.compiled.settings(self.state)
        if self._untraced is not None:
            self._settings = {path: self._settings[path] for path in now if path in self._settings}
        elif self._is_as_set():  # what is there later was trained, or restored
            self._settings = now
        self.state.settings = self._settings
        self._untraced = None
        # What was restored before there was a trace to compare with; or before the program has set what it sets
        # between two runs, if another run has gone on from there.
        if not self.state.passed(*self._parts.position.place()):
            for check in self.state.unchecked:
                check(self.state)
            self.state.unchecked = []

    def trace_after_all(self) -> None:
        """Traces if it was thought that nothing would be left to run, and something else was restored."""
        if self._untraced is not None:
            self.trace()

    def build(self) -> None:
        """Traces everything if that is yet to be done, for whoever wants to look at it or evaluate."""
        if self._compiled is None:
            self._build([])  # a part of a hook has all that it needs in a run only

    def build_alone(self) -> None:
        """Traces everything as if no hook had a part in it; the next run traces again what they have."""
        self._build([])

    def _build(self, inside: Sequence[Hook]) -> None:
        """Traces everything, so that every variable is there to be restored, and gathers the state."""
        # Variables that only the trace makes are others: what was restored is put into these.
        held = self._untraced and self._untraced.state.capture()
        with _uncollected():
            with numbered(self._parts.position.step):
                compiled = self._compiled or Compiled(self._parts, inside)
                if self._compiled is None:
                    check_step(compiled.chunk.graph, self._parts.given)
                else:
                    compiled.follow(inside)
            state = compiled.state()
        if self._untraced and held:  # hooks have it already, and it may be restored
            self._untraced.state.grow(state, held)
        else:
            state.unchecked = self.state.unchecked if self._compiled else []
            self.state = state
        # Kept only now: refused, or interrupted, the loop is as it was, and asked again it begins again.
        self.compiled = self._compiled = compiled

    def _audit(self) -> None:
        report(self.compiled.audit(self.state), exact=self._exact)
        if only_read := self.compiled.audits.only_read(self.state):
            # In the log, so that who misses something in a checkpoint finds here that it was never in one.
            names = ", ".join(variable.name for variable in only_read)
            log.info("Only read by the steps, and in no checkpoint: %s.", names)


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Lets Python's collector of cycles wait, which would look through all that is traced, again and again.

    That takes a sixth of the time until a GPT has done its first step.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
