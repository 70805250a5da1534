"""Batches that Python makes, read ahead in threads while the compiled step runs."""

import contextlib
import logging
import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeAlias, TypeVar

from loop.state.randomness import host, put_back

log = logging.getLogger("exactloop")
Made = TypeVar("Made")
Making: TypeAlias = Generator[None, None, Made]  # of a batch, with a yield after each item


class _Work(Generic[Made]):
    """A batch in the making; whoever has claimed it goes on with it, from item to item."""

    def __init__(self, making: Making[Made]) -> None:
        self.making, self.made = making, list[Made]()
        self.claimed = self.failed = False

    def proceed(self, stopped: Callable[[], bool] = lambda: False) -> None:
        while not self.made and not stopped():
            try:
                next(self.making)
            except StopIteration as over:
                self.made.append(over.value)

    @property
    def settled(self) -> bool:
        return bool(self.made) or self.failed


class ReadAhead(Generic[Made]):
    """Makes batches 0, 1, ... of a pass, in order or some at a time, as if each were made when it is taken.

    Threads run only within `meanwhile`, that is while the thread that trains is in the compiled loop, and so runs
    nothing of the program: what hooks draw, and what is saved, has nothing to do with how far they have read. If a
    batch draws from the streams of Python or NumPy, that is seen by these, and from then on batches are made one by
    one, by a function that seeds the streams for each item; what was read until then is read again.

    Attributes:
        draws: Whether a batch has been seen to draw.

    Args:
        make: Makes a batch of a number.
        workers: How many threads make batches at the same time.
        prefetch: How many batches are made at most before they are taken.
    """

    def __init__(self, make: Callable[[int], Making[Made]], workers: int, prefetch: int) -> None:
        self._make, self._workers, self._prefetch = make, min(workers, max(1, prefetch)), prefetch
        self._pool: ThreadPoolExecutor | None = None
        self._changed = threading.Condition()
        self.draws = False
        self.begin(0, 0)

    def begin(self, first: int, end: int) -> None:
        """Begins a pass, or goes on in one, with a batch; forgets what was read ahead."""
        self._works: dict[int, _Work[Made]] = {}
        self._wanted = self._next = first
        self._end, self._stop = end, True

    def take(self, number: int) -> Made:
        """Returns the batch of that number, which is the next one of the pass. Raises what making it raises."""
        # No lock: threads run within `meanwhile` alone, and that is over.
        if number in self._works and self._works[number].made:  # nothing is to be done in this thread
            self._wanted = number + 1
            return self._works.pop(number).made[0]
        # Twice at most: what was found to draw is made once more, with keys.
        while True:
            keyed = self.draws
            with self._apart():
                made = self._taken(number)
            if keyed or not self.draws:
                self._wanted = number + 1
                return made

    def _taken(self, number: int) -> Made:
        if number not in self._works:
            # First, as threads take them in this order.
            self._works = {number: _Work(self._make(number)), **self._works}
            self._next = max(self._next, number + 1)
        if self._workers > 1 and not self.draws:
            # The thread that trains has nothing else to do: others may make this batch.
            with self.meanwhile() as jobs, self._changed:
                self._changed.wait_for(lambda: not jobs or self.draws or self._works[number].settled)
        work = self._works.pop(number, None) or _Work(self._make(number))
        if work.failed:  # it is made again here, so that what it raises is raised to the user; or it is well here
            work = _Work(self._make(number))
            work.proceed()
            log.warning("What could not be read in another thread is read in the one that trains, when it is wanted.")
            self._prefetch = 0
        work.proceed()
        return work.made[0]

    @contextlib.contextmanager
    def meanwhile(self) -> Iterator[list[Future[None]]]:
        """Reads ahead until what is done within is over; then waits for the items that are being read."""
        if self._prefetch == 0 or (self._next >= self._end and all(work.settled for work in self._works.values())):
            yield []
            return
        with self._apart():
            self._stop = False
            jobs = self._started(1 if self.draws else self._workers)
            try:
                yield jobs
            finally:
                self._stop = True
                for job in jobs:
                    job.exception()  # waits; there is none

    def _started(self, count: int) -> list[Future[None]]:
        jobs: list[Future[None]] = []
        self._pool = pool = self._pool or ThreadPoolExecutor(self._workers, thread_name_prefix="data")
        try:
            for _ in range(count):
                jobs.append(pool.submit(self._run))
        except RuntimeError:  # no thread can be made; then each batch is read when it is wanted
            # The pool keeps what it has refused, and would run it as soon as there is a thread, when nobody waits.
            pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None
        return [job for job in jobs if not job.cancelled()]

    def _run(self) -> None:
        while not self._stop and (work := self._claim()) is not None:
            try:
                work.proceed(lambda: self._stop)
            except BaseException:
                work.failed = True
            with self._changed:
                work.claimed = False
                self._changed.notify_all()

    def _claim(self) -> _Work[Made] | None:
        with self._changed:
            works = self._works
            free = (work for work in works.values() if not (work.claimed or work.settled))
            # Under the lock, which guards `_works`, `_next` and `claimed`.
            if (work := next(free, None)) is None:
                if self._next >= self._end or len(works) >= self._prefetch:
                    return None
                work = works[self._next] = _Work(self._make(self._next))
                self._next += 1
            work.claimed = True
            return work

    @contextlib.contextmanager
    def _apart(self) -> Iterator[None]:
        """Leaves the process's random streams as they are, and notices if what is done within draws from them."""
        before = host()
        try:
            yield
        finally:
            # Compared as a whole, which takes 0.1 ms a step: threads cannot say what they drew.
            if self.draws or host() != before:
                put_back(before)
                if not self.draws:
                    self.draws = True
                    self.begin(self._wanted, self._end)
