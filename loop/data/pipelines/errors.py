"""Where in the functions of a pipeline an operation failed: TensorFlow tells its name, but not its line."""

import contextlib

import tensorflow as tf

from loop.errors.op_errors import failed
from loop.errors.tracebacks import add_lines, add_note
from loop.exact.graph import lines
from loop.exact.pipeline import operations_of


class InLinesOf(contextlib.AbstractContextManager[None]):  # a generator would have its old traceback put back
    """Does `tell` when a dataset fails."""

    def __init__(self, dataset: tf.data.Dataset) -> None:
        self._dataset = dataset

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, tf.errors.OpError):
            tell(error, self._dataset)


def tell(error: tf.errors.OpError, dataset: tf.data.Dataset | None) -> None:
    """Adds to an error the line of a dataset's functions that it came from; a note, if it may be one of several."""
    with contextlib.suppress(Exception):  # there may be a dataset that cannot be looked into; it has failed anyway
        name = failed(error.message)  # the only trace that an error has of where it came from
        found = [lines(op) for op in (operations_of(dataset) if dataset else ()) if op.name == name]
        # By the last line, so that several operations of one line are one place.
        stacks = list({of_one[-1]: of_one for of_one in found if of_one}.values())
        if len(stacks) == 1:
            add_lines(error, stacks[0])
        elif stacks:
            places = ", ".join(f"{stack[-1].file}:{stack[-1].number}" for stack in stacks)
            add_note(error, f"Raised by one of the operations named {name!r} in the data: {places}.")
