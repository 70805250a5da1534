"""A `tf.data` pipeline as one graph. Stages that change nothing by themselves, and read nothing that does, stay out."""

import collections
from collections.abc import Callable, Collection, Iterator, Mapping

import tensorflow as tf

from loop.exact.graph import operations
from loop.exact.outside import NO_OTHERS, NOTHING, Instead
from loop.exact.stage_audit import at_once, in_any_order, unseeded
from loop.rebuilt.changing import Changing
from loop.rebuilt.emit import AS_IT_IS, Emitter
from loop.rebuilt.files import Share, listing
from loop.rebuilt.hidden import VARIANT, Hidden
from loop.rebuilt.late_rows import ROWS, LateRows, Numbers, late_rows
from loop.rebuilt.orders import OUTSIDE
from loop.rebuilt.seeds import BY_WORKER, Pass
from loop.tensors import Nest, NodeDef, unconverted
from loop.tf_internals import (
    ConcreteFunction,
    Structured,
    UnknownStage,
    functions_of,
    inputs_of,
    kind_of,
    read_by,
    remade,
    structured_functions,
)

OWN = ("Shuffle", "ShuffleAndRepeat", "Random")  # kinds of stages that have another order in each pass, or may have
COPIED = "CopyToDevice"  # yields what it reads, elsewhere; its class asks for names of devices and keeps tensors
USE = "use"  # begins the names of scopes for one of several uses of a stage
MOST = 5_000  # stages that are made
HIDDEN = "hidden"  # begins the names of operations of a dataset that TensorFlow has rewritten


class Stages:
    """What a pipeline is made of.

    Args:
        dataset: The pipeline.
        changing: Says of functions and operations whether they are made otherwise from pass to pass.
        replaced: By stage, another one that stands in its place.
        pins: Whether what yields of as many inputs at once as the cores allow counts as changing, too.
        share: Which files a worker reads; None: all.
        instead: What functions have in the place of what they have from outside.

    Raises:
        ValueError: If these cannot be told apart.
    """

    def __init__(
        self,
        dataset: tf.data.Dataset,
        changing: Changing,
        replaced: Mapping[tf.data.Dataset, tf.data.Dataset],
        *,
        pins: bool,
        share: Share | None = None,
        instead: Instead = NOTHING,
    ) -> None:
        self._instead = instead
        self._top, self._changing, self._pins = read_by(dataset), changing, pins
        self._replaced, self._share = replaced, share
        self._listing = None if share is None else listing(dataset, share)
        self._order = list(_upwards(self._top))
        self._hidden = Hidden(self._order, changing.node)
        self._changed, self._of_files = set[int](), set[int]()
        for stage in self._order:
            above = any(id(source) in self._changed for source in _sources(stage))
            # What reads from something that is made anew has to be made anew.
            if above or self._is_changed(stage):
                self._changed.add(id(stage))
            if any(source is self._listing or id(source) in self._of_files for source in _sources(stage)):
                self._of_files.add(id(stage))
        self._moved = self._replacements()
        # Of a share, the names of files are dealt out where they are listed.
        varying = [] if share else [stage for stage in self._order if id(stage) in self._changed]
        self._late = {id(stage): late for stage in varying if (late := late_rows(stage, self._changed, self._moved))}

    @property
    def reads_late(self) -> bool:
        """Whether rows of arrays are read behind what shuffles these."""
        return bool(self._late)

    @property
    def changed(self) -> bool:
        """Whether anything changes from pass to pass."""
        return id(self._top) in self._changed

    @property
    def as_replaced(self) -> tf.data.Dataset:
        """The pipeline, of which nothing changes, with what stands in the place of stages."""
        return self._moved.get(id(self._top), self._top)

    @property
    def functions(self) -> list[ConcreteFunction]:
        """The functions of all stages."""
        return [function for stage in self._order for function in functions_of(stage)]

    def nodes(self) -> Iterator[NodeDef]:
        """Yields the operations in all functions, and the hidden ones."""
        for function in self.functions:
            yield from (op.node_def for op in operations(function.graph))
        yield from self._hidden.nodes()

    def shuffles(self, kinds: Collection[str]) -> bool:
        """Returns whether a stage shuffles, or there is an operation of such a kind in a function, or hidden."""
        return any(kind_of(stage) in OWN for stage in self._order) or any(node.op in kinds for node in self.nodes())

    @property
    def unseeded(self) -> bool:
        """Whether a stage, or what is hidden in one, takes a seed at random."""
        return bool(self._hidden) or any(map(unseeded, self._order))

    def traced(self) -> ConcreteFunction:
        """Returns a function that returns the dataset as TensorFlow has it, and consists of its stages.

        Raises:
            UnknownStage: If nobody knows how to make a stage again.
        """

        def make() -> tf.Tensor:
            return tf.data.experimental.to_variant(self._remade())

        return tf.function(make, autograph=False).get_concrete_function()

    def _remade(self) -> tf.data.Dataset:
        """Makes the stages anew, those that change once for each use: what draws, draws something else for each.

        A cache is the same for all. It does not call itself, because there may be more stages than Python allows calls.
        """
        uses, caches = self._uses(), dict[int, tf.data.Dataset]()
        counts, made = collections.Counter[int](), list[tf.data.Dataset]()

        def use(stage: tf.data.Dataset) -> tf.name_scope:
            counts[id(stage)] += 1
            return tf.name_scope(f"{USE}.{counts[id(stage)] - 1}.of.{uses[id(stage)]}{self._whose(stage)}")

        stack = [(self._top, False)]
        while stack:
            stage, over = stack.pop()
            late = self._late.get(id(stage))
            sources = _sources(stage) if id(stage) in self._changed and not late else []
            # A cache is one, however often it is read: all its uses get the same dataset.
            if id(stage) in caches:
                made.append(caches[id(stage)])
            elif not over:
                stack += [(stage, True), *((source, False) for source in reversed(sources))]
            elif late:
                made.append(self._read_late(late, use))
            else:
                inputs = [made.pop() for _ in sources][::-1]
                with use(stage):
                    made.append(self._made(stage, inputs))
                if kind_of(stage) == "Cache":
                    caches[id(stage)] = made[-1]
        return made.pop()

    def _read_late(self, late: LateRows, use: Callable[[tf.data.Dataset], tf.name_scope]) -> tf.data.Dataset:
        """Returns the rows that stages yield, or batches of them, and moves numbers instead."""
        numbers = Numbers(late.slices)

        def anew(stage: tf.data.Dataset) -> Callable[[tf.data.Dataset], tf.data.Dataset]:
            return lambda below: self._anew(stage, [below])

        for stage in late.moving:
            given = self._replaced.get(stage, stage)
            # What does not change counts nowhere: it is made as it was.
            with use(stage) if id(stage) in self._changed else tf.name_scope(ROWS):
                numbers.move(anew(given), all_at_once=late.reads_all(stage, given))
        if late.batch is None:
            return numbers.rows(knows_count=late.knows_count(late.moving[-1]))
        batch = self._replaced.get(late.batch, late.batch)
        with use(late.batch):
            return numbers.batches(batch, anew(batch))

    def _uses(self) -> Mapping[int, int]:
        """Returns in how many places each stage is."""
        uses = collections.Counter({id(self._top): 1})
        for stage in reversed(self._order):
            once = kind_of(stage) == "Cache"
            for source in _sources(stage):
                uses[id(source)] += 1 if once else uses[id(stage)]
        if sum(uses[id(stage)] for stage in self._order if id(stage) in self._changed) > MOST:
            raise UnknownStage(f"more than {MOST} stages, as each is counted wherever it is used")
        return uses

    def _replacements(self) -> Mapping[int, tf.data.Dataset]:
        """Returns what stands in the place of stages that do not change: others, and what reads from these.

        They stay out of what is traced, so that what draws there has the place that it has without replacements.
        """
        moved = dict[int, tf.data.Dataset]()
        for stage in self._order:
            if id(stage) in self._changed:
                continue
            given, sources = self._replaced.get(stage, stage), _sources(stage)
            if self._divides(stage) or (given is not stage and not sources):
                moved[id(stage)] = self._divided(stage, given)
            elif given is not stage or any(id(source) in moved for source in sources) or self._has_others(stage):
                # What stays as it is, but reads from what was exchanged, or has it, has to be made of that.
                sources = [moved.get(id(source), source) for source in sources]
                moved[id(stage)] = remade(given, sources, [self._called(each) for each in structured_functions(stage)])
        return moved

    def _has_others(self, stage: tf.data.Dataset) -> bool:
        return any(function.graph in self._instead for function in functions_of(stage))

    def _divides(self, stage: tf.data.Dataset) -> bool:
        return stage is self._listing and self._share is not None and self._share.count > 1

    def _divided(self, stage: tf.data.Dataset, made: tf.data.Dataset) -> tf.data.Dataset:
        """Returns what was made of a stage; of the names of files, those that this worker reads."""
        if self._share is None or not self._divides(stage):
            return made
        return made.shard(self._share.count, self._share.rank)

    def _whose(self, stage: tf.data.Dataset) -> str:
        """Returns what the names of a stage's operations say if it is of this worker's files alone."""
        return BY_WORKER if id(stage) in self._of_files else ""

    def _is_changed(self, stage: tf.data.Dataset) -> bool:
        options = stage.options() if kind_of(stage) == "Options" else None
        if options and options.deterministic is False:
            return True
        if kind_of(stage) in OWN or in_any_order(stage) or (self._pins and at_once(stage, 1)):
            return True
        if self._hidden.changes_in(stage):
            return True
        return any(self._changing.within(function.graph) for function in functions_of(stage))

    def _made(self, stage: tf.data.Dataset, sources: list[tf.data.Dataset]) -> tf.data.Dataset:
        if id(stage) not in self._changed:
            return self._moved.get(id(stage), stage)
        return self._divided(stage, self._anew(self._replaced.get(stage, stage), sources))

    def _anew(self, stage: tf.data.Dataset, sources: list[tf.data.Dataset]) -> tf.data.Dataset:
        if kind_of(stage) == COPIED:
            return sources[0]
        if not sources and not structured_functions(stage) and kind_of(stage) not in (*OWN, VARIANT):
            return stage
        if kind_of(stage) == VARIANT:
            made = self._hidden.made(tf.data.experimental.to_variant(stage), HIDDEN)
            return tf.data.experimental.from_variant(made, stage.element_spec)
        return remade(stage, sources, [self._called(each) for each in structured_functions(stage)])

    def _called(self, function: Structured) -> Callable[..., Nest]:
        """Returns what does what the function of a stage does, without calling it: TensorFlow saves no calls."""

        def call(*elements: Nest) -> Nest:
            # Datasets that a function has from outside are made within it, for each element.
            given = [
                self._hidden.made(tensor, OUTSIDE) if self._hidden.changes(tensor) else tensor
                for tensor in function.captured
            ]
            zero = tf.constant(0, tf.int64)
            at, others = Pass(zero, zero, zero, zero), self._instead.get(function.graph, NO_OTHERS)
            emitter = Emitter(constants=others.constants) if others.constants else AS_IT_IS
            inside = emitter.call(function.graph, [*function.flat(elements), *given], at, others.given)
            return function.packed(inside)

        return unconverted(call)


def _sources(stage: tf.data.Dataset) -> list[tf.data.Dataset]:
    return [read_by(source) for source in inputs_of(stage)]


def _upwards(dataset: tf.data.Dataset) -> Iterator[tf.data.Dataset]:
    """Yields all stages, each after those that it reads from."""
    seen, stack = set[int](), [(dataset, False)]
    while stack:
        stage, over = stack.pop()
        if over:
            yield stage
        elif id(stage) not in seen:
            seen.add(id(stage))
            stack += [(stage, True), *((source, False) for source in _sources(stage))]
