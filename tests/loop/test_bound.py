"""How far a compiled loop goes, whoever pulls its bound in, and when."""

import threading

import pytest
import tensorflow as tf

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


@pytest.mark.parametrize("around", ["function", "graph"])
def test_one_that_is_pulled_in_in_the_midst_of_a_trace_is_so_at_once_and_not_in_the_graph(
    around: str, limit: StopBound
) -> None:
    """By the handler of a signal, which the main thread calls while it traces or exports."""
    limit.set(100)
    if around == "function":
        graph = tf.function(limit.pull_in, autograph=False).get_concrete_function().graph
    else:
        with (graph := tf.Graph()).as_default():
            limit.pull_in()
    assert at(limit) == 1
    assert "AssignVariableOp" not in {op.type for op in graph.get_operations()}
    limit.let_go()
    limit.set(1)  # a number that was made into a tensor meanwhile
    assert at(limit) == 1
