"""The dataset of each epoch: what is known of it, and whether it is the one that an earlier process had."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence

import keras
import tensorflow as tf

from loop.data.passes import Passes
from loop.data.replay import read_beginning, read_twice, uniterated
from loop.errors.instead import instead_of_data, refuses_arguments, specs
from loop.errors.kinds import shown
from loop.exact.pipeline import may_differ, reshuffling
from loop.exact.pipeline_audit import Read, in_pipeline, of_function, of_reading, of_shuffles
from loop.exact.pipeline_hash import described, short, values_read
from loop.findings import Finding
from loop.tensors import Nest

AGAIN = (1, 2, 1, 0)  # the epochs for which the audit calls a function after the first one
PROGRAM = int(short((tf.__version__, keras.__version__)), 16)  # other versions trace the same program otherwise


class Source:
    """One dataset for all epochs, or a function that makes that of each.

    Attributes:
        element_spec: What it yields.
        cardinality: How many batches that of the first epoch has, as TensorFlow knows.
        varies: Whether a function makes it.
        endless: Whether one pass goes on through all epochs.
        shuffles: How many stages, of one dataset, have another order in each pass.
        remembers: Whether the order of one dataset depends on how often it was iterated, be it once for all epochs.

    Args:
        given: The dataset or the function.
        steps: Steps in an epoch; None: as many as there are.
        saved: Whether iterators are saved, or else the data read again.
    """

    def __init__(
        self, given: tf.data.Dataset | Callable[[int], tf.data.Dataset], steps: int | None, *, saved: bool
    ) -> None:
        if isinstance(given, type) or (callable(given) and refuses_arguments(given, 1)):
            own = isinstance(given, type) or inspect.isgeneratorfunction(given)
            raise TypeError(
                "StreamData needs a tf.data.Dataset, or a function that is called with the epoch, from 0, and returns "
                f"one. Received: {shown(given)}. {instead_of_data(given) if own else 'Write lambda epoch: dataset.'}"
            )
        first = given(0) if callable(given) else given
        if not isinstance(first, tf.data.Dataset):
            source = "a function returning a " if callable(given) else "a "
            raise TypeError(
                f"StreamData needs a tf.data.Dataset, or a function epoch -> tf.data.Dataset. Received: {source}"
                f"{type(first).__name__}. {instead_of_data(first)}"
            )
        self.element_spec, self.cardinality = first.element_spec, int(first.cardinality())
        self.varies, self._given, self._steps, self._saved = callable(given), given, steps, saved
        self.endless = not self.varies and steps is not None
        self._one = None if self.varies else first.repeat() if self.endless else first  # for all epochs
        self.shuffles = 0 if self._one is None else reshuffling(self._one, once=self.endless)
        self.remembers = self._one is not None and reshuffling(self._one, once=False) > 0
        self._passes = Passes()
        self._now: tf.data.Dataset | None = None  # what is iterated
        self._next: dict[int, tf.data.Dataset] = {}  # what was made early, to be described
        self._found: list[Finding] | None = None
        self._described: dict[int, list[str]] = {}
        self._read = ""
        self._hashes: dict[int, int] = {}

    def dataset(self, epoch: int) -> tf.data.Dataset:
        """Returns the dataset of an epoch, to be iterated once; it is kept until `ended`."""
        early = self._next.pop(epoch, None)
        made = self._made(epoch) if early is None else early
        if self.varies and not _alike(made.element_spec, self.element_spec):
            first, now = self.element_spec, made.element_spec
            of_each = (specs(first), specs(now)) if specs(first) != specs(now) else (first, now)
            raise ValueError(
                f"The dataset of epoch {epoch + 1} has {of_each[1]}, that of the first epoch had {of_each[0]}. All "
                "that the function returns must have batches of the same kinds: cast and batch them alike."
            )
        self._now = made
        return made

    @property
    def iterated(self) -> tf.data.Dataset | None:
        """The dataset that is iterated; None between passes."""
        return self._now

    def _made(self, epoch: int) -> tf.data.Dataset:
        return self._cut(self._given(epoch)) if self._one is None else self._one

    def _cut(self, made: tf.data.Dataset) -> tf.data.Dataset:
        return made if self._steps is None else made.take(self._steps)

    def ended(self, digest: int | None) -> None:
        """Ends a pass. If its data are read again on resuming, it has a digest, and is compared with the first one."""
        self._now = None
        if digest is not None and not self.varies and not self.shuffles:
            self._passes.ended(digest)
        elif digest is not None and self._passes.beginning is not None:
            self._passes.begins_with(read_beginning(self._made(0)))

    def findings(self, owner: str) -> list[Finding]:
        """Returns what would keep a run from being resumed exactly; read once, and what the passes have shown since.

        Args:
            owner: What to call the data.
        """
        if self._found is None:
            self._found = self._look(owner)
        return self._found + self._passes.findings(owner)

    def _look(self, owner: str) -> list[Finding]:
        made = list(self._sample())
        each = self._describe(made)
        found = [finding for dataset in each.values() for finding in in_pipeline(dataset, owner, saved=self._saved)]
        found += of_function(made, owner) if self.varies else []
        found += of_shuffles(self.shuffles, owner) if self._saved else []
        if all(isinstance(finding, Read) for finding in found):
            readings = [read_twice(dataset) for dataset in each.values() if may_differ(dataset)]
            found += of_reading(next((reading.wrong for reading in readings if reading.wrong), ""), owner)
            self._passes.beginning = readings[0].beginning if readings else None
        return list(dict.fromkeys(found))

    def _describe(self, made: Sequence[tuple[int, tf.data.Dataset]]) -> dict[int, tf.data.Dataset]:
        """Returns the first dataset of each epoch. Once, before a state is restored, takes down what they are."""
        each = dict(sorted(dict(reversed(made)).items()))
        if not self._described:
            self._described = {epoch: described(dataset) for epoch, dataset in each.items()}
            self._read = "".join(map(values_read, each.values()))
        return each

    def _sample(self) -> Iterator[tuple[int, tf.data.Dataset]]:
        """Yields datasets with their epochs, of a function several, some of them twice."""
        # Not the one that it made first: a seed may have been set for the process since then.
        yield 0, self._made(0)
        for epoch in AGAIN if self.varies else ():
            try:
                yield epoch, self._made(epoch)
            except Exception:  # there may be no such epoch; a run that gets there is told so then
                continue

    def describe(self) -> dict[str, object]:
        """Returns what has to be the same in another process, in JSON values."""
        if not self._described:
            self._describe(list(self._sample()))  # nothing is read for that
        of_epochs = {f"stages of epoch {epoch + 1}": said for epoch, said in self._described.items() if epoch}
        return {"stages": self._described[0], **of_epochs, **({"read": self._read} if self._read else {})}

    def notes(self, epoch: int) -> dict[str, int]:
        """Returns what tells the data from others, at an epoch: that of the open pass, or the one that comes next."""
        stages = self._stages(epoch)
        of_stages = {} if stages is None else {"stages": stages, "program": PROGRAM}
        return {"epoch": epoch, **of_stages, **self._passes.notes()}

    def go_on(self, epoch: int, notes: Mapping[str, int]) -> list[str]:
        """Goes on from the notes of an earlier process. Returns a line if the data are not what they were."""
        self._now, self._next, self._hashes = None, {}, {}
        stages = self._stages(epoch)
        if "stages" not in notes or notes["program"] != PROGRAM or stages is None:
            self._passes.forget()
            return []
        if stages != notes["stages"]:
            self._passes.forget()
            what = f"data: for epoch {epoch + 1}, the function makes another dataset than when the checkpoint was made"
            return [what] if self.varies else []  # of one dataset, `describe` has it
        line = self._passes.go_on(notes)
        return [line] if line else []

    def mark(self) -> Callable[[], None]:
        """Returns what takes back all that becomes known meanwhile, but for how often a dataset was iterated."""
        held, passes = dict(vars(self)), self._passes.copy()

        def go_back() -> None:
            vars(self).update(held)
            self._passes = passes

        return go_back

    def begin_anew(self) -> bool:
        """Makes a dataset that shuffles forget how often it was iterated. Returns whether that can be done."""
        copy = None if self._one is None else uniterated(self._one)
        self._one = self._one if copy is None else copy
        return copy is not None

    def forget(self) -> None:
        """Compares no pass with those before this one: the data are known to be others."""
        self._passes.forget()

    def _stages(self, epoch: int) -> int | None:
        """Returns a hash of the dataset of an epoch, made once, as it may hold much; None if there is no such epoch."""
        epoch = epoch if self.varies else 0
        if epoch not in self._hashes:
            dataset = self._now
            if dataset is None:
                try:
                    dataset = self._next[epoch] if epoch in self._next else self._made(epoch)
                except Exception:  # at the end of a run, most likely
                    return None
                self._next = {epoch: dataset} if self.varies else {}  # so that it is not made twice
            self._hashes = {epoch: int(short(described(dataset)), 16)}
        return self._hashes[epoch]


def _alike(spec: Nest, first: Nest) -> bool:
    """Returns whether what has one spec can be what has the other: lengths may be unknown in either."""
    try:
        tf.nest.assert_same_structure(spec, first)
    except (TypeError, ValueError):
        return False
    pairs = zip(tf.nest.flatten(spec), tf.nest.flatten(first), strict=True)
    return all(of_first.is_compatible_with(of_this) for of_this, of_first in pairs)
