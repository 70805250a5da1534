"""Logged values are what the step and the metrics said: integers, float64, and none at all."""

import io
import json
import math
from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np
import pytest
import rich.console
import tensorflow as tf

from hooks import Checkpoint, EarlyStopping, Progress, TensorBoard
from loop import ArrayData, Evaluation, Event, Every, Hook, Loop, Moment, Step, StreamData, Trigger
from loop.engine.traced.means import Means
from loop.engine.traced.ring import LONGEST
from loop.tensors import examples

INTEGER, REAL = 2**53 - 1, 0.12345678901234567
FLOAT32 = (tf.float32, tf.float16, tf.bfloat16, tf.int8, tf.uint8, tf.int16, tf.uint16, tf.bool)
FLOAT64 = (tf.float64, tf.int32, tf.int64, tf.uint32, tf.uint64)


class Columns(Hook):
    """Keeps the values of all steps, and what each event has in its logs."""

    def __init__(self, every: Trigger = Every(steps=2)) -> None:
        super().__init__()
        self.every = every
        self.rows: dict[str, list[float]] = {}
        self.dtypes: dict[str, str] = {}
        self.logs: dict[tuple[str, int], dict[str, float]] = {}

    def on_steps(self, first_step: int, values: Mapping[str, np.ndarray]) -> None:
        for name, column in values.items():
            self.dtypes[name] = column.dtype.name
            rows = self.rows.setdefault(name, [])
            assert len(rows) == first_step - 1
            rows += column.tolist()

    def on_step_end(self, moment: Moment) -> None:
        self.logs[str(moment.event), moment.step] = dict(moment.logs)

    on_eval_end = on_epoch_end = on_settled = on_step_end


def counted(*hooks: Hook, rows: int = 6, batch_size: int = 2) -> Loop:
    """Returns a loop whose values are a narrow one, which counts steps, and wide ones; its evaluation has them too."""
    count = tf.Variable(0, dtype=tf.int64)

    def values(step: tf.Tensor) -> dict[str, tf.Tensor]:
        return {
            "down": INTEGER - step,
            "real": tf.constant(REAL, tf.float64),
            "small": tf.cast(step, tf.float32) / 4,
            "tokens": tf.cast(step, tf.int32) + 124_505_364,
        }

    return Loop(
        lambda batch: values(count.assign_add(1)),
        ArrayData(np.zeros([rows, 1], np.float32), batch_size=batch_size, seed=1),
        state={"count": count},
        evaluate=Evaluation(lambda batch: values(count.read_value()), ArrayData(np.zeros(5), batch_size=2, seed=1)),
        hooks=hooks,
    )


def of_step(step: float, prefix: str = "") -> dict[str, float]:
    values = {"down": INTEGER - step, "real": REAL, "small": step / 4, "tokens": 124_505_364 + step}
    return {prefix + name: value for name, value in values.items()}


@pytest.mark.more
def test_integers_and_float64_arrive_as_they_are_wherever_they_go(tmp_path: Path) -> None:
    columns = Columns()
    stopping = EarlyStopping("val_down", mode="max", patience=9)
    saving = Checkpoint(tmp_path, Every(steps=2), best="val_tokens", mode="max", keep=9)
    result = counted(columns, stopping, saving).run(epochs=1)
    assert columns.rows == {name: [of_step(step)[name] for step in (1, 2, 3)] for name in of_step(0)}
    assert columns.dtypes == {"down": "float64", "real": "float64", "small": "float32", "tokens": "float64"}
    at_end = of_step(2) | of_step(3, "val_")  # the means of steps 1 to 3 are the values of step 2
    assert columns.logs == {
        ("step_end", 2): of_step(2),
        ("settled", 2): of_step(2),
        ("eval_end", 3): of_step(3, "val_"),
        ("epoch_end", 3): at_end,
        ("settled", 3): at_end,
    }
    assert list(columns.logs["epoch_end", 3]) == [*sorted(of_step(0)), *sorted(of_step(0, "val_"))]
    assert dict(result.logs) == at_end
    assert (float(stopping.best), int(stopping.best_step)) == (INTEGER - 3, 3)
    manifests = [json.loads((tmp_path / f"ckpt-{step}.json").read_bytes()) for step in (2, 3)]
    assert [manifest["logs"] for manifest in manifests] == [of_step(2), at_end]
    assert manifests[1]["best"] == {"name": "val_tokens", "mode": "max", "value": 124_505_367}


@pytest.mark.more
@pytest.mark.parametrize("every", [Every(steps=1), Every(steps=4)])
def test_wide_values_are_the_same_wherever_the_loop_halts_and_a_run_is_cut(every: Trigger, tmp_path: Path) -> None:
    whole = Columns(Every(epochs=1))
    expected = counted(whole, rows=15).run(epochs=2)
    columns = Columns(every)
    for steps in (3, 11):  # the last batch of an epoch has one row
        counted(columns, Checkpoint(tmp_path), rows=15).run(steps=steps)
        columns.rows = {name: rows[: 3 if steps == 3 else None] for name, rows in columns.rows.items()}
    result = counted(columns, Checkpoint(tmp_path), rows=15).run(epochs=2)
    assert columns.rows == whole.rows
    assert dict(result.logs) == dict(expected.logs)
    assert columns.logs["epoch_end", 8] == whole.logs["epoch_end", 8]


@pytest.mark.parametrize("dtypes", [FLOAT32, FLOAT64, (*FLOAT32, *FLOAT64), (tf.int64,), (tf.float64, tf.float32)])
def test_each_dtype_alone_and_beside_others(dtypes: tuple[tf.DType, ...]) -> None:
    columns = Columns()
    largest = {tf.bool: 1, tf.float16: 2048, tf.bfloat16: 256, tf.float32: 2**24}
    largest |= {dtype: min(dtype.max, INTEGER) for dtype in dtypes if dtype not in largest}
    step = lambda batch: {dtype.name: tf.cast(tf.constant(largest[dtype]), dtype) for dtype in dtypes}  # noqa: E731
    data = tf.data.Dataset.from_tensor_slices(np.zeros(7)).batch(3)  # of which the last batch is smaller
    result = Loop(step, data, state={}, hooks=[columns]).run(epochs=1)
    values = {dtype.name: float(largest[dtype]) for dtype in dtypes}
    assert columns.rows == {name: 3 * [value] for name, value in values.items()}
    assert columns.dtypes == {dtype.name: "float32" if dtype in FLOAT32 else "float64" for dtype in dtypes}
    assert columns.logs["step_end", 2] == dict(result.logs) == values


def test_the_ring_only_copies_bits_and_goes_round() -> None:
    """Words of 32 bits that would be signalling NaNs, or too small for a float32, if anybody looked at them as such."""
    words = [0x7F800001, 0xFF800001, 0x7FFFFFFF, 0xFFFFFFFF, 0x00000001, 0x80000001, 0x007FFFFF, 0x00000000]
    patterns = np.array([(0x3FF00000 + i) << 32 | word for i, word in enumerate(words)], np.uint64).view(np.float64)
    steps, table, columns = LONGEST + 1000, tf.constant(patterns), Columns(Every(steps=3000))
    data = ArrayData(tf.range(steps), batch_size=1, shuffle=False)
    loop = Loop(
        lambda i: {"wide": table[i[0] % 8], "index": tf.cast(i[0], tf.float32)}, data, state={}, hooks=[columns]
    )
    loop.run(steps=5)
    loop.run(epochs=1)
    wide = np.array(columns.rows["wide"])
    assert wide.tobytes() == patterns[np.arange(steps) % 8].tobytes()
    assert columns.rows["index"] == [*range(steps)]


@pytest.mark.more
def test_means_of_wide_values_are_rounded_once() -> None:
    def mean(values: list[float], weights: list[int]) -> float:
        means = Means((), ("x",))

        @tf.function
        def add(wide: tf.Tensor, weight: tf.Tensor, first: tf.Tensor) -> None:
            means.add(tf.zeros([1, 0]), wide, weight, afresh=first)

        for value, weight in zip(values, weights, strict=True):
            wide, first = tf.constant([[value]], tf.float64), tf.constant(value is values[0])
            add(wide, tf.constant([[weight]]), first)
        return (means.result() or {})["x"]

    assert mean(100 * [float(INTEGER)], [*range(1, 101)]) == INTEGER
    assert mean(1000 * [REAL], 1000 * [7]) == REAL
    assert mean([float(INTEGER), float(INTEGER - 2)], [3, 3]) == INTEGER - 1
    assert mean([math.inf, 1.0], [1, 1]) == math.inf
    assert math.isnan(mean([math.nan, 1.0], [1, 1]))
    assert math.isnan(mean([math.inf, -math.inf], [1, 1]))
    assert mean([1e300, -1e300], [1, 1]) == 0.0


@pytest.mark.more
@pytest.mark.parametrize("sizes", [(2**24 + 1, 2), (2**24 + 1, 2**24 + 1)])
def test_batches_of_more_examples_than_float32_counts(sizes: tuple[int, int]) -> None:
    numbers, same = tf.constant(sizes), sizes[0] == sizes[1]
    data = tf.data.Dataset.range(2).map(lambda i: tf.zeros([sizes[0] if same else numbers[i]], tf.int8))
    calls = tf.Variable(-1.0)
    loop = Loop(lambda batch: {"x": calls.assign_add(1.0)}, data, state={"calls": calls})
    assert loop.run(epochs=1).logs["x"] == sizes[1] / sum(sizes)
    assert [int(loop.state.variables["means/weight"])] == [sum(sizes)]


def test_examples_are_counted_in_integers_whatever_the_batch_is() -> None:
    ragged = tf.RaggedTensor.from_row_lengths(tf.range(5), [2, 0, 3])
    sparse = tf.SparseTensor([[0, 0]], [1.0], [2**24 + 1, 2])
    counts = [examples(batch) for batch in (tf.zeros([4, 2]), ragged, sparse)]
    assert [(int(count), count.dtype) for count in counts] == [(4, tf.int32), (3, tf.int32), (2**24 + 1, tf.int32)]


def test_results_of_metrics_arrive_as_they_are() -> None:
    class Tokens(keras.Metric):
        def __init__(self) -> None:
            super().__init__(name="tokens")
            self.seen = self.add_variable([], keras.initializers.Zeros(), dtype="int64")

        def update_state(self, y_true: tf.Tensor) -> None:
            self.seen.assign_add(tf.size(y_true, tf.int64) + 124_505_363)

        def result(self) -> tf.Tensor:
            return self.seen.value

    class Real(Tokens):
        def result(self) -> tf.Tensor:
            return tf.cast(self.seen.value, tf.float64) / 7

    def measured() -> Step:
        metrics = {"tokens": Tokens(), "real": Real()}

        def step(batch: tf.Tensor) -> dict[str, tf.Tensor]:
            for metric in metrics.values():
                metric.update_state(batch)
            return {"x": tf.constant(1.0)}

        return Step(step, metrics=metrics)

    columns, data = Columns(), [ArrayData(np.zeros(4), batch_size=2) for _ in range(2)]
    loop = Loop(measured(), data[0], state={}, evaluate=Evaluation(measured(), data[1]), hooks=[columns])
    result = loop.run(epochs=1)
    assert columns.logs["step_end", 2] == {"x": 1.0, "tokens": 249_010_730, "real": 249_010_730 / 7}
    trained = {"x": 1.0, "tokens": 249_010_730, "real": 249_010_730 / 7}
    assert dict(result.logs) == trained | {f"val_{name}": value for name, value in trained.items()}


def test_a_count_is_shown_with_all_its_digits(tmp_path: Path) -> None:
    log = rich.console.Console(file=io.StringIO(), width=200)
    values = {"tokens": tf.constant(124_505_365), "loss": tf.constant(0.123456), "far": tf.constant(1e20)}
    data = ArrayData(np.zeros(2), batch_size=1)
    Loop(lambda batch: values, data, state={}, hooks=[Progress(Every(steps=1), console=log)]).run(steps=1)
    assert "step 1 of 1  far 1e+20  loss 0.1235  tokens 124505365  (" in log.file.getvalue()


# Steps that return nothing, or nothing but metrics.


def averaged(*hooks: Hook, returns: dict | None, rows: int = 6) -> Loop:
    """Returns a loop whose steps, and those of its evaluation, return nothing but a metric."""
    keras.utils.set_random_seed(1)
    means = [keras.metrics.Mean(), keras.metrics.Mean()]

    def measured(mean: keras.Metric) -> Step:
        def step(batch: tf.Tensor) -> dict | None:
            mean.update_state(batch)
            return returns

        return Step(step, metrics={"m": mean})

    x = np.arange(rows, dtype=np.float32)
    return Loop(
        measured(means[0]),
        ArrayData(x, batch_size=2, shuffle=False),
        state={},
        evaluate=Evaluation(measured(means[1]), tf.data.Dataset.from_tensor_slices(x[:3]).batch(2)),
        hooks=hooks,
    )


@pytest.mark.more
@pytest.mark.parametrize("returns", [{}, None])
@pytest.mark.parametrize("rows", [6, 5])
def test_a_step_may_return_nothing_but_metrics(returns: dict | None, rows: int, tmp_path: Path) -> None:
    log = rich.console.Console(file=io.StringIO(), width=200)

    def hooks() -> list[Hook]:
        stopping, saving = EarlyStopping("m", mode="min", patience=9), Checkpoint(tmp_path / "c", best="m", mode="max")
        return [stopping, saving, TensorBoard(tmp_path / "t", Every(steps=1)), Progress(Every(steps=2), console=log)]

    columns, mean = Columns(), (rows - 1) / 2
    result = averaged(columns, *hooks(), returns=returns, rows=rows).run(epochs=1)
    assert (result.step, dict(result.logs)) == (3, {"m": mean, "val_m": 1.0})
    assert columns.rows == {}  # on_steps has nothing to tell
    assert columns.logs["step_end", 2] == {"m": 1.5}
    assert columns.logs["epoch_end", 3] == {"m": mean, "val_m": 1.0}
    assert f"epoch 1, step 3 of 3  m {mean:.4g}  val_m 1  (" in log.file.getvalue()
    assert json.loads((tmp_path / "c/ckpt-3.json").read_bytes())["best"]["value"] == mean
    for steps in (4, 6):
        again = averaged(*hooks(), returns=returns, rows=rows).run(steps=steps)
    whole = averaged(returns=returns, rows=rows).run(epochs=2)
    assert (again.step, dict(again.logs)) == (6, dict(whole.logs))


def test_before_the_first_step_there_are_no_results() -> None:
    loop = averaged(returns=None)
    loop.on(Event.RUN_BEGIN)(lambda moment: moment.stop("enough"))
    assert dict(loop.run(epochs=1).logs) == {}


def test_only_metrics_of_batches_of_unknown_number() -> None:
    mean = keras.metrics.Mean()
    step = Step(lambda batch: mean.update_state(batch) and None, metrics={"m": mean})
    data = StreamData(tf.data.Dataset.range(7).batch(2).filter(lambda batch: True))
    result = Loop(step, data, state={}).run(epochs=1)
    assert (result.step, dict(result.logs)) == (4, {"m": 3.0})
