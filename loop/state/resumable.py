"""What data have to be able to do to be found again where they were."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import tensorflow as tf

from loop.state.position import Position

OTHER_PIPELINE = (
    "TensorFlow could not restore {!r}. If the files are whole, the dataset has other stages, or other "
    "tf.data.Options, than when its iterator was saved. Undo that change, or start afresh. TensorFlow says: {}"
)


class Earlier(Protocol):
    """The rows that data were made of when the run began.

    Attributes:
        same_program: Whether the program is what it was then, as far as its text says.
    """

    same_program: bool

    def tensors(self) -> Sequence[tf.Tensor]:
        """Returns what `in_memory` had returned then; nothing if it was not kept. May take long."""
        ...

    def taken(self) -> None:
        """Is told when they were put in the place of the present ones."""
        ...


class Unlike(ValueError):
    """What a checkpoint has cannot be taken over, because the program is not as it was; says what is other."""


class Resumable(Protocol):
    """The part of a source of batches that the training state saves, compares and seeks.

    Saving it as a `Trackable` saves what the cursor cannot hold, such as the state of an iterator.
    """

    def cursor(self) -> dict[str, int]:
        """Returns what `seek` has to know besides the place."""
        ...

    def drawn(self) -> dict[str, int]:
        """Returns what `recall` has to know of it if nothing else is saved of these data, which are an evaluation's."""
        ...

    def in_memory(self) -> Sequence[tf.Tensor]:
        """Returns the rows in memory that these data are made of, as far as others can be put in their place."""
        ...

    def recall(self, cursor: Mapping[str, int], earlier: Earlier) -> None:
        """Takes over what was drawn when the run began, so that `describe` says what it is then; before `seek`.

        Args:
            cursor: That of the earlier process.
            earlier: The rows that they were made of, to be taken if no order of the present ones will do.
        """
        ...

    def seek(self, place: Position, cursor: Mapping[str, int]) -> list[str]:
        """Goes to where a run was when it took this cursor; the iterator, if there is one, is restored after this.

        Returns:
            A line for everything in which the data are seen not to be what they were.
        """
        ...

    def mark(self) -> Callable[[], None]:
        """Returns what takes the data back to where they are now, whatever is sought meanwhile."""
        ...

    def describe(self) -> dict[str, object]:
        """Returns what has to be the same when a run is resumed, in JSON values."""
        ...


class Apart(Protocol):
    """What each of several workers has of the data for itself; a checkpoint has that of all, by their ranks."""

    rank: int
    count: int
