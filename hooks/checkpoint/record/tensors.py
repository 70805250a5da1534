"""The values in the files of a checkpoint, and how TensorFlow calls there what has a path in the training state."""

from collections.abc import Iterable, Mapping

import tensorflow as tf
from google.protobuf.message import DecodeError

from loop.tf_internals import OBJECT_GRAPH, Tensors, TrackableObjectGraph

NO_GRAPH = "The object graph in {!r} is none, although the files are those of the manifest. It was not saved so."


def dtypes_in(prefix: str) -> dict[str, tf.DType]:
    """Returns of all values in a checkpoint their dtypes, by name.

    Args:
        prefix: What TensorFlow takes for it.
    """
    # Not `tf.train.load_checkpoint`, which at some addresses takes the prefix for a directory, and finds nothing in it.
    return tf.compat.v1.train.NewCheckpointReader(prefix).get_variable_to_dtype_map()


def read_tensors(prefix: str, dtypes: Mapping[str, tf.DType]) -> Tensors:
    """Returns some values in a checkpoint, by name; of none, none.

    Args:
        prefix: What TensorFlow takes for it.
        dtypes: Their dtypes, by name.

    Raises:
        tf.errors.OpError: If one is not there, or of another dtype: nothing is cast.
    """
    if not dtypes:  # which TensorFlow refuses to be asked for
        return {}
    found = tf.raw_ops.RestoreV2(
        prefix=prefix, tensor_names=[*dtypes], shape_and_slices=[""] * len(dtypes), dtypes=[*dtypes.values()]
    )
    return dict(zip(dtypes, found, strict=True))


def write_tensors(prefix: str, tensors: Mapping[str, tf.Tensor]) -> None:
    """Writes values, by name, to the files of a checkpoint."""
    none = [""] * len(tensors)
    with tf.device("CPU"):  # of a GPU, values are copied to where files are written from
        tf.raw_ops.SaveV2(prefix=prefix, tensor_names=[*tensors], shape_and_slices=none, tensors=[*tensors.values()])


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
        self._long: dict[int, list[str]] = {}
        self._kinds = {name: variables[path] for path, name in self.of(variables).items()}

    def of(self, paths: Iterable[str]) -> dict[str, str]:
        """Returns the names of the variables at these paths, by path; those that are not there are left out."""
        return {path: name for path in paths if (name := self._of(path))}

    def describe(self, name: str) -> object:
        """Returns shape and dtype of a variable, as `TrainingState.describe` does."""
        return self._kinds[name]

    def _of(self, path: str) -> str | None:
        steps, queue, seen = path.split("/"), [(0, 0)], set[tuple[int, int]]()
        for place in queue:  # a node, from the root on, and how many steps led there; grows while it is read
            at, done = place
            if done == len(steps):
                attributes = self._nodes[at].attributes
                return attributes[0].checkpoint_key if attributes else None
            for name in self._names_below(at, steps[done]):
                end = done + 1 + name.count("/")  # a key of the program's may be several steps
                following = self._children[at][name], end
                if name == "/".join(steps[done:end]) and following not in seen:
                    seen.add(following)
                    queue.append(following)
        return None

    def _names_below(self, at: int, step: str) -> list[str]:
        """Returns the children of a node that a way may go on to: by a step, and by names of several."""
        if at not in self._children:
            self._children[at] = {child.local_name: child.node_id for child in self._nodes[at].children}
            self._long[at] = [name for name in self._children[at] if "/" in name]
        return [*([step] if step in self._children[at] else []), *self._long[at]]
