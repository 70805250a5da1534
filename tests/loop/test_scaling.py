"""Gradients in float16: refused, or said aloud, where small ones would be lost."""

import logging
from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

from loop import ArrayData, InexactRun, Loop, supervised

MIXED = "mixed_float16"
SGD, Scaled = keras.optimizers.SGD, keras.optimizers.LossScaleOptimizer
FEATURES = np.random.default_rng(1).normal(size=[8, 4]).astype("float32")


def network(**given: object) -> keras.Model:
    """Returns a network whose first layer is made with these arguments."""
    return keras.Sequential([keras.Input([4]), keras.layers.Dense(2, **given), keras.layers.Dense(1)])


class Held(keras.Model):
    """Holds a layer in a list in a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = {"all": [keras.layers.Dense(1, dtype=MIXED)]}

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return self.parts["all"][0](x)


class Late(keras.Model):
    """Makes its layer when it is built."""

    def build(self, shape: object) -> None:
        self.layer = keras.layers.Dense(1, dtype=MIXED)
        self.layer.build(shape)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return self.layer(x)


class Owner(keras.Model):
    """Has weights of its own, besides those of a layer in float32."""

    def __init__(self) -> None:
        super().__init__(dtype=MIXED)
        self.kernel, self.layer = self.add_weight(shape=[4, 1]), keras.layers.Dense(4, dtype="float32")

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return keras.ops.matmul(keras.ops.cast(self.layer(x), "float16"), keras.ops.cast(self.kernel, "float16"))


def owner_within() -> keras.Model:
    return keras.Sequential([keras.Input([4]), Owner()])


class Without(keras.Model):
    """Computes nothing itself: its layer is in float32."""

    def __init__(self, **given: object) -> None:
        super().__init__(**given)
        self.layer = keras.layers.Dense(1, dtype="float32")

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return self.layer(x)


@pytest.mark.parametrize("build", [Owner, owner_within])
def test_weights_of_a_model_itself_are_looked_at(build: Callable[[], keras.Model]) -> None:
    with pytest.raises(ValueError, match=r"those of Owner 'owner.* are in float16"):
        trained(build(), SGD())
    trained(Without(dtype=MIXED), SGD())
    trained(keras.Sequential([keras.layers.Dense(1), keras.layers.Activation("relu", dtype="float16")]), SGD())
    model = build()
    model.trainable = False
    trained(model, SGD())


def nested() -> keras.Model:
    return keras.Sequential([keras.Input([4]), network(dtype=MIXED), keras.layers.Dense(1)])


def trained(model: keras.Model, optimizer: keras.optimizers.Optimizer, kept: object = None) -> Loop:
    step, _ = supervised(model, optimizer, keras.losses.MeanSquaredError())
    data = ArrayData((FEATURES, FEATURES[:, :1]), batch_size=4, seed=1)
    return Loop(step, data, state={"model": model, "optimizer": kept or optimizer})


@pytest.mark.parametrize("build", [lambda: network(dtype=MIXED), lambda: network(dtype="float16"), nested, Held, Late])
def test_supervised_refuses_float16_with_an_optimizer_that_does_not_scale(build: Callable[[], keras.Model]) -> None:
    with pytest.raises(ValueError, match="small gradients are lost") as refused:
        trained(build(), SGD()).run(steps=1)
    assert "Dense 'dense" in str(refused.value)
    assert "Write optimizer = keras.optimizers.LossScaleOptimizer(optimizer) before supervised(...)" in str(
        refused.value
    )


@pytest.mark.more
@pytest.mark.parametrize(
    ("given", "optimizer"),
    [
        ({"dtype": "mixed_bfloat16"}, SGD()),
        ({"dtype": MIXED}, SGD(loss_scale_factor=1024.0)),
        ({"dtype": MIXED, "trainable": False}, SGD()),  # nothing before it is trained
    ],
)
def test_where_no_gradient_can_vanish_nothing_is_said(
    given: dict[str, object], optimizer: keras.optimizers.Optimizer, caplog: pytest.LogCaptureFixture
) -> None:
    assert trained(network(**given), optimizer).run(steps=1).step == 1
    assert [
        record for record in caplog.records if record.name == "exactloop" and record.levelno >= logging.WARNING
    ] == []


def test_the_remedy_moves_what_would_stand_still() -> None:
    class Small(keras.losses.Loss):
        def call(self, y: tf.Tensor, prediction: tf.Tensor) -> tf.Tensor:
            return 1e-6 * keras.ops.square(prediction - y)[:, 0]

    model, optimizer = network(dtype=MIXED), keras.optimizers.Adam(1e-2, epsilon=1e-12)
    optimizer = keras.optimizers.LossScaleOptimizer(optimizer)  # as the message says
    before = model.layers[0].kernel.numpy()
    step, _ = supervised(model, optimizer, Small())
    data = ArrayData((FEATURES, FEATURES[:, :1]), batch_size=4, seed=1)
    Loop(step, data, state={"model": model, "optimizer": optimizer}).run(steps=2)
    assert np.all(model.layers[0].kernel.numpy() != before)


def test_the_optimizer_that_scales_belongs_into_the_state() -> None:
    inner = SGD()
    with pytest.raises(InexactRun, match=r"changes what no checkpoint would hold: .*/dynamic_scale:0"):
        trained(network(dtype=MIXED), Scaled(inner), kept=inner).run(steps=1)


def test_clipping_is_left_to_an_optimizer_with_a_fixed_scale() -> None:
    with pytest.raises(ValueError, match=r"would clip scaled gradients\. Leave it out.*global_clipnorm=2\."):
        supervised(network(), SGD(loss_scale_factor=8.0), keras.losses.MeanSquaredError(), clip_norm=2.0)


def by_hand(optimizer: keras.optimizers.Optimizer, *, scale: bool, kept: object = None) -> Loop:
    """Returns a loop over a step of one's own that computes in float16."""
    kernel = keras.Variable(np.ones([4, 1], "float32"), name="kernel")

    def step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        with tf.GradientTape() as tape:
            product = tf.matmul(tf.cast(x, tf.float16), tf.cast(kernel, tf.float16))
            loss = tf.reduce_mean(tf.square(tf.cast(product, tf.float32)))
            scaled = optimizer.scale_loss(loss) if scale else loss
        optimizer.apply(tape.gradient(scaled, [kernel]), [kernel])
        dynamic = {"scale": tf.identity(optimizer.dynamic_scale)} if isinstance(optimizer, Scaled) else {}
        return {"loss": loss} | dynamic

    data = ArrayData(FEATURES, batch_size=4, seed=1)
    return Loop(step, data, state={"kernel": kernel.value, "optimizer": kept or optimizer})


@pytest.mark.more
def test_a_step_that_seems_not_to_scale_is_warned_once_with_its_line(caplog: pytest.LogCaptureFixture) -> None:
    loop = by_hand(SGD(), scale=False)
    loop.run(steps=1)
    loop.run(steps=2)
    (said,) = [
        record.getMessage()
        for record in caplog.records
        if record.name == "exactloop" and record.levelno >= logging.WARNING
    ]
    assert said.startswith("The train step computes gradients in float16, in which those below 6e-8 are zero")
    assert "optimizer = keras.optimizers.LossScaleOptimizer(optimizer)" in said
    assert "test_scaling.py" in said
    assert said.endswith("optimizer.apply(tape.gradient(scaled, [kernel]), [kernel])")


def test_an_optimizer_in_the_state_that_scales_nothing_does_not_count(caplog: pytest.LogCaptureFixture) -> None:
    inner = SGD()
    by_hand(inner, scale=True, kept=Scaled(inner)).run(steps=1)
    assert "no LossScaleOptimizer scales its loss" in caplog.text


def test_to_divide_by_a_scale_that_nothing_was_multiplied_with_is_refused() -> None:
    loop = by_hand(Scaled(SGD()), scale=False)
    for _ in range(2):
        with pytest.raises(ValueError, match=r"(?s)a loss that is not scaled: .*/dynamic_scale:0.*test_scaling.py"):
            loop.run(steps=1)


@pytest.mark.parametrize("optimizer", [Scaled(SGD()), SGD(loss_scale_factor=1024.0)])
def test_a_step_that_scales_is_left_in_peace(
    optimizer: keras.optimizers.Optimizer, caplog: pytest.LogCaptureFixture
) -> None:
    by_hand(optimizer, scale=True).run(steps=1)
    assert [
        record for record in caplog.records if record.name == "exactloop" and record.levelno >= logging.WARNING
    ] == []
