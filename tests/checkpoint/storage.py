"""What tests of storage share: small loops, what is in a directory, and a disk on which something happens."""

import contextlib
import os
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np
import nursery
import pytest
import tensorflow as tf
from places import TESTS

from hooks.checkpoint.disk.files import Files
from hooks.checkpoint.disk.local import LocalFiles
from loop import ArrayData, At, Event, Every, Hook, Loop, Moment, StreamData

EVERY_1, EVERY_2 = Every(steps=1), Every(steps=2)
PATIENCE = 60.0  # seconds after which a test that would wait for ever fails instead; no test waits that long
OF_TENSORFLOW = (".index", ".data-00000-of-00001")
NAN, INF = float("nan"), float("inf")
Bits = dict[str, bytes]


def fit_a_line(model: keras.Model, x: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean((model(x) - 3.0) ** 2)


def rows() -> np.ndarray:
    return np.arange(1.0, 9.0, dtype=np.float32)[:, None]


def dense() -> keras.Model:
    return keras.Sequential([keras.Input([1]), keras.layers.Dense(1)])


def make_loop(
    *hooks: Hook,
    data: StreamData | None = None,
    poison: float = 0.0,
    at: int = 0,
    wait: Callable[[], None] | None = None,
) -> Loop:
    """Returns a loop that fits a line to eight rows, one a step, with momentum.

    Args:
        poison: What to add to the gradient of the kernel in step `at`.
        wait: Called in step 3, out of the middle of the compiled loop.
    """
    keras.utils.set_random_seed(1)
    model, optimizer = dense(), keras.optimizers.SGD(0.01, momentum=0.9)

    def train_step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        with tf.GradientTape() as tape:
            loss = fit_a_line(model, x)
        kernel, bias = tape.gradient(loss, model.trainable_variables)
        number = optimizer.iterations + 1
        optimizer.apply([kernel + (poison if number == at else 0.0), bias], model.trainable_variables)
        if wait is not None and number == 3:
            tf.numpy_function(wait, [], [])
        return {"loss": loss}

    data = ArrayData(rows(), batch_size=1, seed=3) if data is None else data
    exact = wait is None  # which is a function of Python
    return Loop(train_step, data, state={"model": model, "optimizer": optimizer}, hooks=hooks, exact=exact)


def counting_loop(*hooks: Hook, poison: float = NAN, at: int = 0) -> Loop:
    """Returns a loop after whose n-th step all there is is n, but `poison` in half of `right` after step `at`."""
    keras.utils.set_random_seed(1)
    left, right = (tf.Variable(tf.zeros([2**12]), name=name) for name in ("left", "right"))

    def train_step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        n = left.assign_add(tf.ones_like(left))
        where = (tf.range(2**12) < 2**11) & (n == float(at))
        right.assign(tf.where(where, poison, n))
        return {"loss": right[0]}

    return Loop(train_step, ArrayData(rows(), batch_size=1, seed=3), state={"left": left, "right": right}, hooks=hooks)


def bits(loop: Loop) -> Bits:
    """Returns the training state as bytes by path, without hooks and the wall time that was spent."""
    own = ("clock/", "hooks/")
    return {path: v.numpy().tobytes() for path, v in loop.state.variables.items() if not path.startswith(own)}


def by_step(loop: Loop, steps: int) -> dict[int, Bits]:
    """Runs a loop in one go and returns the state after each step."""
    at: dict[int, Bits] = {}

    @loop.on(Event.STEP_END, every=EVERY_1)
    def settle(moment: Moment) -> None:
        pass

    @loop.on(Event.SETTLED)
    def note(moment: Moment) -> None:
        at[moment.step] = bits(loop)

    loop.run(steps=steps)
    return at


def begins(loop: Loop) -> list[Bits]:
    """Returns a list that gets the state with which each run of the loop begins."""
    found: list[Bits] = []

    @loop.on(Event.RUN_BEGIN)
    def note_where_it_begins(moment: Moment) -> None:
        found.append(bits(loop))

    return found


def failure_of(loop: Loop, steps: int) -> OSError | None:
    """Returns what ends a run."""
    try:
        loop.run(steps=steps)
    except OSError as error:
        return error
    return None


def files(directory: Path) -> dict[str, bytes]:
    """Returns the content of every file, whatever the depth, but the lock's."""
    paths = [path for path in directory.rglob("*") if path.is_file() and path.name != ".lock"]
    return {str(path.relative_to(directory)): path.read_bytes() for path in paths}


def names(*steps: int) -> set[str]:
    """Returns the names of the files that there are when these steps are saved."""
    of_steps = {f"ckpt-{step}{ending}" for step in steps for ending in (*OF_TENSORFLOW, ".json")}
    return of_steps | ({"checkpoint"} if steps else set())


def steps_in(directory: Path) -> list[int]:
    """Returns the steps of the committed checkpoints."""
    return sorted(int(path.stem.removeprefix("ckpt-")) for path in directory.glob("ckpt-*.json"))


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Returns what was warned of, but for the disk, which counts what is done to it."""
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    return [message for message in told if "counts in Python what no checkpoint holds: Disk." not in message]


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("checkpoint")]


def not_saved(directory: Path, step: int, reason: str, before: int | None = None) -> str:
    """Returns a pattern for the message of a save that failed, where one was saved before it, or none was."""
    full = "No space" in reason or "too large" in reason
    space = r"It needs about [1-9][\d,]* bytes; [\d,]+ are free\. " if full else ""
    is_there = rf"The one of step {before} is as it was\." if before else r"There is none before it\."
    return (
        rf"The checkpoint of step {step} was not saved in {re.escape(repr(str(directory)))}: {reason}( \([^ ]+\))?\. "
        rf"{space}{is_there} "
        r"With Checkpoint\(on_error='warn'\), training would go on(\n|$)"
    )


class Disk:
    """A local disk that does something else before each operation of a run that changes anything.

    Attributes:
        instead: Called with number and kind of each such operation, as in `(0, "write")`; what it raises is what the
            operation raises. "save" stands for the beginning of a save.
        operations: The kinds of those of the present run, from `RUN_BEGIN` on.
        saves: How many saves of the present run have begun.
        before: What was in the directory when the latest began.
    """

    def __init__(self) -> None:
        self.instead: Callable[[int, str], None] = lambda index, kind: None
        self.watch(None)

    def watch(self, moment: Moment | None) -> None:
        self.operations: list[str] = []
        self.saves, self.before, self._watched = 0, dict[str, bytes](), moment is not None

    def open(self, directory: str, *, make: bool = True) -> Files:
        self._watched = False
        return Watched(self, directory, make)

    def begin(self, directory: Path) -> None:
        self.saves, self.before = self.saves + 1, files(directory)
        self.instead(len(self.operations), "save")

    def operate(self, kind: str, name: str) -> None:
        if self._watched:
            kind = "state file" if name.startswith("checkpoint") else kind  # TensorFlow's, on which nothing depends
            self.operations.append(kind)
            self.instead(len(self.operations) - 1, kind)

    def fail(self, number: int, when: Callable[[int], bool]) -> None:
        """Lets operations fail with this error, by their number."""

        def instead(index: int, kind: str) -> None:
            if kind != "save" and when(index):
                raise OSError(number, os.strerror(number))

        self.instead = instead

    def heal(self) -> None:
        self.instead = lambda index, kind: None


class Watched(LocalFiles):
    """The files of a disk on which something may happen."""

    def __init__(self, disk: Disk, directory: str, make: bool) -> None:
        super().__init__(directory, make=make)
        self._disk = disk

    def ensure(self) -> bool:
        self._disk.begin(Path(self.where))
        return super().ensure()

    def write(self, name: str, content: bytes) -> None:
        try:
            self._disk.operate("write", name)
        except OSError:
            super().write(name, content[: len(content) // 2])  # as far as it got
            raise
        super().write(name, content)

    def sync(self, name: str = ".") -> None:
        self._disk.operate(f"sync {'directory' if name == '.' else 'manifest' if '.json' in name else 'data'}", name)
        super().sync(name)

    def rename(self, name: str, to: str) -> None:
        self._disk.operate("rename", name)
        super().rename(name, to)

    def remove(self, name: str) -> None:
        self._disk.operate("remove", name)
        super().remove(name)


def await_(event: threading.Event) -> None:
    if not event.wait(PATIENCE):
        raise AssertionError("what a thread waits for never came")


@contextlib.contextmanager
def life(directory: Path, kind: str) -> Iterator[nursery.Child]:
    """Runs a life of `storage_lives.py` in a process of its own."""
    script, pipes = TESTS / "checkpoint/storage_lives.py", dict.fromkeys(nursery.NAMES, subprocess.PIPE)
    with nursery.start(script, directory, kind, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


def happens(loop: Loop, at: int, what: Callable[[], object]) -> Loop:
    """Lets something happen to the directory after a step, when no save is in flight."""
    loop.on(Event.STEP_END, every=At(at))(lambda moment: what())
    return loop


def weights(model: keras.Model) -> list[bytes]:
    return sorted(variable.numpy().tobytes() for variable in model.variables)


def weights_in(state: Bits) -> list[bytes]:
    return sorted(value for path, value in state.items() if path.startswith("model/"))
