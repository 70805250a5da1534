"""What a checkpoint keeps of a step: the same in every process for the same program, and another one for another."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import keras
import models
import numpy as np
import pytest
import tensorflow as tf
from places import environment
from tensorflow.python.framework.function import Defun  # what tf.nn.ctc_loss is made of

from loop import ArrayData, Loop, Step, StreamData, supervised
from loop.engine.traced.trace import Trace
from loop.state.training_state import TrainingState
from loop.steps import as_step

Tensor, Layers, KINDS = tf.Tensor, keras.layers, keras.optimizers
WRITERS: list[tf.summary.SummaryWriter] = []
TABLES: list[tf.lookup.StaticHashTable] = []  # which nobody else keeps


def found(
    step: Step | Callable[..., dict[str, Tensor]], state: Mapping[str, object], spec: object
) -> dict[str, object]:
    """Returns the fingerprint of a step for which everything that it uses is in the state."""
    trace = Trace(as_step(step), spec)
    held = {id(variable.handle): path for path, variable in TrainingState(state).variables.items()}
    return trace.fingerprint(held, ())


class Network(NamedTuple):
    """A network to be trained by supervised learning, and the shape of an example."""

    layers: Callable[[], list[keras.Layer]]
    shape: tuple[int, ...] = (6,)
    optimizer: Callable[[], keras.optimizers.Optimizer] = keras.optimizers.SGD
    loss: Callable[[], keras.losses.Loss] = keras.losses.MeanSquaredError


def of_network(network: Network) -> dict[str, object]:
    model, optimizer = keras.Sequential([keras.Input(network.shape), *network.layers()]), network.optimizer()
    step, _ = supervised(model, optimizer, network.loss())
    ctc = network.loss is keras.losses.CTC
    y = tf.TensorSpec([8, 2], tf.int32) if ctc else tf.TensorSpec([8, *model.output_shape[1:]])
    return found(step, {"model": model, "optimizer": optimizer}, (tf.TensorSpec([8, *network.shape]), y))


class Checked(keras.Layer):
    """Asserts, prints and writes a summary, all of which tell the name of the layer."""

    def call(self, x: Tensor) -> Tensor:
        tf.debugging.assert_greater(tf.reduce_sum(tf.square(x)), -1.0)
        tf.print(self.name, x)
        if not WRITERS:
            WRITERS.append(tf.summary.create_file_writer(tempfile.mkdtemp()))
        with WRITERS[0].as_default(step=tf.constant(1, tf.int64)):
            tf.summary.scalar("mean", tf.reduce_mean(x))
            tf.summary.histogram("all", x)
        return tf.debugging.check_numerics(x, self.name)


@tf.custom_gradient
def clipped(x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    return tf.identity(x), lambda upstream: tf.clip_by_value(upstream, -0.1, 0.1)


def trained(loss: Callable[[list[tf.Variable], Tensor], Tensor], *, second: bool = False) -> dict[str, object]:
    """Returns the fingerprint of gradient descent over three variables of shape `[4]`."""
    variables = [tf.Variable(tf.ones([4]), name=name) for name in "abc"]

    def step(x: Tensor) -> dict[str, Tensor]:
        with tf.GradientTape() as outer:
            with tf.GradientTape() as tape:
                value = loss(variables, x)
            if second:
                value += sum(tf.reduce_sum(g**2) for g in tape.gradient(value, variables) if g is not None)
        for variable, gradient in zip(variables, outer.gradient(value, variables), strict=True):
            if gradient is not None:
                variable.assign_sub(0.1 * gradient)
        return {"loss": value}

    return found(step, {"variables": variables}, tf.TensorSpec([8, 4]))


def looping(v: list[tf.Variable], x: Tensor) -> Tensor:
    """Loops, branches within them, and a loop within a loop."""
    p, q, total = v[0] * 1.0, v[1] * 1.0, tf.zeros([4])
    for i in tf.range(3):
        p = p * tf.sin(q) + v[2] * x[i] if x[i, 0] > 0.0 else p - tf.exp(q) * v[0]
        for j in tf.range(2):
            total = total + p * q * x[j]
        q = tf.tanh(q + p * v[1])
    return tf.reduce_sum(p * q + total)


def alike(v: list[tf.Variable], x: Tensor) -> Tensor:
    """Variables of a loop that begin alike, and are told apart only after several rounds."""
    a = b = c = d = e = tf.zeros([4])
    for i in tf.range(5):
        a, b, c, d, e = a + v[0] * x[i], b + a, c + b, d * 0.5 + c, e + tf.sin(d)
    return tf.reduce_sum(a * 2.0 + b - c + d * e)


def vectorized(v: list[tf.Variable], x: Tensor) -> Tensor:
    return tf.reduce_sum(tf.vectorized_map(lambda row: tf.linalg.tensordot(row, v[0], 1) ** 2, x)) + tf.reduce_sum(v[1])


def mapped(v: list[tf.Variable], x: Tensor) -> Tensor:
    return tf.reduce_sum(tf.map_fn(lambda row: tf.sin(row * v[0]) * v[1] + tf.cos(v[2]), x))


def scanned(v: list[tf.Variable], x: Tensor) -> Tensor:
    return tf.reduce_sum(tf.scan(lambda a, row: a * v[0] + row * v[1], x, initializer=v[2] * 1.0))


def cased(v: list[tf.Variable], x: Tensor) -> Tensor:
    chosen = tf.cast(x[0, 0] > 0.0, tf.int32)
    return tf.reduce_sum(tf.switch_case(chosen, [lambda: v[0] * v[1], lambda: tf.sin(v[2]), lambda: v[0] / v[1]]))


def recomputed(v: list[tf.Variable], x: Tensor) -> Tensor:
    @tf.recompute_grad
    def part(x: Tensor) -> Tensor:
        return tf.tanh(x * v[0] + v[1]) * v[2]

    return tf.reduce_sum(part(x)) + tf.reduce_sum(part(2.0 * x))


def with_variables(v: list[tf.Variable], x: Tensor) -> Tensor:
    @tf.custom_gradient
    def part(x: Tensor) -> tuple[Tensor, Callable]:
        def grad(upstream: Tensor, variables: list[tf.Variable]) -> tuple[Tensor, list[Tensor]]:
            return upstream, [0.5 * tf.reduce_sum(upstream) * (v * 1.0) for v in variables]

        return x * v[0] + v[1] - v[2], grad

    return tf.reduce_sum(part(x))


def compiled(v: list[tf.Variable], x: Tensor) -> Tensor:
    joined = tf.function(lambda p, q: tf.sin(p) * q + v[2], jit_compile=True)
    return tf.reduce_sum(joined(v[0] * x, v[1] * 1.0))


def nested(v: list[tf.Variable], x: Tensor) -> Tensor:
    @tf.function
    def inner(p: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
        v[2].assign_add(p[0])
        return tf.sin(p) - v[1], tf.cos(q) * v[0]

    s, c = inner(x, v[0] * x)
    s, c = inner(s - c, c)
    return tf.reduce_sum(s - c)


def effects(v: list[tf.Variable], x: Tensor) -> Tensor:
    before = v[0] * 2.0
    v[0].assign_add(x[0])
    for i in tf.range(3):
        if x[i, 1] > 0.0:
            v[1].assign_sub(v[0] * 0.1)
        else:
            tf.print("none in", i)
    tf.debugging.assert_all_finite(v[1], "of v")
    return tf.reduce_sum(before * v[0] - v[1])


def of_ctc(v: list[tf.Variable], x: Tensor) -> Tensor:
    logits = tf.reshape(x, [4, 4, 2]) * v[0][:2]
    lengths = tf.constant([4, 4, 4, 4])
    labels = tf.ones([4, 2], tf.int32)
    return tf.reduce_sum(tf.nn.ctc_loss(labels, logits, lengths - 2, lengths, logits_time_major=False, blank_index=0))


def in_datasets(v: list[tf.Variable], x: Tensor) -> Tensor:
    rows = tf.data.Dataset.from_tensor_slices(x).map(lambda row: row * 2.0).filter(lambda row: row[0] > -9.0)
    return tf.reduce_sum(v[0] * rows.reduce(tf.zeros([4]), lambda total, row: total + row))


def of_table(v: list[tf.Variable], x: Tensor) -> Tensor:
    return tf.reduce_sum(v[0] * looked_up({f"key {i}": float(i) for i in range(100)}, tf.constant(["key 3"])))


def looked_up(values: Mapping[object, float], keys: Tensor) -> Tensor:
    with tf.init_scope():
        table = tf.lookup.KeyValueTensorInitializer(np.array([*values]), np.array([*values.values()], np.float32))
        TABLES.append(tf.lookup.StaticHashTable(table, 0.0))
    return TABLES[-1].lookup(keys)


def of_pipeline() -> dict[str, object]:
    table = tf.lookup.KeyValueTensorInitializer(np.arange(50), np.arange(50.0, dtype=np.float32))
    weights = tf.lookup.StaticHashTable(table, 0.0)
    rows = tf.data.Dataset.range(20).map(lambda i: weights.lookup(i) * 0.5).shuffle(20, seed=1).batch(5)
    total = tf.Variable(0.0)
    return of_loop(lambda x: {"total": total.assign_add(tf.reduce_sum(x))}, {"total": total}, StreamData(rows))


def of_loop(
    step: Callable[[Tensor], dict[str, Tensor]], state: Mapping[str, object], data: ArrayData | StreamData | None = None
) -> dict[str, object]:
    """Returns all that a checkpoint keeps to tell a run from another one."""
    loop = Loop(step, data or ArrayData(tf.ones([10, 4]), batch_size=5), state=state)
    loop.audit()
    return {part: loop.state.describe()[part] for part in ("steps", "data", "variables")}


def of_model(make: Callable[[], models.Parts]) -> dict[str, object]:
    loop = models.make_loop(make)
    loop.audit()
    return loop.state.describe()


def over(loss: Callable[[list[tf.Variable], Tensor], Tensor]) -> Callable[[], dict[str, object]]:
    return lambda: trained(loss)


def with_optimizer(kind: Callable[[], keras.optimizers.Optimizer]) -> Callable[[], dict[str, object]]:
    return lambda: of_network(Network(lambda: [Layers.Dense(3)], optimizer=kind))


def with_layers(*layers: Callable[[], keras.Layer], shape: tuple[int, ...] = (4, 3)) -> Callable[[], dict[str, object]]:
    return lambda: of_network(Network(lambda: [layer() for layer in layers], shape))


FEW: dict[str, Callable[[], dict[str, object]]] = {
    "lstm": with_layers(lambda: Layers.LSTM(3, dropout=0.1, recurrent_dropout=0.1)),
    "ctc": lambda: of_network(Network(lambda: [Layers.Dense(5)], (6, 4), loss=keras.losses.CTC)),
    "assert, print, summary": with_layers(Checked, lambda: Layers.Dense(2)),
    "muon": with_optimizer(KINDS.Muon),
    "rmsprop": with_optimizer(lambda: KINDS.RMSprop(momentum=0.9, centered=True)),
    "branches in loops": over(looping),
    "a loop that begins with equal numbers": over(alike),
    "vectorized": over(vectorized),
    "scan": over(scanned),
    "cases": over(cased),
    "recomputed": over(recomputed),
    "custom gradient with variables": over(with_variables),
    "compiled by XLA": over(compiled),
    "nested functions": over(nested),
    "effects": over(effects),
    "table": over(of_table),
    "second order of a loop": lambda: trained(scanned, second=True),
    "pipeline": of_pipeline,
    "exponential decay": lambda: of_model(models.MODELS["exponential decay"]),
}
MANY: dict[str, Callable[[], dict[str, object]]] = FEW | {
    "gru": with_layers(lambda: Layers.GRU(3, return_sequences=True), lambda: Layers.GRU(2)),
    "rnn": with_layers(lambda: Layers.SimpleRNN(3), lambda: Layers.Dense(2)),
    "masked": with_layers(Layers.Masking, lambda: Layers.Bidirectional(Layers.LSTM(3))),
    "unrolled": with_layers(lambda: Layers.LSTM(3, unroll=True)),
    "convolved lstm": with_layers(lambda: Layers.ConvLSTM1D(2, 2), Layers.Flatten, shape=(3, 4, 2)),
    "cells": with_layers(lambda: Layers.RNN([Layers.LSTMCell(3), Layers.GRUCell(2), Layers.LSTMCell(3)])),
    "adamax": with_optimizer(KINDS.Adamax),
    "adagrad": with_optimizer(KINDS.Adagrad),
    "adadelta": with_optimizer(KINDS.Adadelta),
    "ftrl": with_optimizer(KINDS.Ftrl),
    "lamb": with_optimizer(KINDS.Lamb),
    "amsgrad": with_optimizer(lambda: KINDS.Adam(amsgrad=True, clipnorm=1.0)),
    "mapped": over(mapped),
    "ctc of TensorFlow": over(of_ctc),
    "datasets": over(in_datasets),
    "custom gradient": over(lambda v, x: tf.reduce_sum(clipped(v[0] * x) * clipped(v[1]))),
    "second order": lambda: trained(lambda v, x: tf.reduce_sum(tf.sin(v[0] * x) * v[1] ** 3 / v[2]), second=True),
    "second order of branches in loops": lambda: trained(looping, second=True),
    **{name: lambda name=name: of_model(models.MODELS[name]) for name in models.MODELS},
}


@pytest.mark.more
@pytest.mark.parametrize("which", ["few", pytest.param("many", marks=pytest.mark.long)])
def test_the_same_program_has_the_same_fingerprint_in_every_process(which: str) -> None:
    started = [
        subprocess.Popen(
            [sys.executable, __file__, which, before],
            env=environment(PYTHONHASHSEED=before),
            stdout=subprocess.PIPE,
        )
        for before in ("01" if which == "few" else "012")
    ]
    found = [json.loads(process.communicate()[0]) for process in started]
    for name in found[0]:
        assert len({json.dumps(each[name]) for each in found}) == 1, name
    assert [*found[0]] == [*(FEW if which == "few" else MANY)]
    assert len({json.dumps(each) for each in found[0].values()}) == len(found[0])


def turned(edited: bool, *pair: object) -> Sequence:
    return pair[::-1] if edited else pair


Edit = Callable[[tf.Variable, tf.Variable, Tensor, bool], Tensor]
EDITS: list[Edit] = []  # of a step over two variables of shape `[4]` and a batch of shape `[5, 4]`
NO_EDITS: list[Edit] = []  # what changes no number


def edit(step: Edit) -> Edit:
    EDITS.append(step)
    return step


def no_edit(step: Edit) -> Edit:
    NO_EDITS.append(step)
    return step


@edit
def branches_of_a_condition(a: tf.Variable, b: tf.Variable, x: Tensor, edited: bool) -> Tensor:
    yes, no = turned(edited, lambda: x[0] * 0.1, lambda: x[0] * 0.3)
    return tf.cond(x[0, 0] > 0.0, yes, no)


@edit
def branches_of_a_case(a: tf.Variable, b: tf.Variable, x: Tensor, edited: bool) -> Tensor:
    return tf.switch_case(tf.cast(x[0, 0], tf.int32), [*turned(edited, lambda: tf.sin(x[0]), lambda: x[0] * 0.3)])


@edit
def effects_of_branches(a: tf.Variable, b: tf.Variable, x: Tensor, edited: bool) -> Tensor:
    one, other = turned(edited, a, b)
    return tf.cond(x[0, 0] > 0.0, lambda: one.assign_add(x[0])[0], lambda: other.assign_add(x[0])[0])


@edit
def arguments_of_a_function(a: tf.Variable, b: tf.Variable, x: Tensor, edited: bool) -> Tensor:
    return tf.function(lambda p, q: p - q)(*turned(edited, x[0], tf.abs(x[1])))


@edit
def results_of_a_function(a: tf.Variable, b: tf.Variable, x: Tensor, edited: bool) -> Tensor:
    p, q = turned(edited, *tf.function(lambda p: (tf.sin(p), tf.cos(p)))(x[0]))
    return p - q


@edit
def how_a_loop_begins(a: tf.Variable, b: tf.Variable, x: Tensor, edited: bool) -> Tensor:
    p, q = turned(edited, x[0], tf.abs(x[1]))
    for _ in tf.range(3):
        p = p - 0.5 * q
    return p


@edit
def how_another_variable_of_a_loop_goes_on(a: tf.Variable, b: tf.Variable, x: Tensor, edited: bool) -> Tensor:
    one, other = turned(edited, tf.sin, tf.cos)
    p, q = x[0], x[1]
    for _ in tf.range(3):
        p, q = p + q, one(q) - other(q)
    return p


@edit
def what_a_loop_returns(a: tf.Variable, b: tf.Variable, x: Tensor, edited: bool) -> Tensor:
    p = q = r = tf.zeros([4])
    for i in tf.range(5):
        p, q, r = p + x[i], q + p, r + q
    one, other = turned(edited, q, r)
    return one - other


@edit
def how_long_a_loop_goes_on(a: tf.Variable, b: tf.Variable, x: Tensor, edited: bool) -> Tensor:
    return tf.while_loop(lambda p: tf.reduce_sum(p) < (5.0 if edited else 4.0), lambda p: [p + x[0]], [x[1]])[0]


@edit
def coefficients(a: tf.Variable, b: tf.Variable, x: Tensor, edited: bool) -> Tensor:
    one, other = turned(edited, 0.3, 0.7)
    return tf.abs(one * x[0]) + tf.square(other * x[0])


@edit
def variables(a: tf.Variable, b: tf.Variable, x: Tensor, edited: bool) -> Tensor:
    one, other = turned(edited, a, b)
    return (one - other) * x[0]


@edit
def variable_assigned(a: tf.Variable, b: tf.Variable, x: Tensor, edited: bool) -> Tensor:
    one, other = turned(edited, a, b)
    return one.assign_add(other * x[0])


@edit
def read_before_or_after(a: tf.Variable, b: tf.Variable, x: Tensor, edited: bool) -> Tensor:
    read: list[Tensor] = []
    for act in turned(edited, lambda: read.append(a * 2.0), lambda: a.assign_add(x[0])):
        act()
    return b.assign_add(read[0])


@edit
def read_before_or_after_in_a_function(a: tf.Variable, b: tf.Variable, x: Tensor, edited: bool) -> Tensor:
    read: list[Tensor] = []
    for act in turned(edited, lambda: read.append(tf.function(lambda: a * 2.0)()), lambda: a.assign_add(x[0])):
        act()
    return read[0]


@edit
def order_of_updates(a: tf.Variable, b: tf.Variable, x: Tensor, edited: bool) -> Tensor:
    for value in turned(edited, x[0], x[1]):
        a.assign(value)
    return x[0]


@edit
def gradient_of_ones_own(a: tf.Variable, b: tf.Variable, x: Tensor, edited: bool) -> Tensor:
    scale = 0.5 if edited else 0.25
    return tf.gradients(tf.custom_gradient(lambda p: (p * 1.0, lambda upstream: scale * upstream))(x), x)[0]


@edit
def function_of_a_dataset(a: tf.Variable, b: tf.Variable, x: Tensor, edited: bool) -> Tensor:
    rows = tf.data.Dataset.from_tensor_slices(x).map(lambda row: row * (2.0 if edited else 3.0))
    return rows.reduce(tf.zeros([4]), lambda total, row: total + row)


@edit
def compilation(a: tf.Variable, b: tf.Variable, x: Tensor, edited: bool) -> Tensor:
    return tf.function(lambda p: tf.exp(p) / 3.0, jit_compile=True if edited else None)(x)


@no_edit
def order_of_the_variables_of_a_loop(a: tf.Variable, b: tf.Variable, x: Tensor, edited: bool) -> Tensor:
    """Three that begin alike, and what the loop only reads; with branches in it, and a gradient."""
    order = [2, 0, 1] if edited else [0, 1, 2]

    def body(*carried: Tensor) -> list[Tensor]:
        p, q, r = (carried[order.index(i)] for i in range(3))
        now = [p + a * x[0], tf.cond(p[0] > 0.0, lambda: q * p + b, lambda: q - tf.sin(r)), r + tf.tanh(q)]
        return [now[i] for i in order]

    start = a * 0.5
    with tf.GradientTape() as tape:
        done = tf.while_loop(lambda *carried: carried[order.index(2)][0] < 9.0, body, [start] * 3, maximum_iterations=4)
        value = tf.reduce_sum(done[order.index(1)] * 2.0 - done[order.index(2)])
    for variable, gradient in zip((a, b), tape.gradient(value, (a, b)), strict=True):
        variable.assign_sub(gradient)
    return value


@no_edit
def order_of_what_is_independent(a: tf.Variable, b: tf.Variable, x: Tensor, edited: bool) -> Tensor:
    for act in turned(edited, lambda: a.assign_add(x[0]), lambda: b.assign_sub(x[1])):
        act()
    return a + b


@no_edit
def order_of_what_a_function_is_given(a: tf.Variable, b: tf.Variable, x: Tensor, edited: bool) -> Tensor:
    @tf.function
    def inner(p: Tensor, q: Tensor) -> tuple[Tensor, ...]:
        minuend, subtrahend = turned(edited, p, q)
        return turned(edited, minuend - subtrahend, tf.sin(minuend))

    return tf.tensordot(*turned(edited, *inner(*turned(edited, x[0], a * x[1]))), 1)


@no_edit
def names_and_what_is_said(a: tf.Variable, b: tf.Variable, x: Tensor, edited: bool) -> Tensor:
    with tf.name_scope("later" if edited else "earlier"):
        tf.debugging.assert_greater(x, -9.0, message="later" if edited else "earlier")
        tf.print("later" if edited else "earlier", x)
        return tf.debugging.check_numerics(x * a, "later" if edited else "earlier")


def edited_step(step: Edit, edited: bool) -> dict[str, object]:
    a, b = (tf.Variable(tf.ones([4]), name=name) for name in "ab")
    state = {"a": a, "b": b}
    return found(lambda x: {"sum": tf.reduce_sum(step(a, b, x, edited))}, state, tf.TensorSpec([5, 4]))


@pytest.mark.parametrize("step", EDITS)
def test_an_edit_that_changes_the_numbers_changes_the_fingerprint(step: Edit) -> None:
    before, after = (edited_step(step, edited) for edited in (False, True))
    assert before["constants"] != after["constants"]
    assert edited_step(step, False) == before


@pytest.mark.parametrize("step", NO_EDITS)
def test_what_changes_no_number_does_not_change_the_fingerprint(step: Edit) -> None:
    assert edited_step(step, False) == edited_step(step, True)


def test_only_the_values_of_constants_are_told_apart_from_how_operations_hang_together() -> None:
    for step, structure in ((coefficients, False), (branches_of_a_condition, False), (variables, True)):
        before, after = (edited_step(step, edited) for edited in (False, True))
        assert (before["structure"] != after["structure"]) == structure


def momenta(edited: bool) -> dict[str, object]:
    ones = [tf.Variable(tf.ones([4, 1])) for _ in range(2)]
    optimizers = [KINDS.SGD(0.1, momentum=momentum) for momentum in turned(edited, 0.9, 0.5)]

    def step(x: Tensor) -> dict[str, Tensor]:
        with tf.GradientTape() as tape:
            loss = sum(tf.reduce_mean(tf.square(x @ one - 1.0)) for one in ones)
        for optimizer, one, gradient in zip(optimizers, ones, tape.gradient(loss, ones), strict=True):
            optimizer.apply([gradient], [one])
        return {"loss": loss}

    return of_loop(step, {"ones": ones, "optimizers": optimizers})


def table(edited: bool, *, held: bool = False, words: bool = False) -> dict[str, object]:
    keys = np.array(["one", "two"]) if words else np.arange(2)
    values = np.array([5.0 if edited else 1.0, 2.0], np.float32)
    weights = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, values), 0.0)
    total, key = tf.Variable(0.0), tf.constant("one" if words else 0, None if words else tf.int64)
    state = {"total": total} | ({"weights": weights} if held else {})
    return of_loop(lambda x: {"total": total.assign_add(weights.lookup(key))}, state)


def teachers(edited: bool, *, one_weight: bool = False) -> dict[str, object]:
    """Two networks that are only read: exchanged, or one of them with another weight somewhere."""
    values = [np.full([40_000], value, np.float32) for value in (3.0, 7.0)]
    values[0][12_345] += edited and one_weight
    one, other = (tf.Variable(value) for value in turned(edited and not one_weight, *values))
    total = tf.Variable(0.0)

    def step(x: Tensor) -> dict[str, Tensor]:
        return {"total": total.assign_add(tf.reduce_sum(tf.sin(one) - tf.cos(other)))}

    return of_loop(step, {"total": total})


def logged(edited: bool) -> dict[str, object]:
    total = tf.Variable(0.0)
    names = turned(edited, "loss", "other")
    return of_loop(lambda x: dict(zip(names, (total.assign_add(x[0, 0]), x[0, 1]), strict=True)), {"total": total})


@pytest.mark.parametrize(
    "make",
    [
        momenta,
        table,
        lambda edited: table(edited, held=True),
        lambda edited: table(edited, words=True),
        teachers,
        lambda edited: teachers(edited, one_weight=True),
        logged,
    ],
    ids=["momenta", "table", "table in the state", "table of words", "teachers", "one weight of a teacher", "logged"],
)
def test_an_edit_of_what_a_step_has_from_outside_changes_the_fingerprint(
    make: Callable[[bool], dict[str, object]],
) -> None:
    before, after, again = make(False), make(True), make(False)
    assert before == again
    assert before["steps"] != after["steps"]


@pytest.mark.more
def test_functions_of_older_parts_of_tensorflow_are_looked_into() -> None:
    model, optimizer = keras.Sequential([keras.Input([6, 4]), Layers.Dense(5)]), KINDS.SGD(0.1)
    step, _ = supervised(model, optimizer, keras.losses.CTC())
    data = ArrayData((tf.ones([8, 6, 4]), tf.ones([8, 2], tf.int32)), batch_size=4)
    loop = Loop(step, data, state={"model": model, "optimizer": optimizer})
    assert loop.audit() == []
    assert loop.run(epochs=1).step == 2

    @Defun(tf.float32)
    def noisy(x: Tensor) -> Tensor:
        return x + tf.random.normal([], seed=1)

    total = tf.Variable(0.0)
    data = ArrayData(tf.ones([8]), batch_size=4)
    (finding,) = Loop(lambda x: {"total": total.assign_add(noisy(x[0]))}, data, state={"total": total}).audit()
    assert finding.what == "The train step draws from a stream that cannot be saved: RandomStandardNormal"


if __name__ == "__main__":
    which, before = sys.argv[1:]
    for _ in range(int(before)):  # so that names count up, functions have other numbers, and objects lie elsewhere
        trained(nested)
        with_layers(Checked, lambda: Layers.LSTM(2))()
    print(json.dumps({name: make() for name, make in (FEW if which == "few" else MANY).items()}))
