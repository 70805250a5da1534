"""The same bits without assertions and docstrings, where each warning is an error, and by NumPy's rules.

    PYTHONPATH=.:tests python [-OO] [-W error] [-X numpy] tests/whole/test_modes.py DIRECTORY [KILL_AT]

is one life of a run of three epochs, killed by SIGKILL after a step; one that comes to its end prints a hash of its
state.
"""

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pytest
import tensorflow as tf
from places import environment
from tiny import make_loop

from exactloop.helps import USAGE
from hooks import Checkpoint, EarlyStopping, Preemption, Progress, TensorBoard
from loop import Every, Hook, Moment
from loop.digest import digest

MODES = {"plain": [], "-OO": ["-OO"], "-W error": ["-W", "error"], "both": ["-OO", "-W", "error"]}
MODES["NumPy's rules"] = ["-X", "numpy"]


class Killer(Hook):
    """Kills the process after a step."""

    every = Every(steps=1)

    def __init__(self, at: int) -> None:
        super().__init__()
        self._at = at

    def on_step_end(self, moment: Moment) -> None:
        if moment.step == self._at:
            os.kill(os.getpid(), signal.SIGKILL)


def live(directory: Path, kill_at: int) -> str:
    if "numpy" in sys._xoptions:
        tf.experimental.numpy.experimental_enable_numpy_behavior()  # for good, and so in a process of its own
    stopping = EarlyStopping("val_loss", mode="min", patience=9, restore_best="weights")
    board = TensorBoard(directory / "board", Every(steps=1))
    loop = make_loop(
        [Killer(kill_at), stopping, Progress(), board, Preemption(), Checkpoint(directory / "run", Every(steps=4))]
    )
    loop.run(epochs=3)
    values = {path: digest(v.read_value()) for path, v in loop.state.variables.items() if path != "clock/seconds"}
    return hashlib.sha256(repr(sorted(values.items())).encode()).hexdigest()


def lived(directory: Path, mode: str, *kill_at: str) -> tuple[int, str]:
    """Returns exit status and output of a life in a process of its own."""
    command = [sys.executable, *MODES[mode], __file__, str(directory), *kill_at]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment())
    print(done.stderr[-3000:])
    return done.returncode, done.stdout.strip()


@pytest.mark.long
@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "plain"])
def test_a_killed_run_ends_with_the_same_bits_in_each_mode_of_python(mode: str, tmp_path: Path) -> None:
    whole = lived(tmp_path / "whole", "plain")
    assert lived(tmp_path / "cut", mode, "10") == (-signal.SIGKILL, "")
    assert lived(tmp_path / "cut", mode) == whole
    assert whole[0] == 0
    assert len(whole[1]) == 64


@pytest.mark.long
def test_the_command_explains_itself_without_docstrings() -> None:
    command = [sys.executable, "-OO", "-c", "from exactloop.cli import run; run()", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment())
    assert (done.returncode, done.stdout.splitlines()[0]) == (
        0,
        USAGE.splitlines()[0],
    )


if __name__ == "__main__":
    print(live(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0))
