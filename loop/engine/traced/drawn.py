"""What a step, or a hook in it, draws with `tf.random.normal` and its like: from a state that checkpoints hold.

TensorFlow draws it by a stream in the kernel of each operation, which nobody can save. Here each draw takes a seed of
Keras' global generator, as `keras.random.normal` does, and is of the same distribution, shape and dtype.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import tensorflow as tf

from loop.exact.graph import operations
from loop.exact.reach import Reach, traced_anew
from loop.rebuilt.emit import CannotRebuild
from loop.rebuilt.samplers import SAMPLERS
from loop.tensors import FuncGraph
from loop.tf_internals import DRAWING, Draw, drawn_by, keras_generator

MOST = 2**31 - 1  # a seed for XLA is of two int32


def draws(graph: FuncGraph) -> bool:
    """Returns whether a traced step draws by streams that cannot be saved, and could draw from what can."""
    return any(op.type in DRAWING for op in operations(graph))


@contextlib.contextmanager
def drawn_from_state(*roots: object) -> Iterator[None]:
    """Has what is traced within draw from Keras' global generator.

    Draws that the program gave the same seed are alike in the same function, as an image and its mask are flipped, and
    other ones in each step. Where two functions have one with the same seed, it cannot be said how they would be alike:
    the second one stays as it is, and is refused.

    Args:
        roots: What is traced: a `tf.function` that it reaches, and that was traced before, is traced again.
    """
    generator = keras_generator()
    common: dict[FuncGraph, tf.Tensor] = {}
    told: dict[int, FuncGraph] = {}

    def seed(of: Draw, graph: FuncGraph) -> tf.Tensor:
        if of.told is None:
            return generator.next()
        if graph not in common:
            common[graph] = generator.next()
        # The second number goes on by one from draw to draw: this is far from all that are drawn otherwise.
        return common[graph] + [of.told % MOST, MOST // 2]

    def draw(of: Draw) -> object:
        graph = tf.compat.v1.get_default_graph()
        if of.told is not None and told.setdefault(of.told, graph) is not graph:
            return None
        with contextlib.suppress(CannotRebuild):
            return DRAWN[of.type](of, tf.cast(tf.math.floormod(seed(of, graph), MOST), tf.int32))
        return None

    with traced_anew(Reach(roots).compiled), drawn_by(draw):
        yield


class Candidates(NamedTuple):
    """What a sampler of candidates returns, under TensorFlow's names."""

    sampled_candidates: tf.Tensor
    true_expected_count: tf.Tensor
    sampled_expected_count: tf.Tensor


def _sampled(of: Draw, seed: tf.Tensor) -> Candidates:
    # It goes on by one from round to round, as the generator does from draw to draw: this is far from the next ones.
    own = tf.random.stateless_uniform([2], seed, None, None, tf.int64)
    return Candidates(*SAMPLERS[of.type](of, [tf.convert_to_tensor(of.given["true_classes"], tf.int64)], own))


def _box(of: Draw, seed: tf.Tensor) -> tuple[tf.Tensor, ...]:
    given = {name: value for name, value in of.given.items() if name not in ("seed", "seed2")}
    return tf.raw_ops.StatelessSampleDistortedBoundingBox(**given, seed=seed)


def _before(of: Draw, name: str) -> tf.Tensor:
    """Returns the whole shape of what has one more number in front for each draw."""
    return tf.concat([tf.cast(of.given["shape"], tf.int32), tf.shape(of.given[name])], 0)


def _parameterized(of: Draw, seed: tf.Tensor) -> tf.Tensor | None:
    bounds = [tf.convert_to_tensor(of.given[name]) for name in ("means", "stdevs", "minvals", "maxvals")]
    if any(bound.shape.rank != 0 for bound in bounds):  # one for each row, there; one for each column, here
        return None
    return tf.random.stateless_parameterized_truncated_normal(of.given["shape"], seed, *bounds)


def _shuffled(of: Draw, seed: tf.Tensor) -> tf.Tensor:
    """Returns rows in the order of numbers of 64 bits; XLA does not know `tf.random.experimental.stateless_shuffle`."""
    rows = tf.convert_to_tensor(of.given["value"])
    if rows.shape.rank == 0:
        return tf.identity(rows)
    numbers = tf.random.stateless_uniform(tf.shape(rows)[:1], seed, None, None, tf.int64)
    return tf.ensure_shape(tf.gather(rows, tf.argsort(numbers)), rows.shape)


DRAWN: Mapping[str, Callable[[Draw, tf.Tensor], object]] = {
    "RandomStandardNormal": lambda of, seed: tf.random.stateless_normal(
        of.given["shape"], seed, dtype=of.given["dtype"]
    ),
    "RandomUniform": lambda of, seed: tf.random.stateless_uniform(of.given["shape"], seed, dtype=of.given["dtype"]),
    "RandomUniformInt": lambda of, seed: tf.random.stateless_uniform(
        of.given["shape"], seed, of.given["minval"], of.given["maxval"], of.given["minval"].dtype
    ),
    "TruncatedNormal": lambda of, seed: tf.random.stateless_truncated_normal(
        of.given["shape"], seed, dtype=of.given["dtype"]
    ),
    "ParameterizedTruncatedNormal": _parameterized,
    "RandomGamma": lambda of, seed: tf.random.stateless_gamma(
        _before(of, "alpha"), seed, of.given["alpha"], dtype=of.given["alpha"].dtype
    ),
    "RandomPoissonV2": lambda of, seed: tf.random.stateless_poisson(
        _before(of, "rate"), seed, of.given["rate"], of.given["dtype"]
    ),
    "RandomShuffle": _shuffled,
    "Multinomial": lambda of, seed: tf.random.stateless_categorical(
        of.given["logits"], of.given["num_samples"], seed, of.given["output_dtype"]
    ),
    "SampleDistortedBoundingBoxV2": _box,
    **dict.fromkeys(SAMPLERS, _sampled),
}
