"""What a user may give for data, as a source."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import TypeAlias

import keras
import tensorflow as tf

from loop.data.arrays import ArrayData
from loop.data.fed import Fed
from loop.data.indexed import IndexedData
from loop.data.own_files import OwnFiles
from loop.data.source import Data
from loop.data.stateful import StatefulData
from loop.data.stream import StreamData
from loop.errors.instead import instead_of_data
from loop.workers.cluster import here

Given: TypeAlias = tf.data.Dataset | keras.utils.PyDataset | ArrayData | StreamData | IndexedData | StatefulData | Data


EPOCHS: Mapping[type, str] = {
    StreamData: "StreamData(dataset, steps_per_epoch=...)",
    ArrayData: "StreamData(dataset, steps_per_epoch=...)",
    StatefulData: "StatefulData(source, steps_per_epoch=...)",
}


def as_data(data: Given, steps_per_epoch: int | None = None) -> Data:
    """Returns a bare dataset as `StreamData`, a `PyDataset` as `IndexedData`, and what has the members of `Data`.

    Raises:
        TypeError: If it is something else, with what to wrap it in.
        ValueError: If `steps_per_epoch` comes with data that has its own.
    """
    if isinstance(data, keras.utils.PyDataset):
        data = IndexedData(data, batch_size=None)
    if isinstance(data, ArrayData | StreamData | Fed | Data):
        if data.taken:
            raise ValueError(
                f"This {type(data).__name__} is read by another loop or evaluation, and can be read by one only. "
                "Make another one of the same arrays, dataset or source."
            )
        if steps_per_epoch is not None:
            raise ValueError(
                f"steps_per_epoch={steps_per_epoch} is for a bare tf.data.Dataset. Received: {type(data).__name__}, "
                f"which decides it itself: {EPOCHS.get(type(data), 'leave it out')}."
            )
        data.taken = True  # not given back by a loop that is gone: a pass may be open
        return OwnFiles(data, here()) if isinstance(data, StreamData) and data.share else data
    if isinstance(data, tf.data.Dataset):
        return StreamData(data, steps_per_epoch=steps_per_epoch)
    received = f"Received: {'the class itself' if isinstance(data, type) else type(data).__name__}"
    kinds = "a tf.data.Dataset, ArrayData, StreamData, IndexedData or StatefulData"
    raise TypeError(f"Data must be {kinds}. {received}. {instead_of_data(data)}")


@contextlib.contextmanager
def given_back_if_raised(data: Given) -> Iterator[None]:
    """If anything is raised within, lets another loop take the data: the one that took them was never made."""
    try:
        yield
    except BaseException:
        if isinstance(data, ArrayData | StreamData | Fed | Data):
            data.taken = False
        raise
