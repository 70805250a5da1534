"""What code may change, by the names in it: too much is found rather than too little."""

import functools
from collections.abc import Callable, Iterator

import pytest

from loop.data.objects.uses import Uses


class Holder:
    def __init__(self) -> None:
        self.rows, self.history, self.best, self._kept = [1, 2], [1.0], 0.0, 0

    @property
    def kept(self) -> int:
        return self._kept

    @kept.setter
    def kept(self, value: int) -> None:
        self._kept = value

    def note(self, value: float) -> None:
        self.history.append(value)

    @functools.lru_cache(maxsize=2)  # noqa: B019
    def remember(self) -> None:
        self.best = 1


class Sized(Holder):
    def __len__(self) -> int:
        self.best += 1
        return 2


holder, plain = Sized(), Holder()


def reads() -> Iterator[int]:
    if plain.best < 0 or len(plain.history) < 0 or plain.history[0] < 0 or 3 in plain.history:
        raise ValueError(f"{plain.history} {plain.history.copy()}")
    yield from plain.rows
    yield plain.kept


def of_a_method() -> None:
    plain.note(1)


def by_a_name() -> None:
    own = plain.history
    own.append(1)


def in_a_call(change: Callable[[list[float]], object] = list.clear) -> None:
    change(plain.history)


def at_a_place() -> None:
    plain.history[0] += 1


def put_at_a_place() -> None:
    plain.history[0] = 2.0


def deleted() -> None:
    del plain.history[0]


def by_its_text() -> None:
    vars(plain)["hist" + "ory"].append(1)


def rebound() -> None:
    plain.history = []


def in_a_comprehension() -> list[None]:
    return [plain.history.append(i) for i in range(3)]


CHANGES = [of_a_method, by_a_name, in_a_call, at_a_place, put_at_a_place, deleted, by_its_text, in_a_comprehension]


def test_what_is_only_read_is_not_changed() -> None:
    uses = Uses([reads])
    assert not uses.may_change({"history"}, [1.0], rebound=False)
    assert not uses.may_change({"rows"}, [1], rebound=False)
    assert not uses.may_change({"best"}, 1.0, rebound=True)
    assert not uses.may_change({"unnamed"}, [object()], rebound=False)
    assert uses.may_change({"history"}, [[1.0]], rebound=False)  # what is in it may be changed by whoever reads it


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_what_may_be_changed_is_found(change: Callable[[], object]) -> None:
    assert Uses([change]).may_change({"history"}, [1.0], rebound=False)


def test_a_name_that_is_given_another_value_is_found() -> None:
    def setter() -> None:
        plain.kept = 3

    def of_length() -> int:
        return len(holder)

    def cached() -> None:
        holder.remember()

    assert Uses([rebound]).may_change({"history"}, [], rebound=True)
    assert Uses([setter]).may_change({"_kept"}, 3, rebound=True)
    assert Uses([of_length]).may_change({"best"}, 3, rebound=True)
    assert Uses([cached]).may_change({"best"}, 3, rebound=True)
