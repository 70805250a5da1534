"""What a step draws with TensorFlow's own functions: they run as they are, and go on where they were."""

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from hooks import Checkpoint
from loop import ArrayData, Evaluation, Hook, Loop, keras_steps

IMAGE = tf.reshape(tf.range(64.0), [8, 8, 1])
BOXES = tf.constant([[[0.1, 0.2, 0.8, 0.9]]])
TRUE = tf.constant([[1]], tf.int64)


def either() -> tf.Tensor:
    return tf.cond(tf.random.uniform([]) > 0.5, lambda: tf.random.normal([2]), lambda: tf.zeros([2]))


# What XLA compiles, by TensorFlow too, and what it does not.
DRAWS: Mapping[str, Callable[[], tf.Tensor]] = {
    "normal": lambda: tf.random.normal([4], 5.0, 2.0),
    "half": lambda: tf.random.normal([4], dtype=tf.float16),
    "uniform": lambda: tf.random.uniform([4], -1.0, 1.0),
    "integers": lambda: tf.random.uniform([4], 0, 1000, tf.int64),
    "truncated": lambda: tf.random.truncated_normal([4]),
    "categorical": lambda: tf.random.categorical(tf.math.log([[0.2, 0.3, 0.5]]), 6),
    "shuffle": lambda: tf.random.shuffle(tf.range(6)),
    "dropout": lambda: tf.nn.dropout(tf.ones([6]), 0.5),
    "rows": lambda: tf.map_fn(lambda row: row + tf.random.normal([]), tf.zeros([3])),
    "either": lambda: either(),
}
FLIPS: Mapping[str, Callable[[], tf.Tensor]] = {
    "crop": lambda: tf.image.random_crop(IMAGE, [3, 3, 1]),
    "flip": lambda: tf.image.random_flip_left_right(IMAGE),
    "contrast": lambda: tf.image.random_contrast(IMAGE, 0.5, 2.0),
}
OTHERS: Mapping[str, Callable[[], tf.Tensor]] = {
    "gamma": lambda: tf.random.gamma([2], [0.5, 2.0], [1.0, 2.0]),
    "poisson": lambda: tf.random.poisson([2], [3.0, 100.0]),
    "box": lambda: tf.image.sample_distorted_bounding_box([64, 64, 1], BOXES, seed=1)[0],
    "negatives": lambda: tf.random.log_uniform_candidate_sampler(TRUE, 1, 4, True, 100)[0],
    "as often": lambda: tf.random.fixed_unigram_candidate_sampler(TRUE, 1, 2, False, 3, unigrams=[1.0, 2.0, 3.0])[0],
    "alike": lambda: tf.random.uniform_candidate_sampler(TRUE, 1, 4, True, 50)[0],
    "by name": lambda: tf.random.uniform_candidate_sampler(TRUE, 1, 4, True, 50).sampled_candidates,
}


class Drawing:
    """A step that keeps what it draws in each step, with all else that a run has of it."""

    def __init__(self, draws: Mapping[str, Callable[[], tf.Tensor]], rows: int = 8) -> None:
        keras.utils.set_random_seed(1)
        self.draws = draws
        self.kept = {name: tf.Variable(tf.zeros([8, *draw().shape], draw().dtype)) for name, draw in draws.items()}
        self.count, self.rows = tf.Variable(0), tf.range(float(rows))

    def step(self, batch: tf.Tensor) -> dict[str, tf.Tensor]:
        for name, kept in self.kept.items():
            kept.assign(tf.tensor_scatter_nd_update(kept, [[self.count]], [self.draws[name]()]))
        return {"count": self.count.assign_add(1)}

    def loop(self, directory: Path | None = None, *, jit_compile: bool = False) -> Loop:
        hooks = [Checkpoint(directory)] if directory else []
        state = {"kept": self.kept, "count": self.count}
        data = ArrayData(self.rows, batch_size=2, shuffle=False)
        return Loop(self.step, data, state=state, hooks=hooks, jit_compile=jit_compile)


def drawn(of: Drawing) -> dict[str, np.ndarray]:
    return {name: kept.numpy() for name, kept in of.kept.items()}


COMPILED = pytest.param(DRAWS, True, marks=pytest.mark.more)


@pytest.mark.parametrize(("draws", "jit_compile"), [({**DRAWS, **FLIPS, **OTHERS}, False), COMPILED])
def test_all_that_tensorflow_draws_goes_on_where_it_was_and_differs_in_each_step(
    tmp_path: Path, draws: Mapping[str, Callable[[], tf.Tensor]], jit_compile: bool
) -> None:
    whole = Drawing(draws)
    whole.loop(jit_compile=jit_compile).run(epochs=2)
    first, second = Drawing(draws), Drawing(draws)
    first.loop(tmp_path, jit_compile=jit_compile).run(epochs=1)
    second.loop(tmp_path, jit_compile=jit_compile).run(epochs=2)
    for name, found in drawn(whole).items():
        np.testing.assert_array_equal(drawn(second)[name], found, name)
        assert len(np.unique(found.reshape(8, -1), axis=0)) > 1, name


def test_what_is_drawn_is_of_the_distribution_that_was_asked_for() -> None:
    many = {
        "normal": lambda: tf.random.normal([40_000], 5.0, 2.0),
        "uniform": lambda: tf.random.uniform([40_000], -1.0, 3.0),
        "integers": lambda: tf.random.uniform([40_000], 2, 5, tf.int32),
        "truncated": lambda: tf.random.truncated_normal([40_000]),
        "gamma": lambda: tf.random.gamma([40_000], 3.0, 2.0),
        "poisson": lambda: tf.random.poisson([40_000], 3.0),
        "categorical": lambda: tf.random.categorical(tf.math.log([[0.2, 0.3, 0.5]]), 40_000)[0],
        "orders": lambda: tf.random.shuffle(tf.range(40_000.0)),
    }
    drawing = Drawing(many, rows=2)
    drawing.loop().run(epochs=1)
    found = {name: kept[0].astype(np.float64) for name, kept in drawn(drawing).items()}
    means = {"normal": (5, 2), "uniform": (1, 4 / 12**0.5), "integers": (3, (2 / 3) ** 0.5), "truncated": (0, 0.88)}
    means |= {"gamma": (1.5, 3**0.5 / 2), "poisson": (3, 3**0.5), "categorical": (1.3, 0.61**0.5)}
    for name, (mean, deviation) in means.items():
        assert found[name].mean() == pytest.approx(mean, abs=0.03), name
        assert found[name].std() == pytest.approx(deviation, abs=0.03), name
    assert abs(found["truncated"]).max() <= 2
    assert {*found["integers"]} == {2, 3, 4}
    assert sorted(found["orders"]) == [*range(40_000)]
    assert abs(np.corrcoef(found["orders"], np.arange(40_000))[0, 1]) < 0.03


def test_candidates_that_take_several_rounds_have_nothing_in_common_with_those_of_the_next_step() -> None:
    # Some eight of 64 are not met in the first round, of 128: they come in the order of a second one.
    drawing = Drawing({"all": lambda: tf.random.uniform_candidate_sampler(TRUE, 1, 64, True, 64)[0]}, rows=200)
    drawing.kept["all"] = tf.Variable(tf.zeros([100, 64], tf.int64))
    drawing.loop().run(epochs=1)
    orders = drawn(drawing)["all"]
    places = orders.argsort(axis=1)
    alike = [places[i + 1][row[-4]] < places[i + 1][row[-3]] for i, row in enumerate(orders[:-1])]
    assert np.mean(alike) == pytest.approx(0.5, abs=0.2)


def test_a_scalar_is_shuffled_as_tensorflow_does() -> None:
    drawing = Drawing({"scalar": lambda: tf.random.shuffle(tf.constant(3.0))})
    drawing.loop().run(epochs=2)
    assert {*drawn(drawing)["scalar"]} == {3.0}


def test_draws_with_the_same_seed_are_alike_and_other_ones_in_each_step() -> None:
    def both() -> tf.Tensor:
        return tf.stack([tf.random.uniform([], seed=7), tf.random.uniform([], seed=7), tf.random.uniform([], seed=8)])

    drawing = Drawing({"both": both})
    drawing.loop().run(epochs=2)
    first, second, other = drawn(drawing)["both"].T
    np.testing.assert_array_equal(first, second)
    assert len({*first, *other}) == 16


def test_where_two_functions_draw_with_one_seed_it_is_refused() -> None:
    @tf.function
    def flipped(x: tf.Tensor) -> tf.Tensor:
        return tf.image.random_flip_left_right(x, seed=3)

    # In the step itself, and in a function that it calls.
    drawing = Drawing({"both": lambda: tf.stack([flipped(IMAGE), tf.image.random_flip_left_right(IMAGE, seed=3)])})
    (finding,) = drawing.loop().audit()
    assert finding.what == "The train step draws from a stream that cannot be saved: RandomUniform"
    assert Drawing({"one": lambda: flipped(IMAGE)}).loop().audit() == []


def test_a_function_that_was_traced_before_is_traced_again(tmp_path: Path) -> None:
    @tf.function
    def noise() -> tf.Tensor:
        return tf.random.normal([2])

    noise()
    before = noise.get_concrete_function()
    test_all_that_tensorflow_draws_goes_on_where_it_was_and_differs_in_each_step(tmp_path, {"noise": noise}, False)
    assert noise.get_concrete_function() is before


def vectorized() -> tf.Tensor:
    return tf.vectorized_map(lambda row: row + tf.random.normal([]), tf.zeros([3]))


def of_dataset() -> tf.Tensor:
    return tf.data.Dataset.range(3).map(lambda i: tf.random.normal([], seed=1)).reduce(0.0, tf.maximum)


def raw() -> tf.Tensor:
    return tf.raw_ops.RandomStandardNormal(shape=[2], dtype=tf.float32, seed=1)


@pytest.mark.parametrize("draw", [vectorized, of_dataset, raw])
def test_what_can_change_no_state_where_it_draws_is_refused(draw: Callable[[], tf.Tensor]) -> None:
    what = "The train step draws from a stream that cannot be saved: RandomStandardNormal"
    assert {finding.what for finding in Drawing({"drawn": draw}).loop().audit()} == {what}


class Late(tf.Module):
    """Makes its weights when it is called first, as TensorFlow's guide does."""

    def __init__(self) -> None:
        super().__init__()
        self.w: tf.Variable | None = None

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        if self.w is None:
            self.w = tf.Variable(tf.random.normal([x.shape[-1], 2]), name="w")
        return tf.nn.dropout(x @ self.w, 0.5)


def late(directory: Path | None) -> tuple[Loop, Late]:
    keras.utils.set_random_seed(1)
    model, optimizer = Late(), keras.optimizers.SGD(0.1)

    def step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(model(x) ** 2)
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        return {"loss": loss}

    hooks = [Checkpoint(directory)] if directory else []
    data = ArrayData(tf.reshape(tf.range(12.0), [6, 2]), batch_size=2, seed=1)
    return Loop(step, data, state={"model": model, "optimizer": optimizer}, hooks=hooks), model


def test_weights_that_are_drawn_where_the_step_is_traced_are_drawn_once(tmp_path: Path) -> None:
    whole, model = late(None)
    whole.run(epochs=2)
    late(tmp_path)[0].run(epochs=1)
    resumed, again = late(tmp_path)
    resumed.run(epochs=2)
    assert model.w is not None
    assert again.w is not None
    np.testing.assert_array_equal(again.w.numpy(), model.w.numpy())


class Sampling(keras.layers.Layer):
    """As in Keras' examples of variational networks."""

    def call(self, mean: tf.Tensor) -> tf.Tensor:
        return mean + tf.random.normal(shape=tf.shape(mean))


def test_a_layer_that_draws_is_trained_and_an_evaluation_leaves_its_numbers_alone(tmp_path: Path) -> None:
    def trained(directory: Path | None, epochs: int, *, evaluated: bool = True) -> list[np.ndarray]:
        keras.utils.set_random_seed(1)
        model = keras.Sequential([keras.Input([2]), keras.layers.Dense(3), Sampling(), keras.layers.Dense(1)])
        model.compile("adam", "mse")
        train_step, eval_step = keras_steps(model)
        rows = (np.arange(12, dtype="float32").reshape(6, 2), np.ones([6, 1], "float32"))
        Loop(
            train_step,
            ArrayData(rows, batch_size=2, seed=1),
            state={"model": model},
            evaluate=Evaluation(eval_step, ArrayData(rows, batch_size=3)) if evaluated else None,
            hooks=[Checkpoint(directory)] if directory else [],
        ).run(epochs=epochs)
        return [value.copy() for value in model.get_weights()]

    whole = trained(None, 2)
    trained(tmp_path, 1)
    for found in (trained(tmp_path, 2), trained(None, 2, evaluated=False)):
        for weight, expected in zip(found, whole, strict=True):
            np.testing.assert_array_equal(weight, expected)


class Langevin(Hook):
    """Adds noise to a weight after each step, and a number before it."""

    def __init__(self, weight: tf.Variable) -> None:
        super().__init__()
        self.weight = weight

    def ahead(self, step: int, count: int) -> list[float]:
        return [1.0] * count

    def before_step(self, given: tf.Tensor) -> None:
        self.weight.assign_add(given * tf.random.uniform([]))

    def after_step(self, values: Mapping[str, tf.Tensor]) -> None:
        self.weight.assign_add(tf.random.normal([]))


def test_what_a_hook_draws_in_the_compiled_loop_goes_on_where_it_was(tmp_path: Path) -> None:
    def trained(directory: Path | None, epochs: int) -> list[float]:
        keras.utils.set_random_seed(3)
        weight = tf.Variable(0.0)
        hooks = [Langevin(weight), *([Checkpoint(directory)] if directory else [])]
        data = ArrayData(tf.range(4.0), batch_size=2, shuffle=False)
        found = Loop(lambda x: {"weight": weight.assign_add(x[0])}, data, state={"weight": weight}, hooks=hooks)
        return [*found.run(epochs=epochs).history.get("weight", []), float(weight)]

    whole = trained(None, 3)
    trained(tmp_path, 1)
    assert trained(tmp_path, 3) == whole


SEEDED = """
import tensorflow as tf
from loop import ArrayData, Loop

tf.random.set_seed(5)
weight = tf.Variable(0.0)
data = ArrayData(tf.zeros([8]), batch_size=2, shuffle=False)
loop = Loop(lambda x: {"weight": weight.assign_add(tf.random.normal([]))}, data, state={"weight": weight})
print(loop.run(epochs=1).history)
"""


@pytest.mark.more
def test_with_a_seed_of_tensorflow_alone_each_process_draws_the_same() -> None:
    first, second = (
        subprocess.run([sys.executable, "-c", SEEDED], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    )
    assert first == second
    assert "weight" in first
