"""What can be known of a `tf.data` pipeline without reading from it."""

import hashlib
from collections.abc import Iterator

import tensorflow as tf

from loop.audit import Finding
from loop.digest import digest
from loop.graph import changes, fingerprint, is_callback, is_random, line, operations, uses

INFINITE = -1  # tf.data.INFINITE_CARDINALITY
REPLAY = "StreamData(..., resume='replay')"
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
    """Returns whether elements come out of Python."""
    return any(is_callback(op) or op.type == "GeneratorDataset" for op in operations_of(dataset))


def reshuffling(dataset: tf.data.Dataset, *, once: bool, repeated: bool = False) -> int:
    """Counts the stages whose order depends on how often they were iterated, and one that is repeated twice.

    If the dataset is iterated `once` for all epochs, so is a stage whose own input has no end.
    """
    kind = _kind(dataset)
    repeated = repeated or kind in ("Repeat", "Cache")  # a cache keeps the first order it was given
    count = sum(reshuffling(source, once=once, repeated=repeated) for source in dataset._inputs())
    if kind == "Random" and dataset._rerandomize_each_iteration:
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
    found = []
    if dataset.options().deterministic is False or any(_in_any_order(stage) for stage in stages(dataset)):
        found.append(Finding(f"{owner} yield their elements in any order (deterministic=False)", "", "Leave that out."))
    ops = list(operations_of(dataset))
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
                        f"read ahead: {risky[0].type}",
                        line(risky[0]),
                        "Use it in the step, or make the dataset of each epoch: StreamData(lambda epoch: ...).",
                    )
                ] * bool(risky)
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


def _in_any_order(stage: tf.data.Dataset) -> bool:
    own = vars(stage).get("_deterministic")
    ops = [op for function in stage._functions() for op in operations(function.function.graph)]
    return own == "false" or any(op.node_def.attr["deterministic"].s == b"false" for op in ops)


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
