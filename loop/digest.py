"""Short values that tell whether two tensors, or two passes over the data, are the same bit for bit."""

import hashlib
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from loop.tensors import Nest, read, unconverted, widened

SAMPLE = 16_384  # numbers of each tensor of a batch that are looked at: more would cost training time
LARGE = 2**20  # bytes
FACTOR, STRIDE = 6364136223846793005, 1442695040888963407  # odd; of a congruential generator (Knuth, MMIX)


def digest(value: tf.Tensor) -> str:
    """Returns the first 16 hex digits of the SHA-256 of a tensor, or of an array: its dtype, shape and bits."""
    return digest_as(value, bytes)


def digest_as(value: tf.Tensor, read: Callable[[bytes], bytes]) -> str:
    """Returns the digest that a tensor or an array has if each text in it is what it is read as."""
    value = value if isinstance(value, tf.Tensor) else tf.convert_to_tensor(value)
    found = hashlib.sha256(f"{value.dtype.name} {tuple(value.shape.as_list())}".encode())
    if value.dtype == tf.string:
        with tf.init_scope():  # also while something is traced
            # Each text with its length, in 8 bytes: or ["ab", "c"] would be ["a", "bc"].
            for text in map(read, _texts(tf.reshape(value, [-1]))):
                found.update(len(text).to_bytes(8) + text)
    else:  # not tf.io.serialize_tensor, which crashes on more than 2 GB
        # Of no copy, as `numpy()` is; but of [], TensorFlow hands out a number, no array if NumPy lacks its dtype.
        array = np.asarray(value if value.shape.rank else value.numpy())
        found.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return found.hexdigest()[:16]


def short(parts: object) -> str:
    """Returns 8 hex digits that are others for other lists, strings and numbers."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:8]


def _texts(values: tf.Tensor) -> Iterator[bytes]:
    """Yields the texts of a tensor, string `[n]`, in parts: there may be gigabytes of them, and this copies."""
    size = int(tf.reduce_sum(tf.cast(tf.strings.length(values), tf.int64)))
    part = max(1, len(values) * LARGE // max(size, 1))
    for first in range(0, len(values), part):
        yield from values[first : first + part].numpy()


def unchanged(variable: tf.Variable) -> Callable[[], bool]:
    """Returns what returns whether a variable has the value that it has now."""
    then = read(variable)
    if "CPU" not in then.device or not then.dtype.is_numpy_compatible or np.asarray(then).nbytes < LARGE:
        said = digest(then)  # sync: copies all of it to the host, here and below
        return lambda: digest(read(variable)) == said

    # As long as this is held, an update makes another buffer: so a large one need not be looked into.
    def unchanged() -> bool:
        now = read(variable)
        arrays = np.asarray(now), np.asarray(then)  # both at once: of texts they are copies, which have places, too
        return len({each.ctypes.data for each in arrays}) == 1 or digest(now) == digest(then)

    return unchanged


class BatchDigest(tf.Module):
    """A digest of all batches that were seen in a pass over the data, in their order.

    Attributes:
        digest: int64 `[]`; 0 before the first batch.

    Args:
        added: Called with the digest of a batch and all before it, int64 `[]`; returns what to keep in its place: the
            sum over several workers, if each sees others.
    """

    def __init__(self, added: Callable[[tf.Tensor], tf.Tensor] = lambda digest: digest) -> None:
        super().__init__(name="seen")
        self._added = added
        self.digest = tf.Variable(0, dtype=tf.int64, trainable=False, name="digest")

    def reset(self) -> None:
        """Begins a new pass."""
        self.digest.assign(0)

    @unconverted
    def update(self, batch: Nest) -> None:
        """Takes in one more batch, in a function that is traced or at once."""
        value = self.digest.read_value()
        for tensor in tf.nest.flatten(batch, expand_composites=True):
            value = value * FACTOR + sampled(tensor, value)  # in each batch it looks at other places
        self.digest.assign(self._added(value * FACTOR + 1))


def sampled(tensor: tf.Tensor, salt: int | tf.Tensor = 0) -> tf.Tensor:
    """Returns an int64 `[]` that is another one for most other tensors, from `SAMPLE` of its numbers.

    It costs the same for any size, and can be traced.

    Args:
        tensor: The tensor, of any dtype and shape.
        salt: int64 `[]`; another one for numbers at other places.
    """
    if tensor.dtype in (tf.variant, tf.resource):
        return tf.constant(0, tf.int64)  # a dataset, of which nobody knows the elements
    # The dtype takes part, because the bits of other dtypes may be the same integers.
    kind, tensor = tf.constant([tensor.dtype.as_datatype_enum], tf.int64), widened(tensor)
    flat = tf.reshape(tensor, [-1])
    part = _integers(tf.gather(flat, _spread(tf.size(flat, tf.int64), tf.convert_to_tensor(salt, tf.int64))))
    return _weighted(tf.reshape(part, [-1])) + _weighted(tf.concat([kind, tf.shape(tensor, tf.int64)], axis=0)) * FACTOR


def _spread(size: tf.Tensor, salt: tf.Tensor) -> tf.Tensor:
    """Returns places below `size`: all, or one somewhere in each of `SAMPLE` equal parts, in none of them the same way.

    Places at equal distances would all be of one colour of an image, or in one column of it.
    """
    count = tf.minimum(size, SAMPLE)
    # int64 `[count + 1]`: where the parts begin, and the end of the last.
    starts = tf.range(count + 1) * size // tf.maximum(count, 1)
    return starts[:-1] + tf.math.floormod(_mixed(tf.range(1, count + 1) + salt), starts[1:] - starts[:-1])


def _weighted(numbers: tf.Tensor) -> tf.Tensor:
    """Returns a sum in which each number counts otherwise at each place: not by small weights, which would add up."""
    return tf.reduce_sum(_mixed(numbers + _mixed(tf.range(1, tf.size(numbers, tf.int64) + 1))))


def _mixed(numbers: tf.Tensor) -> tf.Tensor:
    """Returns other numbers for other numbers, in which the upper bits count for the lower: floats differ in those."""
    # The product wraps, and carries bits upwards; the shift brings them down again.
    for factor in (FACTOR, STRIDE):
        numbers = tf.bitwise.bitwise_xor(numbers, tf.bitwise.right_shift(numbers, tf.constant(32, tf.int64))) * factor
    return tf.bitwise.bitwise_xor(numbers, tf.bitwise.right_shift(numbers, tf.constant(29, tf.int64)))


def _integers(tensor: tf.Tensor) -> tf.Tensor:
    """Returns the bits of numbers, or a hash of texts, as int64."""
    if tensor.dtype == tf.string:
        # The same in each process, where Python's `hash` of a text is not.
        return tf.strings.to_hash_bucket_fast(tensor, 2**62)
    if (tensor.dtype.is_integer and not tensor.dtype.is_quantized) or tensor.dtype.is_bool:
        return tf.cast(tensor, tf.int64)
    if tensor.dtype.name.startswith("float8"):
        tensor = tf.cast(tensor, tf.float32)  # which no operation can look into
    same_size = {1: tf.uint8, 2: tf.int16, 4: tf.int32}.get(tensor.dtype.size, tf.int64)
    return tf.cast(tf.bitcast(tensor, same_size), tf.int64)
