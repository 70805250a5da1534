"""What a source yields for one number, as arrays, and several of these as one batch."""

from collections.abc import Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from loop.errors.instead import instead_of_data
from loop.errors.kinds import shown
from loop.tensors import Nest

PAD = "Pad it where it is read, or make batches there: IndexedData(source, batch_size=None) takes items as batches"
SPEC = "Say what batches are like: element_spec=(tf.TensorSpec([None, None], tf.int64), ...), with None where they vary"


def as_arrays(item: Nest, where: str) -> Nest:
    """Returns an item as a nest of arrays. Python's numbers become what TensorFlow or NumPy makes of them by default:
    float32 and int64.

    Args:
        item: Arrays, tensors, numbers and texts; tuples, lists and dicts of them.
        where: What to call it.

    Raises:
        TypeError: If there is something else in it.
    """
    return tf.nest.pack_sequence_as(item, leaves_of(item, where))


def leaves_of(item: Nest, where: str) -> list[np.ndarray]:
    """Returns the arrays alone, in the order of `tf.nest`. See `as_arrays`."""
    leaves = [_as_array(leaf, where) for leaf in tf.nest.flatten(item)]
    if not leaves:
        raise TypeError(f"{where} is {shown(item)}. Expected: arrays, tensors, numbers or texts, or a nest of them.")
    return leaves


def _as_array(leaf: object, where: str) -> np.ndarray:
    # The usual case, first: it is called for each leaf of each item.
    if type(leaf) is np.ndarray and leaf.dtype.kind in "biufc":
        return leaf
    if isinstance(leaf, str | bytes):
        return np.array(leaf, object)  # not of a width, which would cut off zeros at the end
    if isinstance(leaf, bool | int | float) and not isinstance(leaf, np.generic):
        kind = np.bool_ if isinstance(leaf, bool) else np.int64 if isinstance(leaf, int) else keras.config.floatx()
        return np.array(leaf, kind)
    odd = leaf is None or isinstance(leaf, tf.RaggedTensor | tf.SparseTensor | Mapping | type) or callable(leaf)
    try:
        array = None if odd else np.asarray(leaf)
    except Exception as error:
        raise TypeError(f"{where} has {shown(leaf)} in it, of which NumPy makes no array: {error}") from error
    if array is not None and array.dtype.kind == "V" and array.dtype.type is not np.void:  # of TensorFlow: bfloat16
        name = array.dtype.name
        raise TypeError(
            f"{where} has {name} in it, which NumPy does not have by itself. Give it as "
            f"{'int8' if 'int' in name else 'float32'}, and write tf.cast(x, {name!r}) in the step."
        )
    texts = array is not None and array.dtype == object and all(isinstance(each, str | bytes) for each in array.flat)
    if array is None or (array.dtype == object and not texts) or array.dtype.kind in "VMm":
        named = type(leaf).__module__.split(".")[0] == "pandas"  # a row or rows of a frame
        plain = "Write dict(row), which has its columns by name." if named else "Give it as numbers or texts."
        instead = "Leave it out." if leaf is None else instead_of_data(leaf) if odd else plain
        raise TypeError(f"{where} has {shown(leaf)} in it, which is no array of numbers or texts. {instead}")
    return array


def spec_of(items: Mapping[int, Nest], *, batched: bool, size: int | None) -> Nest:
    """Returns the spec of the batches that are made of items like these.

    Args:
        items: Some of them, by their numbers.
        batched: Whether they are batches already; then what differs in length may differ.
        size: How many are in each batch; None if that varies.

    Raises:
        ValueError: If there is none that fits all of them.
    """
    (number, first), *others = items.items()
    shapes = [list(leaf.shape) for leaf in tf.nest.flatten(first)]
    for other, item in others:
        check_alike(first, item, f"Item {number}", f"Item {other}", lengths=not batched)
        for shape, leaf in zip(shapes, tf.nest.flatten(item), strict=True):
            shape[:] = [a if a == b else None for a, b in zip(shape, leaf.shape, strict=True)]  # None where it varies
    if batched:
        shapes = [[None, *shape[1:]] if shape else [] for shape in shapes]
    else:
        shapes = [[size, *shape] for shape in shapes]
    specs = [tf.TensorSpec(s, _dtype(leaf)) for s, leaf in zip(shapes, tf.nest.flatten(first), strict=True)]
    return tf.nest.pack_sequence_as(first, specs)


def check_alike(first: Nest, item: Nest, name: str, other: str, *, lengths: bool) -> None:
    """Raises `ValueError` if two items, of those names, cannot be in one batch; or, without lengths, in one run."""
    if not _same_structure(first, item):
        raise ValueError(f"{other} is {_describe(item)}; {name} is {_describe(first)}. All must be made alike.")
    for one, two in zip(tf.nest.flatten(first), tf.nest.flatten(item), strict=True):
        if _dtype(one) != _dtype(two) or one.ndim != two.ndim:
            raise ValueError(f"{other} is {_describe(item)}; {name} is {_describe(first)}. All must be made alike.")
        if lengths and one.shape != two.shape:
            raise ValueError(
                f"{other} is {_describe(item)}; {name} is {_describe(first)}, and so no batch can be made. {PAD}."
            )


class FilledRows:
    """A batch to be filled item by item, because a source may use one array again for the next item.

    Args:
        first: The first item.
        name: What it is called.
        size: How many there will be.
    """

    def __init__(self, first: Nest, name: str, size: int) -> None:
        self._first, self._name, self._like = first, name, leaves_of(first, name)
        self.leaves = [np.empty([size, *leaf.shape], leaf.dtype) for leaf in self._like]

    @classmethod
    def none(cls, spec: Nest) -> "FilledRows":
        """Returns a batch of no items, of such a spec."""
        like = tf.nest.map_structure(lambda each: np.empty(each.shape[1:].as_list(), each.dtype.as_numpy_dtype), spec)
        return cls(like, "No item", 0)

    def put(self, row: int, item: Nest, name: str) -> None:
        """Copies an item. Raises `ValueError` if it is not like the first one."""
        leaves = leaves_of(item, name)
        if not (_same_structure(self._first, item) and all(map(_same_kind, self._like, leaves))):
            # Only what is seen to differ is looked at in full, for the message.
            check_alike(as_arrays(self._first, self._name), as_arrays(item, name), self._name, name, lengths=True)
        for rows, leaf in zip(self.leaves, leaves, strict=True):
            rows[row] = leaf if leaf.ndim else leaf[()]


def as_batch(like: Nest, leaves: Sequence[np.ndarray], spec: Nest, where: str) -> Nest:
    """Returns a batch as tensors. Raises `ValueError` if it is none of that spec.

    Args:
        like: Something of the same structure.
        leaves: Its arrays.
        spec: What it is to be.
        where: What to call it.
    """
    if not (_same_structure(spec, like) and all(map(_fits, tf.nest.flatten(spec), leaves))):
        wanted = tf.nest.map_structure(lambda each: f"{each.dtype.name} {each.shape}", spec)
        received = tf.nest.pack_sequence_as(like, leaves)
        raise ValueError(f"{where} is {_describe(received)}. Expected, from what came first: {_plain(wanted)}. {SPEC}.")
    return tf.nest.pack_sequence_as(spec, [tf.convert_to_tensor(leaf) for leaf in leaves])


def _same_structure(one: Nest, other: Nest) -> bool:
    try:
        tf.nest.assert_same_structure(one, other)
    except (ValueError, TypeError):
        return False
    return True


def _same_kind(one: np.ndarray, other: np.ndarray) -> bool:
    return one.shape == other.shape and one.dtype == other.dtype


def _fits(spec: tf.TensorSpec, leaf: np.ndarray) -> bool:
    return spec.dtype == _dtype(leaf) and spec.shape.is_compatible_with(leaf.shape)


def _dtype(array: np.ndarray) -> tf.DType:
    return tf.string if array.dtype.kind in "OSU" else tf.as_dtype(array.dtype)


def _describe(arrays: Nest) -> str:
    return _plain(tf.nest.map_structure(lambda leaf: f"{_dtype(leaf).name} {leaf.shape}", arrays))


def _plain(texts: Nest) -> str:
    return str(texts).replace("'", "")
