"""What mypy says of a program that uses the packages: of each wrong line that it is wrong, of the others nothing."""

import subprocess
import sys
from pathlib import Path

import pytest
from places import ROOT, environment

PROGRAM = """
from typing import Literal

import keras
import tensorflow as tf

import hooks
from hooks import (
    Checkpoint,
    EarlyStopping,
    LearningRate,
    MetricsLog,
    NaNGuard,
    Progress,
    ReduceLROnPlateau,
    TensorBoard,
    Tracker,
    WeightAverage,
    restore,
)
from hooks import Chekpoint  # wrong
from loop import ArrayData, Every, Hook, Loop, Moment, StreamData, supervised
from loop import Lop  # wrong

Checkpoint("runs", best="val_loss", mode="min")
Checkpoint("runs", best="val_loss", mode="minimum")  # wrong
Checkpoint("runs", resume="must", resume_changed="warn", on_error="warn")
Checkpoint("runs", resume="yes")  # wrong
Checkpoint("runs", resume_changed="ignore")  # wrong
Checkpoint("runs", on_error="disable")  # wrong
Checkpoint("runs", 100)  # wrong
EarlyStopping("val_loss", mode="max", restore_best="weights")
EarlyStopping("val_loss", mode="auto")  # wrong
EarlyStopping("val_loss", mode="min", restore_best="all")  # wrong
ReduceLROnPlateau("val_loss", mode="min")
ReduceLROnPlateau("val_loss", mode="auto")  # wrong
NaNGuard(policy="rollback")
NaNGuard(policy="ignore")  # wrong
LearningRate(lambda step: 1e-3, by="epoch")
LearningRate(lambda step: 1e-3, by="batch")  # wrong
Progress(verbose=2)
Progress(verbose=3)  # wrong
Progress(on_error="ignore")  # wrong
TensorBoard("runs", Every(steps=10), on_error="raise")
TensorBoard("runs", on_error="retry")  # wrong
MetricsLog("run.csv", on_error="never")  # wrong
Tracker(print, "run.jsonl", on_error="disable")
Tracker(print, "run.jsonl", on_error="off")  # wrong
WeightAverage(decay="optimizer", at_end="last")
WeightAverage(at_end="first")  # wrong
restore("runs", {}, which="best")
restore("runs", {}, which=120)
restore("runs", {}, which="newest")  # wrong
StreamData(tf.data.Dataset.range(3), resume="replay")
StreamData(tf.data.Dataset.range(3), resume="auto")  # wrong
ArrayData([1.0], batch_size="32")  # wrong
hooks.Progress(every=Every(steps=3))
hooks.Progres()  # wrong


def mode(of: str) -> Literal["min", "max"]:
    return "min" if "loss" in of else "max"


EarlyStopping("val_loss", mode=mode("val_loss"))


class Fine(Hook):
    on_error = "warn"

    def on_step_end(self, moment: Moment) -> None:
        print(moment.step + 1, moment.logs["loss"] + 1.0)

    def on_setup(self, loop: Loop, moment: Moment) -> None:
        print(loop.total_steps)


class Wrong(Hook):
    def on_step_end(self, moment: int) -> None:  # wrong
        pass

    def on_epoch_end(self) -> None:  # wrong
        pass

    def on_setup(self, loop: Loop) -> None:  # wrong
        pass

    def on_run_end(self, moment: Moment) -> None:
        print(moment.stpe)  # wrong


def step(batch: object) -> dict[str, tf.Tensor]:
    return {}


loop = Loop(step, ArrayData([1.0], batch_size=1), state={}, hooks=[Fine()])
loop.run(epochs=3).logs["loss"]
loop.run(epochs="3")  # wrong
Loop(step, ArrayData([1.0], batch_size=1), state={}, eval_every=100)  # wrong
supervised(keras.Sequential(), keras.optimizers.SGD(), "mse", accumulate="4")  # wrong
"""


@pytest.mark.long
def test_mypy_catches_wrong_words(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    lines = PROGRAM.splitlines()
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "setup.cfg"), "--cache-dir", str(tmp_path)]
    done = subprocess.run(
        [*command, str(program)], env=environment(MYPYPATH=str(ROOT)), capture_output=True, text=True, cwd=tmp_path,
        check=False, timeout=600,
    )  # fmt: skip
    told = {int(line.split(":")[1]) for line in done.stdout.splitlines() if line.startswith("program.py:")}
    wrong = {number for number, line in enumerate(lines, 1) if line.endswith("# wrong")}
    assert [lines[number - 1] for number in sorted(wrong - told)] == []
    assert [line for line in done.stdout.splitlines() if line.startswith("program.py:")
            and int(line.split(":")[1]) not in wrong and ": note:" not in line] == []  # fmt: skip
