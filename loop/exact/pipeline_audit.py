"""What would keep a pass over a `tf.data` pipeline from being taken up again in its middle."""

import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import tensorflow as tf

from loop.errors import remedies
from loop.exact.graph import changes, is_random, is_unseeded, line, uses
from loop.exact.pipeline import (
    PYTHON,
    SHUFFLES,
    captured_in,
    graph_of,
    hidden_in,
    is_random_node,
    is_unknown,
    nodes_of,
    operations_of,
    reshuffled,
    stages,
)  # fmt: skip
from loop.exact.pipeline_hash import described
from loop.exact.stage_audit import in_any_order, in_stage, is_loose, unseeded
from loop.exact.tables import table_of
from loop.findings import Finding
from loop.handles import by_key, captured
from loop.tf_internals import functions_of

USE = "use a variable, table, generator or iterator, at a time that depends on how far they read ahead"
READS = "read a variable that a step changes, at a time that depends on how far they read ahead"
WITHIN = ("ReduceDataset", "DatasetToSingleElement", "AnonymousIterator")  # in functions, TensorFlow saves none of them
LEARNING = ("LearnedUnigramCandidateSampler", "ThreadUnsafeUnigramCandidateSampler")  # count what they are given
READS_SAVED = "read a variable, and TensorFlow does not save an iterator that does"


@dataclass(frozen=True)
class Read(Finding):
    """A function of a pipeline reads a variable, which is harmless if nobody changes that.

    Attributes:
        variable: The variable.
    """

    variable: tf.Variable = field(compare=False)  # variables are compared number by number


def audit_pipeline(
    dataset: tf.data.Dataset, owner: str, *, saved: bool, made: Collection[str], streams: Collection[int]
) -> list[Finding]:
    """Returns what would keep a pass over a dataset from being taken up again in its middle.

    Args:
        dataset: The dataset.
        owner: What to call it.
        saved: Whether its iterator is saved, or else the pass read again.
        made: The kinds of operations in the place of which others are made, which depend on the pass.
        streams: The keys of the random streams' variables, which count as such.
    """
    ops, hidden = list(operations_of(dataset)), list(hidden_in(dataset))
    found = [finding for stage in stages(dataset) for finding in in_stage(stage, owner, saved=saved)]
    for op in ops:
        if wrong := _wrong(op.type, saved=saved, drawn=is_random(op) and op.type not in made):
            found.append(Finding(f"{owner} {wrong[0]}: {op.type}", line(op), wrong[1]))
    for node in hidden:
        drawn, unknown = is_random_node(node) and node.op not in made, is_unknown(node) and node.op not in made
        if wrong := _wrong(node.op, saved=saved, drawn=drawn, unknown=unknown):
            found.append(Finding(f"{owner} {wrong[0]}: {node.op}", "", wrong[1]))
    return found + [each for stage in stages(dataset) for each in _in_resources(stage, owner, streams, saved=saved)]


def depends_on_process(dataset: tf.data.Dataset) -> bool:
    """Returns whether it has an order, or draws, that come of the process, or that are saved with it only."""
    ops, hidden = list(operations_of(dataset)), list(hidden_in(dataset))
    outside = [node for captured in captured_in(dataset) for node in nodes_of(graph_of(captured))]
    return (
        dataset.options().deterministic is False
        or any(in_any_order(stage) or unseeded(stage) for stage in stages(dataset))
        or any(map(is_loose, hidden))
        or any(node.op.startswith(SHUFFLES) for node in outside)
        or any(is_unseeded(op) or is_random(op) or op.type == "DummySeedGenerator" for op in ops)
        or any(map(is_random_node, hidden))
    )


def _in_resources(stage: tf.data.Dataset, owner: str, streams: Collection[int], *, saved: bool) -> list[Finding]:
    """Returns which variables, tables, generators and iterators the functions of one stage use."""
    found: list[Finding] = []
    for function in functions_of(stage):
        graph = function.graph
        handles, variables = captured(graph), by_key(graph.variables)
        for handle, used in uses(graph).items():
            if handle in streams:
                continue
            # Of variables; of tables, see below.
            reading = [op for op in used if op.type in ("ReadVariableOp", "ResourceGather")]
            if changing := [op for op in used if changes(op)]:
                found.append(Finding(f"{owner} {USE}: {changing[0].type}", line(changing[0]), remedies.NOT_IN_DATA))
            elif reading and saved:
                what = f"{owner} {READS_SAVED}: {reading[0].type}"
                found.append(Finding(what, line(reading[0]), remedies.READ_OR_REPLAY))
            elif reading and handle in variables:
                what = f"{owner} {READS}: {reading[0].type}"
                found.append(Read(what, line(reading[0]), remedies.READ_IN_STEP, variables[handle]))
            elif reading:
                found.append(Finding(f"{owner} {USE}: {reading[0].type}", line(reading[0]), remedies.NOT_IN_DATA))
            elif (table := table_of(handles[handle], used)) and table.takes_keys():
                what = f"{owner} look something up in a table that can change, and then depend on how far they read"
                found.append(Finding(f"{what} ahead", line(used[0]), remedies.TABLE))
    return found


def audit_function(made: Sequence[tuple[int, tf.data.Dataset]], owner: str) -> list[Finding]:
    """Compares what a function of the epoch has made when it was called several times.

    Args:
        made: The epochs that it was called with, in that order, some of them twice, and what it made.
        owner: What to call the data.
    """
    # Ids: `made` holds the datasets.
    shuffled = [[id(s) for s in stages(dataset) if reshuffled(s)] for _, dataset in made]
    said = [(epoch, described(dataset)) for epoch, dataset in made]
    pairs = list(itertools.combinations(range(len(made)), 2))  # of calls, also of those with one epoch
    found = list[str]()
    if any(said[i][0] == said[j][0] and said[i] != said[j] for i, j in pairs):
        found.append("makes another dataset each time it is called")
    if any({*shuffled[i]} & {*shuffled[j]} for i, j in pairs):
        found.append("keeps a dataset that shuffles, whose order depends on how often it was read")
    return [Finding(f"{owner} come from a function that {what}", "", remedies.OF_EPOCH) for what in found]


def audit_reading(what: str, owner: str, instead: str = remedies.GENERATOR) -> list[Finding]:
    """Returns what came of reading data twice, or of their passes, if something is wrong with it."""
    return [Finding(f"{owner} {what}", "", instead)] if what else []


def _wrong(kind: str, *, saved: bool, drawn: bool, unknown: bool = False) -> tuple[str, str] | None:
    """Returns what is wrong with an operation of that kind in a function, and what to do instead; None if nothing is.

    Args:
        kind: The kind.
        saved: Whether the iterator is saved, or else the pass read again.
        drawn: Whether it draws from a stream of its own.
        unknown: Whether it has another state, and nobody knows which.
    """
    if kind == "Timestamp":
        return "read the clock", remedies.CLOCK
    if kind in LEARNING:
        what = "draw classes as often as they have been read, and that cannot be saved"
        return what, remedies.CLASSES_LEARNED
    if drawn and "Dataset" not in kind:  # a dataset that shuffles is looked at as a stage
        return "draw from a stream that cannot be saved", remedies.RANDOM_IN_DATA
    if saved and kind == "DummyMemoryCache":
        return "cache within a function, which cannot be saved", remedies.IN_FUNCTION
    if saved and kind.startswith(WITHIN):
        return "read a dataset within a function, which cannot be saved", remedies.IN_FUNCTION
    if kind in PYTHON:
        what, instead = "call Python, whose place cannot be saved", remedies.PYTHON_IN_DATA
        return (what, instead) if saved and kind != "PyFuncStateless" else None
    return (USE, remedies.NOT_IN_DATA) if unknown else None
