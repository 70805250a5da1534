"""What was drawn in a process without a seed, and is in no checkpoint, is refused before the first step."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework.config import disable_op_determinism

from hooks import Checkpoint
from loop import Event, Loop, Moment, StreamData
from loop.data.pipelines import unseeded, warned
from loop.exact import drawn_names, drawn_shapes
from loop.exact import text as text_of
from loop.exact.assigned import BY_NUMPY, BY_TENSORFLOW, Given, Name, Names
from loop.exact.drawn_names import ANY
from loop.state.randomness import is_seeded

Dataset = tf.data.Dataset


@pytest.fixture(autouse=True)
def _no_seed_at_all() -> Iterator[None]:
    disable_op_determinism()
    tf.random.set_seed(None)
    yield
    tf.config.experimental.enable_op_determinism()


def mapped(function: Callable[[tf.Tensor], tf.Tensor]) -> Dataset:
    return Dataset.range(4).map(lambda x: function(tf.cast(x, tf.float32)))


def initialized(**arguments: object) -> Dataset:
    initializer = keras.initializers.RandomNormal(**arguments)
    return mapped(lambda x: x + initializer([]))


def taught(layer: keras.Layer, *, loaded: bool = False) -> Dataset:
    layer.build([None, 3, 1])
    if loaded:
        layer.set_weights([np.ones_like(weight) for weight in layer.get_weights()])
    return mapped(lambda x: layer(tf.reshape(x, [1, 1, 1]) * tf.ones([1, 3, 1])))


def at_run_time(x: np.ndarray) -> np.float32:
    return x + np.float32(np.random.random())


def permuted(x: tf.Tensor) -> tf.Tensor:
    return x * np.random.permutation(9)[0]


PIPELINES: dict[str, tuple[Callable[[], Dataset], str | None]] = {
    "an initializer": (initialized, "use an initializer, RandomNormal, without a seed"),
    "an initializer with a seed": (lambda: initialized(seed=1), None),
    "an initializer that draws nothing": (lambda: mapped(lambda x: x + keras.initializers.Zeros()([])), None),
    "a teacher": (
        lambda: taught(keras.layers.Dense(2, name="teacher")),
        "use layer 'teacher', whose weights were drawn",
    ),
    "a recurrent teacher": (lambda: taught(keras.layers.LSTM(2)), "use layer 'lstm_cell', whose weights were drawn"),
    "a teacher that was loaded": (lambda: taught(keras.layers.Dense(2), loaded=True), None),
    "a teacher with a seed": (
        lambda: taught(keras.layers.Dense(2, kernel_initializer=keras.initializers.HeNormal(seed=3))),
        None,
    ),
    "Python while it is traced": (lambda: mapped(lambda x: x + random.random()), "while a function is traced, once"),
    "NumPy while it is traced": (lambda: mapped(permuted), "while a function is traced, once"),
    "NumPy while it runs": (
        lambda: mapped(lambda x: tf.ensure_shape(tf.numpy_function(at_run_time, [x], tf.float32), [])),
        None,
    ),
    "what draws anew in each pass": (lambda: mapped(lambda x: x + tf.random.normal([])), None),
}


def found(name: str) -> str:
    loop = Loop(lambda x: {"x": tf.reduce_sum(x)}, PIPELINES[name][0](), state={})
    return " ".join(finding.what for finding in loop.audit())


@pytest.mark.parametrize("name", PIPELINES)
def test_what_another_process_would_draw_otherwise_is_found(name: str) -> None:
    said = PIPELINES[name][1]
    assert (said in found(name)) if said else (found(name) == "")


class Student:
    """A step that learns from a network that it holds."""

    def __init__(self) -> None:
        self.learned = tf.Variable(0.0)
        self.teacher = keras.Sequential([keras.Input([2]), keras.layers.Dense(1, name="teacher")])

    def step(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"x": self.learned.assign_add(tf.reduce_sum(self.teacher(x)))}

    def found(self, **state: object) -> str:
        data = Dataset.from_tensors(tf.ones([1, 2]))
        loop = Loop(self.step, data, state={"learned": self.learned, **state})
        return " ".join(finding.what for finding in loop.audit())


@pytest.mark.more
def test_a_network_that_a_step_only_reads_is_found_if_no_checkpoint_holds_it_and_nobody_loaded_it() -> None:
    student = Student()
    assert "A step reads layer 'teacher', whose weights were drawn without a seed" in student.found()
    assert student.found(teacher=student.teacher) == ""
    student.teacher.set_weights([np.ones([2, 1]), np.ones(1)])
    assert student.found() == ""
    keras.utils.set_random_seed(5)
    assert Student().found() == ""


@pytest.mark.parametrize("name", ["an initializer", "a teacher", "Python while it is traced"])
def test_with_a_seed_of_the_process_nothing_is(name: str) -> None:
    keras.utils.set_random_seed(5)
    assert found(name) == ""


def test_whether_python_goes_on_from_the_seed_of_the_process_is_known() -> None:
    keras.utils.set_random_seed(7)
    drawn = [is_seeded()]
    for count in (1, 623, 624, 5_000):
        for _ in range(count):
            random.random()
        drawn.append(is_seeded())
    random.seed(8)
    assert [*drawn, is_seeded()] == [True] * 5 + [False]
    random.seed(7)
    tf.random.set_seed(None)
    assert not is_seeded()


def adapted(layer: keras.Layer) -> Dataset:
    layer.adapt(np.arange(8.0).reshape([4, 2]))
    return mapped(lambda x: layer(tf.reshape(x, [1, 1]) * tf.ones([1, 2])))


@pytest.mark.parametrize(
    ("make", "is_said"),
    [
        (lambda: adapted(keras.layers.Normalization(name="n")), False),  # its numbers are kept with the run
        (lambda: lambda epoch: adapted(keras.layers.Normalization(name="n")), True),
        (lambda: adapted(keras.layers.Discretization(num_bins=2, name="n")), False),
        (lambda: lambda epoch: adapted(keras.layers.Discretization(num_bins=2, name="n")), True),
        (lambda: mapped(keras.layers.Normalization(axis=None, mean=0.5, variance=1.0, name="n")), False),
        (lambda: mapped(keras.layers.Discretization(bin_boundaries=[1.0], name="n")), False),
    ],
)
def test_layers_that_were_adapted_to_what_may_have_been_shuffled_are_warned_of(
    make: Callable[[], Dataset], is_said: bool, caplog: pytest.LogCaptureFixture
) -> None:
    loop = Loop(lambda x: {"x": tf.size(x)}, StreamData(make()), state={})
    assert loop.audit() == []
    assert ["adapted to data in a process without a seed: 'n'" in caplog.text] == [is_said]
    keras.utils.set_random_seed(5)
    caplog.clear()
    assert Loop(lambda x: {"x": tf.size(x)}, StreamData(make()), state={}).audit() == []
    assert not caplog.records


@pytest.mark.parametrize(
    ("numbers", "is_said"),
    [
        ([np.float32(0.4713265)], True),
        ([np.float64(1.2345678912), tf.constant(0.4713265)], True),
        ([np.float32(0.4713265), np.float32(0.2713261), np.array([1.3713269])], False),  # would be taken back
        ([np.float32(0.25), 0.4713265, np.arange(3.0) / 7], False),
    ],
)
def test_a_mean_or_two_that_would_not_be_taken_back_are_warned_of(
    numbers: list[object], is_said: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unseeded, "drawn", lambda: 1_000)
    data = Dataset.range(4).map(lambda x: tuple(tf.reduce_sum(tf.cast(each, tf.float64)) for each in numbers))
    assert Loop(lambda x: {"x": tf.size(x)}, data, state={}).audit() == []
    assert ["use numbers that were computed" in caplog.text] == [is_said]


def test_what_is_seen_to_come_of_random_numbers_is_taken_back_and_so_not_warned_of(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unseeded, "drawn", lambda: 1_000)
    monkeypatch.setattr(drawn_names, "drawn_names", lambda: {Name(__name__, "mean")})
    mean = number = np.float32(0.4713265)
    for function in (lambda x: tf.cast(x, tf.float32) - mean, lambda x: tf.cast(x, tf.float32) - number):
        caplog.clear()
        assert Loop(lambda x: {"x": tf.size(x)}, Dataset.range(4).map(function), state={}).audit() == []
        assert ["use numbers that were computed" in caplog.text] == ["number" in function.__code__.co_freevars]


def test_what_tensorflow_computes_of_weights_is_no_mean(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unseeded, "drawn", lambda: 1_000)
    data = Dataset.sample_from_datasets([Dataset.range(4), Dataset.range(4)], [0.3, 0.7], seed=1)
    assert Loop(lambda x: {"x": tf.size(x)}, data, state={}).audit() == []
    assert "use numbers that were computed" not in caplog.text


def test_what_shapes_batches_and_seems_to_be_drawn_is_warned_of(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(warned, "drawn_shapes", lambda _: ["padded_batch"])
    for seed, is_said in ((None, True), (3, False)):
        caplog.clear()
        if seed:
            keras.utils.set_random_seed(seed)
        Loop(lambda x: {"x": tf.size(x)}, mapped(tf.identity), state={}, hooks=[Checkpoint(tmp_path)]).audit()
        assert ["The program gives padded_batch what Python or NumPy have drawn" in caplog.text] == [is_said]


def test_a_constant_that_seems_to_be_drawn_is_warned_of(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    noise, scale = np.float32(0.3), 2.0
    monkeypatch.setattr(drawn_shapes, "drawn_names", lambda *_: {Name(__name__, "noise")})

    def noisy(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"x": noise * tf.reduce_sum(x)}

    def scaled(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"x": scale * tf.reduce_sum(x)}

    for step, is_said in ((noisy, True), (scaled, False)):
        caplog.clear()
        Loop(step, mapped(tf.identity), state={}, hooks=[Checkpoint(tmp_path)]).audit()
        assert ["A step computes with noise, drawn in a process that has no seed" in caplog.text] == [is_said]


@pytest.mark.parametrize(
    ("of_numpy", "of_tensorflow", "kinds"),
    [
        (False, False, ANY),
        (True, False, ANY - {BY_NUMPY}),
        (True, True, ANY - {BY_NUMPY, BY_TENSORFLOW}),  # as most scripts have it
    ],
)
def test_each_stream_may_have_a_seed_of_its_own(
    of_numpy: bool, of_tensorflow: bool, kinds: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_of, "texts", lambda: {b"import numpy as np\nnp.random.seed(0)"} if of_numpy else set())
    if of_tensorflow:
        tf.random.set_seed(0)
    assert warned.unseeded() == kinds
    keras.utils.set_random_seed(0)
    assert warned.unseeded() == frozenset()


def test_noise_that_hooks_show_is_warned_of(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Another process has other noise, and its pictures would be of that."""
    here, of_objects = test_noise_that_hooks_show_is_warned_of.__name__, Name("", "latent")
    drawn = {(here, Name(__name__, "noise")), ("__init__", of_objects), ("other", Name(__name__, "scale"))}
    monkeypatch.setattr(drawn_shapes, "drawn_themselves", lambda _: drawn)
    noise, scale = tf.ones([2]), tf.ones([2])

    class Monitor(keras.callbacks.Callback):
        def __init__(self) -> None:
            super().__init__()
            self.latent = tf.ones([2])

        def on_epoch_end(self, epoch: int, logs: object = None) -> None:
            print(self.latent)

    loop = Loop(lambda x: {"x": tf.size(x)}, mapped(tf.identity), state={}, hooks=[Monitor(), Checkpoint(tmp_path)])

    @loop.on(Event.EPOCH_END)
    def show(_: Moment) -> None:
        print(noise * scale)

    loop.audit()
    assert "Hook 'show' goes by noise, drawn" in caplog.text
    assert "Hook 'keras_callbacks' goes by latent, drawn" in caplog.text


@pytest.mark.parametrize(
    ("layer", "rows", "is_said"),
    [
        (keras.layers.Normalization(axis=None, name="seen"), np.arange(9.0), True),
        (keras.layers.Normalization(axis=None, mean=0.5, variance=1.0, name="seen"), None, False),
        (keras.layers.Discretization(num_bins=2, name="seen"), np.arange(9.0), True),
        (keras.layers.IntegerLookup(name="seen"), np.arange(9), True),
        (keras.layers.IntegerLookup(vocabulary=[1, 2], name="seen"), None, False),
        (keras.layers.TextVectorization(name="seen"), ["a b", "b"], True),
    ],
)
def test_layers_of_steps_that_seem_to_be_adapted_to_what_was_shuffled_are_warned_of(
    layer: keras.Layer, rows: object, is_said: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    if rows is not None:
        layer.adapt(rows)
    monkeypatch.setattr(warned, "drawn_arguments", lambda names, *_: names)
    warned.warn_of_adapted([lambda x: layer(x)], [])
    assert ["were adapted, 'seen', to data" in record.message for record in caplog.records] == [True] * is_said
    monkeypatch.setattr(warned, "drawn_arguments", lambda *_: [])  # of data that are the same in each process
    caplog.clear()
    warned.warn_of_adapted([lambda x: layer(x)], [])
    assert not caplog.records


def test_weights_of_classes_that_seem_to_be_drawn_are_warned_of(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = [Given("supervised", place, False, frozenset(), frozenset()) for place in (0, "class_weight")]
    monkeypatch.setattr(warned, "drawn_arguments", lambda names, *_: given if "supervised" in names else [])
    warned.warn_of_constants([tf.identity])
    assert "A step computes with class_weight, drawn in a process" in caplog.text


@pytest.mark.long
def test_a_layer_of_keras_that_draws_in_python_is_found() -> None:
    layer = keras.layers.AugMix((0, 255))
    data = Dataset.from_tensors(tf.zeros([1, 8, 8, 3])).map(lambda x: layer(x, training=True))
    (finding,) = Loop(lambda x: {"x": tf.reduce_sum(x)}, data, state={}).audit()
    assert "while a function is traced, once" in finding.what


def test_a_seed_that_the_program_does_not_name_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setattr(warned, "names_number", lambda seed: seed == 1_234_567)
    said = []
    for seed in (1_234_567, 7_654_321, 99_999):
        keras.utils.set_random_seed(seed)
        caplog.clear()
        hooks = [Checkpoint(tmp_path)]
        assert Loop(lambda x: {"x": tf.size(x)}, mapped(tf.identity), state={}, hooks=hooks).audit() == []
        said.append("which neither the script nor its arguments name" in caplog.text)
    assert said == [False, True, False]
