"""Pipelines that read files: records, lines and columns."""

from pathlib import Path

import tensorflow as tf

from pipelines.cases import BATCH, HEADER, ROWS, Dataset, Source, pipeline, records, texts


@pipeline("TFRecord files")
def _(files: Path) -> Source:
    return tf.data.TFRecordDataset([records(files, "a", count=6), records(files, "b", count=10)]).batch(BATCH)


@pipeline("TFRecord files, GZIP, parallel, shuffled")
def _(files: Path) -> Source:
    names = [records(files, name, "GZIP", count=8) for name in ("a", "b")]
    return tf.data.TFRecordDataset(names, "GZIP", num_parallel_reads=2).shuffle(8, seed=1).batch(BATCH)


@pipeline("TFRecord files by interleave")
def _(files: Path) -> Source:
    names = [records(files, name, count=8) for name in ("a", "b")]
    return Dataset.from_tensor_slices(names).interleave(tf.data.TFRecordDataset, cycle_length=2).batch(BATCH)


@pipeline("lines of text")
def _(files: Path) -> Source:
    return tf.data.TextLineDataset(texts(files, "a")).batch(BATCH)


@pipeline("files found by pattern")
def _(files: Path) -> Source:
    for name in "abcd":
        texts(files, f"{name}.txt", 4)
    found = Dataset.list_files(str(files / "*.txt"), seed=1)
    return found.interleave(tf.data.TextLineDataset, cycle_length=2).batch(BATCH)


@pipeline("files found by pattern, no seed at all")
def _(files: Path) -> Source:
    tf.random.set_seed(None)
    for name in "abcd":
        texts(files, f"{name}.txt", 4)
    found = Dataset.list_files(str(files / "*.txt"))
    return found.interleave(tf.data.TextLineDataset, cycle_length=2).batch(BATCH)


@pipeline("files found by pattern, in their order")
def _(files: Path) -> Source:
    for name in "abcd":
        texts(files, f"{name}.txt", 4)
    return Dataset.list_files(str(files / "*.txt"), shuffle=False).flat_map(tf.data.TextLineDataset).batch(BATCH)


@pipeline("records of fixed length")
def _(files: Path) -> Source:
    (files / "fixed").write_bytes(bytes(range(32)))
    return tf.data.FixedLengthRecordDataset(str(files / "fixed"), 2).batch(BATCH)


@pipeline("files read in a function")
def _(files: Path) -> Source:
    names = [texts(files, f"{name}.txt", 2) for name in "abcdefgh"]
    return Dataset.from_tensor_slices(names).shuffle(8, seed=1).map(tf.io.read_file, num_parallel_calls=2).batch(2)


def columns(files: Path, header: bool) -> str:
    lines = ["x,y"] * header + [f"{i},{i * i}" for i in range(ROWS)]
    (files / "a.csv").write_text("".join(f"{line}\n" for line in lines))
    return str(files / "a.csv")


@pipeline("columns of text")
def _(files: Path) -> Source:
    return tf.data.experimental.CsvDataset(columns(files, False), [tf.int32, tf.int32]).batch(BATCH)


@pipeline("columns of text with a header")
def _(files: Path) -> Source:
    return tf.data.experimental.CsvDataset(columns(files, True), [tf.int32, tf.int32], header=True).batch(BATCH)


def csv_batches(files: Path, header: bool) -> Dataset:
    return tf.data.experimental.make_csv_dataset(
        columns(files, header), BATCH, ["x", "y"], header=header, num_epochs=1, shuffle_buffer_size=8, shuffle_seed=1
    )


@pipeline("columns of text by name")
def _(files: Path) -> Source:
    return csv_batches(files, False)


@pipeline("columns of text by name, with a header")
def _(files: Path) -> Source:
    return csv_batches(files, True)


@pipeline("lines of text without the first, decoded")
def _(files: Path) -> Source:
    lines = tf.data.TextLineDataset(columns(files, True)).skip(1)
    return lines.map(lambda line: tf.io.decode_csv(line, [0, 0])).batch(BATCH)


@pipeline("columns of text with a header, saved", HEADER, resume="state")
def _(files: Path) -> Source:
    return tf.data.experimental.CsvDataset(columns(files, True), [tf.int32, tf.int32], header=True).batch(BATCH)


@pipeline("columns of text by name, with a header, saved", HEADER, resume="state")
def _(files: Path) -> Source:
    return csv_batches(files, True)
