"""Every source has what the loop wants of one. mypy cannot see it: what TensorFlow's classes have, it does not know.

And the loop takes whatever has that, as a source that somebody writes.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
import tensorflow as tf

from hooks import Checkpoint
from loop import Evaluation, Every, Finding, Loop
from loop.data.arrays import ArrayData
from loop.data.indexed import IndexedData
from loop.data.own_files import OwnFiles
from loop.data.source import Data
from loop.data.stateful import StatefulData
from loop.data.stream import StreamData
from loop.state.position import Position

WANTED = {
    name: member
    for protocol in Data.__mro__
    if protocol.__module__.startswith("loop.")
    for name, member in vars(protocol).items()
    if inspect.isfunction(member) and not name.startswith("_")
}


@pytest.mark.parametrize("source", [ArrayData, IndexedData, OwnFiles, StatefulData, StreamData])
def test_a_source_can_be_called_as_the_loop_calls_it(source: type) -> None:
    text = "".join(inspect.getsource(each) for each in source.__mro__ if each.__module__.startswith("loop."))
    for name, member in WANTED.items():
        if f"self.{name} = " not in text:  # else it is made for each source, out of another one's
            of_source = inspect.signature(getattr(source, name)).parameters
            assert of_source.keys() == inspect.signature(member).parameters.keys(), name
    assert len(WANTED) > 15


class Noise(tf.Module):
    """Five batches in each epoch, each drawn of the seed, the epoch and its number: in the graph, with nothing to read.

    Args:
        seed: Any integer.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.element_spec, self.steps_per_epoch = tf.TensorSpec([4], tf.float32), 5
        self.seen, self.source, self.repeats_itself, self.taken = None, (), True, False
        self.ahead = tf.constant(0)  # the number of the next batch
        self._seed, self._epoch = seed, tf.Variable(0, trainable=False)

    def open(self, epoch: int) -> None:
        self._epoch.assign(epoch)
        self.ahead = tf.constant(0)

    def close(self, *, complete: bool = True) -> None:
        pass

    def feed_spec(self) -> tuple[tuple, tf.TensorSpec]:
        return (), tf.TensorSpec([], tf.int32)

    def more(self, ahead: tf.Tensor) -> tf.Tensor:
        return tf.constant(True)

    def batch(self, source: tuple, ahead: tf.Tensor) -> tf.Tensor:
        return tf.random.stateless_normal([4], tf.stack([self._seed + self._epoch, ahead]))

    def advance(self, source: tuple, ahead: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
        return index

    def cursor(self) -> dict[str, int]:
        return {}

    def seek(self, place: Position, cursor: Mapping[str, int]) -> list[str]:
        self._epoch.assign(place.epoch)
        self.ahead = tf.constant(place.step_in_epoch)
        return []

    def mark(self) -> Callable[[], None]:
        epoch, ahead = int(self._epoch), self.ahead

        def go_back() -> None:
            self._epoch.assign(epoch)
            self.ahead = ahead

        return go_back

    def describe(self) -> dict[str, object]:
        return {"kind": "Noise", "seed": self._seed}

    def dataset(self) -> None:
        return None

    def drawn(self) -> dict[str, int]:
        return {}

    def in_memory(self) -> Sequence[tf.Tensor]:
        return []

    def recall(self, cursor: Mapping[str, int], earlier: object) -> None:
        pass

    def pool_rows(self, pool: object) -> None:
        pass

    def findings(self, owner: str) -> list[Finding]:
        return []

    def changes(self) -> list[str]:
        return []


def trained(directory: Path, steps: int, *, seed: int = 1) -> tuple[float, Mapping[str, float]]:
    """Trains from the beginning, or from what is saved there. Returns what came of it."""
    total = tf.Variable(0.0)
    loop = Loop(
        lambda batch: {"total": total.assign_add(total + tf.reduce_sum(batch))},
        Noise(seed),
        state={"total": total},
        evaluate=Evaluation(lambda batch: {"mean": total * tf.reduce_mean(batch)}, Noise(7)),
        hooks=[Checkpoint(directory, Every(steps=2))],
    )
    result = loop.run(steps=steps)
    return float(total), result.history


def test_a_source_of_ones_own_is_taken_resumed_exactly_and_compared(tmp_path: Path) -> None:
    for steps in (3, 7, 10, 12):
        cut = trained(tmp_path / "cut", steps)
    assert cut == trained(tmp_path / "whole", 12)
    assert len(cut[1]["val_mean"]) == 2
    with pytest.raises(ValueError, match=r"data: seed was 1 in the checkpoint and is 2 now"):
        trained(tmp_path / "cut", 14, seed=2)


def test_what_has_not_all_of_that_is_no_source() -> None:
    with pytest.raises(TypeError, match=r"Data must be a tf\.data\.Dataset"):
        Loop(lambda batch: {"one": 1.0}, tf.Module(), state={})  # type: ignore[arg-type]
