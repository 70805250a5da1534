"""A dataset as the user wrote it, and what comes of it: passes that can be made again."""

import functools
import itertools
import logging
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import TypeAlias

import tensorflow as tf

from loop.data.orders import arguments, one_order
from loop.data.orders.lists import Lists, are_alike, as_noted, lists, made_of, may_move, noted, with_columns, with_rows
from loop.data.orders.one_order import Orders
from loop.data.orders.rows import Rows
from loop.data.pipelines.layer_tables import put_tables
from loop.data.pipelines.loaders import reordered, seeds
from loop.data.pipelines.of_functions import OfFunctions
from loop.data.pipelines.unseeded import unseeded
from loop.errors.remedies import UNMADE
from loop.exact.drawn_names import TAKEN
from loop.exact.given import is_set
from loop.exact.graph import line
from loop.exact.outside import NOTHING, Instead, is_same
from loop.exact.pipeline import is_not_saved, may_differ, operations_of, stages
from loop.exact.pipeline_audit import audit_pipeline, depends_on_process
from loop.exact.pipeline_hash import described
from loop.exact.set_order import vocabularies_in_set_order
from loop.exact.stage_audit import at_once
from loop.findings import Finding
from loop.rebuilt.emit import CannotRebuild
from loop.rebuilt.files import WITHOUT, Share
from loop.rebuilt.pipeline import MADE_ANEW, ByPass
from loop.state.resumable import Earlier
from loop.state.settled import is_settled
from loop.tf_internals import UnknownStage, functions_of, inputs_of, kind_of, programmed, with_seed

Replaced: TypeAlias = Mapping[tf.data.Dataset, tf.data.Dataset]  # by stage, another one that stands in its place
DATA = "the data"
log = logging.getLogger("exactloop")
SHUFFLED = "shuffled by"  # begins the names of seeds, in notes
UNDIVIDED = "StreamData(shard='files') cannot make this pipeline anew for a part of its files: its stages {}. "
UNDIVIDED += f"Leave that out; {WITHOUT}."


class Written:
    """A dataset as the user wrote it.

    Attributes:
        dataset: The dataset.
        one_orders: See there.
        of_functions: What its functions have from outside.

    Args:
        dataset: The dataset.
        python_draws: Set, when Python is seen to draw in it, or in another one that the same function has made.
        replaced: By stage, another one that stands in its place.
        one_orders: The seeds of shuffles that have the same order in other data of the loop.
        share: Which of its files this worker reads; None: all.
        instead: What its functions have in the place of what they have from outside.
        numbers: By stage, one with other numbers, such as the size of batches.
    """

    def __init__(
        self, dataset: tf.data.Dataset, python_draws: threading.Event, replaced: Replaced = MappingProxyType({}),
        one_orders: Orders = MappingProxyType({}), share: Share | None = None, instead: Instead = NOTHING,
        numbers: Replaced = MappingProxyType({}),
    ) -> None:  # fmt: skip
        self.dataset, self._alone, self._python_draws, self._share = dataset, replaced, python_draws, share
        self._instead, self.of_functions, self.one_orders = instead, OfFunctions(dataset, instead), one_orders
        self._rows: dict[str, int] | None = None  # which stand where, if the next process may have others there
        self._numbers, others = numbers, {**numbers, **replaced}
        self._replaced = {**others, **{s: with_seed(others.get(s, s), seed) for s, seed in one_orders.items()}}
        try:
            self._by_pass = ByPass(dataset, self._replaced, python_draws, share=share, instead=instead)
        except UnknownStage as error:
            if share is None:
                raise
            raise ValueError(UNDIVIDED.format(f"have {error}")) from error

    @functools.cached_property
    def described(self) -> list[str]:
        """What tells it from others, stage by stage."""
        return described(self.dataset, self._replaced, self._instead)

    def at_once(self, cores: int) -> list[int]:
        """Returns of how many inputs at once stages yield that depend on how many cores there are."""
        return [length for stage in stages(self.dataset) for length in at_once(stage, cores)]

    def of_cores(self, cores: int) -> list[int]:
        """Returns the same, of those that cannot be told how many there were when the run began."""
        return [] if self._is_made_anew else self.at_once(cores)

    def drawn(self, pool: Iterable[Rows]) -> dict[str, int]:
        """Returns what the program may have drawn without a seed when it made it, to be noted.

        Args:
            pool: The rows of all data of the loop.
        """
        if self._rows is None:
            rows = [*self.lists.values()]
            self._rows = noted(rows, pool) if may_move(rows) else {}
        of_loaders = {f"{SHUFFLED} {i}": seed for i, seed in enumerate(seeds(self.dataset, self._alone))}
        of_all = one_order.noted(self.one_orders) | arguments.noted(self.dataset, self._replaced)
        return {**of_loaders, **of_all, **self._rows}

    def as_drawn(self, cursor: Mapping[str, int], pool: Iterable[Rows], earlier: Earlier) -> Iterator["Written"]:
        """Yields the dataset as it would be if that had been drawn which was noted, in one way after the other."""
        one = self.with_orders(one_order.as_noted(self.one_orders, cursor))
        yield one
        # As a loader of Keras would have made it with these seeds.
        yield one.with_stages(self._reordered(cursor, earlier))
        columns = as_noted([*one.lists.values()], pool, cursor)
        yield one.with_stages(with_columns(dict(zip(one.lists, columns, strict=False))))

    def in_memory(self) -> list[tf.Tensor]:
        """Returns the tensors that it is made of, one stage after the other, and what its functions have."""
        made = made_of(self.dataset, self._replaced).values()
        return [*(tensor for tensors in made for tensor in tensors), *self.of_functions.tensors]

    @functools.cached_property
    def has_others(self) -> bool:
        """Whether these, or what Python has, may be others in the next process: looked at once, as that takes time."""
        has_any = made_of(self.dataset, self._replaced) or any(map(functions_of, stages(self.dataset)))
        return bool(has_any) and not is_settled()

    def of_others(self, cursor: Mapping[str, int], earlier: Earlier) -> Iterator["Written"]:
        """Yields the dataset as it would be of what was kept, and with noted seeds; nothing, if that is of no such."""
        rest, columns, moved = iter(earlier.tensors()), dict[tf.data.Dataset, list[tf.Tensor]](), False
        for stage, own in made_of(self.dataset, self._replaced).items():
            columns[stage] = [*itertools.islice(rest, len(own))]
            if not are_alike(stage, columns[stage], own):
                return
            pairs = zip(columns[stage], own, strict=True)
            moved = moved or not all(then.shape == now.shape and is_same(now, then) for then, now in pairs)
        others = [*itertools.islice(rest, len(self.of_functions.tensors))]
        found = self.of_functions.others(others, moved=moved) if others and earlier.same_program else NOTHING
        if found is None:
            return
        one = self.with_orders(one_order.as_noted(self.one_orders, cursor))
        for rows in with_rows(self.dataset, columns):
            yield one.with_stages({**self._reordered(cursor, earlier), **rows}, found)

    def _reordered(self, cursor: Mapping[str, int], earlier: Earlier) -> Replaced:
        seeds_then = [cursor[name] for i in range(len(cursor)) if (name := f"{SHUFFLED} {i}") in cursor]
        return reordered(self.dataset, seeds_then, functools.partial(is_set, same_program=earlier.same_program))

    def with_orders(self, one_orders: Orders) -> "Written":
        """Returns the dataset with other seeds of shuffles that have the same order in other data of the loop."""
        is_same = one_orders == self.one_orders
        return self if is_same else self._like(self._alone, one_orders, self._instead, self._numbers)

    @functools.cached_property
    def lists(self) -> Lists:
        """The rows that it is made of."""
        return lists(self.dataset, self._replaced)

    def with_stages(self, replaced: Replaced, instead: Instead = NOTHING) -> "Written":
        """Returns the dataset with others in the place of some of its stages, and of what its functions have."""
        return self._like(replaced, self.one_orders, instead, self._numbers)

    def with_numbers(self, cursor: Mapping[str, int]) -> "Written":
        """Returns the dataset with the noted numbers in the place of those that its stages were given."""
        return self._like(self._alone, self.one_orders, self._instead, arguments.as_noted(self.dataset, cursor))

    def say_numbers(self) -> None:
        """Warns of the numbers that stages have in the place of their own."""
        if said := arguments.said(self.dataset, self._numbers):
            log.warning(TAKEN, "; ".join(said))

    def _like(self, replaced: Replaced, one_orders: Orders, instead: Instead, numbers: Replaced) -> "Written":
        return Written(self.dataset, self._python_draws, replaced, one_orders, self._share, instead, numbers)

    def once(self) -> "Written":
        """Returns the dataset without its last stage, by which it is repeated."""
        (below,), rest = inputs_of(self.dataset), (self.one_orders, self._share, self._instead, self._numbers)
        return Written(below, self._python_draws, self._alone, *rest)

    def put_tables(self) -> Callable[[], None]:
        """Says what its functions have instead, and gives layers these tables. Returns what takes that back."""
        return put_tables(self.dataset, self._instead)

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
        exchanged = bool(self._replaced or self._instead) and self.is_replaced
        return self._by_pass.as_replaced if self._share or exchanged else self.dataset

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
        return ByPass(self.dataset, self._replaced, self._python_draws, pins=False).changed

    def _wrong(self, owner: str, *, saved: bool) -> list[Finding]:
        return audit_pipeline(self.dataset, owner, saved=saved, made=MADE_ANEW, streams=self._by_pass.streams)
