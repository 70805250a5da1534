"""Whichever way a loop is run, a proof sees it."""

import functools
from collections.abc import Callable
from pathlib import Path

import pytest
import tensorflow as tf

from exactloop.proof import child
from exactloop.proof.config import ChildConfig
from loop import ArrayData, Loop, RunResult


class Kept(Loop):
    """A loop that keeps its method before it is ever run, and runs itself by that."""

    def __init__(self, *given: object, **named: object) -> None:
        super().__init__(*given, **named)  # type: ignore[arg-type]
        self.go = self.run


class Twice(Loop):
    """A loop that runs in two parts."""

    def run(self, *, epochs: int | None = None, steps: int | None = None) -> RunResult:
        super().run(steps=1)
        return super().run(epochs=epochs, steps=steps)


class Named(Loop):
    """A loop that is run under another name."""

    def train(self) -> RunResult:
        return Loop.run(self, steps=2)


def make(kind: type[Loop] = Loop) -> Loop:
    weight = tf.Variable(0.0)
    step = lambda x: {"weight": weight.assign_add(tf.reduce_sum(x))}  # noqa: E731
    return kind(step, ArrayData(tf.range(4.0), batch_size=1, seed=1), state={"weight": weight})


RUNS: dict[str, Callable[[], object]] = {
    "its method": lambda: make().run(steps=2),
    "of the class": lambda: Loop.run(make(), steps=2),
    "a part of it": lambda: functools.partial(make().run, steps=2)(),
    "of a subclass, kept": lambda: make(Kept).go(steps=2),
    "of a subclass, by another name": lambda: make(Named).train(),
    "of a subclass, twice": lambda: make(Twice).run(steps=2),
    "again": lambda: [(loop := make()).run(steps=1), loop.run(steps=2)],
    "two, in turns": lambda: [[each.run(steps=n) for each in loops] for loops in [[make(), make()]] for n in (1, 2)],
}
ENDS = {"of a subclass, twice": [(0, 1), (0, 2)], "again": [(0, 1), (0, 2)]}
CHEAP = ("of the class", "of a subclass, twice")
ENDS["two, in turns"] = [(0, 1), (1, 1), (0, 2), (1, 2)]


@pytest.mark.parametrize("how", [pytest.param(how, marks=[] if how in CHEAP else pytest.mark.long) for how in RUNS])
def test_a_run_is_watched_whichever_way_it_is_called(how: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Loop, "on_created", [])
    monkeypatch.setattr(Loop, "run", Loop.run)
    monkeypatch.setattr(child, "listen", lambda *heard: None)
    lines: list[dict] = []
    child.watch_loops(ChildConfig(str(tmp_path / "record"), 0), __file__, lines.append)
    RUNS[how]()
    ends = [(line["loop"], line["step"]) for line in lines if line["event"] == "end"]
    assert ends == ENDS.get(how, [(0, 2)])
    if how == CHEAP[0]:
        with pytest.raises(TypeError, match=r"Received: 3; write run\(epochs=10\)"):
            Loop.run(make(), 3)  # type: ignore[misc]
