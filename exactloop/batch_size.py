"""Finds a batch size: trains some steps with several, each in a loop of its own, until memory is not enough."""

import time
from collections.abc import Callable
from typing import NamedTuple

import keras
import tensorflow as tf

from loop import Loop, TrainingState
from loop.errors.calls import explained

TOO_LARGE = (tf.errors.ResourceExhaustedError, MemoryError)  # of a GPU, and of NumPy's arrays
WORKERS = (
    "find_batch_size is for one process: memory and time are others in each worker, and all have to try the same. "
    "Received: a loop of {0} workers. Run it in a process of its own; batch_size is {0} times what it finds there."
)


class BatchSizes(NamedTuple):
    """What came of trying batch sizes.

    Attributes:
        seconds: How long a step takes by batch size, without the first one, in which things are allocated.
        failed: The size for which memory was not enough; None if there was none.
        largest: The largest one for which it was; None if there was none.
        fastest: The one of most examples a second; None if there was none.
    """

    seconds: dict[int, float]
    failed: int | None
    largest: int | None
    fastest: int | None


@explained(
    {
        **dict.fromkeys(("init_val", "min_batch_size", "start"), "write smallest=1"),
        **dict.fromkeys(("max_val", "max_batch_size", "max_trials"), "write largest=2**16"),
        **dict.fromkeys(("steps_per_trial", "num_steps"), "write steps=5"),
        **dict.fromkeys(("mode",), "leave it out: each size is twice the one before"),
        **dict.fromkeys(
            ("model", "data", "loop"), "write find_batch_size(make_loop), a function from a size to a Loop"
        ),
    }
)
def find_batch_size(
    make_loop: Callable[[int], Loop],
    *,
    smallest: int = 1,
    largest: int = 2**16,
    steps: int = 5,
    clock: Callable[[], float] = time.perf_counter,
) -> BatchSizes:
    """Trains some steps with `smallest` examples, and with twice as many as often as memory is enough.

    It ends at `largest`, where memory was not enough, or where a batch is a whole epoch. The steps are undone, no hook
    is called, and Python's and NumPy's random states are put back when it ends; but the loops, and what `make_loop`
    makes for them, are new ones. Memory that a process lacks on the CPU may be its end: the system kills it. On a GPU
    it is an error, and that is what this looks for.

    Args:
        make_loop: From a batch size to a loop.
        smallest: The first size.
        largest: The last size that is tried, if it is `smallest` times a power of 2.
        steps: How many steps are timed for each size; the first one more is not.
        clock: Returns the time, in seconds.

    Raises:
        TypeError: If that is no function from a size to a loop.
        ValueError: If an argument is out of range.
        RuntimeError: In one of several workers.
    """
    if not 1 <= smallest <= largest or steps < 1:
        raise ValueError(
            "find_batch_size needs 1 <= smallest <= largest, and at least 1 step. "
            f"Received: smallest={smallest!r}, largest={largest!r}, steps={steps!r}."
        )
    _check(make_loop, callable(make_loop) and not isinstance(make_loop, type | keras.Layer))
    around = TrainingState({})  # nothing but the random states of the process
    held, seconds, size, failed = around.capture(), dict[int, float](), smallest, None
    try:
        while size <= largest and failed is None:
            try:
                loop = make_loop(size)
                _check(loop, isinstance(loop, Loop), f", and make_loop({size}) has returned something else")
                if loop.workers.count > 1:  # memory is not enough in one of them, and the others wait for it
                    raise RuntimeError(WORKERS.format(loop.workers.count))
                seconds[size] = _timed(loop, steps, clock)
                size = largest + 1 if loop.steps_per_epoch == 1 else 2 * size  # a larger batch would be the same one
            # Its loop goes before the next one is made; what it held of the GPU is free again.
            except TOO_LARGE:
                failed = size
    finally:
        around.rollback(held)
    fastest = max(seconds, key=lambda size: size / seconds[size], default=None)
    return BatchSizes(seconds, failed, max(seconds, default=None), fastest)


def _check(given: object, is_right: bool, more: str = "") -> None:
    if not is_right:
        raise TypeError(
            f"find_batch_size(make_loop) needs a function from a batch size to a Loop{more}. Received: "
            f"{type(given).__name__}. Write def make_loop(batch_size): return Loop(train_step, ArrayData((x, y), "
            "batch_size=batch_size), ...)."
        )


def _timed(loop: Loop, steps: int, clock: Callable[[], float]) -> float:
    with loop.rehearse() as rehearsal:
        rehearsal.train(1)  # allocates, and is not timed
        began = clock()
        for _ in range(steps):
            rehearsal.train(1)
        return max((clock() - began) / steps, 1e-9)  # of a coarse clock, never 0
