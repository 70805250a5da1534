"""What hands blocks of batches to a program of XLA; see `streamed.py` and `handed.py`."""

import abc
import contextlib

from loop.data.blocks import Block, Shapes


class Feed(abc.ABC):
    """Takes blocks of batches from data, never more than are to be trained in this call of the loop."""

    @abc.abstractmethod
    def room(self, shapes: Shapes) -> int:
        """Returns how many batches of these shapes a block has room for."""

    @abc.abstractmethod
    def take(self, most: int) -> Block | None:
        """Returns the next block, of at most so many batches; None if the data end here."""

    @abc.abstractmethod
    def meanwhile(self, most: int) -> contextlib.AbstractContextManager[object]:
        """Returns what is entered while a block is trained: fetches at most so many batches of the next one."""

    @abc.abstractmethod
    def trained(self, block: Block, steps: int) -> bool:
        """Takes in that the first `steps` batches of a block are trained, and returns whether others follow."""

    @property
    @abc.abstractmethod
    def holds(self) -> bool:
        """Whether something was fetched that is yet to be trained."""

    @property
    @abc.abstractmethod
    def failed(self) -> bool:
        """Whether it is known that what is wanted next cannot be read."""
