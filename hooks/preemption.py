"""Ends a run in good order when the process is asked to go."""

import logging
import signal
import threading
from collections.abc import Iterable, Sequence
from types import FrameType

from hooks.signals import SignalListener
from loop import Hook, Loop, Moment

log = logging.getLogger("exactloop")


class Preemption(Hook, instead={"signal": "write signals=[signal.SIGTERM]", "exit_code": "write exit=True or False"}):
    """On SIGTERM or SIGINT, stops after the step in progress; Checkpoint then saves, and the process exits.

    Python calls signal handlers only between its own instructions, so not while a compiled chunk runs. A thread that
    reads `signal.set_wakeup_fd` hears of them at once and makes the chunk return after the step in progress. A second
    SIGINT raises `KeyboardInterrupt`. When the run has ended, handlers set before are put back, and called for
    what was heard: not earlier, because they may end the process. A signal that is ignored stays ignored.

    Outside the main thread, where Python allows no handlers, this hook does nothing.

    Args:
        signals: The signals to hear.
        exit: Whether to end the process with status 128 + the signal's number (143, 130) once the run has ended, or to
            let `run()` return, with the signal's name as `RunResult.reason`.
        name: The name of the hook.

    Raises:
        ValueError: If no process can hear one of the signals.
    """

    _loop: Loop = Hook.later()
    _heard: list[int] = Hook.later()
    _handled: list[int] = Hook.later()

    def __init__(
        self,
        signals: Sequence[signal.Signals] = (signal.SIGTERM, signal.SIGINT),
        *,
        exit: bool = True,  # noqa: A002 (the word that says it)
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
        self._listener: SignalListener | None = None

    def on_setup(self, loop: Loop, moment: Moment) -> None:
        self._loop = loop
        self._heard: list[int] = []  # by the listener
        self._handled: list[int] = []  # by the handler
        if threading.current_thread() is not threading.main_thread():
            log.warning("Preemption hears no signals: this run is not in the main thread.")
            return
        self._listener = SignalListener(self._signals, self._hear, self._handle)

    def on_run_end(self, moment: Moment) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()
            for number in dict.fromkeys(self._heard):
                previous = listener.previous[number]
                if callable(previous) and previous is not signal.default_int_handler:
                    previous(number, None)
        if self._heard and self._exit and moment.error is None:
            raise SystemExit(128 + self._heard[0])

    def _hear(self, number: int) -> None:
        if number in self._signals:
            self._heard.append(number)
            self._loop.stop(signal.Signals(number).name)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._handled.append(number)
        # During a chunk, two signals are one call of this handler; between chunks, the listener may be a moment behind.
        if max(self._heard.count(signal.SIGINT), self._handled.count(signal.SIGINT)) > 1:
            raise KeyboardInterrupt


def _signals(given: Iterable[int]) -> list[signal.Signals]:
    """Returns the signals. Raises `TypeError` if it is one and no list, or a name."""
    listed = list(given) if isinstance(given, Iterable) else []
    if (not listed and not isinstance(given, Sequence)) or not all(isinstance(number, int) for number in listed):
        one = given.name if isinstance(given, signal.Signals) else "SIGTERM"
        raise TypeError(
            f"Preemption(signals=...) needs a list of signals, as in signals=[signal.{one}]. Received: {given!s:.80}."
        )
    if unknown := [number for number in listed if number not in {*signal.Signals}]:
        raise ValueError(f"Preemption(signals=...) needs signals of this system. Received: {unknown!r:.80}.")
    return [signal.Signals(number) for number in listed]
