"""What the loop asks of any source of batches: a protocol for each of its four readers."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import tensorflow as tf

from loop.data.orders.pool import Pool
from loop.digest import BatchDigest
from loop.findings import Finding
from loop.state.resumable import Resumable
from loop.tensors import Nest


class Batches(Protocol):
    """What the compiled loop reads: a pass as a pair of nests that it is called with.

    `source` does not change, and `ahead` is handed on from step to step.
    """

    element_spec: Nest
    seen: BatchDigest | None  # digests the batches of the pass; None if nobody wants to know
    source: Nest
    ahead: Nest
    variables: Sequence[tf.Variable]  # what it keeps its data in; not for checkpoints

    def dataset(self) -> tf.data.Dataset | None:
        """Returns what the open pass reads, for messages; None if that is no pipeline."""
        ...

    def feed_spec(self) -> tuple[Nest, Nest]:
        """Returns the type specs of `(source, ahead)`."""
        ...

    # What follows is traced into the compiled loop.

    def more(self, ahead: Nest) -> tf.Tensor:
        """Returns whether there is another batch: bool, shape `[]`."""
        ...

    def batch(self, source: Nest, ahead: Nest) -> Nest:
        """Returns the next batch."""
        ...

    def advance(self, source: Nest, ahead: Nest, index: tf.Tensor) -> Nest:
        """Returns what comes before batch `index` of the pass, from 0: int32, shape `[]`."""
        ...


class InMemory(Batches, Protocol):
    """What a program of XLA can read, which may have no iterator in it: batches that are found by their index."""

    sizes: Sequence[int]  # the leading dimensions that batches have

    def alike(self, index: int) -> int:
        """Returns how many batches from `index` on, at least one, have the size of that one."""
        ...

    def order(self) -> tf.Tensor:
        """Returns where to find the batches of the pass. Traced outside of the program: it may be on another device."""
        ...

    def at(self, order: tf.Tensor, index: tf.Tensor, size: int) -> Nest:
        """Returns batch `index` of the pass, int32 `[]`, which is of this size. Traced into the program."""
        ...


class Passes(Protocol):
    """What the loop reads in Python: one pass after the other."""

    steps_per_epoch: int | None  # None: nobody knows before the last batch
    repeats_itself: bool  # whether each pass over the same epoch yields the same
    taken: bool  # whether a loop or an evaluation reads it: a pass is part of it, so nobody else can

    def pool_rows(self, pool: Pool) -> None:
        """Adds what it is made of, as far as it knows, to what all data of the loop have."""
        ...

    def open(self, epoch: int) -> None:
        """Begins the pass over `epoch`, from 0. Raises `ValueError` if it has no batch."""
        ...

    def close(self, *, complete: bool = True) -> None:
        """Ends a pass, which may be cut before it is complete."""
        ...


class Auditable(Protocol):
    """What is asked before the first step."""

    def findings(self, owner: str) -> list[Finding]:
        """Returns what would keep a run from being resumed exactly; `owner` is what to call the data in it."""
        ...

    def changes(self) -> list[str]:
        """Returns what is done in another way than it was written, so that a run can be resumed exactly."""
        ...


@runtime_checkable
class Data(Batches, Passes, Resumable, Auditable, Protocol):
    """A source of batches, one pass after the other, that can be found again at any place.

    A loop takes whatever has these members and is a `Trackable`, such as a `tf.Module`: its variables are saved.
    """
