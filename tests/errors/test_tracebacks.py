"""Bad news is short, and ends with the user's own line."""

import gc
import linecache
import traceback
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

import keras
import numpy as np
import nursery
import pytest
import tensorflow as tf

from hooks import EarlyStopping
from loop import ArrayData, Evaluation, Event, Every, Hook, Loop, Moment, StreamData, supervised
from loop.errors import tracebacks

MISTAKES: dict[str, tuple[Callable[[], object], str, int]] = {}  # what to do, the text of the last line, how many lines


def mistake(last: str, lines: int = 25) -> Callable[[Callable[[], object]], Callable[[], object]]:
    def register(function: Callable[[], object]) -> Callable[[], object]:
        MISTAKES[function.__name__] = function, last, lines
        return function

    return register


def rows(count: int = 3) -> tf.data.Dataset:
    return tf.data.Dataset.range(count).map(lambda x: tf.cast(x, tf.float32))


def over(step: Callable[[tf.Tensor], dict], data: object = None, **arguments: object) -> Loop:
    return Loop(step, rows() if data is None else data, state={}, **arguments)


def fine(x: tf.Tensor) -> dict[str, tf.Tensor]:
    return {"x": tf.cast(x, tf.float32)}


def out_of(x: tf.Tensor) -> tf.Tensor:
    return tf.gather(tf.constant([1.0, 2.0]), tf.cast(x, tf.int32))


class Mine(Exception):
    """Cannot be made of a message alone, so AutoGraph would raise another one in its place."""

    def __init__(self, code: int, *, hint: str) -> None:
        super().__init__(f"code {code}: {hint}")
        self.code = code


def fails(x: object) -> object:
    raise Mine(3, hint="mine")


# While a step is traced.


@mistake("x.numpy()")
def numpy_in_step() -> None:
    def step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        y = x + 1
        x.numpy()
        return {"x": y}

    over(step).run(epochs=1)


@mistake("return tf.matmul(x, x)")
def shapes_in_a_function_that_the_step_calls() -> None:
    def product(x: tf.Tensor) -> tf.Tensor:
        return tf.matmul(x, x)

    over(lambda x: {"x": product(x)}).run(epochs=1)


@mistake('raise Mine(3, hint="mine")')
def an_exception_of_ones_own() -> None:
    over(lambda x: {"x": fails(x)}).run(epochs=1)


@mistake("if x > 1.0:")
def a_branch_that_autograph_cannot_convert() -> None:
    def step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        if x > 1.0:
            y = x
        return {"x": y}

    over(step).run(epochs=1)


@mistake("x.numpy()  # in a loop in a branch")
def in_a_loop_in_a_branch() -> None:
    def step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        if x > 1.0:
            for _ in tf.range(3):
                x.numpy()  # in a loop in a branch
        return {"x": x}

    over(step).run(epochs=1)


@mistake("over(lambda x:")
def a_lambda() -> None:
    over(lambda x: {"x": x.numpy()}).run(epochs=1)


@mistake("over(lambda x: None).run(epochs=1)")
def nothing_returned() -> None:
    over(lambda x: None).run(epochs=1)


@mistake("return x + float(tf.reduce_sum(x))")
def in_a_layer() -> None:
    class Layer(keras.layers.Layer):
        def call(self, x: tf.Tensor) -> tf.Tensor:
            return x + float(tf.reduce_sum(x))

    model = keras.Sequential([Layer(), keras.layers.Dense(1)])
    step, _ = supervised(model, keras.optimizers.SGD(), keras.losses.MeanSquaredError())
    Loop(step, ArrayData((np.zeros([4, 2]), np.zeros([4, 1])), batch_size=2), state={"model": model}).run(epochs=1)


@mistake("return tf.reduce_mean(y - p @ y)")
def in_a_loss() -> None:
    def loss(y: tf.Tensor, p: tf.Tensor, weight: object) -> tf.Tensor:
        return tf.reduce_mean(y - p @ y)

    model = keras.Sequential([keras.Input([2]), keras.layers.Dense(2)])
    step, _ = supervised(model, keras.optimizers.SGD(), loss)
    Loop(step, ArrayData((np.zeros([4, 2]), np.zeros([4, 3])), batch_size=4), state={"model": model}).audit()


# At run time, in a step.


@mistake("tf.debugging.assert_less(x, 1.5)")
def an_assertion() -> None:
    def step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        tf.debugging.assert_less(x, 1.5)
        return {"x": x}

    over(step).run(epochs=1)


@mistake("return tf.gather(tf.constant([1.0, 2.0]), tf.cast(x, tf.int32))")
def an_index_in_a_nested_function() -> None:
    nested = tf.function(out_of)
    over(lambda x: {"x": nested(x)}).run(epochs=1)


@mistake('return {"x": tf.constant(3) // tf.cast(x, tf.int32)}')
def a_division() -> None:
    def step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"x": tf.constant(3) // tf.cast(x, tf.int32)}

    over(step).run(epochs=1)


@mistake('raise Mine(3, hint="mine")')
def python_called_by_the_step() -> None:
    def step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"x": tf.ensure_shape(tf.numpy_function(fails, [x], tf.float32, stateful=False), [])}

    over(step).run(epochs=1)


# In the data.


@mistake("return tf.gather(tf.constant([1.0, 2.0]), tf.cast(x, tf.int32))")
def a_map_that_fails_in_mid_epoch() -> None:
    over(fine, rows().map(out_of, num_parallel_calls=2).prefetch(1)).run(epochs=1)


@mistake("return tf.gather(tf.constant([1.0, 2.0]), tf.cast(x, tf.int32))")
def a_map_that_fails_at_once_in_a_function_of_the_epoch() -> None:
    over(fine, StreamData(lambda epoch: rows().map(lambda x: out_of(x + 5)))).run(epochs=1)


@mistake("return x.numpy()")
def a_map_that_cannot_be_traced() -> None:
    def function(x: tf.Tensor) -> tf.Tensor:
        return x.numpy()

    StreamData(lambda epoch: rows().map(function))


@mistake('raise Mine(3, hint="mine")')
def a_generator() -> None:
    def numbers() -> Iterator[float]:
        yield 1.0
        raise Mine(3, hint="mine")

    data = tf.data.Dataset.from_generator(numbers, output_signature=tf.TensorSpec([], tf.float32))
    over(fine, StreamData(data, resume="replay")).run(epochs=1)


@mistake("tf.py_function(lambda x: 1 / 0, [x], tf.float32)")
def python_called_by_the_data() -> None:
    def function(x: tf.Tensor) -> tf.Tensor:
        y = tf.py_function(lambda x: 1 / 0, [x], tf.float32)
        return tf.ensure_shape(y, [])

    over(fine, StreamData(rows().map(function), resume="replay")).audit()


# Elsewhere.


@mistake("tf.debugging.assert_less(x, 1.5)")
def in_an_evaluation() -> None:
    def step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        tf.debugging.assert_less(x, 1.5)
        return {"x": x}

    over(fine, evaluate=Evaluation(step, rows())).evaluate()


@mistake("moment.nothing()")
def in_a_hook() -> None:
    loop = over(fine)

    @loop.on(Event.EPOCH_END)
    def look(moment: Moment) -> None:
        moment.nothing()

    loop.run(epochs=1)


@mistake("np.stack([np.zeros(2), np.zeros(3)])")
def in_what_a_hook_calls() -> None:
    loop = over(fine)

    @loop.on(Event.STEP_END, every=Every(steps=1))
    def look(moment: Moment) -> None:
        np.stack([np.zeros(2), np.zeros(3)])

    loop.run(epochs=1)


@mistake("raise KeyboardInterrupt")
def an_interrupt() -> None:
    loop = over(fine)

    @loop.on(Event.EPOCH_END)
    def look(moment: Moment) -> None:
        raise KeyboardInterrupt

    loop.run(epochs=1)


@mistake("ArrayData((np.zeros(3), np.zeros(4)), batch_size=2)")
def arguments_of_data() -> None:
    ArrayData((np.zeros(3), np.zeros(4)), batch_size=2)


@mistake('EarlyStopping("x", mode="up")')
def arguments_of_a_hook() -> None:
    EarlyStopping("x", mode="up")


@mistake("over(lambda x:")
def a_refusal() -> None:
    over(lambda x: {"x": x + tf.raw_ops.RandomStandardNormal(shape=tf.shape(0.0), dtype=tf.float32, seed=1)}).run(
        epochs=1
    )


def caught(function: Callable[[], object]) -> BaseException:
    try:
        function()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def entries(trace: TracebackType | None) -> list[TracebackType]:
    found = []
    while trace is not None:
        found.append(trace)
        trace = trace.tb_next
    return found


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_shown_in_the_users_own_lines(name: str) -> None:
    function, last, most = MISTAKES[name]
    error = caught(function)
    trace = entries(error.__traceback__)[1:]  # without `caught`
    assert {entry.tb_frame.f_code.co_filename for entry in trace} == {__file__}
    assert last in linecache.getline(__file__, trace[-1].tb_lineno)
    text = "".join(traceback.format_exception(error))
    assert len(text.splitlines()) <= most
    assert not any(word in text for word in ("-packages", "__autograph", "Graph execution error", "in user code"))
    for entry in trace:  # tools that look for the instruction, as notebooks do, find one
        assert 0 <= entry.tb_lasti < len(entry.tb_frame.f_code.co_code)


def test_the_users_own_exception_comes_out_as_it_is_with_its_cause() -> None:
    def step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        try:
            return {}["x"]
        except KeyError as error:
            raise Mine(3, hint="mine") from error

    error = caught(lambda: over(step).run(epochs=1))
    assert (type(error), error.code, str(error)) == (Mine, 3, "code 3: mine")
    assert isinstance(error.__cause__, KeyError)
    (entry,) = entries(error.__cause__.__traceback__)
    assert linecache.getline(__file__, entry.tb_lineno).strip() == 'return {}["x"]'


@pytest.mark.more
def test_a_cause_of_ours_is_not_shown_and_a_group_is_shortened() -> None:
    loop = over(fine)

    @loop.on(Event.EPOCH_END)
    def look(moment: Moment) -> None:
        inner = caught(lambda: tf.function(lambda x: x.numpy())(tf.constant(1.0)))
        raise ExceptionGroup("several", [inner, ValueError("2")])

    error = caught(lambda: loop.run(epochs=1))
    assert isinstance(error, ExceptionGroup)
    assert {entry.tb_frame.f_code.co_filename for entry in entries(error.exceptions[0].__traceback__)} == {__file__}
    data = StreamData(rows().map(lambda x: tf.py_function(lambda x: x, [x], tf.float32)), resume="state")
    refused = caught(lambda: over(lambda x: {"x": tf.ensure_shape(x, [])}, data, exact=False).run(epochs=1))
    assert "cannot be saved, so no run could resume" in str(refused)
    assert "direct cause" not in "".join(traceback.format_exception(refused))


@pytest.mark.parametrize("switch", [tf.debugging, keras.config])
def test_everything_is_shown_to_those_who_ask_for_it(switch: object) -> None:
    switch.disable_traceback_filtering()
    try:
        traced, run = caught(numpy_in_step), caught(an_assertion)
    finally:
        switch.enable_traceback_filtering()
    assert len(entries(traced.__traceback__)) > 10
    assert str(traced).startswith("in user code:")
    assert "Detected at node" in str(run)


def test_an_error_stays_what_it_is_if_it_cannot_be_shortened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracebacks, "_chain", lambda entries: 1 / 0)
    error = caught(numpy_in_step)
    assert isinstance(error, AttributeError)
    assert len(entries(error.__traceback__)) > 10


def test_an_error_keeps_no_more_alive_than_the_users_frames() -> None:
    class Large:
        pass

    def work() -> list[weakref.ref]:
        large = Large()
        loop = over(lambda x: {"x": x.numpy()}, hooks=[])
        loop.large = large
        held = [weakref.ref(large)]
        error = caught(lambda: loop.run(epochs=1))
        del large
        assert isinstance(error, AttributeError)
        return held

    (held,) = work()
    gc.collect()
    assert held() is None


CELL = """
def step(x):
    y = x + len({file!r})
    return {{"x": y.numpy()}}

Loop(step, rows(), state={{}}).run(epochs=1)
"""


@pytest.mark.parametrize("file", ["<ipython-input-3-0a1b2c>", "/tmp/ipykernel_71/2184.py", "<stdin>"])
def test_a_cell_of_a_notebook_is_the_users(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = CELL.format(file=file)
    monkeypatch.setitem(linecache.cache, file, (len(cell), None, cell.splitlines(keepends=True), file))
    code = compile(cell, file, "exec")
    error = caught(lambda: exec(code, {"__name__": "__main__", "Loop": Loop, "rows": rows}))
    trace = entries(error.__traceback__)[2:]
    assert [(entry.tb_frame.f_code.co_filename, entry.tb_lineno) for entry in trace] == [(file, 6), (file, 4)]
    assert traceback.format_exception(error)[-2].splitlines()[-1].strip() == 'return {"x": y.numpy()}'


SCRIPT = """
import tensorflow as tf
from loop import Evaluation, Event, Loop, StreamData
def fine(x):
    return {{"x": tf.cast(x, tf.float32)}}
def wrong(x):
    {line}
    return {{"x": tf.cast(x, tf.float32)}}
data = tf.data.Dataset.range(3)
{run}
"""


@pytest.mark.parametrize(
    ("line", "run"),
    [
        ("x.numpy()", "Loop(wrong, data, state={}).run(epochs=1)"),
        ("tf.debugging.assert_less(x, tf.constant(1, tf.int64))", "Loop(wrong, data, state={}).run(epochs=1)"),
        ("x = tf.gather([1, 2], x)", "Loop(lambda b: fine(b['x']), data.map(wrong), state={}).run(epochs=1)"),
    ],
)
def test_a_script_ends_with_a_short_traceback(line: str, run: str, tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(SCRIPT.format(line=line, run=run), encoding="utf-8")
    ended = nursery.run(script)
    text = ended.stderr[ended.stderr.index("Traceback (most recent call last)") :].splitlines()
    files = [row for row in text if row.startswith("  File ")]
    assert ended.returncode == 1
    assert len(text) <= 25
    assert files == [f'  File "{script}", line 10, in <module>', f'  File "{script}", line 7, in wrong']
    assert line in "\n".join(text)


def test_a_class_of_hooks_with_a_wrong_method_is_shown_where_it_is_defined() -> None:
    error = caught(lambda: type("Mine", (Hook,), {"on_lunch": print}))
    assert {entry.tb_frame.f_code.co_filename for entry in entries(error.__traceback__)} == {__file__}


def test_an_exception_of_the_users_stays_though_its_text_is_that_of_autograph() -> None:
    def helper(x: tf.Tensor) -> tf.Tensor:
        return x.missing

    def reworded(moment: Moment) -> None:
        try:
            tf.function(helper)(tf.constant(1.0))
        except Exception as error:
            raise RuntimeError(str(error)) from error

    loop = over(fine)
    loop.on(Event.EPOCH_END)(reworded)
    with pytest.raises(RuntimeError, match=r"^in user code:") as caught:
        loop.run(epochs=1)
    assert traceback.extract_tb(caught.value.__traceback__)[-1].line == "raise RuntimeError(str(error)) from error"
    assert isinstance(caught.value.__cause__, AttributeError)

    def step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        try:
            return {"x": tf.function(helper)(x)}
        except AttributeError as error:
            raise Mine(4, hint=f"{error}")  # noqa: B904

    with pytest.raises(Mine) as of_step:
        over(lambda x: step(x)).run(epochs=1)
    assert of_step.value.code == 4
    assert traceback.extract_tb(of_step.value.__traceback__)[-1].line.startswith("raise Mine(4")


class NoNotes(Exception):
    def add_note(self, note: str) -> None:
        raise ZeroDivisionError


class Unsayable(Exception):
    def __str__(self) -> str:
        raise ZeroDivisionError

    __repr__ = __str__


@pytest.mark.parametrize("make", [NoNotes, Unsayable])
def test_an_exception_that_takes_no_note_or_has_no_text_comes_out_as_it_is(make: Callable[[], Exception]) -> None:
    loop, error = over(fine), make()

    def raises(moment: Moment) -> None:
        raise error

    def fails_too(moment: Moment) -> None:
        raise make()

    loop.on(Event.EPOCH_END)(raises)
    loop.on(Event.RUN_END)(fails_too)
    with pytest.raises(type(error)) as caught:
        loop.run(epochs=1)
    assert caught.value is error
    assert traceback.extract_tb(caught.value.__traceback__)[-1].line == "raise error"
