"""What the data of a loop have in common."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from loop.data.orders.one_order import Splits
from loop.data.orders.rows import Rows


class Pool:
    """The rows of all data of a loop: of those that are alike, each may have been in the place of any other.

    Attributes:
        splits: Which shuffles they have in common.
    """

    def __init__(self) -> None:
        self._of_data, self.splits = list[Callable[[], Sequence[Rows]]](), Splits()

    def __deepcopy__(self, memo: Mapping[int, object]) -> "Pool":
        return Pool()  # a copy of data is in no loop

    def add(self, rows: Callable[[], Sequence[Rows]]) -> None:
        """Adds what returns the rows of one source, as they are in this process."""
        self._of_data.append(rows)

    def __iter__(self) -> Iterator[Rows]:
        return (rows for each in self._of_data for rows in each())
