"""The dataset of each epoch: what is known of it, and whether it is the one that an earlier process had."""

import copy
import functools
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence

import keras
import tensorflow as tf

from loop.data.objects.around import Around
from loop.data.orders.pool import Pool
from loop.data.pipelines.audited import as_read, as_written
from loop.data.pipelines.cores import cores, other_order
from loop.data.pipelines.each_dataset import EachDataset
from loop.data.pipelines.epoch_alone import OTHER, EpochAlone
from loop.data.pipelines.known import Known
from loop.data.pipelines.of_epoch import Given, OfEpoch, check_spec, checked
from loop.data.pipelines.one_dataset import OneDataset
from loop.data.pipelines.passes import BEGINNING, PassesSoFar
from loop.data.pipelines.python_rows import PythonRows
from loop.data.pipelines.replay import ANOTHER, Reader
from loop.data.pipelines.written import Written
from loop.digest import short
from loop.exact.pipeline import cardinality
from loop.exact.pipeline_audit import Read, audit_reading
from loop.findings import Finding
from loop.rebuilt.files import Share, listing
from loop.rebuilt.seeds import number_of
from loop.state.resumable import Earlier, Unlike

log = logging.getLogger("exactloop")
AROUND = "around"  # the name of a note: there is more, which is no number
LATE, VECTOR = "late", 2  # a note: the iterator of the pass has numbers of rows, and how; earlier ones had rows, then 1
AGAIN = (1, 2, 1, 0)  # the epochs for which the audit calls a function after the first one
PROGRAM = int(short((tf.__version__, keras.__version__)), 16)  # other versions trace the same program otherwise


class EpochDatasets:
    """One dataset for all epochs, or a function that makes that of each.

    Attributes:
        element_spec: What it yields.
        cardinality: How many batches that of the first epoch has, as TensorFlow knows.
        varies: Whether a function makes it.
        endless: Whether one pass goes on through all epochs.
        saved: Whether iterators are saved, or else the data read again.
        share: Which of the files this worker reads; None: all.
        around: What Python in it changes outside of itself.

    Args:
        given: The dataset or the function.
        steps: Steps in an epoch; None: as many as there are.
        saved: Whether iterators are saved; None: if they can be.
        share: Which of the files this worker reads; None: all, as it is of one worker.
    """

    def __init__(self, given: Given, steps: int | None, *, saved: bool | None, share: Share | None = None) -> None:
        given, first = checked(given)
        if share is not None:
            listing(first, share)  # raises, if files cannot be dealt out
        self.share = share if share and share.count > 1 else None
        self.element_spec, self.cardinality = first.element_spec, cardinality(first)
        self.varies, self._given, self._steps = callable(given), given, steps
        self.endless = not self.varies and steps is not None
        self._python_draws = threading.Event()  # set in threads of TensorFlow
        one = Written(first.repeat() if self.endless else first, self._python_draws, share=self.share)
        self.saved = one.can_be_saved if saved is None else saved
        self._seed: int | None = None  # drawn when a run begins, and in each checkpoint
        self._cores = cores()  # that the run began with
        python = [] if self.varies or self.saved else one.python()  # saved iterators read nothing again
        self.around = Around(python)
        rows = PythonRows(python, self.around, lambda: self._reader.beginning(self._again(0)))
        self._one = None if self.varies else OneDataset(one, rows)
        function = given.function if isinstance(given, OfEpoch) else None
        self._datasets = self._one or EachDataset(one, self._made, function, self._stages_anew)
        self._passes, self._reader = PassesSoFar(), Reader(self.around.as_at_first)
        self._now: Written | None = None  # of what is iterated
        self._found: list[Finding] | None = None  # None: nobody has looked yet
        self._known = Known(self._datasets.at, varies=self.varies)
        self._alone = EpochAlone(function, self._made)

    def dataset(self, epoch: int) -> tf.data.Dataset:
        """Returns the dataset of an epoch, to be iterated; what was written of it is kept until `ended`."""
        written = self._known.of(epoch)
        if self.varies:
            check_spec(written.dataset.element_spec, self.element_spec, epoch)
            if not self.around.settled:  # of an evaluation, nothing is sought
                self._alone.begins(epoch, written)
        self._now = written
        self.around.begin()
        return self._pass(written, epoch)

    def pool_rows(self, pool: Pool) -> None:
        """Adds what the dataset of all epochs was made of, in this process, to what all data have."""
        self._datasets.pool_rows(pool)

    def fix_seed(self) -> None:
        """Lets what has no seed be the same in each process: for data that no checkpoint has."""
        self._seed, self.around.settled = 0, True

    @property
    def iterated(self) -> tf.data.Dataset | None:
        """What the user wrote of the dataset that is iterated; None between passes."""
        return None if self._now is None else self._now.dataset

    def _made(self, epoch: int) -> Written:
        made = self._given(epoch)
        return Written(made if self._steps is None else made.take(self._steps), self._python_draws, share=self.share)

    def _pass(self, written: Written, epoch: int, *, afresh: bool = False) -> tf.data.Dataset:
        if self._seed is None:
            self._describe(list(self._sample()))
        seed = self._seed or 0
        if not self.varies:
            return written.of(seed, 0 if self.endless else epoch, self._cores, afresh=afresh)
        anew = afresh or self._is_anew(written)
        return written.of(number_of(seed, epoch), 0, self._cores, afresh=afresh) if anew else written.dataset

    def _is_anew(self, written: Written) -> bool:
        # What a function makes is made for an epoch, and seeded by it: only what has no seed differs, and caches that
        # it keeps.
        return not self.varies or written.needs_seed or bool(written.at_once(self._cores) or self.share)

    @property
    def reads_late(self) -> bool:
        """Whether the iterator of the open pass has numbers of rows where the dataset, as it was written, has rows."""
        return self._now is not None and self._is_anew(self._now) and self._now.reads_late

    def _again(self, epoch: int) -> tf.data.Dataset:
        """Returns a pass that has nothing in common with those read before: no caches, nor an order that comes next."""
        return self._pass(self._datasets.at(epoch), epoch, afresh=True)

    def _beginning(self) -> int:
        with self._alone.as_then():
            return self._reader.beginning(self._again(0))

    def ended(self, digest: int | None) -> None:
        """Ends a pass. If its data are read again on resuming, it has a digest, and is compared with the first one."""
        self._now = None
        self._alone.ended()
        if self.around.end():
            self._python_draws.set()  # as after what was found before the first pass
            if self._datasets.first.caches:
                self._passes.differ()
        if digest is not None and self._one is not None and not self._one.now.varies:
            self._passes.ended(digest)
        elif digest is not None and self._passes.beginning is not None:
            self._passes.begins_with(self._beginning())

    def findings(self, owner: str) -> list[Finding]:
        """Returns what would keep a run from being resumed exactly; read once, and what the passes have shown since.

        Args:
            owner: What to call the data.
        """
        if self._found is None:
            self._found = self._look(owner)
        return self._found + self._passes.findings(owner) + self.around.findings(owner) + self._alone.findings(owner)

    def made_otherwise(self) -> list[str]:
        """Returns what is done in another way than it was written."""
        return self._datasets.first.made_otherwise() if not self.varies or self._datasets.first.needs_seed else []

    def _look(self, owner: str) -> list[Finding]:
        made = list(self._sample())
        each = self._describe(made)
        kept = self.varies and bool(self._datasets.in_memory())
        found = as_written(made, each, owner, saved=self.saved, varies=self.varies, kept=kept)
        if all(isinstance(finding, Read) for finding in found):
            again = {epoch: (written, functools.partial(self._again, epoch)) for epoch, written in each.items()}
            wrong, beginning = as_read(again, self._reader, self.around, self._python_draws, owner)
            found += wrong
            if (
                self.around.changes and self._datasets.first.caches
            ):  # a cache would be filled again as things are by then
                found += audit_reading(ANOTHER, owner)
            # What each of several workers reads of its own begins otherwise, and all make the same notes.
            self._passes.beginning = beginning if self.share is None else None
        if not found and (changes := self.made_otherwise()):
            log.info("%s can be resumed exactly, because these are made anew: %s.", owner, "; ".join(changes))
        return list(dict.fromkeys(found))

    def _describe(self, made: Sequence[tuple[int, Written]]) -> dict[int, Written]:
        """Returns the first dataset of each epoch. Once, before a state is restored, takes down what they are.

        Draws the seed, if there is none.
        """
        each = dict(sorted(dict(reversed(made)).items()))
        if self._seed is None:
            self._seed = number_of(*(written.first_seed() for written in each.values()))
        self._known.take_down(each)
        if self.varies:
            self._alone.note(*next(iter(each.items())))
        return each

    def _sample(self) -> Iterator[tuple[int, Written]]:
        """Yields datasets with their epochs, of a function several, some of them twice."""
        # Not the one that it made first: a seed may have been set for the process since then.
        yield 0, self._datasets.at(0)
        for epoch in AGAIN if self.varies else ():
            try:
                yield epoch, self._datasets.at(epoch)
            except Exception:  # there may be no such epoch; a run that gets there is told so then
                continue

    def describe(self) -> dict[str, object]:
        """Returns what has to be the same in another process, in JSON values."""
        if not self._known.is_taken_down():
            self._describe(list(self._sample()))  # nothing is read for that
        return self._known.describe()

    def cursor(self, epoch: int) -> dict[str, int]:
        """Returns what tells the data from others, at an epoch: that of the open pass, or the one that comes next."""
        stages = self._known.stages(epoch, self._now)
        of_stages = {} if stages is None else {"stages": stages, "program": PROGRAM}
        seed: dict[str, int] = {} if self._seed is None else {"seed": self._seed}
        seed |= {"cores": self._cores} if self._datasets.first.at_once(self._cores) else {}
        seed |= self._datasets.notes()
        around = {AROUND: 1} if self.around.changes else {}
        around |= {LATE: VECTOR} if self.reads_late else {}
        return {"epoch": epoch, **seed, **of_stages, **around, **self._passes.cursor()}

    def drawn(self) -> dict[str, int]:
        """Returns what `recall` has to know, if there is anything: the program may have drawn it without a seed."""
        notes, stages = self._datasets.notes(), self._known.stages(0, self._now) if self._one else None
        if stages is None or not (notes or (self._one and self._one.may_be_other)):
            return {}
        return {**notes, "stages": stages, **{n: known for n, known in self._passes.cursor().items() if n == BEGINNING}}

    def in_memory(self) -> Sequence[tf.Tensor]:
        """Returns what the dataset of all epochs, or the function that makes those of each, has in memory."""
        return self._datasets.in_memory()

    def resume_from(self, epoch: int, cursor: Mapping[str, int]) -> list[str]:
        """Goes on from the notes of an earlier process. Returns a line if the data are not what they were."""
        self._now = None
        self._known.begin_anew()
        if (seed := cursor.get("seed", self._seed)) != self._seed or self.around.changes:
            self._seed = seed
            if self._passes.beginning is not None:
                self._passes.beginning = self._beginning()
        self._cores = cursor.get("cores", cores())
        if line := other_order(self._datasets.first.of_cores, self._cores, cores()):
            self._passes.forget()
            return [line]
        stages = self._known.stages(epoch, None)
        if "stages" not in cursor or cursor["program"] != PROGRAM or stages is None:
            self._passes.forget()
            return []
        if stages != cursor["stages"]:
            self._passes.forget()
            return [OTHER.format(epoch + 1)] if self.varies else []  # of one dataset, `describe` has it
        if self._one is not None:
            self._one.python.begin_as(cursor, self._passes)
        return [line] if (line := self._passes.resume_from(cursor)) else []

    def recall(self, cursor: Mapping[str, int], earlier: Earlier) -> None:
        """Takes the order, or the rows, that were drawn in an earlier process, if no more has changed."""
        if isinstance(self._datasets, EachDataset):
            if self._datasets.recall(cursor, earlier):
                self._known = Known(self._datasets.at, varies=True)  # its datasets are others now
                self._alone.stop_looking()
            return
        if self._datasets.recall(cursor, earlier, self._known.stages(0, self._now)):
            before = self._datasets.now
            self._known.put(before)
            if self.cardinality >= 0:  # of other rows, there may be more or fewer
                self.cardinality = cardinality(self._pass(before.once() if self.endless else before, 0))
        if self.around.settled:  # an evaluation, of which nothing is sought
            self._datasets.python.begin_as(cursor, self._passes)

    def _stages_anew(self, epoch: int) -> int | None:
        self._known.begin_anew()
        return self._known.stages(epoch, None)

    def goes_by(self) -> Sequence[tf.Variable]:
        """Returns the variables that a function of the epoch may go by: `resume_from` calls it."""
        return self._alone.variables() if self.varies else ()

    def mark(self) -> Callable[[], None]:
        """Returns what takes back all that becomes known meanwhile, but for how often a dataset was iterated."""
        held, around = dict(vars(self)), self.around.mark()
        passes, known, alone = copy.copy(self._passes), copy.copy(self._known), copy.copy(self._alone)
        rows = self._datasets.mark()

        def go_back() -> None:
            rows()
            around()
            vars(self).update(held)
            self._passes, self._known, self._alone = passes, known, alone

        return go_back

    def forget(self) -> None:
        """Compares no pass with those before this one: the data are known to be others."""
        self._passes.forget()

    def kept(self) -> dict[str, tf.Tensor]:
        """Returns what a checkpoint has to hold besides the notes: what Python changes outside of itself."""
        return self.around.tensors(is_open=self._now is not None)

    def take(self, kept: Mapping[str, tf.Tensor]) -> None:
        """Takes that over; to be done before `resume_from`."""
        try:
            self.around.take(kept)
        except Unlike:  # it may fit into the rows of the run alone, as an order of more rows does
            if self._one is None or not self._one.python.put():
                raise
            self.around.take(kept)
        self._python_draws.set()
