"""How far a run is, on a terminal or in a log."""

import contextlib
import sys
from collections.abc import Callable, Mapping
from typing import Literal

import rich.console
import rich.progress

from hooks.figures import figure
from loop import Every, Hook, Loop, Moment, Trigger


class Progress(Hook, instead={"verbose": "leave it out", "refresh_rate": "write every=Every(steps=10)"}):
    """Shows a bar with rate, time left and the latest values on a terminal, and plain lines elsewhere.

    What an evaluation found stands in a line of the step at which it was, which is that of an epoch's end if it is one.
    The last line says what the time of the run went into; see `RunResult.spent`.

    Args:
        every: When to bring it up to date: by default each half second on a terminal, each half minute elsewhere.
        console: Where to write; standard error by default.
        name: The name of the hook.
        on_error: What becomes of the run if nothing can be written there; see `Hook`. A bar that could not be drawn is
            gone for the rest of the run; lines are tried again.
    """

    on_error = "warn"

    _loop: Loop = Hook.later()
    _task: rich.progress.TaskID | None = Hook.later()
    _found: Mapping[str, float] = Hook.later()  # by the evaluation of this round, as long as no line has it
    _said: Mapping[str, float] = Hook.later()  # in a line of this round
    _total: int | None = Hook.later()
    _began: float = Hook.later()
    _first: int = Hook.later()

    def __init__(
        self,
        every: Trigger | None = None,
        *,
        console: rich.console.Console | None = None,
        name: str | None = None,
        on_error: Literal["raise", "warn", "disable"] | None = None,
    ) -> None:
        super().__init__(name=name, on_error=on_error)
        if console is not None and not isinstance(console, rich.console.Console):
            wanted = "a rich.console.Console, as in rich.console.Console(file=sys.stdout)"
            raise TypeError(f"Progress(console=...) needs {wanted}. Received: {type(console).__name__}.")
        self._console = console or rich.console.Console(stderr=True)
        if type(self._console).on_broken_pipe is rich.console.Console.on_broken_pipe:  # which ends the process
            self._console.on_broken_pipe = _raise_again  # type: ignore[method-assign]
        self.every = every or Every(seconds=0.5 if self._console.is_terminal else 30.0)
        self._bar = rich.progress.Progress(
            rich.progress.TextColumn("epoch {task.fields[epoch]}"),
            rich.progress.BarColumn(),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TextColumn("{task.fields[rate]}"),
            rich.progress.TimeRemainingColumn(),
            rich.progress.TextColumn("{task.fields[values]}", markup=False),
            console=self._console,
            auto_refresh=False,  # no thread of its own beside the compiled loop
            disable=not self._console.is_terminal,
        )

    def on_setup(self, loop: Loop, moment: Moment) -> None:
        self._loop = loop
        self._task = None
        self._found = self._said = {}

    def on_run_begin(self, moment: Moment) -> None:
        self._total = self._loop.total_steps
        self._began, self._first = self._bar.get_time(), moment.step
        if self._loop.finished:
            self._out(self._loop.finished)
        elif moment.resumed:
            self._out(f"Going on from step {moment.step}, epoch {moment.epoch + 1}.")
        # Begun where the run is: what earlier runs did says nothing about the rate of this one.
        self._task = self._bar.add_task("", total=self._total, completed=moment.step, epoch="", rate="", values="")
        self._draw(self._bar.start)
        self._show(moment)

    def on_step_end(self, moment: Moment) -> None:
        if self._console.is_terminal:
            self._show(moment)
        else:
            self._line(f"step {moment.step}", moment, moment.logs)

    def on_eval_end(self, moment: Moment) -> None:
        self._found = moment.logs

    def on_epoch_end(self, moment: Moment) -> None:
        evaluated = {name for names in self._loop.evaluation_names.values() for name in names}
        older = evaluated - {*self._found}
        logs = {name: value for name, value in moment.logs.items() if name not in older}
        self._line(f"epoch {moment.epoch}, step {moment.step}", moment, logs)
        self._found, self._said = {}, logs

    def on_report(self, moment: Moment) -> None:
        new = {name: value for name, value in moment.logs.items() if name not in self._said}
        self._found = {**self._found, **new}

    def on_settled(self, moment: Moment) -> None:
        if self._found:
            self._line(f"step {moment.step}", moment, self._found)
            self._found = {}
        self._said = {}

    def on_run_end(self, moment: Moment) -> None:
        if self._task is not None:
            try:
                self._show(moment)
                self._draw(self._bar.stop)
            finally:
                self._bar.remove_task(self._task)
                self._task = None
            self._out(self._spent())

    def _show(self, moment: Moment) -> None:
        if self._task is not None:
            values = self._values(moment.logs)
            epoch = max(1, moment.epoch + (moment.step_in_epoch > 0))  # the one of the latest step
            fields = {"epoch": str(epoch), "rate": self._rate(moment)} | ({"values": values} if values else {})
            self._bar.update(self._task, completed=moment.step, **fields)  # type: ignore[arg-type]
            self._draw(self._bar.refresh)

    def _values(self, logs: Mapping[str, float]) -> str:
        return "  ".join(f"{name} {figure(value)}" for name, value in logs.items())

    def _rate(self, moment: Moment) -> str:
        seconds = self._bar.get_time() - self._began
        return f"{(moment.step - self._first) / seconds:.1f} steps/s" if seconds > 0 else ""

    def _spent(self) -> str:
        spent = self._loop.spent
        whole = sum(spent.values()) or 1.0
        shares = sorted(((seconds / whole, what) for what, seconds in spent.items()), reverse=True)
        return f"{whole:.1f} s: " + ", ".join(f"{what} {share:.0%}" for share, what in shares if share >= 0.005)

    def _line(self, where: str, moment: Moment, logs: Mapping[str, float]) -> None:
        of = f" of {self._total}" if self._total else ""
        line = f"{where}{of}  {self._values(logs)}  ({self._rate(moment)})"
        self._out(line)

    def _out(self, line: str) -> None:
        """Writes a line as it is: names may have brackets in them."""
        self._draw(lambda: self._console.out(line, highlight=False))

    def _draw(self, draw: Callable[[], object]) -> None:
        """Has rich write something. If it cannot, it lets go of everything: prints of others go through a bar, too."""
        try:
            draw()
        except BaseException:
            with contextlib.suppress(Exception):
                self._bar.stop()
            with contextlib.suppress(Exception):
                self._console.begin_capture()
                self._console.end_capture()  # of what was not written, which would be kept, and grow
            raise


def _raise_again() -> None:
    raise sys.exception() or BrokenPipeError
