"""A trace that is interrupted, as in a notebook, is made anew by the next run of the same loop."""

import signal
from collections.abc import Callable
from pathlib import Path

import keras
import pytest
import tensorflow as tf
import tiny

from hooks import Checkpoint
from loop import ArrayData, Loop
from loop.exact import step_audit
from loop.running.compiled import Compiled


@pytest.mark.parametrize("where", ["in it", "behind it"])
def test_a_loop_that_was_interrupted_while_it_was_traced_runs(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tiny.make_counter()
    whole.run(epochs=1)
    loop = tiny.make_counter([Checkpoint(tmp_path)])

    def interrupted(*given: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        if where == "in it":
            patched.setattr(step_audit.TraceAudit, "__init__", interrupted)
        else:
            patched.setattr(Compiled, "state", interrupted)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                loop.run(epochs=1)
    assert loop.run(epochs=1).epoch == 1
    assert tiny.bits(loop) == tiny.bits(whole)


def unbuilt(raised: list[BaseException], first: Callable[[], object] = lambda: 0.5) -> Loop:
    """Returns a loop over a model that is built by its trace, which raises what is left to be raised."""
    keras.utils.set_random_seed(1)
    model, held = keras.Sequential([keras.layers.Dense(3), keras.layers.Dense(1)]), tf.Module()

    def step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        loss = tf.reduce_mean(model(x) ** 2)
        if not held.variables:
            held.scale = tf.Variable(first())
        if raised:
            raise raised.pop()
        for variable in model.trainable_variables:
            variable.assign(0.9 * variable)
        return {"loss": loss * held.scale.assign(0.9 * held.scale)}

    return Loop(step, ArrayData(tf.ones([8, 2]), batch_size=2, seed=1), state={"model": model, "held": held})


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_a_model_that_was_built_by_a_trace_that_has_failed_has_its_first_weights(error: type[BaseException]) -> None:
    whole, loop = unbuilt([]), unbuilt([error()], lambda: lambda: 0.5)
    whole.run(epochs=2)
    with pytest.raises(error):
        loop.run(epochs=2)
    loop.run(epochs=2)
    assert tiny.bits(loop) == tiny.bits(whole)


def test_a_variable_that_has_its_first_value_of_a_trace_that_has_failed_is_named() -> None:
    with pytest.raises(ZeroDivisionError) as raised:
        unbuilt([ZeroDivisionError()], lambda: tf.constant(0.5)).run(epochs=1)
    assert any(note.startswith("Made meanwhile, and left without a value") for note in raised.value.__notes__)


def test_a_handler_that_stops_a_loop_while_it_is_traced_leaves_nothing_in_its_graph() -> None:
    def make(within: Callable[[], object]) -> Loop:
        total = tf.Variable(0.0)

        def step(x: tf.Tensor) -> dict[str, tf.Tensor]:
            within()
            return {"sum": total.assign_add(tf.reduce_sum(x))}

        return Loop(step, ArrayData(tf.range(8.0), batch_size=2, seed=1), state={"total": total})

    whole, loop = make(lambda: None), make(lambda: signal.raise_signal(signal.SIGUSR1))
    own = signal.signal(signal.SIGUSR1, lambda number, frame: loop.stop("SIGUSR1"))
    try:
        result = loop.run(epochs=2)
    finally:
        signal.signal(signal.SIGUSR1, own)
    assert (result.step, result.reason) == (0, "SIGUSR1")
    assert loop.run(epochs=2).history == whole.run(epochs=2).history
    assert loop.state.steps == whole.state.steps
    assert tiny.bits(loop) == tiny.bits(whole)
