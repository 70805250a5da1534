"""A dataset as it was when the run began, of what an earlier process has drawn."""

import contextlib
import dataclasses
import functools
import itertools
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence

import tensorflow as tf

from loop.data.orders import arguments, lists, one_order
from loop.data.orders.one_order import Orders
from loop.data.orders.rows import Rows
from loop.data.pipelines.exchanged import Replaced
from loop.data.pipelines.known import number_of
from loop.data.pipelines.loaders import reordered, seeds
from loop.data.pipelines.written import Written
from loop.exact.drawn_names import TAKEN
from loop.exact.given import is_set
from loop.exact.outside import NOTHING, Instead, is_same
from loop.state.resumable import Earlier
from loop.tf_internals import UnknownStage

log = logging.getLogger("exactloop")
SHUFFLED = "shuffled by"  # begins the names of seeds, in notes
UNFIT = (UnknownStage, tf.errors.OpError, ValueError, TypeError)  # are raised where a stage cannot be made otherwise


def seeds_and_numbers(one: Written) -> dict[str, int]:
    """Returns what the program may have drawn without a seed, and given to stages of a dataset, to be noted."""
    others = one.exchanged
    of_loaders = {f"{SHUFFLED} {i}": seed for i, seed in enumerate(seeds(one.dataset, others.stages))}
    return of_loaders | one_order.noted(others.orders) | arguments.noted(one.dataset, one.replaced)


def places_of_rows(one: Written, pool: Iterable[Rows]) -> dict[str, int]:
    """Returns which rows stand where, to be noted, if the next process may have others there.

    Args:
        one: The dataset.
        pool: The rows of all data of the loop.
    """
    rows = [*one.lists.values()]
    return lists.noted(rows, pool) if lists.may_move(rows) else {}


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
            numbers = arguments.as_noted(one.dataset, cursor)
            one = one.with_others(dataclasses.replace(one.exchanged, numbers=numbers))
    if before := _that_was(as_drawn(one, cursor, pool, earlier), cursor):
        pairs = [(rows, before.lists[stage]) for stage, rows in one.lists.items()]
        lists.say_order("The data are", earlier, pairs)
    elif (before := _that_was(_of_others(one, cursor, earlier), cursor)) and _are_moved(one, earlier):
        earlier.taken()  # if it is functions alone that have others, that is said by them
    if before and (said := arguments.said(before.dataset, before.exchanged.numbers)):
        log.warning(TAKEN, "; ".join(said))
    return before


def _that_was(ways: Iterator[Written], cursor: Mapping[str, int]) -> Written | None:
    """Returns the one that is what was noted. What cannot be made again is as it is now, and refused as such."""
    with contextlib.suppress(*UNFIT):
        return next((one for one in ways if one.is_replaced and number_of(one.described) == cursor["stages"]), None)
    return None


def as_drawn(one: Written, cursor: Mapping[str, int], pool: Iterable[Rows], earlier: Earlier) -> Iterator[Written]:
    """Yields a dataset as it would be if that had been drawn which was noted, in one way after the other."""
    one = _with_orders(one, one_order.as_noted(one.exchanged.orders, cursor))
    yield one
    # As a loader of Keras would have made it with these seeds.
    yield _with_stages(one, _reordered(one, cursor, earlier))
    columns = lists.as_noted([*one.lists.values()], pool, cursor)
    yield _with_stages(one, lists.with_columns(dict(zip(one.lists, columns, strict=False))))


def _of_others(one: Written, cursor: Mapping[str, int], earlier: Earlier) -> Iterator[Written]:
    """Yields a dataset as it would be of what was kept, and with noted seeds; nothing, if that is of no such."""
    rest, columns = iter(earlier.tensors()), dict[tf.data.Dataset, Sequence[tf.Tensor]]()
    for stage, own in lists.made_of(one.dataset, one.replaced).items():
        columns[stage] = [*itertools.islice(rest, len(own))]
        if not lists.are_alike(stage, columns[stage], own):
            return
    moved = _are_moved(one, earlier)
    others = [*itertools.islice(rest, len(one.of_functions.tensors))]
    found = one.of_functions.others(others, moved=moved) if others and earlier.same_program else NOTHING
    if found is None:
        return
    one = _with_orders(one, one_order.as_noted(one.exchanged.orders, cursor))
    for rows in lists.with_rows(one.dataset, columns):
        yield _with_stages(one, {**_reordered(one, cursor, earlier), **rows}, found)


def _are_moved(one: Written, earlier: Earlier) -> bool:
    """Returns whether it is made of other rows than were kept, or of these in another order."""
    made_of = itertools.chain(*lists.made_of(one.dataset, one.replaced).values())
    pairs = zip(earlier.tensors(), made_of, strict=False)  # behind the rows is what functions have
    return not all(then.shape == now.shape and is_same(now, then) for then, now in pairs)


def _reordered(one: Written, cursor: Mapping[str, int], earlier: Earlier) -> Replaced:
    then = [cursor[name] for i in range(len(cursor)) if (name := f"{SHUFFLED} {i}") in cursor]
    return reordered(one.dataset, then, functools.partial(is_set, same_program=earlier.same_program))


def _with_orders(one: Written, orders: Orders) -> Written:
    is_other = orders != one.exchanged.orders
    return one.with_others(dataclasses.replace(one.exchanged, orders=orders)) if is_other else one


def _with_stages(one: Written, stages: Replaced, functions: Instead = NOTHING) -> Written:
    return one.with_others(dataclasses.replace(one.exchanged, stages=stages, functions=functions))
