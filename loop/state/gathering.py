"""What may be given as state, and what is found below it."""

import collections
from collections.abc import Iterable, Mapping

import keras
import tensorflow as tf

from loop.errors.kinds import shown
from loop.handles import Resource, key_of_resource
from loop.state.variables import keras_variables, listed_variables
from loop.tensors import raw
from loop.tf_internals import CapturableResource, Trackable

OF_PARTS = (  # what the loop adds to the root; see Parts.gather and TrainingState
    "accumulated",
    "clock",
    "data",
    "evaluations",
    "history",
    "hooks",
    "hook_states",
    "means",
    "metrics",
    "position",
    "random",
)
# A checkpoint does not hold what is in other tables: with other contents, a step is another one.
RESTORED = (tf.lookup.experimental.MutableHashTable, tf.lookup.experimental.DenseHashTable)
OWN = (*OF_PARTS, "extra", "save_counter")
# What tf.train.Checkpoint(**state) would take for an argument, or a method, of its own.
RESERVED = (*OWN, "root", *dir(tf.train.Checkpoint))
TWICE = (
    "state={{...}}: two things in it would both be saved as {!r}. A checkpoint has the texts of keys, joined by '/': "
    "such as 1 and '1' are one there, and so are 'a/b' and the 'b' of an 'a'. Give one of the two another key."
)
OF_TENSORFLOW = ".ATTRIBUTES"  # it saves what has this in its name, and then does not find it
ODD = (
    "state={{...}}: TensorFlow cannot restore what it saves under {!r}. Give it a key that is text in UTF-8, without "
    "'.ATTRIBUTES'."
)


def check_given(owner: str, given: Mapping[str, object]) -> None:
    """Raises `TypeError` if this is no mapping, or holds what cannot be saved; `ValueError` for a key.

    Args:
        owner: What to call it.
        given: What is to be a part of the state.
    """
    if not isinstance(given, Mapping):
        as_in = "{'model': model, 'optimizer': optimizer}"
        raise TypeError(f"{owner} needs a dict, as in {as_in}. Received: {type(given).__name__}.")
    for key in given:
        if not isinstance(key, str) or key in RESERVED or not key.isidentifier():
            also = "Metrics that a step updates go into Step(function, metrics={...}). " if key == "metrics" else ""
            raise ValueError(
                f"state={{...}} cannot use the key {shown(key)}. {also}Give it another name, such as 'model'."
            )
        trackable(given[key], key)


def walk(root: Trackable) -> dict[str, tf.Variable]:
    """Returns the variables below a root by path, each once: by its shortest path below the first child that has it.

    Optimizers within something, such as that of a compiled model, come last there: they refer to the weights, too.
    """
    view = tf.train.TrackableView(root)
    found: dict[int, tuple[str, tf.Variable]] = {}
    seen = {id(root)}
    for key, top in view.children(root).items():
        first = [(key, top)] if key != "save_counter" else []  # TensorFlow's own, unused: checkpoints have their step
        last = list[tuple[str, Trackable]]()  # optimizers within something
        for queue in (first, last):
            for path, node in queue:  # grows while it is read: breadth first
                if id(node) in seen:
                    continue
                if queue is first and isinstance(node, keras.optimizers.Optimizer) and node is not top:
                    last.append((path, node))
                    continue
                seen.add(id(node))
                if isinstance(node, tf.Variable | keras.Variable):
                    # The path that comes first is the shortest, and in no optimizer.
                    found.setdefault(id(raw(node)), (path, raw(node)))
                queue.extend((f"{path}/{name}", child) for name, child in view.children(node).items())
    # A key with a slash in it may be spelled as a way through two.
    paths = collections.Counter(path for path, _ in found.values())
    if len(paths) < len(found):
        raise ValueError(TWICE.format(paths.most_common(1)[0][0]))
    if odd := next((path for path in paths if OF_TENSORFLOW in path or not _is_utf8(path)), None):
        raise ValueError(ODD.format(odd))
    return dict(found.values())


def _is_utf8(text: str) -> bool:
    return text.encode(errors="ignore").decode() == text


def extra(given: Mapping[str, object], root: Trackable) -> dict[str, dict[str, tf.Variable | keras.Variable]]:
    """Returns what TensorFlow does not find below a root: Keras' seed states, and what a model holds in lists.

    Args:
        given: The user's `state=`.
        root: Has it already, as far as TensorFlow finds it.
    """
    reached = {id(variable) for variable in walk(root).values()}  # by id: variables are compared number by number
    found = {key: [*keras_variables(value), *listed_variables(value)] for key, value in given.items()}
    return {key: {str(i): v for i, v in enumerate(vs) if id(raw(v)) not in reached} for key, vs in found.items()}


def resources_below(root: Trackable) -> dict[int, Resource]:
    """Returns the tables and iterators below a root by their keys."""
    nodes = tf.train.TrackableView(root).descendants()
    return {key_of_resource(node): node for node in nodes if isinstance(node, CapturableResource | tf.data.Iterator)}


def names_of_resources(root: Trackable, given: Iterable[str]) -> dict[int, str]:
    """Returns names of the tables and iterators that a checkpoint holds, the same in every process, by their keys.

    Args:
        root: What they are below.
        given: The names of the user's `state=`.
    """
    found = dict[int, str]()
    for name in given:
        nodes = tf.train.TrackableView(getattr(root, name)).descendants()
        tables = [node for node in nodes if isinstance(node, RESTORED)]
        iterators = [node for node in nodes if isinstance(node, tf.data.Iterator)]
        # By number: their own names are other ones in each process.
        found |= {key_of_resource(node): f"{name}/resource {i}" for i, node in enumerate([*tables, *iterators])}
    return found


def trackable(value: object, key: str) -> object:
    """Returns the value in a form that `tf.train.Checkpoint` takes."""
    if isinstance(value, keras.Metric):
        return list(value.variables)  # TensorFlow does not find these by itself
    if isinstance(value, keras.random.SeedGenerator):
        return value.state
    if isinstance(value, Mapping):
        parts = {str(name): trackable(item, f"{key}/{name}") for name, item in value.items()}
        if len(parts) < len(value):  # one would be in no checkpoint, in silence
            twice = [name for name in parts if [str(each) for each in value].count(name) > 1]
            raise ValueError(TWICE.format(f"{key}/{twice[0]}"))
        return parts
    if isinstance(value, list | tuple):
        return [trackable(item, f"{key}/{i}") for i, item in enumerate(value)]
    if isinstance(value, Trackable):
        return value
    received = shown(value) if isinstance(value, type) else type(value).__name__
    raise TypeError(
        f"state[{key!r}] cannot be saved. Received: {received}. Expected: a Keras model, layer, optimizer, "
        "metric or SeedGenerator, a tf.Module, tf.Variable or tf.random.Generator, or lists and dicts of them. "
        "Put a number that changes into a tf.Variable."
    )
