"""What can be known of a `tf.data` pipeline without reading from it."""

import hashlib
from collections.abc import Iterator

import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef

from loop.audit import Finding
from loop.digest import digest
from loop.graph import changes, fingerprint, is_callback, is_random, line, operations, uses

INFINITE = -1  # tf.data.INFINITE_CARDINALITY
REPLAY = "StreamData(..., resume='replay')"
SHUFFLES = ("ShuffleDataset", "ShuffleAndRepeatDataset", "RandomDataset")  # by the first letters of their operations
# Stages that begin to read an input late, or are done with it early: then its iterator, and how often it was read, is
# not saved.
LATE = ("Repeat", "Cache", "Concatenate", "DirectedInterleave")
GRAPH_LIMIT = 2**28  # bytes of tensors that are copied to look into a dataset
ONCE_IN_FUNCTIONS = {"DummySeedGenerator": "shuffle", "DummyMemoryCache": "cache"}
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
        for function in stage._functions():
            yield from operations(function.function.graph)


def described(dataset: tf.data.Dataset) -> list[str]:
    """Returns for each stage its kind and a hash of its arguments, functions and tensors; equal in every process."""
    return [
        f"{_kind(stage)} {_hash(stage)}" for stage in stages(dataset) if _kind(stage) not in ("Prefetch", "Options")
    ]


def has_callbacks(dataset: tf.data.Dataset) -> bool:
    """Returns whether elements come out of Python, declared to be without state or not."""
    kinds = ("GeneratorDataset", "PyFuncStateless")
    return any(is_callback(op) or op.type in kinds for op in operations_of(dataset))


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
    ops = list(operations_of(dataset))
    outside = [node for captured in _captured(dataset) for node in nodes_of(graph_of(captured))]
    found = [finding for stage in stages(dataset) for finding in _in_stage(stage, owner, saved=saved)]
    loose = any(_in_any_order(stage) for stage in stages(dataset)) or any(map(_is_loose, outside))
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
        if is_random(op) and "Dataset" not in op.type:
            instead = "Use random numbers that depend on the element: tf.random.stateless_uniform(shape, seed=[1, i])"
            what = f"{owner} draw from a stream that cannot be saved: {op.type}"
            found.append(Finding(what, line(op), f"{instead}, with .enumerate()."))
        elif saved and op.type in ONCE_IN_FUNCTIONS:
            what = f"{owner} {ONCE_IN_FUNCTIONS[op.type]} within a function, which cannot be saved: {op.type}"
            found.append(Finding(what, line(op), f"Do it outside of the function, or use {REPLAY}."))
        elif saved and (is_callback(op) or op.type == "GeneratorDataset"):
            what = f"{owner} call Python, whose place cannot be saved: {op.type}"
            instead = f"Use {REPLAY}, which reads the epoch again on resuming; or ArrayData, or TensorFlow operations."
            found.append(Finding(what, line(op), instead))
    for stage in stages(dataset):
        for function in stage._functions():
            for used in uses(function.function.graph).values():
                risky = [op for op in used if changes(op) or op.type == "ReadVariableOp"]
                found += [
                    Finding(
                        f"{owner} use a variable, table, generator or iterator, at a time that depends on how far they "
                        f"read ahead: {op.type}",
                        line(op),
                        "Use it in the step, or make the dataset of each epoch: StreamData(lambda epoch: ...).",
                    )
                    for op in risky[:1]
                ]
    return found


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
    return hashlib.sha256(repr(said).encode()).hexdigest()[:8]


def _captured(dataset: tf.data.Dataset) -> Iterator[tf.Tensor]:
    """Yields the datasets that the functions of all stages have from outside."""
    for stage in stages(dataset):
        for function in stage._functions():
            yield from (tensor for tensor in function.function.captured_inputs if tensor.dtype == tf.variant)


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
    ops = [op for function in stage._functions() for op in operations(function.function.graph)]
    return any(_is_loose(op.node_def) for op in ops)


def _is_loose(node: NodeDef) -> bool:
    return node.attr["deterministic"].s == b"false"


def _unseeded(stage: tf.data.Dataset) -> bool:
    seeds = [vars(stage).get(name) for name in ("_seed", "_seed2")]
    return all(seed is not None and int(seed) == 0 for seed in seeds)


def _unseeded_inside(op: tf.Operation) -> bool:
    """Returns whether an operation makes a dataset that shuffles, or draws, from a seed of its own."""
    names = [argument.name for argument in op.op_def.input_arg]
    if "Dataset" not in op.type or "seed2" not in names:
        return False
    seeds = [tf.get_static_value(op.inputs[names.index(name)]) for name in ("seed", "seed2")]
    return all(seed is not None and int(seed) == 0 for seed in seeds)
