"""Prints what else costs time or memory: resuming, events, epochs, and how that grows.

    python benchmarks/costs.py [resume] [events] [growth] [memory]

Each figure is a median of interleaved rounds; what is compared is measured in the same round.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from hooks import Checkpoint
from loop import ArrayData, At, Every, Hook, Loop, Moment, StreamData, supervised

RUNS = Path(__file__).parent.parent / "runs"
ROUNDS = 7
FAR = 1_000_000


class First(Hook):
    """Takes the time when the first step of a run is over."""

    def __init__(self) -> None:
        super().__init__()
        self.every, self.at = Every(steps=1), 0.0

    def on_step_end(self, moment: Moment) -> None:
        self.at = self.at or time.perf_counter()


class Listens(Hook):
    """Listens to a step that never comes, or to each."""

    def __init__(self, every: int, name: str) -> None:
        super().__init__(name=name)
        self.every = Every(steps=every)

    def on_step_end(self, moment: Moment) -> None:
        pass


def interleaved(of: dict[str, Callable[[], float]], rounds: int = ROUNDS) -> dict[str, float]:
    """Returns the median of each, one round of which is not counted."""
    taken = [{name: once() for name, once in of.items()} for _ in range(rounds + 1)][1:]
    return {name: statistics.median(each[name] for each in taken) for name in of}


def resume() -> None:
    """How long it takes from `run()` to the end of the first step, where a run was at step 10 and at step 10^6."""
    rows = FAR + 100
    values = np.arange(rows, dtype=np.float32)

    def stream(how: str) -> StreamData:
        return StreamData(tf.data.Dataset.from_tensor_slices(values).batch(1, drop_remainder=True), resume=how)

    kinds = {
        "ArrayData": lambda: ArrayData(values, batch_size=1, seed=1),
        "StreamData, state": lambda: stream("state"),
        "StreamData, replay": lambda: stream("replay"),
    }

    def loop(kind: str, hooks: Sequence[Hook]) -> Loop:
        total = tf.Variable(0.0)
        return Loop(lambda x: {"sum": total.assign_add(x[0])}, kinds[kind](), state={"total": total}, hooks=hooks)

    def again(kind: str, directory: str, step: int) -> float:
        first = First()
        made = loop(kind, [Checkpoint(f"{directory}/{step}"), first])
        made.audit()  # traces, which takes the same time wherever the run was
        began = time.perf_counter()
        made.run(steps=step + 1)
        return 1000 * (first.at - began)

    print("Resuming, milliseconds from run() to the end of the first step:")
    for kind in kinds:
        with tempfile.TemporaryDirectory(dir=RUNS) as directory:
            for step in (10, FAR):
                loop(kind, [Checkpoint(f"{directory}/{step}", At(step))]).run(steps=step)

            def copied(step: int, kind: str = kind, directory: str = directory) -> float:
                with tempfile.TemporaryDirectory(dir=RUNS) as copy:
                    subprocess.run(["cp", "-r", f"{directory}/{step}", copy], check=True)
                    return again(kind, copy, step)

            rounds = 1 if "replay" in kind else ROUNDS  # which reads all again
            times = interleaved({"10": lambda: copied(10), "far": lambda: copied(FAR)}, rounds)
        print(f"  {kind:24} step 10: {times['10']:8.1f}   step 10^6: {times['far']:8.1f}   {ratio(times, 'far', '10')}")


def ratio(times: dict[str, float], one: str, other: str) -> str:
    return f"{times[one] / times[other]:.2f} x"


def network(width: int = 64, count: int = 2) -> tuple[keras.Model, keras.optimizers.Optimizer]:
    keras.utils.set_random_seed(1)
    dense = [keras.layers.Dense(width, activation="relu") for _ in range(count)]
    model = keras.Sequential([keras.Input([16]), *dense, keras.layers.Dense(1)])
    return model, keras.optimizers.Adam()


def regression(rows: int) -> tuple[np.ndarray, np.ndarray]:
    return np.random.rand(rows, 16).astype(np.float32), np.ones([rows, 1], np.float32)


def trained(
    hooks: Sequence[Hook] = (), *, steps: int = 500, rows: int = 16_000, layers: int = 2
) -> Callable[[], float]:
    """Returns a function that trains so many steps more and returns microseconds a step."""
    model, optimizer = network(count=layers)
    step, _ = supervised(model, optimizer, keras.losses.MeanSquaredError())
    data = ArrayData(regression(rows), batch_size=32, seed=1)
    loop = Loop(step, data, state={"model": model, "optimizer": optimizer}, hooks=hooks)
    loop.audit()

    def run() -> float:
        began = time.perf_counter()
        loop.run(steps=loop.step + steps)
        return 1e6 * (time.perf_counter() - began) / steps

    return run


def events() -> None:
    """What a halt, a listener and the end of an epoch cost."""
    times = interleaved(
        {
            "none": trained(),
            "each": trained([Listens(1, "one")]),
            "ten": trained([Listens(1, f"one_{i}") for i in range(10)]),
            "epochs": trained(rows=320),
        },
        15,
    )
    halt, ten, epoch = (times[name] - times["none"] for name in ("each", "ten", "epochs"))
    print(f"Events, microseconds; a step of the tiny MLP takes {times['none']:.0f}:")
    print(f"  a halt at a step that a hook asks for                {halt:8.0f}")
    print(f"  one more hook that is called there                   {(ten - halt) / 9:8.1f}")
    print(f"  the end of an epoch and the beginning of the next    {epoch * 10:8.0f}")


def growth() -> None:
    """How the time of a step grows with hooks that wait, variables and rows."""
    counts = (1, 10, 100, 1000)
    times = interleaved({str(n): trained([Listens(10**9, f"idle_{i}") for i in range(n)]) for n in counts})
    print("Microseconds a step with so many hooks that wait:")
    print("  " + "   ".join(f"{n}: {times[str(n)]:.0f} ({ratio(times, str(n), '1')})" for n in counts))
    sizes = (10**4, 10**5, 10**6, 10**7)
    times = interleaved({str(n): trained(rows=n) for n in sizes})
    print("Microseconds a step with so many rows of data:")
    print("  " + "   ".join(f"{n:.0e}: {times[str(n)]:.0f} ({ratio(times, str(n), str(sizes[0]))})" for n in sizes))
    for layers in (2, 162):
        before = time.perf_counter()
        run = trained([Listens(25, "halts")], layers=layers, steps=100)
        built = time.perf_counter() - before
        variables = 3 * 2 * (layers + 1) + 10
        took = interleaved({"step": run})["step"]
        print(f"About {variables} variables: traced and audited in {built:.1f} s, {took:.0f} us a step")


def memory() -> None:
    """The peak of resident memory, against a loop by hand."""
    times = interleaved({who: lambda who=who: _peak_of(who) for who in ("ours", "hand")}, 3)
    print("Peak of resident memory, MB, with 200 MB of data and 12 MB of weights and slots:")
    print(f"  exactloop: {times['ours']:.0f}   by hand: {times['hand']:.0f}   {ratio(times, 'ours', 'hand')}")


def _peak_of(who: str) -> float:
    """Runs this file as a child, and returns the number that it prints."""
    done = subprocess.run([sys.executable, __file__, "--child", who], stdout=subprocess.PIPE, check=True)
    return float(done.stdout.split()[-1])


def child(who: str) -> None:
    """Trains some steps, and prints the peak of memory in MB."""
    model, optimizer = network(512, 4)
    x, y = regression(3_000_000)
    step, _ = supervised(model, optimizer, keras.losses.MeanSquaredError())
    if who == "hand":
        rows, targets = tf.constant(x), tf.constant(y)

        @tf.function
        def run(order: tf.Tensor) -> None:
            for i in tf.range(500):
                step((tf.gather(rows, order[i]), tf.gather(targets, order[i])))

        run(tf.reshape(tf.random.shuffle(tf.range(len(x)))[: len(x) // 32 * 32], [-1, 32]))
    else:
        loop = Loop(step, ArrayData((x, y), batch_size=32), state={"model": model, "optimizer": optimizer})
        loop.run(steps=500)
    print(_peak())


def _peak() -> float:
    """Returns the most memory that this process has had, in MB."""
    # Not `getrusage`, which counts what the process had that this one was forked from.
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1000


def main() -> None:
    RUNS.mkdir(exist_ok=True)
    parts = {"resume": resume, "events": events, "growth": growth, "memory": memory}
    for name in sys.argv[1:] or parts:
        parts[name]()
        sys.stdout.flush()


if __name__ == "__main__":
    child(*sys.argv[2:]) if "--child" in sys.argv else main()
