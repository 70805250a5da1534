"""What hooks return, which nobody reads: said once, with what to write instead."""

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import pytest
import tensorflow as tf
from tiny import make_counter

from loop import Event, Every, Hook, Loop, Moment


class Returning(Hook):
    """Returns something whenever it is told of something."""

    every = Every(steps=1)
    events = ("looked",)

    def __init__(self, given: object) -> None:
        super().__init__()
        self.given = given

    def on_setup(self, loop: Loop, moment: Moment) -> None:
        self.loop = loop

    def on_step_end(self, moment: Moment) -> object:  # type: ignore[override]
        self.loop.hooks.emit("looked")
        return self.given

    def on_steps(self, first_step: int, values: object) -> object:  # type: ignore[override]
        return self.given

    def on_looked(self, moment: Moment) -> object:
        return self.given


@pytest.mark.parametrize(
    ("given", "shown", "instead"),
    [
        ({"probe": 0.5}, "{'probe': 0.5}", "reports = ('probe',), and write moment.report(probe=0.5)"),
        (np.float32(0.5), "0.5", "moment.report(probe=0.5)"),
        (False, "False", "To end the run, write moment.stop('why')"),
        ("done", "'done'", "Return nothing."),
    ],
)
def test_what_a_method_returns_is_told_once_with_what_to_write(
    given: object, shown: str, instead: str, caplog: pytest.LogCaptureFixture
) -> None:
    loop = make_counter([Returning(given)])
    with caplog.at_level(logging.WARNING, "exactloop"):
        loop.run(epochs=1)
        loop.run(epochs=2)
    told = [record.getMessage() for record in caplog.records if "nobody reads" in record.getMessage()]
    begun = [f"Hook 'returning': what it returns from {each}, nobody reads." for each in ("on_steps", "on_looked")]
    assert [line.partition(" Received")[0] for line in told] == [*begun, begun[0].replace("steps", "step_end")]
    assert all(shown in line and instead in line for line in told)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda moment: moment.step, 0),  # whatever is in it
        (lambda moment: {"probe": 0.5}, 1),
        (lambda moment: None, 0),
        ([].append, 0),
    ],
)
def test_of_a_lambda_only_values_by_name_are_told(
    function: Callable[[Moment], object], said: int, caplog: pytest.LogCaptureFixture
) -> None:
    loop = make_counter([])
    loop.on(Event.EPOCH_END)(function)
    with caplog.at_level(logging.WARNING, "exactloop"):
        loop.run(epochs=2)
    assert sum("nobody reads" in record.getMessage() for record in caplog.records) == said


class Around(Hook):
    """Has something done around a run, as it is given."""

    def __init__(self, around: Callable[[], object]) -> None:
        super().__init__()
        self.around = around

    def around_run(self, loop: Loop) -> contextlib.AbstractContextManager[object]:
        return self.around()  # type: ignore[return-value]


def generator() -> Iterator[None]:
    yield


@pytest.mark.parametrize("given", [lambda: None, generator])
def test_who_returns_no_context_is_told_the_remedy_which_works(given: Callable[[], object]) -> None:
    with pytest.raises(TypeError, match=r"Hook 'around': around_run.* Write @contextlib.contextmanager above it"):
        make_counter([Around(given)]).run(epochs=1)
    assert make_counter([Around(contextlib.contextmanager(generator))]).run(epochs=1).epoch == 1


class After(Hook):
    """Looks at each step, in the compiled loop."""

    def __init__(self, halts: Callable[[Mapping[str, tf.Tensor]], object], name: str) -> None:
        super().__init__(name=name)
        self.halts = halts

    def after_step(self, values: Mapping[str, tf.Tensor]) -> tf.Tensor:
        return self.halts(values)  # type: ignore[return-value]


def test_who_returns_nothing_after_a_step_never_halts_and_other_than_a_bool_is_refused() -> None:
    nothing = [After(lambda values: None, "first"), After(lambda values: tf.constant(False), "second")]
    assert make_counter(nothing).run(epochs=1).epoch == 1
    for wrong, said in [(1.0, r"float32, shape \(\)"), ((True, False), r"bool, shape \(2,\)")]:
        with pytest.raises(TypeError, match=rf"Hook 'first': after_step.*Received: {said}. Write tf.reduce_any"):
            make_counter([After(lambda values, wrong=wrong: tf.constant(wrong), "first")]).run(epochs=1)
