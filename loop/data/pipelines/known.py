"""What is known of the datasets of all epochs, by which another process tells whether they are the same."""

from collections.abc import Callable, Mapping

from loop.data.pipelines.written import Written
from loop.digest import short
from loop.exact.files import as_wanted
from loop.exact.pipeline_hash import values_cached, values_read

FILES = "files"  # the name of a hash of what is in files that functions name


class Known:
    """Descriptions and hashes of datasets, which may hold much: each is made once, and never changed.

    Args:
        write: Returns what was written of the dataset of an epoch; raises if there is no such epoch.
        varies: Whether each epoch has a dataset of its own.
    """

    def __init__(self, write: Callable[[int], Written], *, varies: bool) -> None:
        self._write, self._varies = write, varies
        self._described: dict[int, list[str]] = {}  # by epoch, a text for each stage
        self._values: dict[str, str] = {}  # hashes of what the first one reads besides what it was made with
        self._of_epoch: dict[int, list[str]] = {}  # the same of the latest one
        self._early: dict[int, Written] = {}  # what was made early, to be described

    def of(self, epoch: int) -> Written:
        """Returns what was written of the dataset of an epoch, which is iterated now."""
        early = self._early.get(epoch)
        self._early = {}  # used once
        return self._write(epoch) if early is None else early

    def take_down(self, each: Mapping[int, Written]) -> None:
        """Takes down what the datasets of some epochs are, with the first among them, once."""
        if not self._described:
            self._described = {epoch: written.described for epoch, written in each.items()}
            # Variables that functions read are in no stage, nor is what stands in the file of a cache.
            read = "".join(values_read(written.dataset, written.streams) for written in each.values())
            cached = values_cached(each[0].dataset)
            found = ("read", read), ("cached", cached), (FILES, each[0].of_functions.files())
            self._values = {name: value for name, value in found if value}

    def is_taken_down(self) -> bool:
        """Returns whether that was done."""
        return bool(self._described)

    def describe(self) -> dict[str, object]:
        """Returns what has to be the same in another process, in JSON values."""
        described = {epoch: [*map(as_wanted, said)] for epoch, said in self._described.items()}
        of_epochs = {f"stages of epoch {epoch + 1}": said for epoch, said in described.items() if epoch}
        return {"stages": described[0], **of_epochs, **{name: as_wanted(value) for name, value in self._values.items()}}

    def stages(self, epoch: int, iterated: Written | None) -> int | None:
        """Returns a hash of the dataset of an epoch; None if there is no such epoch.

        Args:
            epoch: The epoch.
            iterated: What was written of its dataset, if that is iterated.
        """
        epoch = epoch if self._varies else 0  # of one dataset there is one
        if epoch not in self._of_epoch:
            written = iterated
            if written is None:
                try:
                    written = self._early[epoch] if epoch in self._early else self._write(epoch)
                except Exception:  # at the end of a run, most likely
                    return None
                self._early = {epoch: written} if self._varies else {}  # so that it is not made twice
            self._of_epoch = {epoch: written.described}  # one is enough: epochs come one after the other
        return number_of(self._of_epoch[epoch])

    def begin_anew(self) -> None:
        """Forgets what was made early, and what that is: the program may have changed since."""
        self._early, self._of_epoch = {}, {}

    def put(self, one: Written) -> None:
        """Takes down another one in the place of the dataset of all epochs."""
        self._described = self._of_epoch = {0: one.described}
        if FILES in self._values:
            self._values = {**self._values, FILES: one.of_functions.files()}


def number_of(described: list[str]) -> int:
    """Returns a hash of a dataset that was described; a number, because notes are numbers."""
    return int(short([*map(as_wanted, described)]), 16)
