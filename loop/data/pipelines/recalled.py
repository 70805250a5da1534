"""A dataset as it was when the run began, of what an earlier process has drawn."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping

import tensorflow as tf

from loop.data.orders.lists import say_order
from loop.data.orders.rows import Rows
from loop.data.pipelines.written import Written
from loop.exact.pipeline_hash import short
from loop.state.resumable import Earlier
from loop.tf_internals import UnknownStage

UNFIT = (UnknownStage, tf.errors.OpError, ValueError, TypeError)  # are raised where a stage cannot be made otherwise


def recalled(one: Written, cursor: Mapping[str, int], pool: Iterable[Rows], earlier: Earlier) -> Written | None:
    """Returns a dataset in the order that a loader of Keras or the program drew, or else of the rows that it drew.

    Args:
        one: The dataset as it was written in this process.
        cursor: Those of the data, with the hash of the stages that it had.
        pool: The rows of all data of the loop.
        earlier: The rows that it was made of.

    Returns:
        The dataset; None if more has changed.
    """
    # Of a program that was edited, they may have been.
    if earlier.same_program:
        with contextlib.suppress(*UNFIT):
            one = one.with_numbers(cursor)
    for before in _made(one.as_drawn(cursor, pool, earlier)):
        if _was(before, cursor):
            say_order("The data are", earlier)
            one.say_numbers()
            return before
    for before in _made(one.of_others(cursor, earlier)):
        if _was(before, cursor):
            earlier.taken()
            one.say_numbers()
            return before
    return None


def _made(ways: Iterator[Written]) -> Iterator[Written]:
    """Yields what could be made; what cannot be made again is as it is now, and refused as such."""
    with contextlib.suppress(*UNFIT):
        yield from ways


def _was(before: Written, cursor: Mapping[str, int]) -> bool:
    return before.is_replaced and int(short(before.described), 16) == cursor["stages"]
