"""Planted mistakes are where they were: what they replace is in the source, so the tests of them test something."""

import itertools

import bugs
import test_attacked
import test_recorded
import test_sources
from planting import out_of_place


def test_every_planted_mistake_can_be_planted() -> None:
    attacked = itertools.chain.from_iterable(test_attacked.BUGS.values())
    assert out_of_place([*bugs.BUGS, *attacked, *test_recorded.BUGS, *test_sources.BUGS]) == []
