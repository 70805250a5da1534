"""What people ask of a loop, a hook or a moment because others have it gets a line that says what to write."""

import copy
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import pytest
import tensorflow as tf

from hooks import Checkpoint, EarlyStopping, MetricsLog
from loop import ArrayData, Event, Every, Hook, Loop, Moment, keras_steps, supervised


class Asks(Hook):
    """Asks for something at the end of an epoch."""

    asked = "model"

    def on_epoch_end(self, moment: Moment) -> None:
        getattr(self, self.asked)


def make(*hooks: Hook, model: keras.Model | None = None) -> Loop:
    weight = tf.Variable(8.0)
    state = {"weight": weight} | ({} if model is None else {"model": model})
    return Loop(
        lambda x: {"loss": weight.assign_sub(1.0)}, ArrayData(tf.range(8.0), batch_size=2), state=state, hooks=hooks
    )


def moment() -> Moment:
    found: list[Moment] = []
    loop = make()
    loop.on("epoch_end")(found.append)
    loop.run(epochs=1)
    return found[0]


def said_by(thing: object, name: str) -> str:
    with pytest.raises(AttributeError) as raised:
        getattr(thing, name)
    return str(raised.value)


@pytest.mark.parametrize(
    ("name", "instead"),
    {
        "fit": "write loop.run(epochs=10)",
        "compile": "write train_step, eval_step = supervised(model, optimizer, loss), and Loop(train_step, ...)",
        "predict": "write model.predict(x)",
        "save": "write model.save('model.keras'), as ever, or Loop(..., hooks=[Export(directory)])",
        "add_event_handler": "write loop.hooks.add(hook), or @loop.on('epoch_end')",
        "current_epoch": "write loop.epoch, which counts those that are complete",
    }.items(),
)
def test_what_other_loops_have_is_said_to_be_elsewhere(name: str, instead: str) -> None:
    assert said_by(make(), name).startswith(f"'Loop' object has no attribute {name!r}: {instead}")


def test_what_nobody_has_is_said_as_python_says_it() -> None:
    assert said_by(make(), "frobnicate") == "'Loop' object has no attribute 'frobnicate'"
    assert "from SETUP on" in said_by(make(), "state")  # a property that raises says its own
    assert isinstance(copy.copy(make()), Loop)


@pytest.mark.parametrize(
    ("name", "instead"),
    {
        "stop_training": "write loop.stop('why')",
        "max_epochs": "write loop.run(epochs=10)",
        "lr": "write optimizer.learning_rate = 0.1, of the optimizer in state={...}",
    }.items(),
)
def test_what_nobody_would_read_cannot_be_set(name: str, instead: str) -> None:
    with pytest.raises(AttributeError, match="Nobody would read") as raised:
        setattr(make(), name, 1)
    assert str(raised.value) == f"Nobody would read {name!r} of a Loop: {instead}."


def test_a_moment_says_where_things_are() -> None:
    at_end = moment()
    assert said_by(at_end, "loss") == "'Moment' object has no attribute 'loss': write moment.logs['loss']."
    with pytest.raises(AttributeError, match=r"Nobody would read 'should_stop' of a Moment: write moment\.stop\('why"):
        setattr(at_end, "should_stop", True)  # noqa: B010


def test_a_hook_says_how_it_gets_a_model() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'model': give it to the hook, as in Mine\(model\)"):
        make(Asks()).run(epochs=1)


def test_hooks_say_what_callbacks_would_have_after_a_run(tmp_path: Path) -> None:
    assert "RunResult.epoch says when the run ended" in said_by(EarlyStopping("loss", mode="min"), "stopped_epoch")
    assert "which='best'" in said_by(Checkpoint(tmp_path), "best_model_path")


def test_evaluate_says_where_other_data_go() -> None:
    with pytest.raises(TypeError, match=r"takes no arguments without a name\. Received: .*name='test', every=NEVER"):
        make().evaluate([1.0], [2.0])
    with pytest.raises(TypeError, match=r"evaluate\(\.\.\.\) has no argument 'verbose': leave it out"):
        make().evaluate(verbose=0)
    with pytest.raises(TypeError, match=r"evaluate\(\.\.\.\) has no argument 'callbacks'; it has none"):
        make().evaluate(callbacks=[])
    with pytest.raises(TypeError, match=r"stop\(\.\.\.\) needs 'reason': write loop\.stop\('why'\)"):
        make().stop()


def test_hooks_are_added_and_not_appended() -> None:
    loop = make()
    said = "'HookRegistry' object has no attribute 'append': write loop.hooks.add(hook)."
    assert said_by(loop.hooks, "append") == said
    with pytest.raises(AttributeError, match=r"Nobody would read 'hooks' of a Loop: write loop\.hooks\.add\(hook\)"):
        setattr(loop, "hooks", [])  # noqa: B010


def test_an_event_says_where_its_schedule_stands() -> None:
    with pytest.raises(TypeError, match=r"Write @loop\.on\(Event\.STEP_END, every=Every\(steps=100\)\)"):
        Event.STEP_END(every=100)
    for name, instead in {"iteration_completed": "STEP_END", "epoch_completed": "EPOCH_END"}.items():
        with pytest.raises(ValueError, match=rf"Received: '{name}'\. Did you mean Event\.{instead}\?"):
            make().on(name)


def test_epochs_in_a_loop_of_ones_own_are_said_to_be_totals(caplog: pytest.LogCaptureFixture) -> None:
    loop = make()
    for _ in range(3):
        loop.run(epochs=1)
    (said,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert said.startswith("1 epoch was asked for, 1 is complete: nothing to do. The totals of run() count from")
    # What it says to write.
    assert loop.run(epochs=loop.epoch + 1).epoch == 2


def test_a_hook_that_is_only_callable_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Called\.__call__ would never be called\. Write def on_step_end"):

        class Called(Hook):
            def __call__(self, moment: Moment) -> None: ...


class Epochs(Hook):
    every = Every(epochs=5)

    def on_epoch_end(self, moment: Moment) -> None: ...


class Looks(Epochs):
    def on_epoch_end(self, moment: Moment) -> None:
        self.every.next_after(moment.step)


def test_a_schedule_that_nothing_looks_at_is_told(caplog: pytest.LogCaptureFixture) -> None:
    make(Epochs(), Looks())
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith("Hook 'epochs' has every=Every(epochs=5), which is for on_step_end, and it has none")
    assert said.endswith("as in: if moment.epoch % 5 == 0.")


def test_a_hook_that_equals_others_is_refused_and_the_remedy_works() -> None:
    def fields(cls: type, *, eq: bool) -> Callable[..., Hook]:
        """Returns a dataclass like it."""
        made: Callable[..., Hook] = dataclasses.dataclass(eq=eq)(cls)
        return made

    class Counts(Hook):
        name_of_file: str
        count: int = 0

        def __post_init__(self) -> None:
            super().__init__()

        def on_epoch_end(self, moment: Moment) -> None:
            self.count += 1

    hook = fields(Counts, eq=False)("a")
    make(hook).run(epochs=2)
    assert vars(hook)["count"] == 2
    with pytest.raises(TypeError, match=r"Counts defines __eq__.* Write @dataclasses\.dataclass\(eq=False\), or leave"):
        make(fields(Counts, eq=True)("a"))


class Seconds(Hook):
    """Has a state or not, and uses it or not, by which it is told."""

    every = Every(steps=3) | Every(seconds=60)

    def __init__(self, name: str, state: Sequence[object] = ()) -> None:
        super().__init__(name)
        self.state = [*state]

    def on_step_end(self, moment: Moment) -> None:
        self.state.clear()


class Alive(Seconds):
    def on_step_end(self, moment: Moment) -> None:
        print(moment.step)


def test_a_state_that_depends_on_the_time_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    state = [tf.Variable(0)]
    hooks = [Seconds("counts", state), Seconds("shows"), Alive("alive", state), Checkpoint(tmp_path, Every(seconds=60))]
    loop = make(*hooks)
    loop.on("step_end", every=Every(seconds=1), reports=["time"])(lambda moment: None)
    told = [record.getMessage() for record in caplog.records]
    assert [line.split("'")[1] for line in told] == ["counts", "on_step_end"]
    assert all("which comes at other steps in each run" in line for line in told)


def test_names_with_something_to_be_filled_in_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nothing is put in the place of \{epoch:02d\}"):
        Checkpoint(tmp_path / "w-{epoch:02d}-{val_loss:.2f}")
    with pytest.raises(ValueError, match=r"nothing is put in the place of \{step\}"):
        MetricsLog(tmp_path / "log-{step}.csv")


def test_what_a_step_has_kept_in_python_is_said_to_have_no_value() -> None:
    kept, weight = dict[str, tf.Tensor](), tf.Variable(8.0)

    def train_step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        kept["loss"] = weight.assign_sub(1.0) * 1.0
        return {"loss": kept["loss"]}

    for read in (float, lambda tensor: tensor.numpy(), lambda tensor: tf.identity(tensor) + 1.0):
        loop = Loop(train_step, ArrayData(tf.range(8.0), batch_size=2), state={"weight": weight})
        loop.on("epoch_end")(lambda moment, read=read: read(kept["loss"]))
        with pytest.raises((TypeError, NotImplementedError, AttributeError)) as raised:
            loop.run(epochs=1)
        assert "Return it from the step, as in return {'loss': loss}" in "".join(raised.value.__notes__)


def test_arguments_of_fit_are_said_to_be_elsewhere() -> None:
    model = keras.Sequential([keras.Input([3]), keras.layers.Dense(1)])
    with pytest.raises(TypeError, match=r"no argument 'callbacks': write Loop\(\.\.\., hooks=\[\.\.\.\]\)"):
        supervised(model, keras.optimizers.SGD(), "mse", callbacks=[])
    with pytest.raises(TypeError, match="no argument 'learning_rate': it belongs to the optimizer"):
        keras_steps(model, learning_rate=0.1)
