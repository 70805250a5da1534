"""The loop as one program of XLA: as exact as without, and what XLA cannot compile is named."""

import functools
import logging
import math
import shutil
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from models import EPOCHS, MODELS, Diary, bits
from models import make_loop as loop_of

from hooks import Checkpoint, LearningRate, NaNGuard, TensorBoard
from loop import ArrayData, At, Evaluation, Every, Hook, Loop, Moment, Step, Trigger
from loop.engine.ways.cut import SECONDS, Cut
from loop.engine.ways.program import Program

ROWS, BATCH, LENGTH = 11, 4, 3  # the last batch of an epoch has three rows
X = np.random.default_rng(1).normal(size=[ROWS, 2]).astype(np.float32)


def make_loop(hooks: Sequence[Hook] = (), *, jit_compile: bool = True, evaluate: bool = True, rows: int = ROWS) -> Loop:
    """Returns a loop over two numbers, with dropout and a metric, and batches of two sizes."""
    w, seeds = tf.Variable([1.0, -1.0]), keras.random.SeedGenerator(1)
    rate = keras.optimizers.SGD(0.1)
    rate.build([w])
    mean = keras.metrics.Mean()

    def step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        dropped = keras.random.dropout(x, 0.5, seed=seeds)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((dropped @ w[:, tf.newaxis] - tf.reduce_sum(x, 1, keepdims=True)) ** 2)
        rate.apply(tape.gradient(loss, [w]), [w])
        mean.update_state(loss)
        return {"loss": loss, "rows": tf.shape(x)[0]}

    val = Evaluation(lambda x: {"w": tf.reduce_sum(x @ w[:, tf.newaxis])}, ArrayData(X, batch_size=6, shuffle=False))
    state = {"w": w, "seeds": seeds, "optimizer": rate}
    data = ArrayData(X[:rows], batch_size=BATCH, seed=5)
    of = {"evaluate": val, "eval_every": Every(steps=2)} if evaluate else {}
    return Loop(Step(step, metrics={"mean": mean}), data, state=state, hooks=hooks, jit_compile=jit_compile, **of)


class Noted(Hook):
    """Notes each value of each step, and where it was called."""

    def __init__(self, every: Trigger = At()) -> None:
        super().__init__()
        self.every, self.values, self.at = every, dict[int, tuple[float, ...]](), list[int]()

    def on_steps(self, first_step: int, values: Mapping[str, np.ndarray]) -> None:
        self.values |= {
            first_step + i: row for i, row in enumerate(zip(*(v.tolist() for v in values.values()), strict=True))
        }

    def on_step_end(self, moment: Moment) -> None:
        self.at.append(moment.step)


def own(loop: Loop) -> dict[str, bytes]:
    return {path: value for path, value in bits(loop).items() if not path.startswith("hooks/")}


@functools.cache
def reference() -> tuple[dict[str, bytes], dict[int, tuple[float, ...]]]:
    noted = Noted()
    loop = make_loop([noted])
    loop.run(epochs=4)
    return own(loop), noted.values


def test_the_same_bits_under_any_schedule_with_every_value_and_hooks_at_their_steps() -> None:
    steps = range(1, 4 * LENGTH + 1)
    assert [*reference()[1]] == [*steps]
    assert [rows for _, rows in reference()[1].values()] == [4, 4, 3] * 4
    noted = Noted(At(2, 7) | Every(seconds=1e-4))
    loop = make_loop([noted])
    loop.run(epochs=4)
    assert own(loop) == reference()[0]
    assert noted.values == reference()[1]
    assert {2, 7} <= {*noted.at}


@pytest.mark.long
def test_the_same_bits_with_a_halt_after_each_step() -> None:
    noted = Noted(Every(steps=1))
    loop = make_loop([noted])
    loop.run(epochs=4)
    assert own(loop) == reference()[0]
    assert noted.at == [*reference()[1]]


@pytest.mark.long
def test_it_trains_as_without_but_for_the_last_bits() -> None:
    loop, other = make_loop(), make_loop(jit_compile=False)
    for each in (loop, other):
        each.digest_batches()
        each.run(epochs=1)
    digests = [each.state.variables["position/seen/digest"].numpy() for each in (loop, other)]
    assert digests[0] == digests[1] != 0  # the same batches
    assert [v.shape for v in loop.state.variables.values()] == [v.shape for v in other.state.variables.values()]


@pytest.mark.more
def test_what_is_drawn_differs_from_step_to_step_and_has_its_mean() -> None:
    seeds, kept = keras.random.SeedGenerator(3), tf.Variable(0.0)

    def step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        drawn = keras.random.uniform([4096], seed=seeds)
        far = tf.random.stateless_normal([512], seed=[2**40, tf.cast(x[0], tf.int64)])
        kept.assign(drawn[0])
        return {"mean": tf.reduce_mean(drawn), "square": tf.reduce_mean(drawn**2), "far": tf.reduce_mean(far**2)}

    noted = Noted()
    Loop(
        step,
        ArrayData(np.arange(64), batch_size=1),
        state={"seeds": seeds, "kept": kept},
        hooks=[noted],
        jit_compile=True,
    ).run(epochs=1)
    far, mean, square = np.array([*noted.values.values()]).T
    assert all(len({*column.tolist()}) == 64 for column in (far, mean, square))
    assert abs(mean.mean() - 1 / 2) < 0.003
    assert abs(square.mean() - 1 / 3) < 0.003
    assert abs(far.mean() - 1) < 0.05


@pytest.mark.long
def test_a_killed_run_is_resumed_and_one_without_is_refused_by_name(tmp_path: Path) -> None:
    def saving() -> Checkpoint:
        return Checkpoint(tmp_path, Every(steps=1))

    make_loop([saving()]).run(steps=5)
    with pytest.raises(ValueError, match="compiled with jit_compile=True in the checkpoint and is with jit_compile=F"):
        make_loop([saving()], jit_compile=False).run(epochs=4)
    loop = make_loop([saving()])
    loop.run(epochs=4)
    assert own(loop) == reference()[0]
    loop = make_loop([Checkpoint(tmp_path, Every(steps=1), resume_changed="warn")], jit_compile=False)
    with pytest.warns(UserWarning, match="jit_compile"):
        loop.run(epochs=5)
    with pytest.raises(ValueError, match="compiled with jit_compile=False in the checkpoint and is with jit_compile=T"):
        make_loop([saving()]).run(epochs=6)


@pytest.mark.more
def test_what_hooks_do_inside_is_done_at_every_step() -> None:
    rates = LearningRate(lambda step: 0.1 / (step + 1))

    class Rates(Noted):
        def on_step_end(self, moment: Moment) -> None:
            self.at.append(moment.logs["learning_rate"])

    noted, guard = Rates(Every(steps=1)), NaNGuard("stop", limits={"rows": 3.5}, watch=["rows"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Cut, "took", lambda cut, steps, seconds: setattr(cut, "length", 2))
        make_loop([rates, noted], evaluate=False).run(epochs=2)
        result = make_loop([guard], evaluate=False).run(epochs=2)
    assert noted.at == [float(np.float32(0.1 / (step + 1))) for step in range(2 * LENGTH)]
    assert result.step == 1
    assert result.reason.startswith("rows = 4 is above its limit of 3.5")


def test_a_value_that_is_not_finite_ends_the_call_at_its_step() -> None:
    x, w = np.ones([16, 1], np.float32), tf.Variable(0.0)
    x[9] = math.nan

    def step(batch: tf.Tensor) -> dict[str, tf.Tensor]:
        w.assign_add(1.0)
        return {"loss": tf.reduce_sum(batch)}

    data = ArrayData(x, batch_size=1, shuffle=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Cut, "took", lambda cut, steps, seconds: setattr(cut, "length", 100))
        result = Loop(step, data, state={"w": w}, hooks=[NaNGuard("stop")], jit_compile=True).run(epochs=2)
    assert (result.step, float(w), result.reason) == (10, 10.0, "loss = nan after step 10")


@pytest.mark.more
def test_a_stop_is_heard_at_the_end_of_a_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    called = Program.__call__

    def stop(done: np.ndarray) -> np.ndarray:
        loop.stop("enough")
        return done

    def stopping(program: Program, begin: tf.Tensor, done: tf.Tensor, *rest: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # In the graph, ahead of each cut: a stop in the midst of a call, of which the program itself sees nothing.
        return called(program, begin, tf.numpy_function(stop, [done], tf.int32, stateful=False), *rest)

    monkeypatch.setattr(Program, "__call__", stopping)
    loop = make_loop(evaluate=False, rows=8)
    result = loop.run(epochs=2)
    assert (result.step, result.reason) == (1, "enough")


def test_cuts_become_as_long_as_fits_and_short_calls_say_nothing() -> None:
    cut = Cut()
    assert cut.length == 1  # one step may take a minute
    lengths = []
    for _ in range(6):
        cut.took(cut.length, cut.length * SECONDS / 100)
        lengths.append(cut.length)
    assert lengths == [8, 64, 100, 100, 100, 100]
    cut.took(1, SECONDS / 2)  # a hook halts
    assert cut.length == 100
    cut.took(100, 4 * SECONDS)
    assert cut.length == 25
    cut.took(25, 100 * SECONDS)
    assert cut.length == 1


@pytest.mark.long
def test_there_is_one_program_of_each_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    init = Program.__init__
    monkeypatch.setattr(Program, "__init__", lambda *args, **named: made.append(1) or init(*args, **named))
    loop = make_loop([Noted(Every(steps=2))])
    loop.audit()
    loop.run(epochs=1)
    loop.run(epochs=3)
    assert len(made) == 4  # for two sizes of batches each


def texts(x: tf.Tensor) -> tf.Tensor:
    return tf.strings.length(tf.strings.as_string(x[0, 0]))  # texts


def python(x: tf.Tensor) -> tf.Tensor:
    return tf.ensure_shape(tf.py_function(lambda x: x, [x[0, 0]], tf.float32), [])  # python


def deep(x: tf.Tensor) -> tf.Tensor:
    return tf.cond(x[0, 0] > 0, lambda: tf.strings.length(tf.strings.as_string(x[0, 0])), lambda: 0)  # deep


def table(x: tf.Tensor) -> tf.Tensor:
    return table_of_two().lookup(tf.cast(x[0, 0], tf.int32))  # table


def printed(x: tf.Tensor) -> tf.Tensor:
    tf.print(x)  # printed
    return x[0, 0]


@functools.cache
def board() -> TensorBoard:
    return TensorBoard(tempfile.mkdtemp())


def written(x: tf.Tensor) -> tf.Tensor:
    with board().summaries():
        tf.summary.histogram("x", x)  # written
    return x[0, 0]


def gamma(x: tf.Tensor) -> tf.Tensor:
    return tf.random.stateless_gamma([], [1, 2], tf.exp(x[0, 0]))  # gamma


def sparse(x: tf.Tensor) -> tf.Tensor:
    s = tf.sparse.from_dense(x)
    return tf.reduce_sum(tf.sparse.sparse_dense_matmul(s, tf.transpose(x)))  # sparse


def repeated(x: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.repeat(x[:, 0], tf.cast(tf.abs(x[:, 1]), tf.int32)))  # repeated


def bincount(x: tf.Tensor) -> tf.Tensor:
    return tf.reduce_max(tf.math.bincount(tf.cast(x[:, 0] > 0, tf.int32), minlength=2, maxlength=2))  # bincount


def segments(x: tf.Tensor) -> tf.Tensor:
    return tf.reduce_max(tf.math.segment_mean(x, tf.range(tf.shape(x)[0]) // 2))  # segments


@functools.cache
def bank() -> tf.Variable:
    with tf.init_scope():
        return tf.Variable(tf.zeros([4]))


def sliced(x: tf.Tensor) -> tf.Tensor:
    start = tf.cast(x[0, 0] > 0, tf.int32)
    bank()[start : start + 2].assign(x[:2, 0])  # sliced
    return x[0, 0]


def backwards(x: tf.Tensor) -> tf.Tensor:
    with tf.GradientTape() as tape:
        tape.watch(x)
        y, i = x[0, 0], 0.0
        while i < 3 * tf.abs(x[0, 1]):
            y, i = y * x[1, 0], i + 1.0
    return tf.reduce_sum(tape.gradient(y, x))  # backwards


def growing(x: tf.Tensor) -> tf.Tensor:
    array, i = tf.TensorArray(tf.float32, size=0, dynamic_size=True), 0
    while tf.cast(i, tf.float32) < 3 * tf.abs(x[0, 1]):
        array, i = array.write(i, x[0, 0]), i + 1  # growing
    return tf.reduce_sum(array.stack())


def growing_by_one(x: tf.Tensor) -> tf.Tensor:
    array = tf.TensorArray(tf.float32, size=2, dynamic_size=True).write(0, x[0, 0]).write(1, x[0, 1])
    array = array.write(2, x[1, 0])  # growing_by_one
    return tf.reduce_sum(array.stack())


def growing_backwards(x: tf.Tensor) -> tf.Tensor:
    with tf.GradientTape() as tape:
        tape.watch(x)
        array = tf.TensorArray(tf.float32, size=4, dynamic_size=True)
        for i in tf.range(4):  # it would end the process
            array = array.write(i, x[0, 0] ** 2)  # growing_backwards
        y = tf.reduce_sum(array.stack() ** 2)
    return tf.reduce_sum(tape.gradient(y, x))


def differentiated(x: tf.Tensor) -> tf.Tensor:
    with tf.GradientTape() as tape:
        tape.watch(x)
        array = tf.TensorArray(tf.float32, size=2, dynamic_size=True)
        y = tf.reduce_sum(array.write(0, x[0, 0] ** 2).write(1, x[0, 1]).stack())
    return tf.reduce_sum(tape.gradient(y, x))  # differentiated


@tf.function(jit_compile=False)
def in_text(x: tf.Tensor) -> tf.Tensor:
    return tf.strings.length(tf.strings.as_string(x[0, 0]))  # marked


def marked(x: tf.Tensor) -> tf.Tensor:
    return in_text(x)


@functools.cache
def table_of_two() -> tf.lookup.StaticHashTable:
    with tf.init_scope():
        return tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer([1, 2], [3, 4]), -1)


LONG = [
    pytest.param(each, marks=pytest.mark.long)
    for each in (texts, python, table, printed, gamma, sparse, repeated, backwards, marked)
    + (growing_by_one, growing_backwards, differentiated, bincount, segments, sliced)
]


@pytest.mark.more
@pytest.mark.parametrize("compute", [deep, growing, written, *LONG])
def test_what_xla_cannot_compile_is_named_with_its_line_before_the_first_step(
    compute: Callable[[tf.Tensor], tf.Tensor],
) -> None:
    w = tf.Variable(0.0)

    def step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        w.assign_add(1.0)
        return {"value": compute(x)}

    hooks = [board()] if compute is written else []
    loop = Loop(step, ArrayData(X, batch_size=4), state={"w": w}, hooks=hooks, jit_compile=True, exact=False)
    with pytest.raises(ValueError, match="XLA cannot compile") as caught:
        loop.run(epochs=1)
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    (number,) = (i for i, line in enumerate(lines) if line.endswith(f"  # {compute.__name__}"))
    assert f"test_jit_compile.py:{number + 1}: {lines[number].strip()}" in str(caught.value)
    assert "Stack trace" not in str(caught.value)
    assert "tf2xla conversion failed" not in "".join(traceback.format_exception(caught.value))
    resized = compute in (growing, growing_by_one, growing_backwards, differentiated)
    assert resized == ("write tf.TensorArray(dtype, size=100), without dynamic_size" in str(caught.value))
    assert (compute is printed) == ("return from the step what is to be seen" in str(caught.value))
    assert (compute is written) == ("return numbers from the step, which are logged" in str(caught.value))
    assert ("XLA knows no texts" in str(caught.value)) == (compute in (texts, deep, python, table, gamma, marked))
    assert (compute is segments) == ("write tf.math.unsorted_segment_mean(x, ids, num_segments=" in str(caught.value))
    assert (compute is bincount) == ("write tf.reduce_sum(tf.one_hot(x, depth=100), axis=0)" in str(caught.value))
    assert (compute is sliced) == ("v.scatter_update(tf.IndexedSlices(x, start + tf.range(" in str(caught.value))
    assert float(w) == 0.0
    Loop(step, ArrayData(X, batch_size=4), state={"w": w}, exact=False).run(epochs=1)  # what the message says


def padded(x: tf.Tensor) -> tf.Tensor:
    counts = tf.cast(tf.abs(x[:, 1]), tf.int32)
    counted = tf.sequence_mask(counts, maxlen=100, dtype=tf.float32)  # as many as there can be, and what counts
    return tf.reduce_sum(x[:, :1] * counted)


def counts(x: tf.Tensor) -> tf.Tensor:
    return tf.reduce_max(tf.reduce_sum(tf.one_hot(tf.cast(x[:, 0] > 0, tf.int32), depth=2), axis=0))


def scattered(x: tf.Tensor) -> tf.Tensor:
    v, start = bank(), tf.cast(x[0, 0] > 0, tf.int32)
    v.scatter_update(tf.IndexedSlices(x[:2, 0], start + tf.range(2)))
    return tf.reduce_sum(v * [1.0, 2.0, 3.0, 4.0])


def unsorted(x: tf.Tensor) -> tf.Tensor:
    return tf.reduce_max(tf.math.unsorted_segment_mean(x, [0, 0, 1, 1], num_segments=2))


def with_options(x: tf.Tensor) -> tf.Tensor:
    with tf.GradientTape() as tape:
        tape.watch(x)
        y, i = x[0, 0], 0.0
        while i < 3 * tf.abs(x[0, 1]):
            tf.autograph.experimental.set_loop_options(maximum_iterations=100)
            y, i = y * x[1, 0], i + 1.0
    return tf.reduce_sum(tape.gradient(y, x))


def of_one_size(x: tf.Tensor) -> tf.Tensor:
    array, i = tf.TensorArray(tf.float32, size=100), 0
    while tf.cast(i, tf.float32) < 3 * tf.abs(x[0, 1]):
        array, i = array.write(i, x[0, 0]), i + 1
    return tf.reduce_sum(array.stack())


def within(x: tf.Tensor) -> tf.Tensor:
    """Writes to arrays that may grow, and do not."""
    array = tf.TensorArray(tf.float32, size=4, dynamic_size=True)
    for i in range(3):
        array = array.write(i, x[i, 0] ** 2)
    other = tf.TensorArray(tf.float32, size=0, dynamic_size=True).unstack(x[:, 1]).write(3, x[0, 0])
    return tf.reduce_sum(array.stack() ** 2) + tf.reduce_sum(other.stack() ** 3)


@tf.function(jit_compile=False)
def masked(x: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.boolean_mask(x, x > 0)) + tf.cast(tf.size(tf.unique(tf.round(x[:, 0]))[0]), tf.float32)


def of_parts(x: tf.Tensor) -> tf.Tensor:
    ragged = tf.RaggedTensor.from_row_lengths(x[:, 0], [1, 3], validate=False)
    return tf.reduce_sum(tf.reduce_mean(ragged, axis=1) ** 2) + tf.reduce_sum(tf.gather_nd(x, tf.where(x > 0)))


def decided(x: tf.Tensor) -> tf.Tensor:
    """Goes back through a condition, and through one within a loop."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = x[0, 0]
        if x[0, 1] > 0:
            y = tf.exp(y) * y
        for _ in tf.range(3):
            y = tf.cond(y > x[1, 0], lambda y=y: y * y / 2, lambda y=y: tf.sin(y))
    return tf.reduce_sum(tape.gradient(y, x))


@functools.cache
def recurrent() -> keras.Model:
    layers = [keras.layers.Embedding(9, 2, mask_zero=True), keras.layers.GRU(2), keras.layers.Dense(1)]
    return keras.Sequential([keras.Input([3], dtype="int32"), *layers])


def masked_recurrent(x: tf.Tensor) -> tf.Tensor:
    """Goes back through the loop of a recurrent layer whose inputs are masked."""
    model = recurrent()
    with tf.GradientTape() as tape:
        y = tf.reduce_sum(model(tf.clip_by_value(tf.cast(tf.tile(4 * x[:, :1], [1, 3]), tf.int32), 0, 8)) ** 2)
    return tf.add_n([tf.reduce_sum(tf.convert_to_tensor(each)) for each in tape.gradient(y, model.trainable_variables)])


@pytest.mark.more
def test_what_depends_on_values_is_what_it_is_without_if_xla_can_have_it() -> None:
    """Among them are the remedies that a refusal names, as they are written there."""
    computed = (padded, counts, unsorted, with_options, of_one_size, within, masked, of_parts, decided)
    computed += (masked_recurrent, scattered)
    recurrent()

    def run(*, jit_compile: bool) -> np.ndarray:
        w, noted = tf.Variable(0.0), Noted()
        bank().assign(tf.zeros([4]))

        def step(x: tf.Tensor) -> dict[str, tf.Tensor]:
            w.assign_add(1.0)
            return {each.__name__: each(x) for each in computed}

        data = ArrayData(X[:8], batch_size=4, shuffle=False)
        Loop(step, data, state={"w": w, "bank": bank()}, hooks=[noted], jit_compile=jit_compile).run(epochs=1)
        return np.array([*noted.values.values()])

    assert run(jit_compile=True) == pytest.approx(run(jit_compile=False), rel=1e-5)


def test_checks_that_xla_leaves_out_are_named_once(caplog: pytest.LogCaptureFixture) -> None:
    w = tf.Variable(0.0)

    def step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        tf.debugging.assert_less(x, 100.0)
        return {"w": w.assign_add(tf.reduce_sum(x))}

    with caplog.at_level(logging.WARNING, "exactloop"):
        Loop(step, ArrayData(X, batch_size=4), state={"w": w}, jit_compile=True).run(epochs=1)
    (record,) = caplog.records
    assert "XLA leaves out checks" in record.message
    assert record.message.count("tf.debugging.assert_less(x, 100.0)") == 1


@pytest.mark.long
def test_it_can_be_evaluated_rehearsed_and_tried_without_a_trace() -> None:
    loop = make_loop()
    loop.dry_run()
    loop.run(steps=5)
    before = bits(loop)
    assert loop.evaluate().keys() == {"val_w"}
    with loop.rehearse() as rehearsal:
        assert sum(len(rehearsal.train(5)["loss"]) for _ in range(3)) >= LENGTH
    assert bits(loop) == before
    loop.run(epochs=4)
    assert own(loop) == reference()[0]


REFUSED = {  # what no program of XLA can have in it
    "table": "LookupTableFindV2",
    "second source": "IteratorGetNext",
    "augmentation": "ImageProjectiveTransformV3",
}


@pytest.mark.long
@pytest.mark.parametrize("name", MODELS)
def test_whatever_a_network_keeps_a_resumed_run_has_it_again(name: str, tmp_path: Path) -> None:
    if name in REFUSED:
        with pytest.raises(ValueError, match=rf"XLA cannot compile[^$]*{REFUSED[name]}"):
            loop_of(MODELS[name], jit_compile=True).run(steps=1)
        return
    diary, rest = Diary(), Diary()
    loop = loop_of(MODELS[name], [diary, Checkpoint(tmp_path / "saved", At(10))], jit_compile=True)
    loop.run(steps=10)
    shutil.copytree(tmp_path / "saved", tmp_path / "killed")
    loop.run(epochs=EPOCHS)
    hooks = [rest, Asking(Every(steps=4)), Checkpoint(tmp_path / "killed", At(10))]
    resumed = loop_of(MODELS[name], hooks, jit_compile=True)
    resumed.run(epochs=EPOCHS)
    assert differing(loop, resumed) == []
    assert rest.noted == {key: value for key, value in diary.noted.items() if key[0] > 10} != {}


class Asking(Hook):
    """Asks for steps and does nothing with them."""

    def __init__(self, every: Trigger) -> None:
        super().__init__()
        self.every = every


def differing(loop: Loop, other: Loop) -> list[str]:
    left, right = own(loop), own(other)
    return [path for path in {**left, **right} if left.get(path) != right.get(path)]
