"""Pipelines of which each of several workers reads files of its own: what is divided, and what is refused."""

import collections
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import pytest
import tensorflow as tf

from loop import StreamData
from loop.data.pipelines.epochs import EpochDatasets
from loop.rebuilt.files import Share
from loop.workers.cluster import Workers, become

LENGTHS = (5, 9, 3, 7, 2)
ROWS = sum(LENGTHS)
Dataset = tf.data.Dataset


@pytest.fixture
def files(tmp_path: Path) -> str:
    """Returns a pattern of the names of files, in which each row has a number."""
    numbers = iter(range(ROWS))
    for i, length in enumerate(LENGTHS):
        (tmp_path / f"{i}.txt").write_text("".join(f"{next(numbers)}\n" for _ in range(length)))
    return f"{tmp_path}/*.txt"


@pytest.fixture
def first_of_two() -> Iterator[None]:
    """Makes this process the first one of two, as far as it says so itself."""
    before = become(Workers(0, ("here:1", "there:2")))
    yield
    become(before)


def named(files: str) -> Dataset:
    return Dataset.list_files(files, shuffle=False)


def lines_of(text: tf.Tensor) -> Dataset:
    return Dataset.from_tensor_slices(tf.strings.split(tf.strings.strip(text), "\n"))


PIPELINES: dict[str, Callable[[str], Dataset]] = {
    "interleaved": lambda f: named(f).shuffle(9, seed=1).interleave(tf.data.TextLineDataset, cycle_length=2),
    "shuffled": lambda f: named(f).shuffle(9).interleave(tf.data.TextLineDataset, cycle_length=2).shuffle(8),
    "of a list": lambda f: tf.data.TextLineDataset(sorted(tf.io.gfile.glob(f)), num_parallel_reads=2).shuffle(3),
    "of names": lambda f: tf.data.TextLineDataset(Dataset.list_files(f)),
    "read whole": lambda f: named(f).shuffle(9).map(tf.io.read_file).flat_map(lines_of),
    "cached": lambda f: named(f).shuffle(9, seed=3).flat_map(tf.data.TextLineDataset).cache().shuffle(5, seed=4),
    "names repeated": lambda f: named(f).shuffle(9).repeat(3).flat_map(tf.data.TextLineDataset),
    "repeated": lambda f: named(f).shuffle(9).flat_map(tf.data.TextLineDataset).repeat(2).prefetch(2),
    "in any order": lambda f: named(f).shuffle(9).interleave(
        tf.data.TextLineDataset, num_parallel_calls=2, deterministic=False
    ),
}  # fmt: skip


def passes(source: EpochDatasets, count: int) -> list[list[int]]:
    """Returns the numbers of the rows of some passes."""
    found = []
    for epoch in range(count):
        found.append([int(row) for row in source.dataset(epoch)])
        source.ended(None)
    return found


@pytest.mark.more
@pytest.mark.parametrize("name", PIPELINES)
@pytest.mark.parametrize("count", [2, 3])
def test_each_row_is_read_by_one_worker(name: str, count: int, files: str) -> None:
    dataset = PIPELINES[name](files)
    sources = [EpochDatasets(dataset, None, saved=None, share=Share(rank, count)) for rank in range(count)]
    assert all(source.saved for source in sources)
    for source in sources:
        source.fix_seed()
    epochs = [passes(source, 2) for source in sources]
    repeats = {"names repeated": 3, "repeated": 2}.get(name, 1)
    for of_all in zip(*epochs, strict=True):
        rows = collections.Counter(row for own in of_all for row in own)
        assert rows == dict.fromkeys(range(ROWS), repeats)
        assert all(of_all)
        if repeats == 1:
            assert sum(len({*own}) for own in of_all) == ROWS


@pytest.mark.more
def test_a_function_of_the_epoch_is_divided(files: str) -> None:
    def of_epoch(epoch: int) -> Dataset:
        return named(files).shuffle(9, seed=epoch).flat_map(tf.data.TextLineDataset)

    epochs = [passes(EpochDatasets(of_epoch, None, saved=None, share=Share(rank, 2)), 3) for rank in range(2)]
    for of_all in zip(*epochs, strict=True):
        assert sorted(of_all[0] + of_all[1]) == list(range(ROWS))
    assert len({tuple(each) for each in epochs[0]}) == 3


@pytest.mark.more
def test_workers_draw_apart_behind_the_reading_and_alike_before(files: str) -> None:
    """The first one draws as a process by itself; and another start draws the same."""
    draws = keras.random.SeedGenerator(5)

    names = named(files).shuffle(9, seed=1).map(lambda name: (name, tf.random.uniform([], seed=2)))
    read = names.flat_map(lambda name, x: tf.data.TextLineDataset(name).map(lambda row: (row, x)))
    drawn = read.map(lambda row, x: (x, tf.random.uniform([]), keras.random.uniform([], seed=draws)))

    def numbers(share: Share | None) -> list[tuple[float, ...]]:
        source = EpochDatasets(drawn, None, saved=None, share=share)
        source.fix_seed()
        return [tuple(float(number) for number in row) for row in source.dataset(0)]

    alone, first, second = numbers(None), numbers(Share(0, 2)), numbers(Share(1, 2))
    of_names = [{x for x, _, _ in rows} for rows in (first, second)]
    assert of_names[0] | of_names[1] == {x for x, _, _ in alone}
    assert not of_names[0] & of_names[1]
    for i in (1, 2):
        assert [row[i] for row in first] == [row[i] for row in alone[: len(first)]]
        assert not {row[i] for row in first} & {row[i] for row in second}
    assert numbers(Share(1, 2)) == second


REFUSED: dict[str, tuple[Callable[[str], Dataset], str]] = {
    "no files": (lambda f: Dataset.range(8), "no stage is seen to read files by their names"),
    "only names": (named, "no stage is seen to read files by their names"),
    "two": (lambda f: Dataset.zip((tf.data.TextLineDataset(named(f)),) * 2), "puts what it reads together"),
    "two readers": (lambda f: tf.data.TextLineDataset(named(f)).concatenate(tf.data.TextLineDataset(named(f))),
        "in which 2 stages read files: FlatMap, FlatMap"),
    "with labels": (lambda f: Dataset.zip((tf.data.TextLineDataset(named(f)), Dataset.range(ROWS))),
        "together with something else, in a stage of Zip"),
    "part": (lambda f: tf.data.TextLineDataset(named(f)).take(5), "with a stage of Take behind the reading"),
    "rest": (lambda f: tf.data.TextLineDataset(named(f)).skip(5), "with a stage of Skip behind the reading"),
    "divided": (lambda f: tf.data.TextLineDataset(named(f)).shard(2, 0), "with a stage of Shard behind the reading"),
    "while": (lambda f: tf.data.TextLineDataset(named(f)).take_while(lambda row: row != "3"), "a stage of TakeWhile"),
    "once": (lambda f: tf.data.TextLineDataset(named(f)).unique(), "with a stage of Unique behind the reading"),
    "numbered": (lambda f: tf.data.TextLineDataset(named(f)).enumerate(), "in a stage of Zip"),
    "file of a cache": (lambda f: tf.data.TextLineDataset(named(f)).cache(f"{f[:-5]}cache"), "a cache in the file"),
    "from outside": (lambda f: Dataset.range(2).flat_map(_outside(f)), "read by a dataset that a function has"),
    "few": (lambda f: tf.data.TextLineDataset(named(f).take(1)), "a file for each of the 2 workers. Received: 1."),
}  # fmt: skip


def _outside(files: str) -> Callable[[tf.Tensor], Dataset]:
    read = tf.data.TextLineDataset(named(files))
    return lambda i: read.skip(i)


@pytest.mark.parametrize(("make", "said"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_divided_is_refused(
    make: Callable[[str], Dataset], said: str, files: str, first_of_two: None
) -> None:
    with pytest.raises(ValueError, match=r"StreamData\(shard='files'\)") as refused:
        StreamData(make(files), shard="files")
    assert said in str(refused.value)
    assert "or leave out shard='files'" in str(refused.value)
    StreamData(make(files))


def test_what_is_advised_is_divided(files: str, first_of_two: None) -> None:
    with pytest.raises(ValueError, match="no stage is seen to read files") as refused:
        StreamData(Dataset.range(8), shard="files")
    advice = str(refused.value).partition("Write ")[2].partition("; or")[0]
    advice = advice.replace("'data/*.tfrecord'", "files").replace("TFRecordDataset", "TextLineDataset")
    namespace = {"tf": tf, "files": files}
    data = StreamData(eval(advice, namespace), shard="files")  # noqa: S307, as it stands there
    assert data.share == Share(0, 2)


def test_what_only_reading_again_would_find_is_refused(files: str, first_of_two: None) -> None:
    read = named(files).flat_map(tf.data.TextLineDataset)
    python = read.map(lambda row: tf.py_function(lambda x: x, [row], tf.string))
    for dataset, resume in ((python, None), (read, "replay")):
        with pytest.raises(ValueError, match="saves the iterator of each worker, and TensorFlow saves none") as refused:
            StreamData(dataset, shard="files", resume=resume)
        assert "or leave out shard='files'" in str(refused.value)
    with pytest.raises(ValueError, match="is for one dataset"):
        StreamData(lambda epoch: read, shard="files", steps_per_epoch=3)


class Own(tf.data.Dataset):
    """A stage of somebody's own, of which nobody knows how it is made."""

    def __init__(self, rows: Dataset) -> None:
        self._rows = rows
        super().__init__(tf.data.experimental.to_variant(rows))

    def _inputs(self) -> list[Dataset]:
        return [self._rows]

    @property
    def element_spec(self) -> tf.TensorSpec:
        return self._rows.element_spec


def test_a_stage_that_nobody_can_make_anew_is_never_read_in_full_by_each(files: str, first_of_two: None) -> None:
    """Also where nothing is made anew for another reason, and with exact=False."""
    read = tf.data.TextLineDataset(named(files))
    with pytest.raises(ValueError, match="cannot make this pipeline anew for a part of its files: its stages have a"):
        StreamData(Own(read), shard="files")
    shuffled = StreamData(Own(read.shuffle(9, seed=1)), shard="files")
    with pytest.raises(ValueError, match="cannot make this pipeline anew for a part of its files: its stages have a"):
        shuffled.open(0)


def test_another_way_to_divide_is_refused(files: str) -> None:
    with pytest.raises(ValueError, match=r"StreamData\(shard=...\) must be 'files' or None. Received: 'rows'."):
        StreamData(tf.data.TextLineDataset(named(files)), shard="rows")  # type: ignore[arg-type]


def test_one_process_reads_all_as_without_it(files: str) -> None:
    def rows(shard: str | None) -> tuple[list[bytes], object]:
        tf.random.set_seed(1)
        read = named(files).shuffle(9).interleave(tf.data.TextLineDataset).shuffle(9).batch(3)
        data = StreamData(read, shard=shard)  # type: ignore[arg-type]
        data.open(0)
        return [row for batch in data.source for row in batch.numpy()], data.describe()

    assert rows("files") == rows(None)
    with pytest.raises(ValueError, match="no stage is seen to read files"):
        StreamData(Dataset.range(8).batch(2), shard="files")
