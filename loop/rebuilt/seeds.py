"""Where the random numbers of a pipeline come from: of each place in it, pass and element their own."""

import dataclasses
import hashlib
from collections.abc import Mapping

import tensorflow as tf

from loop.rebuilt.shuffled import philox

STILL = -1  # the number of a pass in which nothing is shuffled, for those who look at what is read
BY_WORKER = ".by.worker"  # in names of operations: of a stage that each of several workers has for its own files
WIDE = 2**32  # passes of what is repeated without end are so far apart; nobody repeats anything so often


def number_of(*parts: object) -> int:
    """Returns 63 bits that are others for other numbers and texts, and the same in each process."""
    # 63 bits: int64 has no more that are not negative. Not `hash`, which differs from process to process.
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big") >> 1


@dataclasses.dataclass(frozen=True)
class Pass:
    """Which pass it is, of a pipeline or of a part of it, and for which element of what is around that.

    Seeds are sums of numbers of 63 bits, which differ at random for each place and element; each is then mixed by the
    generator that it goes to (`tf.random.stateless_*`, Philox; Salmon et al., "Parallel random numbers: as easy as 1,
    2, 3", 2011), so that neighbours have nothing in common.

    Attributes:
        seed: Serves all that nobody has given a seed: int64 `[]`.
        number: Of the pass, from 0: int64 `[]`.
        key: Of the element: int64 `[2]`; zeros for the pipeline itself.
        common: Likewise, but the same in all places, for what was told to draw alike: an image and its mask.
        inner: Whether it is within a function, for an element.
        place: The operations that lead to this part.
        ranks: For each of these, by random stream which of the operations that are given that stream it is.
        worker: The number of the worker, if it is in what each has for its own files, so that each draws otherwise.
    """

    seed: tf.Tensor
    number: tf.Tensor
    key: tf.Tensor
    common: tf.Tensor
    inner: bool = False
    place: tuple[str, ...] = ()
    ranks: tuple[str | Mapping[int, int], ...] = ()
    worker: int = 0

    def at(self, name: str, ranks: Mapping[int, int] | None = None) -> "Pass":
        """Returns the same for what is further in."""
        further = name if ranks is None else ranks
        return dataclasses.replace(self, place=(*self.place, name), ranks=(*self.ranks, further))

    def again(self, number: tf.Tensor) -> "Pass":
        """Returns another pass."""
        return dataclasses.replace(self, number=number)

    def by(self, worker: int) -> "Pass":
        """Returns the same for a worker's own part; 0: for what all have."""
        return dataclasses.replace(self, worker=worker)

    def mixed(self, *given: int) -> tf.Tensor:
        """Returns two numbers of this place, pass and element, and of what is given: int64 `[2]`."""
        here = tf.stack([self.number, tf.constant(number_of(*self.place, *given), tf.int64)])
        return tf.random.stateless_uniform([2], self._own(self.key) + here, None, None, tf.int64)

    def of_stage(self) -> "Pass":
        """Returns what holds for a stage, of the elements of which `of_element` tells; made outside its function."""
        # Without the place, and so the same in all stages that have this pass in common.
        here = tf.stack([self.number, tf.constant(number_of("elements"), tf.int64)])
        common = tf.random.stateless_uniform([2], self._own(self.common) + here, None, None, tf.int64)
        return dataclasses.replace(self, key=self.mixed(), common=common, worker=0)

    def of_element(self, index: tf.Tensor) -> "Pass":
        """Returns what holds within the function of a stage for an element, by its number: int64 `[]`."""
        zero = tf.constant(0, tf.int64)
        moved = tf.stack([index, zero])
        return dataclasses.replace(self, key=self.key + moved, common=self.common + moved, number=zero, inner=True)

    def nth(self, count: tf.Tensor) -> "Pass":
        """Returns what holds in that iteration of a loop in a function, from 0: int64 `[]`."""
        steps = [tf.constant(number_of(*where, "nth"), tf.int64) for where in (self.place, (len(self.place),))]
        key, common = (tf.stack([tf.constant(0, tf.int64), (count + 1) * step]) for step in steps)
        return dataclasses.replace(self, key=self.key + key, common=self.common + common)

    def drawn(self, *given: int) -> tf.Tensor:
        """Returns the seed of a draw: int64 `[2]`. Two draws at the same place have the same.

        Args:
            given: The seeds that the user gave; if all are zero, there are none.
        """
        if any(given):
            return self._own(self.key) + tf.constant([number_of(*given), number_of(*self.place)], tf.int64)
        return self._own(self.key) + self._seeded(number_of(*self.place))

    def drawn_alike(self, *given: int) -> tf.Tensor:
        """Returns the seed of a draw that is the same wherever these seeds are given: int64 `[2]`."""
        return self._own(self.common) + tf.constant([number_of(*given), 0], tf.int64)

    def drawn_from(self, stream: int, alike: int) -> tf.Tensor:
        """Returns the seed of a draw from a stream: int64 `[2]`. Streams that began alike yield the same.

        Args:
            stream: The key of its variable.
            alike: A number that streams with the same state have in common.
        """
        place = [rank if isinstance(rank, str) else rank.get(stream) for rank in self.ranks]
        return self._own(self.common) + self._seeded(number_of(alike, *place))

    def _own(self, key: tf.Tensor) -> tf.Tensor:
        return key + tf.constant([0, number_of("worker", self.worker)], tf.int64) if self.worker else key

    def _seeded(self, number: int) -> tf.Tensor:
        """Returns the seed and a number, made once for a pass, not for each element: int64 `[2]`."""
        with self.seed.graph.as_default():
            return tf.stack([self.seed, tf.constant(number, tf.int64)])


def successive(seed: tf.Tensor, seed2: tf.Tensor, number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the two seeds that TensorFlow's own stages have in a pass, if they have a seed and begin anew in each.

    They are drawn one after the other from Philox, as in `RandomSeedGenerator` of tensorflow/core/data. So a pipeline
    with a seed has the order that it has without us.

    Args:
        seed: The first one that was given: int64 `[]`.
        seed2: The second one, likewise.
        number: Of the pass, from 0: int64 `[]`.
    """
    # Each operation that is made here is made once more for each stage that shuffles, of which there may be hundreds.
    block = philox(seed, seed2, number // 2, 4)
    first, second = tf.unstack(tf.cast(tf.gather(tf.reshape(block, [2, 2]), number % 2), tf.int64))
    return first, second
