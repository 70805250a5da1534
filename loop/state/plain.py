"""The state of something in Python, as tensors: JSON values, bytes and NumPy arrays, nested, and never pickled."""

import hashlib
import json
import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

from loop.errors.kinds import shown
from loop.tf_internals import Trackable

Plain: TypeAlias = Any  # None, bool, int, float, str, bytes, arrays, numbers of NumPy; lists, tuples and dicts of them
ARRAYS = (np.ndarray, np.memmap)  # one of another class, such as a masked one, would come back as one of the first
KINDS = "biufcSUMm"  # of arrays: what they are made of is in their bytes
SCALARS = frozenset((type(None), bool, int, float, str))
TAG = "\0"  # the key of a dict that stands for what JSON does not have
WANTED = "JSON values, bytes, and NumPy arrays or numbers; lists, tuples and dicts of them"


class Encoded:
    """A copy of a plain value.

    Attributes:
        text: What it is, as JSON; bytes and arrays stand in it by their kind and size.
        data: uint8 `[n]`: bytes and arrays, one behind the other.

    Args:
        value: The value.
        owner: Whose it is, for messages.

    Raises:
        TypeError: If there is anything else in it. The message says where.
    """

    def __init__(self, value: Plain, owner: str) -> None:
        parts: list[bytes] = []
        try:
            self.text = json.dumps(_encoded(value, owner, "", parts))
        except RecursionError:
            said = "what is nested too deep, or holds itself. Number the things, and say by number what is in what"
            raise TypeError(f"The state of {owner} is saved as {WANTED}. Received: {said}.") from None
        except ValueError:  # Python writes, and reads, no longer ones
            digits = sys.get_int_max_str_digits()
            said = f"a whole number of more than {digits} digits. Write hex(value), and int(text, 16)"
            raise TypeError(f"The state of {owner} is saved as {WANTED}. Received: {said}.") from None
        self.data = np.frombuffer(b"".join(parts), np.uint8)

    def decoded(self) -> Plain:
        """Returns another copy of the value."""
        return decoded(self.text, self.data)

    def digest(self) -> str:
        """Returns 16 hex digits that tell it from others."""
        return hashlib.blake2b(self.text.encode() + self.data.tobytes(), digest_size=8).hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Encoded) and self.text == other.text and np.array_equal(self.data, other.data)

    __hash__ = None  # type: ignore[assignment]


def decoded(text: str | bytes, data: np.ndarray) -> Plain:
    """Returns the value that was encoded so. Raises `ValueError` if it is none that this module has written."""
    memory = memoryview(np.ascontiguousarray(data).tobytes())  # a copy, of which slices are none
    try:
        value, used = _decoded(json.loads(text), memory, 0)
    except (KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise ValueError(f"This is no state that was saved by this package: {error!r:.100}") from None
    # Too few bytes raise above, from NumPy; too many would be left out in silence.
    if used != len(memory):
        raise ValueError(f"This is no state that was saved by this package: {used} of {len(memory)} bytes are used")
    return value


def _encoded(value: Plain, owner: str, where: str, parts: list[bytes]) -> object:
    if type(value) in SCALARS:
        return value
    if isinstance(value, bytes | bytearray):
        parts.append(bytes(value))
        return {TAG: "bytes", "size": len(value)}  # what they are is in `data`, which is no text
    if (type(value) in ARRAYS or isinstance(value, np.generic)) and value.dtype.kind in KINDS and value.dtype.isnative:
        array = np.asarray(value)
        parts.append(array.tobytes())  # in the order of C, whatever the array's own is
        kind = "array" if isinstance(value, np.ndarray) else "number"  # one of NumPy's, not of Python's
        return {TAG: kind, "dtype": array.dtype.str, "shape": list(array.shape)}
    if type(value) is list and SCALARS.issuperset(map(type, value)):
        return value  # of which there may be a million
    if type(value) in (list, tuple):
        items = [_encoded(item, owner, f"{where}[{i}]", parts) for i, item in enumerate(value)]
        return items if type(value) is list else {TAG: "tuple", "items": items}
    if isinstance(value, Mapping):
        pairs = [
            (_key(key, owner, where, parts), _encoded(v, owner, f"{where}[{key!r}]", parts)) for key, v in value.items()
        ]
        if all(type(key) is str for key in value) and TAG not in value:  # else JSON would make texts of the keys
            return dict(pairs)
        return {TAG: "dict", "items": [[key, item] for key, item in pairs]}
    at = f" at state{where}" if where else ""
    raise TypeError(f"The state of {owner} is saved as {WANTED}. Received{at}: {_what(value)}.")


def _key(key: object, owner: str, where: str, parts: list[bytes]) -> object:
    if type(key) in SCALARS:
        return key
    if isinstance(key, np.generic):  # as of an index that was drawn
        return _encoded(key, owner, where, parts)
    raise TypeError(f"The state of {owner} is saved as {WANTED}. Received a key of state{where}: {shown(key)}.")


def _what(value: object) -> str:
    if isinstance(value, np.ma.MaskedArray):
        return "MaskedArray. Write (value.data, np.ma.getmaskarray(value)), and np.ma.MaskedArray(*state)"
    if isinstance(value, np.ndarray) and type(value) not in ARRAYS:
        return f"{type(value).__name__}, a class of arrays. Write np.asarray(value), and make it of that"
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype}. Make a list of it, with .tolist(), or give it another dtype"
    if isinstance(value, tf.Tensor | tf.Variable):
        return f"{type(value).__name__}. Write value.numpy()"
    if isinstance(value, np.random.Generator):
        return "a generator of NumPy. Write generator.bit_generator.state, and set that"
    return type(value).__name__


def _decoded(said: Any, memory: memoryview, at: int) -> tuple[Plain, int]:
    if isinstance(said, list):
        items = []
        for each in said:
            item, at = _decoded(each, memory, at)
            items.append(item)
        return items, at
    if not isinstance(said, dict):
        return said, at
    if TAG not in said:
        found = {}
        for key, each in said.items():
            found[key], at = _decoded(each, memory, at)
        return found, at
    kind = said[TAG]
    if kind == "bytes":
        return bytes(memory[at : at + said["size"]]), at + said["size"]
    if kind == "tuple":
        items, at = _decoded(said["items"], memory, at)
        return tuple(items), at
    if kind == "dict":
        pairs = {}
        for said_key, each in said["items"]:
            key, at = _decoded(said_key, memory, at)
            pairs[key], at = _decoded(each, memory, at)
        return pairs, at
    dtype, shape = np.dtype(said["dtype"]), said["shape"]
    if dtype.kind not in KINDS:  # of a forged text: the bytes of objects would be addresses
        raise KeyError(dtype)
    # A shape [] has the product 1.0, unless the dtype is said.
    size = dtype.itemsize * int(np.prod(shape, dtype=np.int64))
    array = np.frombuffer(memory[at : at + size], dtype).reshape(shape).copy()  # or it could not be written to
    return array if kind == "array" else array[()], at + size


class Kept(Trackable):
    """Saves the state of something in Python with a checkpoint, and restores it.

    Args:
        get: Returns the state. What it is made of is copied.
        put: Takes a state over.
        owner: Whose it is, for messages.
    """

    def __init__(self, get: Callable[[], Plain], put: Callable[[Plain], object], owner: str) -> None:
        self._get, self._put, self._owner = get, put, owner

    def capture(self) -> Callable[[], None]:
        """Copies the present state, and returns what puts it back."""
        held = Encoded(self._get(), self._owner)  # a copy: the source goes on changing its own

        def back() -> None:
            self._put(held.decoded())

        return back

    def digests(self) -> dict[str, str]:
        """Returns digests, by what to call them, from which workers tell whether their states are equal."""
        return {"get_state": Encoded(self._get(), self._owner).digest()}

    # TensorFlow's protocol for objects that a checkpoint saves. Always the same two, however the state grows.

    def _serialize_to_tensors(self) -> dict[str, tf.Tensor]:
        state = Encoded(self._get(), self._owner)
        return {"text": tf.constant(state.text), "data": tf.constant(state.data)}

    def _restore_from_tensors(self, state: Mapping[str, tf.Tensor]) -> list[tf.Operation]:
        self._put(decoded(state["text"].numpy(), state["data"].numpy()))
        return []
