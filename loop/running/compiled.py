"""What is traced for a loop, once, before its state is restored."""

import functools
import logging
from collections.abc import Callable, Sequence

from loop.data.arrays import ArrayData
from loop.engine.chunk import CompiledLoop
from loop.engine.clock import TimeSpent
from loop.engine.purity import KEEP, Purity
from loop.engine.traced.body import Body
from loop.engine.traced.chunk_result import ChunkResult
from loop.engine.traced.means import Means
from loop.engine.traced.trace import Trace
from loop.engine.ways.program import traced
from loop.evaluation import Evaluation
from loop.exact.graph import is_callback, operations
from loop.exact.reach import traced_anew
from loop.exact.step_audit import TraceAudit
from loop.exact.traced import Traced
from loop.findings import Finding
from loop.handles import keys
from loop.hook import Hook
from loop.numbered import numbered
from loop.running.audits import Audits, own_of
from loop.running.drawn_in_trace import drawn_in_trace, may_draw
from loop.running.idle import warn_of_idle
from loop.running.parts import Parts
from loop.state.derived import Derived
from loop.state.randomness import untouched
from loop.state.settings import Setting
from loop.state.training_state import TrainingState
from loop.tensors import raw

log = logging.getLogger("exactloop")
ELSEWHERE = (
    "Evaluation {0!r} is in another loop since, which has its results. A loop that goes on beside another one needs an "
    "Evaluation(...) of its own, with data of its own."
)
COUNTED = (
    "A step changes in Python what changes when the step is traced, and not each time it is made: %s. What is to "
    "change from step to step is a tf.Variable in state= that the step assigns, and what depends on it is tf.cond(...)."
)


class Compiled:
    """The compiled train loop and evaluations. When it is made, every variable there will be has been built.

    Attributes:
        chunk: Runs train steps.
        means: Of their values.
        trace: What is known of the train step.
        audits: What all of it reads and changes.
        spent: Takes the time of tracing again.

    Args:
        parts: What the loop is made of.
        inside: The hooks that have a part in the train loop.
    """

    def __init__(self, parts: Parts, inside: Sequence[Hook] = ()) -> None:
        self._parts, self._steps, self.spent, evaluations = parts, parts.steps, TimeSpent(), parts.evaluations
        # Before anything is traced, to see what tracing itself changes in Python.
        roots = [parts.given, *((step.function, step.metrics) for step in self._steps.values())]
        before = Traced(roots)
        self.trace = traced(parts.step, parts.data, jit_compile=parts.jit_compile, several=parts.several)
        # Before the loop is traced, which adds to them.
        self.means = Means(self.trace.narrow, self.trace.wide)
        self.chunk = self._train_loop(inside)
        self._traces = {"train": self.trace} | {
            each.name: each.build(parts.bound, jit_compile=parts.jit_compile, several=parts.several)
            for each in evaluations
        }
        self._passes = {each.name: each.chunk for each in evaluations}
        evaluated = [name for evaluation in evaluations for name in evaluation.names]
        # Two values of one name would overwrite each other in logs, and which one hooks decide by is chance.
        for name in evaluated:
            if name in self.trace.logged or evaluated.count(name) > 1:
                raise ValueError(
                    f"Two values would be logged as {name!r}. Give one of them, or an evaluation, another name."
                )
        self.audits = Audits(parts, self.chunk)
        self._purity: dict[str, Purity] = {}
        if counted := before.counted():
            log.warning(COUNTED, "; ".join(counted))
        self._drawn: list[Finding] | None = None  # in traces; not looked for yet
        warn_of_idle(parts.given, self.audits["train"].changed(), parts.hooks)
        # Once more, of what is there now: layers are built, and metrics have made their variables.
        self._traced = Traced(roots)
        self._derived: Derived | None = None

    def _train_loop(self, inside: Sequence[Hook]) -> CompiledLoop:
        parts = self._parts
        # int64 `[]` each, counted in the graph, so that they are right where a call fails.
        counters = [parts.position.step_in_epoch, parts.position.step]
        return CompiledLoop(Body(self.trace, parts.data, counters, self.means, parts.bound, inside, parts.several))

    def follow(self, inside: Sequence[Hook]) -> None:
        """Makes the train loop anew if other hooks have a part in it than when it was made."""
        if self.chunk.inside.hooks != (*inside,):
            chunk = self._train_loop(inside)
            # In this order: an interrupt in between leaves what is done once more, and not what is never done.
            self.audits.follow(chunk)
            self.chunk = chunk

    def state(self) -> TrainingState:
        """Gathers everything that a resumed run needs, and what tells this program from another one.

        Raises:
            RuntimeError: If a layer has derived other values from its variables since the steps were traced.
        """
        # Kept: it knows with what the steps were traced.
        self._derived = self._derived or Derived(self._parts.given)
        self._derived.check()
        state = self._parts.gather(self.means, derived=self._derived)
        state.names = {name: (trace.narrow, trace.wide) for name, trace in self._traces.items()}
        state.logs = lambda: self.trained() | self.evaluated() | self._parts.hooks.reports.latest()
        covered, held = self.audits.covered(state), self.audits.held(state)
        for name, trace in self._traces.items():
            state.steps[name] = trace.fingerprint(held, self.audits[name].only_read(covered))
        state.check = functools.partial(self.check, state, at_length=True)
        self._purity = {
            each.name: self._pure(each, state, told=each.name in self._purity) for each in self._parts.evaluations
        }
        return state

    def settings(self, state: TrainingState) -> dict[str, Setting]:
        """Returns what the program has set, if nothing was trained or restored yet."""
        # What no step reads may be another value without changing anything.
        used = {id(variable) for variable in state.given().values() if self.audits.is_used(variable)}
        return self._parts.settings(state, is_constant=self.audits.is_constant, used=used)

    def _pure(self, evaluation: Evaluation, state: TrainingState, *, told: bool) -> Purity:
        owner, common = self.audits.owners[evaluation.name], keys(map(raw, evaluation.step.common()))
        in_python = not isinstance(evaluation.data, ArrayData) or any(
            map(is_callback, operations(evaluation.chunk.graph))
        )
        own = keys(own_of(evaluation)) - common
        purity = Purity(self.audits[evaluation.name], owner, state, own, quiet=common, in_python=in_python)
        if purity.losses and not told:
            log.warning(
                "%s writes to the state of training, which is put back after each pass: %s. %s",
                owner,
                "; ".join(purity.losses),
                KEEP,
            )
        return purity

    def check(self, state: TrainingState, *, evaluating: bool = False, at_length: bool = False) -> None:
        """Raises `RuntimeError` if Python has changed so that other steps would be traced now. See `Traced`.

        Args:
            state: The training state.
            evaluating: Whether only evaluations count.
            at_length: Whether to look for what takes milliseconds to see, too.
        """
        for evaluation in self._parts.evaluations:
            if evaluation.chunk is not self._passes[evaluation.name]:
                raise RuntimeError(ELSEWHERE.format(evaluation.name))
        for step in self._steps.values():
            step.check()

        # A trace takes as long as the first one did: it is made only where something is seen to have changed.
        def otherwise() -> list[str]:
            names = self._passes if evaluating else self._traces
            with self.spent.on("tracing"):
                return [self.audits.owners[name] for name in names if self._is_traced_otherwise(name, state)]

        self._traced.check(otherwise, at_length=at_length, renew=not evaluating)

    def _is_traced_otherwise(self, name: str, state: TrainingState) -> bool:
        """Returns whether a step that is traced now is another one than was traced, or cannot be traced."""
        try:
            return self._is_other(name, state)
        except Exception:  # such as that of an optimizer which does not know a variable
            return True

    def _is_other(self, name: str, state: TrainingState) -> bool:
        covered, held = self.audits.covered(state), self.audits.held(state)
        trace = self._traced_again(name)
        was, now = (TraceAudit(each.graph, name).only_read(covered) for each in (self._traces[name], trace))
        # Of variables that are only read, other ones are told by themselves: they may be equal so far.
        return keys(was) != keys(now) or self._traces[name].fingerprint(held, was) != trace.fingerprint(held, now)

    def _traced_again(self, name: str) -> Trace:
        data = {"train": self._parts.data, **self._parts.evaluated}[name]
        # Nothing of this is kept: random streams and what `tf.function`s remember are as before.
        with numbered(self._parts.position.step), untouched(), traced_anew(self._traced.compiled):
            return traced(self._steps[name], data, jit_compile=self._parts.jit_compile)

    def evaluate(self, evaluation: Evaluation, abandon: Callable[[], bool]) -> bool:
        """Evaluates once, and puts back what that writes of the training state. See `Evaluation.run`."""
        back = self._purity[evaluation.name].capture()
        try:
            return evaluation.run(abandon, self._parts.limit.batches)
        finally:
            back()  # also of an evaluation that fails or is abandoned

    def audit(self, state: TrainingState) -> list[Finding]:
        """Looks for what would keep a run from being resumed exactly."""
        found = self.audits.findings(state)
        if self._drawn is None:
            self._drawn = self._drawn_in_traces(state)
        return found + self._drawn + [finding for purity in self._purity.values() for finding in purity.findings]

    def _drawn_in_traces(self, state: TrainingState) -> list[Finding]:
        suspects = [name for name in self._traces if may_draw(self._steps[name].function)]
        if not suspects:
            return []
        as_it_was = not self._traced.changes(at_length=True)
        covered, held = self.audits.covered(state), self.audits.held(state)

        def traced_again(name: str) -> dict[str, object]:
            trace = self._traced_again(name)
            return trace.fingerprint(held, TraceAudit(trace.graph, name).only_read(covered))

        found = list[Finding]()
        for name in suspects:
            again = functools.partial(traced_again, name)
            found += drawn_in_trace(self._steps[name].function, self.audits.owners[name], state.steps[name], again)
        if as_it_was:  # what is no plain value is not taken back, such as a date, and need not be looked at
            self._traced.note()
        return found

    def reset(self) -> None:
        """Forgets the epoch's metrics; the means begin afresh with its first step."""
        self._parts.step.reset()

    def trained(self, ran: ChunkResult | None = None) -> dict[str, float]:
        """Returns the means of the epoch so far, a metric in place of the mean of its name; empty before a step.

        Of a call in this round, `ran` is what came of it.
        """
        means = self.means.result(None if ran is None else ran.sums)
        return {} if means is None else means | self.trace.results.read()

    def evaluated(self) -> dict[str, float]:
        """Returns the results of the latest evaluation; empty before the first."""
        return {name: value for each in self._parts.evaluations for name, value in each.results().items()}
