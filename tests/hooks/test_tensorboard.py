"""Event files, as TensorFlow and real TensorBoard servers read them.

    PYTHONPATH=.:tests python tests/hooks/test_tensorboard.py DIRECTORY STEP

is one life of a run, killed by SIGKILL after that step.
"""

import contextlib
import http.client
import json
import logging
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import nursery
import pytest
import tensorflow as tf
from lives import Killer
from summary_lives import Accident
from tiny import make_loop

from hooks import Checkpoint, Profile, TensorBoard
from hooks.board import event_file, summaries
from hooks.board.event_file import EventFile
from hooks.shared import in_time
from loop import ArrayData, At, Evaluation, Event, Every, Halt, Hook, Loop, Moment, Step, Trigger

Curve = list[tuple[int, float]]
Shown = TypeVar("Shown")

EPOCHS, KILL_AT, RESTORED, LAST = 3, 19, 16, 21
OF_STEPS = [("train", "accuracy"), ("train", "learning_rate"), ("train", "loss")]
OF_EPOCHS = [("train", f"epoch_{name}") for _, name in OF_STEPS] + [
    ("val", name) for name in ("accuracy", "epoch_accuracy", "epoch_loss", "loss")
]
THREES = [*range(3, 22, 3)]
DRAWN = {
    "rates": [[7, 14, 21]] * 2,
    "weights": (8, [7, 14, 21]),
    "checks": [7, 14, 21],
    "sessions": [({"kind": "tiny", "rate": 0.01}, "STATUS_SUCCESS", [LAST])],
    "graph": True,
    "configuration": 1,
    "pictures": THREES,
    "texts": [(step, f"<p><strong>{step}</strong></p>") for step in THREES],
    "histograms": [(step, step) for step in THREES],
}
LOADING = {"fast loading": [], "slow loading": ["--load_fast=false"]}


def live(directory: Path, kill_at: int | None = None) -> None:
    """One life of a run that draws every step and saves every fourth."""
    killer = [] if kill_at is None else [Killer(f"step_end:{kill_at}")]
    drawing = TensorBoard(
        directory / "tensorboard",
        Every(steps=1),
        images={"checks": lambda moment: np.eye(4, dtype=np.float32)},
        histograms=True,
        graph=True,
        rate=True,
        hparams={"rate": 0.01, "kind": "tiny"},
    )
    loop = make_loop([drawing, *killer, Checkpoint(directory / "checkpoints", Every(steps=4))])

    @loop.on(Event.STEP_END, every=Every(steps=3))
    def draw(moment: Moment) -> None:
        drawing.image("squares", np.full([2, 4, 4], moment.step / 30)[..., None], moment)
        drawing.text("said", f"**{moment.step}**", moment)
        drawing.histogram("spread", tf.range(moment.step), moment, run="val")

    loop.run(epochs=EPOCHS)


def files(directory: Path) -> list[Path]:
    """Returns the event files of one run in the order in which TensorBoard reads them."""
    return sorted(path for path in directory.iterdir() if "tfevents" in path.name)


def events(file: Path) -> list[tf.compat.v1.Event]:
    """Returns what is in an event file; raises if its last record is not whole."""
    return [tf.compat.v1.Event.FromString(record) for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator()]


def points(directory: Path) -> list[tuple[str, str, int, float]]:
    """Returns run, tag, step and value of every point below a directory, in the order in which they are read."""
    return [
        (run.name, value.tag, event.step, value.simple_value)
        for run in sorted(directory.iterdir())
        for file in files(run)
        for event in events(file)
        for value in event.summary.value
        if value.tag not in ("steps_per_second", "examples_per_second", "configuration")  # which are others in each run
    ]


def curve(directory: Path, run: str, tag: str) -> Curve:
    return [(step, value) for of_run, of_tag, step, value in points(directory) if (of_run, of_tag) == (run, tag)]


def steps(directory: Path, run: str = "train", tag: str = "loss") -> list[int]:
    return [step for step, _ in curve(directory, run, tag)]


@contextlib.contextmanager
def server(directory: Path, loading: str) -> Iterator[int]:
    """Runs a TensorBoard on the loopback interface and gives its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = {"--logdir": directory, "--port": port, "--host": "127.0.0.1", "--reload_interval": 1}
    words = [str(word) for option in options.items() for word in option]
    process = subprocess.Popen([sys.executable, "-m", "tensorboard.main", *words, *LOADING[loading]])
    try:
        yield port
    finally:
        process.terminate()
        process.wait()


def ask(port: int, path: str, **wanted: str) -> Any:
    """Returns what a TensorBoard answers at present; nothing if it is not up, or knows no such curve."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        try:
            connection.request("GET", f"/data/plugin/{path}?{urllib.parse.urlencode(wanted)}")
            response = connection.getresponse()
            return json.load(response) if response.status == http.HTTPStatus.OK else {}
        except OSError:
            return {}


def sessions(port: int) -> list[tuple[dict[str, object], str, list[int]]]:
    """Returns what the dashboard of hyperparameters shows of each run: these, its status, the step of a metric."""
    metric = {"group": "", "tag": "hparams/val_loss"}
    statuses = ["STATUS_SUCCESS", "STATUS_RUNNING"]
    wanted = {"experimentName": "", "allowedStatuses": statuses, "startIndex": 0, "sliceSize": 9}
    body = json.dumps({**wanted, "colParams": [{"metric": metric}]})
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        headers = {"Content-Type": "application/json"}
        connection.request("POST", "/data/plugin/hparams/session_groups", body, headers)
        groups = json.load(connection.getresponse()).get("sessionGroups", [])
    return [
        (
            group["hparams"],
            session["status"],
            [each["trainingStep"] for each in session["metricValues"] if each["name"] == metric],
        )
        for group in groups
        for session in group["sessions"]
    ]


def answer(port: int, run: str, tag: str) -> Curve:
    """Returns what a TensorBoard shows of one curve at present."""
    return [(step, value) for _, step, value in ask(port, "scalars/scalars", run=run, tag=tag)]


def drawn(port: int) -> dict[str, list[object]]:
    """Returns what a TensorBoard shows besides curves."""
    pictures = ask(port, "images/images", run="train", tag="squares", sample="1")
    texts = ask(port, "text/text", run="train", tag="said")
    spread = ask(port, "histograms/histograms", run="val", tag="spread")
    weights = ask(port, "histograms/tags").get("train", {})
    of_first = ask(port, "histograms/histograms", run="train", tag=min(weights, default=""))
    tags = ("steps_per_second", "examples_per_second")
    rates = [ask(port, "scalars/scalars", run="train", tag=tag) for tag in tags]
    return {
        "rates": [[step for _, step, rate in of_tag if rate > 0] for of_tag in rates],
        "weights": (len(weights), [step for _, step, _ in of_first]),
        "checks": [each["step"] for each in ask(port, "images/images", run="train", tag="checks", sample="0")],
        "sessions": sessions(port),
        "graph": [*ask(port, "graphs/info")] != [],
        "configuration": len(ask(port, "text/text", run="train", tag="configuration")),
        "pictures": [each["step"] for each in pictures],
        "texts": [(each["step"], each["text"]) for each in texts],
        "histograms": [(step, sum(count for _, _, count in buckets)) for _, step, buckets in spread],
    }


def asked_until(ask: Callable[[], Shown], enough: Callable[[Shown], bool]) -> Shown:
    """Asks again and again until an answer is enough, or for five minutes: a TensorBoard reads its files by and by."""
    deadline = time.monotonic() + 300
    shown = ask()
    while not enough(shown) and time.monotonic() < deadline:
        time.sleep(0.2)
        shown = ask()
    return shown


def answer_up_to(step: int, port: int, run: str, tag: str) -> Curve:
    """Asks until a curve has come to a step."""
    return asked_until(lambda: answer(port, run, tag), lambda curve: [at for at, _ in curve][-1:] == [step])


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[object, object]]:
    """What TensorBoards show of a run that was killed and resumed, and what is in the files of an uninterrupted one.

    The servers "across the kill" have read the points of the killed process before the next one begins.
    """
    uninterrupted, killed = (tmp_path_factory.mktemp(name) for name in ("uninterrupted", "killed"))
    first_life = nursery.start(__file__, killed, str(KILL_AT))
    live(uninterrupted)
    assert first_life.wait() == -signal.SIGKILL
    names, logs = OF_STEPS + OF_EPOCHS, killed / "tensorboard"
    found = {"files": {name: curve(uninterrupted / "tensorboard", *name) for name in names}}
    with contextlib.ExitStack() as stack:
        ports = {f"{loading}, across the kill": stack.enter_context(server(logs, loading)) for loading in LOADING}
        before = {key: answer_up_to(KILL_AT, port, "train", "loss") for key, port in ports.items()}
        assert [len(of_server) for of_server in before.values()] == [KILL_AT, KILL_AT]
        live(killed)
        ports |= {f"{loading}, started later": stack.enter_context(server(logs, loading)) for loading in LOADING}
        for key, port in ports.items():
            found[key] = {name: answer_up_to(LAST, port, *name) for name in names} | {
                "drawn": asked_until(lambda of=port: drawn(of), lambda shown: shown == DRAWN)
            }
    return found


@pytest.mark.more
@pytest.mark.parametrize("began", ["across the kill", "started later"])
@pytest.mark.parametrize("loading", LOADING)
def test_a_server_shows_a_killed_run_as_if_it_had_not_been(
    shown: dict[str, dict[object, object]], loading: str, began: str
) -> None:
    answered = {**shown[f"{loading}, {began}"]}
    assert answered.pop("drawn") == DRAWN
    expected = {name: [*range(1, 22)] for name in OF_STEPS} | {name: [7, 14, 21] for name in OF_EPOCHS}
    assert {name: [step for step, _ in of_name] for name, of_name in answered.items()} == expected
    assert answered == shown["files"]


class Logs(Hook):
    """Collects what is logged, as the float32 that an event file holds."""

    every: Trigger = Every(steps=1)

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[tuple[Event, int], dict[str, float]] = {}

    def collect(self, moment: Moment) -> None:
        self.seen[moment.event, moment.step] = {name: float(np.float32(v)) for name, v in moment.logs.items()}

    on_step_end = on_eval_end = on_epoch_end = collect


def test_a_run_writes_steps_epochs_and_evaluations_under_their_steps(tmp_path: Path) -> None:
    logs = Logs()
    make_loop([logs, TensorBoard(tmp_path, Every(steps=3))]).run(epochs=2)

    def both(run: str, step: int, event: Event, tag: str, logged: str) -> list[tuple[str, str, int, float]]:
        names = ("accuracy", "learning_rate", "loss") if run == "train" else ("accuracy", "loss")
        return [(run, f"{tag}{name}", step, logs.seen[event, step][f"{logged}{name}"]) for name in names]

    assert points(tmp_path) == [
        *both("train", 3, Event.STEP_END, "", ""),
        *both("train", 6, Event.STEP_END, "", ""),
        *both("train", 7, Event.EPOCH_END, "epoch_", ""),
        *both("train", 9, Event.STEP_END, "", ""),
        *both("train", 12, Event.STEP_END, "", ""),
        *both("train", 14, Event.EPOCH_END, "epoch_", ""),
        *both("val", 7, Event.EVAL_END, "", "val_"),
        *both("val", 7, Event.EVAL_END, "epoch_", "val_"),
        *both("val", 14, Event.EVAL_END, "", "val_"),
        *both("val", 14, Event.EVAL_END, "epoch_", "val_"),
    ]


# From here on, one weight will do: 7 steps an epoch, each drawn, every fourth saved.


class StopInEvaluation(Hook):
    """Asks for the end while an evaluation goes on."""

    def on_setup(self, loop: Loop, moment: Moment) -> None:
        self._loop = loop

    def on_eval_begin(self, moment: Moment) -> None:
        self._loop.stop("it is enough")


def line_loop(directory: Path, *hooks: Hook) -> Loop:
    weight = tf.Variable(1.0)

    def train_step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        weight.assign_add(tf.reduce_mean(x))
        return {"loss": weight.read_value()}

    x = np.arange(14, dtype=np.float32)
    return Loop(
        train_step,
        ArrayData(x, batch_size=2, seed=1),
        state={"weight": weight},
        evaluate=Evaluation(lambda batch: {"loss": weight * tf.reduce_mean(batch)}, ArrayData(x, batch_size=7)),
        hooks=[
            TensorBoard(directory / "tensorboard", Every(steps=1)),
            *hooks,
            Checkpoint(directory / "checkpoints", Every(steps=4)),
        ],
    )


def crash_after_step_10(directory: Path) -> Path:
    """Leaves the files of a run that will be resumed from step 8; returns the event file of its train steps."""
    with pytest.raises(ConnectionError):
        line_loop(directory, Accident(10)).run(steps=20)
    (file,) = files(directory / "tensorboard/train")
    return file


@pytest.mark.more
def test_points_after_the_restored_step_disappear_from_the_file(tmp_path: Path) -> None:
    file = crash_after_step_10(tmp_path)
    assert [event.step for event in events(file)] == [0, 1, 0, 1, 2, 3, 4, 5, 6, 7, 7, 8, 9, 10]
    line_loop(tmp_path).run(steps=9)
    assert [event.step for event in events(file)] == [0, 1, 0, 1, 2, 3, 4, 5, 6, 7, 7, 8]
    assert steps(tmp_path / "tensorboard") == [*range(1, 10)]


def test_values_of_steps_are_written_without_a_halt_and_running_results_with_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_time, "SECOND", Every(seconds=1e9))  # or a slow machine halts after a second

    class Pieces(Hook):
        def __init__(self) -> None:
            super().__init__()
            self.lengths: list[int] = []
            self.loss: list[float] = []

        def on_steps(self, first_step: int, values: dict[str, np.ndarray]) -> None:
            self.lengths.append(len(values["loss"]))
            self.loss += values["loss"].tolist()

    for running, lengths in ((False, [7, 7]), (True, [2, 1, 1, 3, 1, 4, 2])):
        weight, pieces, metric = tf.Variable(1.0), Pieces(), keras.metrics.Mean()

        def train_step(x: tf.Tensor, weight: tf.Variable = weight) -> dict[str, tf.Tensor]:
            return {"loss": weight.assign_add(tf.reduce_mean(x))}

        step = Step(train_step, metrics={"mean": metric}) if running else train_step
        data = ArrayData(np.arange(14, dtype=np.float32), batch_size=2, seed=1)
        board = TensorBoard(tmp_path / str(running), At(2, 3) | Every(steps=4))
        Loop(step, data, state={"weight": weight}, hooks=[board, pieces]).run(steps=14)
        assert pieces.lengths == lengths
        assert curve(tmp_path / str(running), "train", "loss") == [(at, pieces.loss[at - 1]) for at in (2, 3, 4, 8, 12)]


class AlsoAtTheEnd(Every):
    """Fires at the end of an epoch besides."""

    def due(self, halt: Halt) -> bool:
        return super().due(halt) or halt.epoch is not None


def test_the_steps_that_are_drawn_can_be_changed_between_runs_and_come_from_any_trigger(tmp_path: Path) -> None:
    weight, board = tf.Variable(1.0), TensorBoard(tmp_path, Every(steps=3))
    data = ArrayData(np.arange(10, dtype=np.float32), batch_size=2, seed=1)
    loop = Loop(lambda x: {"loss": weight.assign_add(x[0])}, data, state={"weight": weight}, hooks=[board])
    loop.run(steps=4)
    assert repr(board.every) == "Every(steps=3)"
    loop.run(steps=7)
    board.every = At(8, 9)
    loop.run(steps=10)
    board.every |= At(11)
    loop.run(steps=12)
    board.every = AlsoAtTheEnd(steps=4)
    loop.run(steps=17)
    assert steps(tmp_path) == [3, 6, 8, 9, 11, 15, 16]


@pytest.mark.more
@pytest.mark.parametrize("missing", [1, 7, 30])
def test_a_last_record_that_was_cut_off_disappears_from_the_file(tmp_path: Path, missing: int) -> None:
    file = crash_after_step_10(tmp_path)
    os.truncate(file, file.stat().st_size - missing)
    with pytest.raises(tf.errors.DataLossError):
        events(file)
    line_loop(tmp_path).run(steps=12)
    assert [event.step for event in events(file)] == [0, 1, 0, 1, 2, 3, 4, 5, 6, 7, 7, 8]
    assert steps(tmp_path / "tensorboard") == [*range(1, 13)]


@pytest.mark.more
def test_without_a_checkpoint_the_points_of_the_earlier_run_are_replaced(tmp_path: Path) -> None:
    for _ in range(2):
        loop = line_loop(tmp_path)
        loop.hooks.remove("checkpoint")
        loop.run(steps=9)
    assert steps(tmp_path / "tensorboard") == [*range(1, 10)]
    assert steps(tmp_path / "tensorboard", "val") == [7]


def test_each_file_begins_with_the_start_of_a_session_at_the_next_step(tmp_path: Path) -> None:
    loop = line_loop(tmp_path)
    loop.run(steps=5)
    loop.run(steps=9)
    start = tf.compat.v1.SessionLog.START
    for run in ("train", "val"):
        heads = [events(file)[:2] for file in files(tmp_path / "tensorboard" / run)]
        assert [[head[0].file_version, head[1].session_log.status, head[1].step] for head in heads] == [
            ["brain.Event:2", start, 1],
            ["brain.Event:2", start, 6],
        ]
    assert steps(tmp_path / "tensorboard") == [*range(1, 10)]


def test_a_new_file_is_read_after_the_others_even_if_the_clock_was_set_back(tmp_path: Path) -> None:
    old = crash_after_step_10(tmp_path)
    future = old.replace(old.with_name("events.out.tfevents.4000000000.elsewhere.7"))
    line_loop(tmp_path).run(steps=12)
    first, second = files(old.parent)
    assert [first, second.name.split(".")[:4]] == [future, ["events", "out", "tfevents", "4000000001"]]
    assert steps(tmp_path / "tensorboard") == [*range(1, 13)]


@pytest.mark.more
def test_an_evaluation_that_is_redone_after_a_second_kill_is_one_point(tmp_path: Path) -> None:
    # Saved at step 7 with the evaluation still due, so each resume from there redoes it.
    line_loop(tmp_path, StopInEvaluation()).run(steps=20)
    with pytest.raises(ConnectionError):
        line_loop(tmp_path, Accident(8)).run(steps=20)
    line_loop(tmp_path).run(steps=9)
    names = {("train", "loss"): [*range(1, 10)], ("train", "epoch_loss"): [7], ("val", "loss"): [7]}
    assert {name: steps(tmp_path / "tensorboard", *name) for name in names} == names


def test_a_cut_that_fails_leaves_the_file_as_it_was_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = crash_after_step_10(tmp_path)
    before = file.read_bytes()

    def fail(path: Path, target: Path) -> Path:
        raise OSError("the disk is gone")

    loop = line_loop(tmp_path)
    loop.hooks.remove("checkpoint")
    loop.hooks["tensor_board"].on_error = "raise"
    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="the disk is gone"):
        loop.run(steps=9)
    assert files(file.parent) == [file]  # and none that TensorBoard would take for an event file
    assert file.read_bytes() == before


@contextlib.contextmanager
def full_disk(room: int) -> Iterator[None]:
    """Lets no file of this process grow beyond so many bytes: what is too much is written up to there."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


class FullDisk(Hook):
    """Makes the disk full after one step, with room for so many bytes more, and empties it after another one."""

    every: Trigger = Every(steps=1)

    def __init__(self, directory: Path, begin: int, end: int, room: int) -> None:
        super().__init__()
        self._directory, self._begin, self._end, self._room = directory, begin, end, room
        self._full = contextlib.ExitStack()

    def on_run_begin(self, moment: Moment) -> None:
        self._look(moment)

    def on_step_end(self, moment: Moment) -> None:
        self._look(moment)

    def on_run_end(self, moment: Moment) -> None:
        self._full.close()

    def _look(self, moment: Moment) -> None:
        if moment.step == self._begin:
            sizes = [path.stat().st_size for path in self._directory.rglob("*tfevents*")]
            self._full.enter_context(full_disk(max(sizes, default=0) + self._room))
        elif moment.step == self._end:
            self._full.close()


@pytest.mark.more
@pytest.mark.parametrize("begin", [0, 3, 6])
def test_values_that_found_no_room_are_written_when_there_is_some(
    tmp_path: Path, begin: int, caplog: pytest.LogCaptureFixture
) -> None:
    full = FullDisk(tmp_path, begin, 12, 30)
    loop, plain = line_loop(tmp_path, full), line_loop(tmp_path / "plain")
    loop.hooks.remove("checkpoint")
    if begin == 0:  # before its first file is made
        drawing = loop.hooks.remove("tensor_board")
        loop.hooks.add(drawing)
    loop.run(steps=16)
    plain.run(steps=16)
    assert sorted(points(tmp_path / "tensorboard")) == sorted(points(tmp_path / "plain/tensorboard"))
    (said,) = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert "Hook 'tensor_board' failed in on_" in said
    # Those of a run that goes on from here are cut back and go on as ever.
    line_loop(tmp_path).run(steps=5)
    assert steps(tmp_path / "tensorboard") == [*range(1, 6)]


@pytest.mark.parametrize("until_the_end", [False, True])
def test_what_is_missing_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, until_the_end: bool
) -> None:
    monkeypatch.setattr(event_file, "LIMIT", 4)
    file = EventFile(tmp_path, 0)
    file.write(1, {"loss": 1.0})
    with full_disk(1), contextlib.suppress(tf.errors.OpError):
        for step in range(2, 9):
            with pytest.raises(tf.errors.OpError):
                file.write(step, {"loss": 1.0})
        if until_the_end:
            file.close()
    if not until_the_end:
        file.close()
    missing = "2 to 8" if until_the_end else "2 to 4"
    assert [record.message for record in caplog.records] == [f"No values of steps {missing} in {tmp_path}."]
    expected = [1] if until_the_end else [1, 5, 6, 7, 8]
    EventFile(tmp_path, 9).flush()  # the next run, which mends what was cut off
    assert [e.step for path in files(tmp_path) for e in events(path) if e.summary.value] == expected


@pytest.mark.parametrize("how", ["directory", "file", "cut"])
def test_what_somebody_removes_meanwhile_is_told_and_the_rest_is_written(
    how: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory = tmp_path / "train"
    file = EventFile(directory, 0)
    file.write(1, {"loss": 1.0})
    (path,) = files(directory)
    if how == "directory":
        shutil.rmtree(directory)
    elif how == "file":
        path.unlink()
    else:
        os.truncate(path, 0)
    for step in (2, 3):
        file.write(step, {"loss": 1.0})
    file.close()
    assert [e.step for path in files(directory) for e in events(path) if e.summary.value] == [2, 3]
    (said,) = [record.message for record in caplog.records]
    assert said == f"{path} was removed or cut by somebody. What it had is missing; another is begun."


def test_a_copy_by_hard_links_gets_no_points_of_the_run_that_goes_on(tmp_path: Path) -> None:
    directory, copy = tmp_path / "train", tmp_path / "copy"
    file = EventFile(directory, 0)
    file.write(1, {"loss": 1.0})
    shutil.copytree(directory, copy, copy_function=os.link)
    for step in (2, 3):
        file.write(step, {"loss": 1.0})
    file.close()
    assert [
        [e.step for path in files(each) for e in events(path) if e.summary.value] for each in (directory, copy)
    ] == [
        [1, 2, 3],
        [1],
    ]
    assert len(files(directory)) == 2


@pytest.mark.more
def test_each_point_is_there_once_wherever_a_write_breaks_off(tmp_path: Path) -> None:
    file = EventFile(tmp_path, 0)
    file.write(1, {"loss": 1.0})
    failures = 0
    for room in range(120):
        size = files(tmp_path)[-1].stat().st_size
        with full_disk(size + room):
            try:
                file.write(2 * room + 2, {"loss": 1.0})
            except tf.errors.OpError:
                failures += 1
        file.write(2 * room + 3, {"loss": 1.0})
    file.close()
    assert 20 < failures < 100
    assert [e.step for path in files(tmp_path) for e in events(path) if e.summary.value] == [*range(1, 242)]


@pytest.mark.parametrize("name", [b"\xff\xfe", "žluť".encode()])
def test_a_directory_may_have_any_name(tmp_path: Path, name: bytes) -> None:
    directory = os.path.join(os.fsencode(tmp_path), name)
    loop = line_loop(Path(os.fsdecode(directory)), Profile(directory, first=2, steps=1, on_error="raise"))
    loop.hooks["tensor_board"].on_error = "raise"
    loop.run(steps=3)
    line_loop(Path(os.fsdecode(directory))).run(steps=5)
    os.rename(directory, tmp_path / "plain")  # for TensorFlow's reader
    assert steps(tmp_path / "plain/tensorboard") == [1, 2, 3, 4, 5]
    assert len([*(tmp_path / "plain").glob("plugins/profile/*/*.xplane.pb")]) == 1


if __name__ == "__main__":
    tf.config.experimental.enable_op_determinism()
    live(Path(sys.argv[1]), int(sys.argv[2]))


@pytest.mark.parametrize("shape", [[], [5], [4, 4, 2], [2, 4, 4, 5], [1, 2, 4, 4, 1]])
def test_a_picture_has_a_shape_that_can_be_drawn(shape: list[int], tmp_path: Path) -> None:
    loop = line_loop(tmp_path)
    drawing = loop.hooks["tensor_board"]
    loop.on(Event.STEP_END, every=At(1))(lambda moment: drawing.image("x", np.zeros(shape), moment))
    with pytest.raises(ValueError, match=r"A picture for 'x' needs shape \[height, width\].*Add an axis"):
        loop.run(steps=1)
    with pytest.raises(RuntimeError, match="writes while a run is under way"):
        drawing.text("x", "y", Moment(Event.SETTLED, 1, 0, 1, {}, False, False, None, print))


@pytest.mark.parametrize(
    ("shape", "dtype", "what"),
    [
        ([4, 4], "int64", "Write tf.cast(images, tf.uint8)."),  # which would be black, of 2^63
        ([4, 4], "uint32", "Write tf.cast(images, tf.uint8)."),
        ([4, 4], "bool", "Write tf.cast(images, tf.uint8)."),
        ([4, 0], "uint8", "It has no pixels."),  # of which TensorFlow would die
        ([0, 4, 3], "float32", "It has no pixels."),
        ([2, 4, 0, 3], "uint8", "It has no pixels."),
    ],
)
def test_a_picture_has_pixels_of_which_it_is_known_what_is_white(shape: list[int], dtype: str, what: str) -> None:
    with pytest.raises(ValueError, match=rf"A picture for 'x' .*dtype {dtype}\. ") as caught:
        summaries.picture("x", np.zeros(shape, dtype), 16)
    assert str(caught.value).endswith(what)


def test_what_is_no_number_is_black_and_no_picture_at_all_is_none() -> None:
    made = summaries.picture("x", np.array([[np.nan, 1.0]], np.float32), 16)
    assert tf.io.decode_png(made.tensor.string_val[2]).numpy().ravel().tolist() == [0, 255]
    assert len(summaries.picture("x", np.zeros([0, 4, 4, 3]), 16).tensor.string_val) == 2


def test_pictures_of_all_kinds_are_taken_and_an_unknown_run_is_named(tmp_path: Path) -> None:
    loop = line_loop(tmp_path)
    drawing = loop.hooks["tensor_board"]

    @loop.on(Event.STEP_END, every=At(1))
    def draw(moment: Moment) -> None:
        for name, shape in {"a": [2, 3], "b": [2, 3, 3], "c": [20, 2, 3, 4]}.items():
            drawing.image(name, np.zeros(shape, np.uint8), moment)
        with pytest.raises(ValueError, match=r"TensorBoard has the runs 'train'.*Received: run='nope'"):
            drawing.text("x", "y", moment, run="nope")

    loop.run(steps=1)
    (file,) = files(tmp_path / "tensorboard" / "train")
    found = {value.tag: value.tensor.string_val for event in events(file) for value in event.summary.value}
    assert {tag: (values[:2], len(values) - 2) for tag, values in found.items() if tag in "abc"} == {
        "a": ([b"3", b"2"], 1),
        "b": ([b"3", b"2"], 1),
        "c": ([b"3", b"2"], 16),
    }
