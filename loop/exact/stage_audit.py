"""What one stage of a `tf.data` pipeline leaves behind, does not save, or yields in any order."""

import tensorflow as tf

from loop.errors import remedies
from loop.exact.graph import named_inputs
from loop.exact.pipeline import INFINITE, SHUFFLES, graph_of, operations_in
from loop.findings import Finding
from loop.tensors import GraphDef, NodeDef
from loop.tf_internals import (
    cache_file,
    cycle_length,
    determinism_of,
    has_header,
    inputs_of,
    kind_of,
    op_definition,
    parallel_calls,
    seeds_of,
    stops_on_empty,
)

AUTOTUNE = -1
SEEDED = ("Shuffle", "ShuffleAndRepeat", "Random", "Snapshot")  # kinds of stages that have a seed, and are known
CALLS = "num_parallel_calls"
THREADS = 3  # that TensorFlow counts for each input of an `interleave` in parallel


def in_stage(stage: tf.data.Dataset, owner: str, *, saved: bool) -> list[Finding]:
    """Returns what one stage leaves behind, or does not save."""
    kind, found = kind_of(stage), []
    if kind == "Cache" and (file := cache_file(stage).numpy().decode()) and not tf.io.gfile.exists(f"{file}.index"):
        what = f"{owner} would fill the cache {file!r}, which a killed run leaves half filled and locked"
        found.append(Finding(what, "", remedies.CACHE_FILE))
    with_header = kind == "Csv" and has_header(stage)
    if saved and (with_header or any(map(_reads_header, operations_in(stage)))):  # TensorFlow skips to the end of it
        what = f"{owner} read a CsvDataset with header=True, which, restored, leaves out the rest of the file"
        found.append(Finding(what, "", remedies.CSV_HEADER))
    if kind == "Snapshot":
        what = f"{owner} write a snapshot, which a killed run leaves half written"
        found.append(Finding(what, "", remedies.SNAPSHOT))
    if kind == "DataService":
        what = f"{owner} come from workers of tf.data's service, and no checkpoint holds how far these are"
        found.append(Finding(what, "", remedies.SERVICE))
    if any(seed is not None for seed in seeds_of(stage)) and kind not in SEEDED:
        what = f"{owner} shuffle by a stage that TensorFlow does not document, {kind}"
        found.append(Finding(what, "", remedies.SHUFFLE))
    if saved and kind == "DirectedInterleave" and not stops_on_empty(stage):
        # Negative: without end, or not known.
        selector, *sources = (source.cardinality() for source in inputs_of(stage))
        if selector == INFINITE and INFINITE not in sources:  # TensorFlow forgets how many of them are over
            what = f"{owner} sample from datasets until all are over; restored near the end, they never would be"
            found.append(Finding(what, "", remedies.SAMPLED))
    return found


def in_any_order(stage: tf.data.Dataset) -> bool:
    """Returns whether a stage yields what is ready first."""
    if determinism_of(stage) == "false":
        return True
    if kind_of(stage) == "ParallelInterleave":  # the only one that does not keep what it was told
        return any(map(is_loose, graph_of(stage).node))  # so the graph is asked, which takes longer
    return any(is_loose(op.node_def) for op in operations_in(stage))


def at_once(stage: tf.data.Dataset, cores: int) -> list[int]:
    """Returns of how many inputs at once `interleave` yields where the user left that to TensorFlow.

    Args:
        stage: The stage.
        cores: How many the process may use, by which TensorFlow decides, and so decides the order.
    """
    given = [(kind_of(stage), cycle_length(stage), parallel_calls(stage))]
    given += [(op.type, cycle_of(op), next(iter(named_inputs(op, CALLS)), None)) for op in operations_in(stage)]
    return [by_cores(kind, calls, cores) for kind, length, calls in given if is_open(length)]


def cycle_of(op: tf.Operation) -> tf.Tensor | None:
    """Returns of how many inputs at once an operation yields in turns: int64 `[]`; None of one that does not."""
    given = named_inputs(op, "cycle_length") if "InterleaveDataset" in op.type else []
    return given[0] if given else None


def is_open(length: tf.Tensor | None) -> bool:
    """Returns whether the user left it to TensorFlow of how many inputs at once it yields."""
    known = None if length is None else tf.get_static_value(length)
    return known is not None and int(known) == AUTOTUNE


def by_cores(kind: str, calls: tf.Tensor | None, cores: int) -> int:
    """Returns of how many inputs at once an `interleave` yields then, with so many calls in parallel and cores."""
    known = None if calls is None else tf.get_static_value(calls)
    if "Parallel" not in kind:
        return cores
    # Rounded up, as TensorFlow does.
    return -(-cores // THREADS) if known is None or known == AUTOTUNE else min(int(known), cores)


def _reads_header(op: tf.Operation) -> bool:
    given = named_inputs(op, "header") if op.type.startswith("CSVDataset") else []
    headers = map(tf.get_static_value, given)  # None: known only when it runs, so it may be True
    return any(header is None or bool(header) for header in headers)


def is_loose(node: NodeDef) -> bool:
    """Returns whether an operation was told that it need not keep any order."""
    return "deterministic" in node.attr and node.attr["deterministic"].s == b"false"  # to ask would make it


def unseeded(stage: tf.data.Dataset) -> bool:
    """Returns whether a stage shuffles, or draws, from a seed of its own."""
    if kind_of(stage) == "Variant":
        return _unseeded_in(graph_of(stage))
    return all(seed is not None and int(seed) == 0 for seed in seeds_of(stage))


def _unseeded_in(graph: GraphDef) -> bool:
    constants = {node.name: node.attr["value"].tensor for node in graph.node if node.op == "Const"}
    for node in graph.node:
        names = [argument.name for argument in op_definition(node.op).input_arg]
        if node.op.startswith(SHUFFLES) and "seed2" in names:
            # None: it is no constant, and so not the 0 that stands for no seed.
            seeds = [constants.get(node.input[names.index(name)]) for name in ("seed", "seed2")]
            if all(seed is not None and not tf.make_ndarray(seed) for seed in seeds):
                return True
    return False
