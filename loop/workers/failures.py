"""Notices that another worker has failed, and ends what waits for it."""

import contextlib
import logging
import os
import re
import sys
import threading
from typing import TYPE_CHECKING

import tensorflow as tf

from loop.errors.op_errors import shortened
from loop.tf_internals import abort_collectives
from loop.workers.store import Value, WorkerFailed
from loop.workers.waits import SHORT, Waits

if TYPE_CHECKING:
    from loop.workers.cluster import Workers

log = logging.getLogger("exactloop")
KEY = "failed"
TASK = re.compile(r"/job:(\w+)/(?:replica:\d+/)?task:(\d+)")
IN_USER_CODE = "in user code:"  # begins what TensorFlow says of an error while tracing; that itself comes last
LOST = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError, tf.errors.InternalError) + (
    tf.errors.UnknownError,
    tf.errors.DeadlineExceededError,
)
GONE = "{} has gone: it was killed, or cannot be reached any more"
SILENT = (
    "Nothing was heard of another worker for some seconds: its machine, or this one, stands still, is too busy, or "
    "cannot be reached"
)
SERVICE = "CoordinationService"  # of TensorFlow, in what it says of calls that nobody has answered
LEFT = "left"
LOOK_EVERY = 1.0  # seconds
UNANSWERED = 10  # times that much, for which the first worker may owe an answer: more than TensorFlow gives the others
TELL_WITHIN = 2.0  # seconds in which the others are told, if that can be done
PATIENCE = 600.0  # seconds after which a script that is done says for whom it waits, each time
GRACE = 3.0  # seconds in which a process ends by itself when another one has failed
KNOWN_WITHIN = 10.0  # seconds until it is known who has failed, when something has come of it


class FailureWatch:
    """Watches the other workers, in a thread.

    A worker that fails says so. One that is killed is missed by TensorFlow, within seconds. Then what waits for it is
    ended: sums in the compiled loop raise, and a process that does not end by itself is ended.

    Attributes:
        said: Who has failed, and how, in one line; None as long as nobody has.
        has_told: Whether this worker has.
        waits: What this worker waits for.

    Args:
        workers: All of them.
    """

    def __init__(self, workers: "Workers") -> None:
        self._workers, self._process = workers, os.getpid()
        self.said: str | None = None
        self.has_told = self._exits = False  # the latter: it ends in the midst of a run, with a status of its own
        self.waits = Waits(workers)
        self._known, self._over = threading.Event(), False
        self._asks, self._unanswered, self._finding = True, 0, threading.Lock()
        threading.Thread(target=self._watch, daemon=True, name="failures").start()
        if workers.rank:
            threading.Thread(target=self._count, daemon=True, name="answers").start()

    def tell(self, error: BaseException) -> None:
        """Tells the others that this worker will not go on, and why."""
        # The others are told of the last by `leave`. A child of this process is no worker, and has no store.
        self._exits = self._exits or isinstance(error, SystemExit)
        if self.has_told or isinstance(error, SystemExit) or os.getpid() != self._process:
            return
        # Once: what is raised because of the first failure would be told in its place.
        self.has_told = True
        text, _ = shortened(str(error))
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        kind = f"{type(error).__name__}: "
        said = lines[-1].removeprefix(kind) if lines and lines[0] == IN_USER_CODE else "".join(lines[:1])
        told = {"rank": self._workers.rank, "said": f"{kind}{said:.1000}"}
        # In a thread: a first worker that stands still would never answer.
        telling = threading.Thread(target=self._tell, args=[told], daemon=True, name="telling")
        telling.start()
        telling.join(TELL_WITHIN)

    def _tell(self, told: Value) -> None:
        with contextlib.suppress(Exception):
            self._workers.put(KEY, told)

    def leave(self) -> None:
        """Tells the others that this worker is done, and watches them no more when all are.

        If one of them fails before it is done, this process ends as one that has failed, too; unless it is the first
        that goes.
        """
        if self.has_told or os.getpid() != self._process:
            return
        with contextlib.suppress(WorkerFailed, TimeoutError, tf.errors.OpError):
            self._workers.put(LEFT, self._workers.rank)
            self._workers.put(f"done/{self._workers.rank}", True)
            # The first worker runs the store: had it left, the others would take it for dead, and be ended in the midst
            # of what one of them does after training, however long that takes. Who dies is missed, and ends the wait.
            for rank in range(self._workers.count):
                while not self._is_done(rank):
                    log.warning("This worker is done, and waits for %s to end its script.", self._workers.name(rank))
            # Whoever goes from here on was done. The first one goes last: others would take it for gone.
            self._over = True
            self._workers.put(f"over/{self._workers.rank}", True)
            for rank in range(self._workers.count if self._workers.rank == 0 else 0):
                self._workers.get(f"over/{rank}", KNOWN_WITHIN)
        if not (self._over or self._exits):
            self._known.wait(KNOWN_WITHIN)
            with contextlib.suppress(OSError, ValueError):  # nobody reads it any more, or it is closed
                sys.stdout.flush()
            _end(self.said or self._lost())
        self._over = True

    def _is_done(self, rank: int) -> bool:
        """Waits for a while for another worker to be done, and returns whether it is."""
        try:
            self._workers.get(f"done/{rank}", PATIENCE)
        except TimeoutError:
            return False
        return True

    def left(self) -> str | None:
        """Returns, in words, who has left, because its script is done."""
        try:
            rank = int(str(self._workers.listen(LEFT, SHORT)))
        except TimeoutError:
            return None
        return f"{self._workers.name(rank)} has left: its script has ended while others still train"

    def explained(self, error: BaseException) -> BaseException:
        """Returns what to raise instead of an error: who has failed, if it comes of that."""
        if not isinstance(error, tf.errors.OpError) or not isinstance(error, LOST):
            return error
        if self.said is None and (gone := self._gone(error.message)):
            self._known.wait(LOOK_EVERY)  # who has gone may have said why, a moment before
            self.said = self.said or gone  # or whatever else waits for that worker, such as a save, would wait on
            return WorkerFailed(self.said)
        # TensorFlow's own error may come a moment before its cause is known here.
        self._known.wait(KNOWN_WITHIN)
        return error if self.said is None else WorkerFailed(self.said)

    def _watch(self) -> None:
        said = None
        while said is None and not self._over:
            said = self._look()
        self._asks = False
        if said:
            self._found(said)

    def _count(self) -> None:
        """Waits for the first worker to owe an answer for too long, as when it is suspended, or its machine is gone.

        TensorFlow's call would wait for it without an end. Counted, and not timed: who stood still itself has not
        waited meanwhile.
        """
        while self._asks and self._unanswered < UNANSWERED:
            threading.Event().wait(LOOK_EVERY)
            self._unanswered += 1
        if self._asks:
            self._found(self._lost())

    def _look(self) -> str | None:
        """Waits for a while, and returns what has happened to another worker: nothing in words, if to this one."""
        self._unanswered = 0
        try:
            try:
                value = self._workers.listen(KEY, LOOK_EVERY)
            except TimeoutError:
                return (self.left() or self._elsewhere()) if self.waits.last() else None
        except tf.errors.OpError as error:
            return self._gone(error.message) or self._lost()
        if not isinstance(value, dict) or value["rank"] == self._workers.rank:
            return ""
        return f"{self._workers.name(int(str(value['rank'])))} has failed: {value['said']}"

    def _elsewhere(self) -> str | None:
        """Returns that another one waits for something else, and tells the others."""
        said = self.waits.elsewhere()
        if said:
            self.tell(RuntimeError(said))
        return said

    def _gone(self, message: str) -> str:
        """Returns who has gone, in words, if an error of TensorFlow's says it; else nothing."""
        # From the text: errors name tasks in no other way.
        ranks = [self._workers.rank_of(kind, int(number)) for kind, number in TASK.findall(message)]
        others = [rank for rank in ranks if rank != self._workers.rank]
        if others:
            return GONE.format(self._workers.name(others[0]))
        return self._lost() if SERVICE in message else ""

    def _lost(self) -> str:
        """Returns, in words, that what all tell one another is out of reach: the first worker has it."""
        return GONE.format(self._workers.name(0)) if self._workers.rank else SILENT

    def _found(self, said: str) -> None:
        if self._over or not self._finding.acquire(blocking=False):  # it is found already
            return
        self.said = said
        self._known.set()
        with contextlib.suppress(tf.errors.OpError):
            # What the thread that trains waits for raises then, and the run ends as after any error.
            abort_collectives(said)
        threading.Event().wait(GRACE)
        # Who has failed too, waits for nobody any more: what its script does with the exception is its own affair.
        if not (self._over or self.has_told):
            _end(said)


def _end(said: str) -> None:
    """Ends this process, whatever its threads wait for, and says why."""
    print(f"exactloop: {said}", file=sys.stderr, flush=True)
    # Not `sys.exit`: a thread would end itself alone, and not the one that hangs in a sum; and at the end of a process,
    # nobody hears of it.
    os._exit(1)
