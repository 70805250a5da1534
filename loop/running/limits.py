"""Less of the data than there are, to try a program."""

import contextlib
import operator
from collections.abc import Iterator, Mapping

import tensorflow as tf

from loop.data.arrays import ArrayData
from loop.data.coerce import Given
from loop.errors.kinds import is_whole, shown


class Limit:
    """How many batches an epoch or an evaluation reads at most.

    Attributes:
        batches: The number; None: all.
        is_dry: Whether everything is due after each step, as in a dry run.

    Args:
        limit_batches: What was given to the loop.
        overfit: The same.

    Raises:
        ValueError: If one of them is no positive whole number.
    """

    def __init__(self, limit_batches: int | None, overfit: int | None) -> None:
        self.batches, self.is_dry = _smaller(limit_batches, overfit), False

    def of(self, length: int | None) -> int | None:
        """Returns the number of batches of data that have so many; None: nobody knows."""
        return min((count for count in (length, self.batches) if count is not None), default=None)

    def said(self) -> Mapping[str, int]:
        """Returns what a checkpoint says of it, because with another limit an epoch is another one."""
        return {} if self.batches is None else {"limit_batches": self.batches}

    @contextlib.contextmanager
    def dry(self) -> Iterator[None]:
        """Makes it one batch for a while, after which everything is due."""
        before, self.batches, self.is_dry = self.batches, 1, True
        try:
            yield
        finally:
            self.batches, self.is_dry = before, False


def _smaller(limit_batches: int | None, overfit: int | None) -> int | None:
    for argument, count in {"limit_batches": limit_batches, "overfit": overfit}.items():
        # A bool is no count, though Python takes it for one.
        if count is not None and (not is_whole(count) or count < 1):
            raise ValueError(
                f"Loop({argument}=...) needs a number of batches, a whole number from 1. Received: {shown(count)}."
            )
    # Of both, the smaller one counts.
    given = [operator.index(count) for count in (limit_batches, overfit) if count is not None]
    return min(given, default=None)


def first_batches(data: Given, count: int) -> Given:
    """Returns data of only the first batches, the same in each epoch.

    Raises:
        TypeError: If these are data of which they cannot be taken.
    """
    if isinstance(data, ArrayData):
        return data.first(count)
    if isinstance(data, tf.data.Dataset):
        # In memory, so that a pipeline that draws has the same rows in each epoch.
        return data.take(count).cache()
    raise TypeError(
        f"Loop(overfit=...) takes the first batches of ArrayData or a tf.data.Dataset. Received: "
        f"{type(data).__name__}. Leave overfit out, and give the loop {count} batches as ArrayData((x, y), "
        "batch_size=32, shuffle=False)."
    )
