"""Where a pipeline names the files that it reads, so that each of several workers can read some of them."""

import dataclasses

import tensorflow as tf

from loop.exact.pipeline import hidden_in, operations_in, stages
from loop.tf_internals import cache_file, inputs_of, kind_of, read_by

READS = frozenset(
    (
        *("TextLineDataset", "TFRecordDataset", "TFRecordDatasetV2", "FixedLengthRecordDataset"),
        *("FixedLengthRecordDatasetV2", "CSVDataset", "CSVDatasetV2", "ReadFile", "LMDBDataset"),
    )
)
WHOLE = ("Take", "Skip", "Shard", "AssertCardinality", "TakeWhile", "Unique")  # kinds that mean all that is read
AS_IN = (
    "tf.data.Dataset.list_files('data/*.tfrecord', shuffle=False).shuffle(1000, seed=1)"
    ".interleave(tf.data.TFRecordDataset, cycle_length=4)"
)
WITHOUT = "or leave out shard='files': each worker then reads all, and trains on its own rows of every batch"
NEEDS = (
    "StreamData(shard='files') gives each of several workers its own files: one stage has to read them, from the "
    "names that the stages below it yield. Received: a pipeline "
)


@dataclasses.dataclass(frozen=True)
class Share:
    """Which files a worker reads.

    Attributes:
        rank: The number of the worker.
        count: How many there are.
    """

    rank: int
    count: int


def listing(dataset: tf.data.Dataset, share: Share) -> tf.data.Dataset:
    """Returns the stage that yields the names of the files which the stage above it reads.

    Raises:
        ValueError: If there is no such stage, or there are several, or parts of files would be lost or read twice; with
            what to do.
    """
    if any(node.op in READS for node in hidden_in(dataset)):
        raise ValueError(
            f"{NEEDS}in which files are read by a dataset that a function has from outside, or that TensorFlow has "
            f"rewritten. Write {AS_IN}; {WITHOUT}."
        )
    readers = [stage for stage in stages(dataset) if any(op.type in READS for op in operations_in(stage))]
    if not readers:
        raise ValueError(f"{NEEDS}in which no stage is seen to read files by their names. Write {AS_IN}; {WITHOUT}.")
    if len(readers) > 1:  # whose names would lead to which rows?
        kinds = ", ".join(map(kind_of, readers))
        raise ValueError(
            f"{NEEDS}in which {len(readers)} stages read files: {kinds}. Read them in one, as in {AS_IN}; {WITHOUT}."
        )
    (reader,) = readers
    # From the top down to what reads: each stage above has to bear that there are fewer rows.
    stage = read_by(dataset)
    while stage is not reader:
        _check(stage)
        (stage,) = map(read_by, inputs_of(stage))
    (names,) = map(read_by, inputs_of(reader))
    # -1 and -2: no end, or nobody knows before they are read.
    if 0 <= (files := int(names.cardinality())) < share.count:
        raise ValueError(
            f"StreamData(shard='files') needs a file for each of the {share.count} workers. Received: {files}. Write "
            f"the data to more files, or start fewer workers; {WITHOUT}."
        )
    return names


def _check(stage: tf.data.Dataset) -> None:
    """Raises `ValueError` if a stage does not go with a part of the files."""
    kind = kind_of(stage)
    if len(inputs_of(stage)) > 1:
        raise ValueError(
            f"{NEEDS}that puts what it reads together with something else, in a stage of {kind}, which every worker "
            f"would have in full. Put that to the names of the files, before they are read; {WITHOUT}."
        )
    if kind in WHOLE:
        raise ValueError(
            f"{NEEDS}with a stage of {kind} behind the reading, which would do that to each worker's own rows. Take, "
            f"skip or split the names of the files instead, before they are read; {WITHOUT}."
        )
    # In memory, each worker's cache is its own.
    if kind == "Cache" and (file := cache_file(stage).numpy().decode()):
        raise ValueError(
            f"{NEEDS}with a cache in the file {file!r}, which all workers would fill with other rows. Write cache(), "
            f"in memory; {WITHOUT}."
        )
