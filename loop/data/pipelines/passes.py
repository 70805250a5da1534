"""Whether each pass over data that are read again is what the first one was."""

from collections.abc import Mapping

from loop.exact.pipeline_audit import audit_reading
from loop.findings import Finding

BEGINNING = "beginning"  # the name of a note


class PassesSoFar:
    """What the passes over data have in common so far.

    Attributes:
        whole: The digest of each pass; None before the end of the first one.
        beginning: The digest of the first elements, before any are shuffled; None if nothing comes out of Python.
    """

    def __init__(self) -> None:
        self.whole: int | None = None
        self.beginning: int | None = None
        self._differ = self._mixed = False  # mixed: the open pass is in part of other data

    def ended(self, whole: int) -> None:
        """Takes in the digest of a pass that is over, of data that do not shuffle."""
        if not self._mixed:
            # Told by `findings`, which are asked for when an epoch is over.
            self._differ = self._differ or self.whole not in (None, whole)
            self.whole = whole
        self._mixed = False

    def differ(self) -> None:
        """Takes in that a cache which is filled again, in another process, would hold something else."""
        self._differ = True

    def begins_with(self, beginning: int) -> None:
        """Takes in what the data begin with now."""
        self._differ = self._differ or self.beginning not in (None, beginning)

    def findings(self, owner: str) -> list[Finding]:
        """Returns what has come of it."""
        what = "yielded something else in a later pass: a generator that changes, or a file that was written meanwhile"
        return audit_reading(what, owner) if self._differ else []

    def cursor(self) -> dict[str, int]:
        """Returns what another process has to know."""
        known = {"whole": self.whole, BEGINNING: self.beginning}
        return {name: digest for name, digest in known.items() if digest is not None}

    def resume_from(self, cursor: Mapping[str, int]) -> str:
        """Goes on from the notes of an earlier process. Returns a line if the data do not begin as they did."""
        # The first pass of the earlier process counts: passes are compared across the kill.
        self.whole, self._differ = cursor.get("whole"), False
        if self.beginning is None or cursor.get(BEGINNING, self.beginning) == self.beginning:
            return ""
        self.forget()
        return (
            "data: read again, they do not begin with what the run saw when it began. What the dataset reads has "
            "changed, or it draws random numbers that are not seeded"
        )

    def forget(self) -> None:
        """Begins anew with the next pass: the data are known to be others, and part of this one was of the old ones."""
        self.whole, self._differ, self._mixed = None, False, True
