"""Training loops over networks and optimizers of every kind that has a state of its own; nothing is made on import."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from loop import ArrayData, Evaluation, Hook, Loop, Moment, Step, keras_steps, supervised

BATCH, STEPS_PER_EPOCH, EPOCHS = 8, 7, 3
ALL_STEPS = EPOCHS * STEPS_PER_EPOCH
Layers = keras.layers
Values = dict[str, tf.Tensor]


class Parts(NamedTuple):
    """What a loop is made of: its steps, its state, the shape of an example, how many there are, its hooks."""

    train_step: Step | Callable[..., Values]
    eval_step: Step | Callable[..., Values]
    state: Mapping[str, object]
    shape: Sequence[int] = (6,)
    rows: int = 50  # so that the last batch of an epoch has two
    hooks: Sequence[Hook] = ()


class Diary(Hook):
    """Notes the exact values of each step, each evaluation and each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.noted: dict[tuple[int, str, str], str] = {}

    def on_setup(self, loop: Loop, moment: Moment) -> None:
        loop.state.position.torn = moment.step > 0  # so that what an earlier run of this loop has left is restored over

    def on_steps(self, first_step: int, values: Mapping[str, np.ndarray]) -> None:
        for name, column in values.items():
            self.noted |= {(first_step + i, "step", name): value.tobytes().hex() for i, value in enumerate(column)}

    def on_eval_end(self, moment: Moment) -> None:
        self.noted |= {(moment.step, moment.event.value, name): value.hex() for name, value in moment.logs.items()}

    on_epoch_end = on_eval_end


def bits(loop: Loop) -> dict[str, bytes]:
    """Returns every variable of the training state as bytes, by path; without the wall time that was spent."""
    return {path: v.numpy().tobytes() for path, v in loop.state.variables.items() if path != "clock/seconds"}


def cross_entropy() -> keras.losses.Loss:
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def arrays(shape: Sequence[int], rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns features, float32 `[rows, *shape]`, and classes, int64 `[rows]` in 0..2."""
    rng = np.random.default_rng(7)
    x = rng.normal(size=[rows, *shape]).astype(np.float32)
    flat = x.reshape(rows, -1)
    return x, (flat @ rng.normal(size=[flat.shape[1], 3])).argmax(axis=1)


def make_loop(
    parts: Callable[[], Parts], hooks: Sequence[Hook] = (), *, exact: bool = True, jit_compile: bool = False
) -> Loop:
    """Returns a loop as a script would make it."""
    keras.utils.set_random_seed(1)
    train_step, eval_step, state, shape, rows, own = parts()
    data = ArrayData(arrays(shape, rows), batch_size=BATCH, seed=3)
    val_data = ArrayData(arrays(shape, rows), batch_size=BATCH, shuffle=False)
    evaluate, hooks = Evaluation(eval_step, val_data), [*own, *hooks]
    return Loop(train_step, data, state=state, evaluate=evaluate, hooks=hooks, exact=exact, jit_compile=jit_compile)


def of(
    model: keras.Model, optimizer: keras.optimizers.Optimizer, metrics: Sequence[keras.Metric] = (), **parts: Any
) -> Parts:
    """Returns supervised learning of a model."""
    named = {metric.name: metric for metric in metrics}
    steps = supervised(model, optimizer, cross_entropy(), metrics=named)
    return Parts(*steps, {"model": model, "optimizer": optimizer}, **parts)


def sequential(*layers: keras.Layer, shape: Sequence[int] = (6,)) -> keras.Model:
    return keras.Sequential([keras.Input(shape), *layers, Layers.Dense(3)])


def dense(optimizer: keras.optimizers.Optimizer) -> Parts:
    return of(sequential(Layers.Dense(5, activation="tanh")), optimizer)


def layered(*layers: keras.Layer, shape: Sequence[int] = (6,), **parts: Any) -> Parts:
    return of(sequential(*layers, shape=shape), keras.optimizers.SGD(0.1), shape=shape, **parts)


def loss_scaling() -> Parts:
    inner = keras.optimizers.Adam(1e-2)
    return dense(keras.optimizers.LossScaleOptimizer(inner, initial_scale=2.0**120, dynamic_growth_steps=4))


def mixed_precision() -> Parts:
    layer = Layers.Dense(5, activation="tanh", dtype="mixed_float16")
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(1e-2), dynamic_growth_steps=4)
    return of(sequential(layer, Layers.Activation("linear", dtype="float32")), optimizer)


def cosine_with_warmup() -> Parts:
    schedule = keras.optimizers.schedules.CosineDecay(0.0, 15, alpha=0.1, warmup_target=0.1, warmup_steps=5)
    return dense(keras.optimizers.Adam(schedule))


def exponential() -> Parts:
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 3, 0.5, staircase=True)
    return dense(keras.optimizers.SGD(schedule, momentum=0.9, gradient_accumulation_steps=2))


def adversarial() -> Parts:
    """Two networks with an optimizer each, and noise from Keras' own global stream."""
    maker = keras.Sequential([keras.Input([2]), Layers.Dense(6)])
    judge = keras.Sequential(
        [keras.Input([6]), Layers.Dense(4, activation="relu"), Layers.Dropout(0.2), Layers.Dense(1)]
    )
    optimizers = {"maker": keras.optimizers.Adam(1e-2), "judge": keras.optimizers.RMSprop(1e-2)}
    loss = keras.losses.BinaryCrossentropy(from_logits=True)

    def step(batch: tuple) -> Values:
        x, _ = batch
        ones = tf.ones([tf.shape(x)[0], 1])
        with tf.GradientTape(persistent=True) as tape:
            made = maker(keras.random.normal([tf.shape(x)[0], 2]))
            said = judge(made, training=True)
            judged = loss(ones, judge(x, training=True)) + loss(0 * ones, said)
            fooled = loss(ones, said)
        for network, value, name in ((judge, judged, "judge"), (maker, fooled, "maker")):
            variables = network.trainable_variables
            optimizers[name].apply(tape.gradient(value, variables), variables)
        return {"judged": judged, "fooled": fooled}

    def eval_step(batch: tuple) -> Values:
        return {"loss": tf.reduce_mean(judge(batch[0]))}

    return Parts(step, eval_step, {"networks": [maker, judge], "optimizers": optimizers})


def augmentation() -> Parts:
    augmented = [
        Layers.RandomFlip(),
        Layers.RandomRotation(0.1),
        Layers.RandomTranslation(0.1, 0.1),
        Layers.RandomZoom(0.1),
        Layers.RandomContrast(0.2),
    ]
    rest = [Layers.Conv2D(2, 3, activation="relu"), Layers.GlobalAveragePooling2D()]
    return layered(*augmented, *rest, shape=(6, 6, 1))


def noise() -> Parts:
    return layered(Layers.GaussianNoise(0.1), Layers.GaussianDropout(0.2), Layers.AlphaDropout(0.2))


def attention() -> Parts:
    inputs = keras.Input([4, 3])
    x = Layers.MultiHeadAttention(2, 3, dropout=0.3)(inputs, inputs)
    model = keras.Model(inputs, Layers.Dense(3)(Layers.Flatten()(Layers.LayerNormalization()(x))))
    return of(model, keras.optimizers.Adam(1e-2), shape=(4, 3))


def stateful_lstm() -> Parts:
    """A state that is carried from batch to batch, and by an evaluation too."""
    layers = [keras.Input(batch_shape=[BATCH, 4, 3]), Layers.LSTM(3, stateful=True), Layers.Dense(3)]
    return of(keras.Sequential(layers), keras.optimizers.SGD(0.1), shape=(4, 3), rows=56)


def metrics() -> Parts:
    kinds = keras.metrics
    several = [kinds.SparseCategoricalAccuracy(), kinds.SparseCategoricalCrossentropy(from_logits=True)]
    several += [kinds.SparseTopKCategoricalAccuracy(2)]
    several += [kinds.MeanMetricWrapper(keras.losses.sparse_categorical_crossentropy, name="of_logits")]
    return of(sequential(Layers.Dense(5, activation="tanh")), keras.optimizers.SGD(0.1), several)


class Drawing(NamedTuple):
    """A step that adds to the input what `draw` returns for its shape, and the state that `draw` has.

    So does its evaluation, unless it has to have something of its own for that.
    """

    draw: Callable[[tf.Tensor], tf.Tensor]
    state: Mapping[str, object] = {}
    evaluates: bool = True


def drawing(make: Callable[[tf.Variable], Drawing]) -> Callable[[], Parts]:
    def parts() -> Parts:
        model, optimizer = sequential(Layers.Dense(4, activation="tanh")), keras.optimizers.SGD(0.1)
        loss, count = cross_entropy(), tf.Variable(0, dtype=tf.int64)
        draw, state, evaluates = make(count)

        def step(batch: tuple) -> Values:
            x, y = batch
            drawn = draw(tf.shape(x))
            with tf.GradientTape() as tape:
                value = loss(y, model(x + drawn, training=True))
            optimizer.apply(tape.gradient(value, model.trainable_variables), model.trainable_variables)
            count.assign_add(1)
            return {"loss": value, "drawn": tf.reduce_sum(drawn)}

        def eval_step(batch: tuple) -> Values:
            x = batch[0] + 0.1 * draw(tf.shape(batch[0])) if evaluates else batch[0]
            return {"loss": loss(batch[1], model(x, training=False))}

        return Parts(step, eval_step, {"model": model, "optimizer": optimizer, "count": count, **state})

    return parts


def own_generator(count: tf.Variable) -> Drawing:
    generator = tf.random.Generator.from_seed(3)
    return Drawing(generator.normal, {"generator": generator})


def own_seed_generator(count: tf.Variable) -> Drawing:
    seeds = keras.random.SeedGenerator(3)
    return Drawing(lambda shape: keras.random.normal(shape, seed=seeds), {"seeds": seeds})


def metric(count: tf.Variable) -> Drawing:
    """A mean over the whole run, that the loop does not know as a metric."""
    mean = keras.metrics.Mean()

    def draw(shape: tf.Tensor) -> tf.Tensor:
        mean.update_state(tf.cast(count, tf.float32) / 9)
        return tf.fill(shape, mean.result())

    return Drawing(draw, {"mean": mean})


def global_generator(count: tf.Variable) -> Drawing:
    tf.random.set_global_generator(tf.random.Generator.from_seed(3))
    return Drawing(lambda shape: tf.random.get_global_generator().normal(shape))


def table(count: tf.Variable) -> Drawing:
    """What was seen earlier decides: each key is put in, and looked up some steps later."""
    seen = tf.lookup.experimental.MutableHashTable(tf.int64, tf.float32, default_value=-0.5)

    def draw(shape: tf.Tensor) -> tf.Tensor:
        seen.insert(count % 5, tf.cast(count, tf.float32) / 10 + seen.lookup(count % 3))
        return tf.fill(shape, seen.lookup((count * 3) % 7))

    return Drawing(draw, {"table": seen})


def second_source(count: tf.Variable) -> Drawing:
    noises = tf.data.Dataset.range(30).shuffle(9, seed=5).map(lambda i: tf.cast(i, tf.float32) / 30).repeat()
    iterator = iter(noises)
    return Drawing(lambda shape: tf.fill(shape, next(iterator)), {"noises": iterator}, evaluates=False)


def module() -> Parts:
    """No Keras at all, but variables in lists and dicts."""
    random = np.random.default_rng(2)

    class Network(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weights = [tf.Variable(random.normal(size=size), dtype=tf.float32) for size in ([6, 4], [4, 3])]
            self.more = {"bias": tf.Variable(tf.zeros([4])), "deeper": {"bias": tf.Variable(tf.zeros([3]))}}
            self.velocity = [tf.Variable(tf.zeros_like(v), trainable=False) for v in self.trainable_variables]

        def __call__(self, x: tf.Tensor) -> tf.Tensor:
            hidden = tf.tanh(x @ self.weights[0] + self.more["bias"])
            return hidden @ self.weights[1] + self.more["deeper"]["bias"]

    network, loss = Network(), cross_entropy()

    def step(batch: tuple) -> Values:
        with tf.GradientTape() as tape:
            value = loss(batch[1], network(batch[0]))
        variables = network.trainable_variables
        for variable, velocity, gradient in zip(
            variables, network.velocity, tape.gradient(value, variables), strict=True
        ):
            variable.assign_sub(0.1 * velocity.assign(0.9 * velocity + gradient))
        return {"loss": value}

    return Parts(step, lambda batch: {"loss": loss(batch[1], network(batch[0]))}, {"network": network})


class Blocks(keras.Model):
    """Layers in lists and dicts, which TensorFlow does not save, that are built when it is first called."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = [[Layers.Dense(4), Layers.BatchNormalization()], [Layers.Dense(4), Layers.BatchNormalization()]]
        self.named = {"dropout": Layers.Dropout(0.3), "deeper": {"out": Layers.Dense(3)}}

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        for project, normalise in self.blocks:
            x = normalise(project(x), training=training)
        return self.named["deeper"]["out"](self.named["dropout"](x, training=training))


class Mixing(keras.Layer):
    """A layer with a stream and a counter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.seeds = keras.random.SeedGenerator(4)
        self.calls = tf.Variable(0.0, trainable=False)

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        if not training:
            return x
        self.calls.assign_add(1.0)
        return x * keras.random.uniform([1, 6], seed=self.seeds) + 0.01 * self.calls


def window() -> Parts:
    """Gradients of four batches at once, of which an epoch has seven."""
    model, optimizer = sequential(Layers.Dense(5, activation="tanh")), keras.optimizers.Adam(1e-2)
    steps = supervised(model, optimizer, cross_entropy(), metrics=["accuracy"], accumulate=4, clip_norm=0.1)
    return Parts(*steps, {"model": model, "optimizer": optimizer})


def compiled() -> Parts:
    """A compiled model with its metrics, and an optimizer that scales."""
    model = sequential(Layers.Dense(5, activation="tanh"), Layers.Dropout(0.3))
    optimizer = keras.optimizers.LossScaleOptimizer(KINDS.Adam(1e-2), dynamic_growth_steps=4)
    model.compile(optimizer, cross_entropy(), metrics=["accuracy"], weighted_metrics=["accuracy"])
    return Parts(*keras_steps(model), {"model": model})


class Judged(keras.Model):
    """Two networks with an optimizer each, which are attributes, as are the metrics of its own step."""

    def __init__(self) -> None:
        super().__init__()
        self.maker = keras.Sequential([keras.Input([2]), Layers.Dense(6)])
        self.judge = keras.Sequential([keras.Input([6]), Layers.Dropout(0.2), Layers.Dense(1)])
        self.seeds = keras.random.SeedGenerator(3)

    def compile(self, judging: keras.optimizers.Optimizer, making: keras.optimizers.Optimizer) -> None:
        super().compile()
        self.judging, self.making = judging, making
        self.judged, self.fooled = keras.metrics.Mean(name="judged"), keras.metrics.Mean(name="fooled")

    def train_step(self, batch: tuple) -> Values:
        with tf.GradientTape(persistent=True) as tape:
            made = self.judge(self.maker(keras.random.normal([8, 2], seed=self.seeds)), training=True)
            judged = tf.reduce_mean(self.judge(batch[0], training=True) ** 2) + tf.reduce_mean((made - 1) ** 2)
            fooled = tf.reduce_mean(made**2)
        for of, optimizer, value in ((self.judge, self.judging, judged), (self.maker, self.making, fooled)):
            weights = of.trainable_weights
            optimizer.apply_gradients(zip(tape.gradient(value, weights), weights, strict=True))
        self.fooled.update_state(fooled)
        return self.test_step(batch) | {"fooled": self.fooled.result()}

    def test_step(self, batch: tuple) -> Values:
        self.judged.update_state(self.judge(batch[0]))
        return {"judged": self.judged.result()}


def compiled_twice() -> Parts:
    model = Judged()
    model.compile(KINDS.RMSprop(1e-2), KINDS.SGD(0.1, momentum=0.9))
    return Parts(*keras_steps(model), {"model": model})


class AfterEpochs(Hook):
    """Calls a function after each epoch."""

    def __init__(self, function: Callable[[], object]) -> None:
        super().__init__()
        self._function = function

    def on_epoch_end(self, moment: Moment) -> None:
        self._function()


def changed_by_a_hook() -> Parts:
    """A learning rate, and a number that the step reads, are halved after each epoch."""
    factor = tf.Variable(1.0, name="factor")
    parts = drawing(lambda count: Drawing(lambda shape: tf.fill(shape, factor), {"factor": factor}))()
    numbers = (factor, parts.state["optimizer"].learning_rate)
    return parts._replace(hooks=[AfterEpochs(lambda: [number.assign(number / 2) for number in numbers])])


KINDS = keras.optimizers
MODELS: dict[str, Callable[[], Parts]] = {
    "sgd": lambda: dense(KINDS.SGD(0.1)),
    "momentum": lambda: dense(KINDS.SGD(0.1, momentum=0.9, nesterov=True)),
    "accumulation": lambda: dense(KINDS.Adam(1e-2, gradient_accumulation_steps=3)),
    "ema": lambda: dense(KINDS.SGD(0.1, use_ema=True, ema_momentum=0.8)),
    "ema that overwrites": lambda: dense(KINDS.Adam(1e-2, use_ema=True, ema_momentum=0.8, ema_overwrite_frequency=4)),
    "loss scaling": loss_scaling,
    "mixed precision": mixed_precision,
    "cosine with warmup": cosine_with_warmup,
    "exponential decay": exponential,
    "adamw": lambda: dense(KINDS.AdamW(1e-2, weight_decay=0.01, global_clipnorm=0.5)),
    "nadam": lambda: dense(KINDS.Nadam(1e-2)),
    "lion": lambda: dense(KINDS.Lion(1e-2)),
    "adafactor": lambda: dense(KINDS.Adafactor(1e-2)),
    "two optimizers": adversarial,
    "batch normalisation": lambda: layered(Layers.Dense(4), Layers.BatchNormalization(momentum=0.8)),
    "dropout": lambda: layered(Layers.Dropout(0.4)),
    "dropout with a seed": lambda: layered(Layers.Dropout(0.4, seed=9), Layers.Dropout(0.2, seed=9)),
    "noise": noise,
    "augmentation": augmentation,
    "lstm": lambda: layered(Layers.LSTM(3, dropout=0.3, recurrent_dropout=0.3), shape=(4, 3)),
    "stateful lstm": stateful_lstm,
    "attention": attention,
    "spectral normalisation": lambda: layered(Layers.SpectralNormalization(Layers.Dense(4))),
    "metrics": metrics,
    "keras.random": drawing(lambda count: Drawing(keras.random.normal)),
    "seed generator": drawing(own_seed_generator),
    "generator": drawing(own_generator),
    "metric": drawing(metric),
    "global generator": drawing(global_generator),
    "stateless": drawing(lambda count: Drawing(lambda s: tf.random.stateless_normal(s, tf.stack([1, count])))),
    "table": drawing(table),
    "second source": drawing(second_source),
    "module": module,
    "lists and dicts": lambda: of(Blocks(), KINDS.Adam(1e-2)),
    "layer with a stream": lambda: layered(Mixing()),
    "built late": lambda: of(
        keras.Sequential([Layers.Dense(4), Layers.Dropout(0.2), Layers.Dense(3)]), KINDS.Adam(1e-2)
    ),
    "changed by a hook": changed_by_a_hook,
    "a window of batches": window,
    "compiled": compiled,
    "compiled with two optimizers": compiled_twice,
}
