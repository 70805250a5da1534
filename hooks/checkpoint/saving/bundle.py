"""The files of a checkpoint in TensorFlow's ordinary layout, written by one operation."""

from collections.abc import Hashable
from typing import NamedTuple

import tensorflow as tf

from hooks.checkpoint.saving.snapshot import Leaf, Snapshot, StandIn
from loop.tf_internals import (
    OBJECT_GRAPH,
    Managed,
    Unlisting,
    legacy_name,
    named_tensors,
    save_tensors,
    wait_for_operations,
)


class Names(NamedTuple):
    """What TensorFlow calls what is in an object graph, and what says which part of each is saved: all of it.

    Attributes:
        names: string `[values + 1]`; the last one is that of the graph.
        slices: As many empty ones.
        graph: The graph, as TensorFlow saves it: string `[]`.
        places: Of each value, the number of its leaf and its name there.
    """

    names: tf.Tensor
    slices: tf.Tensor
    graph: tf.Tensor
    places: list[tuple[int, str]]


class Naming:
    """Has TensorFlow find the names of what is in an object graph, which takes it as long as three saves.

    They are those of the graph before if that was of the same shape, as when a loop is run again.
    """

    def __init__(self) -> None:
        self._shape: Hashable = None
        self._names: Names | None = None

    def __call__(self, root: StandIn) -> tuple[Names, list[Leaf]]:
        """Returns the names of what is in a graph of stand-ins, and the leaves of it by number."""
        nodes = _nodes(root)
        leaves, shape = [node for node in nodes if isinstance(node, Leaf)], _shape(nodes)
        if self._names is None or shape != self._shape:
            self._shape, self._names = shape, _found(root, leaves)
        return self._names, leaves


class Bundle:
    """Writes of a snapshot what a `tf.train.Checkpoint` of the state would write.

    That finds out at each save what everything is called, makes some ten objects for each value, and writes a second
    time what says where it is. Here the names and the object graph are found once, which takes a sixth of the time.
    It is written through a `tf.train.CheckpointManager`, as any checkpoint.

    Args:
        snapshot: What to write, as it is when it is written.
        naming: Finds the names; another bundle's, if both may be of one shape.
    """

    def __init__(self, snapshot: Snapshot, naming: Naming | None = None) -> None:
        self._snapshot, self._naming = snapshot, naming or Naming()
        self._held: list[tuple[str, ...]] | None = None
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
            self._names, leaves = self._naming(self._snapshot.root)
            self._of = [(leaves[number], name) for number, name in self._names.places]
            self._held = held
        tensors = [leaf.held[name] for leaf, name in self._of]
        save_tensors(prefix, self._names.names, self._names.slices, [*tensors, self._names.graph])
        wait_for_operations()


def _nodes(root: StandIn) -> list[StandIn]:
    """Returns all that is in a graph, each once."""
    nodes, seen = [root], {id(root)}
    for node in nodes:  # grows while it is read
        new = {id(child): child for child in node.children.values() if id(child) not in seen}
        nodes += new.values()
        seen |= new.keys()
    return nodes


def _shape(nodes: list[StandIn]) -> Hashable:
    """Returns all that the names in a graph depend on."""
    numbers = {id(node): number for number, node in enumerate(nodes)}
    return tuple(
        (
            tuple(node.held) if isinstance(node, Leaf) else None,
            legacy_name(node),
            tuple((name, numbers[id(child)]) for name, child in node.children.items()),
        )
        for node in nodes
    )


def _found(root: StandIn, leaves: list[Leaf]) -> Names:
    """Finds out what TensorFlow calls everything, by the tensors that it is handed."""
    found, graph = named_tensors(root)
    places = {id(x): (number, name) for number, leaf in enumerate(leaves) for name, x in leaf.held.items()}
    with tf.device("CPU"):
        names, slices = tf.constant([*found, OBJECT_GRAPH]), tf.constant([""] * (len(found) + 1))
        return Names(names, slices, tf.constant(graph), [places[id(x)] for x in found.values()])
