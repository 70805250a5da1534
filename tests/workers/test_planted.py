"""Mistakes that are planted in what several workers do: every one of them is noticed."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import many
import mistakes
import pytest
from cluster import run, running
from mistakes import IN_PROCESSES, IN_THREADS
from planting import Bug, planted

import loop.workers.rows
import loop.workers.waits
from hooks.checkpoint.disk.errors import Differing

COUNT = 4
WISHES: dict[int, dict[int, str]] = {1: {2: "asked by 2", 1: "asked by 1"}}


def wrong() -> Iterator[str]:
    """Yields what is wrong with many workers in one process."""
    agreed = (100, 0.0)
    first, *others = many.on_all(COUNT, lambda worker: many.decisions(worker, WISHES))
    if any(other != first for other in others) or first[0][:2] != agreed or first[3] != ("asked by 1", True):
        yield f"not agreed: {first}, {others}"
    try:
        many.on_all(
            COUNT, lambda worker: many.Agreed(worker, many.Stops(lambda: None, together=True), None).end(worker.rank, 9)
        )
        yield "at different steps"
    except RuntimeError:
        pass  # as it should
    try:
        many.on_all(COUNT, lambda worker: worker.exchange(1.0, at=str(worker.rank)))
        yield "at different places"
    except RuntimeError:
        pass  # as it should
    together = many.Together(2)
    chief, other = (loop.workers.waits.Waits(many.one(rank, together)) for rank in (0, 1))
    with chief.waiting("one"), other.waiting("another"):
        if chief.elsewhere() or not other.elsewhere():
            yield "nobody sees who waits elsewhere"
    for rank in (1, 3):
        try:
            many.commit(COUNT, 2, wrong=rank)
            yield "other values are saved"
        except Differing:
            pass  # as it should
    try:
        many.commit(COUNT, 2, wrong=1, in_python="data/get_state")
        yield "other values in Python are saved"
    except Differing:
        pass  # as it should
    yield from many.wrong_parts(COUNT)
    for rows in range(9):
        bounds = [loop.workers.rows.OwnRows(rank, 3).bounds(rows) for rank in range(3)]
        if [row for begin, end in bounds for row in range(begin, end)] != list(range(rows)):
            yield f"other rows: {bounds}"


def test_nothing_is_wrong_without_a_mistake() -> None:
    assert list(wrong()) == []


@pytest.mark.parametrize("bug", [pytest.param(bug, id=bug.name) for bug in IN_THREADS])
def test_a_mistake_in_what_workers_agree_on_is_noticed(bug: Bug) -> None:
    with planted(bug):
        assert next(wrong())


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of checkpoints that two workers have saved."""
    directory = tmp_path_factory.mktemp("saved") / "checkpoints"
    run([["saved", str(directory), "10", "3"]], 2, directory.parent)
    return directory


@pytest.mark.crash
@pytest.mark.parametrize("number", range(len(IN_PROCESSES)), ids=[bug.name for bug in IN_PROCESSES])
def test_a_mistake_in_what_workers_hold_is_noticed(number: int, saved: Path, tmp_path: Path) -> None:
    shutil.copytree(saved, tmp_path / "checkpoints")
    plan = [["saved", str(tmp_path / "checkpoints"), "20", "3"], ["dense", "21", "4", "14"]]
    script = [str(Path(mistakes.__file__).with_name("planted.py")), str(number)]
    with running(plan, 2, tmp_path, script) as cluster:
        ended = cluster.ended()
    assert [each.code for each in ended] == [1, 1]
    known = "not hold what", "are not alike", "not hold the same", "of this worker's rows alone"
    assert any(said in ended[0].said for said in known), ended[0].said
