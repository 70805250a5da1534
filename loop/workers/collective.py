"""Sums over all workers, in a compiled loop or outside of one."""

import functools
import operator
import weakref
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from loop.tensors import FuncGraph
from loop.tf_internals import ConcreteFunction

ON_HOST, ON_DEVICE = 7101, 7102  # TensorFlow's groups of workers, each of one kind of device
EXCHANGE = 1  # the number of the operation by which all find together, whatever else they have traced
OPERATIONS = ("CollectiveReduceV2", "CollectiveGatherV2")
BY_ITSELF = 2**20  # bytes, from which on a tensor is added up by itself: to pack it with others would copy it twice
# Bytes of a part, and of those of all others together, up to which each worker is sent these and adds them up itself:
# that is half as many hops, one after the other, as by a ring that adds up on the way.
SENT, SENT_IN_ALL = 2**16, 2**19
SENDABLE = (tf.float16, tf.float32, tf.float64, tf.int32, tf.int64)  # what TensorFlow sends so
UNKNOWN = (
    "What is added up over all workers has to be of a known shape. Received: {}. Write tf.ensure_shape(x, [...]) "
    "around it, or add up the sum of its rows."
)


class Collective:
    """Adds up tensors over all workers; all get the same bits.

    Each operation has a number, by which TensorFlow finds its counterparts: they are counted, and so all workers have
    to trace the same things in the same order. Within a loop, they are told apart by its iterations.

    Attributes:
        number: That of the latest.

    Args:
        count: How many workers there are.
    """

    def __init__(self, count: int) -> None:
        self._count, self.number = count, EXCHANGE
        # By graph, because operations wait for others of their own graph alone. By name: an operation holds its graph.
        self._latest = weakref.WeakKeyDictionary[FuncGraph, str]()
        self._exchanging: ConcreteFunction | None = None

    def sum(
        self, tensors: Sequence[tf.Tensor], *, on_host: bool = False, of_any_shape: bool = False, mean: bool = False
    ) -> list[tf.Tensor]:
        """Returns the sums of tensors over all workers, in one operation for each dtype, and for each large tensor.

        To be called in a graph.

        Args:
            tensors: Of known shapes, equal in all workers.
            on_host: Whether to do it on the CPU, as is better for a few numbers.
            of_any_shape: Whether they are equal in all workers though nobody knows them yet, as those of gradients are.
            mean: Whether to divide the sums by the number of workers.

        Raises:
            ValueError: If a shape is not known.
        """
        # A key for each operation: the dtype, and of a large tensor its own place.
        packs: dict[tuple[tf.DType, int], list[int]] = {}
        for i, tensor in enumerate(tensors):
            if not (of_any_shape or tensor.shape.is_fully_defined()):
                raise ValueError(UNKNOWN.format(f"{tensor.name}, shape {tensor.shape}"))
            packs.setdefault((tensor.dtype, i if (_bytes(tensor) or 0) >= BY_ITSELF else -1), []).append(i)
        found: dict[int, tf.Tensor] = {}
        for places in packs.values():
            known = all(tensors[i].shape.is_fully_defined() for i in places)
            sizes = [tensors[i].shape.num_elements() if known else tf.size(tensors[i]) for i in places]
            flat = [tf.reshape(tensors[i], [-1]) for i in places]
            # Counted while tracing: in all workers the same tensors, in the same order.
            self.number += 1
            added = self._added(flat[0] if len(flat) == 1 else tf.concat(flat, 0), self.number, on_host, mean)
            parts = [added] if len(flat) == 1 else tf.split(added, sizes)
            found |= {i: _as(tensors[i], part) for i, part in zip(places, parts, strict=True)}
        return [found[i] for i in range(len(tensors))]

    def exchange(self, *numbers: float) -> np.ndarray:
        """Returns what each worker has called this with, always with as many: float64 `[count, numbers]`.

        Some 0.2 ms on one machine.
        """
        if self._exchanging is None:
            # Traced at the first exchange, and not when a module is imported.
            spec = tf.TensorSpec([len(numbers)], tf.float64)
            exchanged = functools.partial(self._of_all, number=EXCHANGE, on_host=True)
            self._exchanging = tf.function(exchanged, autograph=False).get_concrete_function(spec)
        return self._exchanging(tf.constant(numbers, tf.float64)).numpy()

    def _added(self, tensor: tf.Tensor, number: int, on_host: bool, mean: bool) -> tf.Tensor:
        """Returns the sum of the vectors of all workers, or their mean."""
        size = _bytes(tensor)
        if size == 0:
            return tensor  # which TensorFlow's gather does not survive
        if tensor.dtype in SENDABLE and size is not None and size <= max(SENT, SENT_IN_ALL // (self._count - 1)):
            parts = tf.unstack(self._of_all(tensor, number=number, on_host=on_host))
            added = functools.reduce(operator.add, parts)  # in the same order in all of them
            return added / self._count if mean else added
        # Each worker divides only the part that it adds up.
        reduce = functools.partial(tf.raw_ops.CollectiveReduceV2, merge_op="Add", final_op="Div" if mean else "Id")
        return self._done(reduce, tensor, number, on_host=on_host)

    def _of_all(self, tensor: tf.Tensor, number: int, *, on_host: bool) -> tf.Tensor:
        """Returns the vectors of all workers: `[count, size]`."""
        found = self._done(tf.raw_ops.CollectiveGatherV2, tensor, number, on_host=on_host)
        return tf.reshape(found, [self._count, *tensor.shape])

    def _done(self, operation: Callable[..., tf.Tensor], tensor: tf.Tensor, number: int, *, on_host: bool) -> tf.Tensor:
        graph = tf.compat.v1.get_default_graph()
        # NCCL wants them one after the other, in the same order everywhere; on CPUs, what a step has to say of itself
        # is added up while its gradients are.
        in_order = not on_host and bool(tf.config.list_logical_devices("GPU"))
        before = [graph.get_operation_by_name(self._latest[graph])] if in_order and graph in self._latest else []
        with tf.device("CPU" if on_host else None), tf.control_dependencies(before):
            found = operation(
                input=tensor,
                group_size=self._count,
                group_key=ON_HOST if on_host else ON_DEVICE,
                instance_key=number,
                ordering_token=[],
            )
        if in_order:
            self._latest[graph] = found.op.name
        return found


def _bytes(tensor: tf.Tensor) -> int | None:
    """Returns how large a tensor is; None if nobody knows."""
    return tensor.shape.num_elements() * tensor.dtype.size if tensor.shape.is_fully_defined() else None


def _as(tensor: tf.Tensor, part: tf.Tensor) -> tf.Tensor:
    """Returns a part of a sum in the shape of what was added up."""
    return tf.reshape(part, tensor.shape if tensor.shape.is_fully_defined() else tf.shape(tensor))


def number_of(op: tf.Operation) -> int | None:
    """Returns the number of an operation; None if it is no sum over workers."""
    return int(tf.get_static_value(op.inputs[3])) if op.type in OPERATIONS else None
