"""How TensorFlow calls in a checkpoint what has a path in the training state."""

from collections.abc import Iterable, Mapping

import tensorflow as tf
from google.protobuf.message import DecodeError

from hooks.checkpoint.record.tensors import read_tensors
from loop.tf_internals import OBJECT_GRAPH, TrackableObjectGraph

NO_GRAPH = "The object graph in {!r} is none, although the files are those of the manifest. It was not saved so."


class CheckpointNames:
    """The names of the values in a checkpoint.

    An object that several paths lead to is saved once, under one of them. All of them are in the object graph.

    Args:
        prefix: What TensorFlow takes for the checkpoint.
        variables: Shape and dtype by path, as in its manifest.
    """

    def __init__(self, prefix: str, variables: Mapping[str, object]) -> None:
        graph = read_tensors(prefix, {OBJECT_GRAPH: tf.string})[OBJECT_GRAPH]
        try:
            self._nodes = TrackableObjectGraph.FromString(graph.numpy()).nodes
        except (DecodeError, TypeError) as error:  # of other bits, or other than one text
            raise ValueError(NO_GRAPH.format(prefix)) from error
        # Before anything walks along them: a planted graph may lead to nodes that there are not.
        if not self._nodes or any(child.node_id >= len(self._nodes) for node in self._nodes for child in node.children):
            raise ValueError(NO_GRAPH.format(prefix))
        self._children: dict[int, dict[str, int]] = {}  # of a list of thousands, each is looked for once
        self._kinds = {name: variables[path] for path, name in self.of(variables).items()}

    def of(self, paths: Iterable[str]) -> dict[str, str]:
        """Returns the names of the variables at these paths, by path; those that are not there are left out."""
        return {path: name for path in paths if (name := self._of(path))}

    def describe(self, name: str) -> object:
        """Returns shape and dtype of a variable, as `TrainingState.describe` does."""
        return self._kinds[name]

    def _of(self, path: str) -> str | None:
        found = 0  # the root, of which paths begin
        for step in path.split("/"):
            if found not in self._children:
                self._children[found] = {child.local_name: child.node_id for child in self._nodes[found].children}
            if step not in self._children[found]:
                return None
            found = self._children[found][step]
        attributes = self._nodes[found].attributes
        return attributes[0].checkpoint_key if attributes else None
