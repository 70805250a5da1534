"""Of what is as long as values say, XLA counts what is there, or refuses by the line that would count more."""

import re
from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

from loop import ArrayData, Hook, Loop

X = np.random.default_rng(1).normal(size=[8, 6]).astype("float32")
COUNTS = np.array([2, 2, 0, 2, 0, 0, 2, 1], "int32")
IDS = tf.constant([0, 2, 1, 0])
Compute = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


class Values(Hook):
    """Keeps every value."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, list[float]] = {}

    def on_steps(self, first_step: int, values: dict[str, np.ndarray]) -> None:
        for name, column in values.items():
            self.found.setdefault(name, []).extend(column.tolist())


def run(computed: dict[str, Compute], *, jit_compile: bool) -> dict[str, list[float]]:
    """Returns the values of two steps, and their gradients, of three rows and of one."""
    w, values = tf.Variable(0.0), Values()

    def step(batch: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
        x, counts = batch
        w.assign_add(1.0)
        found = {}
        for name, compute in computed.items():
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = tf.cast(compute(x, counts[0] + 1), tf.float32)
            gradient = tape.gradient(y, x, unconnected_gradients="zero")
            found |= {name: y, f"{name} gradient": tf.reduce_sum(gradient * tf.reshape(tf.range(24.0), [4, 6]))}
        return found

    data = ArrayData((X, COUNTS), batch_size=4, shuffle=False)
    Loop(step, data, state={"w": w}, hooks=[values], jit_compile=jit_compile).run(epochs=1)
    return values.found


def kept(x: tf.Tensor, n: tf.Tensor) -> tf.Tensor:
    """Returns the first n of 4 rows."""
    return tf.boolean_mask(x, tf.range(4) < n)


def sloped(compute: Callable[[tf.Tensor], tf.Tensor], x: tf.Tensor) -> tf.Tensor:
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = compute(x)
    return tf.reduce_sum(tape.gradient(y, x) ** 2)


mean = tf.reduce_mean  # knows of every row that is there, and of each that is not
WHOLE = tf.constant([[1.0], [2.0], [3.0], [4.0]])
PLACES = tf.constant([[0], [2], [1], [3]])
COUNTED: dict[str, Compute] = {
    "elements": lambda x, n: mean(tf.where(kept(x, n) > 0, tf.exp(kept(x, n)), tf.sigmoid(kept(x, n)) + 1.0)),
    "rows": lambda x, n: mean(tf.reduce_max(kept(-tf.abs(x), n), 0)),
    "spread": lambda x, n: mean(tf.math.reduce_std(kept(x, n + 1), 0) + tf.reduce_logsumexp(kept(x, n), 0)),
    "least": lambda x, n: mean(tf.reduce_min(kept(tf.abs(x), n), 0)),
    "norm": lambda x, n: tf.norm(kept(x, n) + 1.0) + tf.nn.l2_loss(kept(x, n)),
    "zeros": lambda x, n: mean(tf.zeros_like(kept(x, n)) + kept(x, n)) + tf.reduce_sum(tf.ones(tf.shape(kept(x, n)))),
    "products": lambda x, n: mean(tf.matmul(kept(x, n) + 1.0, kept(x, n), transpose_b=True)),
    "products of columns": lambda x, n: mean(tf.einsum("ij,ik->jk", kept(x, n) + 1.0, kept(x, n))),
    "shapes": lambda x, n: mean(tf.reshape(tf.transpose(kept(x, n)[:, None] + 1.0), [-1]) + 1.0),
    "parts": lambda x, n: mean(tf.split(kept(x, n), 2, 1)[1] + tf.stack([kept(x, n)] * 2, 1)[:, 1, 3:]),
    "joined": lambda x, n: mean(tf.concat([kept(tf.stop_gradient(x), n), tf.stop_gradient(x) + 1.0], 0)),
    "repeated": lambda x, n: mean(tf.tile(kept(x, n) + 1.0, [2, 1]) ** 2),
    "padded": lambda x, n: mean(tf.pad(kept(x, n) + 1.0, [[1, 0], [0, 0]])),
    "taken": lambda x, n: mean(tf.gather(x, kept(IDS, n)) + tf.gather_nd(x, kept(PLACES, n))),
    "put": lambda x, n: mean(tf.scatter_nd(kept(PLACES, n), kept(x, n), [4, 6]) * WHOLE),
    "made dense": lambda x, n: mean(tf.sparse.to_dense(tf.sparse.from_dense(tf.where(x > 0.1, x, 0.0))) * WHOLE),
    "put into": lambda x, n: mean(tf.tensor_scatter_nd_update(x, kept(PLACES, n), kept(x, n)) * WHOLE),
    "added into": lambda x, n: mean(tf.tensor_scatter_nd_add(x, kept(PLACES, n), kept(x, n)) * WHOLE),
    "segments": lambda x, n: mean(tf.math.unsorted_segment_mean(kept(x, n), kept(IDS, n), 3) * WHOLE[:3]),
    "sorted": lambda x, n: mean(
        tf.sort(kept(tf.stop_gradient(x[:, 0]), n)) * tf.sort(kept(tf.stop_gradient(x[:, 1]), n))
    ),
    "best": lambda x, n: mean(tf.math.top_k(kept(tf.stop_gradient(x[:, 0]) - 9.0, n + 1), 2).values),
    "softmax": lambda x, n: mean(tf.nn.softmax(kept(x, n), 0) ** 2 + tf.nn.log_softmax(kept(x, n), 0)),
    "losses": lambda x, n: (
        mean(tf.nn.sparse_softmax_cross_entropy_with_logits(kept(IDS, n), kept(x, n)))
        + keras.losses.Huber()(kept(x, n), kept(x + 1.0, n))
    ),
    "other losses": lambda x, n: mean(
        tf.nn.softmax_cross_entropy_with_logits(tf.nn.softmax(kept(x, n)), kept(2 * x, n))
    ),
    "mapped": lambda x, n: mean(tf.map_fn(lambda row: tf.reduce_sum(row) + 1.0, kept(x, n))),
    "scanned": lambda x, n: mean(tf.scan(lambda before, row: before / 2 + row + 1.0, kept(x, n))),
    "masked twice": lambda x, n: mean(tf.boolean_mask(kept(x, n), kept(x[:, 0], n) > -9.0) + 1.0),
    "sliced": lambda x, n: mean(x[:n] + 1.0) + mean(kept(x, n + 1)[1:] + 1.0) + mean(kept(x, n + 1)[:-1]),
    "last columns": lambda x, n: mean(kept(x, n)[:, None, -1] + 1.0) + mean(kept(x, n)[..., -2:] + 1.0),
    "last": lambda x, n: mean(tf.gather(kept(x, n), tf.shape(kept(x, n))[0] - 1)),  # as a refusal has it
    "counts": lambda x, n: (
        mean(tf.one_hot(kept(IDS, n), 3) + 1.0) + tf.cast(tf.size(tf.where(kept(x, n) > 0)), tf.float32)
    ),
    "mask": lambda x, n: tf.reduce_sum(tf.where(tf.range(4)[:, None] < n, x + 1.0, 0.0)),  # likewise
}


@pytest.mark.more
def test_what_is_as_long_as_values_say_is_counted_as_without() -> None:
    mine, other = run(COUNTED, jit_compile=True), run(COUNTED, jit_compile=False)
    assert mine == {name: pytest.approx(values, rel=1e-4, abs=1e-4) for name, values in other.items()}


MORE = pytest.mark.more
MISCOUNTED: list[tuple[str, Compute]] = [
    ("StridedSlice", lambda x, n: mean(kept(x, n)[-1])),
    ("StridedSlice", lambda x, n: mean(x[:n][-1])),
    ("StridedSlice", lambda x, n: mean(kept(x, n)[..., -2:, :])),
    ("StridedSlice", lambda x, n: tf.where(tf.range(4) < n)[-1, 0]),
    ("StridedSlice", lambda x, n: mean(tf.scan(lambda before, row: before + row, x[:n])[-1])),
    ("StridedSlice", lambda x, n: mean(tf.dynamic_partition(x, tf.cast(tf.range(4) < n, tf.int32), 2)[1][-1])),
    ("OnesLike", lambda x, n: tf.reduce_sum(tf.ones_like(kept(x, n)))),
    ("OnesLike", lambda x, n: tf.cond(n > 1, lambda: tf.reduce_sum(tf.ones_like(kept(x, n))), lambda: 0.0)),
    ("Cumsum", lambda x, n: mean(tf.cumsum(kept(x, n), reverse=True))),
    ("Unique", lambda x, n: tf.size(tf.unique(kept(IDS, n))[0])),
    ("Roll", lambda x, n: mean(tf.roll(kept(x, n), 1, 0))),
    ("ReverseV2", lambda x, n: mean(tf.reverse(kept(x, n), [0]))),
    ("ConcatOffset", lambda x, n: sloped(lambda y: mean(tf.concat([kept(y, n), y], 0)), x)),
    ("MatrixDiagV3", lambda x, n: mean(tf.linalg.diag(kept(x[:, 0], n)))),
    ("MatrixDiagPartV3", lambda x, n: tf.linalg.trace(tf.matmul(kept(x, n), kept(x, n), transpose_b=True))),
    ("AvgPool", lambda x, n: mean(tf.nn.avg_pool1d(kept(x, n)[None], 2, 1, "SAME"))),
    ("Svd", lambda x, n: mean(tf.linalg.svd(kept(x, n), compute_uv=False))),
    ("ResizeBilinear", lambda x, n: mean(tf.image.resize(kept(x, n)[None, :, :, None], [3, 3]))),
]


@pytest.mark.parametrize(
    ("kind", "compute"), [MISCOUNTED[0], *(pytest.param(*each, marks=MORE) for each in MISCOUNTED[1:])]
)
def test_what_xla_would_count_more_of_is_refused_by_its_line(kind: str, compute: Compute) -> None:
    w = tf.Variable(0.0)

    def step(batch: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
        w.assign_add(1.0)
        return {"value": compute(batch[0], batch[1][0] + 1)}

    loop = Loop(step, ArrayData((X, COUNTS), batch_size=4), state={"w": w}, jit_compile=True)
    line = rf"The train step: {kind}, .*takes all that there can be.*\n    at .*test_jit_lengths.py:\d+: "
    with pytest.raises(ValueError, match=rf"XLA cannot compile this.\n  {line}"):
        loop.run(epochs=1)
    assert float(w) == 0.0


@pytest.mark.more
def test_what_xla_fails_to_count_is_named_by_the_line_that_has_it() -> None:
    """Of the gradient of so many as values say, XLA names no operation."""
    w = tf.Variable(1.0)

    def step(batch: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
        x, counts = batch
        with tf.GradientTape() as tape:
            best = tf.math.top_k(w * x[:, 0], counts[0] + 1).values
            loss = mean(best)
        return {"value": w.assign_sub(tape.gradient(loss, w))}

    loop = Loop(step, ArrayData((X, COUNTS), batch_size=4), state={"w": w}, jit_compile=True)
    with pytest.raises(ValueError, match=r"TopKV2, .*\n    at .*: best = tf.math.top_k\(.*\n  -> .*with a mask"):
        loop.run(epochs=1)


def test_what_a_function_does_not_say_the_length_of_need_not_depend_on_values() -> None:
    """Nor is what is written in Python taken for a value."""
    w = tf.Variable(1.0)

    @tf.function(input_signature=[tf.TensorSpec([None, 6])])
    def summed(x: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(tf.cumsum(x[:, :3]) + tf.ones_like(x)[-1, 0])

    def step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"value": summed(x) * w.assign_add(1.0)}

    assert Loop(step, ArrayData(X, batch_size=4), state={"w": w}, jit_compile=True).run(epochs=1).step == 2


def test_each_kind_of_operation_is_named_once() -> None:
    from loop.engine.ways import lengths

    names = re.findall(r"\w+", lengths.OF_ELEMENTS + lengths.OF_ROWS)
    assert len(names) == len({*names})
