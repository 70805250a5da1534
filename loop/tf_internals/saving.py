"""What a checkpoint saves: there is a public base class only for what has variables, or one text.

And iterators: a checkpoint saves one by itself; together with the batch that was read ahead of it, it cannot.
"""

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import tensorflow as tf

# Protocol buffers, of which TensorFlow has published the format and no module.
from tensorflow.core.protobuf.tensor_bundle_pb2 import BundleEntryProto as BundleEntryProto
from tensorflow.core.protobuf.tensor_bundle_pb2 import BundleHeaderProto as BundleHeaderProto
from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph as TrackableObjectGraph
from tensorflow.python.checkpoint.graph_view import ObjectGraphView
from tensorflow.python.checkpoint.save_util import serialize_graph_view
from tensorflow.python.lib.io._pywrap_record_io import RecordIterator
from tensorflow.python.trackable.resource import CapturableResource as CapturableResource  # lookup tables and the like

Tensors: TypeAlias = dict[str, tf.Tensor]
Trackable: Any = tf.__internal__.tracking.Trackable
OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"  # under which a checkpoint has that of what it holds
BOOKKEEPING = "_self_"  # begins the attributes in which TensorFlow notes that it has restored an object
_LEGACY = "_LEGACY_SAVEABLE_NAME"


def saves_tensors(node: Trackable) -> bool:
    """Returns whether an object says itself what to save. `tf.train.Checkpoint` writes it, and does not hand it out."""
    return type(node)._serialize_to_tensors is not Trackable._serialize_to_tensors


def saves_in_old_way(node: Trackable) -> bool:
    """Returns whether it says so in the way of TensorFlow 1, which writes when it is asked."""
    return type(node)._gather_saveables_for_checkpoint is not Trackable._gather_saveables_for_checkpoint


def saved_tensors(node: Trackable) -> Tensors:
    """Returns what an object saves now, by the names under which it is saved."""
    return node._serialize_to_tensors()


def save_under_name_of(leaf: Trackable, node: Trackable) -> None:
    """Lets an object be saved under the name that another one has from older versions: tables and iterators do."""
    if (legacy := legacy_name(node)) is not None:
        setattr(leaf, _LEGACY, legacy)


def legacy_name(node: Trackable) -> str | None:
    """Returns that name, if it has one."""
    return getattr(node, _LEGACY, None)


def save_below(node: Trackable, name: str, part: Trackable) -> None:
    """Lets an object be saved below another one, under a name that need not be one of Python's."""
    node._track_trackable(part, name)


def named_tensors(root: Trackable) -> tuple[Tensors, bytes]:
    """Returns what a checkpoint saves of an object and all below it, by the names in it, and their graph.

    The tensors are those that `_serialize_to_tensors` of each returns.
    """
    # As TensorFlow itself does when it saves: the names are those in its files.
    gathered, _, _, graph = serialize_graph_view(ObjectGraphView(root))
    found = [(name, tensor) for of_one in gathered.values() for name, tensor in of_one.items()]
    return dict(found), graph.SerializeToString()


class Unlisting(tf.train.CheckpointManager):
    """A manager that does not write, twice for each save, what it has saved into a file: it knows it all the same.

    That is for managers whose directory is gone as soon as they have saved; a public way to go without there is none.
    """

    def _record_state(self) -> None:
        pass


class Managed(tf.train.Checkpoint):
    """What a `tf.train.CheckpointManager` can save, written by a function of one's own, under a number that it is told.

    A manager asks for it by this method, which TensorFlow has public as `write` only.

    Attributes:
        save_counter: Counts nothing, where a `tf.train.Checkpoint` has a variable that each save is added to.

    Args:
        write_files: Writes the files; called with their path up to the dot.
    """

    def __init__(self, write_files: Callable[[str], None]) -> None:
        super().__init__()
        self._write_files = write_files

    @property
    def save_counter(self) -> "Uncounted":
        return Uncounted()

    def _write(self, file_prefix: str, options: tf.train.CheckpointOptions) -> str:
        self._write_files(file_prefix)
        # By these a manager learns of the files.
        for written in options.experimental_write_callbacks:
            written(file_prefix)
        return file_prefix


class Uncounted:
    """What a manager takes for the number of saves, and adds to."""

    def assign_add(self, delta: int) -> None:
        pass


def iterator_state(iterator: tf.data.Iterator) -> tf.Tensor:
    """Returns where an iterator is, and what it has buffered: variant `[]`. Raises an `OpError` if it has no such."""
    return saved_tensors(iterator)["_STATE"]


def restore_iterator(iterator: tf.data.Iterator, state: tf.Tensor) -> list[tf.Operation]:
    """Takes an iterator to where another one of an equal dataset was."""
    return iterator._restore_from_tensors({"_STATE": state})


def iterator_handle(iterator: tf.data.Iterator) -> tf.Tensor:
    """Returns what a function captures that reads from an iterator; a table has a public `resource_handle`."""
    return iterator._iterator_resource


def records(path: bytes) -> Iterator[bytes]:
    """Returns what reads the records of a file, a hundred times as fast as `tf.data`. Raises an `OpError` at damage."""
    return RecordIterator(path, "")
