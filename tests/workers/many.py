"""Many workers in one process, each a thread: what they agree on, and what comparing their values costs the first one.

    PYTHONPATH=. python tests/workers/many.py [WORKERS]

Prints what the decisions of a round and the comparison before a commit take. Nothing goes over a network here: what is
timed is this package's own work, in Python, and what the threads of one process wait for one another.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import numpy as np
import tensorflow as tf

from hooks.checkpoint.workers import followers
from loop import digest
from loop.running.agreed import Agreed
from loop.stops import Stops
from loop.tf_internals import Trackable
from loop.workers.cluster import Workers
from loop.workers.store import InProcess

PATIENCE = 60.0  # seconds


class Listed(InProcess):
    """A store that says what is in it."""

    def listed(self) -> list[str]:
        return sorted(self._values)


class Together:
    """What threads exchange: each waits for all."""

    def __init__(self, count: int) -> None:
        self.count, self.store = count, Listed()
        self._barrier, self._said = threading.Barrier(count), [()] * count

    def exchange(self, rank: int, numbers: tuple[float, ...]) -> np.ndarray:
        self._said[rank] = numbers
        self._barrier.wait(PATIENCE)
        found = np.array(self._said, np.float64)
        self._barrier.wait(PATIENCE)
        return found


class Exchange:
    """What is left of a `Collective` where nothing is added up."""

    def __init__(self, rank: int, together: Together) -> None:
        self._rank, self._together, self.number = rank, together, 1

    def exchange(self, *numbers: float) -> np.ndarray:
        return self._together.exchange(self._rank, numbers)


def one(rank: int, together: Together) -> Workers:
    """Returns a worker, as `loop.connect` would."""
    worker = Workers(rank, tuple(f"10.0.0.1:{i}" for i in range(together.count)), together.store)
    worker.collective = Exchange(rank, together)
    return worker


def on_all(count: int, do: Callable[[Workers], object], together: Together | None = None) -> list[object]:
    """Returns what a function returns for each worker, all at once; raises what one of them raises."""
    together, found, failed = together or Together(count), [None] * count, list[BaseException]()

    def run(rank: int) -> None:
        try:
            found[rank] = do(one(rank, together))
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=[rank], daemon=True) for rank in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    if failed:
        raise failed[0]
    assert not any(thread.is_alive() for thread in threads)
    return found


def decisions(worker: Workers, wishes: dict[int, dict[int, str]]) -> list[object]:
    """Returns what a worker finds agreed in some rounds, in the k-th of which those in `wishes[k]` ask for the end."""
    stops = Stops(lambda: None, together=True)
    agreed = Agreed(worker, stops, SimpleNamespace(now=lambda: float(worker.rank)))
    found: list[object] = []
    for number in range(max(wishes) + 2):
        if reason := wishes.get(number, {}).get(worker.rank):
            stops.now(reason)
        found.append((agreed.end(number, 100 + (worker.rank * 7) % worker.count), agreed.now(), stops.reason))
        agreed.stops()
        found.append((stops.reason, stops.at_once))
    return found


def over(followed: followers.Followers) -> None:
    """Ends what a worker does in a thread."""
    followed.leave()
    followed._background.wait()


def ended_by(worker: Workers, asked: dict[int, list[str]]) -> tuple[object, ...]:
    """Returns what a worker finds agreed when these ask: at once, after the round, or for the end of the epoch too."""
    stops = Stops(lambda: None, together=True)
    agreed = Agreed(worker, stops, SimpleNamespace(now=lambda: 0.0))
    for how in asked.get(worker.rank, []):
        if how == "now":
            stops.now(how)
        else:
            stops.after_round(how, end_epoch=how == "epoch")
    agreed.stops()
    return stops.reason, stops.at_once, stops.ends_epoch


def commit(count: int, values: int, wrong: int | None = None, *, in_python: str = "") -> float:
    """Compares what all workers hold before a save, and returns the seconds that takes the first one.

    Args:
        count: How many workers.
        values: How many values each holds.
        wrong: Who holds another one.
        in_python: What that is, if it is nothing of TensorFlow's.
    """
    together = Together(count)
    variables = {f"model/layer_{i}/kernel": tf.Variable([float(i)]) for i in range(values)}
    changed = {} if in_python else {"model/layer_0/kernel": tf.Variable([-1.0])}
    kept = [{in_python: str(i)} if in_python else {} for i in range(2)]
    state = SimpleNamespace(variables=variables, apart=None, in_python=lambda: kept[0])
    other = SimpleNamespace(variables={**variables, **changed}, apart=None, in_python=lambda: kept[1])
    hooks = SimpleNamespace(apart=lambda: ("hooks/shown/",))
    ones = [one(rank, together) for rank in range(count)]
    held = [other if each.rank == wrong else state for each in ones]
    loops = [SimpleNamespace(workers=each, state=mine, hooks=hooks) for each, mine in zip(ones, held, strict=True)]
    seen = [followers.Followers(each, "checkpoint") for each in loops]
    compare = seen[0].comparing()
    for each in seen[1:]:
        each.tell()
    for each in seen[1:]:
        over(each)
    mine = {path: digest(variable.read_value()) for path, variable in state.variables.items()}
    began = time.perf_counter()
    compare(mine)
    return time.perf_counter() - began


class Part(Trackable):
    """What a worker has for itself: its number, and much besides."""

    def __init__(self, rank: int, count: int, size: int = 3_000_000) -> None:
        self.rank, self.count = rank, count
        self._tensors = {"rank": tf.constant(rank), "text": tf.constant(b"x" * size), "none": tf.zeros([0, 2])}

    def _serialize_to_tensors(self) -> dict[str, tf.Tensor]:
        return self._tensors


def wrong_parts(count: int) -> Iterator[str]:
    """Yields what is wrong with what each worker has for itself and tells before a save, of which there are two."""
    together, left = Together(count), set[str]()

    def save(worker: Workers) -> list[int]:
        state = SimpleNamespace(variables={}, apart=Part(worker.rank, count), in_python=dict)
        hooks = SimpleNamespace(apart=tuple)
        followed = followers.Followers(SimpleNamespace(workers=worker, state=state, hooks=hooks), "checkpoint")
        found: list[int] = []
        for ends in (False, True):
            followed.agreed(True)
            if worker.is_chief:
                compare = followed.comparing()
                found += [int(tensors["rank"]) for tensors in compare({}).values()]
            else:
                followed.tell()
            # What was heard is taken back when all agree on something next, and when the run ends.
            followed.wait_for_all() if ends else followed.agreed(False)
            worker.exchange(at="what is left")
            left.update(together.store.listed())
        over(followed)
        return found

    found = on_all(count, save, together)[0]
    if found != 2 * list(range(1, count)):
        yield f"other parts: {found}"
    if left:
        yield f"still told: {sorted(left)}"


def main(count: int) -> None:
    rounds = 20
    began = time.perf_counter()
    found = on_all(count, lambda worker: decisions(worker, {rounds - 2: {count // 2: "asked"}}))
    seconds = (time.perf_counter() - began) / rounds
    assert all(each == found[0] for each in found)
    print(f"{count} workers agree on a round, three exchanges of all threads: {1000 * seconds:.0f} ms")
    for values in (10, 100):
        print(f"before a commit, the first compares {values} values of each: {1000 * commit(count, values):.0f} ms")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 512)
