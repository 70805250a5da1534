"""Processes in which a test of storage needs a life of its own.

    PYTHONPATH=.:tests python tests/checkpoint/storage_lives.py DIRECTORY LIFE

is one of them: `limited`, `reader`, `holder` or `race`; see `LIVES`.
"""

import json
import multiprocessing
import os
import resource
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf
from storage import EVERY_2, make_loop

from hooks import Checkpoint, CorruptCheckpoint, restore
from hooks.checkpoint.disk.directory import open_files


def limited(directory: Path) -> None:
    """A run whose last save is in the background, and too large for what this process may write."""
    loop = make_loop(Checkpoint(directory, EVERY_2))
    loop.run(steps=2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, resource.RLIM_INFINITY))
    loop.run(steps=4)


def reader(directory: Path) -> None:
    """Restores 200 times, and from at least three different steps, however slow the trainer is."""
    warnings.simplefilter("error", CorruptCheckpoint)
    left, right = (tf.Variable(tf.zeros([2**12])) for _ in range(2))
    times, seen = 0, set[int]()
    while times < 200 or len(seen) < 3:
        step = restore(directory, {"left": left, "right": right})
        found = {*left.numpy().tolist(), *right.numpy().tolist()}
        if found != {float(step)}:
            sys.exit(f"half of step {step}: {found}")
        times += 1
        seen.add(step)
    print("200 and more were whole")


def holder(directory: Path) -> None:
    """Locks a directory and has a fork that lives on; says the fork's pid."""
    open_files(directory).lock()
    pid = os.fork()
    if pid:
        print(pid, flush=True)
    signal.pause()


def race(directory: Path) -> None:
    """Twenty times, two forks lock a directory at the same moment; says who they are and what they were told.

    TensorFlow is imported once, and the parent never runs an operation, so its forks can.
    """
    context = multiprocessing.get_context("fork")
    for number in range(20):
        barrier, results, told = context.Barrier(2), context.SimpleQueue(), context.Event()
        forks = [
            context.Process(target=contend, args=(directory / str(number), barrier.wait, results.put, told.wait))
            for _ in range(2)
        ]
        for fork in forks:
            fork.start()
        print(json.dumps([results.get() for _ in forks]))
        told.set()
        for fork in forks:
            fork.join()


def contend(
    directory: Path, meet: Callable[[], object], tell: Callable[[object], object], stay: Callable[[], object]
) -> None:
    directory.mkdir(exist_ok=True)
    opened, message = open_files(directory), None
    meet()
    try:
        opened.lock()
    except RuntimeError as error:
        message = str(error)
    tell((os.getpid(), message))
    stay()


LIVES: dict[str, Callable[[Path], None]] = {"limited": limited, "reader": reader, "holder": holder, "race": race}


if __name__ == "__main__":
    tf.config.experimental.enable_op_determinism()
    LIVES[sys.argv[2]](Path(sys.argv[1]))
