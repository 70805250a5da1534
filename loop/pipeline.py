"""What can be known of a `tf.data` pipeline without reading from it."""

import hashlib
import re
from collections.abc import Iterator

import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef
from tensorflow.core.framework.op_def_pb2 import OpDef
from tensorflow.python.framework import op_def_registry

from loop.audit import Finding
from loop.digest import digest
from loop.graph import changes, fingerprint, is_random, line, operations, uses

INFINITE = -1  # tf.data.INFINITE_CARDINALITY
REPLAY = "StreamData(..., resume='replay')"
SHUFFLES = ("ShuffleDataset", "ShuffleAndRepeatDataset", "RandomDataset")  # by the first letters of their operations
# Stages that begin to read an input late, or are done with it early: then its iterator, and how often it was read, is
# not saved.
LATE = ("Repeat", "Cache", "Concatenate", "DirectedInterleave")
GRAPH_LIMIT = 2**28  # bytes of tensors that are copied to look into a dataset
PYTHON = ("GeneratorDataset", "PyFunc", "EagerPyFunc", "PyFuncStateless")
# Operations with a state that does not change what is yielded, and those that call others.
HARMLESS = re.compile(
    "Dataset|^(Dummy|Assert|Print|If|While|Case|StatefulPartitionedCall|Placeholder|LookupTable(Find|Size|Export)|_)"
)
ONCE_IN_FUNCTIONS = {"DummySeedGenerator": "shuffle", "DummyMemoryCache": "cache"}
USE = "use a variable, table, generator or iterator, at a time that depends on how far they read ahead"
OF_EACH_EPOCH = "Use it in the step, or make the dataset of each epoch: StreamData(lambda epoch: ...)."
# Attributes of datasets that do not change what they yield.
ASIDE = (
    "_name",
    "_num_parallel_calls",
    "_use_inter_op_parallelism",
    "_use_unbounded_threadpool",
    "_buffer_output_elements",
)


def stages(dataset: tf.data.Dataset) -> Iterator[tf.data.Dataset]:
    """Yields a dataset and all that it is made of, the last stage first."""
    yield dataset
    for source in dataset._inputs():
        yield from stages(source)


def operations_of(dataset: tf.data.Dataset) -> Iterator[tf.Operation]:
    """Yields the operations in the functions of all stages."""
    for stage in stages(dataset):
        yield from _operations_in(stage)


def _operations_in(stage: tf.data.Dataset) -> Iterator[tf.Operation]:
    for function in stage._functions():
        yield from operations(function.function.graph)


def described(dataset: tf.data.Dataset) -> list[str]:
    """Returns for each stage its kind and a hash of its arguments, functions and tensors; equal in every process."""
    return [
        f"{_kind(stage)} {_hash(stage)}" for stage in stages(dataset) if _kind(stage) not in ("Prefetch", "Options")
    ]


def may_differ(dataset: tf.data.Dataset) -> bool:
    """Returns whether elements come out of Python, or of anything else that may yield something else the next time."""
    nodes = [op.node_def for op in operations_of(dataset)] + list(_hidden(dataset))
    return any(node.op in PYTHON or _may_differ(node) for node in nodes)


def graph_of(dataset: tf.data.Dataset | tf.Tensor) -> GraphDef:
    """Returns a dataset as TensorFlow has it, with those that its functions use; empty if it is large, or has no such.

    Args:
        dataset: A dataset, or the variant of one.
    """
    if isinstance(dataset, tf.data.Dataset):
        tensors = [tensor for stage in stages(dataset) for tensor in vars(stage).get("_tensors", ())]
        known = [tensor for tensor in tensors if isinstance(tensor, tf.Tensor) and tensor.dtype != tf.variant]
        if sum(tensor.shape.num_elements() * tensor.dtype.size for tensor in known) > GRAPH_LIMIT:
            return GraphDef()
        dataset = dataset._variant_tensor
    try:
        graph = tf.raw_ops.DatasetToGraphV2(
            input_dataset=dataset,
            external_state_policy=1,
            strip_device_assignment=True,  # 1: whatever it holds
        )
    except tf.errors.OpError:
        return GraphDef()
    return GraphDef.FromString(graph.numpy())


def nodes_of(graph: GraphDef) -> Iterator[NodeDef]:
    """Yields the operations of a graph and of its functions."""
    yield from graph.node
    for function in graph.library.function:
        yield from function.node_def


def reshuffling(dataset: tf.data.Dataset, *, once: bool, repeated: bool = False) -> int:
    """Counts the stages whose order depends on how often they were iterated, and one that is repeated twice.

    If the dataset is iterated `once` for all epochs, so is a stage whose own input has no end.
    """
    kind = _kind(dataset)
    repeated = repeated or kind in LATE  # a cache keeps the first order it was given
    count = sum(reshuffling(source, once=once, repeated=repeated) for source in dataset._inputs())
    if kind == "Variant":
        count += 2 * sum(node.op.startswith(SHUFFLES) and _is_other_each_time(node) for node in graph_of(dataset).node)
    if kind == "Random" and dataset._rerandomize:
        count += 1 + repeated
    if kind == "Shuffle" and dataset._reshuffle_each_iteration is not False:
        single = once and any(source.cardinality() == INFINITE for source in dataset._inputs())
        count += 0 if single else 1 + repeated
    return count


def findings(dataset: tf.data.Dataset, owner: str, *, saved: bool) -> list[Finding]:
    """Returns what would keep a pass over a dataset from being taken up again in its middle.

    Args:
        dataset: The dataset.
        owner: What to call it.
        saved: Whether its iterator is saved, or else the pass read again.
    """
    ops, hidden = list(operations_of(dataset)), list(_hidden(dataset))
    outside = [node for captured in _captured(dataset) for node in nodes_of(graph_of(captured))]
    found = [finding for stage in stages(dataset) for finding in _in_stage(stage, owner, saved=saved)]
    loose = any(_in_any_order(stage) for stage in stages(dataset)) or any(map(_is_loose, hidden))
    if loose or dataset.options().deterministic is False:
        found.append(Finding(f"{owner} yield their elements in any order (deterministic=False)", "", "Leave that out."))
    if any(node.op.startswith(SHUFFLES) for node in outside):
        found.append(
            Finding(
                f"{owner} use, in a function, a dataset from outside of it that shuffles, or draws",
                "",
                f"Shuffle within the function, and use {REPLAY}.",
            )
        )
    if any(_unseeded(stage) for stage in stages(dataset)) or any(map(_unseeded_inside, ops)):
        found.append(
            Finding(
                f"{owner} shuffle, or draw, without a seed, so in another process their order is another one",
                "",
                "Give it one, as in shuffle(1000, seed=1), or call keras.utils.set_random_seed(1) first.",
            )
        )
    for op in ops:
        if wrong := _wrong(op.type, saved=saved, drawn=is_random(op)):
            found.append(Finding(f"{owner} {wrong[0]}: {op.type}", line(op), wrong[1]))
    for node in hidden:
        if wrong := _wrong(node.op, saved=saved, drawn=_is_random(node), unknown=_may_differ(node)):
            found.append(Finding(f"{owner} {wrong[0]}: {node.op}", "", wrong[1]))
    for stage in stages(dataset):
        for function in stage._functions():
            handles = {id(outer): outer for outer, _ in function.function.graph.captures}
            for handle, used in uses(function.function.graph).items():
                risky = [op for op in used if changes(op) or op.type == "ReadVariableOp"]
                found += [Finding(f"{owner} {USE}: {op.type}", line(op), OF_EACH_EPOCH) for op in risky[:1]]
                looked_up = [op for op in used if op.type.startswith("LookupTableFind") and not risky]
                if looked_up and _can_change(handles[handle], looked_up[0]):
                    what = f"{owner} look something up in a table that can change, and then depend on how far they read"
                    found.append(
                        Finding(f"{what} ahead", line(looked_up[0]), "Use tf.lookup.StaticHashTable, or the step.")
                    )
    return found


def _wrong(kind: str, *, saved: bool, drawn: bool, unknown: bool = False) -> tuple[str, str] | None:
    """Returns what is wrong with an operation of that kind in a function, and what to do instead; None if nothing is.

    Args:
        kind: The kind.
        saved: Whether the iterator is saved, or else the pass read again.
        drawn: Whether it draws from a stream of its own.
        unknown: Whether it has another state, and nobody knows which.
    """
    if drawn and "Dataset" not in kind:
        instead = "Use random numbers that depend on the element: tf.random.stateless_uniform(shape, seed=[1, i])"
        return "draw from a stream that cannot be saved", f"{instead}, with .enumerate()."
    if saved and kind in ONCE_IN_FUNCTIONS:
        what = f"{ONCE_IN_FUNCTIONS[kind]} within a function, which cannot be saved"
        return what, f"Do it outside of the function, or use {REPLAY}."
    if kind in PYTHON:
        instead = f"Use {REPLAY}, which reads the epoch again on resuming; or ArrayData, or TensorFlow operations."
        return ("call Python, whose place cannot be saved", instead) if saved and kind != "PyFuncStateless" else None
    return (USE, OF_EACH_EPOCH) if unknown else None


def _can_change(table: tf.Tensor, find: tf.Operation) -> bool:
    """Returns whether a lookup table takes new keys: none are put in, to see."""
    keys = tf.zeros([0], find.get_attr("Tin"))
    values = tf.zeros([0, *find.inputs[2].shape], find.get_attr("Tout"))
    try:
        tf.raw_ops.LookupTableInsertV2(table_handle=table, keys=keys, values=values)
    except tf.errors.UnimplementedError:
        return False
    return True


def _kind(stage: tf.data.Dataset) -> str:
    return type(stage).__name__.strip("_").removesuffix("V1").removesuffix("V2").removesuffix("Dataset")


def _hash(stage: tf.data.Dataset) -> str:
    said: list[object] = [str(stage.element_spec)]
    for name, value in sorted(vars(stage).items()):
        if isinstance(value, bool | int | float | str) and name not in ASIDE:
            said.append((name, value))
        tensors = [value] if isinstance(value, tf.Tensor) else value if isinstance(value, list | tuple) else []
        said += [
            (name, digest(tensor))
            for tensor in tensors
            if isinstance(tensor, tf.Tensor) and tensor.dtype not in (tf.variant, tf.resource) and name not in ASIDE
        ]
    for function in stage._functions():
        said.append(fingerprint(function.function.graph, function.function.captured_inputs))
    if _kind(stage) == "Variant":
        said += sorted((node.op, _constant(node)) for node in nodes_of(graph_of(stage)))
    return hashlib.sha256(repr(said).encode()).hexdigest()[:8]


def _constant(node: NodeDef) -> bytes:
    """Returns the bits of a constant; none of a resource, which has another name in each process."""
    tensor = node.attr["value"].tensor
    return tensor.SerializeToString(deterministic=True) if tensor.dtype != tf.resource.as_datatype_enum else b""


def _captured(dataset: tf.data.Dataset) -> Iterator[tf.Tensor]:
    """Yields the datasets that the functions of all stages have from outside."""
    for stage in stages(dataset):
        for function in stage._functions():
            yield from (tensor for tensor in function.function.captured_inputs if tensor.dtype == tf.variant)


def _hidden(dataset: tf.data.Dataset) -> Iterator[NodeDef]:
    """Yields the operations of datasets of which Python does not know what they are made of.

    They are those that functions have from outside, and what TensorFlow has rewritten, as `choose_from_datasets` does.
    """
    for captured in _captured(dataset):
        yield from nodes_of(graph_of(captured))
    for stage in stages(dataset):
        if _kind(stage) == "Variant":
            yield from nodes_of(graph_of(stage))


def _definition(node: NodeDef) -> OpDef:
    return op_def_registry.get(node.op) or OpDef()


def _is_random(node: NodeDef) -> bool:
    return _definition(node).is_stateful and {"seed", "seed2"} <= node.attr.keys()


def _is_other_each_time(node: NodeDef) -> bool:
    return any(node.attr[name].b for name in ("reshuffle_each_iteration", "rerandomize_each_iteration"))


def _may_differ(node: NodeDef) -> bool:
    return _definition(node).is_stateful and not HARMLESS.search(node.op)


def _in_stage(stage: tf.data.Dataset, owner: str, *, saved: bool) -> list[Finding]:
    """Returns what one stage leaves behind, or does not save."""
    kind, found = _kind(stage), []
    if kind == "Cache" and (file := stage._filename.numpy().decode()) and not tf.io.gfile.exists(f"{file}.index"):
        found.append(
            Finding(
                f"{owner} would fill the cache {file!r}, which a killed run leaves half filled and locked",
                "",
                "Fill it before, as in `for _ in rows.cache(file): pass`; or cache in memory; or save() and load().",
            )
        )
    with_header = kind == "Csv" and bool(stage._header)
    if saved and (with_header or any(map(_reads_header, _operations_in(stage)))):  # TensorFlow skips to the end of it
        what = f"{owner} read a CsvDataset with header=True, which, restored, leaves out the rest of the file"
        instead = "Leave out the first line, TextLineDataset(file).skip(1), and map it with tf.io.decode_csv"
        found.append(Finding(what, "", f"{instead}; or use {REPLAY}."))
    if kind == "Snapshot":
        what = f"{owner} write a snapshot, which a killed run leaves half written"
        found.append(Finding(what, "", "Write it before, with save(), and load() it."))
    if saved and kind == "DirectedInterleave" and not stage._stop_on_empty_dataset:
        selector, *sources = (source.cardinality() for source in stage._inputs())
        if selector == INFINITE and INFINITE not in sources:  # TensorFlow forgets how many of them are over
            found.append(
                Finding(
                    f"{owner} sample from datasets until all are over; restored near the end, they never would be",
                    "",
                    f"Give them stop_on_empty_dataset=True, or repeat() each and take(n) of all; or use {REPLAY}.",
                )
            )
    return found


def _in_any_order(stage: tf.data.Dataset) -> bool:
    if vars(stage).get("_deterministic") == "false":
        return True
    if _kind(stage) == "ParallelInterleave":  # the only one that does not keep what it was told
        return any(map(_is_loose, graph_of(stage).node))
    return any(_is_loose(op.node_def) for op in _operations_in(stage))


def _reads_header(op: tf.Operation) -> bool:
    if not op.type.startswith("CSVDataset"):
        return False
    names = [argument.name for argument in op.op_def.input_arg]
    header = tf.get_static_value(op.inputs[names.index("header")])
    return header is None or bool(header)


def _is_loose(node: NodeDef) -> bool:
    return node.attr["deterministic"].s == b"false"


def _unseeded(stage: tf.data.Dataset) -> bool:
    if _kind(stage) == "Variant":
        return _unseeded_in(graph_of(stage))
    seeds = [vars(stage).get(name) for name in ("_seed", "_seed2")]
    return all(seed is not None and int(seed) == 0 for seed in seeds)


def _unseeded_inside(op: tf.Operation) -> bool:
    """Returns whether an operation makes a dataset that shuffles, or draws, from a seed of its own."""
    names = [argument.name for argument in op.op_def.input_arg]
    if "Dataset" not in op.type or "seed2" not in names:
        return False
    seeds = [tf.get_static_value(op.inputs[names.index(name)]) for name in ("seed", "seed2")]
    return all(seed is not None and int(seed) == 0 for seed in seeds)


def _unseeded_in(graph: GraphDef) -> bool:
    constants = {node.name: node.attr["value"].tensor for node in graph.node if node.op == "Const"}
    for node in graph.node:
        names = [argument.name for argument in _definition(node).input_arg]
        if node.op.startswith(SHUFFLES) and "seed2" in names:
            seeds = [constants.get(node.input[names.index(name)]) for name in ("seed", "seed2")]
            if all(seed is not None and not tf.make_ndarray(seed) for seed in seeds):
                return True
    return False
