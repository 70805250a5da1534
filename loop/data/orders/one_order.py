"""Shuffles of one order that several data of a loop are made of, as when one is split into two.

TensorFlow gives `shuffle(n, reshuffle_each_iteration=False)` one order, wherever it is read. Without a seed, data for
training and for an evaluation would each give it an order of their own, and share examples. So it gets a seed.
"""

import random
from collections.abc import Callable, Mapping

import tensorflow as tf

from loop.exact.pipeline import stages
from loop.exact.stage_audit import unseeded
from loop.tf_internals import kind_of, reshuffles

Orders = Mapping[tf.data.Dataset, int]  # the seeds, by the stage that shuffles
NAME = "one order"  # begins the names of notes


def of_one_order(dataset: tf.data.Dataset) -> list[tf.data.Dataset]:
    """Returns the stages that shuffle in one order, and have no seed."""
    found = (stage for stage in stages(dataset) if kind_of(stage) == "Shuffle")
    return [stage for stage in found if reshuffles(stage) is False and unseeded(stage)]


def noted(orders: Orders) -> dict[str, int]:
    """Returns the seeds by the names of notes."""
    return {f"{NAME} {i}": seed for i, seed in enumerate(orders.values())}


def as_noted(orders: Orders, cursor: Mapping[str, int]) -> Orders:
    """Returns the seeds of which there are notes."""
    return {stage: cursor.get(f"{NAME} {i}", seed) for i, (stage, seed) in enumerate(orders.items())}


class Splits:
    """The data of a loop, and which shuffles they have in common."""

    def __init__(self) -> None:
        self._data = list[tuple[list[tf.data.Dataset], Callable[[Orders], None]]]()

    def add(self, dataset: tf.data.Dataset, take: Callable[[Orders], None]) -> None:
        """Adds a dataset, and what is called with the seeds that it gets."""
        self._data.append((of_one_order(dataset), take))

    def settle(self) -> None:
        """Draws the seeds of what several data shuffle in common, when all are known."""
        counts = dict[tf.data.Dataset, int]()
        for found, _ in self._data:
            counts |= {stage: counts.get(stage, 0) + 1 for stage in found}
        # Never 0, which would be no seed.
        seeds = {stage: 1 + random.getrandbits(62) for stage, count in counts.items() if count > 1}
        for found, take in self._data:
            if orders := {stage: seeds[stage] for stage in found if stage in seeds}:
                take(orders)
