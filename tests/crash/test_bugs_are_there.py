"""Planted mistakes are where they were: what they replace is in the source, so the tests of them test something."""

import bugs
import test_recorded
import test_sources
from planting import out_of_place


def test_every_planted_mistake_can_be_planted() -> None:
    assert out_of_place([*bugs.BUGS, *test_recorded.BUGS, *test_sources.BUGS]) == []
