"""A dataset as the user wrote it, and what comes of it: passes that can be made again."""

import functools
import threading
from collections.abc import Collection

import tensorflow as tf

from loop.data.orders.lists import Lists, lists, made_of
from loop.data.pipelines.exchanged import AS_WRITTEN, Exchanged
from loop.data.pipelines.of_functions import OfFunctions
from loop.data.pipelines.unseeded import unseeded
from loop.errors.remedies import UNMADE
from loop.exact.graph import line
from loop.exact.pipeline import is_not_saved, may_differ, operations_of, stages
from loop.exact.pipeline_audit import audit_pipeline, depends_on_process
from loop.exact.pipeline_hash import described
from loop.exact.set_order import vocabularies_in_set_order
from loop.exact.stage_audit import at_once
from loop.findings import Finding
from loop.rebuilt.emit import CannotRebuild
from loop.rebuilt.files import WITHOUT, Share
from loop.rebuilt.pipeline import MADE_ANEW, ByPass
from loop.tf_internals import UnknownStage, inputs_of, kind_of, programmed

DATA = "the data"
UNDIVIDED = "StreamData(shard='files') cannot make this pipeline anew for a part of its files: its stages {}. "
UNDIVIDED += f"Leave that out; {WITHOUT}."


class Written:
    """A dataset as the user wrote it.

    Attributes:
        dataset: The dataset.
        exchanged: What stands in the place of parts of it.
        replaced: Of that, what stands in the place of stages.
        of_functions: What its functions have from outside.

    Args:
        dataset: The dataset.
        python_draws: Set, when Python is seen to draw in it, or in another one that the same function has made.
        exchanged: As above.
        share: Which of its files this worker reads; None: all.
    """

    def __init__(
        self,
        dataset: tf.data.Dataset,
        python_draws: threading.Event,
        exchanged: Exchanged = AS_WRITTEN,
        share: Share | None = None,
    ) -> None:
        self.dataset, self.exchanged, self._python_draws, self._share = dataset, exchanged, python_draws, share
        self.replaced, self.of_functions = exchanged.replaced(), OfFunctions(dataset, exchanged.functions)
        try:
            self._by_pass = ByPass(dataset, self.replaced, python_draws, share=share, instead=exchanged.functions)
        except UnknownStage as error:
            if share is None:
                raise
            raise ValueError(UNDIVIDED.format(f"have {error}")) from error

    def with_others(self, exchanged: Exchanged) -> "Written":
        """Returns the dataset with that in the place of parts of it."""
        return Written(self.dataset, self._python_draws, exchanged, self._share)

    def once(self) -> "Written":
        """Returns the dataset without its last stage, by which it is repeated."""
        (below,) = inputs_of(self.dataset)
        return Written(below, self._python_draws, self.exchanged, self._share)

    @functools.cached_property
    def described(self) -> list[str]:
        """What tells it from others, stage by stage."""
        return described(self.dataset, self.replaced, self.exchanged.functions)

    @functools.cached_property
    def lists(self) -> Lists:
        """The rows that it is made of."""
        return lists(self.dataset, self.replaced)

    def in_memory(self) -> list[tf.Tensor]:
        """Returns the tensors that it is made of, one stage after the other, and what its functions have."""
        made = made_of(self.dataset, self.replaced).values()
        return [*(tensor for tensors in made for tensor in tensors), *self.of_functions.tensors]

    def at_once(self, cores: int) -> list[int]:
        """Returns of how many inputs at once stages yield that depend on how many cores there are."""
        return [length for stage in stages(self.dataset) for length in at_once(stage, cores)]

    def of_cores(self, cores: int) -> list[int]:
        """Returns the same, of those that cannot be told how many there were when the run began."""
        return [] if self._is_made_anew else self.at_once(cores)

    @property
    def changes(self) -> bool:
        """Whether one pass differs from the other."""
        return self._by_pass.changed

    @property
    def varies(self) -> bool:
        """Whether passes differ from one another, as far as has been seen."""
        return self._by_pass.varies

    @functools.cached_property
    def may_differ(self) -> bool:
        """Whether it may yield something else when it is read again, for all that can be seen."""
        # Made anew, only Python can make a difference; as it was written, all that is not known.
        return self._by_pass.calls_python if self.changes else may_differ(self.dataset)

    @property
    def caches(self) -> bool:
        """Whether it keeps what it has read in memory."""
        return any(kind_of(stage) == "Cache" for stage in stages(self.dataset))

    def python(self) -> list[object]:
        """Returns the functions and generators that it calls in Python."""
        return self._by_pass.python()

    @property
    def streams(self) -> Collection[int]:
        """The keys of the variables of random streams that are made anew with it."""
        return self._by_pass.streams if self.changes else ()

    @property
    def needs_seed(self) -> bool:
        """Whether, as it was written, what it yields comes of the process."""
        return self.changes and ((self._by_pass.calls_python and self._python_draws.is_set()) or self._depends)

    @functools.cached_property
    def _depends(self) -> bool:
        return bool(self.streams) or depends_on_process(self.dataset)

    @functools.cached_property
    def can_be_saved(self) -> bool:
        """Whether TensorFlow saves its iterator, as far as can be seen."""
        # What is not known of a stage shows when the first pass begins, where its iterator is saved once.
        no_more = self._wrong(DATA, saved=False) == self._wrong(DATA, saved=True)
        return no_more and not any(op.type not in MADE_ANEW and is_not_saved(op) for op in operations_of(self.dataset))

    @functools.cached_property
    def _fault(self) -> Finding | None:
        """What keeps it from being made anew."""
        try:
            if self.changes:
                self._by_pass.trace()
        except CannotRebuild as error:
            what = f"use {error.op.type}, which cannot be made to depend on the pass alone"
            return Finding(what, line(error.op), error.instead)
        except UnknownStage as error:
            return Finding(f"have {error}", "", UNMADE)
        return None

    @functools.cached_property
    def _is_made_anew(self) -> bool:
        return self.changes and not self._fault

    def of(self, seed: int, number: int, cores: int, *, afresh: bool = False) -> tf.data.Dataset:
        """Returns a pass: made anew if passes differ, and that can be done; else the dataset as it was written.

        If it cannot be done, nothing stands in the place of any stage: see `is_replaced`.

        Args:
            seed: Serves what has no seed: 63 bits.
            number: Of the pass, from 0.
            cores: How many there were when the run began.
            afresh: Whether nothing that was cached before is in it.
        """
        if self._is_made_anew:
            return self._by_pass.of(seed, number, cores=cores, afresh=afresh)
        if self._share and self._fault:
            raise ValueError(UNDIVIDED.format(self._fault.what))
        others = bool(self.replaced or self.exchanged.functions) and self.is_replaced
        return self._by_pass.as_replaced if self._share or others else self.dataset

    @property
    def reads_late(self) -> bool:
        """Whether iterators of it, made anew, hold the numbers of rows that are shuffled, and not the rows."""
        return self._is_made_anew and self._by_pass.reads_late

    @property
    def is_replaced(self) -> bool:
        """Whether passes are made with what stands in the place of stages."""
        return self._is_made_anew or not self.changes

    def made_otherwise(self) -> list[str]:
        """Returns which stages are made in another way than they were written, for people."""
        return self._by_pass.changes if self._is_made_anew else []

    def first_seed(self) -> int:
        """Returns the seed for a run that begins."""
        return self._by_pass.first_seed() if self.changes else 0

    def findings(self, owner: str, *, saved: bool, alone: bool) -> list[Finding]:
        """Returns what would keep a pass from being taken up again in its middle.

        Args:
            owner: What to call the data.
            saved: Whether the iterator is saved, or else the pass read again.
            alone: Whether it is the dataset of all epochs, and not one that a function has made for one of them.
        """
        found = self._wrong(owner, saved=saved)
        if not found and (alone or self.needs_seed) and (fault := self._fault) and self._varies_otherwise:
            found.append(Finding(f"{owner} {fault.what}", fault.where, fault.instead))
        found += unseeded(self.dataset, owner, kept=alone and bool(self.of_functions.tensors))
        if any(op.type.startswith("LookupTable") for op in operations_of(self.dataset)):
            functions = [function for stage in stages(self.dataset) for function, _ in programmed(stage)]
            found += vocabularies_in_set_order(owner, functions)
        return found

    @property
    def _varies_otherwise(self) -> bool:
        """Whether it would be made anew also if it did not matter how many cores there are."""
        return ByPass(self.dataset, self.replaced, self._python_draws, pins=False).changed

    def _wrong(self, owner: str, *, saved: bool) -> list[Finding]:
        return audit_pipeline(self.dataset, owner, saved=saved, made=MADE_ANEW, streams=self._by_pass.streams)
