"""Arrays that live in the graph."""

import copy
import functools
import hashlib
import operator
import random
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from loop.data.order import as_seed, order_of
from loop.data.prefetch import Early
from loop.digest import Seen, digest
from loop.errors.calls import BY_POSITION, explained
from loop.errors.instead import instead_of_data
from loop.errors.kinds import shown
from loop.findings import Finding
from loop.state.position import Place
from loop.tensors import Nest
from loop.tf_internals import Trackable
from loop.workers.rows import Count, OwnRows

SCALAR = (bool, int, float, complex, str, bytes, np.generic)
LISTS = "A list is a nest: of examples, make one array, as in np.array(examples)."
MOST_ROWS = 2**30  # with as many in a batch, an int32 still counts the row behind the last one
BATCHING = {
    BY_POSITION: "write ArrayData((x, y), batch_size=32)",
    "batch_size": "write ArrayData((x, y), batch_size=32)",
    "batch": "write batch_size=...",
    "drop_last": "write drop_remainder=...",
    "reshuffle_each_iteration": "leave it out: with shuffle=True, each epoch has an order of its own",
}


@explained(BATCHING)
class ArrayData(Trackable):
    """Arrays that live in the graph: a batch is a gather, so there is no input pipeline to wait for, or to save.

    Epoch e visits the rows in the order of a permutation that depends on (seed, e) alone, step s of it starts at row
    `s * batch_size` of that order, and so going back to any step costs the same as starting.

    Args:
        arrays: A nest of arrays or tensors of equal first dimension n. They are put on the default device once.
        batch_size: Rows in a batch.
        seed: Any integer; its lowest 64 bits count. If None, a loop draws one from Python's `random`, and saves it with
            each checkpoint; an evaluation takes 0.
        shuffle: Whether to permute the rows in each epoch.
        drop_remainder: Whether to leave out the last batch of an epoch if it is smaller.

    Raises:
        TypeError: If it is nothing that a tensor can be made of.
        ValueError: If there are no rows, or the arrays differ in how many they have, or no batch can be made.
    """

    def __init__(
        self,
        arrays: Nest,
        *,
        batch_size: int,
        seed: int | None = None,
        shuffle: bool = True,
        drop_remainder: bool = False,
    ) -> None:
        _check_leaves(arrays)
        _check_lengths(arrays)
        # Not tf.nest.map_structure, the frames of which would come between a mistake and the line that makes it.
        self._arrays = tf.nest.pack_sequence_as(arrays, [_placed(array) for array in tf.nest.flatten(arrays)])
        batch_size = operator.index(batch_size)
        shapes = [tuple(array.shape) for array in tf.nest.flatten(self._arrays)]
        rows = {shape[0] if shape else -1 for shape in shapes}
        if len(rows) != 1 or -1 in rows:
            raise ValueError(
                f"ArrayData needs arrays of equal first dimension. Received shapes: {_listed(shapes)}."
                + (f" {LISTS}" if isinstance(arrays, list) else "")
            )
        self._rows: int = rows.pop()
        if self._rows == 0:
            raise ValueError(f"ArrayData needs at least one row. Received empty arrays of shapes: {_listed(shapes)}.")
        if batch_size < 1:
            raise ValueError(f"ArrayData(batch_size=...) must be at least 1. Received: batch_size={batch_size}.")
        if drop_remainder and batch_size > self._rows:
            raise ValueError(
                f"ArrayData needs a batch_size of at most the {self._rows} rows there are with "
                f"drop_remainder=True. Received: batch_size={batch_size}, drop_remainder={drop_remainder}. "
                f"Write batch_size={self._rows}, or leave out drop_remainder."
            )
        self._batch_size, self._shuffle = min(batch_size, self._rows), shuffle
        self._wanted_batch_size = batch_size
        self._given_seed = None if seed is None else as_seed(operator.index(seed))
        self._drawn_seed: int | None = None if shuffle else 0
        self._even = drop_remainder or self._rows % batch_size == 0
        self.steps_per_epoch = self._rows // batch_size + (0 if self._even else 1)
        size = batch_size if self._even else None
        self.element_spec = tf.nest.map_structure(lambda a: tf.TensorSpec([size, *a.shape[1:]], a.dtype), self._arrays)
        self.repeats_itself, self.taken = True, False
        self.seen: Seen | None = None
        self.own: OwnRows | None = None  # of several workers: the rows that are fetched of each batch
        with tf.device("CPU"):
            shape = [self.steps_per_epoch + 1, self._batch_size]
            self._order = tf.Variable(tf.zeros(shape, tf.int32), trainable=False, name="order")
        arrays = tf.nest.flatten(self._arrays)
        self.variables = [self._order, *(array for array in arrays if isinstance(array, tf.Variable))]
        self.source: Nest = ()
        self._ahead: Nest = ()
        self._sought: Place | None = None  # where to go on, if that is yet to be fetched: a finished run never does
        self._now: tuple[int, int] | None = None  # the seed and epoch of the order
        self._first: Nest = ()  # the first batch in it
        self._early: dict[tuple[int, int], Early[tuple[tf.Tensor, Nest]]] = {}

    def __copy__(self) -> "ArrayData":
        return copy.deepcopy(self)  # two of them cannot have one order

    @property
    def _seed(self) -> int:
        if self._given_seed is not None:
            return self._given_seed
        self.draw()
        return self._drawn_seed or 0

    def draw(self) -> None:
        """Draws a seed that was not given, if there is none yet. A loop does so with its data when it is made.

        Not these themselves: data that are made for an evaluation, or not made, leave Python's random numbers alone.
        """
        if self._given_seed is None and self._drawn_seed is None:
            self._drawn_seed = random.getrandbits(63)

    def first(self, count: int) -> "ArrayData":
        """Returns data of the rows of the first so many batches, as they stand, not shuffled."""
        rows = count * self._batch_size
        arrays = tf.nest.map_structure(lambda array: array[:rows], self._arrays)
        return ArrayData(arrays, batch_size=self._wanted_batch_size, shuffle=False, drop_remainder=self._even)

    def settle(self) -> None:
        """Takes 0 for a seed that was not given. For evaluations, of whose data nothing is saved."""
        self._drawn_seed = 0

    def open(self, epoch: int) -> None:
        if self.seen:
            self.seen.reset()
        self._begin_pass(epoch)
        self.ahead = self._first

    def _begin_pass(self, epoch: int) -> None:
        seed_and_epoch = (self._seed, epoch if self._shuffle else 0)
        if self._now != seed_and_epoch:
            self._begin_order(*seed_and_epoch)

    def close(self) -> None:
        pass  # The next `open` replaces the order.

    @property
    def ahead(self) -> Nest:
        if self._sought is not None:
            self._begin_pass(self._sought.epoch)
            self._ahead, self._sought = self._fetch(self._order, tf.constant(self._sought.step_in_epoch)), None
        return self._ahead

    @ahead.setter
    def ahead(self, ahead: Nest) -> None:
        self._ahead, self._sought = ahead, None

    def _begin_order(self, seed: int, epoch: int) -> None:
        early = self._early.pop((seed, epoch), None)
        order, self._first = self._made(seed, epoch) if early is None else early.get()
        tf.raw_ops.AssignVariableOp(resource=self._order.handle, value=order)
        self._now = seed, epoch
        # The next orders are made while this one is used: of 10^7 rows one takes 250 ms. Not while the first one is,
        # which is the only one of an evaluation. Of small ones several are made, up to 1 MB with their first batches,
        # because to have another thread begin something takes 1 ms.
        if early is None or not self._early:
            kept = [order, *tf.nest.flatten(self._first)]
            size = sum(tensor.dtype.size * tensor.shape.num_elements() for tensor in kept)
            at_once = max(1, min(16, 2**20 // size))
            following = [(seed, epoch + n) for n in range(1, at_once + 1)] if epoch else []
            self._early = {key: Early(functools.partial(self._made, *key)) for key in following}

    def _made(self, seed: int, epoch: int) -> tuple[tf.Tensor, Nest]:
        """Returns the rows of each batch, int32 [steps + 1, batch], and the first batch.

        One row is one gather; the last ones are filled up, and cut to size when read. The one behind the last batch is
        there to be fetched, early, as each other is.
        """
        return self._compiled_order(tf.constant([seed, epoch], tf.int64))

    @functools.cached_property
    def _compiled_order(self) -> Callable[[tf.Tensor], tuple[tf.Tensor, Nest]]:
        def rows(seed: tf.Tensor) -> tuple[tf.Tensor, Nest]:
            order = order_of(self._rows, seed, shuffled=self._shuffle)
            total = self.steps_per_epoch * self._batch_size
            padded = tf.pad(order[:total], [[0, max(0, total - self._rows) + self._batch_size]])
            order = tf.reshape(padded, [self.steps_per_epoch + 1, self._batch_size])
            return order, self._fetch(order, tf.constant(0))

        return tf.function(rows, autograph=False).get_concrete_function(tf.TensorSpec([2], tf.int64))

    def rows(self, epoch: int, index: int) -> list[int]:
        """Returns the numbers of the rows in batch `index` of an epoch, both from 0."""
        order, _ = self._made(self._seed, epoch if self._shuffle else 0)
        left = self._rows - index * self._batch_size
        return order[index].numpy()[:left].tolist()

    def notes(self) -> dict[str, int]:
        return {"seed": self._seed}

    def recall(self, notes: Mapping[str, int]) -> None:
        """Has nothing to take over: there is a seed in any case."""

    def seek(self, place: Place, notes: Mapping[str, int]) -> list[str]:
        self._drawn_seed = notes["seed"]
        self._sought = place if place.step_in_epoch else None  # else the pass is yet to be opened
        return []

    def mark(self) -> Callable[[], None]:
        seed, place, order = self._drawn_seed, self.ahead, self._now

        def go_back() -> None:
            if order is not None and order != self._now:
                self._begin_order(*order)
            self._drawn_seed, self.ahead = seed, place

        return go_back

    def changes(self) -> list[str]:
        return []

    def findings(self, owner: str) -> list[Finding]:
        return []

    @functools.cached_property
    def _content(self) -> str:
        digests = [digest(array) for array in tf.nest.flatten(self._arrays)]
        return hashlib.sha256(repr(digests).encode()).hexdigest()[:16]

    def describe(self) -> dict[str, object]:
        return {
            "kind": "ArrayData",
            "rows": self._rows,
            "batch_size": self._wanted_batch_size,
            "seed": self._given_seed,
            "shuffle": self._shuffle,
            "steps_per_epoch": self.steps_per_epoch,
            "element_spec": str(self.element_spec),
            "content": self._content,
        }

    def dataset(self) -> None:
        return None

    def feed_spec(self) -> tuple[Nest, Nest]:
        return (), self.element_spec if self.own is None else self.own.spec(self.element_spec)

    def more(self, ahead: Nest) -> tf.Tensor:
        return tf.constant(True)

    def batch(self, source: Nest, ahead: Nest) -> Nest:
        return ahead

    def advance(self, source: Nest, ahead: Nest, index: tf.Tensor) -> Nest:
        with tf.control_dependencies(None):  # fetched while the step runs, which a tenth of a small one would wait for
            return self._fetch(self._order, index)

    @property
    def sizes(self) -> Sequence[int]:
        rest = self._rows - (self.steps_per_epoch - 1) * self._batch_size
        return [self._batch_size] if self._even else [self._batch_size, rest][-self.steps_per_epoch :]

    def alike(self, index: int) -> int:
        left = self.steps_per_epoch - index
        return left if self._even else max(1, left - 1)

    def order(self) -> tf.Tensor:
        return self._order.read_value()

    def at(self, order: tf.Tensor, index: tf.Tensor, size: int) -> Nest:
        rows = tf.ensure_shape(tf.gather(order, index), [self._batch_size])[:size]
        return tf.nest.map_structure(lambda array: tf.gather(array, rows), self._arrays)

    def read_apart(self, own: OwnRows) -> None:
        """Has only the rows of one of several workers be fetched, unless somebody wants to digest whole batches."""
        self.own = None if self.seen is not None else own

    def size_at(self, index: tf.Tensor) -> Count:
        """Returns how many rows batch `index` of a pass has, int32 `[]`."""
        if self._even:
            return self._batch_size
        return tf.maximum(tf.minimum(self._rows - index * self._batch_size, self._batch_size), 0)

    def _fetch(self, order: tf.Tensor | tf.Variable, index: tf.Tensor) -> Nest:
        rows = tf.gather(order, index)
        if not self._even:
            left = self._rows - index * self._batch_size
            rows = rows[: tf.minimum(left, self._batch_size)]
        if self.own is not None:
            first, end = self.own.bounds(self.size_at(index))
            rows = rows[first:end]
        return tf.nest.map_structure(lambda array: tf.gather(array, rows), self._arrays)


def _check_leaves(arrays: Nest) -> None:
    """Raises if there is nothing, or numbers: each would become an array, and of lists there may be millions."""
    leaves = tf.nest.flatten(arrays)
    alone = next((leaf for leaf in leaves if isinstance(leaf, SCALAR)), None)
    if alone is not None:
        where = f", in a {type(arrays).__name__}. {LISTS}" if tf.nest.is_nested(arrays) else "."
        raise ValueError(f"ArrayData needs arrays of equal first dimension. Received: {shown(alone)}{where}")
    if not leaves:
        raise ValueError(f"ArrayData needs arrays. Received: {shown(arrays)}.")


def _check_lengths(arrays: Nest) -> None:
    """Raises if there are more rows than an int32 can count, before they are copied."""
    for leaf in tf.nest.flatten(arrays):
        shape = tuple(leaf.shape) if isinstance(leaf, np.ndarray | tf.Tensor | tf.Variable) else ()
        if shape and (shape[0] or 0) > MOST_ROWS:
            raise ValueError(
                f"ArrayData holds at most {MOST_ROWS:,} rows, of which each has a number of 32 bits. Received: "
                f"{shape[0]:,} rows. Write a tf.data.Dataset, as in StreamData(dataset, resume='replay')."
            )


def _listed(shapes: Sequence[tuple[int, ...]]) -> str:
    return ", ".join([*map(str, shapes[:4]), *(["..."] if len(shapes) > 4 else [])])


def _is_at_home(tensor: tf.Tensor) -> bool:
    """Returns whether a tensor is on the host, and that is where steps are run."""
    alone = tensor.dtype != tf.int32 or all(each.device_type == "CPU" for each in tf.config.list_logical_devices())
    return "CPU" in tensor.device and alone


def _placed(array: Nest) -> tf.Tensor | tf.Variable:
    """Returns an array in memory as a variable: a tensor would be handed from step to step in the compiled loop.

    Elsewhere it stays a tensor, because a GPU can gather from variables of a few dtypes only; and so do integers of 32
    bits where there is an accelerator, which has them on the host, where no program of it could read a variable.
    """
    try:
        tensor = tf.convert_to_tensor(array)
    except (TypeError, ValueError):
        kind = f"{array.dtype} array" if isinstance(array, np.ndarray) else type(array).__name__
        instead = "Leave it out." if array is None else instead_of_data(array)
        raise TypeError(f"ArrayData needs arrays, of numbers or texts. Received: {kind}. {instead}") from None
    with tf.device(tensor.device):
        placed = tf.Variable(tensor, trainable=False, name="array") if _is_at_home(tensor) else tensor
    try:
        tf.gather(placed, tf.zeros([0], tf.int32))
    except (tf.errors.InvalidArgumentError, tf.errors.NotFoundError) as error:
        if tensor.shape.rank == 0:  # said by its shape
            return placed
        wide = "float16" if tensor.dtype.is_floating else "int8"
        raise TypeError(
            f"ArrayData needs arrays of which TensorFlow can take rows. Received: an array of {tensor.dtype.name}. "
            f"Give it as {wide}, and write tf.cast(x, {tensor.dtype.name!r}) in the step."
        ) from error
    return placed
