"""What is read back besides manifests may be damaged too, or made up: it is left out or refused, and that is all."""

import contextlib
import io
import json
import logging
import os
import random
from pathlib import Path

import pytest
import rich.console
import tensorflow as tf
from fuzz import MANY, SEED, altered, damaged, sealed, survives

from exactloop.watching.picture import picture
from exactloop.watching.run import WatchedRun
from exactloop.watching.saves import Saves
from hooks import Checkpoint, MetricsLog, TensorBoard
from hooks.checkpoint.record.manifest import content, decode
from hooks.checkpoint.record.rows import decoded, encoded
from hooks.shared.row_file import RowFile
from loop import ArrayData, Every, Loop

FILES = ("checkpoints/.lock", "checkpoints/ckpt-4.json", "tensorboard/train/events", "run.csv", "run.jsonl")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run of four steps has left, which saves, draws and logs each."""
    directory, count = tmp_path_factory.mktemp("run"), tf.Variable(0.0)
    hooks = [
        TensorBoard(directory / "tensorboard", Every(steps=1)),
        *(MetricsLog(directory / name, Every(steps=1), name=name[4:]) for name in FILES[-2:]),
        Checkpoint(directory / "checkpoints", Every(steps=1)),
    ]
    data = ArrayData(tf.range(5.0), batch_size=2, seed=1)
    step = lambda x: {"count": count.assign_add(tf.reduce_sum(x))}  # noqa: E731 (traced with its loop)
    Loop(step, data, state={"count": count}, hooks=hooks).run(steps=4)
    (events,) = (directory / "tensorboard/train").iterdir()
    events.rename(directory / f"{FILES[2]}.tfevents")
    return directory


@pytest.mark.parametrize("count", MANY)
def test_rows_that_are_kept_beside_are_tensors_or_refused(count: int) -> None:
    whole = encoded({"0": tf.constant([[1.5, 2.5]]), "val/0": tf.constant(["a", "bc"]), "1": tf.constant(3)})
    head, _, rest = whole.partition(b"\n")

    def changed(rng: random.Random) -> bytes:
        if rng.random() < 0.5:
            return damaged(rng, whole)
        return json.dumps(altered(rng, json.loads(head))).encode() + b"\n" + rest

    def read(raw: bytes) -> object:
        with contextlib.suppress(ValueError):
            return encoded(decoded(raw))
        return None

    assert survives(count, SEED, changed, read) < count


@pytest.mark.parametrize("count", MANY)
@pytest.mark.parametrize("name", FILES[-2:])
def test_logs_of_values_are_gone_on_with_or_refused(
    count: int, name: str, directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("exactloop"), "warning", lambda message, *args: message % args)
    whole, path = (directory / name).read_bytes(), tmp_path / name

    def changed(rng: random.Random) -> bytes:
        lines = whole.splitlines(keepends=True)
        at = rng.randrange(len(lines))
        if name.endswith("jsonl") and rng.random() < 0.5:
            lines[at] = json.dumps(altered(rng, json.loads(lines[at]))).encode() + b"\n"
            return b"".join(lines)
        return damaged(rng, whole)

    def read(raw: bytes) -> object:
        path.write_bytes(raw)
        file = RowFile(path, 2, ("count",))
        try:
            file.check()
        except ValueError:
            return None
        file.flush()
        assert all(row.step <= 2 for _, row in file.rows(0))
        file.close()
        return raw

    assert survives(count, SEED, changed, read) <= count


@pytest.mark.parametrize(
    "count", [5, pytest.param(200, marks=pytest.mark.more), pytest.param(10_000, marks=pytest.mark.long)]
)
@pytest.mark.parametrize("name", FILES)
def test_whoever_watches_a_run_sees_what_can_be_read(count: int, name: str, directory: Path) -> None:
    (path,) = directory.glob(f"{name}*")
    whole, run = path.read_bytes(), WatchedRun(str(directory))
    console = rich.console.Console(file=io.StringIO(), width=100)

    said = json.loads(json.dumps(content(decode(whole)))) if name.endswith(".json") else None

    def changed(rng: random.Random) -> bytes:
        if said and rng.random() < 0.5:
            return sealed(altered(rng, said))
        if name.endswith("jsonl") and rng.random() < 0.5:
            lines = whole.splitlines(keepends=True)
            at = rng.randrange(len(lines))
            lines[at] = json.dumps(altered(rng, json.loads(lines[at]))).encode() + b"\n"
            return b"".join(lines)
        return damaged(rng, whole)

    def read(raw: bytes) -> object:
        path.write_bytes(raw)
        status = run.look()
        if len(raw) % 8 == 0:  # it takes ten times as long as to look
            console.print(picture([("run", status)], console.width))
        return status

    try:
        assert survives(count, SEED, changed, read, spare=2**22) == count  # all is looked at, and drawn
    finally:
        path.write_bytes(whole)


def test_a_lock_that_is_none_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".lock")
    assert Saves(str(tmp_path)).holder() is None
