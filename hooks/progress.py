"""How far a run is, on a terminal, in a notebook or in a log."""

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Literal

import rich.console

from hooks.screen.best_so_far import BestSoFar
from hooks.screen.pace import Pace
from hooks.screen.progress_bar import NoBar, bar
from hooks.screen.ticker import Ticker
from hooks.shared.plain import plain
from hooks.shared.progress_line import ProgressLine, said_of
from loop import At, Every, Hook, Loop, Moment, Trigger

SHORTEST, LONGEST, MOST = 0.1, 10.0, 20  # of the time between two lines: seconds, and what part of the run so far
INSTEAD = {
    "refresh_rate": "write every=Every(steps=10)",
    "disable": "write verbose=0",
    "leave": "leave it out: what a bar ends with stays",
}


class Progress(Hook, instead=INSTEAD):
    """Shows how far a run is: a bar on a terminal or in a notebook, plain lines elsewhere.

    The bar has the epoch, the step, the rate of the last seconds of training alone, the time left, or how long it has
    taken if nobody knows the end, and as many of the latest values as fit. It says `tracing …` and `evaluating …`.
    It is drawn ten times a second at most, from what the loop has at hand wherever it halts.

    Each epoch has a line, and so has an evaluation within one, of the step at which it was. Of those that come fast,
    some are left out: they are a tenth of a second apart, and later a twentieth of the time so far, up to ten seconds;
    the last one is always there. Elsewhere than on a terminal, the steps of `every` have lines as well, all of them,
    and `Every(epochs=10)` has a line for each tenth epoch, and for no other. A value with a `*` is the best since this
    run was started, of those for which a hook says by its `mode=` what is better. The last line says what the time of
    the run went into; see `RunResult.spent`.

    What a program prints or logs meanwhile comes above the bar, as it is, and where it sends it. What C++ writes, such
    as `tf.print` in a step, begins behind the bar.

    Nothing is drawn where `CI` is set in the environment, or the terminal is a dumb one. `NO_COLOR` is heeded.

    Args:
        every: When to bring it up to date: by default each half second on a terminal, each half minute elsewhere.
        verbose: 0: nothing is shown; 1: as above; 2: lines for epochs and evaluations, no bar and no steps.
        console: Where to write; standard error by default.
        name: The name of the hook.
        on_error: What becomes of the run if nothing can be written there; see `Hook`. A bar that could not be drawn is
            gone for the rest of the run; lines are tried again.
    """

    on_error = "warn"
    everywhere = False

    _loop: Loop = Hook.later()
    _total: int | None = Hook.later()
    _best: BestSoFar = Hook.later()
    _evaluated: frozenset[str] = Hook.later()

    def __init__(
        self,
        every: Trigger | None = None,
        *,
        verbose: Literal[0, 1, 2] = 1,
        console: rich.console.Console | None = None,
        name: str | None = None,
        on_error: Literal["raise", "warn", "disable"] | None = None,
    ) -> None:
        super().__init__(name=name, on_error=on_error)
        if console is not None and not isinstance(console, rich.console.Console):
            wanted = "a rich.console.Console, as in rich.console.Console(file=sys.stdout)"
            raise TypeError(f"Progress(console=...) needs {wanted}. Received: {type(console).__name__}.")
        # Standard error, so that what a script prints can be piped.
        self._console = console or rich.console.Console(stderr=True)
        if type(self._console).on_broken_pipe is rich.console.Console.on_broken_pipe:  # which ends the process
            self._console.on_broken_pipe = _raise_again  # type: ignore[method-assign]
        self._verbose, self._said = verbose, ProgressLine()
        self._bar = bar(self._console, self._said) if verbose == 1 else NoBar(self._console)
        self.every = every or Every(seconds=0.5 if self._bar.live else 30.0)
        self._given = every
        if verbose != 1:
            self.every = At()
        self._drawing = False
        self._ticker, self._before = Ticker(self._tell_evaluation), dict[str, tuple[int, int | None]]()
        self._pace: Pace | None = None  # while a run goes on
        self._found: dict[str, float] = {}  # by the evaluation of this round, as long as no line has it
        self._in_line: Mapping[str, float] = {}  # in a line of this round
        self._latest: dict[str, float] = {}
        self._lined = self._drawn = -LONGEST  # when there was a line, and when it was drawn
        self._asked = False  # whether `every` has asked for this step

    @contextlib.contextmanager
    def around_run(self, loop: Loop) -> Iterator[None]:
        self._drawing, self._said.epoch, self._said.doing = self._bar.live, "", "tracing …"
        with contextlib.suppress(Exception):  # which comes again, where it is told
            self._draw(self._bar.draw)
        if self._bar.live:
            self._ticker.start()
        try:
            yield
        finally:
            self._ticker.stop()
            with contextlib.suppress(Exception):
                self._bar.stop(keep=False)

    def on_setup(self, loop: Loop, moment: Moment) -> None:
        self._loop = loop
        self._drawing = self._bar.live  # again, if an earlier run could not draw
        self._best, self._pace = BestSoFar(loop), None
        self._evaluated = frozenset(name for names in loop.evaluation_names.values() for name in names)
        self._said.first = self._best.watched
        self._found, self._in_line, self._latest = {}, {}, {}

    def on_run_begin(self, moment: Moment) -> None:
        self._total = self._loop.total_steps
        self._pace = Pace(self._console.get_time(), moment.step, self._total)
        self._lined = self._drawn = self._pace.began - LONGEST
        self._said.doing = ""
        if self._loop.finished:
            self._out(self._loop.finished)
        elif moment.resumed:
            self._out(f"Going on from step {moment.step}, epoch {moment.epoch + 1}.")
        self._show(moment, at_once=True)

    def on_step_end(self, moment: Moment) -> None:
        self._asked = True
        self._latest.update(moment.logs)
        if self._bar.live:
            self._show(moment)
        elif self._of_epochs() != "only":
            self._line(f"step {moment.step}", moment, moment.logs)

    def on_eval_begin(self, moment: Moment) -> None:
        if self._drawing:
            self._said.doing = "evaluating …"
            # Batches read so far, by evaluation: what has grown since is under way.
            self._before = self._loop.evaluated_batches
            self._show(moment)
            self._ticker.begin()

    def on_eval_end(self, moment: Moment) -> None:
        self._ticker.end()
        self._said.doing = ""
        self._latest.update(moment.logs)
        self._found = dict(moment.logs)
        self._best.compare(lambda monitor: monitor.value(moment))

    def on_epoch_end(self, moment: Moment) -> None:
        self._best.compare(lambda monitor: monitor.value(moment))
        self._latest.update(moment.logs)
        older = self._evaluated - {*self._found}
        logs = {name: value for name, value in moment.logs.items() if name not in older}
        if self._wanted(moment):
            self._line(f"epoch {moment.epoch}, step {moment.step}", moment, logs)
        self._found, self._in_line = {}, logs

    def on_report(self, moment: Moment) -> None:
        self._best.compare(lambda monitor: monitor.reported(moment))
        new = {name: value for name, value in moment.logs.items() if name not in self._in_line}
        self._found = {**self._found, **new}

    def on_settled(self, moment: Moment) -> None:
        self._latest.update(moment.logs)
        # An evaluation at the end of an epoch is in the epoch's line, and `_found` empty by now.
        if self._found and self._wanted(moment):
            self._line(f"step {moment.step}", moment, self._found)
        changed, self._found, self._in_line = bool(self._found or self._in_line), {}, {}
        self._ticker.end()  # of an evaluation that was given up
        self._asked, self._said.doing = False, ""
        if changed and self._drawing:
            self._show(moment)

    def on_run_end(self, moment: Moment) -> None:
        self._ticker.end()
        self._said.doing = ""
        try:
            if self._drawing and self._said.epoch:
                self._show(moment, at_once=True)
                self._draw(lambda: self._bar.stop(keep=True))
        finally:
            self._drawing = False
        if self._pace:  # it had begun
            self._out(self._spent())
            self._pace = None

    def _show(self, moment: Moment, *, at_once: bool = False) -> None:
        now = self._console.get_time()
        if self._drawing and (now - self._drawn >= SHORTEST or at_once):
            self._drawn = now
            self._update(moment, now)
            self._draw(self._bar.draw)

    def _update(self, moment: Moment, now: float) -> None:
        said, epochs = self._said, self._loop.total_epochs
        epoch = max(1, moment.epoch + (moment.step_in_epoch > 0))  # the one of the latest step
        said.epoch = f"{epoch}/{epochs}" if epochs else str(epoch)
        said.step, said.total, said.rate = moment.step, self._total, self._rate(moment)
        trained = {name: value for name, value in self._latest.items() if name not in self._evaluated}
        said.values, said.best, said.time = {**trained, **self._latest}, {*self._best.names}, self._time(moment, now)

    def _tell_evaluation(self) -> None:
        """Says how far an evaluation is, in a thread of its own: the latest that has read something since it began."""
        now = self._loop.evaluated_batches
        done, total = next((now[name] for name in reversed(now) if now[name] != self._before.get(name)), (0, None))
        self._said.doing = f"evaluating {done}/{total or '?'}"
        # In the ticker's thread. rich locks its console, and `Ticker.end` waits for this to return.
        self._bar.draw()

    def _time(self, moment: Moment, now: float) -> str:
        return self._pace.time(moment.step, now) if self._pace else ""

    def _rate(self, moment: Moment) -> str:
        return self._pace.rate(moment.step, self._loop.spent.get("steps", 0.0)) if self._pace else ""

    def _spent(self) -> str:
        spent = self._loop.spent
        whole = sum(spent.values()) or 1.0
        shares = sorted(((seconds / whole, what) for what, seconds in spent.items()), reverse=True)
        return f"{whole:.1f} s: " + ", ".join(f"{plain(what)} {share:.0%}" for share, what in shares if share >= 0.005)

    def _of_epochs(self) -> Literal["only", "also", "not"]:
        """Returns whether `every` is about epochs."""
        units = {getattr(each, "unit", "") for each in _parts(self._given)}  # of `Every`; other triggers have none
        return "not" if "epochs" not in units else "only" if units == {"epochs"} else "also"

    def _wanted(self, moment: Moment) -> bool:
        """Returns whether there is a line for an epoch, or an evaluation, that has come to an end."""
        last = moment.last or moment.step == self._total
        if not self._bar.live and self._verbose == 1 and self._of_epochs() != "not":
            return self._asked or last
        now = self._console.get_time()
        began = self._pace.began if self._pace else now
        gap = min(LONGEST, max(SHORTEST, (now - began) / MOST))
        wanted = last or now - self._lined >= gap
        self._lined = now if wanted else self._lined  # a line that was left out counts for nothing
        return wanted

    def _line(self, where: str, moment: Moment, logs: Mapping[str, float]) -> None:
        of = f" of {self._total}" if self._total else ""
        if self._drawing and self._said.epoch:
            self._drawn = self._console.get_time()
            self._update(moment, self._drawn)  # the bar comes again below the line
        values = "  ".join(said_of(name, value, best=name in self._best.names) for name, value in logs.items())
        self._out(f"{where}{of}  {values}  ({self._rate(moment)})")

    def _out(self, line: str) -> None:
        """Writes a line as it is: names may have brackets in them."""
        if self._verbose:
            self._draw(lambda: self._bar.above(line))

    def _draw(self, draw: Callable[[], object]) -> None:
        """Has rich write something. If it cannot, it lets go of everything: prints of others go through a bar, too."""
        try:
            draw()
        except BaseException:
            self._drawing = False
            with contextlib.suppress(Exception):
                self._bar.stop(keep=False)
            with contextlib.suppress(Exception):
                self._console.begin_capture()
                self._console.end_capture()  # of what was not written, which would be kept, and grow
            raise


def _parts(trigger: Trigger | None) -> list[object]:
    """Returns what a trigger is joined of."""
    inner = [vars(trigger)[name] for name in ("first", "second")] if type(trigger).__name__ == "Either" else []
    return [part for each in inner for part in _parts(each)] or [trigger]


def _raise_again() -> None:
    raise sys.exception() or BrokenPipeError
