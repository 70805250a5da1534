"""What is known of a variable, table or iterator wherever it is met: in the training state and in a traced function.

That is the id of its handle, which functions capture. Whoever matches one with the other goes through here. A key is
good as long as its handle is, which its owner, and each graph that captured it, keeps.
"""

from collections.abc import Iterable
from typing import TypeAlias

import tensorflow as tf

from loop.tensors import FuncGraph
from loop.tf_internals import CapturableResource, iterator_handle

Resource: TypeAlias = CapturableResource | tf.data.Iterator


def key(variable: tf.Variable) -> int:
    """Returns the key of a variable."""
    return key_of(variable.handle)


def key_of(handle: tf.Tensor) -> int:
    """Returns the key of what has this handle: resource `[]`, or whatever else a function has captured."""
    return id(handle)


def key_of_resource(resource: Resource) -> int:
    """Returns the key of a table or iterator."""
    is_iterator = isinstance(resource, tf.data.Iterator)
    return key_of(iterator_handle(resource) if is_iterator else resource.resource_handle)


def keys(variables: Iterable[tf.Variable]) -> set[int]:
    """Returns the keys of variables."""
    return set(map(key, variables))


def by_key(variables: Iterable[tf.Variable]) -> dict[int, tf.Variable]:
    """Returns variables by their keys."""
    return {key(variable): variable for variable in variables}


def captured(graph: FuncGraph) -> dict[int, tf.Tensor]:
    """Returns by key the handles, and other tensors, that a traced function has from outside."""
    return {key_of(outer): outer for outer, _ in graph.captures}
