"""How far a compiled loop goes, whoever pulls its bound in, and when."""

import threading

import pytest

from loop.engine.traced import bound
from loop.engine.traced.bound import StopBound


@pytest.fixture
def limit() -> StopBound:
    return StopBound()


def at(limit: StopBound) -> int:
    return int(limit.variable)


def test_a_bound_that_is_pulled_in_leaves_one_step(limit: StopBound) -> None:
    limit.set(100)
    assert at(limit) == 100
    limit.pull_in()
    assert at(limit) == 1


def test_one_that_was_pulled_in_before_leaves_one_step_until_it_is_let_go(limit: StopBound) -> None:
    limit.pull_in()
    for _ in range(2):
        limit.set(100)
        assert at(limit) == 1
    limit.let_go()
    limit.set(100)
    assert at(limit) == 100


@pytest.mark.parametrize("write", [0, 1])
def test_one_that_is_pulled_in_while_it_is_set_leaves_one_step(
    write: int, limit: StopBound, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a signal handler, which runs within `set`: before, or after, the end is written."""
    written, really = list[int](), bound.write

    def interrupted(variable: object, value: int) -> None:
        written.append(value)
        if len(written) == 1 and write == 0:
            limit.pull_in()
        really(variable, value)
        if len(written) == 1 and write == 1:
            limit.pull_in()

    monkeypatch.setattr(bound, "write", interrupted)
    limit.set(100)
    assert at(limit) == 1


def test_another_thread_that_pulls_while_it_is_set_comes_before_or_after(limit: StopBound) -> None:
    for _ in range(300):
        thread = threading.Thread(target=limit.pull_in)
        thread.start()
        limit.set(10_000)
        thread.join()
        assert at(limit) == 1
        limit.let_go()
