"""What a pipeline has in the place of what was written, so that it is what it was when the run began."""

import dataclasses
from collections.abc import Mapping
from typing import TypeAlias

import tensorflow as tf

from loop.data.orders.one_order import Orders
from loop.exact.outside import Instead
from loop.tf_internals import with_seed

Replaced: TypeAlias = Mapping[tf.data.Dataset, tf.data.Dataset]  # by stage, another one that stands in its place


@dataclasses.dataclass(frozen=True)
class Exchanged:
    """What stands in the place of parts of a pipeline.

    Attributes:
        stages: By stage, one with other rows, or with the seed that a loader drew.
        orders: The seeds of shuffles that have the same order in other data of the loop.
        numbers: By stage, one with other numbers, such as the size of batches.
        functions: What functions have in the place of what they have from outside.
    """

    stages: Replaced = dataclasses.field(default_factory=dict)
    orders: Orders = dataclasses.field(default_factory=dict)
    numbers: Replaced = dataclasses.field(default_factory=dict)
    functions: Instead = dataclasses.field(default_factory=dict)

    def replaced(self) -> Replaced:
        """Returns by stage what stands in its place, all together."""
        others = {**self.numbers, **self.stages}
        return {**others, **{stage: with_seed(others.get(stage, stage), seed) for stage, seed in self.orders.items()}}


AS_WRITTEN = Exchanged()
