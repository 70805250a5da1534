"""As `tests/crash/test_bugs_are_there.py`, of mistakes with several workers."""

from mistakes import IN_PROCESSES, IN_THREADS
from planting import out_of_place


def test_every_planted_mistake_of_workers_can_be_planted() -> None:
    assert out_of_place([*IN_THREADS, *IN_PROCESSES]) == []
