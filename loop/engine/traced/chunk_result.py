"""What came of calling the compiled loop."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from loop.engine.traced.ring import ValueRing
from loop.errors.readonly import ReadOnly
from loop.tensors import Nest


class ChunkResult(NamedTuple):
    """What one call of the compiled loop did.

    Attributes:
        steps: How many steps were run: int32 `[]`.
        halted: Whether a hook's part in the loop has ended the call: bool `[]`.
        more: Whether the data, as far as it knows, goes on: bool `[]`.
        ahead: What the data hands on to the next call.
        rows: What was recorded of each step; see `ValueRing`.
        sums: What `Means` has of the pass so far: so that nobody need read its variables behind a call.
        results: The results of the metrics after the last step: `[]` or `[classes]` by name.
    """

    steps: tf.Tensor
    halted: tf.Tensor
    more: tf.Tensor
    ahead: Nest
    rows: tf.Tensor  # float32 [steps, words]
    sums: tf.Tensor  # float64 [sums + 1]
    results: dict[str, tf.Tensor]

    def columns(self, ring: ValueRing) -> dict[str, np.ndarray]:
        """Returns the values by name, `[steps]`, for reading only."""
        columns = ring.columns(self.rows.numpy())  # sync: reads the rows of the whole call; only if a hook has on_steps
        for column in columns.values():
            column.flags.writeable = False  # all hooks get the same arrays
        return ReadOnly(columns)

    def values(self, ring: ValueRing) -> dict[str, float]:
        """Returns the values of the last step."""
        last = ring.columns(self.rows.numpy()[-1:])  # sync: waits for the chunk
        return {name: column.item() for name, column in last.items()}

    def followed(self, *, more: bool) -> "ChunkResult":
        """Returns this, of data that know by themselves whether they go on."""
        return self._replace(more=more)

    def joined(self, rows: Sequence[tf.Tensor], steps: int) -> "ChunkResult":
        """Returns this, the last one of some calls, as if it had been the only one: with the rows of all of them."""
        return self._replace(steps=steps, rows=rows[0] if len(rows) == 1 else tf.concat(rows, axis=0))
