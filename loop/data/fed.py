"""Batches that Python hands over, one before each step."""

import abc
import contextlib
from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf

from loop.data.at_hand import AtHand
from loop.data.orders.pool import Pool
from loop.digest import BatchDigest
from loop.state.plain import Kept, Plain
from loop.state.resumable import Earlier
from loop.tensors import Nest


class Fed(Kept, AtHand):
    """Data whose batches are made by Python, in the thread that trains, when they are wanted.

    So the compiled loop is called for one step at a time. What is wanted is the next batch of the pass, and it stays so
    until its step is done: where that fails, or making the batch does, nothing is lost.

    Attributes:
        reads_ahead: Whether batches may be read before they are wanted.

    Args:
        element_spec: What a batch is like.
        steps_per_epoch: Batches in a pass; None: nobody knows before the last one.
    """

    def __init__(self, element_spec: Nest, steps_per_epoch: int | None) -> None:
        super().__init__(self._saved, self._restored, type(self).__name__)
        self.element_spec, self.steps_per_epoch = element_spec, steps_per_epoch
        self.seen: BatchDigest | None = None
        self.source: Nest = ()
        self.variables: tuple[tf.Variable, ...] = ()
        self.repeats_itself, self.taken = True, False
        self._wanted: Nest = None
        self.reads_ahead = False

    @abc.abstractmethod
    def _fetch(self) -> Nest:
        """Makes the next batch."""

    @abc.abstractmethod
    def _follows(self) -> bool:
        """Goes on to the batch behind the one that was trained, and returns whether there is one."""

    @abc.abstractmethod
    def _saved(self) -> Plain:
        """Returns what a checkpoint holds, besides the cursor."""

    @abc.abstractmethod
    def _restored(self, state: Plain) -> None:
        """Takes over what a checkpoint held; the cursor comes before that, to `seek`."""

    @abc.abstractmethod
    def mark(self) -> Callable[[], None]:
        """See `Resumable`."""

    @property
    def ahead(self) -> Nest:
        """The next batch."""
        # Made when it is wanted first, and kept until its step is done: whoever asks again gets the same.
        if self._wanted is None:
            self._wanted = self._fetch()
        return self._wanted

    @ahead.setter
    def ahead(self, ahead: Nest) -> None:
        self._wanted = ahead

    def trained(self) -> bool:
        """Takes in that the step with the next batch is done, and returns whether another batch follows."""
        self._wanted = None
        return self._follows()

    def take_back(self, count: int) -> None:
        """Goes back by so many batches, which were not trained after all: of what reads ahead."""
        raise TypeError(f"{type(self).__name__} do not read ahead, so there is nothing to go back from.")

    def meanwhile(self) -> contextlib.AbstractContextManager[object]:
        """Returns what is entered while a step runs, and left after it."""
        return contextlib.nullcontext()

    def pool_rows(self, pool: Pool) -> None:
        """Has no rows that are known."""

    def drawn(self) -> dict[str, int]:
        return {}

    def in_memory(self) -> Sequence[tf.Tensor]:
        return []

    def recall(self, cursor: Mapping[str, int], earlier: Earlier) -> None:
        """Has nothing to take over: `describe` says what was given."""

    def changes(self) -> list[str]:
        return []
