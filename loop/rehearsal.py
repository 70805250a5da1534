"""Steps that are trained to see what comes of them, and undone."""

from collections.abc import Mapping

import numpy as np

from loop.data.source import Data
from loop.data.stream import StreamData
from loop.engine.chunk import Chunk
from loop.state.position import Place


class Rehearsal:
    """Trains on without hooks, evaluations and events, beginning with an epoch; see `Loop.rehearse`.

    Args:
        chunk: The compiled loop.
        data: The train data.
        epoch: Which epoch to begin with, from 0.
    """

    def __init__(self, chunk: Chunk, data: Data, epoch: int) -> None:
        self._chunk, self._data, self._epoch, self._index = chunk, data, epoch, 0
        if isinstance(data, StreamData):  # with an iterator of its own: the one of the run is not to be moved
            data.seek(Place(0, epoch, 0), {**data.notes(), "open": 0})

    def train(self, count: int) -> Mapping[str, np.ndarray]:
        """Runs so many steps, or those that are left of the epoch, at least one; then the next epoch is up.

        Returns:
            The values of each step by name, `[steps]`, as in `Hook.on_steps`.
        """
        if self._index == 0:
            self._data.open(self._epoch)
        length = self._data.steps_per_epoch
        ran = self._chunk(self._data, count if length is None else min(count, length - self._index))
        self._index += int(ran.steps)  # sync: waits for the chunk
        if not ran.more or self._index == length:
            self._data.close()
            self._chunk.begin_again()
            self._epoch, self._index = self._epoch + 1, 0
        return ran.columns(self._chunk.record)
