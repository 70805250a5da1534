"""Datasets of epochs that a function makes, and the rows that this has: those of the run, if it makes others now."""

from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf

from loop.data.objects.held_rows import HeldRows
from loop.data.orders.pool import Pool
from loop.data.pipelines.written import Written
from loop.state.resumable import Earlier


class EachDataset:
    """The dataset of each epoch.

    Attributes:
        first: That of the first epoch, as it was made first.

    Args:
        first: As above.
        make: Returns that of an epoch.
        function: What makes it, as the user wrote it.
        stages: Returns, each time anew, a hash of the dataset of an epoch; None if there is none.
    """

    def __init__(
        self, first: Written, make: Callable[[int], Written], function: object, stages: Callable[[int], int | None]
    ) -> None:
        self.first, self._make, self._stages = first, make, stages
        self._held = HeldRows([function])

    def at(self, epoch: int) -> Written:
        """Returns the dataset of an epoch. Raises if there is no such epoch."""
        return self._make(epoch)

    def pool_rows(self, pool: Pool) -> None:
        """Adds none: which rows there are shows when the datasets are made."""

    def notes(self) -> dict[str, int]:
        """Returns nothing: what the function drew is not known."""
        return {}

    def in_memory(self) -> Sequence[tf.Tensor]:
        """Returns what the function has in memory."""
        return self._held.tensors()

    def recall(self, cursor: Mapping[str, int], earlier: Earlier) -> bool:
        """Puts what was kept in the place of what there is, if it makes the noted dataset then, and not before.

        Returns:
            Whether that was so.
        """
        wanted = cursor.get("stages")

        def fits() -> bool:
            return self._stages(cursor["epoch"]) == wanted

        return wanted is not None and not fits() and self._held.recall(earlier, fits)

    def mark(self) -> Callable[[], None]:
        """Returns what takes back what was put."""
        return self._held.mark()
