"""Datasets made anew. A stage cannot be asked for a copy of itself with another input, nor of what it was made."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.python.data.ops.from_generator_op import _GeneratorDataset
from tensorflow.python.data.ops.structured_function import StructuredFunctionWrapper
from tensorflow.python.data.util import structure

from loop.tf_internals.functions import EagerTensor
from loop.tf_internals.stages import Dataset, kind_of, wrappers_of


class UnknownStage(Exception):
    """Nobody knows how to make a stage anew."""


UNKNOWN_STAGE = "a stage of {} that cannot be made anew: {}"


class Structured:
    """The function of a stage, with the structures that it takes and returns.

    Attributes:
        graph: The function, which takes and returns flat lists, and takes what it has from outside last.
        captured: What it has from outside.

    Args:
        wrapper: As TensorFlow has it.
    """

    def __init__(self, wrapper: StructuredFunctionWrapper) -> None:
        self._wrapper = wrapper
        self.graph, self.captured = wrapper.function.graph, wrapper.function.captured_inputs

    def flat(self, elements: tuple[Any, ...]) -> list[tf.Tensor]:
        """Returns what it takes for elements: ragged and sparse tensors, and datasets, as one variant each."""
        taken = self._wrapper._input_structure
        # A named tuple is one argument, as TensorFlow has it.
        return structure.to_tensor_list(taken, elements if type(taken) is tuple else elements[0])

    def packed(self, tensors: list[tf.Tensor]) -> Any:
        """Returns in their structure what it returns."""
        return structure.from_tensor_list(self._wrapper.output_structure, tensors)


def programmed(stage: Dataset) -> list[tuple[Callable[..., Any], Callable[[], object]]]:
    """Returns the functions that a stage was given, in Python, each with what traces it once more, for nothing."""

    def again(wrapper: StructuredFunctionWrapper) -> Callable[[], object]:
        structure = wrapper._input_structure
        return lambda: StructuredFunctionWrapper(wrapper._func, kind_of(stage), input_structure=structure)

    return [(wrapper._func, again(wrapper)) for wrapper in wrappers_of(stage)]


def structured_functions(stage: Dataset) -> list[Structured]:
    """Returns the functions of a stage."""
    return [Structured(wrapper) for wrapper in wrappers_of(stage)]


def remade(
    stage: Dataset, inputs: Sequence[Dataset], functions: Sequence[Callable[..., tf.types.experimental.TensorLike]]
) -> Dataset:
    """Returns a stage like another one that reads other datasets. Raises `UnknownStage` if nobody knows how.

    Its class is called with what it kept of its arguments, each under its name with an underscore.
    """
    kept, given = vars(stage), dict[str, Any]()
    if "_seed2" in kept:
        like = inputs[0] if inputs else stage  # what shuffles yields what it reads
        return tf.data.experimental.from_variant(_seeded(stage, inputs, like), like.element_spec)
    # In the order of the arguments, as the stage was traced.
    own = iter(functions)
    for name, parameter in list(inspect.signature(type(stage).__init__).parameters.items())[1:]:
        if name in ("input_dataset", "dataset", "selector_input"):
            given[name] = inputs[0]
        elif name == "datasets":
            each = iter(inputs)
            given[name] = tf.nest.map_structure(lambda _, each=each: next(each), kept["_datasets"])
        elif name == "dataset_to_concatenate":
            given[name] = inputs[1]
        elif name == "data_inputs":
            given[name] = list(inputs[1:])
        elif name == "filenames" and inputs:
            given[name] = inputs[0]
        elif name.endswith("_func") or name == "predicate":
            given[name] = next(own)
        elif name == "reducer":
            given[name] = tf.data.experimental.Reducer(next(own), next(own), next(own))
        elif name == "options":
            with tf.init_scope():  # in a graph, it warns that it may not know
                given[name] = stage.options()
        elif name == "deterministic":
            given[name] = {"true": True, "false": False}.get(kept.get("_deterministic"))
        elif name in ("sloppy", "log_warning"):
            given[name] = False
        elif name == "row_splits_dtype":
            given[name] = _row_splits(stage)
        elif f"_{name}_t" in kept:
            given[name] = kept[f"_{name}_t"]
        elif f"_{name}" in kept:
            value = kept[f"_{name}"]
            given[name] = int(value) if name == "buffer_size" and isinstance(value, EagerTensor) else value  # compared
        elif parameter.default is inspect.Parameter.empty:
            raise UnknownStage(UNKNOWN_STAGE.format(type(stage).__name__, name))
    # By keyword: an argument that a new version of TensorFlow adds keeps its default.
    made = type(stage)(**given)
    below = list(made._inputs())
    for _ in range(3):  # some put stages of their own between
        below += [source for read in below for source in read._inputs() if all(source is not found for found in below)]
    # Seen from the result: a class that takes its input under a name unknown here would read something else.
    if not all(any(source is found for found in below) for source in inputs):
        raise UnknownStage(UNKNOWN_STAGE.format(type(stage).__name__, "what it reads"))
    return made


def _seeded(stage: Dataset, inputs: Sequence[Dataset], like: Dataset) -> tf.Tensor:
    """Returns a stage with both of its seeds, because its class takes one and makes others of that.

    Args:
        stage: The stage.
        inputs: What it reads, if anything.
        like: Yields elements of the same structure.
    """
    kept = vars(stage)
    common = {"seed": kept["_seed"], "seed2": kept["_seed2"], **like._flat_structure}
    if not inputs:
        again = bool(kept["_rerandomize"])
        generator = tf.raw_ops.DummySeedGenerator()
        return tf.raw_ops.RandomDatasetV2(**common, seed_generator=generator, rerandomize_each_iteration=again)
    common |= {"input_dataset": inputs[0]._variant_tensor, "buffer_size": kept["_buffer_size"]}
    if "_count" in kept:
        return tf.raw_ops.ShuffleAndRepeatDataset(**common, count=kept["_count"])
    each = kept["_reshuffle_each_iteration"] is not False
    return tf.raw_ops.ShuffleDataset(**common, reshuffle_each_iteration=each)


def _row_splits(stage: Dataset) -> tf.DType:
    """Returns the dtype in which a stage says where rows of ragged tensors end."""
    specs = tf.nest.flatten(stage.element_spec)
    return next((spec.row_splits_dtype for spec in specs if isinstance(spec, tf.RaggedTensorSpec)), tf.int64)


def generator_dataset(
    functions: Sequence[Callable[..., Sequence[tf.Tensor]]], element_spec: tuple[tf.TensorSpec, ...]
) -> Dataset:
    """Returns what is behind `from_generator`: functions that begin, go on and end. The public one takes Python's."""
    return _GeneratorDataset((), *functions, output_signature=element_spec)
