"""What has the order of a set, which is another one in each process, is found."""

import random
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from loop import Loop
from loop.exact import set_order
from loop.exact.reach import Reach
from loop.exact.set_order import globals_in_set_order, has_order_of_set, warn_of_sets
from loop.exact.text import Text, _orders_sets
from loop.state.settled import is_settled


@pytest.fixture(autouse=True)
def _with_an_order_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("loop.exact.set_order", "loop.state.settled"):
        monkeypatch.setattr(f"{place}.is_other_each_time", lambda: True)


def words(count: int, seed: int) -> list[str]:
    drawn = random.Random(seed)
    return [f"{drawn.getrandbits(40):x}" for _ in range(count)]


@pytest.mark.parametrize("count", [30, 100, 1_000, 20_000])
def test_the_order_of_a_set_is_known(count: int) -> None:
    found, half = list[bool](), count // 2
    for seed in range(100 if count < 1_000 else 5):
        given = words(count, seed)
        sets = (set(given + given[::2]), {*given[:half]} | {*given[half:]}, frozenset(given))
        found += [has_order_of_set(list(each)) for each in sets]
        assert not has_order_of_set(sorted(given))
        assert not has_order_of_set(given)
        assert not has_order_of_set([*sets[0], given[0]])
    assert np.mean(found) > (0.9 if count > 30 else 0.5)  # where many meet in a small table, it looks like any other


def test_few_words_and_numbers_are_in_no_such_order() -> None:
    assert not has_order_of_set(list(set(words(11, 1))))
    assert not has_order_of_set(list({*range(0, 1_000, 7)}))


@pytest.mark.parametrize(
    ("value", "is_found"),
    [
        (lambda names: names, True),
        (lambda names: {name: i for i, name in enumerate(names)}, True),
        (lambda names: dict(enumerate(names)), True),
        (np.array, True),
        (sorted, False),
        (lambda names: {name: i for i, name in enumerate(sorted(names))}, False),
        (set, False),
    ],
)
def test_what_the_script_has_in_such_an_order_is_named_and_its_rows_are_kept(
    value: Callable[[list[str]], object], is_found: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    keras.utils.set_random_seed(1)
    monkeypatch.setattr(sys.modules["__main__"], "names", value(list(set(words(40, 1)))), raising=False)
    assert globals_in_set_order() == ["names"] * is_found
    assert is_settled() == (not is_found)


def test_a_file_that_is_a_mapping_is_not_read_and_may_be_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with h5py.File(tmp_path / "rows.h5", "w") as file:
        file["rows"] = np.arange(3)
    monkeypatch.setattr(sys.modules["__main__"], "file", file, raising=False)
    assert globals_in_set_order() == []
    assert Reach([lambda: file]).containers == []


def test_of_a_program_that_hashes_texts_rows_are_kept_and_the_next_process_is_told_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for place in ("loop.exact.set_order", "loop.state.settled"):
        monkeypatch.setattr(f"{place}.hashes", lambda: ["hash(word), in rows"])
    warn_of_sets([])
    assert "The program calls hash, which gives another number for a text in each process: hash(word)" in caplog.text
    assert not is_settled()


@pytest.mark.parametrize("ordered", [list, sorted])
@pytest.mark.parametrize("where", ["map", "step"])
def test_a_vocabulary_in_such_an_order_is_refused(ordered: Callable[[set[str]], list[str]], where: str) -> None:
    given = words(40, 1)
    number = keras.layers.StringLookup(vocabulary=ordered(set(given)), name="words")
    data = tf.data.Dataset.from_tensor_slices(given)
    if where == "map":
        loop = Loop(lambda x: {"x": tf.size(x)}, data.map(number), state={})
    else:
        loop = Loop(lambda x: {"x": tf.reduce_sum(number(x))}, data, state={})
    found = [finding.what for finding in loop.audit()]
    assert ["layer 'words', whose vocabulary has the order of a set" in what for what in found] == [True] * (
        ordered is list
    )


@pytest.mark.parametrize(("orders_sets", "is_said"), [(True, True), (False, False)])
def test_a_few_words_in_such_an_order_are_warned_of_if_the_program_goes_through_a_set(
    orders_sets: bool, is_said: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(set_order, "program_text", lambda: Text(1, draws=False, orders_sets=orders_sets))
    given = next(names for seed in range(99) if [*{*(names := [*{*words(6, seed)}])}] == names != sorted(names))
    number = keras.layers.StringLookup(vocabulary=given, name="few")
    data = tf.data.Dataset.from_tensor_slices(given).map(number)
    assert Loop(lambda x: {"x": tf.size(x)}, data, state={}).audit() == []
    assert ["the vocabulary of 'few' has the order of a set" in caplog.text] == [is_said]


def test_a_process_whose_hash_seed_is_given_has_one_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("PYTHONHASHSEED", "3")
    assert not set_order.is_other_each_time()
    monkeypatch.delenv("PYTHONHASHSEED")
    assert set_order.is_other_each_time() == bool(sys.flags.hash_randomization)


@pytest.mark.parametrize(
    ("text", "is_found"),
    [
        ("names = list(set(labels))", True),
        ("numbers = {name: i for i, name in enumerate(set(labels))}", True),
        ("kinds = {label for label in labels}\nfor kind in kinds: print(kind)", True),
        ("numbers = dict(zip({'a', 'b'}, range(2)))", True),
        ("names = sorted(set(labels))", False),
        ("numbers = {name: i for i, name in enumerate(sorted(set(labels)))}", False),
        ("count = len(set(labels)); known = name in set(labels)", False),
        ("options = {'set': 1}\nlist(options)", False),
        ("print 'set('", False),
    ],
)
def test_a_text_that_goes_through_a_set_is_known(text: str, is_found: bool) -> None:
    assert _orders_sets(text.encode()) == is_found


PARTS, NUMBERS = {"first", "second"}, {1, 2}


class Holds:
    def __init__(self) -> None:
        self.parts = frozenset(PARTS)

    def step(self, x: int) -> list[str]:
        return [f"{each}_loss" for each in self.parts]


def by_name(x: int) -> list[str]:
    for each in PARTS:
        if len(each) > x:
            return [each]
    return []


def in_place(x: int) -> list[str]:
    return [f"{each}_loss" for each in {"first", "second", "third"}]


@pytest.mark.parametrize(
    ("step", "named"),
    [
        (by_name, "PARTS, in by_name"),
        (lambda x: [f"{each}_loss" for each in PARTS], "PARTS, in <lambda>"),
        (Holds().step, "parts, in Holds.step"),
        (in_place, "in in_place"),
        (lambda x: [f"{each}_loss" for each in sorted(PARTS)], ""),
        (lambda x: [each + 1 for each in NUMBERS], ""),
        (lambda x: x in PARTS, ""),
    ],
)
def test_a_step_that_goes_through_a_set_is_told(
    step: Callable[[int], object], named: str, caplog: pytest.LogCaptureFixture
) -> None:
    warn_of_sets([step])
    told = [record.getMessage() for record in caplog.records]
    assert [named in line for line in told] == [True] * bool(named)
