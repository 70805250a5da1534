"""What is found in what was traced for a loop, in its data and its hooks: whatever no checkpoint would hold."""

import functools
import logging
from collections.abc import Iterator

import tensorflow as tf

from loop.data.pipelines.unseeded import as_drawn
from loop.data.pipelines.warned import (
    warn_of_adapted,
    warn_of_constants,
    warn_of_hooks,
    warn_of_rows,
    warn_of_seed,
    warn_of_shapes,
)
from loop.engine.chunk import CompiledLoop
from loop.evaluation import Evaluation
from loop.exact.pipeline_audit import Read
from loop.exact.set_order import vocabularies_in_set_order, warn_of_sets
from loop.exact.step_audit import Constants, TraceAudit
from loop.findings import Finding
from loop.handles import key, keys
from loop.listeners.hook_checks import callbacks_of
from loop.running.parts import Parts
from loop.running.unsaved.variables import Unsaved, functions_of
from loop.state.gathering import names_of_resources
from loop.state.randomness import untouched
from loop.state.rows_in_memory import RowsInMemory
from loop.state.training_state import TrainingState
from loop.state.variables import all_layers
from loop.tensors import raw

log = logging.getLogger("exactloop")
SET = (
    "The program has set what the steps only read, and no checkpoint holds, since the run before: %s. A run that is "
    "killed from here on is not resumed by a program that begins with the former value. Give what is to be set between "
    "two runs in state=...: then it is saved, and set once."
)


class Audits:
    """Knows what the compiled train loop and evaluations read and change, and what of that is in the training state.

    Attributes:
        owners: What to call each step in messages, by its name: "train", and those of the evaluations.

    Args:
        parts: What the loop is made of; its evaluations are compiled.
        chunk: The compiled train loop.
    """

    def __init__(self, parts: Parts, chunk: CompiledLoop) -> None:
        self._parts, self._chunk = parts, chunk
        self._steps = [step.function for step in parts.steps.values()]
        self.owners = {name: "The train step" if name == "train" else f"Evaluation {name!r}" for name in parts.steps}
        graphs = {"train": chunk.graph} | {each.name: each.chunk.graph for each in parts.evaluations}
        self._of = {name: TraceAudit(graph, self.owners[name]) for name, graph in graphs.items()}
        self._set: Constants | None = None  # as the latest run has found them

    def follow(self, chunk: CompiledLoop) -> None:
        """Looks at another train loop from now on."""
        self._of["train"] = TraceAudit(chunk.graph, self.owners["train"])
        self._chunk = chunk

    def __getitem__(self, name: str) -> TraceAudit:
        return self._of[name]

    def findings(self, state: TrainingState) -> list[Finding]:
        """Returns what would keep a run from being resumed exactly."""
        covered = self.covered(state)
        found = [each for each in self._in_data if not (isinstance(each, Read) and self.is_constant(each.variable))]
        found += [finding for audited in self._of.values() for finding in audited.findings(covered)]
        found += as_drawn(self._steps, self.only_read(state))
        if any(audited.tables(covered) for audited in self._of.values()):
            found += vocabularies_in_set_order("A step", self._steps)
        return found

    def found_since(self) -> list[Finding]:
        """Returns what the passes over the data have shown since they were looked at."""
        # A generator may show only in a later pass that it changes.
        return [each for each in self._parts.data.findings("The training data") if each not in self._in_data]

    def only_read(self, state: TrainingState) -> list[tf.Variable]:
        """Returns the variables that nothing changes here and that `state` does not hold."""
        covered = self.covered(state)
        read = [variable for audited in self._of.values() for variable in audited.only_read(covered)]
        read += [each.variable for each in self._read_in_data()]
        return list({id(variable): variable for variable in read}.values())

    def constants(self, state: TrainingState) -> Constants:
        """Returns what has to stay what it is now."""
        tables = [table for each in self._of.values() for table in each.tables(self.covered(state))]
        hooks = self._parts.hooks
        if self._set and any(hook.saves for hook in hooks) and (names := self._set.changed()):
            log.warning(SET, ", ".join(names))
        read = [variable for variable in self.only_read(state) if key(variable) not in hooks.kept]
        self._set = Constants(read, tables, {key(each.variable) for each in self._read_in_data()})
        return self._set

    def unsaved(self, state: TrainingState) -> Unsaved:
        """Returns what hooks reach that no checkpoint holds; nothing, if nobody saves."""
        hooks, done = self._parts.hooks, state.position.place().step
        covered = self.covered(state) | keys(self.only_read(state)) | hooks.kept
        resumed = done > 0 and state.position.untouched  # or it is one more run of the same process
        return Unsaved(hooks if any(hook.saves for hook in hooks) else (), covered, state.given(), resumed=resumed)

    def is_constant(self, variable: tf.Variable) -> bool:
        """Returns whether no step changes a variable. If a hook does, that is seen at the end of the epoch."""
        return not any(audited.may_change(key(variable)) for audited in self._of.values())

    def is_used(self, variable: tf.Variable) -> bool:
        """Returns whether a step does anything with a variable."""
        return any(audited.has(key(variable)) for audited in self._of.values())

    def covered(self, state: TrainingState) -> set[int]:
        """Returns the keys of what a checkpoint holds, or what need not be in one."""
        own = [variable for evaluation in self._parts.evaluations for variable in own_of(evaluation)]
        return state.handles | keys([*own, *self._chunk.own])

    def held(self, state: TrainingState) -> dict[int, str]:
        """Returns names, which are the same in every process, of what `covered` has the keys of."""
        found = {key(variable): path for path, variable in state.variables.items()}
        for evaluation in self._parts.evaluations:
            # By number: their names count up in a process.
            measuring = enumerate(_measuring(evaluation))
            metrics = {key(each): f"metrics of {evaluation.name}/{i}" for i, each in measuring}
            common = keys(map(raw, evaluation.step.common()))
            found |= {each: path for each, path in metrics.items() if each not in found or each not in common}
        return found | names_of_resources(state.root, self._parts.given)

    @functools.cached_property
    def _in_data(self) -> list[Finding]:
        """What is found in the data; once, because some have to be read for that."""
        found = self._parts.data.findings("The training data")
        # Evaluations are read to be looked at; the streams that training draws from must not move by it.
        with untouched():
            for evaluation in self._parts.evaluations:
                found += evaluation.data.findings(f"The data of evaluation {evaluation.name!r}")
        if any(hook.saves for hook in self._parts.hooks):
            warn_of_sets(self._steps)
            warn_of_seed()
            warn_of_shapes()
            warn_of_constants(self._steps)
            held = {hook.name: callbacks_of(hook) for hook in self._parts.hooks}
            of_hooks = functions_of(self._parts.hooks)
            warn_of_hooks({name: [*called, *held[name]] for name, called in of_hooks.items()})
            # Of several workers, none knows what will be restored when it is traced.
            warn_of_adapted(self._steps, [] if self._parts.several else all_layers(self._parts.given))
            warn_of_rows(self._parts.pool, RowsInMemory(self._parts.data, self._parts.evaluated).held)
        return found

    def _read_in_data(self) -> Iterator[Read]:
        return (each for each in self._in_data if isinstance(each, Read))


def own_of(evaluation: Evaluation) -> list[tf.Variable]:
    """Returns what a compiled evaluation works with besides the training state: its metrics, and what it counts by."""
    return [*_measuring(evaluation), *evaluation.chunk.own]


def _measuring(evaluation: Evaluation) -> list[tf.Variable]:
    return [raw(variable) for variables in evaluation.step.variables().values() for variable in variables]
