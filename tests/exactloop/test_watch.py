"""What is to be seen of a run that goes on elsewhere, from its files."""

import dataclasses
import errno
import fcntl
import itertools
import json
import math
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import nursery
import pytest
import rich.console
import tensorflow as tf
from absl import flags
from absl.testing import flagsaver
from places import TESTS, environment
from rich.cells import cell_len
from screen import recorded, seen

from exactloop import cli
from exactloop.watching.events import EventReader
from exactloop.watching.found import runs
from exactloop.watching.growing import Growing
from exactloop.watching.picture import picture, sparkline
from exactloop.watching.rows import RowReader
from exactloop.watching.run import WatchedRun
from exactloop.watching.saves import Saves
from exactloop.watching.status import Status
from hooks import Checkpoint, MetricsLog, TensorBoard
from hooks.checkpoint.disk.directory import open_files
from loop import ArrayData, Evaluation, Every, Hook, Loop, Moment

HOOKS = ("checkpoints", "tensorboard", "log.csv")


def make_loop(directory: Path, *names: str, hooks: tuple[Hook, ...] = ()) -> Loop:
    """Returns a loop of 5 steps an epoch whose loss is 9 less than nothing, each step, with some of `HOOKS`."""
    weight = tf.Variable(9.0)
    known: dict[str, Hook] = {
        "checkpoints": Checkpoint(directory / "checkpoints", Every(steps=2), keep=2),
        "tensorboard": TensorBoard(directory / "tensorboard", Every(steps=1)),
        "log.csv": MetricsLog(directory / "log.csv", Every(steps=1)),
    }
    return Loop(
        lambda x: {"loss": weight.assign_sub(1.0)},
        ArrayData(tf.range(5.0), batch_size=1, seed=1),
        state={"weight": weight},
        evaluate=Evaluation(lambda x: {"loss": -weight}, ArrayData(tf.range(2.0), batch_size=2)),
        hooks=[*(known[name] for name in names or HOOKS), *hooks],
    )


@pytest.fixture(autouse=True)
def parsed() -> None:
    flags.FLAGS.mark_as_parsed()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run of 3 epochs."""
    directory = tmp_path_factory.mktemp("finished")
    make_loop(directory).run(epochs=3)
    return directory


def of(directory: Path | str) -> Status:
    status = WatchedRun(str(directory)).look()
    assert status is not None
    return status


def contents(directory: Path) -> dict[str, tuple[int, bytes]]:
    files = [path for path in directory.rglob("*") if path.is_file()]
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def test_a_run_that_is_over_says_where_it_ended(finished: Path) -> None:
    before = contents(finished)
    status = of(finished)
    assert (status.state, status.step, status.total, status.epoch, status.epochs) == ("finished", 15, 15, 3, 3)
    assert (status.saved, status.rate, status.left, status.wrong) == (15, None, None, "")
    assert status.curves["loss"] == [(step, 9.0 - step) for step in range(1, 16)]
    assert status.curves["val_loss"] == [(5, -4.0), (10, 1.0), (15, 6.0)]
    assert status.values == {"loss": -6.0, "val_loss": 6.0}
    assert status.age is not None
    assert status.silent is not None
    assert 0 <= status.age < 1e4
    assert contents(finished) == before  # and nothing is disturbed


@pytest.mark.more
@pytest.mark.parametrize("name", HOOKS)
def test_each_kind_of_file_tells_it_alone(name: str, tmp_path: Path) -> None:
    make_loop(tmp_path, name).run(epochs=2)
    status = of(tmp_path)
    assert (status.step, status.epoch) == (10, 2)
    assert (status.total, status.state) == ((10, "finished") if name == "checkpoints" else (None, ""))
    of_steps = [(step, 9.0 - step) for step in range(1, 11)]
    assert status.curves["loss"] == (of_steps[7:8] if name == "checkpoints" else of_steps)
    assert status.curves["val_loss"][-1] == (10, 1.0)


def test_a_run_under_way_is_seen_at_each_step(tmp_path: Path) -> None:
    watched, found = WatchedRun(str(tmp_path)), list[Status | None]()
    assert watched.look() is None

    class Watcher(Hook):
        def on_settled(self, moment: Moment) -> None:
            found.append(watched.look())

    make_loop(tmp_path, hooks=(Watcher(),)).run(epochs=2)
    seen = [status for status in found if status is not None]
    assert {status.state for status in seen} == {f"running, process {os.getpid()}"}
    assert [status.step for status in seen] == sorted(status.step for status in seen)
    assert [status.wrong for status in seen] == [""] * len(seen)
    assert {status.total for status in seen if status.saved} <= {10, None}
    assert of(tmp_path).state == "finished"
    last = watched.look()
    assert last is not None
    assert last.curves == of(tmp_path).curves  # read by and by, or at once


@pytest.mark.more
def test_a_run_that_was_killed_is_not_running_and_one_that_goes_on_is_cut_back(tmp_path: Path) -> None:
    class Accident(Hook):
        every = Every(steps=1)

        def on_step_end(self, moment: Moment) -> None:
            if moment.step == 7:
                raise ConnectionError("an accident")

    watched = WatchedRun(str(tmp_path))
    with pytest.raises(ConnectionError):
        make_loop(tmp_path, hooks=(Accident(),)).run(epochs=3)
    status = watched.look()
    assert status is not None
    assert (status.state, status.saved, status.total, status.rate) == ("not running", 6, 15, None)
    assert status.step in (6, 7)
    make_loop(tmp_path).run(epochs=3)
    after = watched.look()
    assert after is not None
    assert (after.state, after.step) == ("finished", 15)
    assert after.curves == of(tmp_path).curves
    assert [step for step, _ in after.curves["loss"]] == [*range(1, 16)]


def test_a_total_that_is_another_one_by_now_is_not_told(tmp_path: Path) -> None:
    make_loop(tmp_path, "checkpoints").run(epochs=1)
    make_loop(tmp_path, "checkpoints").run(steps=8)
    assert (of(tmp_path).step, of(tmp_path).total, of(tmp_path).epochs) == (8, 8, 2)


def test_the_time_left_is_that_of_the_last_minute(tmp_path: Path) -> None:
    path = tmp_path / "train" / "events.out.tfevents.1.host.1"
    path.parent.mkdir()
    start = tf.compat.v1.SessionLog(status=tf.compat.v1.SessionLog.START)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for at, step in [(0.0, 100), (100.0, 110), (1000.0, 200), (1010.0, 300), (1050.0, 400)]:
            value = tf.compat.v1.Summary.Value(tag="loss", simple_value=1.0)
            event = tf.compat.v1.Event(wall_time=at, step=step, summary=tf.compat.v1.Summary(value=[value]))
            writer.write(event.SerializeToString())
        writer.write(tf.compat.v1.Event(wall_time=1060.0, step=401).SerializeToString())
    assert of(tmp_path).rate == 200 / 50
    with tf.io.TFRecordWriter(str(path)) as writer:  # a session of its own begins at step 400
        writer.write(tf.compat.v1.Event(wall_time=5000.0, step=401, session_log=start).SerializeToString())
        value = tf.compat.v1.Summary.Value(tag="loss", simple_value=1.0)
        event = tf.compat.v1.Event(wall_time=5100.0, step=600, summary=tf.compat.v1.Summary(value=[value]))
        writer.write(event.SerializeToString())
    assert of(tmp_path).rate == 200 / 100


def test_scalars_of_tf_summary_are_read_and_nothing_else(tmp_path: Path) -> None:
    writer = tf.summary.create_file_writer(str(tmp_path / "val"))
    with writer.as_default():
        for step in (1, 2):
            tf.summary.scalar("loss", step / 4, step=step)
            tf.summary.image("picture", tf.zeros([1, 600, 600, 3]), step=step)
            tf.summary.histogram("weights", tf.range(9.0), step=step)
            tf.summary.text("said", "something", step=step)
    writer.close()
    assert of(tmp_path).curves == {"val_loss": [(1, 0.25), (2, 0.5)]}


def growing(whole: bytes, path: Path) -> Iterator[None]:
    """Writes a file piece by piece, anywhere within its lines and records."""
    with path.open("wb", buffering=0) as file:
        for first in range(0, len(whole), 7):
            file.write(whole[first : first + 7])
            yield


@pytest.mark.parametrize("kind", ["events", "rows"])
def test_half_of_a_line_or_record_is_left_until_it_is_whole(kind: str, finished: Path, tmp_path: Path) -> None:
    source = finished / "log.csv" if kind == "rows" else next((finished / "tensorboard" / "train").iterdir())
    path = tmp_path / "train" / source.name
    path.parent.mkdir()
    reader = RowReader(str(path)) if kind == "rows" else EventReader(str(path))
    counts = list[int]()
    for _ in growing(source.read_bytes(), path):
        reader.read()
        points = reader.series.points.get("loss", {})
        counts.append(len(points))
        assert [*points.values()] == [9.0 - step for step in points]
    assert counts == sorted(counts)
    assert counts[-1] == 15
    assert {0, 1, 2, 14} <= {*counts}


def test_times_that_are_none_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    path = tmp_path / "train" / "events.out.tfevents.1.host"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for step, when in enumerate([math.nan, 100.0, math.inf, 102.0, -math.inf, math.nan], start=1):
            value = tf.compat.v1.Summary.Value(tag="loss", simple_value=1.0)
            event = tf.compat.v1.Event(wall_time=when, step=step, summary=tf.compat.v1.Summary(value=[value]))
            writer.write(event.SerializeToString())
    assert (of(tmp_path).rate, len(of(tmp_path).curves["loss"])) == (1.0, 6)


def test_a_file_that_is_cut_or_replaced_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"abcdef")
    file = Growing(str(path))

    def look() -> tuple[bool, bytes]:
        anew, data, size = file.look()
        file.took(data, len(data))
        assert size == len(data)
        return anew, data

    assert look() == (False, b"abcdef")
    assert look() == (False, b"")
    path.write_bytes(b"abcdefgh")
    assert look() == (False, b"gh")
    os.truncate(path, 3)
    assert look() == (True, b"abc")
    path.write_bytes(b"abXdef")  # cut and written again between two looks
    assert look() == (True, b"abXdef")
    other = tmp_path / "other"
    other.write_bytes(b"abXdef and more")
    other.replace(path)
    assert look() == (True, b"abXdef and more")
    path.unlink()
    with pytest.raises(FileNotFoundError):
        file.look()


def test_what_is_no_plain_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "log.csv")
    (tmp_path / "events.out.tfevents.1").mkdir()
    (tmp_path / "other.csv").write_text("kind of thing,price\n1,2\n")
    (tmp_path / "more.jsonl").write_text('{"text": "step"}\n' * 100_000)
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "log.csv").write_text("kind,step,epoch,loss\nstep,1,1,0.5\n")
    assert WatchedRun(str(tmp_path)).look() is None


def test_a_damaged_manifest_is_named_and_the_others_are_read(finished: Path, tmp_path: Path) -> None:
    saved = tmp_path / "checkpoints"
    saved.mkdir()
    for path in (finished / "checkpoints").iterdir():
        (saved / path.name).write_bytes(path.read_bytes())
    os.truncate(saved / "ckpt-15.json", 50)
    status = of(tmp_path)
    assert (status.step, status.saved) == (14, 14)
    assert status.wrong.startswith("ckpt-15.json not a manifest")


def test_what_is_pruned_meanwhile_is_not_damaged(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in (finished / "checkpoints").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    stat = os.stat

    def pruned(path: object, *more: object, **most: object) -> os.stat_result:
        found = stat(path, *more, **most)  # type: ignore[arg-type]
        if str(path).endswith("ckpt-14.json"):
            os.unlink(str(path))
        return found

    monkeypatch.setattr(os, "stat", pruned)
    saves = Saves(str(tmp_path))
    saves.read()
    assert ([each.record.step for each in saves.manifests], saves.wrong) == ([15], "")


@pytest.mark.more
def test_runs_are_told_apart(tmp_path: Path) -> None:
    for name in ("a", "b"):
        make_loop(tmp_path / "sweep" / name).run(epochs=1)
    make_loop(tmp_path / "sweep" / "deeper" / "c", "tensorboard").run(epochs=1)
    (tmp_path / "sweep" / "notes").mkdir()
    assert runs(str(tmp_path)) == [str(tmp_path / "sweep" / name) for name in ("a", "b", "deeper")]
    assert runs(str(tmp_path / "sweep" / "a")) == [str(tmp_path / "sweep" / "a")]
    assert runs(str(tmp_path / "sweep" / "a" / "checkpoints")) == [str(tmp_path / "sweep" / "a" / "checkpoints")]
    assert runs(str(tmp_path / "nothing")) == [str(tmp_path / "nothing")]


def test_links_and_hidden_directories_are_no_further_runs(tmp_path: Path) -> None:
    for name in ("a", "b", ".old"):
        (tmp_path / name / "checkpoints").mkdir(parents=True)
        (tmp_path / name / "checkpoints" / ".lock").touch()
    (tmp_path / "latest").symlink_to("b")
    (tmp_path / "again").symlink_to(".")
    (tmp_path / "a" / "up").symlink_to("..")
    assert runs(str(tmp_path)) == [str(tmp_path / "a"), str(tmp_path / "b")]


def test_a_process_that_waits_for_some_lock_hides_no_run(tmp_path: Path) -> None:
    files, saves = open_files(tmp_path / "checkpoints"), Saves(str(tmp_path / "checkpoints"))
    files.lock()
    other = tmp_path / "other"
    with other.open("w") as holding, other.open() as waiting:
        fcntl.flock(holding, fcntl.LOCK_EX)
        thread = threading.Thread(target=fcntl.flock, args=(waiting, fcntl.LOCK_EX))
        thread.start()
        while not re.search(rf"-> FLOCK .*:{other.stat().st_ino} ", Path("/proc/locks").read_text()):
            os.sched_yield()
        held = saves.holder()
        fcntl.flock(holding, fcntl.LOCK_UN)
        thread.join()
    files.close()
    assert (held, saves.holder()) == (os.getpid(), 0)


def shown(directories: list[Path], width: int) -> list[str]:
    console = rich.console.Console(width=width, force_terminal=True, color_system=None)
    with console.capture() as captured:
        console.print(picture([(each.name, WatchedRun(str(each)).look()) for each in directories], width))
    return captured.get().splitlines()


def test_runs_are_shown_beside_one_another_where_there_is_room(finished: Path, tmp_path: Path) -> None:
    for width, beside in ((60, 1), (80, 1), (120, 2), (200, 3)):
        lines = shown([finished, finished, finished, tmp_path], width)
        assert max(map(cell_len, lines)) <= width
        assert max(line.count("epoch 3/3 ━━") for line in lines) == beside
        assert sum(line.count("15/15 finished") for line in lines) == 3 if width > 60 else True
        assert sum("Nothing of a run is here yet" in line for line in lines) == 1
        assert sum(line.count("█") > 0 for line in lines) > 0
    (loss,) = [line for line in shown([finished], 80) if line.startswith("│ loss ")]
    assert loss.split()[-4:] == ["-6", "-6", "8", "│"]
    assert "██" not in loss.split()[2][3:]
    assert (loss.split()[2][0], loss.split()[2][-1]) == ("█", "▁")


def test_a_narrow_window_has_names_and_latest_values_and_no_order_to_the_terminal(finished: Path) -> None:
    curves = {"[red]x": [(1, 0.5)], "名前🙂": [(1, 0.25), (2, 4.0)], "x\x1b[2J": [(1, math.nan)]}
    status = dataclasses.replace(of(finished), curves=curves, wrong="it is \x1b[2J [/] damaged")
    for width in (3, 8, 12, 20, 40, 80):
        console = rich.console.Console(width=width, force_terminal=True, color_system=None)
        with console.capture() as captured:
            console.print(picture([("a[b]\x1b[2J", status), ("c", None)], width))
        lines = captured.get().splitlines()
        assert max(map(cell_len, lines)) == width
        assert "\x1b" not in captured.get()
        if width >= 20:
            found = [line.strip("│ ").split() for line in lines]
            assert {("[red]x", "0.5"), ("名前🙂", "4"), (r"x\x1b[2J", "nan")} <= {
                (words[0], words[2 if width == 80 else -1]) for words in found if len(words) > 1
            }


def test_no_number_is_cut_and_names_are_told_apart_by_their_ends(finished: Path) -> None:
    values = (39_999_999_344_640.0, -123456.789e-300)
    long = [f"validation_on_the_held_out_set_{name}" for name in ("loss", "accuracy")]
    curves = {name: [(1, value)] for value, name in zip(values, long, strict=True)}
    status = dataclasses.replace(of(finished), curves=curves)
    console = rich.console.Console(width=80, color_system=None)
    with console.capture() as captured:
        console.print(picture([("a", status)], 80))
    words = [line.strip("│ ").split() for line in captured.get().splitlines()]
    found = {line[0]: line[2:] for line in words if line[0].startswith("valid")}
    assert found == {"validation…_set_loss": ["4e+13"] * 3, "validation…_accuracy": ["-1.23e-295"] * 3}


@pytest.mark.parametrize(
    ("points", "width", "expected"),
    [
        ([(1, 0.0), (2, 7.0)], 10, "▁█"),
        ([(step, float(step)) for step in range(8)], 8, "▁▂▃▄▅▆▇█"),
        ([(step, float(step)) for step in range(800)], 8, "▁▂▃▄▅▆▇█"),
        ([(0, 1.0), (1, math.nan), (2, 2.0)], 3, "▁?█"),
        ([(0, math.inf)], 3, "?"),
        ([(5, 2.5)], 3, "▁"),
        ([(5, 2.5), (6, 1.0)], 0, ""),
        ([(5, 2.5), (6, 1.0)], -3, ""),
        ([(5, 2.5), (6, 2.5)], 3, "▁▁"),
        ([(0, -1.7e308), (1, 1.7e308)], 3, "▁▁"),
        ([(0, 1.0), (90, 1.0), (91, 2.0), (99, 0.0)], 4, "▅▅▅▅"),
    ],
)
def test_curves_fit(points: list[tuple[int, float]], width: int, expected: str) -> None:
    found = sparkline(points, width)
    assert len(found) <= max(0, width)
    if expected != "▅▅▅▅":
        assert found == expected


def test_once_prints_a_picture_and_json_what_is_in_it(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with flagsaver.flagsaver(once=True):
        assert cli.main(["exactloop", "watch", str(finished)]) == 0
    out = capsys.readouterr().out
    assert "saved" in out
    assert "15/15" in out
    with flagsaver.flagsaver(json=True):
        assert cli.main(["exactloop", "watch", str(finished), str(finished / "checkpoints")]) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert (first["step"], second["step"], first["values"]["loss"]) == (15, 15, -6.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "exactloop watch: another number of arguments is needed. Received: none.\n\nexactloop watch DIRECTORY"),
        (["nowhere"], "exactloop watch: There is no directory 'nowhere'."),
        (["file"], "exactloop watch: It needs the directory of a run. Received a file. Write exactloop watch .\n"),
        (["gs://bucket/run"], "exactloop watch: It reads directories of this machine. Received: 'gs://bucket/run'."),
        (["."], "exactloop watch: Nothing of a run is in '.': no checkpoints, no event files of TensorBoard, no rows"),
    ],
)
def test_wrong_uses_are_told(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    assert cli.main(["exactloop", "watch", *arguments]) == 2
    assert capsys.readouterr().err.startswith(message)


def test_a_directory_that_may_not_be_read_is_not_an_empty_one(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(path: object) -> list[str]:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    monkeypatch.setattr(os, "listdir", refused)
    assert cli.main(["exactloop", "watch", str(finished)]) == 2
    assert capsys.readouterr().err == f"exactloop watch: [Errno 13] Permission denied: '{finished}'\n"


COMMAND = [sys.executable, "-m", "exactloop", "watch"]


@pytest.mark.long
def test_it_refreshes_on_a_terminal_until_it_is_interrupted(finished: Path) -> None:
    script = f"import sys, threading, os, signal, time; sys.argv = ['exactloop', 'watch', {str(finished)!r}]\n"
    script += "threading.Timer(3.0, os.kill, [os.getpid(), signal.SIGINT]).start()\n"
    script += "from exactloop.cli import run; run()"
    status, written = recorded([sys.executable, "-c", script], environment(TERM="xterm"), [80])
    assert status == 0
    assert len(re.findall("saved", written)) >= 2
    lines = seen(written, 80)
    assert sum("15/15" in line for line in lines) == 1  # in its place
    assert "Traceback" not in written


@pytest.mark.long
def test_it_sees_a_run_that_is_killed_again_and_again(tmp_path: Path) -> None:
    """While processes train, prune, cut and are killed, whoever looks sees steps in order, and nothing wrong."""
    watched, problems, killed = WatchedRun(str(tmp_path)), list[str](), 0
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and killed < 4:
        process = nursery.start(TESTS / "exactloop/watched_life.py", tmp_path)
        began, latest = time.monotonic(), 0
        while process.poll() is None:
            status = watched.look()
            if status is not None:
                problems += [status.wrong] if status.wrong else []
                latest = status.step
                if time.monotonic() - began > 8 and latest and status.state.startswith("running"):
                    process.send_signal(signal.SIGKILL)
                    killed += 1
                    process.wait()
                    break
        after = watched.look()
        assert after is not None
        assert after.state in ("not running", "finished")
        fresh = of(tmp_path)
        assert after.curves == fresh.curves
    assert (killed, problems) == (4, [])
    steps = [step for step, _ in of(tmp_path).curves["loss"]]
    assert steps == sorted({*steps})
    assert [b - a for a, b in itertools.pairwise(steps)] == [1] * (len(steps) - 1)
