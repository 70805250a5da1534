"""A trace of the steps that were asked for, and of no others."""

from pathlib import Path

import pytest
from tiny import bits, make_counter, make_loop

from hooks import Profile


def traces(directory: Path) -> list[bytes]:
    return [path.read_bytes() for path in directory.glob("plugins/profile/*/*.xplane.pb")]


@pytest.mark.parametrize(("first", "until"), [(1, 9), (6, 7), pytest.param(3, 9, marks=pytest.mark.long)])
def test_some_steps_are_traced_and_nothing_else_changes(tmp_path: Path, first: int, until: int) -> None:
    plain = make_loop()
    plain.run(steps=until)
    traced = make_loop([Profile(tmp_path, first=first, steps=4)])
    traced.run(steps=until)
    (trace,) = traces(tmp_path)
    assert b"MatMul" in trace
    assert bits(traced) == bits(plain)


def test_a_run_that_does_not_come_there_is_not_traced(tmp_path: Path) -> None:
    make_counter([Profile(tmp_path, first=8)]).run(steps=5)
    assert traces(tmp_path) == []


def test_the_trace_ends_with_the_steps(tmp_path: Path) -> None:
    loop = make_counter([Profile(tmp_path, first=2, steps=2)])
    loop.run(steps=3)
    (trace,) = traces(tmp_path)
    loop.run(steps=14)
    assert traces(tmp_path) == [trace]


def test_an_exception_ends_the_trace(tmp_path: Path) -> None:
    loop = make_counter([Profile(tmp_path, first=2, steps=20)])

    @loop.on("epoch_end")
    def fail(moment: object) -> None:
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        loop.run(epochs=2)
    assert len(traces(tmp_path)) == 1
    make_counter([Profile(tmp_path / "again", first=2, steps=2)]).run(steps=4)
    assert len(traces(tmp_path / "again")) == 1


def test_steps_that_cannot_be_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"first >= 1 and steps >= 1\. Received: first=0, steps=10"):
        Profile(tmp_path, first=0)
    with pytest.raises(TypeError):
        Profile(tmp_path, steps=1.5)
