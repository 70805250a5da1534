"""Shows that a killed run ends with the same bits: trains on digits twice, and kills one of the two.

    python examples/demo.py

Exit status 1 if anything differs.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from absl import app, flags
from absl import logging as absl_logging
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

RUN_DIR = flags.DEFINE_string("run_dir", "runs/demo", "Where both runs go; removed first.")
EPOCHS = flags.DEFINE_integer("epochs", 20, "Epochs of each run.", lower_bound=2)
STEPS_PER_EPOCH = 23  # 1,438 scans in batches of 64
NOT_COMPARED = ("_CHECKPOINTABLE_OBJECT_GRAPH", "clock/seconds", "save_counter")  # wall time, and TensorFlow's own

Points = dict[str, list[tuple[int, float]]]


def start(run_dir: Path) -> subprocess.Popen[bytes]:
    """Starts the training script, or goes on with it, in a process of its own."""
    script = Path(__file__).with_name("digits.py")
    return subprocess.Popen([sys.executable, str(script), f"--run_dir={run_dir}", f"--epochs={EPOCHS.value}"])


def points(run_dir: Path) -> Points:
    """Returns what TensorBoard shows: (step, value) by run and tag."""
    found: Points = {}
    for directory in sorted((run_dir / "tensorboard").glob("*")):
        events = EventAccumulator(str(directory), size_guidance={"scalars": 0})
        events.Reload()
        for tag in events.Tags()["scalars"]:
            found[f"{directory.name}/{tag}"] = [(scalar.step, scalar.value) for scalar in events.Scalars(tag)]
    return found


def latest_step(run_dir: Path) -> int:
    """Returns the last step that a run has logged; 0 if there is none."""
    return max((step for step, _ in points(run_dir).get("train/loss", [])), default=0)


def kill_in_mid_epoch(run_dir: Path) -> int:
    """Trains until some step in the middle of an epoch, kills the process and returns the last step it logged."""
    epoch, step = random.randrange(1, EPOCHS.value - 1), random.randrange(3, STEPS_PER_EPOCH - 10)
    process = start(run_dir)
    while latest_step(run_dir) < epoch * STEPS_PER_EPOCH + step:
        if process.poll() is not None:
            raise RuntimeError(f"The run that was to be killed ended by itself, with status {process.returncode}.")
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return latest_step(run_dir)


def tensors(run_dir: Path) -> dict[str, np.ndarray]:
    """Returns every tensor of the last checkpoint of a run."""
    reader = tf.train.load_checkpoint(str(run_dir / "checkpoints"))
    names = [name for name in reader.get_variable_to_shape_map() if not name.startswith(NOT_COMPARED)]
    return {name: np.asarray(reader.get_tensor(name)) for name in names}


def differing(left: dict[str, np.ndarray] | Points, right: dict[str, np.ndarray] | Points) -> list[str]:
    """Returns the names of what is not in both, bit for bit."""
    bits = [{name: np.asarray(value).tobytes() for name, value in side.items()} for side in (left, right)]
    return sorted(name for name in {*left, *right} if bits[0].get(name) != bits[1].get(name))


def main(_: list[str]) -> None:
    """Runs the demonstration; exits with status 1 unless everything is the same."""
    absl_logging.set_verbosity(absl_logging.WARNING)
    root = Path(RUN_DIR.value)
    shutil.rmtree(root, ignore_errors=True)
    whole, killed = root / "uninterrupted", root / "killed"

    print("1. Training without interruption.", flush=True)
    if status := start(whole).wait():
        sys.exit(f"The run failed with status {status}.")

    print("\n2. The same again, to be killed in mid-epoch.", flush=True)
    step = kill_in_mid_epoch(killed)
    print(f"\n   Killed by SIGKILL soon after step {step}: epoch {step // STEPS_PER_EPOCH + 1}, step "
          f"{step % STEPS_PER_EPOCH} of {STEPS_PER_EPOCH}. Starting it again.", flush=True)  # fmt: skip
    if status := start(killed).wait():
        sys.exit(f"The resumed run failed with status {status}.")

    print("\n3. Comparing the two.")
    different = []
    for what, read in {"variables and random states": tensors, "TensorBoard curves": points}.items():
        left, right = read(whole), read(killed)
        count = sum(np.asarray(value).size for value in left.values())
        different += differing(left, right)
        print(f"   {len(left)} {what}, {count:,} numbers: {len(differing(left, right))} differ")
    print(f"\n   Look at both:  .venv/bin/tensorboard --logdir {root}")
    if different:
        sys.exit("   NOT the same bits: " + ", ".join(different))
    print("   Bit-identical: the killed run ended exactly as the uninterrupted one.")


if __name__ == "__main__":
    app.run(main)
