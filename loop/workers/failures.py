"""Notices that another worker has failed, and ends what waits for it."""

import contextlib
import logging
import os
import re
import sys
import threading
from typing import Protocol

import tensorflow as tf

from loop.tf_internals import abort_collectives
from loop.workers.store import Value, WorkerFailed

log = logging.getLogger("exactloop")
KEY = "failed"
TASK = re.compile(r"/job:(\w+)/(?:replica:\d+/)?task:(\d+)")
GRACE = 3.0  # seconds in which a process ends by itself when another one has failed
KNOWN_WITHIN = 10.0  # seconds until it is known who has failed, when something has come of it


class Telling(Protocol):
    """What workers tell one another."""

    rank: int

    def put(self, key: str, value: Value) -> bool: ...

    def listen(self, key: str) -> Value: ...

    def name(self, rank: int) -> str: ...


class Failures:
    """Watches the other workers, in a thread.

    A worker that fails says so. One that is killed is missed by TensorFlow, within seconds. Then what waits for it is
    ended: sums in the compiled loop raise, and a process that does not end by itself is ended.

    Attributes:
        said: Who has failed, and how, in one line; None as long as nobody has.
        has_told: Whether this worker has.

    Args:
        workers: All of them.
    """

    def __init__(self, workers: Telling) -> None:
        self._workers = workers
        self.said: str | None = None
        self.has_told = False
        self._known, self._over = threading.Event(), False
        threading.Thread(target=self._watch, daemon=True, name="failures").start()

    def tell(self, error: BaseException) -> None:
        """Tells the others that this worker will not go on, and why."""
        self.has_told = True
        said = f"{type(error).__name__}: {error}".splitlines() or [""]
        with contextlib.suppress(Exception):
            self._workers.put(KEY, {"rank": self._workers.rank, "said": said[0][:500]})

    def leave(self) -> None:
        """Has nobody be watched any more, because all are done."""
        self._over = True

    def explained(self, error: BaseException) -> BaseException:
        """Returns what to raise instead of an error: who has failed, if it comes of that."""
        lost = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError, tf.errors.InternalError)
        if isinstance(error, WorkerFailed) or not isinstance(error, (*lost, tf.errors.UnknownError)):
            return error
        self._known.wait(KNOWN_WITHIN)
        return error if self.said is None else WorkerFailed(self.said)

    def _watch(self) -> None:
        try:
            value = self._workers.listen(KEY)
        except tf.errors.OpError as error:
            self._found(self._who(error.message))
        else:
            if isinstance(value, dict) and value["rank"] != self._workers.rank:
                self._found(f"{self._workers.name(int(str(value['rank'])))} has failed: {value['said']}")

    def _who(self, message: str) -> str:
        """Returns who has gone, as far as an error of TensorFlow's says it."""
        ranks = [int(number) for _, number in TASK.findall(message)]
        others = [rank for rank in ranks if rank != self._workers.rank]
        who = self._workers.name(others[0]) if others else self._workers.name(0)
        return f"{who} has gone: it was killed, or cannot be reached any more"

    def _found(self, said: str) -> None:
        if self._over:
            return
        self.said = said
        self._known.set()
        with contextlib.suppress(tf.errors.OpError):
            abort_collectives(said)
        threading.Event().wait(GRACE)
        if not self._over:
            print(f"exactloop: {said}", file=sys.stderr, flush=True)
            os._exit(1)
