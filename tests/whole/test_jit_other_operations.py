"""What to write in the place of an operation that XLA does not know: the remedies that a refusal names, followed."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from loop import ArrayData, Hook, Loop

X = np.random.default_rng(1).normal(size=[8, 6]).astype("float32")
Compute = Callable[[tf.Tensor], tf.Tensor]


class Values(Hook):
    """Keeps every value."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, list[float]] = {}

    def on_steps(self, first_step: int, values: Mapping[str, np.ndarray]) -> None:
        for name, column in values.items():
            self.found.setdefault(name, []).extend(column.tolist())


def matrix(x: tf.Tensor) -> tf.Tensor:
    """Returns a positive definite matrix, of which no two eigenvalues are alike."""
    return tf.matmul(x, x, transpose_a=True) / 4 + tf.linalg.diag([1.0, 1.5, 2.0, 2.5, 3.0, 3.5])


def number(x: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.abs(x[:, 0] * 2), tf.int32)


def steepness(resize: Compute, x: tf.Tensor) -> tf.Tensor:
    """Returns the sum of a gradient with respect to an image of one channel."""
    image = tf.reshape(x, [1, 4, 6, 1])
    with tf.GradientTape() as tape:
        tape.watch(image)
        y = tf.reduce_sum(resize(image) ** 2)
    return tf.reduce_sum(tape.gradient(y, image))


ROWS, IDS = [0, 1, 3], [0, 0, 1]
SPARSE = tf.SparseTensor([[0, 1], [2, 3]], [1.0, 2.0], [4, 4])
UNKNOWN: dict[str, Compute] = {
    "UniqueWithCounts": lambda x: tf.reduce_sum(tf.unique_with_counts(number(x))[2] ** 2),
    "HistogramFixedWidth": lambda x: tf.histogram_fixed_width(x, [0.0, 1.0], nbins=5)[2],
    "SparseTensorDenseMatMul": lambda x: tf.reduce_sum(tf.sparse.sparse_dense_matmul(SPARSE, x)),
    "MatrixDeterminant": lambda x: tf.linalg.det(matrix(x)),
    "LogMatrixDeterminant": lambda x: tf.linalg.slogdet(matrix(x))[1],
    "MatrixSquareRoot": lambda x: tf.reduce_sum(tf.linalg.sqrtm(matrix(x))),
    "MatrixLogarithm": lambda x: tf.math.real(tf.reduce_sum(tf.linalg.logm(tf.cast(matrix(x), tf.complex64)))),
    "Eig": lambda x: tf.reduce_sum(tf.math.real(tf.linalg.eigvals(matrix(x))) ** 2),
    "Lu": lambda x: tf.reduce_sum(tf.linalg.lu_solve(*tf.linalg.lu(matrix(x)), tf.transpose(x))),
    "SegmentMax": lambda x: tf.reduce_sum(tf.math.segment_max(x, [0, 0, 1, 1])),
    "SparseSegmentMean": lambda x: tf.reduce_sum(tf.sparse.segment_mean(x, ROWS, IDS)),
    "SparseSegmentSqrtN": lambda x: tf.reduce_sum(tf.sparse.segment_sqrt_n(x, ROWS, IDS)),
    "NthElement": lambda x: tf.reduce_sum(tf.raw_ops.NthElement(input=x, n=2)),
    "ResizeNearestNeighborGrad": lambda x: steepness(lambda image: tf.image.resize(image, [8, 12], "nearest"), x),
    "ResizeBicubic": lambda x: steepness(lambda image: tf.image.resize(image, [8, 12], "bicubic"), x),
    "ScaleAndTranslate": lambda x: steepness(lambda image: tf.image.resize(image, [2, 3], antialias=True), x),
}


def counts(x: tf.Tensor) -> tf.Tensor:
    _, ids = tf.unique(number(x))
    return tf.reduce_sum(tf.math.unsorted_segment_sum(tf.ones_like(ids), ids, num_segments=100) ** 2)


def root(x: tf.Tensor) -> tf.Tensor:
    e, v = tf.linalg.eigh(matrix(x))
    return tf.reduce_sum(tf.matmul(v * tf.sqrt(e)[..., tf.newaxis, :], v, adjoint_b=True))


def logarithm(x: tf.Tensor) -> tf.Tensor:
    e, v = tf.linalg.eigh(matrix(x))
    return tf.reduce_sum(tf.matmul(v * tf.math.log(e)[..., tf.newaxis, :], v, adjoint_b=True))


def bins(x: tf.Tensor) -> tf.Tensor:
    found = tf.histogram_fixed_width_bins(tf.reshape(x, [-1]), [0.0, 1.0], nbins=5)
    return tf.reduce_sum(tf.one_hot(found, depth=5), axis=0)[2]


REMEDIES: dict[str, list[Compute]] = {
    "UniqueWithCounts": [counts],
    "HistogramFixedWidth": [bins],
    "SparseTensorDenseMatMul": [lambda x: tf.reduce_sum(tf.matmul(tf.sparse.to_dense(SPARSE), x))],
    "MatrixDeterminant": [
        lambda x: tf.exp(tf.linalg.logdet(matrix(x))),
        lambda x: tf.abs(tf.reduce_prod(tf.linalg.diag_part(tf.linalg.qr(matrix(x))[1]), axis=-1)),
    ],
    "LogMatrixDeterminant": [
        lambda x: tf.linalg.logdet(matrix(x)),
        lambda x: tf.reduce_sum(tf.math.log(tf.abs(tf.linalg.diag_part(tf.linalg.qr(matrix(x))[1]))), axis=-1),
    ],
    "MatrixSquareRoot": [root],
    "MatrixLogarithm": [logarithm],
    "Eig": [lambda x: tf.reduce_sum(tf.linalg.eigh(matrix(x))[0] ** 2)],
    "Lu": [lambda x: tf.reduce_sum(tf.linalg.solve(matrix(x), tf.transpose(x)))],
    "SegmentMax": [lambda x: tf.reduce_sum(tf.math.unsorted_segment_max(x, [0, 0, 1, 1], num_segments=2))],
    "SparseSegmentMean": [
        lambda x: tf.reduce_sum(tf.math.unsorted_segment_mean(tf.gather(x, ROWS), IDS, num_segments=9))
    ],
    "SparseSegmentSqrtN": [
        lambda x: tf.reduce_sum(tf.math.unsorted_segment_sqrt_n(tf.gather(x, ROWS), IDS, num_segments=9))
    ],
    "NthElement": [lambda x: tf.reduce_sum(tf.sort(x)[..., 2])],
    "ResizeNearestNeighborGrad": [
        lambda x: steepness(lambda image: tf.repeat(tf.repeat(image, 2, axis=1), 2, axis=2), x)
    ],
}


def run(computed: Mapping[str, Compute], *, jit_compile: bool) -> dict[str, list[float]]:
    """Returns the values of two steps, by name."""
    w, values = tf.Variable(0.0), Values()

    def step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        w.assign_add(1.0)
        return {name: compute(x) for name, compute in computed.items()}

    data = ArrayData(X, batch_size=4, shuffle=False)
    Loop(step, data, state={"w": w}, hooks=[values], jit_compile=jit_compile).run(epochs=1)
    return values.found


@pytest.mark.more
def test_each_operation_that_xla_does_not_know_is_named_with_what_to_write_for_it() -> None:
    with pytest.raises(ValueError, match="XLA cannot compile") as caught:
        run(UNKNOWN, jit_compile=True)
    lines = str(caught.value).splitlines()
    source = Path(__file__).read_text(encoding="utf-8").splitlines()
    for kind in UNKNOWN:
        (at,) = (i for i, line in enumerate(lines) if line.startswith(f"  The train step: {kind}, "))
        made = "    return tf.reduce_sum(tape.gradient(y, image))" if kind.endswith("Grad") else f'    "{kind}": lambda'
        (place,) = (i for i, line in enumerate(source, 1) if line.startswith(made))
        assert f"{Path(__file__).name}:{place}: " in lines[at + 1]
        remedy = next(line for line in lines[at + 1 :] if line.startswith("  ->"))
        assert (
            "Leave out jit_compile=True, or write tf." in remedy or "write e, v" in remedy or "write values" in remedy
        )


@pytest.mark.more
def test_what_a_refusal_says_to_write_gives_the_same_numbers_under_xla() -> None:
    expected = run(UNKNOWN, jit_compile=False)
    remedies = {f"{kind} {i}": compute for kind, each in REMEDIES.items() for i, compute in enumerate(each)}
    remedies["bilinear"] = lambda x: steepness(lambda image: tf.image.resize(image, [8, 12]), x)
    expected |= run({"bilinear": remedies["bilinear"]}, jit_compile=False)
    assert UNKNOWN.keys() - REMEDIES.keys() == {"ResizeBicubic", "ScaleAndTranslate"}  # which bilinear is another than
    for name, values in run(remedies, jit_compile=True).items():
        assert values == pytest.approx(expected[name.split()[0]], rel=1e-3), name


@pytest.mark.more
def test_a_system_of_three_diagonals_is_solved_without_pivoting() -> None:
    def solved(x: tf.Tensor, **options: bool) -> tf.Tensor:
        diagonals = tf.stack([x[0] * 0.1, x[1] + 5.0, x[2] * 0.1])
        return tf.reduce_sum(tf.linalg.tridiagonal_solve(diagonals, x[3], diagonals_format="compact", **options))

    with pytest.raises(ValueError, match=r"write tf\.linalg\.tridiagonal_solve\(\.\.\., partial_pivoting=False\)"):
        run({"x": solved}, jit_compile=True)
    found = run({"x": lambda x: solved(x, partial_pivoting=False)}, jit_compile=True)
    assert found["x"] == pytest.approx(run({"x": solved}, jit_compile=False)["x"], rel=1e-5)


def grown(x: tf.Tensor) -> tf.Tensor:
    def longer(y: tf.Tensor) -> tuple[tf.Tensor]:
        return (tf.concat([y, y], axis=0),)

    (y,) = tf.while_loop(lambda y: tf.shape(y)[0] < 9, longer, [x], shape_invariants=[tf.TensorShape([None, 6])])
    return tf.reduce_sum(y)


def kept_in_array(x: tf.Tensor) -> tf.Tensor:
    array = tf.TensorArray(tf.float32, size=16)
    for i in tf.range(16):
        array = array.write(i, x[i % 4])
    return tf.reduce_sum(array.stack())


def branched(x: tf.Tensor, of: Compute) -> tf.Tensor:
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.reduce_sum(tf.cond(x[0, 0] > 0, lambda: of(x), lambda: x) ** 2)
    return tf.reduce_sum(tape.gradient(y, x))


def looped(x: tf.Tensor, **options: int) -> tf.Tensor:
    with tf.GradientTape() as tape:
        tape.watch(x)
        _, y = keras.ops.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, tf.tanh(y)), (0, x), **options)
        y = tf.reduce_sum(y)
    return tf.reduce_sum(tape.gradient(y, x))


SHAPED = {  # what XLA refuses by what it says, what is to be written, and that as it is followed
    "loop": (grown, "tf.TensorArray(dtype, size=100)", kept_in_array),
    "branches": (
        lambda x: branched(x, lambda x: x[:2]),
        "tf.cond(c, lambda: tf.pad(x[:2], [[0, 2], [0, 0]]), lambda: x)",
        lambda x: branched(x, lambda x: tf.pad(x[:2], [[0, 2], [0, 0]])),
    ),
    "back": (looped, "keras.ops.while_loop with the same", lambda x: looped(x, maximum_iterations=100)),
}


@pytest.mark.more
@pytest.mark.parametrize("name", SHAPED)
def test_what_changes_its_shape_or_has_no_known_length_is_refused_with_what_to_write(name: str) -> None:
    refused, said, written = SHAPED[name]
    with pytest.raises(ValueError, match=re.escape(said)):
        run({"x": refused}, jit_compile=True)
    expected = run({"x": refused}, jit_compile=False)["x"]
    assert run({"x": written}, jit_compile=True)["x"] == pytest.approx(expected, rel=1e-4)
