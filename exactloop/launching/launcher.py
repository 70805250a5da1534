"""Starts all workers of a script, passes signals on, and starts all anew when one has failed."""

import contextlib
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from types import FrameType

from exactloop.launching.crew import Crew, Failure
from exactloop.launching.devices import devices
from exactloop.launching.output import write
from exactloop.launching.places import Cluster
from exactloop.launching.worker import described

GRACE = 15.0  # seconds; without any signal, workers end within 10 when one of them has failed
APART = (
    "Workers that have called loop.connect() end together: if one is waited for, its script has ended before that line."
)
ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
AT_ONCE = {"PYTHONUNBUFFERED": "1"}  # what they print into pipes
ALIKE = {"PYTHONHASHSEED": "0"}  # unless it is set: or a set of texts had another order in each, and in each start
PASSED_ON = (*ENDING, signal.SIGUSR1, signal.SIGUSR2)  # which schedulers send, too


class Launcher:
    """Runs a command on several workers.

    Args:
        command: What each worker of this machine runs.
        places: Who trains together.
        restarts: How many times all may be started anew.
        environment: In what environment, but for what tells workers apart.
        grace: Seconds that the others have to end, from SIGTERM to SIGKILL, when one has failed.
    """

    def __init__(
        self,
        command: Sequence[str],
        places: Cluster,
        *,
        restarts: int = 0,
        environment: Mapping[str, str] = os.environ,
        grace: float = GRACE,
    ) -> None:
        self._command, self._places, self._restarts, self._grace = command, places, restarts, grace
        own = devices(len(places.here), environment)  # raises now, before anything is started
        self._environments = {
            rank: {**ALIKE, **environment, **device, **AT_ONCE, **places.variables(rank)}
            for rank, device in zip(places.here, own, strict=True)
        }
        self._crew: Crew | None = None
        self._heard: list[int] = []  # all signals so far, in order; written by a handler

    def run(self) -> int:
        """Starts all, and again until all have ended well, or have been restarted often enough, or are asked to end.

        Returns:
            The exit status: that of the first worker that failed, or 128 and the number of the signal that killed it;
            0 if none failed.
        """
        with self._signals():
            restart = 0
            while True:
                failure = self._once()
                if failure is None:
                    return 0
                # Somebody has ended it on purpose: started anew, it would have to be ended again.
                if self._is_answer(failure):
                    return failure.exit_status
                _say(f"{self._places.name(failure.rank)} {described(failure.status)}; the others were ended.")
                if restart == self._restarts or self._is_to_end:
                    return failure.exit_status
                restart += 1
                _say(f"Starting all anew: restart {restart} of {self._restarts}.")

    def _once(self) -> Failure | None:
        self._crew = Crew(self._command, self._environments, self._grace, self._tell_apart)
        if self._is_to_end:  # since it was decided to start
            self._crew.ask(self._heard[-1])
        try:
            return self._crew.run()
        finally:
            self._crew = None

    def _tell_apart(self, over: Sequence[int]) -> None:
        """Says who has ended well while others have not."""
        names = ", ".join(map(self._places.name, over))
        _say(f"{names} {described(0)}, and others go on. {APART}")

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Passes signals on while in it; those that are ignored, as by nohup, are ignored by the workers as well."""
        before = {number: signal.getsignal(number) for number in (*PASSED_ON, signal.SIGTTOU)}
        heard = [number for number in PASSED_ON if before[number] != signal.SIG_IGN]
        try:
            signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # workers are in the background, which `stty tostop` stops
            for number in heard:
                signal.signal(number, self._hear)  # before the first worker is there
            yield
        finally:
            for number in (*heard, signal.SIGTTOU):
                signal.signal(number, before[number])

    def _hear(self, number: int, frame: FrameType | None) -> None:
        # A second Ctrl-C: whoever sends it does not want to wait for the save.
        again = number in ENDING and self._is_to_end
        self._heard.append(number)
        if self._crew is not None:
            if again:
                self._crew.kill()
            else:
                self._crew.ask(number)

    @property
    def _is_to_end(self) -> bool:
        return any(number in ENDING for number in self._heard)

    def _is_answer(self, failure: Failure) -> bool:
        """Returns whether a worker ended as one does that was sent a signal which was passed on."""
        return any(failure.status in (-number, 128 + number) for number in self._heard)


def _say(what: str) -> None:
    write(2, f"exactloop launch: {what}\n".encode(errors="replace"))  # not by print, which may raise
