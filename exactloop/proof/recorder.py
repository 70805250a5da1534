"""The hook that writes down all that happens in a loop, and ends the life where it is told."""

import dataclasses
import hashlib
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from exactloop.proof.config import KillPoint
from exactloop.proof.disk import COMMITTED
from loop import NEVER, Every, Hook, Loop, Moment, RunResult, digest

HASHED = 2**24  # bytes of state that are hashed after each step; of a larger one, after every n-th step
SHORT = 8  # hex digits of the hash of a variable


class Saving(Protocol):
    """What is asked of a `Checkpoint`."""

    @property
    def directory(self) -> str: ...

    def wait(self) -> None: ...


class Recorder(Hook):
    """Writes a line for each event of a loop: its logs, a digest of the batches, a hash of each variable.

    Args:
        loop: The loop.
        number: Which one of the program it is: 0 is the first that is made.
        write: Writes a line.
        savers: Finds the hooks that save, when a run begins.
        stepwise: Whether to hear of each step, for which the compiled loop has to stop after each.
        death: Where to die.
        in_vain: Whether to go on where nobody saves.
        sources: Returns the files of the program that have been imported by then.
    """

    saves = True  # so it comes after all that might change the state
    everywhere = True  # in each of several workers

    def __init__(
        self,
        loop: Loop,
        number: int,
        write: Callable[[dict[str, object]], None],
        savers: Callable[[], Sequence[Saving]],
        *,
        stepwise: bool = True,
        death: KillPoint | None = None,
        in_vain: bool = True,
        sources: Callable[[], list[str]] = list,
    ) -> None:
        super().__init__(name="exactloop_recorder")  # which no hook of a user has
        self.every = Every(steps=1) if stepwise else NEVER
        self._loop, self._number, self._put, self._find, self._sources = loop, number, write, savers, sources
        self._in_vain = in_vain
        self._death = death if death is not None and death.loop == number else None
        self._savers: Sequence[Saving] = ()
        self._paths = list[str]()

    def run(self, run: Callable[..., RunResult], **totals: int) -> RunResult:
        """Runs the loop, and writes a line when all is over: what hooks do in `on_run_end` is part of what it leaves.

        That line is all there is of a run that is refused before it begins.
        """
        try:
            result = run(**totals)
        except BaseException as error:
            said = "\n".join([str(error), *getattr(error, "__notes__", ())])
            self._put(self._line("end", error={"kind": type(error).__name__, "message": said}))
            raise
        parts: dict[str, object] = {"result": {"step": result.step, "epoch": result.epoch, "reason": result.reason}}
        logs = {name: float(value).hex() for name, value in result.logs.items()}
        variables, python = self._loop.unsaved()
        parts |= {"unsaved": variables, "python": python}
        self._put(self._line("end", logs=logs, saved=self._saved(), **parts, **self._hashes()))
        return result

    def leave(self) -> None:
        """Writes a line when the program is over: it may have changed something after its last run."""
        # Without random states: what it draws then is no matter, unless something comes of it.
        if self._paths and not self._loop.running:
            self._put(self._line("exit", logs={}, state=self._hashes()["state"]))

    def saves_in(self, directory: str) -> bool:
        """Returns whether this loop saves in a directory."""
        return any(os.path.realpath(saver.directory) == directory for saver in self._savers)

    def on_setup(self, loop: Loop, moment: Moment) -> None:
        self._savers = self._find()

    def on_run_begin(self, moment: Moment) -> None:
        variables = self._loop.state.variables
        self._paths = [path for path in variables if path != "clock/seconds"]  # the training time is never the same
        size = sum(variable.dtype.size * (variable.shape.num_elements() or 0) for variable in variables.values())
        # Hashing takes as long as copying: of GBs at each step, the proof would take days.
        self._stride = 1 + size // HASHED
        phase = self._loop.state.position.phase
        pending = "eval_begin" if phase.is_due else "epoch_end" if phase.is_over else ""
        findings = [dataclasses.asdict(finding) for finding in self._loop.audit()]
        directories = [saver.directory for saver in self._savers]
        parts = {"variables": self._paths, "directories": directories, "sources": self._sources()}
        total, workers = self._loop.total_steps, self._loop.workers.count
        self._write("begin", moment, pending=pending, findings=findings, total=total, workers=workers, **parts)
        if not self._savers and not self._in_vain:
            die()  # before it trains, perhaps for long

    def on_step_end(self, moment: Moment) -> None:
        self._write("step_end", moment, batches=int(self._loop.state.variables["position/seen/digest"]))

    def on_settled(self, moment: Moment) -> None:
        whole = moment.step % self._stride == 0 or moment.step_in_epoch == 0 or moment.last
        self._write("settled", moment, saved=self._saved(), **(self._hashes() if whole else {}))

    def on_eval_begin(self, moment: Moment) -> None:
        self._write("eval_begin", moment)
        if self._death is not None and self._is_here("evaluation", moment):
            timer = threading.Timer(self._death.seconds, die)
            timer.daemon = True  # the evaluation may be over first
            timer.start()

    def on_eval_end(self, moment: Moment) -> None:
        self._write("eval_end", moment)
        if self._is_here("evaluation", moment):
            die()  # the timer was late

    def on_epoch_begin(self, moment: Moment) -> None:
        self._write("epoch_begin", moment)

    def on_epoch_end(self, moment: Moment) -> None:
        self._write("epoch_end", moment)

    def _write(self, event: str, moment: Moment, **parts: object) -> None:
        # As bits: decimal digits would make equal what is not.
        logs = {name: float(value).hex() for name, value in moment.logs.items()}
        self._put(self._line(event, logs=logs, **parts))
        if self._is_here(event, moment):
            if event in ("step_end", "epoch_end"):  # else few lives would get further than the one before
                for saver in self._savers:
                    saver.wait()
            die()

    def _line(self, event: str, **parts: object) -> dict[str, object]:
        loop = self._loop
        place = {"step": loop.step, "epoch": loop.epoch, "step_in_epoch": loop.step_in_epoch}
        return {"loop": self._number, "event": event, **place, "time": time.monotonic(), **parts}

    def _hashes(self) -> dict[str, str]:
        held = self._loop.state.capture()  # sync: below, all of it is read
        hashes = "".join(digest(held.values[path])[:SHORT] for path in self._paths)
        return {"state": hashes, "host": hashlib.sha256(repr(held.host).encode()).hexdigest()[:SHORT]}

    def _saved(self) -> list[int]:
        """Returns the steps of the checkpoints that are committed by now."""
        there = [saver.directory for saver in self._savers if os.path.isdir(saver.directory)]
        names = [name for directory in there for name in os.listdir(directory)]
        return sorted({int(match[1]) for name in names if (match := COMMITTED.fullmatch(name))})

    def _is_here(self, event: str, moment: Moment) -> bool:
        return self._death is not None and (event, moment.step) == (self._death.event, self._death.step)


def die() -> None:
    """Ends this life as a kill from outside would: also if the loop runs in a process that the program has forked."""
    os.killpg(0, signal.SIGKILL)  # each life is a group of its own
    os.kill(os.getpid(), signal.SIGKILL)  # this one has left it
