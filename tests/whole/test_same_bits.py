"""Hooks, schedules and cuts change nothing in the numbers, and there is one trace."""

from collections.abc import Sequence

import pytest
import tensorflow as tf
from tiny import DATA, bits, make_loop

from hooks import Checkpoint, EarlyStopping, Preemption, Progress, TensorBoard
from loop import At, Every, Hook, Loop, Moment, Trigger
from loop.engine.traced.trace import Trace


class Asking(Hook):
    """Asks for steps and does nothing with them."""

    def __init__(self, every: Trigger) -> None:
        super().__init__()
        self.every = every

    def on_step_end(self, moment: Moment) -> None:
        pass


def trained(hooks: Sequence[Hook], data: str = "arrays") -> Loop:
    loop = make_loop(hooks, DATA[data]())
    loop.run(epochs=6)
    return loop


@pytest.fixture(scope="module")
def reference() -> Loop:
    """What has been trained for six epochs, with nothing else."""
    return trained([])


def own(loop: Loop) -> dict[str, bytes]:
    """Returns the bits of the state without those of hooks."""
    return {path: value for path, value in bits(loop).items() if not path.startswith("hooks/")}


EVERY: dict[str, Trigger] = {
    "each step": Every(steps=1),
    "7 steps": Every(steps=7),
    "10 steps": Every(steps=10),
    "steps 3 and 33": At(3, 33),
    "0.05 seconds": Every(seconds=0.05),
    "0.0001 seconds": Every(seconds=0.0001),
    "each epoch": Every(epochs=1),
}


@pytest.mark.parametrize("data", ["arrays", "dataset", "unknown length"])
def test_the_same_bits_under_any_schedule(data: str, reference: Loop) -> None:
    asking, found = Asking(At()), dict[str, dict[str, bytes]]()
    loop = make_loop([asking], DATA[data]())
    loop.audit()  # traced once, and taken back to the beginning for each
    for name, every in EVERY.items():
        asking.every = every
        with loop.state.put_back_after():
            assert loop.run(epochs=6).step == 42
            found[name] = own(loop)
    without = own(reference if data == "arrays" else trained([], data))
    assert [name for name, values in found.items() if values != without] == []


def test_the_same_bits_under_all_hooks(tmp_path: object, reference: Loop) -> None:
    hooks = [
        Progress(),
        TensorBoard(f"{tmp_path}/tensorboard", every=Every(steps=2)),
        EarlyStopping("val_loss", mode="min", patience=50, restore_best=None),
        Checkpoint(f"{tmp_path}/checkpoints", Every(steps=3) | Every(seconds=0.1), best="val_accuracy", mode="max"),
        Preemption(),
    ]
    assert own(trained(hooks)) == own(reference)


@pytest.mark.parametrize("data", DATA)
def test_one_trace_for_any_length_of_chunks(data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    traced = []
    made = Trace.__init__
    monkeypatch.setattr(
        Trace,
        "__init__",
        lambda trace, step, *given, **named: traced.append(step) or made(trace, step, *given, **named),
    )
    loop = make_loop([Asking(Every(steps=3) | At(1, 2, 20))], DATA[data]())
    loop.audit()
    before = list(traced)
    loop.run(epochs=2)
    loop.run(epochs=4)
    assert traced == before
    assert len(before) == 2  # train and evaluation step, each once


def test_an_evaluation_on_demand_leaves_no_trace(reference: Loop) -> None:
    loop = make_loop()
    first = loop.evaluate()
    loop.run(steps=4)
    before = bits(loop)
    loop.evaluate()
    assert bits(loop) == before
    loop.run(epochs=6)
    assert own(loop) == own(reference)
    assert loop.evaluate() == {n: v for n, v in reference.run(epochs=6).logs.items() if n.startswith("val_")} != first


def untouched(values: dict[str, bytes]) -> dict[str, bytes]:
    return {path: value for path, value in values.items() if not path.startswith(("evaluations/", "history/"))}


@pytest.mark.more
def test_a_metric_is_not_touched_by_an_evaluation_in_mid_epoch(reference: Loop) -> None:
    loop = make_loop(eval_every=Every(steps=2))
    history = loop.run(epochs=6).history
    # The history has the rounds of the evaluations too, of which the reference has none.
    assert untouched(own(loop)) == untouched(own(reference))
    of_training = {name: values for name, values in history.items() if not name.startswith("val_")}
    expected = reference.run(epochs=6).history  # for which nothing is left to do
    assert of_training == {name: values for name, values in expected.items() if not name.startswith("val_")}


def test_a_layer_built_late_and_an_optimizer_built_late_are_built_by_the_trace() -> None:
    weight = tf.Variable(2.0)

    def step(batch: tf.Tensor) -> dict[str, tf.Tensor]:
        weight.assign(weight * 0.5)
        return {"loss": weight}

    loop = Loop(step, tf.data.Dataset.range(4), state={"weight": weight})
    loop.run(epochs=1)
    assert float(weight) == 0.125
