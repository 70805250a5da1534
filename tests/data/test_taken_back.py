"""What Python in the data changes is taken back whole: by a trial that is interrupted, a resume that is refused."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from loop.data.objects.around import Around
from loop.data.objects.progress import BetweenPasses
from loop.state.plain import Encoded


class Growing:
    """Yields its numbers, to which each pass adds one; may be interrupted in a pass."""

    def __init__(self) -> None:
        self.numbers, self.interrupted = [1, 2], False

    def __call__(self) -> Iterator[int]:
        yield from [*self.numbers]
        self.on_epoch_end()

    def on_epoch_end(self) -> None:
        if self.interrupted:
            raise KeyboardInterrupt
        self.numbers.append(len(self.numbers) + 1)


class Told(Growing):
    """Says where it is by itself, and is interrupted when it has changed."""

    def get_state(self) -> list[int]:
        return self.numbers

    def set_state(self, state: list[int]) -> None:
        self.numbers = [*state]

    def on_epoch_end(self) -> None:
        self.numbers.append(9)
        if self.interrupted:
            raise KeyboardInterrupt


def read(around: Around, source: Growing) -> None:
    with around.as_at_first():
        list(source())


def test_a_reading_that_was_interrupted_is_done_again() -> None:
    source = Growing()
    around = Around([source])
    source.interrupted = True
    with pytest.raises(KeyboardInterrupt):
        read(around, source)
    source.interrupted = False
    for _ in range(2):
        read(around, source)
        assert (source.numbers, around.changes) == ([1, 2], True)


@pytest.mark.parametrize("kind", [Growing, Told])
def test_a_trial_that_was_interrupted_is_undone_and_done_again(kind: type[Growing]) -> None:
    source = kind()
    progress = BetweenPasses(source, lambda: 1)
    source.interrupted = True
    with pytest.raises(KeyboardInterrupt):
        progress.try_out()
    assert source.numbers == [1, 2]
    source.interrupted = False
    progress.end(0)
    state = Encoded(progress.get(), "the source")
    assert len(source.numbers) == 3
    progress.end(1)
    progress.put(state.decoded())
    assert len(source.numbers) == 3


def add(source: Growing) -> None:
    source.numbers.append(3)


def set_late(source: Growing) -> None:
    source.late = 3  # type: ignore[attr-defined]


def rebind(source: Growing) -> None:
    source.numbers = [3]


@pytest.mark.parametrize("change", [add, set_late, rebind])
def test_what_only_a_checkpoint_says_to_be_changed_is_taken_back_too(change: Callable[[Growing], None]) -> None:
    source = Growing()
    before = {**vars(source), "numbers": [*source.numbers]}
    around = Around([lambda: change(source)])
    with around.as_at_first():  # nothing yet: it comes late in the pass
        pass
    around.begin()
    change(source)
    around.end()
    state = around.tensors(is_open=False)

    source = Growing()
    other = Around([lambda: change(source)])
    go_back = other.mark()
    other.take(state)
    assert vars(source) != before
    go_back()
    assert vars(source) == before


def test_the_same_of_what_is_called_between_passes() -> None:
    source = Growing()
    progress = BetweenPasses(source, lambda: 1)
    go_back = progress.mark()
    progress.put(
        {"values": {"numbers": ["rebound", "list", [9]], "interrupted": ["rebound", "bool", True]}, "absent": []}
    )
    assert (source.numbers, source.interrupted) == ([9], True)
    go_back()
    assert (source.numbers, source.interrupted) == ([1, 2], False)


def test_a_set_that_cannot_be_sorted_any_more_is_no_error_of_the_next_pass() -> None:
    seen = set[tuple[str, int | None]]()
    around = Around([lambda: seen.add(("a", len(seen)))])
    with around.as_at_first():
        seen.add(("a", 0))
    assert (seen, around.changes) == (set(), True)
    seen.update([("a", 1), ("a", None)])
    around.begin()
    assert seen == {("a", 1), ("a", None)}


@pytest.mark.parametrize("later", [np.array(["a", None], object), np.zeros(2, [("a", "i4")])])
def test_an_array_that_cannot_be_saved_any_more_is_left_out_of_the_state(later: np.ndarray) -> None:
    source = Growing()

    def change(now: object) -> None:
        source.late = now  # type: ignore[attr-defined]

    change(np.zeros(2))
    around = Around([change])
    with around.as_at_first():
        change(np.ones(2))
    assert around.changes
    change(later)
    around.begin()
    assert around.now(["[0].outer source.late"]) == {}
    change(np.ones(2))
    assert [*around.now(["[0].outer source.late"])] == ["[0].outer source.late"]
