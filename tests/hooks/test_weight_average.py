"""WeightAverage: the averages are those of Keras and of the formula, and the weights come back bit for bit."""

import re
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from hooks import Checkpoint, EarlyStopping, Export, WeightAverage
from loop import ArrayData, At, Evaluation, Event, Every, Hook, Loop, Moment, keras_steps

STEPS, SEQUENCES = 12, 250
DECAYS = (0.5, 0.9, 0.99, 0.999, 0.1)


def the(average: WeightAverage) -> np.ndarray:
    """Returns the one average that there is."""
    (value,) = average.averages().values()
    return value.numpy()


def gradients(seed: int = 1) -> np.ndarray:
    """Returns `[STEPS, SEQUENCES]`, float64."""
    return np.random.default_rng(seed).normal(size=[STEPS, SEQUENCES]) * 10.0 ** np.arange(-2, 3).repeat(SEQUENCES // 5)


class Noted(Hook):
    """Notes a variable after each step."""

    every = Every(steps=1)

    def __init__(self, variable: tf.Variable, of: WeightAverage | None = None, name: str | None = None) -> None:
        super().__init__(name=name)
        self._read = variable.numpy
        self._of = (lambda: the(of)) if of else lambda: None
        self.values: list[np.ndarray] = []
        self.averages: list[np.ndarray | None] = []

    def on_step_end(self, moment: Moment) -> None:
        average = self._of()
        self.values.append(self._read())
        self.averages.append(average)


def descent(
    hooks: Sequence[Hook],
    weight: tf.Variable,
    optimizer: keras.optimizers.Optimizer | None = None,
    *,
    evaluations: Sequence[Evaluation] = (),
    exact: bool = True,
) -> Loop:
    """Returns a loop that walks along random gradients."""
    optimizer = optimizer or keras.optimizers.SGD(1.0)
    optimizer.build([weight])

    def train_step(gradient: tf.Tensor) -> dict[str, tf.Tensor]:
        scaled = optimizer.scale_loss(tf.cast(gradient, weight.dtype))
        optimizer.apply([tf.reshape(scaled, weight.shape)], [weight])
        return {"loss": tf.reduce_sum(gradient)}

    data = ArrayData(gradients(), batch_size=1, shuffle=False)
    state = {"weight": weight, "optimizer": optimizer}
    return Loop(train_step, data, state=state, evaluate=evaluations or None, hooks=hooks, exact=exact)


def evaluations(weight: tf.Variable, average: WeightAverage) -> list[Evaluation]:
    def eval_step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"sum": tf.reduce_sum(weight) + 0 * tf.cast(tf.reduce_sum(x), weight.dtype)}

    data = [ArrayData(np.zeros([3]), batch_size=1, shuffle=False) for _ in range(2)]
    averaged = Evaluation(eval_step, data[1], name="average", within=average.exchanged)
    return [Evaluation(eval_step, data[0]), averaged]


def weights(dtype: str = "float64") -> tf.Variable:
    return tf.Variable(np.random.default_rng(2).normal(size=[SEQUENCES]), dtype=dtype)


def mean(values: Sequence[np.ndarray], at: Sequence[int], decay: float, now: int) -> np.ndarray:
    """Returns the average of the values after some steps, by the formula."""
    counts = np.array([decay ** (now - step) for step in at])
    return (counts[:, None] * np.stack([values[step - 1] for step in at])).sum(axis=0) / counts.sum()


@pytest.mark.parametrize("decay", DECAYS)
def test_uncorrected_averages_are_those_of_keras_and_corrected_ones_those_of_the_formula(decay: float) -> None:
    """On 250 sequences each."""
    variable = tf.Variable(weights())
    optimizer = keras.optimizers.SGD(1.0, use_ema=True, ema_momentum=decay)
    keras_like = WeightAverage(decay, corrected=False, name="keras_like")
    corrected, kept = WeightAverage(decay), WeightAverage("optimizer", name="kept")
    hooks = [keras_like, corrected, kept]
    noted = [Noted(variable, hook, name=f"of_{hook.name}") for hook in (keras_like, corrected, kept)]
    descent([*hooks, *noted], variable, optimizer).run(steps=STEPS)
    ours, right, theirs = (hook.averages for hook in noted)
    values = noted[0].values
    np.testing.assert_allclose(np.stack(ours), np.stack(theirs), rtol=1e-9, atol=1e-12)
    expected = [mean(values, range(1, now + 1), decay, now) for now in range(1, STEPS + 1)]
    np.testing.assert_allclose(np.stack(right), np.stack(expected), rtol=1e-9, atol=1e-12)
    assert np.abs(ours[1] - right[1]).max() > 1e-3


@pytest.mark.parametrize(
    ("arguments", "at"),
    [
        ({"decay": 1.0}, range(1, 13)),
        ({"decay": 1, "start": 5, "every": Every(steps=3)}, (6, 9, 12)),
        ({"decay": 0.9, "start": 6, "every": Every(steps=3)}, (6, 9, 12)),
        ({"decay": 0.9, "every": At(2, 3, 9)}, (2, 3, 9)),
        ({"decay": 1.0, "start": 7}, range(7, 13)),
        ({"decay": 1.0, "every": Every(epochs=1)}, (12,)),
        ({"decay": 1.0, "every": Every(steps=5) | Every(epochs=1), "start": 6}, (10, 12)),
    ],
)
def test_which_steps_count_and_how_much(arguments: dict[str, object], at: Sequence[int]) -> None:
    variable, average = tf.Variable(weights()), WeightAverage(**arguments)
    noted = Noted(variable)
    descent([noted, average], variable).run(steps=STEPS)
    expected = mean(noted.values, at, float(arguments["decay"]), max(at))
    np.testing.assert_allclose(the(average), expected, rtol=1e-12)


def test_steps_before_the_start_make_nothing_halt() -> None:
    assert [WeightAverage(start=100).every.next_after(step) for step in (0, 98, 99, 100)] == [100, 100, 100, 101]
    assert WeightAverage(every=Every(steps=30), start=100).every.next_after(0) == 120
    assert (WeightAverage(start=100).every | At(7)).next_after(0) == 7
    assert WeightAverage("optimizer").every.next_after(0) is None


def test_an_evaluation_has_the_averages_and_training_has_the_bits_that_it_has_without() -> None:
    plain, variable, average = tf.Variable(weights()), tf.Variable(weights()), WeightAverage(0.9, at_end="last")
    descent([], plain).run(epochs=2)
    loop = descent([average], variable, evaluations=evaluations(variable, average))
    logs = loop.run(epochs=2).logs
    assert variable.numpy().tobytes() == plain.numpy().tobytes()
    assert logs["val_sum"] == pytest.approx(variable.numpy().sum())
    assert logs["average_sum"] == pytest.approx(the(average).sum())
    assert abs(logs["average_sum"] - logs["val_sum"]) > 1e-3
    assert loop.evaluate() == {name: logs[name] for name in ("val_sum", "average_sum")}
    assert variable.numpy().tobytes() == plain.numpy().tobytes()


def test_before_anything_is_averaged_an_evaluation_has_the_weights() -> None:
    variable, average = tf.Variable(weights()), WeightAverage(start=1000)
    logs = descent([average], variable, evaluations=evaluations(variable, average)).run(epochs=1).logs
    assert logs["average_sum"] == logs["val_sum"] == pytest.approx(variable.numpy().sum())


def broken(weight: tf.Variable, average: WeightAverage, act: str, loop: list[Loop]) -> Evaluation:
    """Returns an evaluation that raises, or has the loop stop, in its second batch."""

    def happen(x: np.ndarray) -> np.float64:
        if x == 1.0 and act == "raise":
            raise ArithmeticError("in the evaluation")
        if x == 1.0:
            loop[0].stop("enough")
        return np.float64(0.0)

    def eval_step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        told = tf.ensure_shape(tf.numpy_function(happen, [x[0]], tf.float64), [])
        return {"sum": tf.reduce_sum(weight) + told}

    data = ArrayData(np.arange(4.0), batch_size=1, shuffle=False)
    return Evaluation(eval_step, data, name="average", within=average.exchanged)


@pytest.mark.more
@pytest.mark.parametrize("act", ["raise", "stop"])
def test_the_weights_come_back_when_an_evaluation_raises_or_is_cut_short(act: str) -> None:
    plain, variable, average = tf.Variable(weights()), tf.Variable(weights()), WeightAverage(0.9, at_end="last")
    descent([], plain).run(epochs=1)
    holder: list[Loop] = []
    loop = descent([average], variable, evaluations=[broken(variable, average, act, holder)], exact=False)
    holder.append(loop)
    if act == "raise":
        with pytest.raises(tf.errors.OpError, match="in the evaluation"):
            loop.run(epochs=2)
    else:
        assert loop.run(epochs=2).reason == "enough"
    assert variable.numpy().tobytes() == plain.numpy().tobytes()
    assert np.abs(the(average) - plain).max() > 1e-3


@pytest.mark.more
def test_at_the_end_the_weights_have_their_averages_and_training_goes_on_from_the_last_step(tmp_path: Path) -> None:
    whole, last = tf.Variable(weights()), WeightAverage(0.9, at_end="last")
    descent([last], whole).run(steps=STEPS)
    cut = tf.Variable(weights())
    for at in (5, 9, STEPS):
        variable, average = tf.Variable(weights()), WeightAverage(0.9)
        loop = descent([average, Checkpoint(tmp_path)], variable)
        loop.run(steps=at - 1)
        loop.run(steps=at)
        cut.assign(variable)
        assert variable.numpy().tobytes() == the(average).tobytes()
    assert cut.numpy().tobytes() == the(last).tobytes() != whole.numpy().tobytes()
    assert (float(average.total), int(average.latest)) == (float(last.total), int(last.latest))


def test_of_two_that_put_something_into_the_weights_at_the_end_the_first_counts() -> None:
    for order in (1, -1):
        variable, average = tf.Variable(weights()), WeightAverage(0.9)
        best = EarlyStopping("loss", mode="min", patience=9, restore_best="weights")
        descent([average, best][::order], variable).run(epochs=2)
        same = variable.numpy().tobytes() == the(average).tobytes()
        assert same == (order == 1)


@pytest.mark.more
def test_averages_of_an_optimizer_are_exchanged_also_within_another_one() -> None:
    for scaled in (False, True):
        inner = keras.optimizers.Adam(0.1, use_ema=True, ema_momentum=0.9)
        variable, average = tf.Variable(weights("float32")), WeightAverage("optimizer")
        optimizer = keras.optimizers.LossScaleOptimizer(inner) if scaled else inner
        loop = descent([average], variable, optimizer, evaluations=evaluations(variable, average))
        logs = loop.run(epochs=1).logs
        (kept,) = inner._model_variables_moving_average
        assert variable.numpy().tobytes() == kept.numpy().tobytes()
        assert logs["average_sum"] == pytest.approx(kept.numpy().sum(), rel=1e-5) != logs["val_sum"]


@pytest.mark.more
def test_trained_weights_of_each_kind_are_averaged_and_nothing_else() -> None:
    layers = [keras.layers.Dense(2), keras.layers.BatchNormalization(), keras.layers.Dense(1, trainable=False)]
    model, average = keras.Sequential([keras.Input([1]), *layers, keras.layers.Dropout(0.5)]), WeightAverage(0.9)
    kinds = {name: tf.Variable([1, 2], dtype=name) for name in ("bfloat16", "float64", "complex64", "complex128")}
    others = {"count": tf.Variable(1), "fixed": tf.Variable(1.0, trainable=False)}
    frozen = model.layers[2].kernel.numpy()

    def train_step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        for weight in [*model.trainable_variables, *kinds.values(), *others.values()]:
            weight.assign(weight + tf.cast(1, weight.dtype))
        return {"loss": tf.reduce_sum(model(x[:, None], training=True))}

    state = {"model": model, **kinds, **others}
    loop = Loop(train_step, ArrayData(tf.range(4.0), batch_size=2, shuffle=False), state=state, hooks=[average])
    loop.run(steps=2)
    averages = average.averages()
    names = [loop.state.variables[path].name.split("/")[-1].split(":")[0] for path in averages if path not in kinds]
    assert ({*averages} >= {*kinds}, sorted(names)) == (True, ["beta", "bias", "bias", "gamma", "kernel", "kernel"])
    for name, variable in kinds.items():
        assert averages[name].dtype == variable.dtype
        expected = (np.array([2.0, 3.0]) * 0.9 + np.array([3.0, 4.0])) / 1.9
        np.testing.assert_allclose(averages[name].numpy().astype(complex), expected, rtol=1e-2 if "b" in name else 1e-6)
    assert model.layers[2].kernel.numpy().tobytes() == frozen.tobytes()
    assert others["fixed"].numpy() == 3.0


def test_wrong_arguments_are_refused_with_what_would_do() -> None:
    assert WeightAverage(np.float32(0.5)).every is not None  # a number of NumPy is one
    range_, seconds = "needs a number above 0 and at most 1, or 'optimizer'", "cannot be by seconds"
    for arguments, said in [
        ({"decay": 0}, range_),
        ({"decay": 1.5}, range_),
        ({"decay": "keras"}, range_),
        ({"every": Every(seconds=3)}, seconds),
        ({"every": Every(steps=3) | Every(seconds=3)}, seconds),
        ({"start": 0}, "is a step, from 1"),
        ({"at_end": "best"}, "must be 'average' or 'last'"),
    ]:
        with pytest.raises((TypeError, ValueError), match=said):
            WeightAverage(**arguments)
    with pytest.raises(TypeError, match=re.escape("write decay=0.999")):
        WeightAverage(ema_momentum=0.9)
    with pytest.raises(TypeError, match="exchanged"):
        WeightAverage(swap_on_epoch=True)


def test_an_optimizer_that_does_not_average_is_refused_and_so_is_a_hook_that_no_loop_has() -> None:
    variable = tf.Variable(weights())
    with pytest.raises(ValueError, match=r"none does\. Make one with use_ema=True"):
        descent([WeightAverage("optimizer")], variable).run(steps=1)
    average = WeightAverage()
    with pytest.raises(RuntimeError, match=r"hooks=\[average\]"):
        descent([], variable, evaluations=evaluations(variable, average)).run(epochs=1)


def test_what_makes_no_context_is_refused_at_once(tmp_path: Path) -> None:
    average, data = WeightAverage(), ArrayData(np.zeros([3]), batch_size=1)
    model = keras.Sequential([keras.Input([1]), keras.layers.Dense(1)])
    for wrong in (average, average.exchanged(), None):
        with pytest.raises(TypeError, match="within"):
            Evaluation(lambda x: {"loss": x}, data, within=wrong)
        with pytest.raises(TypeError, match="within"):
            Export(tmp_path, model, within=wrong)
    Evaluation(lambda x: {"loss": x}, data, within=average.exchanged)


def test_an_exception_leaves_the_weights_of_the_last_step() -> None:
    plain, variable, average = tf.Variable(weights()), tf.Variable(weights()), WeightAverage(0.9)
    descent([], plain).run(steps=4)
    loop = descent([average], variable)

    @loop.on(Event.SETTLED)
    def fail(moment: Moment) -> None:
        if moment.step == 4:
            raise ArithmeticError("four")

    with pytest.raises(ArithmeticError, match="four"):
        loop.run(steps=8)
    assert variable.numpy().tobytes() == plain.numpy().tobytes()


def test_what_the_optimizer_of_a_compiled_model_averages_is_exchanged() -> None:
    model, average = keras.Sequential([keras.Input([2]), keras.layers.Dense(1)]), WeightAverage("optimizer")
    model.compile(keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5), "mse")
    train_step, eval_step = keras_steps(model)
    data = [ArrayData((np.ones([8, 2]), np.ones([8, 1])), batch_size=2) for _ in range(3)]
    evaluations = [Evaluation(eval_step, data[1]), Evaluation(eval_step, data[2], name="ema", within=average.exchanged)]
    loop = Loop(train_step, data[0], state={"model": model}, evaluate=evaluations, hooks=[average])
    logs = loop.run(epochs=1).logs
    assert logs["ema_loss"] > logs["val_loss"]  # the averages are behind
    for weight, averaged in zip(model.weights, model.optimizer._model_variables_moving_average, strict=True):
        np.testing.assert_array_equal(weight, averaged)
