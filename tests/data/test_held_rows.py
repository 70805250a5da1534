"""Arrays, tensors and lists that Python in the data holds, put where they were in another process."""

import collections
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from loop import IndexedData
from loop.data.objects import held_rows
from loop.data.objects.held_rows import HeldRows
from loop.state.plain import Encoded
from loop.state.rows_in_memory import KeptRows


class Source:
    """Holds rows of a number, in many ways."""

    def __init__(self, number: float) -> None:
        self.x = np.full([6, 2], number)
        self.part = self.x[:4]
        self.pair = (self.x, [number, "text"])
        self.columns = {"y": np.array([number] * 3), "names": [f"{number}"]}
        self.tensor = tf.fill([2, 2], number)
        self.read_only = np.full([2], number)
        self.read_only.flags.writeable = False
        self.examples = [{"x": np.array([number]), "y": number}] * 3
        self.alike = self.examples
        self.options = {"rate": number}
        self.scale, self.name, self.nothing = number, f"{number}", list[int]()
        self.objects = [object(), number]
        self.counts = collections.Counter({"a": number})
        self.function = self._closed(np.array([number]))

    @staticmethod
    def _closed(rows: np.ndarray) -> Callable[[], np.ndarray]:
        return lambda: rows


KEPT = ("x", "part", "pair", "columns", "tensor", "read_only", "examples", "alike")


def said(source: Source) -> dict[str, str]:
    """Returns what a source holds, as texts."""
    plain: dict[str, Any] = {**vars(source), "rows": source.function(), "tensor": source.tensor.numpy()}
    del plain["function"], plain["objects"], plain["counts"]
    return {name: f"{Encoded(value, '').text} {Encoded(value, '').data.tobytes()!r}" for name, value in plain.items()}


def test_rows_are_put_where_they_were_and_taken_back() -> None:
    then, now = Source(1.0), Source(2.0)
    before, as_now, rows = said(then), said(now), HeldRows([now])
    x, go_back = now.x, rows.mark()
    rows.put(HeldRows([then]).tensors())
    found = said(now)
    assert {name for name in found if found[name] == before[name]} == {*KEPT, "rows", "nothing"}
    assert {name for name in found if found[name] == as_now[name]} == {"options", "scale", "name", "nothing"}
    assert now.x is x  # whoever has it, has the rows
    assert now.alike is now.examples
    assert now.pair[0] is x
    assert np.shares_memory(now.part, x)
    go_back()
    assert said(now) == as_now


def test_what_is_left_out_stays() -> None:
    then, now = Source(1.0), Source(2.0)
    HeldRows([now]).put(HeldRows([then]).tensors(), ["[0].tensor"])
    assert now.tensor.numpy().tolist() == [[2.0, 2.0]] * 2
    assert now.x[0, 0] == 1.0


def test_other_rows_and_another_number_of_them_go_into_the_names() -> None:
    then, now = Source(1.0), Source(2.0)
    then.x, now.examples = np.ones([9, 2]), [{"x": np.array([3.0]), "y": 3.0}]
    HeldRows([now]).put(HeldRows([then]).tensors())
    assert now.x.shape == (9, 2)
    assert len(now.examples) == 3


def test_too_much_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(HeldRows([Source(1.0)]).tensors()) == 2
    monkeypatch.setattr(held_rows, "LARGEST", 100)
    assert HeldRows([Source(1.0)]).tensors() == []
    assert HeldRows([]).tensors() == []


def test_a_list_or_an_array_itself_is_taken_over() -> None:
    for then, now in (([1.0, 2.0], [3.0]), (np.ones(3), np.zeros(3))):
        HeldRows([now]).put(HeldRows([then]).tensors())
        assert np.array_equal(then, now)


class Summed:
    """Rows of which the code knows how many columns they have."""

    def __init__(self, columns: int) -> None:
        self.rows, self.columns = np.arange(8.0 * columns).reshape([8, columns]), columns

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> np.ndarray:
        return self.rows[number] @ np.ones(self.columns)


def test_rows_with_which_no_item_can_be_read_are_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loop.data.python.item_rows.is_settled", lambda: False)
    then, now = (IndexedData(Summed(columns), batch_size=2, seed=1) for columns in (2, 3))
    kept = dict(zip("01", then.in_memory(), strict=True))
    held = now.describe()
    now.recall(then.cursor(), KeptRows("", lambda: kept, lambda: None, same_program=False))
    assert now.describe() == held != then.describe()
