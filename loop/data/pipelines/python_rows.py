"""Rows that Python in a pipeline has: those of the run, if the data are not what they were with others."""

from collections.abc import Callable, Mapping, Sequence

from loop.data.objects.around import Around
from loop.data.objects.held_rows import HeldRows
from loop.data.pipelines.passes import BEGINNING, PassesSoFar
from loop.state.resumable import Earlier


class PythonRows:
    """The rows that the functions and generators of a pipeline have.

    Args:
        python: The functions and generators.
        around: What they change is left alone: that is in each checkpoint.
        begins: Returns a digest of what the data begin with.
    """

    def __init__(self, python: Sequence[object], around: Around, begins: Callable[[], int]) -> None:
        self._held, self._around, self._begins = HeldRows([*python]), around, begins
        self._earlier: Earlier | None = None
        self._before = 0  # tensors before those that are meant here
        self._is_put = False
        self.tensors, self.mark = self._held.tensors, self._held.mark

    def recall(self, earlier: Earlier, before: int) -> None:
        """Takes note of what was kept.

        Args:
            earlier: That, and more of the same pipeline.
            before: How many tensors come before it.
        """
        self._earlier, self._before = earlier, before

    def put(self) -> bool:
        """Puts what was kept, also of what Python changes; that is restored after it. Returns whether there is any."""
        rows = self._earlier.tensors()[self._before :] if self._earlier else []
        self._held.put(rows)
        self._is_put = bool(rows)
        return self._is_put

    def begin_as(self, cursor: Mapping[str, int], passes: PassesSoFar) -> None:
        """Puts what was kept in the place of what there is, if the data begin as in the notes then, and not before."""
        begins, earlier = passes.beginning, self._earlier
        if earlier is None or begins is None:
            return
        if cursor.get(BEGINNING, begins) == begins:
            if self._is_put:
                earlier.taken()
            return

        def fits() -> bool:
            passes.beginning = self._begins()
            return passes.beginning == cursor[BEGINNING]

        if not self._held.recall(earlier, fits, before=self._before, but=self._around.names):
            passes.beginning = begins
