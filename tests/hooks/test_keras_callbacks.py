"""Callbacks of Keras do in a loop what they do in `fit`, and do the same when it is killed and started again."""

import csv
import dataclasses
import shutil
import threading
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import keras
import numpy as np
import pytest
import tensorflow as tf

from hooks import Checkpoint, KerasCallbacks, TensorBoard, WeightAverage
from hooks.callbacks.reading import Present, read
from hooks.callbacks.things import Things
from hooks.callbacks.writing import write
from loop import ArrayData, At, Evaluation, Every, Hook, Loop, Moment, StreamData, Trigger, digest, supervised

X = np.random.default_rng(3).normal(size=[16, 3]).astype("float32")
Y = X @ np.array([[1.0], [-2.0], [0.5]], "float32")
Logs: TypeAlias = Any  # as Keras has it
Make = Callable[[Path], Sequence[keras.callbacks.Callback]]


def dense() -> keras.Model:
    keras.utils.set_random_seed(1)
    return keras.Sequential([keras.Input([3]), keras.layers.Dense(1)])


def make(
    hooks: Sequence[Hook | keras.callbacks.Callback],
    *,
    eval_every: Trigger = Every(epochs=1),
    rate: float = 0.1,
    ema: bool = False,
) -> Loop:
    """Returns a loop of 4 steps an epoch, in the order of the rows, with a validation loss that goes up and down."""
    model, optimizer = dense(), keras.optimizers.SGD(rate, momentum=0.9, use_ema=ema)
    step, eval_step = supervised(
        model, optimizer, keras.losses.MeanSquaredError(), metrics={"mae": keras.metrics.MeanAbsoluteError()}
    )
    data = ArrayData((X, Y), batch_size=4, shuffle=False)
    evaluation = Evaluation(eval_step, ArrayData((X[:8], Y[:8]), batch_size=8, shuffle=False))
    state = {"model": model, "optimizer": optimizer}
    return Loop(step, data, state=state, evaluate=evaluation, eval_every=eval_every, hooks=hooks)


class Calls(keras.callbacks.Callback):
    """Writes down all calls."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[object, ...]] = []

    def note(self, *what: object, logs: dict[str, float] | None) -> None:
        self.calls.append((*what, {name: round(float(value), 4) for name, value in (logs or {}).items()}))

    def on_train_begin(self, logs: Logs = None) -> None:
        self.note("train begin", {**self.params, "verbose": 0}, type(self.model.optimizer).__name__, logs=logs)

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self.note("epoch begin", epoch, logs=logs)

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        self.note("batch begin", batch, logs=logs)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        self.note("batch end", batch, sorted(logs), logs=None)

    def on_test_begin(self, logs: Logs = None) -> None:
        self.note("test begin", logs=logs)

    def on_test_end(self, logs: Logs = None) -> None:
        self.note("test end", logs=logs)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        self.note("epoch end", epoch, logs=logs)

    def on_train_end(self, logs: Logs = None) -> None:
        self.note("train end", logs=logs)


def test_events_counts_names_and_values_are_those_of_fit() -> None:
    ours, theirs = Calls(), Calls()
    make([ours]).run(epochs=2)
    model = dense()
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse", metrics=[keras.metrics.MeanAbsoluteError("mae")])
    model.fit(
        X, Y, batch_size=4, epochs=2, shuffle=False, verbose=0, validation_data=(X[:8], Y[:8]), callbacks=[theirs]
    )
    assert ours.calls == theirs.calls


class Cyclic(keras.callbacks.Callback):
    """Sets the rate before each batch, by what it has counted, and keeps one of each kind of thing that can be kept."""

    def __init__(self) -> None:
        super().__init__()
        self.count, self.losses, self.sums = 0, [], np.zeros(2)
        self.seen = tf.Variable(0.0)
        self.random = np.random.default_rng(5)
        self.by_epoch: dict[int, tuple[float, ...]] = {}

    def on_train_begin(self, logs: Logs = None) -> None:
        self.base = float(self.model.optimizer.learning_rate)  # in a run that goes on, this is another one

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        self.count += 1
        self.model.optimizer.learning_rate = self.base * (1 + 0.1 * (self.count % 3)) * self.random.uniform(0.9, 1.1)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        self.losses.append(logs["loss"])
        self.sums += [logs["loss"], 1]
        self.seen.assign_add(logs["loss"])

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        self.by_epoch[epoch] = tuple(self.losses[-2:])


def some(log: Path) -> list[keras.callbacks.Callback]:
    """Returns callbacks that count, decide, draw, write a file, and put weights back at the end."""
    return [
        keras.callbacks.ReduceLROnPlateau("val_loss", factor=0.5, patience=1, min_delta=1e-3, cooldown=1, min_lr=1e-3),
        keras.callbacks.EarlyStopping("val_loss", patience=2, min_delta=0.01, restore_best_weights=True),
        keras.callbacks.CSVLogger(str(log)),
        keras.callbacks.History(),
        keras.callbacks.ModelCheckpoint(
            str(log.parent / "best.weights.h5"), save_best_only=True, save_weights_only=True
        ),
    ]


def with_cyclic(log: Path) -> list[keras.callbacks.Callback]:
    return [Cyclic(), keras.callbacks.CSVLogger(str(log), separator=";")]


def with_ema(log: Path) -> list[keras.callbacks.Callback]:
    return [keras.callbacks.SwapEMAWeights(), keras.callbacks.EarlyStopping("val_mae", patience=1)]


def scheduled(log: Path) -> list[keras.callbacks.Callback]:
    at_each = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: None)
    return [
        keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.8),
        keras.callbacks.TerminateOnNaN(),
        at_each,
    ]


def live(root: Path, callbacks: Make, epochs: int, **of_loop: object) -> tuple[object, ...]:
    """Trains to the end, and returns what is left: the reason, variables, and the file."""
    root.mkdir(exist_ok=True)
    log = root / "log.csv"
    checkpoint = Checkpoint(root / "checkpoints", Every(steps=1), keep=100, background=False)
    loop = make([*callbacks(log), checkpoint], **of_loop)
    result = loop.run(epochs=epochs)
    bits = {path: digest(v.read_value()) for path, v in loop.state.variables.items() if path != "clock/seconds"}
    return result.step, result.reason, bits, log.read_bytes() if log.exists() else b""


def differing(whole: tuple[object, ...], other: tuple[object, ...]) -> list[object]:
    (*these, bits, log), (*those, other_bits, other_log) = whole, other
    wrong = [path for path in bits if bits[path] != other_bits[path]]
    return [*([] if these == those else [those]), *wrong, *([] if log == other_log else [other_log])]


def killed_at(step: int, root: Path, into: Path) -> None:
    """Makes of what a whole run has left what one leaves that is killed after a step, with a file that is far ahead."""
    shutil.copytree(root, into)
    for path in (into / "checkpoints").glob("ckpt-*"):
        if int(path.name.split("-")[1].split(".")[0]) > step:
            path.unlink()


ALL: dict[str, tuple[Make, dict[str, object]]] = {
    "decisions": (some, {"rate": 0.6}),
    "at each batch": (with_cyclic, {}),
    "at each batch, evaluations between": (with_cyclic, {"eval_every": Every(steps=3)}),
    "averages": (with_ema, {"ema": True}),
    "schedule": (scheduled, {"eval_every": Every(epochs=2)}),
}


@pytest.mark.more
def test_decisions_are_the_same_after_a_kill(tmp_path: Path) -> None:
    whole = live(tmp_path / "whole", some, 12, rate=0.6)
    assert "EarlyStopping has set model.stop_training" in whole[:2]
    killed_at(14, tmp_path / "whole", tmp_path / "cut")
    assert differing(whole, live(tmp_path / "cut", some, 12, rate=0.6)) == []


@pytest.mark.long
@pytest.mark.parametrize("case", ALL)
def test_killed_after_any_step_a_run_ends_with_the_same_bits_and_files(tmp_path: Path, case: str) -> None:
    callbacks, of_loop = ALL[case]
    whole = live(tmp_path / "whole", callbacks, 6, **of_loop)
    for step in range(1, whole[0]):
        killed_at(step, tmp_path / "whole", tmp_path / f"cut-{step}")
        assert differing(whole, live(tmp_path / f"cut-{step}", callbacks, 6, **of_loop)) == [], step


def test_rates_stops_files_and_weights_are_those_of_fit(tmp_path: Path) -> None:
    def callbacks(log: str) -> list[keras.callbacks.Callback]:
        plateau = keras.callbacks.ReduceLROnPlateau("val_loss", factor=0.5, patience=1, min_delta=1e-2)
        stopping = keras.callbacks.EarlyStopping("val_loss", patience=4, min_delta=0.1, restore_best_weights=True)
        return [plateau, stopping, keras.callbacks.CSVLogger(str(tmp_path / log))]

    loop = make(callbacks("ours.csv"), rate=0.5)
    result = loop.run(epochs=40)
    model = dense()
    model.compile(keras.optimizers.SGD(0.5, momentum=0.9), "mse", metrics=[keras.metrics.MeanAbsoluteError("mae")])
    more = {"verbose": 0, "validation_data": (X[:8], Y[:8]), "callbacks": callbacks("theirs.csv")}
    model.fit(X, Y, batch_size=4, epochs=40, shuffle=False, **more)
    texts = [(tmp_path / name).read_text().splitlines() for name in ("ours.csv", "theirs.csv")]
    ours, theirs = ([*csv.DictReader(text)] for text in texts)
    assert result.epoch == len(theirs) < 40
    assert texts[0][0] == texts[1][0]  # the names
    for name in theirs[0]:
        assert [float(row[name]) for row in ours] == pytest.approx([float(row[name]) for row in theirs], rel=1e-3), name
    shown = loop.state.objects(keras.Model)["model"].get_weights()
    for mine, other in zip(shown, model.get_weights(), strict=True):
        assert mine == pytest.approx(other, rel=1e-3)


@pytest.mark.more
def test_weights_that_are_put_back_at_the_end_do_not_enter_the_training(tmp_path: Path) -> None:
    def stopping(patience: int) -> keras.callbacks.Callback:
        return keras.callbacks.EarlyStopping("val_loss", patience=patience, min_delta=9.0, restore_best_weights=True)

    loop = make([stopping(9)])
    loop.run(epochs=2)
    best = loop.state.objects(keras.Model)["model"].get_weights()
    loop.run(epochs=3)
    whole = make([stopping(9)])
    whole.run(epochs=3)
    assert [digest(v.read_value()) for p, v in loop.state.variables.items() if "seconds" not in p] == [
        digest(v.read_value()) for p, v in whole.state.variables.items() if "seconds" not in p
    ]
    assert [each.tolist() for each in best] == [
        each.tolist() for each in whole.state.objects(keras.Model)["model"].get_weights()
    ]


class Halts(Hook):
    """Counts how often the compiled loop returns."""

    def __init__(self) -> None:
        super().__init__()
        self.at: list[int] = []

    def on_settled(self, moment: Moment) -> None:
        self.at.append(moment.step)


class AtBatches(keras.callbacks.Callback):
    def on_batch_end(self, batch: int, logs: Logs = None) -> None:
        if batch == 2:
            self.model.stop_training = True


@pytest.mark.more
def test_the_loop_halts_at_each_step_only_for_callbacks_that_do_something_there(tmp_path: Path) -> None:
    halts = Halts()
    idle = [
        keras.callbacks.TensorBoard(str(tmp_path / "tensorboard")),
        keras.callbacks.ModelCheckpoint(str(tmp_path / "{epoch}.weights.h5"), save_weights_only=True),
        keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: None),
        keras.callbacks.LearningRateScheduler(lambda epoch: 0.1),
    ]
    with pytest.warns(UserWarning, match="TensorBoard: what it has written after"):
        make([*idle, halts]).run(epochs=2)
    assert halts.at == [4, 8]
    assert sorted(path.name for path in tmp_path.glob("*.h5")) == ["1.weights.h5", "2.weights.h5"]
    batches: list[int] = []
    busy = [
        keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: batches.append(batch)),
        keras.callbacks.ModelCheckpoint(str(tmp_path / "{batch}.keras"), save_freq=3),
    ]
    halts = Halts()
    make([*busy, halts]).run(epochs=1)
    assert (halts.at, batches) == ([1, 2, 3, 4], [0, 1, 2, 3])
    assert [path.name for path in tmp_path.glob("*.keras")] == ["3.keras"]


@pytest.mark.more
def test_a_callback_ends_the_run_after_the_step_and_again_at_once_unless_it_is_made_otherwise(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "checkpoints")
    result = make([AtBatches(), checkpoint]).run(epochs=3)
    assert (result.step, result.reason) == (3, "AtBatches has set model.stop_training")
    again = make([AtBatches(), Checkpoint(tmp_path / "checkpoints")]).run(epochs=3)
    assert (again.step, again.reason) == (3, "AtBatches has set model.stop_training")
    other = AtBatches()
    other.patience = 3
    assert make([other, Checkpoint(tmp_path / "checkpoints")]).run(steps=4).step == 4


class Holds(keras.callbacks.Callback):
    """Keeps something that no checkpoint can hold, and something that one can, in an object of its own."""

    class Meter:
        def __init__(self) -> None:
            self.total, self.names = 0.0, {"a": 1}

    def __init__(self) -> None:
        super().__init__()
        self.meter, self.generator = self.Meter(), None

    def on_train_begin(self, logs: Logs = None) -> None:
        self.generator = (number for number in range(99))

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        self.meter.total += logs["loss"]
        self.last = next(self.generator)
        self.lock = threading.Lock()

    def on_test_batch_end(self, batch: int, logs: Logs = None) -> None:
        pass


@pytest.mark.more
def test_what_is_lost_is_named_when_a_run_begins_and_when_it_goes_on(tmp_path: Path) -> None:
    whole = Holds()
    with pytest.warns(UserWarning, match="callback|not be called") as said:
        make([whole, Checkpoint(tmp_path)]).run(epochs=2)
    ours = [each for each in said if issubclass(each.category, UserWarning)]
    assert [str(each.message).split(". ")[0].split(": ", 1)[1] for each in ours] == [
        "on_test_batch_end will not be called: an evaluation runs as a whole.",
        "Holds.generator (a generator)",
        "Holds.lock (a lock)",
    ]
    again = Holds()
    with pytest.warns(UserWarning, match="callback|not be called") as said:
        make([again, Checkpoint(tmp_path)]).run(epochs=3)
    assert "begun anew with: Holds.generator (a generator), Holds.lock (a lock). Numbers" in str(said[1].message)
    assert len(said) == 2
    assert again.meter.total > whole.meter.total > 0  # goes on from there
    assert again.last == 0  # but this begins anew


def test_what_a_remote_monitor_would_send_twice_is_told() -> None:
    with pytest.warns(UserWarning, match="RemoteMonitor: what it has sent of epochs .* is sent again, if the run is"):
        make([keras.callbacks.RemoteMonitor()]).run(steps=1)


class Draws(keras.callbacks.Callback):
    """Writes to TensorBoard by writers of its own, or through the hook."""

    def __init__(self, directory: Path, *, lazily: bool = False, board: TensorBoard | None = None) -> None:
        super().__init__()
        self.directory, self.board = str(directory), board
        self.writers = {} if lazily or board is not None else {"val": tf.summary.create_file_writer(self.directory)}

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        if self.board is None and not self.writers:
            self.writers["val"] = tf.summary.create_file_writer(self.directory)
        with self.board.summaries() if self.board is not None else self.writers["val"].as_default(step=epoch):
            tf.summary.scalar("drawn", 1.0)


@pytest.mark.parametrize("lazily", [False, pytest.param(True, marks=pytest.mark.more)])
def test_a_writer_of_summaries_that_a_callback_holds_is_told(tmp_path: Path, lazily: bool) -> None:
    with pytest.warns(UserWarning, match="Draws.writers: what .* stays .* `with tensorboard.summaries") as said:
        make([Draws(tmp_path / "own", lazily=lazily)]).run(epochs=2)
    assert len(said) == 1
    board = TensorBoard(tmp_path / "board")  # as it says
    make([Draws(tmp_path, board=board), board]).run(epochs=2)
    drawn = [
        event
        for file in (tmp_path / "board").rglob("*tfevents*")
        for event in tf.compat.v1.train.summary_iterator(str(file))
    ]
    assert [event.step for event in drawn for value in event.summary.value if value.tag == "drawn"] == [4, 8]


class Steers(keras.callbacks.Callback):
    """Holds the loop and all that it is made of."""

    loop: Loop

    def __init__(self, *held: object) -> None:
        super().__init__()
        self.held, self.seen = held, 0

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        self.seen += self.loop.step


def test_a_callback_may_hold_the_loop_and_what_it_is_made_of(tmp_path: Path) -> None:
    """Of what changes in that, it keeps nothing, so there is nothing to tell."""

    def steered(directory: Path) -> tuple[Loop, Steers]:
        model, optimizer = dense(), keras.optimizers.SGD(0.1)
        train_step, eval_step = supervised(model, optimizer, keras.losses.MeanSquaredError())
        data = StreamData(tf.data.Dataset.from_tensor_slices((X, Y)).shuffle(16, seed=1).batch(4))
        evaluation, average = Evaluation(eval_step, ArrayData((X, Y), batch_size=8)), WeightAverage()
        steers = Steers(data, evaluation, {"average": average}, train_step)
        state = {"model": model, "optimizer": optimizer}
        hooks = [steers, average, Checkpoint(directory)]
        steers.loop = Loop(train_step, data, state=state, evaluate=evaluation, hooks=hooks)
        return steers.loop, steers

    whole, at_once = steered(tmp_path / "whole")
    whole.run(epochs=3)
    steered(tmp_path / "cut")[0].run(epochs=1)
    cut, in_parts = steered(tmp_path / "cut")
    cut.run(epochs=3)
    assert in_parts.seen == at_once.seen == 24
    assert in_parts.loop is cut
    assert [digest(v) for v in cut.state.weights().values()] == [digest(v) for v in whole.state.weights().values()]


class Misspelt(keras.callbacks.Callback):
    """Has methods that nobody calls, and one that it calls itself."""

    def on_epoch_ended(self, epoch: int, logs: Logs = None) -> None:
        raise AssertionError

    on_train_epoch_start = on_epoch_ended

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self.on_epoch_begun()

    def on_epoch_begun(self) -> None:
        pass


def test_methods_that_are_called_like_events_and_by_nobody_are_named() -> None:
    with pytest.warns(UserWarning, match="will not be called: there is no such event") as said:
        make([Misspelt()]).run(epochs=1)
    assert [str(each.message).split("Misspelt: ")[1] for each in said] == [
        "on_epoch_ended will not be called: there is no such event. Did you mean on_epoch_end?",
        "on_train_epoch_start will not be called: there is no such event. Did you mean on_epoch_begin?",
    ]


@dataclasses.dataclass(slots=True)
class Record:
    best: float = 0.0
    seen: list[float] = dataclasses.field(default_factory=list)


class Point(NamedTuple):
    epoch: int
    loss: float


@dataclasses.dataclass(frozen=True)
class Best:
    loss: float = float("inf")
    at: Point | None = None
    weights: list[np.ndarray] = dataclasses.field(default_factory=list)


class Notes(keras.callbacks.Callback):
    """Makes a record anew whenever there is something to note."""

    def __init__(self) -> None:
        super().__init__()
        self.best, self.points, self.worst = Best(), [], None

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        self.points.append(Point(epoch, logs["val_loss"]))
        if logs["val_loss"] < self.best.loss:
            self.best = Best(logs["val_loss"], self.points[-1], self.model.get_weights())
        if self.worst is None or logs["val_loss"] > self.worst.loss:
            self.worst = Best(logs["val_loss"], Point(epoch, 0.0))


def test_records_that_a_callback_makes_anew_are_saved(tmp_path: Path) -> None:
    whole = Notes()
    make([whole]).run(epochs=6)
    for epochs in (2, 4, 5, 6):
        cut = Notes()
        make([cut, Checkpoint(tmp_path)]).run(epochs=epochs)
    assert cut.points == whole.points
    assert type(cut.points[0]) is Point
    assert (cut.best.loss, cut.best.at, cut.worst) == (whole.best.loss, whole.best.at, whole.worst)
    assert [w.tobytes() for w in cut.best.weights] == [w.tobytes() for w in whole.best.weights]


class Follows(keras.callbacks.Callback):
    """Has what it changes, and never replaces: a network, its optimizer, a stream, a callback, an object with slots."""

    def __init__(self, built: bool = True) -> None:
        super().__init__()
        self.network = keras.Sequential([keras.Input([1]), keras.layers.Dense(1, kernel_initializer="ones")])
        self.optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
        if built:
            self.optimizer.build(self.network.weights[:1])
        self.stream, self.generator = keras.random.SeedGenerator(1), tf.random.Generator.from_seed(1)
        self.module = tf.Module()
        self.module.count = tf.Variable(0.0)
        self.inner = [keras.callbacks.ReduceLROnPlateau("loss", mode="min"), keras.callbacks.History()]
        self.record = Record()

    def on_train_begin(self, logs: Logs = None) -> None:
        self.inner[1].on_train_begin()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        (weight, _), drawn = self.network.weights, keras.random.normal([1, 1], seed=self.stream)
        self.optimizer.apply([drawn + self.generator.normal([1, 1])], [weight])
        self.module.count.assign_add(logs["loss"])
        self.inner[0].wait += 1
        self.inner[1].history.setdefault("loss", []).append(logs["loss"])
        self.record.best = max(self.record.best, logs["loss"])
        self.record.seen.append(logs["loss"])

    def found(self) -> tuple[object, ...]:
        numbers = [variable.numpy().tolist() for variable in (*self.network.weights, *self.optimizer.variables)]
        drawn = [self.stream.state.numpy().tolist(), self.generator.state.numpy().tolist()]
        return numbers, drawn, float(self.module.count), self.inner[0].wait, self.inner[1].history, self.record


@pytest.mark.more
def test_what_a_callback_changes_in_place_is_saved(tmp_path: Path) -> None:
    w = tf.Variable(0.0)

    def trained(follows: Follows, epochs: int, *hooks: Hook) -> tuple[object, ...]:
        w.assign(0.0)
        data, state = ArrayData(tf.range(8.0), batch_size=2), {"w": w}
        Loop(lambda x: {"loss": w.assign_add(1.0)}, data, state=state, hooks=[follows, *hooks]).run(epochs=epochs)
        return follows.found()

    whole = trained(Follows(), 4)
    trained(Follows(), 2, Checkpoint(tmp_path))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert trained(Follows(), 4, Checkpoint(tmp_path)) == whole
    trained(Follows(built=False), 5, Checkpoint(tmp_path / "later"))
    with pytest.warns(UserWarning, match=r"begun anew with: Follows.optimizer \(a SGD that is built later, and has to"):
        trained(Follows(built=False), 6, Checkpoint(tmp_path / "later"))


def test_what_tensorflow_tracks_is_written_by_its_variables() -> None:
    module, dataset = tf.Module(), tf.data.Dataset.range(3)
    module.listed = [tf.Variable(1.0), tf.Variable([2, 3])]
    saved = tf.train.Checkpoint(module=module)
    for value in (module, module.listed, saved):
        written = write(value, things := Things(), ".value")
        module.listed[1].assign([8, 9])
        assert read(written.text, iter(written.bits), Present(things, {})) is value
        assert module.listed[1].numpy().tolist() == [2, 3]
    assert write(dataset, Things(), ".dataset").bits == ()
    (bits,) = write([module], Things(), ".modules", {id(module.listed[0])}).bits
    assert bits.tolist() == [2, 3]


def test_what_is_in_the_state_of_the_loop_is_not_saved_once_more(tmp_path: Path) -> None:
    class Refers(keras.callbacks.Callback):
        def __init__(self, model: keras.Model) -> None:
            super().__init__()
            self.of_loop, self.own = model, keras.Sequential([keras.Input([1]), keras.layers.Dense(1)])

        def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
            self.own.set_weights(self.of_loop.get_weights())

    model = keras.Sequential([keras.Input([1]), keras.layers.Dense(1)])
    (weight, _), hook = model.weights, KerasCallbacks(Refers(model))
    data = ArrayData(tf.range(4.0), batch_size=2)
    Loop(lambda x: {"loss": weight.assign_add([[1.0]])[0, 0]}, data, state={"model": model}, hooks=[hook]).run(epochs=1)
    assert '"own"' in (kept := hook.kept.numpy().tobytes().decode("latin-1"))
    assert '"of_loop"' not in kept


def test_what_goes_on_by_itself_is_named_from_the_beginning(tmp_path: Path) -> None:
    class Reads(keras.callbacks.Callback):
        def __init__(self) -> None:
            super().__init__()
            self.batches, self.file = iter(tf.data.Dataset.range(9)), (tmp_path / "log").open("w", encoding="utf-8")
            self.names, self.rows = ["a"], [zip("ab", "cd", strict=True)]

        def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
            next(self.batches)

        def on_train_end(self, logs: Logs = None) -> None:
            self.file.close()

    with pytest.warns(UserWarning, match="callbacks lose") as said:
        Loop(lambda x: {"loss": x}, tf.data.Dataset.range(2), state={}, hooks=[Reads()]).run(epochs=1)
    lost = "Reads.batches (a OwnedIterator), Reads.file (a TextIOWrapper), Reads.rows (a zip)"
    ours = [each for each in said if issubclass(each.category, UserWarning)]  # and none that AutoGraph causes
    assert str(ours[0].message).startswith(f"If the run is interrupted, callbacks lose: {lost}.")
    assert len(ours) == 1


@pytest.mark.more
def test_a_finished_script_that_is_run_again_leaves_its_file_alone(tmp_path: Path) -> None:
    def hooks() -> list[Hook | keras.callbacks.Callback]:
        return [keras.callbacks.CSVLogger(str(tmp_path / "log.csv")), Checkpoint(tmp_path / "checkpoints")]

    make(hooks()).run(epochs=2)
    log = (tmp_path / "log.csv").read_text()
    make(hooks()).run(epochs=2)
    assert (tmp_path / "log.csv").read_text() == log
    make(hooks()).run(epochs=3)
    assert (tmp_path / "log.csv").read_text().startswith(log)
    assert len(log.splitlines()) == 3


@pytest.mark.more
def test_callbacks_in_a_row_are_one_hook_and_share_their_logs(caplog: pytest.LogCaptureFixture) -> None:
    seen = []

    class Adds(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
            logs["f1"] = 0.5

    see = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(logs["f1"]))
    loop = make([Adds(), see, Halts(), keras.callbacks.History()])
    loop.hooks.add(keras.callbacks.TerminateOnNaN())
    assert [hook.name for hook in loop.hooks] == ["keras_callbacks", "halts", "keras_callbacks_2", "keras_callbacks_3"]
    result = loop.run(epochs=2)
    assert seen == [0.5, 0.5]
    said = [record.getMessage() for record in caplog.records if "into the logs" in record.getMessage()]
    assert said == [
        "Callbacks have put 'f1' into the logs. Other callbacks see it; RunResult.history and other hooks do not. For "
        "these, write KerasCallbacks([...], reports=['f1'])."
    ]
    assert "f1" not in result.history
    caplog.clear()
    loop = make([KerasCallbacks([Adds()], reports=["f1"]), keras.callbacks.LearningRateScheduler(lambda epoch: 0.1)])
    assert loop.run(epochs=2).history["f1"] == [0.5, 0.5]
    assert "into the logs" not in caplog.text


def test_what_is_no_number_is_not_advised_to_be_reported(caplog: pytest.LogCaptureFixture) -> None:
    class Adds(keras.callbacks.Callback):
        def __init__(self, **values: object) -> None:
            super().__init__()
            self.values = values

        def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
            logs.update(self.values)

    def said(**values: object) -> str:
        caplog.clear()
        Loop(lambda x: {"loss": x}, tf.data.Dataset.range(2), state={}, hooks=[Adds(**values)]).run(epochs=1)
        return caplog.records[0].getMessage()

    matrix = np.eye(2)
    assert said(matrix=matrix, text="x", f1=np.float32(3)).endswith("write KerasCallbacks([...], reports=['f1']).")
    assert said(matrix=matrix).endswith(
        "'matrix' into the logs. Other callbacks see it; RunResult.history and other hooks do not."
    )
    hook = KerasCallbacks([Adds(matrix=matrix, f1=np.float32(3))], reports=["f1"])  # as advised
    assert Loop(lambda x: {"loss": x}, tf.data.Dataset.range(2), state={}, hooks=[hook]).run(epochs=1).logs["f1"] == 3.0


@pytest.mark.more
def test_the_last_logs_are_those_of_the_last_epoch_also_of_one_that_is_cut_or_was_over_before(tmp_path: Path) -> None:
    class Ends(keras.callbacks.Callback):
        def __init__(self, at: tuple[int, int]) -> None:
            super().__init__()
            self.at, self.epoch = at, 0

        def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
            self.epoch = epoch

        def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
            self.model.stop_training = self.model.stop_training or (self.epoch, batch) == self.at

        def on_train_end(self, logs: Logs = None) -> None:
            ends.append(logs)

    def run(at: tuple[int, int], name: str, epochs: int = 2, steps: int | None = None) -> None:
        step, evaluation = (lambda x: {"loss": x}), Evaluation(lambda x: {"loss": 2 * x}, tf.data.Dataset.range(3))
        hooks = [Ends(at), Checkpoint(tmp_path / name)]
        loop = Loop(step, tf.data.Dataset.range(4), state={}, evaluate=evaluation, hooks=hooks)
        loop.run(epochs=epochs, steps=steps)

    ends: list[Logs] = []
    run((9, 9), "cut at first", steps=2)  # before any epoch is complete
    run((9, 9), "cut", steps=7)  # what was evaluated at the end of the first epoch is no value of this one
    run((0, 1), "stopped at first")  # which ends the epoch
    run((1, 2), "stopped")
    cut, stopped = [{"loss": 0.5}, {"loss": 1.0}], [{"loss": 0.5, "val_loss": 2.0}, {"loss": 1.0, "val_loss": 2.0}]
    assert [ends.pop(0) for _ in range(4)] == cut + stopped
    for _ in range(2):  # the second time, there is nothing left to do
        run((9, 9), "whole")
        assert ends.pop() == {"loss": 1.5, "val_loss": 2.0}


def test_callbacks_in_lists_and_in_a_callback_list_of_keras_are_those_in_it() -> None:
    one, two, three = keras.callbacks.History(), keras.callbacks.TerminateOnNaN(), keras.callbacks.History()
    both = keras.callbacks.CallbackList([one, two])
    assert KerasCallbacks([both, [three]]).callbacks == [one, two, three]
    assert KerasCallbacks(both).callbacks == [one, two]
    with pytest.raises(ValueError, match="BackupAndRestore would put other weights"):
        KerasCallbacks(keras.callbacks.CallbackList([keras.callbacks.BackupAndRestore("x")]))
    with pytest.raises(TypeError, match="A str is none"):
        KerasCallbacks("CSVLogger")


@pytest.mark.more
def test_without_a_model_callbacks_run_and_what_needs_one_says_what_to_do() -> None:
    w = tf.Variable(0.0)

    def step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"loss": w.assign_add(tf.reduce_mean(x))}

    def loop(*callbacks: keras.callbacks.Callback, **state: object) -> Loop:
        return Loop(step, ArrayData(tf.range(8.0), batch_size=2), state={"w": w, **state}, hooks=[*callbacks])

    result = loop(AtBatches(), keras.callbacks.EarlyStopping("loss", patience=0)).run(epochs=3)
    assert (result.step, result.reason) == (3, "AtBatches has set model.stop_training")
    best = keras.callbacks.EarlyStopping("loss", restore_best_weights=True)
    with pytest.raises(AttributeError, match=r"model.get_weights, and state=... has no keras.Model"):
        loop(best).run(epochs=1)
    with pytest.raises(AttributeError, match=r"has 2 models: a, b. Write KerasCallbacks\(\[...\], model=model\)"):
        loop(keras.callbacks.EarlyStopping("loss", restore_best_weights=True), a=dense(), b=dense()).run(epochs=1)
    with pytest.raises(ValueError, match=r"monitors 'lss', but this loop logs: 'loss'\. Did you mean 'loss'\? Of"):
        loop(keras.callbacks.EarlyStopping("lss")).run(epochs=1)


def test_what_nobody_knows_to_be_better_is_to_be_said() -> None:
    w = tf.Variable(0.0)
    hooks = [keras.callbacks.EarlyStopping("value")]
    data = ArrayData(tf.range(8.0), batch_size=2)
    loop = Loop(lambda x: {"value": w.assign_add(tf.reduce_mean(x))}, data, state={"w": w}, hooks=hooks)
    with pytest.raises(ValueError, match=r"monitor='value'\) does not say what is better.*mode='min'"):
        loop.run(epochs=1)


@pytest.mark.more
def test_the_model_and_its_optimizer_are_what_they_were_after_a_run() -> None:
    rates = []
    see = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: rates.append(see.model.optimizer))
    loop = make([see])
    loop.run(epochs=1)
    model, optimizer = loop.state.objects(keras.Model)["model"], loop.state.objects(keras.Optimizer)["optimizer"]
    assert rates == [optimizer]
    assert "optimizer" not in vars(model)
    model.compile(keras.optimizers.Adam())  # which is not that of the loop
    loop.run(epochs=2)
    assert rates == [optimizer, optimizer]
    assert isinstance(model.optimizer, keras.optimizers.Adam)


@pytest.mark.more
def test_an_evaluation_that_is_abandoned_takes_back_what_callbacks_did_for_it(tmp_path: Path) -> None:
    class Stops(Hook):
        def __init__(self) -> None:
            super().__init__()
            self.there = tf.Variable(0)  # so that it stops once, also after the resume

        def on_setup(self, loop: Loop, moment: Moment) -> None:
            self.loop_stop = loop.stop

        def on_eval_begin(self, moment: Moment) -> None:
            if moment.step == 8 and not moment.resumed:
                self.loop_stop("now")

    def hooks() -> list[Hook | keras.callbacks.Callback]:
        averages = KerasCallbacks(keras.callbacks.SwapEMAWeights())
        return [averages, Stops(), Checkpoint(tmp_path, Every(steps=1))]

    first = make(hooks(), ema=True)
    assert first.run(epochs=3).reason == "now"
    again = make(hooks(), ema=True)
    again.run(epochs=3)
    whole = make([keras.callbacks.SwapEMAWeights()], ema=True)
    whole.run(epochs=3)
    for path, variable in whole.state.variables.items():
        assert "seconds" in path or digest(variable.read_value()) == digest(again.state.variables[path].read_value())


class Seen(keras.callbacks.Callback):
    """Keeps what it has seen in attributes, and in a list that somebody else may have, too."""

    def __init__(self, tolerant: bool = True) -> None:
        super().__init__()
        self.count, self.losses, self.tolerant = 0, [], tolerant

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        self.count += 1
        self.losses.append(logs["loss"])
        self.latest = logs["loss"]
        if self.count == 2 and not self.tolerant:
            raise RuntimeError("This callback has had enough.")


@pytest.mark.more
def test_what_callbacks_have_kept_of_steps_that_are_undone_goes(tmp_path: Path) -> None:
    whole, back, again = Seen(), Seen(), Seen(tolerant=False)
    make([whole]).run(epochs=3)
    losses = back.losses
    once = [True]

    def loses(moment: Moment) -> None:
        if once and once.pop():
            loop.roll_back("it was asked to")

    loop = make([back, Checkpoint(tmp_path / "back", At(3))])  # when the callback has seen nothing
    loop.on("step_end", At(6))(loses)
    loop.run(epochs=3)
    assert (back.count, back.losses, back.latest) == (3, whole.losses, whole.latest)
    assert losses is back.losses
    loop = make([again, Checkpoint(tmp_path / "again", At(3))])
    with pytest.raises(RuntimeError, match="had enough"):
        loop.run(epochs=3)
    again.tolerant = True  # what the program has changed itself stays
    loop.run(epochs=3)
    assert (again.count, again.losses, again.tolerant) == (3, whole.losses, True)
