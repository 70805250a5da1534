"""Logs of values as rows, and trackers: each row once, in whatever way a run was interrupted."""

import csv
import errno
import json
import logging
import math
import os
from pathlib import Path

import nursery
import pytest
import tensorflow as tf
from log_lives import Store, make_loop
from places import TESTS

from exactloop.watching.rows import RowReader
from hooks import Checkpoint, MetricsLog, Tracker
from hooks.board.event_file import EventFile
from hooks.shared.row_file import LIMIT, RowFile
from hooks.shared.row_format import Row
from loop import NEVER, ArrayData, Every, Hook, Loop, Moment
from loop.tf_internals import records

EVENTS = {  # and the steps, or numbers, at which they come
    "step_end": range(1, 10),
    "eval_begin": (2, 4, 6, 8),
    "eval_end": (2, 4, 6, 8),
    "epoch_end": (3, 6, 9),
    "settled": range(1, 10),
    "half": range(1, 19),
    "sent": range(1, 10),
    "stop": (2, 4, 6, 8),
}


def differences(directory: Path, *kills: str) -> str:
    ran = nursery.run(TESTS / "hooks/log_lives.py", directory, *kills)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_a_run_killed_while_a_row_is_written_leaves_the_same_files(tmp_path: Path) -> None:
    assert differences(tmp_path, "half:9") == ""


@pytest.mark.long
@pytest.mark.parametrize("event", EVENTS)
def test_a_run_killed_at_any_step_leaves_the_same_files(event: str, tmp_path: Path) -> None:
    assert differences(tmp_path, *(f"{event}:{at}" for at in EVENTS[event])) == ""


def test_rows_are_what_was_logged(tmp_path: Path) -> None:
    make_loop(tmp_path).run(steps=4)
    with (tmp_path / "log.csv").open(newline="") as file:
        rows = [*csv.DictReader(file)]
    assert [(row["kind"], row["step"], row["epoch"]) for row in rows] == [
        ("step", "1", "1"),
        ("step", "2", "1"),
        ("evaluation", "2", "1"),
        ("step", "3", "1"),
        ("epoch", "3", "1"),
        ("step", "4", "2"),
        ("evaluation", "4", "2"),
    ]
    assert [*rows[0]] == ["kind", "step", "epoch", "a, b", "loss", "val_loss", "probe", "at_step"]
    assert [bool(rows[4][name]) for name in ("loss", "val_loss", "probe")] == [True, False, False]  # of another step
    assert float(rows[5]["at_step"]) == 4 / 3
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    of_csv = [{name: float(cell) for name, cell in row.items() if cell and name != "kind"} for row in rows]
    of_json = [{name: value for name, value in line.items() if name != "kind"} for line in lines]
    assert of_json == [row for row, said in zip(of_csv, rows, strict=True) if int(said["step"]) % 2 == 0 or "epoch" in
                       said["kind"]]  # fmt: skip


def rows(*steps: int, **values: float) -> list[Row]:
    return [Row("step", step, 1, {"loss": step / 2} | values) for step in steps]


def written(path: Path, step: int, given: list[Row], *names: str) -> str:
    file = RowFile(path, step, names)
    for row in given:
        file.add(row)
    file.close()
    return path.read_text()


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_torn_line_goes_and_what_comes_again_takes_the_place_of_what_is_there(tmp_path: Path, suffix: str) -> None:
    path, whole = tmp_path / f"log{suffix}", tmp_path / f"whole{suffix}"
    expected = written(whole, 0, rows(1, 2, 3, 4), "loss")
    written(path, 0, rows(1, 2, 3), "loss")
    for cut in range(len(path.read_bytes()) + 1):
        torn = path.read_bytes()[:cut]
        other = tmp_path / f"other{suffix}"
        other.write_bytes(torn)
        RowFile(other, 0, ()).check()
        assert written(other, 0, rows(1, 2, 3, 4), "loss") == expected
    with path.open("a") as file:
        file.write('step,4,1,1\n{"kind": "step", "st' if suffix == ".csv" else '{"kind": "step", "st')
    assert written(path, 3, [Row("step", 3, 1, {"loss": 1.5}), *rows(4)], "loss") == expected


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_lines_that_are_no_rows_are_left_out_and_told(
    tmp_path: Path, suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / f"log{suffix}"
    expected = written(path, 0, rows(1, 2, 3), "loss")
    lines = expected.splitlines(keepends=True)
    path.write_text("".join([*lines[:-1], "\0\0\0\n", "some words\n", lines[-1]]))
    assert written(path, 3, [], "loss") == expected
    (said,) = [record.message for record in caplog.records]
    assert said == f"{path}: 2 of its lines are no rows of values, and are left out."


def test_new_names_get_columns_at_the_end_of_the_same_file(tmp_path: Path) -> None:
    path, link = tmp_path / "log.csv", tmp_path / "link.csv"
    link.symlink_to(path)
    written(path, 0, rows(1, 2), "loss")
    assert written(link, 1, [*rows(2, rate=0.5), *rows(3, x=math.nan)], "loss", "rate") == (
        "kind,step,epoch,loss,rate,x\nstep,1,1,0.5,,\nstep,2,1,1.0,0.5,\nstep,3,1,1.5,,nan\n"
    )
    assert link.is_symlink()
    assert [each.name for each in sorted(tmp_path.iterdir())] == ["link.csv", "log.csv"]


NAMES = ["a,b", 'a"b', "a\nb", "a\r\nb", "a\rb", "step", "kind", "é", " a ", "", "value:step", "value:loss"]
NAMES.append("value:value:kind")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_any_name_comes_back(tmp_path: Path, suffix: str, name: str) -> None:
    path = tmp_path / f"log{suffix}"
    given = [Row("step", step, 1, {name: value}) for step, value in enumerate([0.1, math.inf, -0.0, 2.0**53], 1)]
    file = RowFile(path, 0, (name,))
    for row in given:
        file.add(row)
    file.close()
    before = path.read_bytes()
    RowFile(path, 4, (name,)).close()
    assert path.read_bytes() == before
    reader = RowReader(str(path))
    reader.read()
    assert reader.series.points == {name: {row.step: row.values[name] for row in given}}
    again = RowFile(path, 4, (name, "more"))
    again.flush()
    assert [row for _, row in again.rows(0)] == given
    again.close()


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_name_that_is_no_text_makes_the_same_file_after_a_resume(tmp_path: Path, suffix: str) -> None:
    whole, cut = tmp_path / f"whole{suffix}", tmp_path / f"cut{suffix}"
    name, given = "a\udc80", [Row("step", step, 1, {"a\udc80": float(step)}) for step in (1, 2, 3)]
    written(whole, 0, given, name)
    written(cut, 0, given[:2], name)
    written(cut, 1, given[1:], name)
    assert cut.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("how", ["removed", "removed with its directory", "replaced", "cut", "somebody else's"])
@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_file_that_somebody_touches_meanwhile_is_gone_on_with_and_told(
    how: str, suffix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "logs" / f"log{suffix}"
    file = RowFile(path, 0, ("loss",))
    for row in rows(1, 2):
        file.add(row)
        file.flush()
    if how.startswith("removed"):
        path.unlink()
    if how == "removed with its directory":
        path.parent.rmdir()
    if how == "replaced":  # as editors do
        (tmp_path / "new").write_bytes(path.read_bytes())
        (tmp_path / "new").replace(path)
    if how == "cut":
        os.truncate(path, 0)
    if how == "somebody else's":
        (tmp_path / "new").write_text("a letter\n")
        (tmp_path / "new").replace(path)
        file.add(rows(3)[0])
        for _ in range(2):
            with pytest.raises(ValueError, match="no log of values"):
                file.flush()
        assert path.read_text() == "a letter\n"
        path.unlink()
    else:
        file.add(rows(3)[0])
    file.flush()
    file.add(rows(4)[0])
    file.close()
    left = rows(1, 2, 3, 4) if how == "replaced" else rows(3, 4)
    assert path.read_text() == written(tmp_path / f"expected{suffix}", 0, left, "loss")
    (said,) = [record.message for record in caplog.records]
    assert said.endswith("cut by somebody. What is missing in it up to step 2 stays missing.")


@pytest.mark.parametrize("content", ["a,b\n1,2\n", "{}\n", "kind,step\n", "[1]\n", '{"kind": "other"}\n', "x"])
def test_a_file_that_is_no_log_is_left_alone(tmp_path: Path, content: str) -> None:
    for suffix in (".csv", ".jsonl"):
        path = tmp_path / f"data{suffix}"
        path.write_text(content)
        loop = one_variable(MetricsLog(path))
        with pytest.raises(ValueError, match="no log of values: it is left as it is"):
            loop.run(epochs=1)
        assert path.read_text() == content


def one_variable(*hooks: Hook) -> Loop:
    weight = tf.Variable(0.0)
    data = ArrayData(tf.range(4.0), batch_size=1)
    return Loop(lambda x: {"loss": weight.assign_add(1.0)}, data, state={"weight": weight}, hooks=hooks)


def test_a_path_needs_a_name_that_says_the_format(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"ends in \.csv or \.jsonl. Received: .*log\.txt"):
        MetricsLog(tmp_path / "log.txt")
    with pytest.raises(ValueError, match="needs a path here"):
        MetricsLog("gs://bucket/log.csv")
    with pytest.raises(ValueError, match=r"ends in \.jsonl"):
        Tracker(print, tmp_path / "log.csv")
    with pytest.raises(TypeError, match=r"needs a run with log\(values, step=...\)"):
        Tracker(3, tmp_path / "log.jsonl")
    with pytest.raises(TypeError, match=r"Tracker\(\.\.\.\) needs 'path': write"):
        Tracker(print)
    MetricsLog(tmp_path / "LOG.CSV")


def test_a_full_disk_is_told_once_and_what_is_missing_comes_when_there_is_room(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, full = RowFile._write, []

    def writes(file: RowFile, handle: object, data: bytes) -> None:
        if full:
            write(file, handle, data[:7])  # a part, which must not stay
            file._size -= 7
            raise OSError(errno.ENOSPC, "No space left on device")
        write(file, handle, data)

    monkeypatch.setattr(RowFile, "_write", writes)
    loop = one_variable(MetricsLog(tmp_path / "log.csv", Every(steps=1)))

    @loop.on("step_end", every=Every(steps=1))
    def fill(moment: Moment) -> None:
        full[:] = ["full"] * (moment.step in (2, 3))

    loop.run(epochs=1)
    assert (tmp_path / "log.csv").read_text() == (
        "kind,step,epoch,loss\nstep,1,1,1.0\nstep,2,1,2.0\nstep,3,1,3.0\nstep,4,1,4.0\nepoch,4,1,2.5\n"
    )
    assert ["No space left" in record.message for record in caplog.records] == [True]


def test_a_file_system_that_flushes_nothing_has_rows_and_events_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fsync(descriptor: int) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(os, "fsync", fsync)
    for begin in (0, 2):  # the second life cuts what comes after step 2
        rows, events = RowFile(tmp_path / "log.csv", begin, ("loss",)), EventFile(tmp_path / "train", begin)
        for step in range(begin + 1, begin + 4):
            rows.add(Row("step", step, 1, {"loss": 0.5 * step}))
            events.add(step, {"loss": 0.5 * step})
        rows.close()
        events.close()
    assert [line.split(",")[1] for line in (tmp_path / "log.csv").read_text().splitlines()[1:]] == [*"12345"]
    points = [step for path in sorted((tmp_path / "train").iterdir()) for step in _steps_in(path)]
    assert points == [1, 2, 3, 4, 5]


def _steps_in(path: Path) -> list[int]:
    events = map(tf.compat.v1.Event.FromString, records(str(path)))
    return [event.step for event in events if event.summary.value]


def test_of_what_cannot_be_written_the_latest_rows_wait_and_the_rest_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tmp_path.joinpath("file").write_text("")
    file = RowFile(tmp_path / "file" / "log.csv", 0, ())
    for row in rows(*range(1, LIMIT + 11)):
        file.add(row)
    with pytest.raises(OSError, match=r"log\.csv|File exists|Not a directory"):
        file.close()
    (said,) = [record.message for record in caplog.records]
    assert said.startswith(f"No values of steps 1 to {LIMIT + 10} in ")


def test_a_dry_run_writes_and_sends_nothing(tmp_path: Path) -> None:
    sent: list[int] = []
    tracker = Tracker(lambda values, step: sent.append(step), tmp_path / "t.jsonl", Every(steps=1))
    loop = one_variable(MetricsLog(tmp_path / "log.csv"), tracker)
    loop.dry_run()
    assert ([*tmp_path.iterdir()], sent) == ([], [])
    loop.run(epochs=1)
    assert sent == [1, 2, 3, 4]


def test_rows_are_sent_when_their_checkpoint_is_complete_and_at_once_without_one(tmp_path: Path) -> None:
    for saving, expected in ((True, [(2, []), (3, []), (4, [1, 2, 3])]), (False, [(2, [1]), (3, [1, 2])])):
        directory = tmp_path / str(saving)
        store, seen = Store(directory / "store"), list[tuple[int, list[int]]]()
        tracker = Tracker(store, directory / "t.jsonl", Every(steps=1))
        checkpoint = [Checkpoint(directory, Every(steps=3), background=False)] if saving else []
        loop = one_variable(tracker, *checkpoint)

        @loop.on("step_end", every=Every(steps=1))
        def look(moment: Moment, store: Store = store, seen: list[tuple[int, list[int]]] = seen) -> None:
            seen.append((moment.step, [*range(1, (store.latest() or 0) + 1)]))

        loop.run(epochs=1)
        assert [each for each in seen if each in expected] == expected
        assert store.latest() == 4


def test_what_could_not_be_sent_is_sent_later_and_with_the_next_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store, down = Store(tmp_path / "store"), [2, 4]

    def send(values: dict[str, float], step: int) -> None:
        if step in down:
            down.remove(step)
            raise ConnectionError("no network")
        store.log(values, step=step)

    def make() -> Loop:
        tracker = Tracker(send, tmp_path / "t.jsonl", Every(steps=1))
        return one_variable(tracker, Checkpoint(tmp_path / "c", Every(steps=2), background=False))

    make().run(epochs=1)
    assert [int(line.split()[0]) for line in (tmp_path / "store").read_text().splitlines()] == [1, 2, 3]
    said = [record.message for record in caplog.records]
    assert said == [
        "Hook 'tracker' failed in on_committed: ConnectionError: no network. Training goes on, and the hook is called "
        "again; what it has left out is missing, unless it catches up. To end the run instead: on_error='raise'.",
        "Values of steps 4 to 4 were not sent. They are when the script is started again.",
    ]
    make().run(epochs=1)  # which trains nothing
    assert [int(line.split()[0]) for line in (tmp_path / "store").read_text().splitlines()] == [1, 2, 3, 4]


def test_a_training_that_begins_anew_is_sent_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    sent: list[int] = []
    for _ in range(2):
        one_variable(Tracker(lambda values, step: sent.append(step), tmp_path / "t.jsonl", Every(steps=2))).run(steps=4)
    assert (sent, caplog.records) == ([2, 4, 2, 4], [])
    known = Tracker(lambda values, step: sent.append(step), tmp_path / "t.jsonl", Every(steps=1), latest=lambda: 3)
    one_variable(known).run(steps=4)
    assert sent == [2, 4, 2, 4, 4]
    assert "has values up to step 3" in caplog.records[0].message


def test_hooks_and_functions_are_told_which_checkpoints_are_complete(tmp_path: Path) -> None:
    class Copies(Hook):
        events = ("committed",)

        def __init__(self) -> None:
            super().__init__()
            self.steps: list[int] = []

        def on_committed(self, moment: Moment) -> None:
            assert (tmp_path / f"ckpt-{moment.logs['step']:.0f}.json").exists()
            self.steps.append(int(moment.logs["step"]))

    for background in (False, True):
        copies, heard = Copies(), list[float]()
        loop = one_variable(copies, Checkpoint(tmp_path, Every(steps=2), keep=9, background=background, resume="never"))
        loop.on("committed")(lambda moment, heard=heard: heard.append(moment.logs["step"]))
        loop.run(steps=5)
        assert (copies.steps, heard) == ([2, 4, 5], [2, 4, 5])


def test_nothing_but_evaluations_and_epochs_has_rows_without_steps(tmp_path: Path) -> None:
    one_variable(MetricsLog(tmp_path / "log.csv", NEVER)).run(epochs=2)
    assert (tmp_path / "log.csv").read_text() == "kind,step,epoch,loss\nepoch,4,1,2.5\nepoch,8,2,6.5\n"


def test_pandas_reads_both(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    make_loop(tmp_path).run(steps=6)
    frame = pandas.read_csv(tmp_path / "log.csv")
    other = pandas.read_json(tmp_path / "log.jsonl", lines=True)
    epochs, of_json = frame[frame.kind == "epoch"], other[other.kind == "epoch"]
    assert epochs["loss"].tolist() == of_json["loss"].tolist()
    assert [*epochs.step] == [*of_json.step] == [3, 6]


@pytest.mark.parametrize("at", ["between two runs", "within a run"])
@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_copy_by_hard_links_stays_what_it_is_and_is_a_log_of_its_own(at: str, suffix: str, tmp_path: Path) -> None:
    path, copy = tmp_path / f"log{suffix}", tmp_path / f"copy{suffix}"
    file = RowFile(path, 0, ("loss",))
    for row in rows(1, 2):
        file.add(row)
    if at == "between two runs":
        file.close()
        os.link(path, copy)
        file = RowFile(path, 2, ("loss",))
    else:
        file.flush()
        os.link(path, copy)
    for row in rows(3, 4):
        file.add(row)
        file.flush()
    assert copy.read_text() == written(tmp_path / f"two{suffix}", 0, rows(1, 2), "loss")
    written(copy, 1, rows(2), "loss")  # a run that goes on there from an earlier step
    file.close()
    assert path.read_text() == written(tmp_path / f"four{suffix}", 0, rows(1, 2, 3, 4), "loss")


def test_what_was_sent_is_noted_in_no_copy_by_hard_links(tmp_path: Path) -> None:
    for steps in (2, 4):
        one_variable(Tracker(lambda values, step: None, tmp_path / "t.jsonl", Every(steps=1))).run(steps=steps)
        if steps == 2:
            os.link(tmp_path / "t.jsonl.sent", tmp_path / "copy")
    assert [int((tmp_path / name).read_text()) for name in ("copy", "t.jsonl.sent")] == [2, 4]
