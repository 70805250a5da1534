"""Which loops are compared with each other, by their names in tables and in the chart."""

import dataclasses
import importlib.util
from pathlib import Path
from typing import NamedTuple

from loops import (
    EachStep,
    Idle,
    Round,
    by_hand,
    by_hand_each_step,
    exactloop,
    full_set,
    jax_scan,
    keras_fit,
    limit,
    limit_xla,
    orbit,
    orbit_loop,
)
from workloads import Workload

HAS_JAX = all(map(importlib.util.find_spec, ("jax", "optax")))
LONGER = 4  # how many times as many epochs XLA trains in a round
LIMIT, BY_HAND, EACH_STEP = "the limit", "by hand, in the graph", "by hand, one call a step"
ARRAYS, STREAM = "exactloop, ArrayData", "exactloop, StreamData"
FULL, NONE = "exactloop, full set of hooks", "exactloop, an optimizer that averages"
IDLE, ONE = "exactloop, 100 idle hooks", "exactloop, a hook at every step"
LIMIT_XLA, ARRAYS_XLA = "by hand, XLA, gathered", "exactloop, ArrayData, XLA"
STREAM_XLA = f"{STREAM}, XLA"
FULL_XLA, NONE_XLA = f"{FULL}, XLA", f"{NONE}, XLA"
JAX = "JAX, lax.scan and optax"
FITS_XLA = {f"Keras fit, XLA, {count} steps a call": count for count in (64, 512)}
FIT, CALLBACK = "Keras fit", "Keras fit, a batch callback"
FIT_64, FIT_DATASET, FIT_DATASET_64 = f"{FIT}, 64 steps a call", f"{FIT}, dataset", f"{FIT}, dataset, 64 steps a call"
ORBIT, ORBIT_1 = "Orbit, 100 steps a loop", "Orbit, 1 step a loop"
PEERS = (FIT, FIT_64, FIT_DATASET, FIT_DATASET_64, ORBIT, ORBIT_1)


class Contestant(NamedTuple):
    """A loop: a function that trains for one more round, and the steps of that."""

    train: Round
    steps: int


def contestants(task: Workload, directory: Path) -> dict[str, Contestant]:
    """Returns all of them by name, ready to train: Orbit and JAX only if they are installed.

    Those that are compared with each other come one after the other, because the machine's speed changes. The slow ones
    train for fewer epochs in a round. Programs of XLA train for more, and so do those that show what hooks cost: that a
    run begins and ends, which takes 60 ms with all of them, is no part of an epoch, and would be a tenth of a round.
    """
    short = dataclasses.replace(task, epochs=max(1, task.epochs // 4))
    long = dataclasses.replace(task, epochs=task.epochs * LONGER)
    hooked, hooked_xla = (dataclasses.replace(each, epochs=each.epochs * task.hooked) for each in (task, long))
    fast: dict[str, Round] = {
        LIMIT: limit(task),
        ARRAYS: exactloop(task),
        IDLE: exactloop(task, hooks=[Idle(name=f"idle_{i}") for i in range(100)]),
        STREAM: exactloop(task, stream=True),
        BY_HAND: by_hand(task),
    }
    with_hooks: dict[str, Round] = {
        NONE: exactloop(hooked, averages=True),
        FULL: exactloop(hooked, hooks=full_set(directory), averages=True),
    }
    compiled: dict[str, Round] = {}
    with_hooks_xla: dict[str, Round] = {}
    if task.xla:
        compiled |= {
            LIMIT_XLA: limit_xla(long),
            ARRAYS_XLA: exactloop(long, jit_compile=True),
            STREAM_XLA: exactloop(long, stream=True, jit_compile=True),
        }
        with_hooks_xla |= {
            NONE_XLA: exactloop(hooked_xla, averages=True, jit_compile=True),
            FULL_XLA: exactloop(hooked_xla, hooks=full_set(directory / "xla"), averages=True, jit_compile=True),
        }
    if task.xla and task.hidden and HAS_JAX:
        compiled[JAX] = jax_scan(long)
    slow: dict[str, Round] = {
        EACH_STEP: by_hand_each_step(short),
        ONE: exactloop(short, hooks=[EachStep()]),
        CALLBACK: keras_fit(short, arrays=True, callbacks=1),
        FIT: keras_fit(short, arrays=True),
        FIT_64: keras_fit(short, arrays=True, steps_per_execution=64),
        FIT_DATASET: keras_fit(short, arrays=False),
        FIT_DATASET_64: keras_fit(short, arrays=False, steps_per_execution=64),
    }
    if task.xla:
        for name, count in FITS_XLA.items():
            at_once = min(count, task.steps_per_epoch)
            slow[name] = keras_fit(short, arrays=True, steps_per_execution=at_once, jit_compile=True)
    if orbit is not None:
        slow |= {ORBIT: orbit_loop(short, 100), ORBIT_1: orbit_loop(short, 1)}
    lengths = [(fast, task), (with_hooks, hooked), (compiled, long), (with_hooks_xla, hooked_xla), (slow, short)]
    return {name: Contestant(train, of.steps) for loops, of in lengths for name, train in loops.items()}
