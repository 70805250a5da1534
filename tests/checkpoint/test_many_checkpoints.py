"""What a save and a start cost does not grow with the checkpoints that are kept."""

import collections
import contextlib
import itertools
import os
import random
import re
import sys
import threading
import types
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from hooks import Checkpoint, CorruptCheckpoint, restore
from hooks.checkpoint.commits.ranks import ranks
from hooks.checkpoint.commits.retention import Retention, Standing
from hooks.checkpoint.commits.store import Store
from hooks.checkpoint.disk.directory import open_files
from hooks.checkpoint.disk.local import LocalFiles
from hooks.checkpoint.record.manifest import Record, canonical, content, decode
from hooks.shared.monitor import Monitor
from loop import NEVER, ArrayData, At, Evaluation, Every, Halt, Hook, Loop, Moment, Trigger
from loop.state.rows_in_memory import RowsInMemory

FEW, MANY = 10, 100
FILES = ("open", "os.listdir", "os.scandir", "os.mkdir", "os.rename", "os.remove", "os.rmdir")
HEARD: list[list[str]] = []  # where what is done with files is noted; nothing is while it is empty


def told(place: object) -> object:
    return os.readlink(f"/proc/self/fd/{place}") if isinstance(place, int) and place >= 0 else place


def hear(event: str, given: tuple) -> None:
    if HEARD and event in FILES:
        HEARD[-1].append(re.sub(r"[0-9a-f]{32}|[0-9]+", "0", f"{event} {told(given[0])}"))


sys.addaudithook(hear)


def make_loop(directory: Path, every: Trigger, *others: Hook, **kinds: Any) -> Loop:
    weight = tf.Variable(1.0, name="weight")

    def train_step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"loss": weight.assign_add(tf.reduce_mean(x))}

    evaluation = Evaluation(
        lambda x: {"loss": weight + tf.reduce_mean(x)}, ArrayData(tf.range(2.0).numpy(), batch_size=1)
    )
    return Loop(
        train_step,
        ArrayData(tf.range(8.0).numpy(), batch_size=1, seed=3),
        state={"weight": weight},
        evaluate=evaluation if "best" in kinds else None,
        eval_every=every,
        hooks=[Checkpoint(directory, every, **kinds), *others],
    )


def fill(directory: Path, count: int) -> None:
    """Makes a directory that has the checkpoints of so many steps: the last is real, the others are copies of it."""
    make_loop(directory, At(count)).run(steps=count)
    said = content(decode((directory / f"ckpt-{count}.json").read_bytes()))
    for step in range(1, count):
        files = {name.replace(f"-{count}.", f"-{step}."): measure for name, measure in said["files"].items()}
        place = {"step": step, "epoch": step // 8, "step_in_epoch": step % 8}
        copy = said | place | {"files": files, "notes": said["notes"] | {"place": place}}
        (directory / f"ckpt-{step}.json").write_bytes(canonical(copy))
        for name in said["files"]:
            os.link(directory / name, directory / name.replace(f"-{count}.", f"-{step}."))


class Counter(Hook):
    """Counts, for one step, what it takes to save: calls of functions of checkpoints, and what is done with files."""

    saves = True  # so that it comes after the save
    every = Every(steps=1)

    def __init__(self, step: int) -> None:
        super().__init__()
        self.calls, self.heard = collections.Counter[str](), list[str]()
        self._step, self._counts = step, False

    def on_run_begin(self, moment: Moment) -> None:
        threading.setprofile(self._count)  # before the thread that saves begins
        sys.setprofile(self._count)

    def on_step_end(self, moment: Moment) -> None:
        if moment.step == self._step:
            HEARD.append(self.heard)
            self._counts = True

    def on_settled(self, moment: Moment) -> None:
        if moment.step == self._step:
            self._counts = False
            HEARD.remove(self.heard)

    def on_run_end(self, moment: Moment) -> None:
        sys.setprofile(None)
        threading.setprofile(None)

    def _count(self, frame: types.FrameType, event: str, given: object) -> None:
        if self._counts and event == "call" and "hooks/checkpoint" in frame.f_code.co_filename:
            self.calls[frame.f_code.co_qualname] += 1


@pytest.mark.parametrize(
    "kinds",
    [
        {"keep": 1000},
        pytest.param({"keep": 1, "best": "val_loss", "mode": "max", "keep_best": 1000}, marks=pytest.mark.long),
        pytest.param({"keep": 1, "keep_every": Every(steps=1)}, marks=pytest.mark.long),
        pytest.param({"keep": 3}, marks=pytest.mark.long),
    ],
)
def test_a_save_does_the_same_however_many_are_kept(
    kinds: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = []
    monkeypatch.setattr(RowsInMemory, "held", lambda self: {"0": tf.constant([1.0])})  # as of a process without a seed
    for count in (FEW, MANY):
        fill(tmp_path / str(count), count)
        counter = Counter(count + 3)  # not the first save, at which those go that the last run has kept
        loop = make_loop(tmp_path / str(count), Every(steps=1), counter, background=False, **kinds)
        loop.run(steps=count + 4)
        done.append((counter.calls, counter.heard))
    (few, few_heard), (many, many_heard) = done
    assert few == many
    assert few_heard == many_heard
    lists = [heard for heard in many_heard if heard.startswith(("os.listdir", "os.scandir"))]
    assert (many["Store.commit"], {heard for heard in lists if not heard.endswith("ckpt-0_temp")}) == (1, set())
    assert (many["RowsFile.write"], many["Store.records"]) == (1, 0)  # which makes a list of all


def test_tensorflow_is_told_of_the_latest(tmp_path: Path) -> None:
    fill(tmp_path, 15)
    make_loop(tmp_path, Every(steps=1), keep=1000).run(steps=16)
    told = tf.train.get_checkpoint_state(str(tmp_path))
    assert [Path(path).name for path in told.all_model_checkpoint_paths] == [f"ckpt-{step}" for step in range(7, 17)]
    assert tf.train.latest_checkpoint(str(tmp_path)) == str(tmp_path / "ckpt-16")
    assert len([*tmp_path.glob("ckpt-*.json")]) == 16


def test_a_start_reads_of_each_manifest_the_head_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, 30)
    decoded, read = [], LocalFiles.read
    monkeypatch.setattr(LocalFiles, "read", lambda self, name, limit: decoded.append(name) or read(self, name, limit))
    with contextlib.closing(open_files(tmp_path)) as files:
        store = Store(files)
        assert store.load() == []
        assert ([record.step for record in store.records()], decoded) == ([*range(1, 31)], [])


def test_what_is_wrong_with_an_old_one_is_told_at_a_start_and_with_the_rest_of_its_manifest_when_it_is_read(
    tmp_path: Path,
) -> None:
    fill(tmp_path, 8)
    whole = (tmp_path / "ckpt-3.json").read_bytes()
    (tmp_path / "ckpt-2.json").write_bytes(whole)  # of another
    (tmp_path / "ckpt-3.json").write_bytes(whole.replace(b'"step":3', b'"step":4', 1))
    (tmp_path / "ckpt-4.json").write_bytes((tmp_path / "ckpt-4.json").read_bytes()[:-1])
    (tmp_path / "ckpt-5.json").write_bytes(
        (tmp_path / "ckpt-5.json").read_bytes().replace(b'"logs":{', b'"logs":["', 1)
    )
    (tmp_path / "ckpt-6.index").unlink()
    with contextlib.closing(open_files(tmp_path)) as files:
        store = Store(files)
        said = {Path(each.file).name: each.reason for each in store.load()}
        assert said == {
            "ckpt-2.json": "it is the manifest of ckpt-3",
            "ckpt-3.json": "its SHA-256 is not the one in it",
            "ckpt-4.json": "its SHA-256 is not the one in it",
            "ckpt-5.json": said["ckpt-5.json"],  # one byte more
            "ckpt-6.index": "cannot be opened: No such file or directory",
        }
        assert [record.step for record in store.records()] == [1, 7, 8]
    raw = (tmp_path / "ckpt-7.json").read_bytes()
    (tmp_path / "ckpt-7.json").write_bytes(raw.replace(b'"loss":', b'"lost":', 1))
    with pytest.raises(CorruptCheckpoint, match="its SHA-256 is not the one in it"):
        restore(tmp_path, {"weight": tf.Variable(0.0)}, which=7)


def by_the_rule(rule: Retention, records: list[Record]) -> set[str]:
    """Returns the stems of those that stay, found by looking at all of them."""
    whole = [record for record in records if not record.pending]
    best = ranks(whole, rule.monitor.name, rule.monitor.mode)[: rule.keep_best] if rule.monitor else []
    good, since = [], 0.0
    for record in whole:
        epoch = record.epoch if record.step_in_epoch == 0 else None
        good += [record.stem] if rule.keep_every.due(Halt(record.step, epoch, since, record.seconds)) else []
        since = record.seconds
    pending = [records[-1].stem] if records and records[-1].pending else []
    return {*(record.stem for record in whole[-rule.keep :]), *(stem for *_, stem in best), *good, *pending}


def would_rank(rule: Retention, value: float, records: list[Record]) -> bool:
    best = ranks(records, rule.monitor.name, rule.monitor.mode)[: rule.keep_best]
    last = records_by_stem(records)[best[-1][-1]].best["value"] if len(best) == rule.keep_best else None
    return rule.monitor.better(value, last)


def records_by_stem(records: list[Record]) -> dict[str, Record]:
    return {record.stem: record for record in records}


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize(
    "keep_every",
    [NEVER, Every(steps=4), Every(epochs=2), Every(seconds=5) | At(3)],
    ids=["never", "steps", "epochs", "seconds"],
)
def test_what_stays_is_what_the_rule_says_of_all(keep_every: Trigger, mode: str) -> None:
    rng = random.Random(f"{keep_every} {mode}")
    for keep, keep_best in itertools.product((1, 2, 5), (1, 3)):
        rule = Retention(keep, Monitor("test", "loss", mode), keep_best, keep_every)
        records, seconds = list[Record](), 0.0
        standing = Standing(rule, records)
        for step in range(1, 60):
            seconds += rng.uniform(0, 3)
            for pending in [True, False] if rng.random() < 0.2 else [False]:
                value = rng.choice([float("nan"), 0.0, -1.0, rng.uniform(-1, 1)])
                best = {"name": "loss", "mode": mode, "value": value} if rng.random() < 0.6 else {}
                new = Record(step, pending, step // 3, step % 3, seconds, best)
                assert standing.ranks(value, None) == would_rank(rule, value, records)
                later = new if best else None
                if rng.random() < 0.3:  # it is being written
                    among = [*records, *([later] if later else [])]
                    assert standing.ranks(0.5, later) == would_rank(rule, 0.5, among)
                gone = standing.add(new)
                assert (standing.ranks(0.5, later), standing.count) == (
                    standing.ranks(0.5, None),
                    len(records) + 1 - len(gone),
                )
                stays = by_the_rule(rule, [*records, new])
                assert sorted(gone) == sorted({record.stem for record in [*records, new]} - stays)
                records = [record for record in [*records, new] if record.stem in stays]
            if rng.random() < 0.1:
                standing = Standing(rule, records)  # a new start


def test_those_that_a_smaller_keep_lets_go_of_go_with_the_next_save(tmp_path: Path) -> None:
    fill(tmp_path, 20)
    make_loop(tmp_path, Every(steps=1), keep=2).run(steps=21)
    assert sorted(path.name for path in tmp_path.glob("ckpt-*.json")) == ["ckpt-20.json", "ckpt-21.json"]
    assert {path.suffix for path in tmp_path.glob("ckpt-*")} == {".json", ".index", ".data-00000-of-00001"}
    assert len([*tmp_path.glob("ckpt-*")]) == 6
