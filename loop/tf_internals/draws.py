"""What makes an operation in a graph that draws by a stream in its kernel, as `tf.random.normal` does."""

import contextlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import tensorflow as tf
from tensorflow.python.framework import random_seed
from tensorflow.python.framework.func_graph import FuncGraph
from tensorflow.python.ops import gen_candidate_sampling_ops, gen_image_ops, gen_random_ops

from loop.tf_internals.place import Attribute

DRAWING = {
    **{
        kind: Attribute(gen_random_ops, name)
        for kind, name in {
            "RandomStandardNormal": "random_standard_normal",
            "RandomUniform": "random_uniform",
            "RandomUniformInt": "random_uniform_int",
            "TruncatedNormal": "truncated_normal",
            "ParameterizedTruncatedNormal": "parameterized_truncated_normal",
            "RandomGamma": "random_gamma",
            "RandomPoissonV2": "random_poisson_v2",
            "RandomShuffle": "random_shuffle",
            "Multinomial": "multinomial",
        }.items()
    },
    "SampleDistortedBoundingBoxV2": Attribute(gen_image_ops, "sample_distorted_bounding_box_v2"),
    "UniformCandidateSampler": Attribute(gen_candidate_sampling_ops, "uniform_candidate_sampler"),
    "LogUniformCandidateSampler": Attribute(gen_candidate_sampling_ops, "log_uniform_candidate_sampler"),
    "FixedUnigramCandidateSampler": Attribute(gen_candidate_sampling_ops, "fixed_unigram_candidate_sampler"),
    "AllCandidateSampler": Attribute(gen_candidate_sampling_ops, "all_candidate_sampler"),
}
SEED = Attribute(random_seed, "get_seed")  # is asked for the two seeds of an operation, by whatever function makes one
VECTORIZED = "loop_body"  # the name scope in which `tf.vectorized_map` traces what it then makes operations of rows of
OF_DATASET = "Dataset_"  # begins the names of the functions of datasets


class Draw(NamedTuple):
    """An operation that is about to be made.

    Attributes:
        type: Its kind.
        given: Its inputs and attributes, by name.
        told: The seed that the program gave to this draw; None if it gave none, whatever that of the process is.
    """

    type: str
    given: Mapping[str, Any]
    told: int | None

    def get_attr(self, name: str) -> Any:
        """Returns an attribute, as an operation does that is there."""
        return self.given[name]


@contextlib.contextmanager
def drawn_by(draw: Callable[[Draw], object]) -> Iterator[None]:
    """Has a function draw what this thread traces, where an operation would draw by a stream of its own.

    Not what is done at once, nor what runs where no variable may be changed: functions of datasets, and those of which
    `tf.vectorized_map` makes one for all rows. In public, only each call that draws can be another one.

    Args:
        draw: Returns what the operation would; or None: then it is made after all.
    """
    asked: list[tuple[object, int | None]] = []

    def noted(usual: Callable[[int | None], object]) -> Callable[[int | None], object]:
        def get_seed(op_seed: int | None) -> object:
            asked[:] = [(usual(op_seed), op_seed)]
            return asked[0][0]

        return get_seed

    def drawn(kind: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        def making(usual: Callable[..., Any]) -> Callable[..., Any]:
            signature = inspect.signature(usual)

            def make(*args: Any, **named: Any) -> Any:
                found = signature.bind(*args, **named)
                found.apply_defaults()
                seeds = found.arguments["seed"], found.arguments["seed2"]
                told = next((seed for given, seed in asked if given == seeds), None)
                made = draw(Draw(kind, found.arguments, told)) if may_change_variables() else None
                return usual(*args, **named) if made is None else made

            return make

        return making

    with contextlib.ExitStack() as stack:
        stack.enter_context(SEED.filled(noted))
        for kind, place in DRAWING.items():
            stack.enter_context(place.filled(drawn(kind)))
        yield


def may_change_variables() -> bool:
    """Returns whether what is traced now may change a variable, once for each time that it is run.

    In public, a function of a dataset and what is vectorized look like any other.
    """
    graph = tf.compat.v1.get_default_graph()
    if not isinstance(graph, FuncGraph) or VECTORIZED in tf.get_current_name_scope().split("/"):
        return False
    while isinstance(graph, FuncGraph) and not graph.name.startswith(OF_DATASET):
        graph = graph.outer_graph
    return not isinstance(graph, FuncGraph)
