"""Variables that are made while a function is traced, such as the weights of a model that is not built yet."""

import contextlib
from collections.abc import Callable, Collection, Iterator

import tensorflow as tf

from loop.errors.tracebacks import add_note

WITHOUT = (
    "Made meanwhile, and left without a value, because the trace has failed: {}. Make anew what these belong to, or "
    "build it before, as in model.build([None, 28, 28])."
)


@contextlib.contextmanager
def given_values() -> Iterator[Collection[tf.Graph]]:
    """Gives what is made within its first value, also if the trace fails.

    TensorFlow gives it when a trace has ended well. Else a layer, say, would be built, and have weights that are
    nothing: whoever mends the step, and runs it with the same model, would be told that a matrix is none.

    Yields:
        The graphs in which some were made up to now: such a function is traced once more, and this trace forgotten.
    """
    made: list[tuple[tf.Variable, object]] = []
    graphs: list[tf.Graph] = []

    def create(make: Callable[..., tf.Variable], **given: object) -> tf.Variable:
        variable = make(**given)
        made.append((variable, given.get("initial_value")))
        graphs.append(tf.compat.v1.get_default_graph())
        return variable

    try:
        with tf.variable_creator_scope(create):
            yield graphs
    except BaseException as error:  # an interrupt, too: it is run again in the next cell
        if left := [variable.name for variable, first in made if not _has_value(variable, first)]:
            add_note(error, WITHOUT.format(", ".join(left)))
        raise


def _has_value(variable: tf.Variable, first: object) -> bool:
    """Returns whether a variable has a value; if there is none yet, it gets its first one, if that can be computed."""
    with contextlib.suppress(Exception):  # of whatever the program computes it
        # What was computed of the trace itself went with that.
        if not tf.raw_ops.VarIsInitializedOp(resource=variable.handle) and callable(first):
            variable.assign(tf.convert_to_tensor(first(), variable.dtype))
        return bool(tf.raw_ops.VarIsInitializedOp(resource=variable.handle))
    return False
