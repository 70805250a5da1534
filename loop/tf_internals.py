"""All that is private in TensorFlow and Keras and used here, each with the public way that is missing.

Nothing private stands in any other file, so this is what has to be tried against a new TensorFlow or Keras. Hooks and
tools may import it, too. Only what classes override to be saved is defined in these: `_serialize_to_tensors`,
`_restore_from_tensors` and `_trackable_children` of `Trackable`.
"""

import contextlib
import inspect
import operator
import random
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from types import CellType, FunctionType
from typing import Any, TypeAlias

import keras
import tensorflow as tf
from keras.src.backend.tensorflow import nn as keras_nn
from keras.src.losses import loss as keras_loss
from keras.src.random.seed_generator import global_seed_generator
from keras.src.trainers.compile_utils import CompileMetrics, get_loss, get_metric

# Protocol buffers, of which TensorFlow has published the format and no module.
from tensorflow.compiler.xla.tsl.protobuf.coordination_config_pb2 import CoordinatedJob
from tensorflow.core.framework.dataset_options_pb2 import Options as OptionsProto
from tensorflow.core.framework.op_def_pb2 import OpDef as OpDef
from tensorflow.core.framework.types_pb2 import DataType as DataType
from tensorflow.core.protobuf.config_pb2 import ConfigProto
from tensorflow.core.protobuf.rewriter_config_pb2 import RewriterConfig
from tensorflow.core.protobuf.tensor_bundle_pb2 import BundleEntryProto as BundleEntryProto
from tensorflow.core.protobuf.tensor_bundle_pb2 import BundleHeaderProto as BundleHeaderProto
from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph as TrackableObjectGraph
from tensorflow.python.autograph.impl.api import _TRANSPILER
from tensorflow.python.autograph.pyct.origin_info import LineLocation, OriginInfo
from tensorflow.python.checkpoint.graph_view import ObjectGraphView
from tensorflow.python.checkpoint.save_util import serialize_graph_view
from tensorflow.python.data.ops.dataset_ops import DatasetV1Adapter
from tensorflow.python.data.ops.from_generator_op import _GeneratorDataset
from tensorflow.python.data.ops.structured_function import StructuredFunctionWrapper
from tensorflow.python.data.util import structure
from tensorflow.python.eager import context
from tensorflow.python.eager.context import FunctionCallOptions
from tensorflow.python.framework import op_def_registry
from tensorflow.python.framework.config import is_op_determinism_enabled as is_op_determinism_enabled  # it is only set
from tensorflow.python.framework.function import _DefinedFunction
from tensorflow.python.framework.function_def_to_graph import function_def_to_graph
from tensorflow.python.lib.io._pywrap_record_io import RecordIterator
from tensorflow.python.ops import random_ops_util, stateful_random_ops
from tensorflow.python.ops.script_ops import EagerFunc, _py_funcs
from tensorflow.python.trackable.resource import CapturableResource as CapturableResource  # lookup tables and the like

Dataset: TypeAlias = tf.data.Dataset
ConcreteFunction: TypeAlias = tf.types.experimental.ConcreteFunction
PolymorphicFunction: TypeAlias = tf.types.experimental.PolymorphicFunction
SourceMaps: TypeAlias = Mapping[str, Mapping[LineLocation, OriginInfo]]
Tensors: TypeAlias = dict[str, tf.Tensor]
NAME = "_name"  # the attribute in which modules, layers and datasets keep how they are called

# What a checkpoint saves. There is a public base class only for what has variables, or one text.

Trackable: Any = tf.__internal__.tracking.Trackable
EagerTensor: Any = tf.__internal__.EagerTensor  # a `tf.Tensor` that has a value
OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"  # under which a checkpoint has that of what it holds
BOOKKEEPING = "_self_"  # begins the attributes in which TensorFlow notes that it has restored an object
_LEGACY = "_LEGACY_SAVEABLE_NAME"


def saves_tensors(node: Trackable) -> bool:
    """Returns whether an object says itself what to save. `tf.train.Checkpoint` writes it, and does not hand it out."""
    return type(node)._serialize_to_tensors is not Trackable._serialize_to_tensors


def saves_in_old_way(node: Trackable) -> bool:
    """Returns whether it says so in the way of TensorFlow 1, which writes when it is asked."""
    return type(node)._gather_saveables_for_checkpoint is not Trackable._gather_saveables_for_checkpoint


def saved_tensors(node: Trackable) -> Tensors:
    """Returns what an object saves now, by the names under which it is saved."""
    return node._serialize_to_tensors()


def save_under_name_of(leaf: Trackable, node: Trackable) -> None:
    """Lets an object be saved under the name that another one has from older versions: tables and iterators do."""
    if (legacy := getattr(node, _LEGACY, None)) is not None:
        setattr(leaf, _LEGACY, legacy)


def named_tensors(root: Trackable) -> tuple[Tensors, bytes]:
    """Returns what a checkpoint saves of an object and all below it, by its names, and the graph of these objects.

    The tensors are those that `_serialize_to_tensors` of each returns.
    """
    gathered, _, _, graph = serialize_graph_view(ObjectGraphView(root))
    found = [(name, tensor) for of_one in gathered.values() for name, tensor in of_one.items()]
    return dict(found), graph.SerializeToString()


def wait_for_operations() -> None:
    """Waits until all eager operations are done, where `set_synchronous_execution(False)` has them begun only."""
    context.async_wait()


def is_initialized(module: tf.Module) -> bool:
    """Returns whether `tf.Module.__init__` has been called. To ask for the name raises, if it was not."""
    return NAME in vars(module)


# Iterators. A checkpoint saves one by itself; together with the batch that was read ahead of it, it cannot.


def iterator_state(iterator: tf.data.Iterator) -> tf.Tensor:
    """Returns where an iterator is, and what it has buffered: variant `[]`. Raises an `OpError` if it has no such."""
    return saved_tensors(iterator)["_STATE"]


def restore_iterator(iterator: tf.data.Iterator, state: tf.Tensor) -> list[tf.Operation]:
    """Takes an iterator to where another one of an equal dataset was."""
    return iterator._restore_from_tensors({"_STATE": state})


def iterator_handle(iterator: tf.data.Iterator) -> tf.Tensor:
    """Returns what a function captures that reads from an iterator; a table has a public `resource_handle`."""
    return iterator._iterator_resource


# Datasets. Nothing tells of what a dataset is made. Its classes are private, too.

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
    return stage._inputs()


def functions_of(stage: Dataset) -> list[ConcreteFunction]:
    """Returns the functions of a stage, such as that of a `map`, traced."""
    return [wrapper.function for wrapper in _wrappers(stage)]


def _wrappers(stage: Dataset) -> list[StructuredFunctionWrapper]:
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


def with_seed(shuffle: Dataset, seed: int) -> Dataset:
    """Returns a stage that shuffles as another one does, from another seed."""
    kept = vars(shuffle)
    again = kept["_reshuffle_each_iteration"]
    made = shuffle._input_dataset.shuffle(kept["_buffer_size"], 1, again)
    first, _ = seeds_of(shuffle)
    vars(made).update({name: kept[name] for name in vars(made).keys() & kept.keys()} | {"_seed": first})
    vars(made)["_seed2"] = tf.constant(seed, tf.int64)  # it is not iterated, but looked at to make another one
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


# Datasets made anew. A stage cannot be asked for a copy of itself with another input, nor of what it was made.


class UnknownStage(Exception):
    """Nobody knows how to make a stage anew."""


UNKNOWN_STAGE = "a stage of {} that cannot be made anew: {}"


def read_by(stage: Dataset) -> Dataset:
    """Returns the stage that does what another one, such as a reader of files, or one of TensorFlow 1, stands for."""
    while "_impl" in vars(stage) or isinstance(stage, DatasetV1Adapter):
        stage = vars(stage).get("_impl") or stage._dataset
    return stage


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
        return structure.to_tensor_list(taken, elements if isinstance(taken, tuple) else elements[0])

    def packed(self, tensors: list[tf.Tensor]) -> Any:
        """Returns in their structure what it returns."""
        return structure.from_tensor_list(self._wrapper.output_structure, tensors)


def programmed(stage: Dataset) -> list[tuple[Callable[..., Any], Callable[[], object]]]:
    """Returns the functions that a stage was given, in Python, each with what traces it once more, for nothing."""

    def again(wrapper: StructuredFunctionWrapper) -> Callable[[], object]:
        structure = wrapper._input_structure
        return lambda: StructuredFunctionWrapper(wrapper._func, kind_of(stage), input_structure=structure)

    return [(wrapper._func, again(wrapper)) for wrapper in _wrappers(stage)]


def structured_functions(stage: Dataset) -> list[Structured]:
    """Returns the functions of a stage."""
    return [Structured(wrapper) for wrapper in _wrappers(stage)]


def remade(
    stage: Dataset, inputs: Sequence[Dataset], functions: Sequence[Callable[..., tf.types.experimental.TensorLike]]
) -> Dataset:
    """Returns a stage like another one that reads other datasets. Raises `UnknownStage` if nobody knows how.

    Its class is called with what it kept of its arguments, each under its name with an underscore.
    """
    kept, given = vars(stage), dict[str, Any]()
    if "_seed2" in kept:
        return tf.data.experimental.from_variant(_seeded(stage, inputs), stage.element_spec)
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
    made = type(stage)(**given)
    below = list(made._inputs())
    for _ in range(3):  # some put stages of their own between
        below += [source for read in below for source in read._inputs() if all(source is not found for found in below)]
    if not all(any(source is found for found in below) for source in inputs):
        raise UnknownStage(UNKNOWN_STAGE.format(type(stage).__name__, "what it reads"))
    return made


def _seeded(stage: Dataset, inputs: Sequence[Dataset]) -> tf.Tensor:
    """Returns a stage with both of its seeds, because its class takes one and makes others of that."""
    kept = vars(stage)
    common = {"seed": kept["_seed"], "seed2": kept["_seed2"], **stage._flat_structure}
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


def generator_dataset(
    functions: Sequence[Callable[..., Sequence[tf.Tensor]]], element_spec: tuple[tf.TensorSpec, ...]
) -> Dataset:
    """Returns what is behind `from_generator`: functions that begin, go on and end. The public one takes Python's."""
    return _GeneratorDataset((), *functions, output_signature=element_spec)


# Functions and graphs.

COLOCATED = "_class"  # an attribute that names operations on whose device another one is
RETURNED = "_Retval"  # what hands out the dataset in the definition of one
COMPILED = ("_XlaMustCompile", "_XlaCompile")  # attributes of operations that XLA compiles; public is only how to ask


def op_definition(kind: str) -> OpDef:
    """Returns what TensorFlow says of a kind of operation, an empty definition of an unknown one.

    Public is only the `op_def` of an operation that there is, and a function that was read has but the names of kinds.
    """
    return op_def_registry.get(kind) or OpDef()


_explicit = threading.local()
_key_counter_alg = random_ops_util.get_key_counter_alg


def _get_key_counter_alg(seed: tf.Tensor, alg: Any) -> tuple[tf.Tensor, tf.Tensor, Any]:
    """Takes the place of TensorFlow's own, which says for every function that draws where its numbers come from."""
    is_open = alg is None or random_ops_util.convert_alg_to_int(alg) == tf.random.Algorithm.AUTO_SELECT.value
    return _key_counter_alg(seed, "philox" if is_open and vars(_explicit).get("chosen") else alg)


@contextlib.contextmanager
def explicit_algorithm() -> Iterator[None]:
    """Has what this thread traces for XLA say how random numbers are made where it leaves that to TensorFlow.

    As all of Keras does; public is only an argument of each call. Left open, XLA makes the key of Philox from the seed
    again for each number: twenty times as slow. Threefry would be faster still, but only XLA has it, and initializers
    of layers that are built late do not run in XLA.
    """
    random_ops_util.get_key_counter_alg = _get_key_counter_alg
    before, _explicit.chosen = vars(_explicit).get("chosen", False), True
    try:
        yield
    finally:
        _explicit.chosen = before


def body_of(caller: tf.Graph, name: str) -> tf.Graph | None:
    """Returns the function that is called in a graph by a name; None if there is none. Public are only definitions."""
    function = caller._get_function(name)
    while function is None and (outer := getattr(caller, "outer_graph", None)) is not None:  # as read from a definition
        caller, function = outer, outer._get_function(name)
    if not isinstance(function, _DefinedFunction):  # as older parts, such as tf.nn.ctc_loss, still make them
        return None if function is None else function.graph
    with caller.as_default():  # where it finds the functions that it calls
        return function_def_to_graph(function.definition)


def add_control_inputs(op: tf.Operation, waited_for: Sequence[tf.Operation]) -> None:
    """Lets an operation that is there wait for others; `tf.control_dependencies` is for those that are not made yet."""
    op._add_control_inputs(waited_for)


def call_flat(function: ConcreteFunction, arguments: Sequence[tf.Tensor]) -> Any:
    """Calls a function with its flattened arguments, as they are, and without what changes bits; see `_WithoutSums`.

    A public call fits them to the signature again, which takes as long as two small steps.
    """
    now = context.context()
    before = now.function_call_options
    now.function_call_options = _OPTIONS.of(before)
    try:
        return function._call_flat(arguments, function.captured_inputs)
    finally:
        now.function_call_options = before


class _WithoutSums:
    """How functions are called, with TensorFlow's optimizer of arithmetic left out.

    It makes one operation of several additions, in an order that is another one from time to time, so that the same
    program has other bits. The public way, `tf.config.optimizer.set_experimental_options`, is for the whole process.
    """

    def __init__(self) -> None:
        self._made: tuple[FunctionCallOptions, FunctionCallOptions] | None = None

    def of(self, options: FunctionCallOptions) -> FunctionCallOptions:
        """Returns options with it left out; 1 us, if the options are those of the call before."""
        made = self._made
        if made is None or made[0] is not options:
            config = ConfigProto.FromString(options.config_proto_serialized)
            config.graph_options.rewrite_options.arithmetic_optimization = RewriterConfig.OFF
            made = self._made = options, FunctionCallOptions(options.executor_type, config)
        return made[1]


_OPTIONS = _WithoutSums()


def bound_functions(function: PolymorphicFunction) -> list[PolymorphicFunction]:
    """Returns those that a `tf.function` has become as a method, one for each instance, or what was made instead."""
    return [*function._descriptor_cache.values()]


def traces_of(function: PolymorphicFunction) -> list[tuple[object, str]]:
    """Returns where a `tf.function` keeps what it once traced: objects, and names of attributes. Nothing clears it."""
    called = (function._variable_creation_config, function._no_variable_creation_config)  # None before it is called
    return [(each, name) for each in called if each is not None for name in ("function_cache", "function_captures")]


# Errors. TensorFlow translates the lines of tracebacks in ways of its own, which do not fit together with ours.


def source_maps() -> SourceMaps:
    """Returns for each file that AutoGraph has written where its lines come from."""
    converted = [factory for of_code in list(_TRANSPILER._cache._cache.values()) for factory in list(of_code.values())]
    return {factory.module.__file__: factory.source_map for factory in converted}


def origin(maps: SourceMaps, file: str, number: int) -> OriginInfo | None:
    """Returns what a line of such a file was; None if that is not known."""
    return maps.get(file, {}).get(LineLocation(file, number))


def set_message(error: tf.errors.OpError, message: str) -> None:
    """Gives an error another message: `error.message` is for reading only."""
    error._message = message


def records(path: bytes) -> Iterator[bytes]:
    """Returns what reads the records of a file, a hundred times as fast as `tf.data`. Raises an `OpError` at damage."""
    return RecordIterator(path, "")


# Clusters. Public is a strategy that makes one; not what its processes tell one another, nor how soon one is missed.

HEARTBEAT_MS = 6000  # after so long without a sign of life, a worker counts as dead


def begin_coordination(cluster: Mapping[str, Sequence[str]]) -> None:
    """Has the strategy that is made next notice within seconds when one of its processes is gone."""
    jobs = [CoordinatedJob(name=name, num_tasks=len(tasks)) for name, tasks in cluster.items()]
    leader = f"/job:{'chief' if 'chief' in cluster else 'worker'}/replica:0/task:0"
    context.context().configure_coordination_service(
        "standalone", leader, heartbeat_timeout_in_ms=HEARTBEAT_MS, coordinated_jobs=jobs
    )


def set_config_key_value(key: str, value: str) -> None:
    """Writes a text for all processes of a cluster. Raises an `OpError` if the key is there."""
    context.context().set_config_key_value(key, value)


def config_key_value(key: str, timeout: float | None) -> str:
    """Returns such a text, and waits for it; so many seconds at most."""
    return context.context().get_config_key_value(key, 0 if timeout is None else max(1, int(timeout * 1000)))


def delete_config_key_value(key: str) -> None:
    """Forgets such a text."""
    context.context().delete_config_key_value(key)


def abort_collectives(said: str) -> None:
    """Ends all sums over processes that are under way, and those that come, with an `AbortedError`."""
    context.context().abort_collective_ops(tf.errors.ABORTED, said)


@contextlib.contextmanager
def drawing_apart(rank: int) -> Iterator[None]:
    """Has what is traced draw, in each process of a cluster, other numbers out of one state, which stays the same.

    A generator of TensorFlow goes on by as many numbers as were drawn; here by a number that no batch changes. In
    public, only each call that draws can be given another seed.
    """
    drawn, skipped = keras.random.SeedGenerator.next, tf.random.Generator.skip

    def next_seed(generator: keras.random.SeedGenerator, ordered: bool = True) -> tf.Tensor:
        seed = drawn(generator, ordered)
        return seed + tf.cast(tf.constant([rank * 0x9E3779B9 % 2**31, 0]), seed.dtype)

    def skip(generator: tf.random.Generator, delta: tf.types.experimental.TensorLike) -> tf.Tensor:
        counter_and_key = skipped(generator, tf.constant(2**32, tf.uint64))
        return tf.concat([counter_and_key[:-1], counter_and_key[-1:] + (rank * 0x9E3779B97F4A7C15) % 2**63], 0)

    keras.random.SeedGenerator.next, tf.random.Generator.skip = next_seed, skip
    try:
        yield
    finally:
        keras.random.SeedGenerator.next, tf.random.Generator.skip = drawn, skipped


@contextlib.contextmanager
def moments_from(function: Callable[..., tuple[tf.Tensor, tf.Tensor]]) -> Iterator[None]:
    """Has synchronized layers take mean and variance from a function; they ask a strategy, or nobody."""
    kept = keras_nn._compute_moments_sync
    keras_nn._compute_moments_sync = function
    try:
        yield
    finally:
        keras_nn._compute_moments_sync = kept


@contextlib.contextmanager
def losses_through(
    function: Callable[[Callable[..., tf.Tensor], Callable[..., Any]], Callable[..., tf.Tensor]],
) -> Iterator[None]:
    """Has losses be reduced to a number by what a function returns that is called with how Keras reduces and weighs.

    In public, only what a loss returns can be reduced, and not that of a model that is compiled with it.
    """
    kept = keras_loss.reduce_weighted_values
    keras_loss.reduce_weighted_values = function(kept, keras_loss.apply_mask)
    try:
        yield
    finally:
        keras_loss.reduce_weighted_values = kept


@contextlib.contextmanager
def gradients_through(function: Callable[[keras.optimizers.Optimizer, list], list]) -> Iterator[None]:
    """Has optimizers apply what a function returns that is called with them and the gradients; the outermost does so.

    Public is only to override the method in a class of one's own.
    """
    kinds = (keras.optimizers.Optimizer, keras.optimizers.LossScaleOptimizer)
    kept, within = [kind.apply for kind in kinds], list[object]()

    def through(apply: Callable[..., None]) -> Callable[..., None]:
        def applied(
            self: keras.optimizers.Optimizer, grads: Sequence[object], trainable_variables: object = None
        ) -> None:
            given = list(grads) if within else function(self, list(grads))
            within.append(self)
            try:
                apply(self, given, trainable_variables)
            finally:
                within.pop()

        return applied

    for kind, apply in zip(kinds, kept, strict=True):
        kind.apply = through(apply)
    try:
        yield
    finally:
        for kind, apply in zip(kinds, kept, strict=True):
            kind.apply = apply


# Random streams. To ask for a global generator in public makes one, or Keras' cannot be asked for at all.


def keras_generator() -> keras.random.SeedGenerator:
    """Returns the generator behind `keras.random.*` calls without a seed."""
    return global_seed_generator()


def tensorflow_generator() -> tf.random.Generator | None:
    """Returns the global generator of TensorFlow, if somebody has asked for it."""
    return stateful_random_ops.global_generator


@contextlib.contextmanager
def op_seeds_from(seed: int) -> Iterator[None]:
    """Lets the seeds begin anew that TensorFlow draws, under one of the process, for what is given none.

    They are taken back to where they were when it ends. In public, setting the seed of the process begins them anew.
    """
    eager = context.context()
    kept, eager._rng = eager._rng, random.Random(seed)
    try:
        yield
    finally:
        eager._rng = kept


# Keras objects. Public lists are of a layer and all below it, and of what is trainable now.

# Attributes in which they keep what may be set later, and those that do not tell one computation from another.
SET_LATER = frozenset(("_trainable", "_learning_rate", "_dtype_policy"))
ASIDE = frozenset((NAME, "_dtype"))
# Of a variable, in a third of the time that its property takes.
is_trainable: Callable[[keras.Variable], bool] = operator.attrgetter("_trainable")


def flatten_layers(layer: keras.Layer, *, include_self: bool = True, recursive: bool = True) -> list[keras.Layer]:
    """Returns a layer and those in it, also those in lists of theirs; `Model.layers` are those of a model itself."""
    return layer._flatten_layers(include_self=include_self, recursive=recursive)


def own_trainable(layer: keras.Layer) -> list[keras.Variable]:
    """Returns the variables of a layer itself that were made to be trained, whether they are now or not."""
    return layer._trainable_variables


def own_non_trainable(layer: keras.Layer) -> list[keras.Variable]:
    """Returns the others of the layer itself."""
    return layer._non_trainable_variables


def own_seed_generators(layer: keras.Layer) -> list[keras.random.SeedGenerator]:
    """Returns the generators of a layer itself."""
    return layer._seed_generators


ITERATIONS = "_iterations"  # the attribute in which every optimizer counts steps
TRAINED = "_trainable_variables"  # and that in which it has the weights


def iterations(optimizer: keras.Optimizer) -> keras.Variable:
    """Returns the variable that counts steps; the public one may be computed from it."""
    return optimizer._iterations


def writers_of_others(graph: tf.Graph, own: Collection[tf.summary.SummaryWriter]) -> int:
    """Returns to how many writers of `tf.summary` a function writes that are not among these; none has a public handle.

    What kind of resource a handle is for, its text alone says.
    """
    mine = [writer._resource for writer in own]
    handles = [outer for outer, _ in graph.captures if outer.dtype == tf.resource and "SummaryWriter" in repr(outer)]
    return sum(not any(handle is each for each in mine) for handle in handles)


def rate_of(optimizer: keras.Optimizer) -> object:
    """Returns the variable, schedule or function that a learning rate comes from; the public one is its value."""
    return optimizer._learning_rate


def trained_by(optimizer: keras.Optimizer) -> list[keras.Variable]:
    """Returns the weights for which an optimizer was built."""
    return optimizer._trainable_variables


def moving_averages(optimizer: keras.Optimizer) -> list[tuple[keras.Variable, keras.Variable]]:
    """Returns the weights of a built optimizer with `use_ema`, each with its average; it only assigns them itself."""
    pairs = zip(optimizer._trainable_variables, optimizer._model_variables_moving_average, strict=True)
    return [(weight, average) for weight, average in pairs if average is not None]


def function_of(metric: keras.metrics.MeanMetricWrapper) -> tuple[Callable, Mapping[str, object]]:
    """Returns the function of which a metric takes the mean, and its arguments; a configuration has names of them."""
    return metric._fn, metric._fn_kwargs


def loss_of(given: str | Callable[..., Any], y: Any, prediction: Any) -> keras.losses.Loss:
    """Returns the loss that Keras makes of a name or a function, by the shapes of what it is for."""
    return get_loss(given, y, prediction)


def metric_of(name: str, y: Any, prediction: Any) -> keras.Metric:
    """Returns the metric that Keras makes of a name, by the shapes of what it is for."""
    return get_metric(name, y, prediction)


def compiled_as(model: keras.Model) -> object:
    """Returns what is another object whenever a model is compiled: where Keras takes the mean of its loss."""
    return model._loss_tracker


def metrics_in(metric: keras.Metric) -> list[keras.Metric]:
    """Returns those that were given to `compile`, of what has them all, as soon as they are made; or the metric."""
    return metric.metrics if isinstance(metric, CompileMetrics) else [metric]


def direction(metric: keras.Metric) -> str | None:
    """Returns "up" or "down" for a metric of which Keras knows which is better."""
    return getattr(metric, "_direction", None)


MODEL = "_model"  # in which a callback has its model
WRITERS = {"_writers", "_prev_summary_state", "_summary_module"}  # in which a TensorBoard callback has its files


def profiles_batches(callback: keras.callbacks.TensorBoard) -> bool:
    """Returns whether a callback was given batches to profile."""
    return callback._should_trace
