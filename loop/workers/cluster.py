"""Who is there: this process and its peers."""

import contextlib
import itertools
import threading
import zlib
from collections.abc import Collection, Iterator

import numpy as np
import tensorflow as tf

from loop.workers.collective import Collective
from loop.workers.failures import FailureWatch
from loop.workers.store import CommonStore, InProcess, Value
from loop.workers.waits import apart

MEMBERS = ("chief", "worker")  # the tasks of a cluster that train
MOST = 3  # numbers in an exchange
SOON = 10.0  # seconds in which others say where they are, when it is known that they are elsewhere
IN_THREADS = (
    "Two threads of a worker train at the same time. All workers wait for one another in one order, which threads "
    "would not keep: train one loop after the other, or in jobs of their own."
)
FORGOTTEN = (
    "A step has trained on the rows of one worker without loop.average or loop.total, or a hook with everywhere=False "
    "has changed them, or Python in one worker has done what it has not in another, such as to draw a number"
)
REPORTED = (
    "A hook has reported a value in one worker alone, or other values in each: call moment.report(...) in all of them, "
    "not below `if workers.rank == 0:`, and with what is the same in all. What is not, such as a time, print or write"
)
OTHER_BATCHES = (
    "The batches that they have read are others, or what makes them stands elsewhere. What Python makes, such as a "
    "generator, has to be the same in all workers: sort files, and what is in a set, and give random numbers a seed"
)


class Workers:
    """This process and its peers. Each holds the whole state, and trains on its own rows of every batch.

    Attributes:
        rank: The number of this process, from 0, which is the chief: who saves, and writes what people read.
        count: How many there are.
        addresses: Where they are, by rank; empty of one process without a cluster.
        collective: Adds up over all of them.
        exchanges: How many there have been of `exchange`: a number that is the same in all workers.

    Args:
        rank: As above.
        addresses: As above.
        store: What they tell one another.
        chiefs: How many of them the cluster calls so, rather than workers: 0 or 1.
    """

    def __init__(
        self, rank: int = 0, addresses: tuple[str, ...] = (), store: CommonStore | None = None, *, chiefs: int = 0
    ) -> None:
        self._chiefs = chiefs
        self.rank, self.count, self.addresses = rank, max(1, len(addresses)), addresses
        self.collective = Collective(self.count)
        self._store = InProcess() if store is None else store
        # Counted in each worker by itself: equal, because all go the same way.
        self._turns = itertools.count()
        self.exchanges = 0
        self.failures: FailureWatch | None = None  # of one process, there are none to watch
        self._begun: tf.Variable | None = None
        self._needing = threading.RLock()

    @property
    def are_several(self) -> bool:
        """Whether this process has peers."""
        return self.count > 1

    @property
    def is_chief(self) -> bool:
        """Whether this is the process that saves."""
        return self.rank == 0

    @property
    def begun(self) -> tf.Variable:
        """Counts the steps that this worker has begun, in whatever loop, for its thread that watches: int64 `[]`."""
        if self._begun is None:  # not made earlier: a process that has used TensorFlow can join no cluster
            with tf.init_scope(), tf.device("CPU"):
                self._begun = tf.Variable(0, dtype=tf.int64, trainable=False, name="begun")
        return self._begun

    @property
    def steps(self) -> int:
        """How many that are."""
        return 0 if self._begun is None else int(self._begun)

    def exchange(self, *numbers: float, at: str) -> np.ndarray:
        """Returns what each worker has called this with: float64 `[count, numbers]`. Waits for all of them.

        Args:
            numbers: Three at most.
            at: For what, in words that no other place of the program has, the same in all workers.

        Raises:
            RuntimeError: If others exchange something else: one of them has gone another way.
        """
        self.exchanges += 1
        # 32 bits, which a float64 holds: the text itself is too long for an exchange.
        place = zlib.crc32(at.encode())
        with self.waiting(at):
            # float64 `[count, 1 + MOST]`; always as many numbers, because the operation is traced once.
            said = self.collective.exchange(place, *numbers, *[0.0] * (MOST - len(numbers)))
        if any(said[:, 0] != place):
            raise RuntimeError(self._apart(at))
        return said[:, 1 : 1 + len(numbers)]

    def wait(self, at: str) -> None:
        """Waits until all workers have called this, for what one of them prepares for all:

            if workers.rank == 0:
                download("data.npz")
            workers.wait("the data are there")

        Args:
            at: For what, in words, for who has gone another way.

        Raises:
            RuntimeError: If another one fails meanwhile, or goes another way.
        """
        if self.are_several:
            with self.needed():
                try:
                    self.exchange(at=at)
                except tf.errors.OpError as error:  # the others' failure, in TensorFlow's words
                    raise self.failed(error) from None

    def _apart(self, at: str) -> str:
        """Returns what to say if not all workers are at the same place; all of them call this."""
        key = f"at/{self.exchanges}/{{}}"
        self.put(key.format(self.rank), at)
        return apart({self.name(rank): str(self.get(key.format(rank), SOON)) for rank in range(self.count)})

    def waiting(self, at: str) -> contextlib.AbstractContextManager[None]:
        """Returns what is entered while this worker waits for all others, in a sum or a loop of them.

        Args:
            at: In what, in words, the same in all workers.
        """
        return contextlib.nullcontext() if self.failures is None else self.failures.waits.waiting(at)

    @contextlib.contextmanager
    def needed(self) -> Iterator[None]:
        """While in it, all workers are: whoever raises anything here ends the others too.

        Raises:
            RuntimeError: If another thread of one of several workers is in it.
        """
        # Of one process without others, threads may train as they like.
        if self.are_several and not self._needing.acquire(blocking=False):
            raise self.failed(RuntimeError(IN_THREADS))
        try:
            yield
        except BaseException as error:
            self.failed(error)
            raise
        finally:
            if self.are_several:
                self._needing.release()

    def why_apart(self, paths: Collection[str]) -> str:
        """Returns what it is likely to come of that workers hold other values under some paths, in a sentence."""
        if any(path.startswith(("position/seen/", "data/")) for path in paths):
            return OTHER_BATCHES
        # What hooks and the history have of that follows; if it comes of the training, that has drifted as well.
        is_of_hooks = all(path.startswith(("history/", "hooks/")) for path in paths)
        return REPORTED if is_of_hooks and any("/last_reported/" in path for path in paths) else FORGOTTEN

    def turn(self) -> int:
        """Returns another number each time, the same in all workers, which have to ask for it in the same order."""
        return next(self._turns)

    def failed(self, error: BaseException) -> BaseException:
        """Tells the others that this worker fails; returns what to raise: who else has failed, if it comes of that."""
        if self.failures is None:
            return error
        # First: who fails because another one has failed must not be taken for the cause.
        error = self.failures.explained(error)
        self.failures.tell(error)
        return error

    def put(self, key: str, value: Value) -> bool:
        """Tells all others something; returns False if somebody has said something under that key before."""
        return self._store.put(key, value)

    def get(self, key: str, timeout: float | None = None) -> Value:
        """Returns what somebody says under a key, and waits for it; so many seconds at most.

        Raises:
            TimeoutError: If nobody does in time.
        """
        return self._store.get(key, timeout)

    def listen(self, key: str, timeout: float) -> Value:
        """Returns what somebody says under a key, as `get` does, whatever is known of the others meanwhile."""
        return self._store.listen(key, timeout)

    def remove(self, key: str) -> None:
        """Forgets what was said under a key."""
        self._store.remove(key)

    def rank_of(self, kind: str, number: int) -> int:
        """Returns the rank of a task of the cluster."""
        return number + (self._chiefs if kind == MEMBERS[1] else 0)

    def name(self, rank: int) -> str:
        """Returns what to call a worker in messages."""
        return f"worker {rank} ({self.addresses[rank]})" if self.addresses else f"worker {rank}"


# Of the process, as TensorFlow's cluster is; tests put others in its place.
_here = [Workers()]


def here() -> Workers:
    """Returns this process among the workers; it is alone unless `connect` has found a cluster."""
    return _here[0]


def become(workers: Workers) -> Workers:
    """Makes this process one of these workers, and returns what it was before."""
    before, _here[0] = _here[0], workers
    return before
