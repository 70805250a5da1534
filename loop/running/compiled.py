"""What is traced for a loop, once, before its state is restored."""

import functools
import logging
from collections.abc import Callable, Sequence

import tensorflow as tf

from loop.data.arrays import ArrayData
from loop.data.pipelines.unseeded import as_drawn
from loop.data.pipelines.warned import warn_of_rows, warn_of_seed, warn_of_shapes
from loop.data.source import Data
from loop.engine.chunk import CompiledLoop
from loop.engine.clock import TimeSpent
from loop.engine.purity import KEEP, Purity
from loop.engine.traced.body import Body
from loop.engine.traced.chunk_result import ChunkResult
from loop.engine.traced.means import Means
from loop.engine.ways.program import traced
from loop.evaluation import Evaluation
from loop.exact.graph import is_callback, operations
from loop.exact.pipeline_audit import Read
from loop.exact.reach import traced_anew
from loop.exact.set_order import vocabularies_in_set_order, warn_of_sets
from loop.exact.step_audit import Constants, TraceAudit
from loop.exact.traced import Traced
from loop.findings import Finding
from loop.handles import key, keys
from loop.hook import Hook
from loop.numbered import numbered
from loop.running.idle import warn_of_idle
from loop.running.parts import Parts
from loop.running.unsaved import Unsaved
from loop.state.derived import Derived
from loop.state.gathering import names_of_resources
from loop.state.randomness import untouched
from loop.state.rows_in_memory import RowsInMemory
from loop.state.settings import Setting
from loop.state.training_state import TrainingState
from loop.state.variables import raw
from loop.steps import Step

log = logging.getLogger("exactloop")
ELSEWHERE = (
    "Evaluation {0!r} is in another loop since, which has its results. A loop that goes on beside another one needs an "
    "Evaluation(...) of its own, with data of its own."
)
SET = (
    "The program has set what the steps only read, and no checkpoint holds, since the run before: %s. A run that is "
    "killed from here on is not resumed by a program that begins with the former value. Give what is to be set between "
    "two runs in state=...: then it is saved, and set once."
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
        spent: Takes the time of tracing again.

    Args:
        parts: What the loop is made of.
        inside: The hooks that have a part in the train loop.
    """

    def __init__(self, parts: Parts, inside: Sequence[Hook] = ()) -> None:
        step, data, evaluations, given = parts.step, parts.data, parts.evaluations, parts.given
        self._parts = parts
        self._evaluations = {evaluation.name: evaluation for evaluation in evaluations}
        self._steps: dict[str, tuple[Step, Data]] = {"train": (step, data)}
        self._steps |= {name: (evaluation.step, evaluation.data) for name, evaluation in self._evaluations.items()}
        of_steps = [(step.function, step.metrics) for step, _ in self._steps.values()]
        # Before anything is traced, to see what tracing itself changes in Python.
        before = Traced([given, *of_steps])
        self.trace = traced(step, data, jit_compile=parts.jit_compile, several=parts.several)
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
        graphs = {"train": self.chunk.graph} | {e.name: e.chunk.graph for e in evaluations}
        self._owners = {"train": "The train step"} | {name: f"Evaluation {name!r}" for name in self._evaluations}
        self._audited = {name: TraceAudit(graph, self._owners[name]) for name, graph in graphs.items()}
        self._purity: dict[str, Purity] = {}
        if counted := before.counted():
            log.warning(COUNTED, "; ".join(counted))
        warn_of_idle(given, self._audited["train"].changed(), parts.hooks)
        # Once more, of what is there now: layers are built, and metrics have made their variables.
        self._traced = Traced([given, *of_steps])
        self._derived: Derived | None = None
        self._set: Constants | None = None  # as the latest run has found them
        self.spent = TimeSpent()

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
            self._audited["train"] = TraceAudit(chunk.graph, self._owners["train"])
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
        covered, held = self._covered(state), self._held(state)
        for name, audited in self._audited.items():
            state.steps[name] = self._traces[name].fingerprint(held, audited.only_read(covered))
        state.check = functools.partial(self.check, state, at_length=True)
        self._purity = {name: self._pure(name, state, told=name in self._purity) for name in self._evaluations}
        return state

    def settings(self, state: TrainingState) -> dict[str, Setting]:
        """Returns what the program has set, if nothing was trained or restored yet."""
        # What no step reads may be another value without changing anything.
        used = {id(v) for v in state.given().values() if any(a.has(key(v)) for a in self._audited.values())}
        return self._parts.settings(state, is_constant=self._is_constant, used=used)

    def _pure(self, name: str, state: TrainingState, *, told: bool) -> Purity:
        owner, evaluation = self._owners[name], self._evaluations[name]
        own, common = keys(self._own(evaluation)), keys(map(raw, evaluation.step.common()))
        in_python = not isinstance(evaluation.data, ArrayData) or any(
            map(is_callback, operations(evaluation.chunk.graph))
        )
        purity = Purity(self._audited[name], owner, state, own - common, quiet=common, in_python=in_python)
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
        for name, evaluation in self._evaluations.items():
            if evaluation.chunk is not self._passes[name]:
                raise RuntimeError(ELSEWHERE.format(name))
        for step, _ in self._steps.values():
            step.check()

        # A trace takes as long as the first one did: it is made only where something is seen to have changed.
        def otherwise() -> list[str]:
            names = self._evaluations if evaluating else self._traces
            with self.spent.on("tracing"):
                return [self._owners[name] for name in names if self._is_traced_otherwise(name, state)]

        self._traced.check(otherwise, at_length=at_length, renew=not evaluating)

    def _is_traced_otherwise(self, name: str, state: TrainingState) -> bool:
        """Returns whether a step that is traced now is another one than was traced, or cannot be traced."""
        step, data = self._steps[name]
        try:
            covered, held = self._covered(state), self._held(state)
            # Nothing of this is kept: random streams and what `tf.function`s remember are as before.
            with numbered(self._parts.position.step), untouched(), traced_anew(self._traced.compiled):
                trace = traced(step, data, jit_compile=self._parts.jit_compile)
            was, now = (TraceAudit(each.graph, name).only_read(covered) for each in (self._traces[name], trace))
            # Of variables that are only read, other ones are told by themselves: they may be equal so far.
            return keys(was) != keys(now) or self._traces[name].fingerprint(held, was) != trace.fingerprint(held, now)
        except Exception:  # such as that of an optimizer which does not know a variable
            return True

    def evaluate(self, evaluation: Evaluation, abandon: Callable[[], bool]) -> bool:
        """Evaluates once, and puts back what that writes of the training state. See `Evaluation.run`."""
        back = self._purity[evaluation.name].capture()
        try:
            return evaluation.run(abandon, self._parts.limit.batches)
        finally:
            back()  # also of an evaluation that fails or is abandoned

    def audit(self, state: TrainingState) -> list[Finding]:
        """Looks for what would keep a run from being resumed exactly."""
        covered = self._covered(state)
        found = [each for each in self._in_data if not (isinstance(each, Read) and self._is_constant(each.variable))]
        found += [finding for audited in self._audited.values() for finding in audited.findings(covered)]
        steps = [step.function for step, _ in self._steps.values()]
        found += as_drawn(steps, self.only_read(state))
        if any(audited.tables(covered) for audited in self._audited.values()):
            found += vocabularies_in_set_order("A step", steps)
        return found + [finding for purity in self._purity.values() for finding in purity.findings]

    def only_read(self, state: TrainingState) -> list[tf.Variable]:
        """Returns the variables that nothing changes here and that `state` does not hold."""
        covered = self._covered(state)
        read = [variable for audited in self._audited.values() for variable in audited.only_read(covered)]
        read += [each.variable for each in self._in_data if isinstance(each, Read)]
        return list({id(variable): variable for variable in read}.values())

    def constants(self, state: TrainingState) -> Constants:
        """Returns what has to stay what it is now."""
        tables = [table for each in self._audited.values() for table in each.tables(self._covered(state))]
        if self._set and any(hook.saves for hook in self._parts.hooks) and (names := self._set.changed()):
            log.warning(SET, ", ".join(names))
        read = [variable for variable in self.only_read(state) if key(variable) not in self._parts.hooks.kept]
        in_data = {key(each.variable) for each in self._in_data if isinstance(each, Read)}
        self._set = Constants(read, tables, in_data)
        return self._set

    def unsaved(self, state: TrainingState) -> Unsaved:
        """Returns what hooks reach that no checkpoint holds; nothing, if nobody saves."""
        hooks, done = self._parts.hooks, state.position.place().step
        covered = self._covered(state) | keys(self.only_read(state)) | hooks.kept
        resumed = done > 0 and state.position.untouched  # or it is one more run of the same process
        return Unsaved(hooks if any(hook.saves for hook in hooks) else (), covered, resumed=resumed)

    @functools.cached_property
    def _in_data(self) -> list[Finding]:
        """What is found in the data; once, because some have to be read for that."""
        found = self._parts.data.findings("The training data")
        # Evaluations are read to be looked at; the streams that training draws from must not move by it.
        with untouched():
            for name, evaluation in self._evaluations.items():
                found += evaluation.data.findings(f"The data of evaluation {name!r}")
        evaluated = {name: evaluation.data for name, evaluation in self._evaluations.items()}
        if any(hook.saves for hook in self._parts.hooks):
            warn_of_sets([step.function for step, _ in self._steps.values()])
            warn_of_seed()
            warn_of_shapes()
            warn_of_rows(self._parts.pool, RowsInMemory(self._parts.data, evaluated).held)
        return found

    def found_since(self) -> list[Finding]:
        """Returns what the passes over the data have shown since they were looked at."""
        # A generator may show only in a later pass that it changes.
        return [each for each in self._parts.data.findings("The training data") if each not in self._in_data]

    def _is_constant(self, variable: tf.Variable) -> bool:
        """Returns whether no step changes a variable. If a hook does, that is seen at the end of the epoch."""
        return not any(audited.may_change(key(variable)) for audited in self._audited.values())

    def _covered(self, state: TrainingState) -> set[int]:
        """Returns the keys of what a checkpoint holds, or what need not be in one."""
        own = [variable for evaluation in self._evaluations.values() for variable in self._own(evaluation)]
        return state.handles | keys([*own, *self.chunk.own])

    def _own(self, evaluation: Evaluation) -> list[tf.Variable]:
        """Returns what an evaluation works with besides what is in its step."""
        return [*self._measuring(evaluation), *evaluation.chunk.own]

    def _measuring(self, evaluation: Evaluation) -> list[tf.Variable]:
        return [raw(variable) for variables in evaluation.step.variables().values() for variable in variables]

    def _held(self, state: TrainingState) -> dict[int, str]:
        """Returns names, which are the same in every process, of what `_covered` has the keys of."""
        found = {key(variable): path for path, variable in state.variables.items()}
        for name, evaluation in self._evaluations.items():
            # By number: their names count up in a process.
            metrics = {key(each): f"metrics of {name}/{i}" for i, each in enumerate(self._measuring(evaluation))}
            common = keys(map(raw, evaluation.step.common()))
            found |= {each: path for each, path in metrics.items() if each not in found or each not in common}
        return found | names_of_resources(state.root, self._parts.given)

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
        return {name: value for each in self._evaluations.values() for name, value in each.results().items()}
