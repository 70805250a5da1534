"""The files of a checkpoint in TensorFlow's ordinary layout, written by one operation."""

import tensorflow as tf

from hooks.checkpoint.saving.snapshot import Leaf, Snapshot
from loop.tf_internals import OBJECT_GRAPH, Managed, Unlisting, named_tensors, save_tensors, wait_for_operations


class Bundle:
    """Writes of a snapshot what a `tf.train.Checkpoint` of the state would write.

    That finds out at each save what everything is called, makes some ten objects for each value, and writes a second
    time what says where it is. Here the names and the object graph are found once, which takes a sixth of the time.
    It is written through a `tf.train.CheckpointManager`, as any checkpoint.

    Args:
        snapshot: What to write, as it is when it is written.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._names, self._slices, self._graph = tf.constant([]), tf.constant([]), tf.constant(b"")
        self._of = list[tuple[Leaf, str]]()
        self._held = list[tuple[str, ...]]()
        self._managed = Managed(self._write_files)

    def write(self, prefix: str) -> None:
        """Writes `<prefix>.index` and `<prefix>.data-00000-of-00001`; the prefix ends in a number.

        There is a manager for each save. One for all would list all that there have ever been, in 40 us each.

        Raises:
            tf.errors.OpError: If they cannot be written. Something may be left of them, all under that prefix.
        """
        directory, _, stem = prefix.rpartition("/")
        name, _, number = stem.rpartition("-")
        manager = Unlisting(self._managed, directory, max_to_keep=None, checkpoint_name=name)
        manager.save(checkpoint_number=int(number))

    def _write_files(self, prefix: str) -> None:
        held = [tuple(leaf.held) for leaf in self._snapshot.leaves]
        if held != self._held:  # usually not: an optimizer or a table was built since
            self._find_names()
            self._held = held
        tensors = [leaf.held[name] for leaf, name in self._of]
        save_tensors(prefix, self._names, self._slices, [*tensors, self._graph])
        wait_for_operations()

    def _find_names(self) -> None:
        """Finds out what TensorFlow calls everything, by the tensors that it is handed."""
        found, graph = named_tensors(self._snapshot.root)
        places = {id(x): (leaf, name) for leaf in self._snapshot.leaves for name, x in leaf.held.items()}
        self._of = [places[id(x)] for x in found.values()]
        with tf.device("CPU"):
            self._names, self._slices = tf.constant([*found, OBJECT_GRAPH]), tf.constant([""] * (len(found) + 1))
            self._graph = tf.constant(graph)
