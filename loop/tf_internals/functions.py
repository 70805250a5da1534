"""Functions and graphs: what is called in one, and how one is called."""

import functools
import itertools
import weakref
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import tensorflow as tf
from tensorflow.core.framework.function_pb2 import FunctionDef
from tensorflow.core.framework.op_def_pb2 import OpDef as OpDef
from tensorflow.core.framework.types_pb2 import DataType as DataType
from tensorflow.core.protobuf.config_pb2 import ConfigProto
from tensorflow.core.protobuf.rewriter_config_pb2 import RewriterConfig
from tensorflow.python.autograph.core.ag_ctx import ControlStatusCtx, Status
from tensorflow.python.autograph.impl.api import tf_convert
from tensorflow.python.eager import context
from tensorflow.python.eager.context import FunctionCallOptions
from tensorflow.python.eager.execute import quick_execute
from tensorflow.python.eager.polymorphic_function.atomic_function import InterpolateRuntimeError
from tensorflow.python.framework import kernels, op_def_registry
from tensorflow.python.framework.config import is_op_determinism_enabled as is_op_determinism_enabled  # it is only set
from tensorflow.python.framework.function import _DefinedFunction
from tensorflow.python.framework.function_def_to_graph import function_def_to_graph

EagerTensor: Any = tf.__internal__.EagerTensor  # a `tf.Tensor` that has a value
_ENABLED = ControlStatusCtx(Status.ENABLED)
ConcreteFunction: TypeAlias = tf.types.experimental.ConcreteFunction
PolymorphicFunction: TypeAlias = tf.types.experimental.PolymorphicFunction
COLOCATED = "_class"  # an attribute that names operations on whose device another one is
RETURNED = "_Retval"  # what hands out the dataset in the definition of one
COMPILED = ("_XlaMustCompile", "_XlaCompile")  # attributes of operations that XLA compiles; public is only how to ask


def scalar(value: float, dtype: tf.DType) -> tf.Tensor:
    """Returns a number as a tensor `[]`.

    Of a number of Python, TensorFlow would keep the tensor for good, some 700 bytes for each that is another one; there
    is no public way to have these forgotten. Of an array, `tf.constant` makes a copy first.
    """
    number = np.array(value, dtype.as_numpy_dtype)
    return given_up(number, dtype) if context.executing_eagerly() else tf.constant(number)


def given_up(array: np.ndarray, dtype: tf.DType) -> tf.Tensor:
    """Returns an array as a tensor, which may have its memory: nobody is to write to that any more."""
    now = context.context()
    now.ensure_initialized()
    return EagerTensor(array, now.device_name, dtype.as_datatype_enum)


def eagerly() -> AbstractContextManager[None]:
    """Returns a context in which operations are done at once, wherever it is entered.

    Public is `tf.init_scope`, which leaves the graph of a function, and not one in which a model is being exported.
    """
    return context.eager_mode()


def converted(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function of the program as AutoGraph makes it, also where nothing around it is converted.

    Public is only `tf.function`, which would make a call in the graph of it, and `tf.autograph.to_graph`, which fails
    for what has no source.
    """
    return tf_convert(function, _ENABLED)


def op_definition(kind: str) -> OpDef:
    """Returns what TensorFlow says of a kind of operation, an empty definition of an unknown one.

    Public is only the `op_def` of an operation that there is, and a function that was read has but the names of kinds.
    """
    return op_def_registry.get(kind) or OpDef()


@functools.cache
def is_known_to_xla(kind: str) -> bool:
    """Returns whether XLA can compile a kind of operation, of some dtypes; the public way is to try it.

    To be asked when something has been compiled, or XLA is not there yet. It takes some milliseconds.
    """
    return any(each.device_type == "XLA_CPU_JIT" for each in kernels.get_registered_kernels_for_op(kind).kernel)


@functools.cache
def is_known(kind: str) -> bool:
    """Returns whether an operation is of TensorFlow, and not of the name of a function that was traced."""
    return bool(op_definition(kind).name)


@functools.cache
def naming_functions(kind: str) -> tuple[str, ...]:
    """Returns the names of the attributes in which a kind of operation has functions that it calls, in their order."""
    return tuple(sorted(attr.name for attr in op_definition(kind).attr if attr.type in ("func", "list(func)")))


def body_of(caller: tf.Graph, name: str) -> tf.Graph | None:
    """Returns the function that is called in a graph by a name; None if there is none. Public are only definitions."""
    function = caller._get_function(name)
    while function is None and (outer := getattr(caller, "outer_graph", None)) is not None:  # as read from a definition
        caller, function = outer, outer._get_function(name)
    if not isinstance(function, _DefinedFunction):  # as older parts, such as tf.nn.ctc_loss, still make them
        return None if function is None else function.graph
    with caller.as_default():  # where it finds the functions that it calls
        return function_def_to_graph(function.definition)


def register(definitions: Iterable[FunctionDef]) -> None:
    """Lets functions be called from a dataset that is made outside of any graph. Public is only to trace one."""
    for definition in definitions:
        context.context().add_function_def(definition)


def add_control_inputs(op: tf.Operation, waited_for: Sequence[tf.Operation]) -> None:
    """Lets an operation that is there wait for others; `tf.control_dependencies` is for those that are not made yet."""
    op._add_control_inputs(waited_for)


def call_flat(function: ConcreteFunction, arguments: Sequence[tf.Tensor]) -> Any:
    """Calls a function with its flattened arguments, as they are, and without what changes bits; see `_Options`.

    A public call fits them to the signature again, which takes as long as two small steps. In a `tf.GradientTape`, as
    around a whole run, it would also trace what gradients through all steps need. Of what it does besides, no more is
    done than has to be: behind steps, of which its caches are full, a processor takes ten times as long for it.
    """
    now, inference, flat = context.context(), function.inference_fn, _FLAT.get(function) or _flat(function)
    captured = function.captured_inputs if flat.captured is None else flat.captured
    options = _OPTIONS.of(now.function_call_options)
    if flat.plain:
        with InterpolateRuntimeError(inference):  # says in an error which line it comes of
            found = quick_execute(flat.name, flat.outputs, [*arguments, *captured], options.attributes, now)
        return inference.function_type.pack_output(found)
    # Its options are those of this thread.
    before, now.function_call_options = now.function_call_options, options.made
    try:
        return inference.call_preflattened([*arguments, *captured])
    finally:
        now.function_call_options = before


class _Flat(NamedTuple):
    """What is known of a function that is called so.

    Attributes:
        name: What TensorFlow calls it.
        outputs: How many tensors it returns.
        plain: Whether none of them is of a kind of which TensorFlow notes more than its shape.
        captured: What it has from outside: kept, because TensorFlow flattens it for each call; None: it is asked for.
    """

    name: str
    outputs: int
    plain: bool
    captured: list[tf.Tensor] | None


def _flat(function: ConcreteFunction) -> _Flat:
    """Returns what is known of a function, and keeps it: TensorFlow looks it up in public for each call."""
    inference, asked = function.inference_fn, any(map(callable, function._captured_inputs))
    outputs = inference.function_type.flat_outputs
    plain = all(each.dtype not in (tf.variant, tf.resource) for each in outputs)
    captured = None if asked else function.captured_inputs
    found = _FLAT[function] = _Flat(inference.name.decode(), len(outputs), plain, captured)
    return found


_FLAT = weakref.WeakKeyDictionary[ConcreteFunction, _Flat]()


class _Made(NamedTuple):
    """Options, made of others, and as attributes of the operation that calls a function."""

    of: FunctionCallOptions
    made: FunctionCallOptions
    attributes: tuple[object, ...]


class _Options:
    """How functions are called, with less of TensorFlow's optimizers.

    That of arithmetic makes one operation of several additions, in an order that is another one from time to time, so
    that the same program has other bits. That of memory does so where there is little of it. A second round over the
    graph takes a quarter of the time until a first step is done, and finds 1 % of the operations of a GPT to leave out,
    and none of a small network. The public way, `tf.config.optimizer.set_experimental_options`, is for the whole
    process.
    """

    def __init__(self) -> None:
        self._made: _Made | None = None

    def of(self, options: FunctionCallOptions) -> _Made:
        """Returns options with these left out; 1 us, if the options are those of the call before."""
        found = self._made
        if found is None or found.of is not options:
            config = ConfigProto.FromString(options.config_proto_serialized)
            rewriting = config.graph_options.rewrite_options
            rewriting.arithmetic_optimization = RewriterConfig.OFF
            rewriting.memory_optimization = RewriterConfig.NO_MEM_OPT
            rewriting.meta_optimizer_iterations = RewriterConfig.ONE
            made = FunctionCallOptions(options.executor_type, config)
            found = self._made = _Made(options, made, tuple(itertools.chain(*made.as_attrs().items())))
        return found


_OPTIONS = _Options()


def bound_functions(function: PolymorphicFunction) -> list[PolymorphicFunction]:
    """Returns those that a `tf.function` has become as a method, one for each instance, or what was made instead."""
    return [*function._descriptor_cache.values()]


def graphs_of(function: PolymorphicFunction) -> list[tf.Graph]:
    """Returns all that a function has traced so far. In public, only what is traced for given arguments."""
    return [traced.graph for traced in function._list_all_concrete_functions()]


def traces_of(function: PolymorphicFunction) -> list[tuple[object, str]]:
    """Returns where a `tf.function` keeps what it once traced: objects, and names of attributes. Nothing clears it."""
    called = (function._variable_creation_config, function._no_variable_creation_config)  # None before it is called
    return [(each, name) for each in called if each is not None for name in ("function_cache", "function_captures")]


def writers_of_others(graph: tf.Graph, own: Collection[tf.summary.SummaryWriter]) -> int:
    """Returns to how many writers of `tf.summary` a function writes that are not among these; none has a public handle.

    What kind of resource a handle is for, its text alone says.
    """
    mine = [writer._resource for writer in own]
    handles = [outer for outer, _ in graph.captures if outer.dtype == tf.resource and "SummaryWriter" in repr(outer)]
    return sum(not any(handle is each for each in mine) for handle in handles)


def wait_for_operations() -> None:
    """Waits until all eager operations are done, where `set_synchronous_execution(False)` has them begun only."""
    context.async_wait()
