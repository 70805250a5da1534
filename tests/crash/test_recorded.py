"""Mistakes that are planted where `tf.summary` of a step is recorded: the points have to show each of them."""

import contextlib
from pathlib import Path

import pytest
from planting import Bug, planted
from summary_lives import Accident, Point, make_loop, points

BUGS = [
    Bug("what was tried is written", "hooks.tensorboard", "collections.deque(self._recorders.new(), maxlen=0)", "pass"),
    Bug("an evaluation is one step ahead", "hooks.tensorboard", "min(step, now)", "step"),
    Bug("what has been read is read again", "hooks.board.recorded", "        self._at += at\n", ""),
    Bug("steps are numbered by those that are done", "loop.numbered", "done.read_value() + 1", "done.read_value() + 0"),
]


def lived(directory: Path) -> list[Point]:
    """Returns the points of a run that was tried before, and fell once."""
    loop = make_loop(directory, Accident(6))
    with loop.rehearse() as rehearsal:  # as a search for a rate does
        rehearsal.train(3)
    with contextlib.suppress(ConnectionError):
        loop.run(epochs=3)
    make_loop(directory).run(epochs=3)
    return points(directory)


@pytest.mark.long
def test_each_planted_mistake_shows(tmp_path: Path) -> None:
    right = lived(tmp_path / "right")
    unseen = list[str]()
    for number, bug in enumerate(BUGS):
        with planted(bug):
            if lived(tmp_path / str(number)) == right:
                unseen.append(bug.name)
    assert unseen == []
