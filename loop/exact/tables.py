"""Lookup tables, in which functions look something up."""

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from loop.digest import digest
from loop.exact.graph import changes


class Table(NamedTuple):
    """A lookup table.

    Attributes:
        handle: Its handle.
        keys: The dtype of what is looked up.
        found: That of what is found.
    """

    handle: tf.Tensor
    keys: tf.DType
    found: tf.DType

    def content(self) -> list[tf.Tensor]:
        """Returns its keys and its values."""
        return [*tf.raw_ops.LookupTableExportV2(table_handle=self.handle, Tkeys=self.keys, Tvalues=self.found)]

    def digest(self) -> str:
        """Returns a digest of both."""
        keys, values = self.content()
        rows = tf.reshape(keys, [len(keys), keys.shape[1:].num_elements()]).numpy().tolist()
        # They come in another order in each process.
        order = tf.constant(sorted(range(len(rows)), key=rows.__getitem__), tf.int32)
        return digest(tf.gather(keys, order)) + digest(tf.gather(values, order))

    def takes_keys(self) -> bool:
        """Returns whether new keys can be put in: none are, to see."""
        keys, values = self.content()  # for their shapes
        try:
            tf.raw_ops.LookupTableInsertV2(table_handle=self.handle, keys=keys[:0], values=values[:0])
        except tf.errors.UnimplementedError:
            return False
        except tf.errors.InvalidArgumentError:
            pass  # a DenseHashTable hands its values out in another shape than it takes them in
        return True


def table_of(handle: tf.Tensor, done: Sequence[tf.Operation]) -> Table | None:
    """Returns the table that has a handle, given all that is done with it; None if that changes it, or it is none."""
    find = next((op for op in done if op.type.startswith("LookupTableFind")), None)
    if find is None or any(map(changes, done)):  # what a step changes is another one at each step
        return None
    return Table(handle, find.get_attr("Tin"), find.get_attr("Tout"))
