"""The random streams that belong to the process and not to a model."""

import contextlib
import json
import random
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.random.mtrand import get_bit_generator

from loop.tf_internals import keras_generator, op_seeds, put_op_seeds, tensorflow_generator

OURS = threading.RLock()  # held by whoever has them for himself
WORDS = 624  # of the state of a Mersenne twister
BEGUN = random.getstate()  # when this is imported: what a script draws without a seed comes behind it
RESTORED = threading.Event()  # the streams go on from where another process was: nothing was drawn to get there
BLOCKS = 2_000  # of so many numbers in which the present place of a stream is looked for; it takes 40 ms


class Host(NamedTuple):
    """The states of Python's `random` and of NumPy's global generator, to be compared and put back."""

    python: tuple[int, tuple[int, ...], float | None]
    numpy: tuple[str, bytes, int, int, float]


def host() -> Host:
    """Returns the present states. Takes 50 us."""
    with OURS:
        if (made_by := type(get_bit_generator()).__name__) != "MT19937":
            raise RuntimeError(
                f"NumPy's global random numbers come of {made_by}, and only those of MT19937, as usual, can be saved. "
                "Leave out np.random.set_bit_generator, and seed them with keras.utils.set_random_seed."
            )
        kind, keys, position, has_gauss, cached = np.random.get_state(legacy=True)  # keys: 624 words, uint32
        of_numpy = (str(kind), np.asarray(keys).tobytes(), int(position), int(has_gauss), float(cached))
        return Host(random.getstate(), of_numpy)


def put_back(then: Host) -> None:
    """Takes the streams back to where they were."""
    kind, keys, position, has_gauss, cached = then.numpy
    with OURS:
        random.setstate(then.python)  # under the lock: no thread of ours sees one of the two without the other
        np.random.set_state((kind, np.frombuffer(keys, np.uint32), position, has_gauss, cached))


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[Callable[[], bool]]:
    """Lets these streams begin anew from a seed of 63 bits, and takes them back when it ends.

    They belong to the process, so whoever is in here has them for himself. It takes 0.1 ms.

    Yields:
        What returns whether anything was drawn from them meanwhile, as far as their positions tell.
    """
    with OURS, untouched():
        random.seed(seed)
        np.random.seed([seed & 0xFFFFFFFF, seed >> 32, 1])  # without the 1, both would draw the same numbers
        begun = _positions()
        yield lambda: _positions() != begun


def _positions() -> tuple[object, ...]:
    (_, words, gauss), (_, _, *of_numpy) = random.getstate(), np.random.get_state(legacy=True)
    return words[-1], gauss, *of_numpy  # how many of the words are given, and a second normal number that is kept


@contextlib.contextmanager
def untouched() -> Iterator[None]:
    """Takes these streams back, when it ends, to where they were when it began."""
    before = host()
    try:
        yield
    finally:
        put_back(before)


class HostRandomness(tf.train.experimental.PythonState):
    """The states of Python's `random`, of NumPy's global generator, and of what gives the functions of `tf.random`
    their seeds outside of graphs, saved as numbers."""

    def __init__(self) -> None:
        super().__init__()
        self._said: tuple[Host, object, str] | None = None

    def serialize(self) -> str:
        with OURS:  # a function of the epoch has seeds of its own, for as long as another thread calls it
            now, seeds = host(), op_seeds()
        if self._said is None or self._said[:2] != (now, seeds):  # mostly, nobody has drawn since the save before
            python, (kind, keys, *rest) = now
            text = {"python": python, "numpy": [kind, np.frombuffer(keys, np.uint32).tolist(), *rest]}
            self._said = now, seeds, json.dumps({**text, "tensorflow": None if seeds == _first_seeds() else seeds})
        return self._said[2]

    def deserialize(self, string_value: str | bytes) -> None:
        with OURS:
            before, seeds = host(), op_seeds()
            try:
                state = json.loads(string_value)
                version, words, gauss = state["python"]
                kind, keys, position, has_gauss, cached = state["numpy"]
                if not 0 <= position <= len(keys) == WORDS:  # NumPy would read whatever is in memory there
                    raise ValueError(f"position {position} in {len(keys)} numbers")
                rest = int(position), int(has_gauss), float(cached)  # JSON has no other kinds of numbers than these
                put_back(Host((version, tuple(words), gauss), (kind, np.array(keys, np.uint32).tobytes(), *rest)))
                if "tensorflow" in state:  # older checkpoints have nothing of it
                    put_op_seeds(_seeds_of(state["tensorflow"]))
                RESTORED.set()
            except (ValueError, TypeError, LookupError, OverflowError, RecursionError) as error:
                put_back(before)
                put_op_seeds(seeds)
                raise ValueError(f"This is no random state of Python and NumPy: {error!r:.100}") from None


def _first_seeds() -> tuple[Any, ...] | None:
    seed = global_seed()
    return None if seed is None else random.Random(seed).getstate()


def _seeds_of(saved: Any) -> tuple[Any, ...] | None:
    if saved is None:  # nothing was drawn yet
        return _first_seeds()
    version, words, gauss = saved
    return version, tuple(words), gauss


def random_streams() -> dict[str, object]:
    """Returns the trackable states of the process's random streams, by name.

    Keras' global generator serves `keras.random.*` calls without a seed. TensorFlow's is there if somebody asked for
    it. What `tf.random.*` functions draw from in a graph is not: it is in their kernels, and cannot be saved at all; a
    step that is traced draws from Keras' instead.
    """
    streams: dict[str, object] = {"host": HostRandomness(), "keras": keras_generator().state}
    if (generator := tensorflow_generator()) is not None:
        streams["tensorflow"] = generator
    return streams


def global_seed() -> int | None:
    """Returns the seed set with `tf.random.set_seed`, or None. With an op seed given, asking draws no number."""
    seed, _ = tf.compat.v1.random.get_seed(0)
    return None if seed == 87654321 else seed  # TensorFlow's own default


def is_seeded() -> bool:
    """Returns whether Python's stream began with the seed of the process, as after `keras.utils.set_random_seed`."""
    seed = global_seed()
    return seed is not None and _given_by_python(random.Random(seed).getstate()) is not None


def drawn_since_seed() -> int | None:
    """Returns how many numbers Python or NumPy, whoever more, have given since the process was seeded; None if not."""
    if (seed := global_seed()) is None or (python := _given_by_python(random.Random(seed).getstate())) is None:
        return None
    _, keys, position, *_ = np.random.RandomState(seed % 2**32).get_state(legacy=True)  # NumPy takes no larger seeds
    begun = np.random.MT19937()
    begun.state = {"bit_generator": "MT19937", "state": {"key": np.asarray(keys), "pos": int(position)}}
    return max(python, _given_by_numpy(begun) or 0)


def drawn() -> int:
    """Returns how many numbers Python or NumPy, whoever more, have given of streams that nobody has seeded.

    Imports of other packages draw some. Of more than a million of NumPy it is a million; of Python 0, as of what that
    gave before the import of this package.
    """
    begun = get_bit_generator().seed_seq  # what NumPy's stream began with: entropy, if nobody has seeded it
    numpy = 0
    if isinstance(begun, np.random.SeedSequence):
        found = _given_by_numpy(np.random.MT19937(begun))
        numpy = found if found is not None else 0 if RESTORED.is_set() else BLOCKS * WORDS
    return max(numpy, _given_by_python(BEGUN) or 0)


def _given_by_python(begun: tuple[int, tuple[int, ...], float | None]) -> int | None:
    """Returns how many numbers a stream that began so has given; None if it did not, or of more than a million."""
    stream, (_, now, _) = random.Random(), random.getstate()
    stream.setstate(begun)
    for block in range(BLOCKS):
        _, words, _ = stream.getstate()
        if words[:WORDS] == now[:WORDS]:  # the same 624 words: the stream is within this block of them
            return block * WORDS + now[WORDS] - begun[1][WORDS]
        stream.getrandbits(32 * WORDS)  # on to the next block
    return None


def _given_by_numpy(begun: np.random.MT19937) -> int | None:
    """Returns the same of NumPy's global stream; what is given, goes on."""
    first, now = begun.state["state"]["pos"], get_bit_generator().state["state"]
    if "key" not in now:  # of another kind, which `host` refuses
        return None
    for block in range(BLOCKS):
        if np.array_equal(begun.state["state"]["key"], now["key"]):
            return int(block * WORDS + now["pos"] - first)
        begun.random_raw(WORDS, output=False)
    return None
