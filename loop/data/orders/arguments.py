"""The numbers that data and the stages of pipelines are given, such as the size of batches: some may have been drawn.

They are in the notes of a program that has no seed, and of which the text says that it draws them. So its next process
goes on with the numbers that the first one drew, and says so: the text cannot tell what is set elsewhere, as in a file.
"""

import functools
import logging
from collections.abc import Collection, Iterator, Mapping

import tensorflow as tf

from loop.exact.drawn_names import TAKEN, drawn_arguments
from loop.exact.given import is_given
from loop.exact.pipeline import stages
from loop.exact.pipeline_hash import CHANGES_NOTHING
from loop.state.resumable import Earlier
from loop.state.settled import seed_decides
from loop.tf_internals import kind_of, numbers_of, with_numbers

log = logging.getLogger("exactloop")
NAME = "argument"  # begins the names of notes
METHODS = frozenset(
    (
        *("batch", "padded_batch", "ragged_batch", "unbatch", "window", "take", "skip", "shard", "range", "repeat"),
        *("shuffle", "interleave", "flat_map", "bucket_by_sequence_length", "group_by_window", "rebatch"),
    )
)


def noted(dataset: tf.data.Dataset, replaced: Mapping[tf.data.Dataset, tf.data.Dataset]) -> dict[str, int]:
    """Returns these numbers, to be noted; nothing, if they are not drawn, as far as the text of the program says.

    Args:
        dataset: The dataset.
        replaced: By stage, another one that stands in its place.
    """
    drawn = _drawn()
    places = enumerate(_numbers(dataset)) if drawn else ()
    own = [(i, replaced.get(stage, stage), name) for i, (stage, name, _) in places if _is_made_by(stage, drawn)]
    return {f"{NAME} {i}": numbers_of(stage)[name] for i, stage, name in own}


def as_noted(dataset: tf.data.Dataset, cursor: Mapping[str, int]) -> Mapping[tf.data.Dataset, tf.data.Dataset]:
    """Returns, by stage, what stands in its place, so that it has the numbers in the notes; nothing, if all have."""
    found = dict[tf.data.Dataset, dict[str, int]]()
    for i, (stage, name, number) in enumerate(_numbers(dataset)):
        if (then := cursor.get(f"{NAME} {i}", number)) != number and not is_given(number):
            found.setdefault(stage, {})[name] = then
    return {stage: with_numbers(stage, numbers) for stage, numbers in found.items()}


def said(dataset: tf.data.Dataset, numbers: Mapping[tf.data.Dataset, tf.data.Dataset]) -> list[str]:
    """Returns in words what stages have been given in the place of their own numbers; see `as_noted`."""
    own = [(stage, name, number) for stage, name, number in _numbers(dataset) if stage in numbers]
    then = [numbers_of(numbers[stage])[name] for stage, name, _ in own]
    return [
        f"{kind_of(stage)}, {name.strip('_')} {before}, in the place of {number}"
        for (stage, name, number), before in zip(own, then, strict=True)
        if before != number
    ]


@functools.cache
def _drawn() -> Collection[str]:
    """Returns the methods that the program gives what it draws; none, if it has a seed."""
    # Once in a process: it takes its time.
    return [] if seed_decides() else {each.function for each in drawn_arguments(METHODS) if each.of_object}


def _is_made_by(stage: tf.data.Dataset, methods: Collection[str]) -> bool:
    return any(each.replace("_", "") in kind_of(stage).lower() for each in methods)


def _numbers(dataset: tf.data.Dataset) -> Iterator[tuple[tf.data.Dataset, str, int]]:
    for stage in stages(dataset):
        if kind_of(stage) not in CHANGES_NOTHING:
            yield from ((stage, name, number) for name, number in sorted(numbers_of(stage).items()))


def is_drawn(owner: str, argument: str) -> bool:
    """Returns whether a process without a seed has drawn what it gives to data, as far as its text says."""
    # A loop hands on what it is given for a bare dataset.
    given = [] if seed_decides() else drawn_arguments(frozenset([owner, "Loop"]))
    return any(each.place == argument for each in given)


def is_taken_back(owner: str, argument: str, then: int, now: int, earlier: Earlier) -> bool:
    """Returns whether data go on with the number that they were given when the run began, and says so.

    Args:
        owner: The class of the data.
        argument: What they were given.
        then: The number when the run began.
        now: The present one.
        earlier: Says whether the program is the same.
    """
    is_other = then != now and earlier.same_program and not is_given(now) and is_drawn(owner, argument)
    if is_other:
        log.warning(TAKEN, f"{owner}({argument}={then}), in the place of {now}")
    return is_other
