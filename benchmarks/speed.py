"""Compares the speed of training loops in one process, as ratios of interleaved rounds.

    python benchmarks/speed.py [--quick] [WORKLOAD ...]

Prints a table for each workload and what is made of the goals; writes `runs/bench/speed.json` and the chart
`benchmarks/speed.svg`. A speed is a fraction of the limit, which is the same step on one constant batch inside one
`tf.while`: the median, over the rounds, of the ratio of the times of a step in that round.
"""

import dataclasses
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from chart import chart
from contestants import (
    ARRAYS,
    ARRAYS_XLA,
    BY_HAND,
    CALLBACK,
    FIT,
    FITS_XLA,
    FULL,
    FULL_XLA,
    IDLE,
    JAX,
    LIMIT,
    LIMIT_XLA,
    NONE,
    NONE_XLA,
    ONE,
    ORBIT,
    ORBIT_1,
    PEERS,
    STREAM,
    STREAM_XLA,
    Contestant,
    contestants,
)
from workloads import Workload, workloads

RUNS = Path(__file__).parent.parent / "runs" / "bench"
# The same loop, traced anew, differs by 5 % from itself and more: so each is made several times.
TIMES, ROUNDS, QUICK = 3, 3, ("tiny-long",)
# How many times as fast XLA has to make it as the limit without, and as Keras' fit as it comes.
GAINED, OF_FIT = {"regularized": 2.5, "lstm": 2.7, "compute": 1.15}, {"tiny-long": 40.0}
STREAMED = ("tiny-long", "tiny-short", "lstm")  # whose streams XLA has to make twice as fast
Times = dict[str, list[float]]


def measure(loops: dict[str, Contestant], count: int, times: Times) -> None:
    """Adds the seconds of a step in each round of each contestant; the first round, not counted, only warms up."""
    for number in range(count + 1):
        turn = number % len(loops)
        for name in [*loops][turn:] + [*loops][:turn]:
            began = time.perf_counter()
            loops[name].train()
            if number:
                times.setdefault(name, []).append((time.perf_counter() - began) / loops[name].steps)


def ratio(times: Times, name: str, to: str) -> float:
    """Returns how many times as fast one is as another."""
    return statistics.median(theirs / own for own, theirs in zip(times[name], times[to], strict=True))


def goals(key: str, times: Times) -> list[tuple[str, float, float]]:
    """Returns what is wanted of a workload: what it is, the ratio that was measured, and the least that is wanted."""
    wanted: list[tuple[str, str, str, float]] = []
    if key in ("tiny-long", "tiny-short"):
        wanted.append(("ArrayData against the limit", ARRAYS, LIMIT, 0.95 if key == "tiny-long" else 0.88))
        wanted.append(("full set of hooks against none", FULL, NONE, 0.95))
        wanted.append(("StreamData against the loop by hand", STREAM, BY_HAND, 0.98))
        wanted.append(("100 idle hooks against none", IDLE, ARRAYS, 0.99))
        wanted.append(("a hook at every step against Keras with a batch callback", ONE, CALLBACK, 1.5))
        wanted.append(("against Keras fit on arrays", ARRAYS, FIT, 10.0))
        best = max((name for name in PEERS if name in times and "Keras" in name), key=lambda n: ratio(times, n, LIMIT))
        wanted.append((f"against Keras at its best ({best})", ARRAYS, best, 2.0))
        if ORBIT in times:
            best = max((ORBIT, ORBIT_1), key=lambda name: ratio(times, name, LIMIT))
            wanted.append((f"against Orbit at its best ({best})", ARRAYS, best, 1.5))
    if LIMIT_XLA in times:
        wanted.append(("XLA: ArrayData against the loop by hand", ARRAYS_XLA, LIMIT_XLA, 0.9))
        wanted.append(("XLA: full set of hooks against none", FULL_XLA, NONE_XLA, 0.9))
        wanted.append(("XLA: ArrayData against Keras fit on arrays", ARRAYS_XLA, FIT, OF_FIT.get(key, 1.0)))
        best = max(FITS_XLA, key=lambda name: ratio(times, name, LIMIT))
        least = 5.0 if key in OF_FIT else 1.0
        wanted.append((f"XLA: ArrayData against Keras at its best with XLA ({best})", ARRAYS_XLA, best, least))
        wanted.append(("XLA: ArrayData against the limit without", ARRAYS_XLA, LIMIT, GAINED.get(key, 1.0)))
        wanted.append(("XLA: ArrayData against ArrayData", ARRAYS_XLA, ARRAYS, GAINED.get(key, 1.0)))
        if key in STREAMED:
            wanted.append(("XLA: StreamData against StreamData", STREAM_XLA, STREAM, 2.0))
    if JAX in times:
        wanted.append(("XLA: ArrayData against JAX", ARRAYS_XLA, JAX, 0.9))
    best = max((name for name in PEERS if name in times), key=lambda name: ratio(times, name, LIMIT))
    wanted.append((f"against the best of all peers ({best})", ARRAYS, best, 1.0))
    return [(what, ratio(times, name, to), least) for what, name, to, least in wanted]


def show(key: str, task: Workload, times: Times) -> dict[str, object]:
    """Prints a table, and returns it for the file."""
    per_step = {name: statistics.median(seconds) * 1e6 for name, seconds in times.items()}
    speeds = {name: ratio(times, name, LIMIT) for name in times}
    print(f"\n{task.name}: {len(times[LIMIT])} rounds of {task.steps} steps")
    print(f"  {'':36}of the limit   us/step")
    for name in sorted(speeds, key=speeds.__getitem__, reverse=True):
        print(f"  {name:36}{speeds[name]:12.2f}{per_step[name]:10.0f}")
    met = goals(key, times)
    for what, got, least in met:
        print(f"  {'met   ' if got >= least else 'MISSED'} {what}: {got:.2f}, the goal is {least:.2f}", flush=True)
    return {
        "workload": task.name,
        "steps": task.steps,
        "speed": speeds,
        "microseconds": per_step,
        "goals": [{"what": what, "got": got, "goal": least} for what, got, least in met],
    }


def main() -> None:
    quick, names = "--quick" in sys.argv, [name for name in sys.argv[1:] if name != "--quick"]
    tasks = workloads()
    keys = names or (QUICK if quick else tasks)
    RUNS.mkdir(parents=True, exist_ok=True)
    results = []
    for key in keys:
        task, times = dataclasses.replace(tasks[key], epochs=1) if quick else tasks[key], Times()
        for _ in range(1 if quick else TIMES):
            with tempfile.TemporaryDirectory(dir=RUNS) as directory:
                measure(contestants(task, Path(directory)), 2 if quick else ROUNDS, times)
        results.append(show(key, task, times))
        (RUNS / "speed.json").write_text(json.dumps(results, indent=1))
    if not quick and not names:
        (Path(__file__).parent / "speed.svg").write_text(chart(results))


if __name__ == "__main__":
    main()
