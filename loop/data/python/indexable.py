"""What has a length, and an item for each number below it."""

import operator
from collections.abc import Mapping
from typing import Protocol, TypeAlias, runtime_checkable

import keras
import numpy as np
import tensorflow as tf

from loop.errors.calls import BY_POSITION
from loop.errors.instead import instead_of_data
from loop.errors.kinds import shown
from loop.tensors import Nest

MOST = 2**30  # items that an int32 counts
INDEXED = {
    BY_POSITION: "write IndexedData(source, batch_size=32)",
    "batch_size": "write IndexedData(source, batch_size=32), or batch_size=None if each item is a batch already",
    "drop_last": "write drop_remainder=...",
    **dict.fromkeys(("num_workers", "max_workers"), "write workers=..."),
    **dict.fromkeys(("prefetch_factor", "max_queue_size", "buffer_size"), "write prefetch=..., a number of batches"),
    "use_multiprocessing": "leave it out: items are read in threads",
    "collate_fn": "leave it out, and make batches in the source: batch_size=None takes items as batches",
    "sampler": "leave it out: each epoch has an order of its own; or permute in the source, with shuffle=False",
}


@runtime_checkable
class Indexed(Protocol):
    """What has a length, and an item for each number below it."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int, /) -> Nest: ...


Source: TypeAlias = Indexed | keras.utils.PyDataset


def _check(source: Source, batch_size: int | None) -> None:
    """Raises if something is no source, or is one that would be read otherwise than it is meant."""
    # (x, y) has a length, which is 2, but is meant by its rows.
    arrays = isinstance(source, tuple) and any(isinstance(each, np.ndarray | tf.Tensor) for each in source)
    package = type(source).__module__.split(".")[0]
    keyed = isinstance(source, Mapping | str | bytes) or package == "pandas"
    if arrays or keyed or isinstance(source, type | tf.data.Dataset) or not isinstance(source, Indexed):
        raise TypeError(
            f"IndexedData needs a source with a length, and an item for each number below it, as a list has. Received: "
            f"{shown(source)}. {instead_of_data(source)}"
        )
    try:
        count = len(source)
    except (TypeError, RuntimeError) as error:  # whatever a class raises that has none
        raise TypeError(f"IndexedData needs a source with a length. len({type(source).__name__}): {error}") from error
    if not 0 < count <= MOST:
        what = "at least one item" if count < 1 else f"at most {MOST:,} items. If it repeats itself, leave that out"
        raise ValueError(f"IndexedData needs a source with {what}. Received: {count:,} items.")
    if isinstance(source, keras.utils.PyDataset) and batch_size is not None:
        raise ValueError(
            f"The items of a PyDataset are batches. Received: batch_size={batch_size}. Write batch_size=None."
        )


def size_of_batches(
    source: Source, batch_size: int | None, workers: int, prefetch: int, *, drop_remainder: bool
) -> int:
    """Returns how many items are in a batch, 1 if they are batches. Raises if there is none, or no batch."""
    _check(source, batch_size)
    count, size = len(source), 1 if batch_size is None else operator.index(batch_size)
    counts = {"workers": (workers, 1), "prefetch": (prefetch, 0), "batch_size": (size, 1)}
    for name, (given, least) in counts.items():
        if operator.index(given) < least:
            raise ValueError(f"IndexedData({name}=...) must be at least {least}. Received: {given!r}.")
    if drop_remainder and size > count:
        raise ValueError(
            f"IndexedData needs a batch_size of at most the {count} items there are with drop_remainder=True."
            f" Received: batch_size={batch_size}. Write batch_size={count}, or leave out drop_remainder."
        )
    return size


def check_length(source: Source, count: int, epoch: int) -> None:
    """Raises if a source has another length in an epoch, from 0, than it had."""
    if len(source) != count:
        raise ValueError(
            f"The source has {len(source)} items in epoch {epoch + 1}, and had {count} when "
            "IndexedData was made of it. Give it a length that stays, and permute within it."
        )
