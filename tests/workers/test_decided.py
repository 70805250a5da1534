"""What all workers do together, each of them does: no step has it depend on the rows of one."""

from collections.abc import Callable, Iterator

import keras
import numpy as np
import pytest
import tensorflow as tf

from loop import ArrayData, Loop, Step, average, supervised, total
from loop.workers.cluster import Workers, become

X = np.arange(24, dtype="float32").reshape(8, 3)
Make = Callable[[], tuple[Callable[[tf.Tensor], dict], dict]]


@pytest.fixture(autouse=True)
def _one_of_two() -> Iterator[None]:
    """Makes this process one of two, of which the other cannot be reached."""
    before = become(Workers(1, ("10.0.0.1:1", "10.0.0.2:1")))
    yield
    become(before)


class Model:
    """One weight and what a step does with it."""

    def __init__(self) -> None:
        self.weights = tf.Variable(tf.zeros([3, 1]), name="weights")
        self.optimizer = keras.optimizers.SGD()
        self.optimizer.build([self.weights])
        self.seen = keras.metrics.Mean(name="seen")
        self.draws = tf.random.Generator.from_seed(1)
        self.seeds = keras.random.SeedGenerator(1)
        self.kept = tf.Variable(0.0, name="kept")
        state = {"weights": self.weights, "optimizer": self.optimizer, "draws": self.draws, "seeds": self.seeds}
        self.state: dict[str, object] = {**state, "kept": self.kept}

    def gradient(self, batch: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(batch @ self.weights))
        return loss, tape.gradient(loss, self.weights)

    def apply(self, gradient: tf.Tensor) -> None:
        self.optimizer.apply([gradient], [self.weights])


def made(step: Callable[[Model, tf.Tensor], tf.Tensor]) -> Loop:
    model = Model()

    def train_step(batch: tf.Tensor) -> dict:
        return {"loss": step(model, batch)}

    trained = Step(train_step, metrics={"seen": model.seen})
    return Loop(trained, ArrayData(X, batch_size=4), state=model.state)


def averaged_unless_it_is_none(model: Model, batch: tf.Tensor) -> tf.Tensor:
    loss, gradient = model.gradient(batch)
    if tf.math.is_finite(loss):
        model.apply(average(gradient))
    return loss


def applied_unless_it_is_none(model: Model, batch: tf.Tensor) -> tf.Tensor:
    loss, gradient = model.gradient(batch)
    gradient = average(gradient)
    if tf.math.is_finite(loss):
        model.apply(gradient)
    return loss


def drawn(model: Model, batch: tf.Tensor) -> tf.Tensor:
    loss, gradient = model.gradient(batch)
    if model.draws.uniform([]) < 0.5:
        model.apply(average(gradient))
    return loss


def drawn_from_keras(model: Model, batch: tf.Tensor) -> tf.Tensor:
    loss, gradient = model.gradient(batch)
    if keras.random.uniform([], seed=model.seeds) < 0.5:
        model.apply(average(gradient))
    return loss


def in_a_loop(model: Model, batch: tf.Tensor) -> tf.Tensor:
    loss, gradient = model.gradient(batch)
    i = tf.constant(0.0)
    while i < loss:
        i += 1.0 + total(loss)
    model.apply(average(gradient))
    return loss


def within_a_function(model: Model, batch: tf.Tensor) -> tf.Tensor:
    @tf.function
    def inner() -> tf.Tensor:
        return averaged_unless_it_is_none(model, batch)

    return inner()


def in_one_of_several_cases(model: Model, batch: tf.Tensor) -> tf.Tensor:
    loss, gradient = model.gradient(batch)
    sign = tf.switch_case(tf.cast(loss, tf.int32) % 2, [lambda: total(loss), lambda: -loss])
    model.apply(average(gradient))
    return sign


def by_a_metric(model: Model, batch: tf.Tensor) -> tf.Tensor:
    """Which has, within a step, what these rows come to."""
    loss, gradient = model.gradient(batch)
    model.seen.update_state(batch)
    if model.seen.result() < 1.0:
        model.apply(average(gradient))
    return loss


def by_what_is_kept(model: Model, batch: tf.Tensor) -> tf.Tensor:
    loss, gradient = model.gradient(batch)
    if model.kept < 5.0:
        model.apply(average(gradient))
    model.kept.assign(0.9 * model.kept + 0.1 * loss)
    return loss


@pytest.mark.parametrize(
    ("step", "what"),
    [
        (averaged_unless_it_is_none, "A sum over workers, such as loop.average, is below"),
        (applied_unless_it_is_none, "A change of 'weights:0' is below"),
        (drawn_from_keras, "A sum over workers, such as loop.average, is below"),
        (drawn, "A sum over workers, such as loop.average, is below"),
        (in_a_loop, "A sum over workers, such as loop.average, is below"),
        (within_a_function, "A sum over workers, such as loop.average, is below"),
        (in_one_of_several_cases, "A sum over workers, such as loop.average, is below"),
        (by_a_metric, "A sum over workers, such as loop.average, is below"),
        (by_what_is_kept, "A sum over workers, such as loop.average, is below"),
    ],
)
def test_what_one_worker_alone_decides_is_refused(step: Callable[[Model, tf.Tensor], tf.Tensor], what: str) -> None:
    with pytest.raises(ValueError, match=f"^{what} a condition, or in a loop, that each worker decides.* Decide by"):
        made(step).audit()


def by_the_sum(model: Model, batch: tf.Tensor) -> tf.Tensor:
    loss, gradient = model.gradient(batch)
    if tf.math.is_finite(total(loss)):
        model.apply(average(gradient))
    return loss


def by_the_gradient(model: Model, batch: tf.Tensor) -> tf.Tensor:
    loss, gradient = model.gradient(batch)
    gradient = average(gradient)
    if tf.reduce_all(tf.math.is_finite(gradient)):
        model.apply(gradient)
    return loss


def by_a_counter(model: Model, batch: tf.Tensor) -> tf.Tensor:
    loss, gradient = model.gradient(batch)
    if model.optimizer.iterations % 2 == 0:
        loss = total(loss)
    for _ in tf.range(model.optimizer.iterations):
        gradient += average(gradient)
    model.apply(average(gradient))
    return loss


def by_a_draw_of_all(model: Model, batch: tf.Tensor) -> tf.Tensor:
    loss, gradient = model.gradient(batch)
    if tf.random.stateless_uniform([], tf.stack([model.optimizer.iterations.value, 1])) < 0.5:
        model.apply(average(gradient))
    return loss


def by_what_all_have_kept(model: Model, batch: tf.Tensor) -> tf.Tensor:
    loss, gradient = model.gradient(batch)
    model.kept.assign(0.9 * model.kept + 0.1 * total(loss))
    if model.kept < 5.0 and tf.norm(model.weights) < 9.0:
        model.apply(average(gradient))
    return loss


def a_metric_alone(model: Model, batch: tf.Tensor) -> tf.Tensor:
    """Each adds what its own rows come to, and that may be nothing."""
    loss, gradient = model.gradient(batch)
    if loss > 1.0:
        model.seen.update_state(batch)
    model.apply(average(gradient))
    return loss


ALIKE = [by_the_sum, by_the_gradient, by_a_counter, by_a_draw_of_all, by_what_all_have_kept, a_metric_alone]


@pytest.mark.parametrize("step", ALIKE)
def test_what_all_decide_alike_is_traced(
    step: Callable[[Model, tf.Tensor], tf.Tensor], caplog: pytest.LogCaptureFixture
) -> None:
    assert made(step).audit() == []
    assert "by the rows of this worker alone" not in caplog.text


def test_what_is_the_same_for_all_rows_of_a_batch_may_decide_and_scale_gradients() -> None:
    model = Model()

    def train_step(batch: tuple[tf.Tensor, tf.Tensor]) -> dict:
        loss, gradient = model.gradient(batch[0])
        if batch[1]:
            model.apply(average(gradient) * tf.cast(batch[1], tf.float32))
        return {"loss": loss}

    data = tf.data.Dataset.from_tensors((X[:4], True)).repeat(3)
    assert Loop(train_step, data, state=model.state).audit() == []


def by_hand(model: Model, batch: tf.Tensor) -> tf.Tensor:
    loss, gradient = model.gradient(batch)
    model.weights.assign_sub(0.1 * gradient)
    return loss


def counted(model: Model, batch: tf.Tensor) -> tf.Tensor:
    model.kept.assign_add(tf.cast(tf.shape(batch)[0], tf.float32))
    return by_the_sum(model, batch)


def added_up(model: Model, batch: tf.Tensor) -> tf.Tensor:
    model.kept.assign_add(tf.reduce_sum(tf.where(batch > 3.0, 1.0, 0.0)))
    return by_the_sum(model, batch)


def drawn_into_a_variable(model: Model, batch: tf.Tensor) -> tf.Tensor:
    model.kept.assign(model.draws.uniform([]))
    return by_the_sum(model, batch)


APART = [(by_hand, "weights"), (counted, "kept"), (added_up, "kept"), (drawn_into_a_variable, "kept")]


@pytest.mark.parametrize(("step", "name"), APART)
def test_what_is_written_of_the_rows_of_one_worker_is_warned_of(
    step: Callable[[Model, tf.Tensor], tf.Tensor], name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody could go on from it: it is refused when it would be saved, after how long soever."""
    made(step).audit()
    assert f"changes '{name}' by the rows of this worker alone" in caplog.text


def over_time(model: Model, batch: tf.Tensor, length: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
    loss, gradient = model.gradient(batch[:, 0])
    added = tf.constant(0.0)
    for i in tf.range(length(batch)):
        added += total(tf.reduce_mean(batch[:, i]))
    model.apply(average(gradient))
    return loss + added


LENGTHS: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "by number": lambda x: tf.shape(x)[1],
    "from behind": lambda x: tf.shape(x)[-2],
    "one of all": lambda x: tf.unstack(tf.shape(x))[1],
    "of the same sizes": lambda x: tf.shape(tf.cast(x, tf.float64))[1],
    "of Keras": lambda x: keras.ops.shape(x)[1],
}
OWN: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "rows": lambda x: tf.shape(x)[0],
    "rows from behind": lambda x: tf.shape(x)[-3],
    "all sizes": lambda x: tf.reduce_prod(tf.shape(x)),
    "of something else": lambda x: tf.shape(tf.transpose(x, [1, 0, 2]))[1],
    "what it holds": lambda x: tf.cast(tf.reduce_max(x), tf.int32),
}


@pytest.mark.parametrize("length", [*LENGTHS, *OWN])
def test_a_size_of_a_padded_batch_is_the_same_in_all_and_its_rows_are_not(length: str) -> None:
    """If all have read it; of files of its own, each pads its own batches."""
    rows = tf.data.Dataset.from_tensor_slices(X).map(lambda row: tf.ensure_shape(tf.stack([row, row]), [None, 3]))
    model = Model()

    def train_step(batch: tf.Tensor) -> dict:
        return {"loss": over_time(model, batch, (LENGTHS | OWN)[length])}

    trained = Loop(train_step, rows.padded_batch(4), state=model.state)
    if length in LENGTHS:
        assert trained.audit() == []
        return
    with pytest.raises(ValueError, match=r"^A sum over workers, such as loop\.average, is below"):
        trained.audit()


@pytest.mark.more
def test_what_keras_does_only_with_finite_gradients_or_every_few_steps_is_decided_by_all_alike() -> None:
    model = keras.Sequential(
        [keras.Input([3]), keras.layers.Dense(2), keras.layers.BatchNormalization(synchronized=True)]
    )
    inner = keras.optimizers.Adam(0.05, use_ema=True, ema_overwrite_frequency=5)
    optimizer = keras.optimizers.LossScaleOptimizer(inner)
    train_step, _ = supervised(model, optimizer, "mse", accumulate=3)
    data = ArrayData((X, X[:, :2]), batch_size=3)  # parts of one row and of two
    assert Loop(train_step, data, state={"model": model, "optimizer": optimizer}).audit() == []
