"""Lives of a run with averages, exports and a budget: each a forked process, some of which are killed.

    PYTHONPATH=.:tests python tests/hooks/hook_lives.py DIRECTORY KILL [KILL ...]
    PYTHONPATH=.:tests python tests/hooks/hook_lives.py DIRECTORY together KILL [KILL ...]

Runs 3 epochs of 3 steps once without interruption, and once for each KILL (`<event>:<step>`), where the process is
killed by SIGKILL and the run is taken up again by a new one. Prints a line for each thing that is other than in the
uninterrupted one.
"""

import json
import os
import signal
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from lives import KILLED, Killer, forked, points
from tiny import bits
from together import EPOCHS
from together import make_loop as make_together

from hooks import Checkpoint, EarlyStopping, Export, TimeBudget, WeightAverage
from hooks.exports import Exports
from loop import ArrayData, Evaluation, Every, Loop

EXPORTS = ("best", "each", "end")
WRITTEN = ("events.jsonl", "steps.jsonl", "log.csv")
TEXTS = "hooks/early_stopping/copies"


def make_loop(directory: Path, killer: "list[At]") -> Loop:
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input([1]), keras.layers.Dense(1)])
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    optimizer.build(model.trainable_variables)

    def train_step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(x) - 3.0 * x) ** 2)
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        return {"loss": loss}

    def eval_step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"loss": tf.reduce_mean((model(x) - 3.0 * x) ** 2)}

    x = np.linspace(-1.0, 1.0, 6, dtype=np.float32)[:, None]
    average = WeightAverage(0.7, start=2, every=Every(steps=1))
    within = {"format": "weights", "within": average.exchanged}
    data = [ArrayData(x, batch_size=2, shuffle=False) for _ in range(2)]
    early = bool(killer) and not killer[0].saves
    return Loop(
        train_step,
        ArrayData(x, batch_size=2, seed=3),
        state={"model": model, "optimizer": optimizer},
        evaluate=[
            Evaluation(eval_step, data[0]),
            Evaluation(eval_step, data[1], name="mean", within=average.exchanged),
        ],
        eval_every=Every(steps=2),
        hooks=[
            average,
            Export(directory / "best", model, "best", monitor="mean_loss", mode="min", keep=2, name="best", **within),
            TimeBudget(hours=10),
            *(killer if early else []),
            Checkpoint(directory / "checkpoints", Every(steps=2), keep=2),
            Export(directory / "each", model, Every(steps=2), keep=2, name="each", **within),
            Export(directory / "end", model, "end", format="weights", name="end"),
            EarlyStopping("mean_loss", mode="min", patience=99, restore_best="weights"),
            *(killer if not early else []),
        ],
    )


class At(Killer):
    """Kills at an event; of `SETTLED`, after what saves, or, by `half` and `there`, in an export."""

    def __init__(self, at: str) -> None:
        event, step = at.split(":")
        in_export = event in ("half", "there")
        super().__init__("settled:-1" if in_export else f"settled:{step}" if event == "late" else at)
        self.saves = event == "late"
        if in_export:
            _kill_in_export(event, int(step))

    on_run_end = Killer.kill


def _kill_in_export(stage: str, step: int) -> None:
    """Kills the process when an export of a step is written, or when it is in its place."""
    add = Exports.add

    def adds(exports: Exports, at: int, write: object) -> None:
        def writes(path: str) -> None:
            write(path)
            if at == step and stage == "half":
                os.kill(os.getpid(), signal.SIGKILL)

        add(exports, at, writes)
        if at == step and stage == "there":
            os.kill(os.getpid(), signal.SIGKILL)

    Exports.add = adds


def live(directory: Path, kill: str | None, together: bool) -> None:
    directory.mkdir(exist_ok=True)
    loop = (make_together if together else make_loop)(directory, [At(kill)] if kill else [])
    result = loop.run(epochs=EPOCHS if together else 3)
    ended = {path: value.hex() for path, value in bits(loop).items() if path != TEXTS}
    ended[TEXTS] = [text.hex() for text in loop.state.variables[TEXTS].numpy()]  # their bytes would be addresses
    logs = {name: value.hex() for name, value in result.logs.items()}
    (directory / "ended.json").write_text(json.dumps([result.step, result.reason, logs, ended]))


def remains(directory: Path) -> dict[str, object]:
    """Returns what a run leaves: what it ended with, and the exports, byte for byte."""
    found: dict[str, object] = {"ended": json.loads((directory / "ended.json").read_text())}
    for name in EXPORTS:
        files = {path.name: path.read_bytes() for path in (directory / name).iterdir() if path.is_file()}
        found |= {f"{name}: names": sorted(files), **{f"{name}/{file}": content for file, content in files.items()}}
    return found


def all_together(root: Path, kills: list[str]) -> None:
    for name, lives in {"whole": [None], "killed": [*kills, None]}.items():
        for i, kill in enumerate(lives):
            if (status := forked(live, root / name, kill, True)) != (KILLED if kill else 0):
                sys.exit(f"Life {i} of {name}, to be killed at {kill}, ended with {status}.")
    whole, killed = ({**remains(root / name), **left(root / name)} for name in ("whole", "killed"))
    for name in whole.keys() | killed.keys():
        if whole.get(name) != killed.get(name):
            print(f"killed {len(kills)} times: {name} differs")


def left(directory: Path) -> dict[str, object]:
    """Returns what hooks have written of the course of a run."""
    checkpoints = sorted(path.name for path in (directory / "checkpoints").glob("ckpt-*"))
    texts = {name: (directory / name).read_text() for name in WRITTEN}
    return {"checkpoints": checkpoints, "tensorboard": sorted(points(directory)), **texts}


def main(root: Path, kills: list[str]) -> None:
    root.mkdir(exist_ok=True)
    if kills[0] == "together":
        all_together(root, kills[1:])
        return
    if forked(live, root / "whole", None, False) != 0:
        sys.exit("The uninterrupted run failed.")
    whole = remains(root / "whole")
    for kill in kills:
        directory = root / kill.replace(":", "-")
        statuses = [forked(live, directory, each, False) for each in (kill, None)]
        if statuses != [KILLED, 0]:
            print(f"killed at {kill}: the two lives ended with {statuses}")
            continue
        other = remains(directory)
        for name in whole.keys() | other.keys():
            if whole.get(name) != other.get(name):
                print(f"killed at {kill}: {name} differs")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
