"""Proofs of scripts that several workers run: who is killed, who is waited for, what is compared."""

import dataclasses
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from places import environment

from exactloop import script
from exactloop.proof.compare import Whole
from exactloop.proof.journal import Journal
from exactloop.proof.kill_plan import plan
from exactloop.proof.provable import trained_apart

EXACTLOOP = str(Path(sys.executable).with_name("exactloop"))
SCRIPT = """
import loop
workers = loop.connect(){also}
import keras, numpy as np
from hooks import Checkpoint
from loop import ArrayData, Event, Every, Loop, supervised
keras.utils.set_random_seed(1)
layers = [keras.layers.Dense(4, "relu"), keras.layers.Dropout(0.3), keras.layers.Dense(1)]
model, optimizer = keras.Sequential([keras.Input([8]), *layers]), keras.optimizers.Adam(1e-2)
x = np.random.default_rng(1).normal(size=[50, 8]).astype("float32")
loop = Loop(supervised(model, optimizer, "mse")[0], ArrayData((x, x[:, :1]), batch_size=10, seed=1),
            state={{"model": model, "optimizer": optimizer}}, hooks=[Checkpoint("saved", Every(steps=2))])
count = 0
@loop.on(Event.STEP_END, every=Every(steps=1))
def counting(moment):
    global count
    count += 1
    if {counts}:
        optimizer.learning_rate.assign(0.01 * count)
loop.run(epochs=3)
"""

OF_FILES = """
import loop
workers = loop.connect()
import keras, tensorflow as tf
from hooks import Checkpoint
from loop import Every, Loop, StreamData, supervised
keras.utils.set_random_seed(1)
layers = [keras.layers.Dense(4, "relu"), keras.layers.Dropout(0.3), keras.layers.Dense(1)]
model, optimizer = keras.Sequential([keras.Input([2]), *layers]), keras.optimizers.Adam(1e-2)
names = tf.data.Dataset.list_files("*.txt", shuffle=False).shuffle(10)
rows = names.interleave(tf.data.TextLineDataset, cycle_length=2).shuffle(4)
def parsed(row):
    x = tf.strings.to_number(row)
    return tf.stack([x, tf.random.uniform([])]), x[tf.newaxis]
Loop(supervised(model, optimizer, "mse")[0], StreamData(rows.map(parsed).batch(2), shard="files"),
     state={"model": model, "optimizer": optimizer}, hooks=[Checkpoint("saved", Every(steps=2))]).run(epochs=3)
"""


def line(event: str, step: int, **more: object) -> str:
    return str(
        {"event": event, "loop": 0, "step": step, "epoch": 0, "step_in_epoch": step, "logs": {}, **more}
    ).replace("'", '"')


def record(path: Path, *lines: str) -> Journal:
    path.write_text("".join(f"{each}\n" for each in lines))
    return Journal(path)


def run(path: Path, steps: int = 12, workers: int = 3) -> Journal:
    begin = line("begin", 0, variables=[], directories=["/saved"], findings=[], pending="", workers=workers)
    rounds = [line(event, step) for step in range(1, steps + 1) for event in ("step_end", "settled")]
    return record(path, begin, *rounds, line("end", steps, saved=[4, 8, 12]))


def test_one_worker_dies_then_the_first_then_all(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole")
    deaths = plan(whole, 9, [], random.Random(1), 3)
    assert [death.ranks for death in deaths if death.event != "save"][:3] in (
        [(1,), (0,), (0, 1, 2)],
        [(2,), (0,), (0, 1, 2)],
    )
    assert {death.ranks for death in deaths if death.event == "save"} <= {(0,), (0, 1, 2)}
    assert any(death.event == "save" for death in deaths)
    assert {death.ranks for death in plan(whole, 9, [], random.Random(1))} == {(0,)}
    alone = plan(whole, 9, [], random.Random(1))
    assert [dataclasses.replace(death, ranks=(0,)) for death in deaths] == alone


def test_each_worker_is_compared_with_itself(tmp_path: Path) -> None:
    records = [run(tmp_path / str(rank)) for rank in range(2)]
    other = record(tmp_path / "other", *(tmp_path / "1").read_text().replace('"step": 7,', '"step": 9,').splitlines())
    assert Whole(records).compare(records, last=True) is None
    found = Whole(records).compare([records[0], other], last=True)
    assert found is not None
    assert found.what.endswith("(worker 1)")
    assert Whole(records[:1]).compare([other]).what.endswith("of step 7")


def test_workers_that_train_alone_are_told_to_connect(tmp_path: Path) -> None:
    joined, apart = run(tmp_path / "joined", workers=2), run(tmp_path / "apart", workers=1)
    assert trained_apart([joined, joined]) == trained_apart([apart]) == ""
    assert "loop.connect(), which joins them" in trained_apart([apart, apart])


def test_the_others_have_time_to_end_when_one_has_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But not if all are to die together; and of those that end well, all are waited for."""
    shells = []

    def ended(*commands: str, together: bool = False) -> tuple[int, list[bool]]:
        processes = [subprocess.Popen(["sh", "-c", command]) for command in commands]
        shells.extend(processes)
        first = script.await_all([process.pid for process in processes], together=together)
        over = [os.waitid(os.P_PID, each.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None for each in processes]
        for process in processes:
            process.kill()
            process.wait()
        return first, over

    try:
        assert ended("sleep 0.3", "true") == (0, [True, True])
        assert ended("exec sleep 600", "kill -9 $$", together=True) == (1, [False, True])
        late = f"while ! [ -e {tmp_path}/late ]; do sleep 0.01; done"
        assert ended(late, f"(sleep 0.1; touch {tmp_path}/late) & exit 3") == (1, [True, True])
        monkeypatch.setattr(script, "GRACE", 0.0)
        assert ended("exec sleep 600", "exit 3") == (1, [False, True])
    finally:
        for shell in shells:
            shell.kill()
            shell.wait()


@pytest.mark.long
def test_a_script_on_two_workers_is_proved_and_what_is_wrong_with_one_is_found(tmp_path: Path) -> None:
    (tmp_path / "temporary").mkdir()

    def proved(*arguments: str, also: str = "", counts: str = "False") -> subprocess.CompletedProcess[str]:
        (tmp_path / "script.py").write_text(SCRIPT.format(also=also, counts=counts))
        command = [EXACTLOOP, "prove", "script.py", "--workers=2", *arguments]
        more = {"TMPDIR": str(tmp_path / "temporary"), "PYTHONPATH": environment()["PYTHONPATH"]}
        return subprocess.run(command, env=environment(**more), cwd=tmp_path, capture_output=True, text=True)

    exact = proved("--kills=3")
    *_, last, note = exact.stdout.splitlines()
    assert (exact.returncode, last) == (0, "exact: 3 kills, 15 steps, 0 differences"), exact
    assert "Python holds other values than without kills: the global 'count' is assigned, at script.py:" in note
    killed = [line for line in exact.stdout.splitlines() if line.startswith("  killed ")]
    assert len(killed) == 3
    assert all(any(f", {who}" in line for who in ("worker 0", "worker 1", "all workers")) for line in killed), killed
    counted = proved("--kills=1", "--at=7", counts="True")
    assert counted.returncode == 1, counted
    assert "learning_rate" in counted.stdout
    apart = proved("--kills=1", also=" if False else None")
    assert apart.returncode != 0, apart
    assert "TF_CONFIG names 2 workers, of which this process is one, and it has not joined the others" in apart.stderr


@pytest.mark.long
def test_a_script_whose_workers_read_files_of_their_own_is_proved(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(OF_FILES)
    for i, count in enumerate((7, 2, 5)):
        (tmp_path / f"{i}.txt").write_text("".join(f"{i}.{j}\n" for j in range(count)))
    command = [EXACTLOOP, "prove", str(tmp_path / "script.py"), "--workers=2", "--kills=3"]
    more = {"PYTHONPATH": environment()["PYTHONPATH"]}
    exact = subprocess.run(command, env=environment(**more), cwd=tmp_path, capture_output=True, text=True)
    assert exact.returncode == 0, exact
    assert exact.stdout.splitlines()[-1].startswith("exact: 3 kills"), exact
