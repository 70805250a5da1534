"""Lives of a run that real trackers are told of: each a forked process, killed at a place that is drawn.

    PYTHONPATH=.:tests python tests/hooks/tracker_lives.py DIRECTORY KIND

Trains 30 steps in eleven lives, of which ten are killed by SIGKILL. Prints, as JSON, the steps and losses that are in
the tracker's own store, in their order there.
"""

import functools
import json
import os
import random
import signal
import sqlite3
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf
from lives import KILLED, Killer, forked

from hooks import Checkpoint, Tracker
from loop import ArrayData, Every, Loop

STEPS, KILLS = 30, 10
Points = list[tuple[int, float]]


def mlflow_tracker(directory: Path) -> Callable[..., Tracker]:
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{directory}/mlflow.db")
    runs = mlflow.search_runs(output_format="list")
    mlflow.start_run(run_id=runs[0].info.run_id if runs else None)
    latest = max(map(first, of_mlflow(directory)), default=None)
    return functools.partial(Tracker, mlflow.log_metrics, latest=lambda: latest)


def of_mlflow(directory: Path) -> Points:
    with sqlite3.connect(directory / "mlflow.db") as base:
        return base.execute("select step, value from metrics where key = 'loss' order by rowid").fetchall()


def wandb_tracker(directory: Path) -> Callable[..., Tracker]:
    import wandb

    os.environ.update(WANDB_SILENT="true", WANDB_CONSOLE="off")
    latest = max(map(first, of_wandb(directory)), default=None)  # before there is another file
    run = wandb.init(mode="offline", id="first", resume="allow", dir=directory)
    return functools.partial(Tracker, run, latest=lambda: latest)


def of_wandb(directory: Path) -> Points:
    from wandb.proto.wandb_internal_pb2 import Record

    found: Points = []
    for path in sorted(directory.glob("wandb/offline-run-*/*.wandb"), key=os.path.getmtime):
        for data in pieces(path.read_bytes()):
            history = Record.FromString(data).history
            items = {item.key or item.nested_key[0]: item.value_json for item in history.item}
            if "loss" in items:
                found.append((int(items["_step"]), json.loads(items["loss"])))
    return found


def pieces(raw: bytes) -> Iterator[bytes]:
    """Yields the records of a log of LevelDB with a header of 7 bytes: blocks of 32 KiB, pieces with 7 bytes before."""
    at, whole = 7, b""
    while at + 7 <= len(raw):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        length, kind = struct.unpack_from("<HB", raw, at + 4)
        whole, at = whole + raw[at + 7 : at + 7 + length], at + 7 + length
        if kind in (1, 4):  # whole, or the last piece
            yield whole
            whole = b""


def trackio_tracker(directory: Path) -> Callable[..., Tracker]:
    import trackio

    latest = max(map(first, of_trackio(directory)), default=None)
    run = trackio.init("digits", name="first", resume="allow", embed=False, auto_log_gpu=False, auto_log_cpu=False)
    return functools.partial(Tracker, run, latest=lambda: latest)


def of_trackio(directory: Path) -> Points:
    if not (path := directory / "digits.db").exists():
        return []
    with sqlite3.connect(path) as base:
        rows = base.execute("select step, metrics from metrics order by id").fetchall()
    return [(step, json.loads(metrics)["loss"]) for step, metrics in rows]


KINDS = {
    "mlflow": (mlflow_tracker, of_mlflow),
    "wandb": (wandb_tracker, of_wandb),
    "trackio": (trackio_tracker, of_trackio),
}


def first(point: tuple[int, float]) -> int:
    return point[0]


def live(directory: Path, kind: str, kill: str | None) -> None:
    weight = tf.Variable(1.0)
    tracker = KINDS[kind][0](directory)(path=directory / "metrics.jsonl", every=Every(steps=1))
    if kill and kill.startswith("sent"):
        note, at = tracker._note, int(kill.split(":")[1])

        def notes(step: int) -> None:
            note(step)
            if step >= at:
                os.kill(os.getpid(), signal.SIGKILL)

        object.__setattr__(tracker, "_note", notes)
    killer = [Killer(kill)] if kill and not kill.startswith("sent") else []
    Loop(
        lambda x: {"loss": weight.assign_add(x[0])},
        ArrayData(tf.range(10.0), batch_size=1, seed=1),
        state={"weight": weight},
        hooks=[tracker, *killer, Checkpoint(directory / "checkpoints", Every(steps=2))],
    ).run(steps=STEPS)
    if kind == "trackio":
        import trackio

        trackio.finish()
    elif kind == "wandb":
        import wandb

        wandb.finish()


def main(directory: Path, kind: str) -> None:
    os.environ["TRACKIO_DIR"] = str(directory)
    draw = random.Random(1)
    steps = sorted(draw.sample(range(1, STEPS - 2), KILLS))
    kills = [f"{draw.choice(['step_end', 'settled', 'sent'])}:{step}" for step in steps]
    statuses = [forked(live, directory, kind, kill) for kill in [*kills, None]]
    if statuses != [KILLED] * KILLS + [0]:
        sys.exit(f"The lives, to be killed at {kills}, ended with {statuses}.")
    print(json.dumps(KINDS[kind][1](directory)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
