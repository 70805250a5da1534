"""Ends a run in good order when the process is asked to go."""

import contextlib
import logging
import signal
import threading
from collections.abc import Iterable, Iterator, Sequence
from types import FrameType

from hooks.grace import Grace
from hooks.signals import SignalListener
from loop import Hook, Loop, Moment

log = logging.getLogger("exactloop")


INSTEAD = {
    "signal": "write signals=[signal.SIGTERM]",
    "exit_code": "write exit=True or False",
    **dict.fromkeys(("grace_period", "grace_seconds", "timeout", "deadline"), "write grace=30, in seconds"),
}


class Preemption(Hook, instead=INSTEAD):
    """On SIGTERM or SIGINT, stops after the step in progress; Checkpoint then saves, and the process exits.

    Python calls signal handlers only between its own instructions, so not while a compiled chunk runs. A thread that
    reads `signal.set_wakeup_fd` hears of them at once and makes the chunk return after the step in progress; of an
    evaluation, after the batch. A second SIGINT raises `KeyboardInterrupt`. While a loop is traced for the first time,
    there is nothing to save, and it ends there, with `exit`; without, before its first step.

    Signals are heard from the beginning of `run()` to its end. Then handlers set before are put back, and called for
    what was heard: not earlier, because they may end the process. So is what asyncio had asked for by
    `add_signal_handler`. A signal that is ignored stays ignored.

    Outside the main thread, where Python allows no handlers, this hook hears nothing. With `asyncio.to_thread(loop.run,
    epochs=3)`, say `asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, loop.stop, "SIGTERM")`.

    Args:
        signals: The signals to hear, such as SIGUSR1, which SLURM sends with `--signal=USR1@60`.
        exit: Whether to end the process with status 128 + the signal's number (143, 130) once the run has ended, or to
            let `run()` return, with the signal's name as `RunResult.reason`.
        grace: Seconds from the signal within which the last save has to begin: what the system grants before it
            kills, less what a save takes. Only a settled step can be saved, so nothing can be cut shorter than the
            step in progress, whatever this says. But if steps take longer than this, it is logged before any signal
            comes; if the save does not begin in time, it is logged when the time is over; and when it begins, after how
            many seconds that was. None: nothing is logged.
        name: The name of the hook.

    Raises:
        ValueError: If no process can hear one of the signals, or `grace` is not positive.
    """

    on_error = "warn"  # what it does at a settled step is to look at the time

    _loop: Loop = Hook.later()

    def __init__(
        self,
        signals: Sequence[signal.Signals] = (signal.SIGTERM, signal.SIGINT),
        *,
        exit: bool = True,  # noqa: A002 (the word that says it)
        grace: float | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        signals = _signals(signals)
        for unheard in {signal.SIGKILL, signal.SIGSTOP} & set(signals):
            raise ValueError(
                f"Preemption cannot hear {unheard.name}: the system gives it to no process. "
                "Take SIGTERM, SIGINT, or what your scheduler sends before it kills, such as SIGUSR1."
            )
        self._signals, self._exit = tuple(signals), exit
        self._grace = None if grace is None else Grace(grace)
        self._listener: SignalListener | None = None
        self._forget()

    def _forget(self) -> None:
        self._heard: list[int] = []  # by the listener
        self._elsewhere = 0  # what another worker has heard
        self._handled: list[int] = []  # by the handler
        self._over = False

    @contextlib.contextmanager
    def around_run(self, loop: Loop) -> Iterator[None]:
        self._forget()
        self._loop = loop
        if threading.current_thread() is not threading.main_thread():
            log.warning(
                "Preemption hears no signals: this run is not in the main thread. Have them heard there: with asyncio, "
                "asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, loop.stop, 'SIGTERM')."
            )
            yield
            return
        if self._grace is not None:
            self._grace.begin(loop)
        # Heard from here on, and so while the loop is traced, which may take minutes.
        listener = self._listener = SignalListener(self._signals, self._hear, self._handle)
        failed: BaseException | None = None
        try:
            listener.begin()
            yield
        except BaseException as error:
            failed = error
            raise
        finally:
            self._over, self._listener = True, None
            if self._grace is not None:
                self._grace.end()
            listener.close()
            for number in dict.fromkeys(self._heard):
                try:
                    listener.pass_on(number)
                except SystemExit as ended:
                    if failed is None:
                        raise
                    failed.add_note(f"Then {ended!r}, from a handler of {signal.Signals(number).name}")
            del failed  # or this frame and its exception would keep each other alive
        # The first one counts: a second SIGTERM does not change what the process ends with.
        heard = [*self._heard, *([self._elsewhere] if self._elsewhere else [])]
        if heard and self._exit:
            raise SystemExit(128 + heard[0])

    def on_settled(self, moment: Moment) -> None:
        if self._listener is None:  # outside the main thread: nothing was begun
            return
        self._listener.listen()
        if self._grace is not None:
            self._grace.settled(moment)

    def on_run_end(self, moment: Moment) -> None:
        if self._loop.workers.count > 1 and moment.error is None:  # all of them end as the one that was told to
            number = self._heard[0] if self._heard else 0
            said = self._loop.workers.exchange(float(number), at=f"which signal was heard by {self.name}")
            self._elsewhere = int(said.max())

    def _hear(self, number: int) -> None:
        self._heard.append(number)
        self._loop.stop(signal.Signals(number).name)
        if self._grace is not None and not self._over:
            self._grace.asked(signal.Signals(number).name)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._handled.append(number)
        if self._over:
            return
        # While it is traced, nothing is lost by an end at once, and tracing may take minutes.
        at_once = self._exit and not self._has_state()
        if at_once and number != signal.SIGINT:
            raise SystemExit(128 + number)
        # During a chunk, two signals are one call of this handler; between chunks, the listener may be a moment behind.
        interrupts = max(self._heard.count(signal.SIGINT), self._handled.count(signal.SIGINT))
        if interrupts > 1 or at_once:
            raise KeyboardInterrupt

    def _has_state(self) -> bool:
        try:
            return self._loop.state is not None
        except AttributeError:  # it is being traced
            return False


def _signals(given: Iterable[int]) -> list[signal.Signals]:
    """Returns the signals. Raises `TypeError` if it is one and no list, or a name."""
    listed = list(given) if isinstance(given, Iterable) else []
    if (not listed and not isinstance(given, Sequence)) or not all(isinstance(number, int) for number in listed):
        one = given.name if isinstance(given, signal.Signals) else "SIGTERM"
        raise TypeError(
            f"Preemption(signals=...) needs a list of signals, as in signals=[signal.{one}]. Received: {given!s:.80}."
        )
    if not listed:
        raise ValueError("Preemption(signals=...) needs at least one signal. Received: none. Or leave the hook out.")
    if unknown := [number for number in listed if number not in {*signal.Signals}]:
        raise ValueError(f"Preemption(signals=...) needs signals of this system. Received: {unknown!r:.80}.")
    return [signal.Signals(number) for number in listed]
