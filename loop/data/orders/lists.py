"""The orders of rows that data are made of, such as names of files, which a program may have shuffled before.

Whoever writes `random.shuffle(files)` in a process without a seed has another order in the next one. So there the order
is in the checkpoint, and the next start puts the same rows into it. Which of the rows are trained on, and which belong
to an evaluation, may have been drawn as well: rows come from all that the data of a loop are made of.
"""

import itertools
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import tensorflow as tf

from loop.data.orders.rows import Rows
from loop.exact.pipeline import stages
from loop.exact.text import program_text
from loop.state.randomness import drawn_since_seed
from loop.state.resumable import Earlier
from loop.state.rows_in_memory import OF_ANOTHER
from loop.tf_internals import buffer_of, kind_of, tensors_of, with_buffer

NAME = "row"  # begins the names of notes, of which each is a number that has three places in it
BITS, TOGETHER = 17, 3
MOST, LARGEST = 2**16, 2**31  # rows of all lists, and bytes of one, of which digests take two seconds
SAMPLE, SHUFFLED = 1_000, (0.3, 0.7)  # rows; the part of them that come before the one ahead, where they are shuffled
log = logging.getLogger("exactloop")
NOT_NOTED = (
    "The data are made of more than %s rows that have been shuffled, it seems, in a process without a seed: a process "
    "that shuffles them otherwise cannot resume this run. Call keras.utils.set_random_seed(1) before they are shuffled."
)
AS_DRAWN = "%s in the order that was drawn, without a seed, when the run began."
OF_A_SPLIT = (
    " This process has split off others: what the program itself does with its part, such as a test when the run is "
    "over, is done with rows that were trained on. Call keras.utils.set_random_seed(1) at its beginning, in new runs."
)
CHANGED = " The program was changed since: if you have set another order, start afresh in another directory."
SLICES, ONE, LIST = "TensorSlice", "Tensor", "List"  # the kinds of stages that are made of tensors
MAKES = {
    SLICES: tf.data.Dataset.from_tensor_slices,
    ONE: tf.data.Dataset.from_tensors,
    LIST: tf.data.experimental.from_list,
}
Lists = Mapping[tf.data.Dataset, Rows]  # by the stage that has them
Columns = Mapping[tf.data.Dataset, Sequence[tf.Tensor]]  # the same


def lists(
    dataset: tf.data.Dataset, replaced: Mapping[tf.data.Dataset, tf.data.Dataset] = MappingProxyType({})
) -> Lists:
    """Returns the rows that a dataset is made of.

    Args:
        dataset: The dataset.
        replaced: By stage, another one that stands in its place.
    """
    found = made_of(dataset, replaced, kinds=(SLICES, LIST)).items()
    return {stage: Rows(columns) for stage, columns in found if _is_plain(stage)}


def made_of(
    dataset: tf.data.Dataset,
    replaced: Mapping[tf.data.Dataset, tf.data.Dataset] = MappingProxyType({}),
    *,
    kinds: Sequence[str] = (SLICES, ONE, LIST),
) -> Columns:
    """Returns, by stage, the tensors that a dataset is made of, whether they are rows or one element.

    Of ragged and sparse ones, those are what they consist of.

    Args:
        dataset: The dataset.
        replaced: By stage, another one that stands in its place.
        kinds: Of which stages.
    """
    found = (stage for stage in stages(dataset) if kind_of(stage) in kinds and _is_known(stage))
    return {stage: _columns(replaced.get(stage, stage)) for stage in found}


def _is_known(stage: tf.data.Dataset) -> bool:
    """Returns whether a stage can be made of tensors, which its elements say."""
    specs = tf.nest.flatten(stage.element_spec)
    if kind_of(stage) == LIST:
        return _is_plain(stage) and all(spec.shape.is_fully_defined() for spec in specs)
    return all(isinstance(spec, tf.TensorSpec | tf.RaggedTensorSpec | tf.SparseTensorSpec) for spec in specs)


def _is_plain(stage: tf.data.Dataset) -> bool:
    return all(type(spec) is tf.TensorSpec for spec in tf.nest.flatten(stage.element_spec))


def _columns(stage: tf.data.Dataset) -> Sequence[tf.Tensor]:
    tensors, width = tensors_of(stage), len(tf.nest.flatten(stage.element_spec))
    if kind_of(stage) == LIST:
        return [tf.stack(tensors[i::width]) for i in range(width)]  # one row after the other
    # TensorFlow keeps ragged and sparse rows as variants, of which nobody can save any.
    return tensors if _is_plain(stage) else tf.nest.flatten(_whole(stage).get_single_element(), expand_composites=True)


def _whole(stage: tf.data.Dataset) -> tf.data.Dataset:
    """Returns a dataset of one element, which is all that a stage is made of."""
    return stage if kind_of(stage) == ONE else stage.batch(int(stage.cardinality()))


def noted(rows: Sequence[Rows], pool: Iterable[Rows] = ()) -> dict[str, int]:
    """Returns, as numbers, which rows stand where; nothing, if there are many.

    Args:
        rows: The rows, in their lists.
        pool: More rows, which belong to other data of the loop.
    """
    if sum(each.count for each in rows) > MOST:
        if any(_looks_shuffled(column) for each in rows for column in each.columns):
            log.warning(NOT_NOTED, f"{MOST:,}")
        return {}
    if any(each.size > LARGEST for each in rows):  # `warn_of_rows` says so
        return {}
    known = [(each, np.unique(_digests(_alike(each, pool)))) for each in rows]
    # A row is known by where its digest is among all digests, sorted: 17 bits, three to a note.
    places = [place for each, all_rows in known for place in np.searchsorted(all_rows, each.digests).tolist()]
    parts = [places[i : i + TOGETHER] for i in range(0, len(places), TOGETHER)]
    return {f"{NAME} {i}": sum(place << BITS * j for j, place in enumerate(part)) for i, part in enumerate(parts)}


def may_move(rows: Iterable[Rows]) -> bool:
    """Returns whether another process may have rows elsewhere: it has no seed, or they were shuffled before it had."""
    since = drawn_since_seed()
    shuffled = (
        each.count > since + 1 and any(map(_looks_shuffled, each.columns)) for each in rows if since is not None
    )
    return since is None or any(shuffled)


def as_noted(rows: Sequence[Rows], pool: Iterable[Rows], cursor: Mapping[str, int]) -> list[list[tf.Tensor]]:
    """Returns the columns of each list, with the rows of which there are notes; nothing, if there are other rows."""
    parts = [cursor[name] for i in range(len(cursor)) if (name := f"{NAME} {i}") in cursor]
    places = np.array([part >> BITS * j & (2**BITS - 1) for part in parts for j in range(TOGETHER)], np.int64)
    found, at = list[list[tf.Tensor]](), 0
    for each in rows:
        alike, wanted, at = _alike(each, pool), places[at : at + each.count], at + each.count
        if len(wanted) < each.count:  # more rows than were noted
            return []
        all_rows, where = np.unique(_digests(alike), return_index=True)
        # Others: nothing is moved, and what is compared next says so.
        if wanted.max() >= len(all_rows):
            return []
        columns = zip(*(other.columns for other in alike), strict=True)
        found.append([tf.gather(tf.concat(column, axis=0), where[wanted]) for column in columns])
    return found


def say_order(what: str, earlier: Earlier, pairs: Iterable[tuple[Rows, Rows]]) -> None:
    """Says that rows are where they were when the run began: a warning, if somebody may be misled by that.

    Args:
        what: Which rows.
        earlier: What was kept.
        pairs: The rows as this process has them, and as they were when the run began.
    """
    OF_ANOTHER.set()
    is_other = [not np.array_equal(np.sort(now.digests), np.sort(then.digests)) for now, then in pairs]
    split = OF_A_SPLIT if any(is_other) else ""
    changed = "" if earlier.same_program or not program_text().number else CHANGED
    log.log(logging.WARNING if changed or split else logging.INFO, AS_DRAWN + changed + split, what)


def are_alike(stage: tf.data.Dataset, columns: Sequence[tf.Tensor], others: Sequence[tf.Tensor]) -> bool:
    """Returns whether a stage can be made of columns in the place of others: of rows there may be another number."""
    first = 0 if kind_of(stage) == ONE and _is_plain(stage) else 1
    kinds = [[(each.dtype, each.shape[first:]) for each in side] for side in (columns, others)]
    return kinds[0] == kinds[1] and len({each.shape[0] for each in columns} if first and _is_plain(stage) else [0]) == 1


def with_columns(columns: Columns) -> Mapping[tf.data.Dataset, tf.data.Dataset]:
    """Returns by stage what stands in its place, so that it has these columns."""
    made = dict[tf.data.Dataset, tf.data.Dataset]()
    for stage, each in columns.items():
        make, spec = MAKES[kind_of(stage)], stage.element_spec
        if kind_of(stage) == LIST:
            made[stage] = make(
                [tf.nest.pack_sequence_as(spec, row) for row in zip(*map(tf.unstack, each), strict=True)]
            )
        else:
            spec = spec if _is_plain(stage) else _whole(stage).element_spec
            made[stage] = make(tf.nest.pack_sequence_as(spec, [*each], expand_composites=True))
    return made


def with_rows(dataset: tf.data.Dataset, columns: Columns) -> Iterator[Mapping[tf.data.Dataset, tf.data.Dataset]]:
    """Yields the same; then, if there are more or fewer rows, with `shuffle(len(rows))` as of so many."""
    made = with_columns(columns)
    yield made
    counts = {len(_columns(stage)[0]): len(each[0]) for stage, each in columns.items() if _is_rows(stage)}
    buffers = {stage: buffer_of(stage) for stage in stages(dataset) if kind_of(stage) == "Shuffle"}
    if others := {stage: counts[size] for stage, size in buffers.items() if counts.get(size, size) != size}:
        yield {**made, **{stage: with_buffer(stage, size) for stage, size in others.items()}}


def _is_rows(stage: tf.data.Dataset) -> bool:
    return kind_of(stage) != ONE and _is_plain(stage)


def _alike(rows: Rows, pool: Iterable[Rows]) -> list[Rows]:
    """Returns these rows and others of which they may have been, if they can all be told apart by few bits."""
    alike = [rows, *(each for each in pool if each is not rows and each.kind == rows.kind and each.size <= LARGEST)]
    return alike if sum(each.count for each in alike) < 2**BITS else [rows]


def _digests(rows: Iterable[Rows]) -> np.ndarray:
    return np.concatenate([each.digests for each in rows])


def _looks_shuffled(tensor: tf.Tensor) -> bool:
    """Returns whether rows are names of files or numbers of rows, all different, up and down."""
    if tensor.shape.rank != 1 or not (tensor.dtype == tf.string or tensor.dtype.is_integer):
        return False
    if tensor.dtype == tf.string:
        # Names of files have a separator, or all the same ending.
        rows = [bytes(row) for row in tensor[:SAMPLE].numpy()]
        if not all(b"/" in row or b"\\" in row for row in rows) and len({_ending(row) for row in rows}) > 1:
            return False
    else:
        # Numbers of rows are all from some number on, each once.
        rows, every = tensor[:SAMPLE].numpy().tolist(), np.sort(tensor.numpy())
        if not np.array_equal(every, np.arange(every[0], every[0] + len(every))):
            return False
    down = sum(after < before for before, after in itertools.pairwise(rows)) / len(rows)
    return len({*rows}) == len(rows) and SHUFFLED[0] < down < SHUFFLED[1]


def _ending(name: bytes) -> bytes:
    _, dot, ending = name.rpartition(b".")
    return ending if dot and ending.isalnum() else name
