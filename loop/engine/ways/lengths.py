"""Where XLA would take the most that there can be of something for as many as there are."""

from collections.abc import Iterable, Sequence, Set

import tensorflow as tf

from loop.exact.graph import called, line, operations
from loop.exact.labels import BRANCHES, LOOPS
from loop.findings import Finding
from loop.tensors import FuncGraph
from loop.tf_internals import is_known_to_xla

# What has as many elements as values say, such as those that a mask leaves. XLA knows how many there can be at most.
SOURCES = ("Where", "Unique", "UniqueV2", "UniqueWithCounts", "UniqueWithCountsV2", "DynamicPartition")
TAKING = {"Slice": slice(1, 3), "StridedSlice": slice(1, 3), "TopKV2": slice(1, 2)}  # or by inputs that are values
# What counts as many as there are. What is computed element by element does, and of the rest what is seen to do so by
# `tests/whole/test_jit_lengths.py`: others count all that there can be, such as OnesLike, Cumsum, a pooling or a trace.
OF_ELEMENTS = """
Abs Add AddV2 AddN Atan2 Bitcast Cast Ceil CheckNumerics ClipByValue Cos Div DivNoNan Elu EluGrad EnsureShape Equal
Erf Erfc Exp Expm1 Floor FloorDiv FloorMod Greater GreaterEqual Identity IdentityN Inv InvGrad IsFinite IsInf IsNan
LeakyRelu LeakyReluGrad Less LessEqual Lgamma Log Log1p LogicalAnd LogicalNot LogicalOr Maximum Minimum Mod Mul
MulNoNan Neg NotEqual Pow PreventGradient RealDiv Reciprocal ReciprocalGrad Relu Relu6 Relu6Grad ReluGrad Rint Round
Rsqrt RsqrtGrad Select SelectV2 Selu SeluGrad Sigmoid SigmoidGrad Sign Sin Softplus SoftplusGrad Softsign SoftsignGrad
Sqrt SqrtGrad Square SquaredDifference StopGradient Sub Tan Tanh TanhGrad TruncateDiv TruncateMod Xdivy Xlog1py Xlogy
"""
OF_ROWS = """
All Any ArgMax ArgMin BatchMatMulV2 BatchMatMulV3 BiasAdd BiasAddGrad BroadcastTo ConcatV2 Einsum ExpandDims Fill
GatherNd GatherV2 L2Loss LogSoftmax MatMul Max Mean Min OneHot Pack Pad PadV2 Prod Rank Reshape ResourceGather
ResourceScatterAdd ResourceScatterSub ResourceScatterUpdate ScatterNd Shape ShapeN Size Slice Softmax
SoftmaxCrossEntropyWithLogits SparseSoftmaxCrossEntropyWithLogits SparseToDense Split SplitV Squeeze StridedSliceGrad
Sum TensorListFromTensor TensorListReserve TensorScatterAdd TensorScatterUpdate Tile TopKV2 Transpose Unpack
UnsortedSegmentMax UnsortedSegmentMin UnsortedSegmentSum Where ZerosLike
"""
COUNTING = frozenset((OF_ELEMENTS + OF_ROWS).split())
LEAVE_OUT = "Leave out jit_compile=True, or"
FROM_END = f"{LEAVE_OUT} write tf.gather(x, tf.shape(x)[0] - 1) for x[-1]."
MASK = (
    f"{LEAVE_OUT} give it a length that does not depend on values: all there can be, with a mask of what counts, as in "
    "tf.reduce_sum(tf.where(mask, x, 0.0)). What layers such as keras.layers.RandomCrop do to a batch, do in the data."
)


def miscounted(owner: str, graph: FuncGraph) -> list[Finding]:
    """Returns what XLA would compile into something else, because it would count what is not there.

    Args:
        owner: What to call the step.
        graph: What is to be compiled.
    """
    if not opening(graph):  # as in most programs
        return []
    lengths = Lengths()
    lengths.follow(graph, frozenset())
    found = [op for op in lengths.found if is_known_to_xla(op.type)]  # or else it is refused by what XLA says
    ops = {(op.type, line(op)): op for op in found}  # a function is followed for each way it is called
    return [
        Finding(
            f"{owner}: {op.type}, {op.name}, takes all that there can be for what there is",
            where,
            FROM_END if op.type == "StridedSlice" else MASK,
        )
        for (_, where), op in ops.items()
    ]


def opening(graph: FuncGraph) -> list[tf.Operation]:
    """Returns the operations that leave as many elements as values say."""
    return [op for op in operations(graph) if _opens(op)]


class Lengths:
    """Follows what is of a length that depends on values through a graph and the functions that are called in it.

    Attributes:
        found: Operations that would count more than there is.
    """

    def __init__(self) -> None:
        self.found: list[tf.Operation] = []
        self._known: dict[tuple[FuncGraph, frozenset[int]], frozenset[int]] = {}

    def follow(self, graph: FuncGraph, given: frozenset[int]) -> frozenset[int]:
        """Returns which outputs depend on such a length, if these inputs do."""
        key = graph, given
        if key not in self._known:
            reached = {each.name for i, each in enumerate(graph.inputs) if i in given}
            for op in graph.get_operations():
                reached |= {op.outputs[i].name for i in self._left(op, reached)}
            self._known[key] = frozenset(i for i, each in enumerate(graph.outputs) if each.name in reached)
        return self._known[key]

    def _left(self, op: tf.Operation, reached: Set[str]) -> Iterable[int]:
        """Returns which outputs of an operation depend on such a length."""
        into = frozenset(i for i, each in enumerate(op.inputs) if each.name in reached)
        if bodies := [*called(op.graph, op).values()]:
            return self._called(op, bodies, into)
        if not into:
            return range(len(op.outputs)) if _opens(op) else ()
        # Where the parts of what is joined begin, of which its gradient is cut out, XLA says by the most there can be.
        if op.type == "ConcatOffset" or (any(_is_open(op.inputs[i]) for i in into) and not _counts(op)):
            self.found.append(op)
        return [i for i, each in enumerate(op.outputs) if _hands_on(each)]

    def _called(self, op: tf.Operation, bodies: Sequence[FuncGraph], into: frozenset[int]) -> Iterable[int]:
        if op.type in BRANCHES:  # what comes first, the condition, is not handed on
            into = frozenset(i - 1 for i in into if i)
        while True:
            left = {i for body in bodies for i in self.follow(body, into) if len(body.outputs) == len(op.outputs)}
            # What a round of a loop leaves is what the next one is given.
            if op.type not in LOOPS or into.issuperset(left):
                return left | into if op.type in LOOPS else left
            into = into.union(left)


def _opens(op: tf.Operation) -> bool:
    """Returns whether it depends on values how many elements an operation leaves."""
    taken = list(op.inputs)[TAKING[op.type]] if op.type in TAKING else []
    by_values = op.type in SOURCES or any(tf.get_static_value(each) is None for each in taken)
    return by_values and any(map(_is_open, op.outputs))


def _is_open(tensor: tf.Tensor) -> bool:
    return not tensor.shape.is_fully_defined()


def _hands_on(tensor: tf.Tensor) -> bool:
    """Returns whether how many there are may be in a tensor: by its shape, as a number, or in a list."""
    number = tensor.dtype.is_integer and (tensor.shape.rank or 0) < 2
    return _is_open(tensor) or number or tensor.dtype == tf.variant


def _counts(op: tf.Operation) -> bool:
    """Returns whether XLA counts as many as there are."""
    return not _is_from_end(op) if op.type == "StridedSlice" else op.type in COUNTING


def _is_from_end(op: tf.Operation) -> bool:
    """Returns whether a slice begins so many before an end that XLA does not know."""
    shape, begin = op.inputs[0].shape, tf.get_static_value(op.inputs[1])
    if shape.rank is None or begin is None:
        return False
    all_from, ellipsis, new_axis = (op.get_attr(name) for name in ("begin_mask", "ellipsis_mask", "new_axis_mask"))
    dimension = 0
    for i, first in enumerate(begin):
        if ellipsis >> i & 1:
            new = sum(new_axis >> j & 1 for j in range(i, len(begin)))
            dimension = shape.rank - (len(begin) - i - 1 - new)
        elif not new_axis >> i & 1:
            if first < 0 and not all_from >> i & 1 and shape[dimension] is None:
                return True
            dimension += 1
    return False
