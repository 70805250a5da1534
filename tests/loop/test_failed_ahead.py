"""A batch that cannot be read, and was read before it was wanted: what comes before it is whole, and is saved."""

import functools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf

from hooks import Checkpoint
from loop import At, Hook, IndexedData, Loop, Moment, StatefulData, StreamData
from loop.data.coerce import Given
from loop.engine.ways.cut import Cut

BAD, ALL = 7, 12  # the batch that cannot be read, from 0; and how many there are
Dataset = tf.data.Dataset


class Files:
    """Batches by their numbers, from files: one that cannot be read now may be read later."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        self.paths = [directory / f"{i}.bin" for i in range(ALL)]
        for i, path in enumerate(self.paths):
            path.write_bytes(np.float32([i, i]).tobytes())
        self.at = 0

    def __len__(self) -> int:
        return ALL

    def __getitem__(self, index: int) -> np.ndarray:
        return np.frombuffer(self.paths[index].read_bytes(), np.float32)

    def __iter__(self) -> Iterator[np.ndarray]:
        while self.at < ALL:
            self.at += 1  # also if it cannot be read
            yield self[self.at - 1][np.newaxis]
        self.at = 0

    def get_state(self) -> int:
        return self.at

    def set_state(self, state: int) -> None:
        self.at = state

    def dataset(self) -> Dataset:
        def read(name: tf.Tensor) -> tf.Tensor:
            return tf.reshape(tf.io.decode_raw(tf.io.read_file(name), tf.float32), [2])

        return Dataset.from_tensor_slices([*map(str, self.paths)]).map(read)

    def filtered(self) -> Dataset:
        return self.dataset().filter(lambda x: x[0] > -1.0).batch(1)

    def generator(self) -> Dataset:
        def rows() -> Iterator[np.ndarray]:
            yield from (self[i] for i in range(ALL))

        return Dataset.from_generator(rows, output_signature=tf.TensorSpec([2], tf.float32)).batch(1)


class Iterated:
    """An iterator that counts on before it reads, as one does that is to leave out what it cannot read."""

    def __init__(self, files: Files, end: int = ALL) -> None:
        self.files, self.end, self.at = files, end, 0

    def __iter__(self) -> "Iterated":
        return self

    def __next__(self) -> np.ndarray:
        if self.at == self.end:
            raise StopIteration
        self.at += 1
        return self.files[(self.at - 1) % ALL][np.newaxis]

    def get_state(self) -> int:
        return self.at

    def set_state(self, state: int) -> None:
        self.at = state


SOURCES: dict[str, Callable[[Files], Given]] = {
    "stream": lambda files: files.dataset().batch(1),
    "of unknown length": lambda files: files.filtered(),
    "of unknown length, read ahead": lambda files: files.filtered().prefetch(2),
    "endless": lambda files: StreamData(files.dataset().batch(1), steps_per_epoch=ALL),
    "generator": lambda files: StreamData(files.generator(), resume="replay"),
    "indexed": lambda files: IndexedData(files, batch_size=1, shuffle=False, workers=2, prefetch=3),
    "stateful, read ahead": lambda files: StatefulData(lambda epoch: Iterated(files), prefetch=3),
    "stateful, of known length": lambda files: StatefulData(Iterated(files, 99), steps_per_epoch=ALL, prefetch=3),
}
# Without XLA, an iterator of TensorFlow is read in the graph, which fails as a whole: the last save is what is left.
OF_TENSORFLOW = ("stream", "endless", "of unknown length", "generator")
CHEAP = [("stream", True), ("stateful, read ahead", False)]
EVERY = [
    pytest.param(name, jit_compile, marks=[] if (name, jit_compile) in CHEAP else pytest.mark.long)
    for name in SOURCES
    for jit_compile in (True, False)
    if jit_compile or not name.startswith(OF_TENSORFLOW)
]


class Halting(Hook):
    """Has the compiled loop return after a row, whatever else it was to do, and ends the run."""

    def __init__(self, row: float) -> None:
        super().__init__()
        self.row, self.rows = row, list[float]()
        self.breaks: Path | None = None

    def on_setup(self, loop: Loop, moment: Moment) -> None:
        """Has a row not be readable, once the loop has looked at all of them, and before anything is restored."""
        if self.breaks:
            self.breaks.unlink()

    def after_step(self, values: Mapping[str, tf.Tensor]) -> tf.Tensor:
        return tf.equal(values["row"], self.row)

    def on_steps(self, first_step: int, values: Mapping[str, np.ndarray]) -> None:
        self.rows += values["row"].tolist()

    def on_settled(self, moment: Moment) -> None:
        if moment.logs.get("row") == self.row:
            moment.stop("enough")


class Made(NamedTuple):
    """A loop over rows, and who has seen them."""

    loop: Loop
    weight: tf.Variable
    halting: Halting
    files: Files


def make(directory: Path, name: str, *, jit_compile: bool, until: float = -1.0, broken: bool = False) -> Made:
    weight, files, halting = tf.Variable(0.0), Files(directory), Halting(until)

    def step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"weight": weight.assign(weight * 0.7 + x[0, 0]), "row": x[0, 1]}

    halting.breaks = files.paths[BAD] if broken else None
    hooks = [halting, Checkpoint(directory / "saved", At(2))]
    loop = Loop(step, SOURCES[name](files), state={"weight": weight}, hooks=hooks, jit_compile=jit_compile)
    return Made(loop, weight, halting, files)


@pytest.fixture
def long_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has blocks be as long as there is room, whatever the clock says."""
    monkeypatch.setattr(Cut, "took", lambda cut, steps, seconds: setattr(cut, "length", 128))


@functools.cache
def weights() -> list[float]:
    found, weight = [0.0], np.float32(0.0)
    for i in range(ALL):
        weight = np.float32(np.float32(0.7) * weight) + np.float32(i)
        found.append(float(weight))
    return found


@pytest.mark.more
@pytest.mark.usefixtures("long_cuts")
@pytest.mark.parametrize(("name", "jit_compile"), EVERY)
def test_who_stops_before_what_cannot_be_read_saves_and_who_goes_on_has_all_of_it(
    name: str, jit_compile: bool, tmp_path: Path
) -> None:
    made = make(tmp_path, name, until=BAD - 1.0, broken=True, jit_compile=jit_compile)
    assert made.loop.run(epochs=1).reason == "enough"
    assert (made.loop.step, made.halting.rows) == (BAD, [*range(BAD)])
    assert made.weight.numpy() == pytest.approx(weights()[BAD])
    saved = sorted(path.stem for path in (tmp_path / "saved").glob("ckpt-*.json"))
    assert saved == ["ckpt-2", f"ckpt-{BAD}"]

    still = make(tmp_path, name, broken=True, jit_compile=jit_compile)
    with pytest.raises((tf.errors.OpError, FileNotFoundError), match=rf"{BAD}\.bin"):
        still.loop.run(epochs=1)
    assert (still.loop.step, still.halting.rows) == (BAD, [])

    well = make(tmp_path, name, jit_compile=jit_compile)
    well.loop.run(epochs=2)
    assert well.halting.rows == [*range(BAD, ALL), *range(ALL)]


def test_a_run_whose_last_step_comes_before_what_cannot_be_read_is_complete(tmp_path: Path) -> None:
    """And one that goes on behind it is told of that at its own step, with nothing of that step done."""
    made = make(tmp_path, "stateful, read ahead", broken=True, jit_compile=False)
    assert made.loop.run(steps=BAD).reason == f"{BAD} steps are complete"
    assert made.loop.state.variables["position/step"] == BAD
    assert (tmp_path / "saved" / f"ckpt-{BAD}.json").exists()
    with pytest.raises((tf.errors.OpError, FileNotFoundError), match=rf"{BAD}\.bin"):
        made.loop.run(steps=ALL)
    assert (made.loop.step, made.halting.rows) == (BAD, [*range(BAD)])
    assert made.weight.numpy() == pytest.approx(weights()[BAD])


@pytest.mark.more
def test_who_reads_again_what_cannot_be_read_now_is_told_of_that(tmp_path: Path) -> None:
    make(tmp_path, "generator", jit_compile=False).loop.run(steps=BAD)
    broken = make(tmp_path, "generator", broken=True, jit_compile=False)
    with pytest.raises(tf.errors.OpError, match=rf"{BAD}\.bin"):
        broken.loop.run(epochs=1)
    well = make(tmp_path, "generator", jit_compile=False)
    well.loop.run(epochs=1)
    assert well.halting.rows == [*range(BAD, ALL)]
