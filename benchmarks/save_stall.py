"""Prints how long saving holds the loop up, in the background and synchronously, and how much longer training takes.

    python benchmarks/save_stall.py [MEGABYTES ...]

A network with that much state (10^6 bytes; Adam's slots included) is trained in one process. Its steps are cut into
windows of equal length. At the beginning of each, the state is saved in the background, synchronously or not at all, in
turns. The first save of either kind is left out, and a save is over before the next window begins.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from hooks import Checkpoint
from loop import ArrayData, At, Every, Hook, Loop, Moment, supervised

RUNS = Path(__file__).parent.parent / "runs"  # on the disk: a temporary file system would make saving look cheap
LAYERS, BATCH, ROUNDS = 16, 32, 7
WAYS = BACKGROUND, SYNCHRONOUS, NONE = "background", "synchronous", "none"
GOAL = 0.05  # of a synchronous save


class Stopwatch(Hook):
    """Takes the time, in seconds, at the end of each window, where it stands among the hooks that save."""

    saves = True

    def __init__(self, name: str) -> None:
        super().__init__(name=name)
        self.times: list[float] = []

    def on_settled(self, moment: Moment) -> None:
        self.times.append(time.perf_counter())


class Window(Hook):
    """Ends each window: takes the time, in seconds, and then the seconds until the save in the background is over."""

    def __init__(self, steps: int, background: Checkpoint) -> None:
        super().__init__()
        self.every, self.background = Every(steps=steps), background
        self.times: list[float] = []
        self.waited: list[float] = []

    def on_step_end(self, moment: Moment) -> None:
        self.times.append(time.perf_counter())
        self.background._saver.wait()  # or the next save would be held up by this one
        self.waited.append(time.perf_counter() - self.times[-1])


def network(megabytes: float) -> keras.Model:
    """Returns a network whose weights are a third of that, because Adam keeps two values for each."""
    width = round((megabytes * 1e6 / 12 / LAYERS) ** 0.5)
    layers = [keras.layers.Dense(width, activation="relu") for _ in range(LAYERS + 1)]  # the first one is small
    return keras.Sequential([keras.Input([8]), *layers, keras.layers.Dense(1)])


def measure(megabytes: float) -> None:
    """Trains, and prints what each way of saving costs."""
    length = max(24, round(1000 / megabytes))  # steps in a window, so that a save in the background mostly ends in it
    ways = np.array([WAYS[(turn + place) % len(WAYS)] for turn in range(ROUNDS + 1) for place in range(len(WAYS))])
    every = {way: At(*(length * (window + 1) for window in np.flatnonzero(ways == way).tolist())) for way in WAYS}
    steps = length * (len(ways) + 1)  # one epoch; the first window only warms up
    keras.utils.set_random_seed(1)
    model, optimizer = network(megabytes), keras.optimizers.Adam()
    step, _ = supervised(model, optimizer, keras.losses.MeanSquaredError())
    data = ArrayData((np.random.rand(steps * BATCH, 8).astype("f"), np.ones([steps * BATCH, 1], "f")), batch_size=BATCH)
    RUNS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=RUNS) as directory:
        savers = {
            way: Checkpoint(f"{directory}/{way}", every[way], keep=1, background=way == BACKGROUND, name=way)
            for way in (BACKGROUND, SYNCHRONOUS)
        }
        window = Window(length, savers[BACKGROUND])
        before, between, after = (Stopwatch(name) for name in ("before", "between", "after"))
        hooks = [window, before, savers[BACKGROUND], between, savers[SYNCHRONOUS], after]
        loop = Loop(step, data, state={"model": model, "optimizer": optimizer}, hooks=hooks)
        loop.run(steps=steps)

    ended, *clocks = (1000 * np.array(taken.times) for taken in (window, before, between, after))
    of = {way: np.flatnonzero(ways == way)[1:] for way in WAYS}
    stalls = {
        BACKGROUND: (clocks[1] - clocks[0])[of[BACKGROUND]],
        SYNCHRONOUS: (clocks[2] - clocks[1])[of[SYNCHRONOUS]],
    }
    windows = {way: ended[of[way] + 1] - clocks[0][of[way]] for way in WAYS}
    longer = {way: windows[way] - windows[NONE] for way in stalls}
    waited = 1000 * np.array(window.waited)[of[BACKGROUND] + 1]

    variables = loop.state.variables.values()
    # By the value: what a hook has listed has no shape of its own.
    size = sum(variable.dtype.size * int(tf.size(variable)) for variable in variables) / 1e6
    print(f"Saving {size:.0f} MB in {len(variables)} variables, {ROUNDS} rounds, milliseconds (median, range):")
    print(f"  {'':30}{BACKGROUND:>28}{SYNCHRONOUS:>28}   ratio")
    ratio = float(np.median(stalls[BACKGROUND] / stalls[SYNCHRONOUS]))
    verdict = f"{'met' if ratio <= GOAL else 'missed'}: the goal is at most {GOAL:.0%}"
    print(f"  {'the loop is held up':30}{row(stalls)}{ratio:8.1%}   {verdict}")
    ratio = float(np.median(longer[BACKGROUND]) / np.median(longer[SYNCHRONOUS]))
    print(f"  {f'{length} steps take longer by':30}{row(longer)}{ratio:8.1%}")
    print(f"  {f'{length} steps without a save take':30}{row({NONE: windows[NONE]})}")
    print(f"  {'then it is still written for':30}{row({BACKGROUND: waited})}", flush=True)


def row(columns: dict[str, np.ndarray]) -> str:
    """Returns median and range of each column."""
    return "".join(f"{np.median(c):10.1f} {f'{c.min():.1f} .. {c.max():.1f}':>17}" for c in columns.values())


def main() -> None:
    for megabytes in sys.argv[1:] or ("20", "200"):
        measure(float(megabytes))


if __name__ == "__main__":
    main()
