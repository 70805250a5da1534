"""What readers of files, and datasets of TensorFlow 1, are made of is seen: they are stages that stand for others."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import tensorflow as tf

from hooks import Checkpoint
from loop import Loop, StreamData
from loop.data.pipelines.recalled import as_drawn, places_of_rows
from loop.data.pipelines.written import Written
from loop.exact.pipeline_hash import described
from loop.state.differences import differences
from loop.state.rows_in_memory import KeptRows
from loop.tensors import text_of

Dataset, Old = tf.data.Dataset, tf.compat.v1.data
CSV = tf.data.experimental.CsvDataset
READERS: dict[str, Callable[[Sequence[str]], Dataset]] = {
    "lines": tf.data.TextLineDataset,
    "lines, several files at once": lambda names: tf.data.TextLineDataset(names, num_parallel_reads=2),
    "records": tf.data.TFRecordDataset,
    "records, as many files at once as the cores allow": lambda names: tf.data.TFRecordDataset(
        names, num_parallel_reads=tf.data.AUTOTUNE
    ),
    "records of one length": lambda names: tf.data.FixedLengthRecordDataset(names, 1),
    "table": lambda names: CSV(names, [tf.string]),
    "lines, in TensorFlow 1": Old.TextLineDataset,
    "records, in TensorFlow 1": Old.TFRecordDataset,
    "records of one length, in TensorFlow 1": lambda names: Old.FixedLengthRecordDataset(names, 1),
    "names, in TensorFlow 1": lambda names: Old.Dataset.from_tensor_slices(names).flat_map(tf.data.TextLineDataset),
}


def files(directory: Path, *texts: str) -> list[str]:
    for number, text in enumerate(texts):
        (directory / str(number)).write_text(text)
    return [str(directory / str(number)) for number in range(len(texts))]


@pytest.mark.parametrize("name", READERS)
def test_other_files_and_another_order_of_them_are_other_data(name: str, tmp_path: Path) -> None:
    def read(names: Sequence[str]) -> list[str]:
        return described(READERS[name](names).shuffle(9, seed=1).batch(2))

    names = files(tmp_path, "a\nb\n", "c\nd\n")
    first = read(names)
    assert read(names) == first
    assert read(names[::-1]) != first
    files(tmp_path, "a\nx\n")
    assert read(names) != first


@pytest.mark.parametrize("name", [name for name in READERS if name != "table"])
def test_names_of_files_are_rows_which_the_next_process_may_have_in_another_order(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loop.data.orders.lists.may_move", lambda rows: True)  # as in a process without a seed
    names = files(tmp_path, "a\nb\n", "c\nd\n", "e\nf\n")
    then, now = (Written(READERS[name](each).batch(2), threading.Event()) for each in (names, names[::-1]))
    cursor = places_of_rows(then, [*then.lists.values()])
    kept = KeptRows("", dict, lambda: None, same_program=True)
    (same,) = (one for one in as_drawn(now, cursor, [*now.lists.values()], kept) if one.described == then.described)
    assert same.of(1, 0, 1).element_spec == now.dataset.element_spec


def of_captured(names: Sequence[str]) -> Dataset:
    held = tf.constant(names)
    return Dataset.range(2).map(lambda i: tf.io.read_file(held[i]))


def of_dataset(names: Sequence[str]) -> Dataset:
    lines = tf.data.TextLineDataset(names)
    return Dataset.range(2).flat_map(lambda i: lines.skip(i))


NAMED: dict[str, Callable[[Sequence[str]], Dataset]] = {
    "a list": lambda names: Dataset.range(2).map(lambda i: tf.io.read_file(tf.gather(names, i))),
    "a tensor": of_captured,
    "one": lambda names: Dataset.range(2).map(lambda i: (i, tf.io.read_file(names[0]))),
    "a reader within": lambda names: Dataset.range(2).flat_map(lambda i: tf.data.TextLineDataset(names)),
    "a dataset from outside": of_dataset,
}


@pytest.mark.parametrize("name", NAMED)
def test_files_that_functions_name_are_compared(name: str, tmp_path: Path) -> None:
    def told() -> object:
        data = StreamData(NAMED[name](names).batch(2))
        return data.describe()["files"]

    names = files(tmp_path, "a\nb\n", "c\nd\n")
    first = told()
    assert told() == first
    files(tmp_path, "a\nx\n")
    assert told() != first
    assert "files" not in StreamData(Dataset.range(2).map(lambda i: (i, "a")).batch(2)).describe()


def test_that_they_were_edited_is_refused_and_where_nothing_is_known_of_them_it_is_not(tmp_path: Path) -> None:
    def loop() -> Loop:
        return Loop(
            lambda x: {"n": tf.size(x)}, NAMED["a list"](names).batch(1), state={}, hooks=[Checkpoint(tmp_path)]
        )

    names = files(tmp_path, "a", "b")
    loop().run(steps=1)
    files(tmp_path, "x")
    with pytest.raises(ValueError, match="data: files that its functions name are not what they were"):
        loop().run(steps=2)
    files(tmp_path, "a")
    assert loop().run(steps=2).step == 2
    then, now = ({"state": {}, "variables": {}, "data": data, "seed": {}, "steps": {}} for data in ({}, {"files": "1"}))
    assert differences(then, now).numbers == []


def test_how_many_files_are_read_at_once_where_the_cores_decide_is_known(tmp_path: Path) -> None:
    names = files(tmp_path, "a", "b")
    for reader in (tf.data.TextLineDataset, tf.data.TFRecordDataset):
        read = Written(reader(names, num_parallel_reads=tf.data.AUTOTUNE).batch(2), threading.Event())
        assert read.at_once(9) == [3]
        assert read.at_once(1) == [1]


def test_saved_datasets_have_dicts_in_any_order_and_are_the_same_data() -> None:
    specs = [{"b": tf.TensorSpec([]), "a": (tf.TensorSpec([1]),)}, {"a": (tf.TensorSpec([1]),), "b": tf.TensorSpec([])}]
    assert str(specs[0]) != str(specs[1]) == text_of(specs[0]) == text_of(specs[1])
    for spec in (tf.TensorSpec([2]), (), (tf.TensorSpec([]), {}), [tf.RaggedTensorSpec([None, None])]):
        assert text_of(spec) == str(spec)
    rows = [Dataset.from_tensors(dict.fromkeys(keys, 1)).map(lambda x: x) for keys in ("ab", "ba")]
    assert described(rows[0]) == described(rows[1])
