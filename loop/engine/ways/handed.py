"""Blocks of batches that Python makes, for a program of XLA."""

import contextlib
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from loop.data.blocks import Block, Shapes, bytes_of, room, shapes_in
from loop.data.fed import Fed
from loop.engine.traced.bound import StopBound
from loop.engine.ways.feed import Feed


class Handed(Feed):
    """Of Python, which hands batches over one by one, and goes on from one when it is trained.

    Only data that read ahead anyway have several in a block.

    Args:
        data: The data.
        bound: Of the loop: if it is pulled in, no more is read.
        fits: Returns how many batches of these shapes a call may have.
    """

    def __init__(self, data: Fed, bound: StopBound, fits: Callable[[Shapes], int]) -> None:
        self._data, self._bound, self._fits = data, bound, fits
        self._moved, self._more = 0, True  # how many batches lie behind the first one of the block; whether one follows

    def room(self, shapes: Shapes) -> int:
        return room(bytes_of(self._data.element_spec, shapes)) if self._data.reads_ahead else 1

    def take(self, most: int) -> Block | None:
        data, first = self._data, tf.nest.flatten(self._data.ahead)
        batches, shapes = [first], shapes_in(first)
        length = self.room(shapes)
        self._moved, self._more = 0, True
        most = min(most, length, self._fits(shapes))
        while len(batches) < most and not self._bound.is_pulled_in:
            self._moved, self._more = self._moved + 1, data.trained()
            try:
                batch = tf.nest.flatten(data.ahead) if self._more else []
            except Exception:  # raised again when it is wanted; those before it are trained first
                break
            if shapes_in(batch) != shapes:  # it begins a block of its own; nothing at all is there where the pass ends
                break
            batches.append(batch)
        if length == 1:  # spares the copy that stacking makes
            return Block([tensor[tf.newaxis] for tensor in first], 0, 1)
        return Block(_stacked(batches, length), 0, len(batches))

    def meanwhile(self, most: int) -> contextlib.AbstractContextManager[object]:
        return self._data.meanwhile()

    def trained(self, block: Block, steps: int) -> bool:
        if self._moved < steps:
            return self._data.trained()  # the last one in the block: nobody has gone on from it to look for another
        if self._moved > steps:
            self._data.take_back(self._moved - steps)  # a hook has halted in mid-block: they are handed over again
        return self._more or self._moved > steps

    @property
    def holds(self) -> bool:
        return False

    @property
    def failed(self) -> bool:
        return False


def _stacked(batches: list[list[tf.Tensor]], length: int) -> list[tf.Tensor]:
    # [length]; in the places that are left, the last one again, which no step reads.
    rows = np.minimum(np.arange(length), len(batches) - 1)
    return [tf.gather(tf.stack(tensors), rows) for tensors in zip(*batches, strict=True)]
