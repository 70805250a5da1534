"""What the functions of a pipeline have from outside, to be kept with a run."""

import functools
from collections.abc import Callable, Iterator, Sequence

import tensorflow as tf

from loop.exact.constants import text_in, value_of
from loop.exact.drawn_names import drawn_arguments, reads_drawn
from loop.exact.graph import operations
from loop.exact.outside import LARGEST, MANY, NO_OTHERS, Instead, Outside, others_of, outside_of
from loop.exact.pipeline import graph_of, nodes_of, stages
from loop.exact.pipeline_hash import in_files
from loop.exact.reach import is_of_program
from loop.state.rows_in_memory import bytes_of
from loop.tensors import FuncGraph
from loop.tf_internals import functions_of, programmed

OF_TENSORFLOW = frozenset(("sample_from_datasets", "rejection_resample", "bucket_by_sequence_length"))


class OfFunctions:
    """What the functions of a pipeline have.

    Args:
        dataset: The pipeline.
        instead: What they have in the place of some of it.
    """

    def __init__(self, dataset: tf.data.Dataset, instead: Instead) -> None:
        self._dataset, self._instead = dataset, instead

    @functools.cached_property
    def _outside(self) -> dict[FuncGraph, Outside]:
        return outside_of(self._dataset)

    @functools.cached_property
    def tensors(self) -> list[tf.Tensor]:
        """What they have; nothing if that is much."""
        others = self._instead
        found = [x for graph, has in self._outside.items() for x in has.tensors(others.get(graph, NO_OTHERS))]
        return found if sum(map(bytes_of, found)) <= LARGEST else []

    def files(self) -> str:
        """Returns a hash of what is in files that texts in them name; empty if they name none."""
        return in_files(text for each in self._outside.items() for text in self._texts(*each))

    def _texts(self, graph: FuncGraph, has: Outside) -> Iterator[tf.Tensor]:
        others = self._instead.get(graph, NO_OTHERS)
        yield from (others.given.get(name, array) for name, array in has.arrays.items() if array.dtype == tf.string)
        said = (others.constants.get(place, value) for place, value in has.constants.items())
        yield from (value for value in map(value_of, said) if value.dtype == tf.string)
        for hidden in (outer for outer, _ in graph.captures if outer.dtype == tf.variant):  # a dataset
            yield from (value for node in nodes_of(graph_of(hidden)) if (value := text_in(node)) is not None)

    def others(self, tensors: Sequence[tf.Tensor], *, moved: bool) -> Instead | None:
        """Returns what they are to have instead; see `others_of`."""
        return others_of(self._outside, tensors, moved=moved, drawn=self._drawn)

    def _drawn(self) -> set[FuncGraph]:
        """Returns the functions that read what comes of random numbers, as far as the text of the program says."""
        own = [stage for stage in stages(self._dataset) if _reads_drawn([given for given, _ in programmed(stage)])]
        return {function.graph for stage in own for function in functions_of(stage)}

    def not_kept(self) -> list[tf.Tensor]:
        """Returns the tensors and constants with many rows that are not among those that are kept."""
        kept = [graph for graph, has in self._outside.items() if self.tensors and not has.is_large]
        held = list[tf.Tensor]()
        for stage in stages(self._dataset):
            others = [each for each in functions_of(stage) if all(each.graph is not graph for graph in kept)]
            held += [x for each in others for x in each.captured_inputs]
            held += [op.outputs[0] for each in others for op in operations(each.graph) if op.type == "Const"]
        return [x for x in held if x.shape.rank and x.shape[0] >= MANY]


def _reads_drawn(functions: Sequence[Callable[..., object]]) -> bool:
    """Returns whether functions of a stage read what was drawn, or those of TensorFlow are given it."""
    are_own = any(is_of_program(each) for each in functions)
    return reads_drawn(functions) if are_own else bool(drawn_arguments(OF_TENSORFLOW))
