"""The stages of a dataset. Nothing tells of what a dataset is made. Its classes are private, too."""

import copy
from collections.abc import Callable, Mapping, Sequence
from types import CellType, FunctionType
from typing import Any, TypeAlias

import tensorflow as tf
from tensorflow.core.framework.dataset_options_pb2 import Options as OptionsProto
from tensorflow.python.data.ops.dataset_ops import DatasetV1Adapter
from tensorflow.python.data.ops.structured_function import StructuredFunctionWrapper
from tensorflow.python.ops.script_ops import EagerFunc, _py_funcs

from loop.tf_internals.functions import ConcreteFunction
from loop.tf_internals.objects import NAME

Dataset: TypeAlias = tf.data.Dataset
# Attributes that say how fast it yields, and how it is called, not what; and the tensors from which it is made.
HINTS = (NAME, "_num_parallel_calls", "_use_inter_op_parallelism", "_use_unbounded_threadpool") + (
    "_buffer_output_elements",
)
TENSORS = "_tensors"


def kind_of(stage: Dataset) -> str:
    """Returns what a stage is called, such as Shuffle; Variant, if TensorFlow has rewritten it."""
    return type(stage).__name__.strip("_").removesuffix("V1").removesuffix("V2").removesuffix("Dataset")


def inputs_of(stage: Dataset) -> Sequence[Dataset]:
    """Returns the datasets that a stage reads from."""
    if kind_of(stage) == "Concatenate":  # behind `apply`, it says itself that it reads what that was called of
        return [stage._input_dataset, stage._dataset_to_concatenate]
    return stage._inputs()


def functions_of(stage: Dataset) -> list[ConcreteFunction]:
    """Returns the functions of a stage, such as that of a `map`, traced."""
    return [wrapper.function for wrapper in wrappers_of(stage)]


def wrappers_of(stage: Dataset) -> list[StructuredFunctionWrapper]:
    """Returns the functions of a stage; `load` says of none that it has one."""
    held = [value for value in vars(stage).values() if isinstance(value, StructuredFunctionWrapper)]
    return list({id(wrapper): wrapper for wrapper in [*stage._functions(), *held]}.values())


def tensors_of(stage: Dataset) -> Sequence[tf.Tensor]:
    """Returns the tensors from which a stage is made; of those made of no tensors, none."""
    return vars(stage).get(TENSORS, ())


def reshuffles(shuffle: Dataset) -> bool | None:
    """Returns whether each pass has another order; None if nobody has said, which means yes."""
    return shuffle._reshuffle_each_iteration


def rerandomizes(random: Dataset) -> bool | None:
    """Returns whether each pass draws other numbers; None if nobody has said, which means no."""
    return random._rerandomize


def seeds_of(stage: Dataset) -> list[tf.Tensor | None]:
    """Returns the two seeds of a stage, both zero if it takes some at random; None, if it has none."""
    return [vars(stage).get(name) for name in ("_seed", "_seed2")]


def with_seed(stage: Dataset, seed: int) -> Dataset:
    """Returns a stage that shuffles, or draws, as another one does, from another seed."""
    return _with(stage, _seed2=tf.constant(seed, tf.int64))


def buffer_of(shuffle: Dataset) -> int:
    """Returns how many elements are in the buffer of a stage that shuffles."""
    return int(shuffle._buffer_size)


def range_of(numbers: Dataset) -> tf.Tensor:
    """Returns what `Dataset.range` yields."""
    given = vars(numbers)
    # Counted in int64, as TensorFlow's stage does: in a narrow dtype there may be fewer, and of some there is no range.
    return tf.cast(tf.range(given["_start"], given["_stop"], given["_step"]), numbers.element_spec.dtype)


def batch_of(batch: Dataset) -> tuple[tf.Tensor, bool]:
    """Returns how many elements a stage puts into a batch, int64 `[]`, and whether it leaves out what is left over."""
    return batch._batch_size, bool(batch._drop_remainder)


def with_buffer(shuffle: Dataset, size: int) -> Dataset:
    """Returns a stage that shuffles as another one does, in a buffer of another size."""
    return _with(shuffle, _buffer_size=tf.constant(size, tf.int64))


def numbers_of(stage: Dataset) -> dict[str, int]:
    """Returns the whole numbers that a stage was given, such as how many elements are in a batch, but for seeds."""
    held = {name: value for name, value in vars(stage).items() if name not in HINTS and not name.startswith("_seed")}
    given = {name: value for name, value in held.items() if isinstance(value, tf.Tensor) and value.dtype.is_integer}
    return {name: int(value) for name, value in given.items() if value.shape.rank == 0}


def with_numbers(stage: Dataset, numbers: Mapping[str, int]) -> Dataset:
    """Returns a stage like another one, with other such numbers."""
    if kind_of(stage) == "Range":  # reads nothing, and so is iterated itself
        start, stop, step = ({**numbers_of(stage), **numbers}[name] for name in ("_start", "_stop", "_step"))
        return tf.data.Dataset.range(start, stop, step, output_type=stage.element_spec.dtype)
    return _with(stage, **{name: tf.constant(number, vars(stage)[name].dtype) for name, number in numbers.items()})


def _with(stage: Dataset, **other: tf.Tensor) -> Dataset:
    """Returns a stage like another one, but for some of what it keeps. It is not iterated, but looked at to make it."""
    made = copy.copy(stage)
    vars(made).update(other)
    return made


def determinism_of(stage: Dataset) -> str | None:
    """Returns "true", "false" or "default"; None of a stage that does nothing in parallel."""
    return vars(stage).get("_deterministic")


def cycle_length(stage: Dataset) -> tf.Tensor | None:
    """Returns of how many inputs at once a stage yields in turns: int64 `[]`; None of a stage that does not."""
    return vars(stage).get("_cycle_length")


def parallel_calls(stage: Dataset) -> tf.Tensor | None:
    """Returns how many calls of its function a stage makes at the same time: int64 `[]`; None of one that makes one."""
    return vars(stage).get("_num_parallel_calls")


def cache_file(cache: Dataset) -> tf.Tensor:
    """Returns the name of the file of a cache: string `[]`, empty if it is in memory."""
    return cache._filename


def has_header(csv: Dataset) -> bool:
    """Returns whether a `CsvDataset` skips the first lines of its files."""
    return bool(csv._header)


def reads_as_usual(load: Dataset) -> bool:
    """Returns whether nobody said how the files of `save` are to be read: as many in turns as there are cores."""
    return load._reader_func._func.__module__ == type(load).__module__


def stops_on_empty(sampled: Dataset) -> bool:
    """Returns whether a dataset that is sampled from others is over with the first of them."""
    return bool(sampled._stop_on_empty_dataset)


def read_by(stage: Dataset) -> Dataset:
    """Returns the stage that does what another one, such as a reader of files, or one of TensorFlow 1, stands for."""
    # One may stand for another that stands for a third.
    while "_impl" in vars(stage) or isinstance(stage, DatasetV1Adapter):
        stage = vars(stage).get("_impl") or stage._dataset
    return stage


def in_order(options: bytes) -> bytes:
    """Returns the options of a stage, as an operation has them, with every order kept."""
    message = OptionsProto.FromString(options)
    message.deterministic = True
    return message.SerializeToString(deterministic=True)


def python_function(token: str) -> tuple[Callable[..., Any], bool]:
    """Returns what an operation calls in Python, and whether with tensors, or else with arrays."""
    function = _py_funcs._funcs[token]
    return (function._func, True) if isinstance(function, EagerFunc) else (function, False)


def called_by(token: str) -> list[object]:
    """Returns what an operation calls in Python: the function, and behind `from_generator` the user's generator."""
    found = list[object]([python_function(token)[0]])
    for held in found:  # grows while it is read
        if isinstance(held, Dataset._GeneratorState):
            found.append(held._generator)
        for cell in getattr(held, "__closure__", None) or ():
            content = None if cell == CellType() else cell.cell_contents
            if isinstance(content, FunctionType | Dataset._GeneratorState) and content not in found:
                found.append(content)
    return [held for held in found if not isinstance(held, Dataset._GeneratorState)]
