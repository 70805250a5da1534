"""EarlyStopping: where it agrees with Keras, where it says it does not, and what a resumed run knows of it."""

import functools
import math
import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny import make_counter

from hooks import Checkpoint, EarlyStopping
from loop import ArrayData, Evaluation, Event, Every, Hook, Loop, Moment, Trigger

NAN, INF = math.nan, math.inf
Ended = tuple[int | None, str]  # the index of the check that ended a run, None if it went through, and the reason


def make_loop(
    hooks: Sequence[Hook] = (),
    losses: Sequence[float] = (),
    *,
    evaluate: bool = False,
    steps_per_epoch: int = 1,
    eval_every: Trigger = Every(epochs=1),
) -> Loop:
    """Returns a loop that fits a line, and reports `losses[i]` as loss, and then as val_loss, of its (i + 1)-th step.

    The variables `losses` and `index` of its state can be reassigned to have other values reported.
    """
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input([1]), keras.layers.Dense(1)])
    optimizer = keras.optimizers.SGD(0.01, momentum=0.9)
    told = tf.Variable(losses, shape=[None], dtype=tf.float32)
    index = tf.Variable(-1, dtype=tf.int64)

    def train_step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        with tf.GradientTape() as tape:
            error = tf.reduce_mean((model(x) - 3.0) ** 2)
        optimizer.apply(tape.gradient(error, model.trainable_variables), model.trainable_variables)
        return {"loss": told[index.assign_add(1)]}

    def eval_step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"loss": told[index]}

    x = np.arange(1.0, 1.0 + steps_per_epoch, dtype=np.float32)[:, None]
    return Loop(
        train_step,
        ArrayData(x, batch_size=1, shuffle=False),
        state={"model": model, "optimizer": optimizer, "losses": told, "index": index},
        evaluate=Evaluation(eval_step, ArrayData(x[:1], batch_size=1, shuffle=False)) if evaluate else None,
        eval_every=eval_every,
        hooks=hooks,
    )


def bits(loop: Loop, prefix: str = "") -> dict[str, bytes]:
    """Returns the variables that were given to the loop, as bytes, by path."""
    return {path: v.numpy().tobytes() for path, v in loop.state.given().items() if path.startswith(prefix)}


@pytest.fixture(scope="module")
def loop() -> Loop:
    """A real loop, built, that any losses can be run through: see `ended`."""
    loop = make_loop(losses=[0.0], evaluate=True)
    loop.evaluate()
    return loop


def ended(loop: Loop, losses: Sequence[float], mode: str = "min", **arguments: object) -> Ended:
    """Runs on with a new EarlyStopping hook, and these losses as val_loss, one an epoch."""
    hook = loop.hooks.add(EarlyStopping("val_loss", mode=mode, **arguments))
    loop.state.given()["losses"].assign(losses)
    loop.state.given()["index"].assign(-1)
    first = loop.epoch
    result = loop.run(epochs=first + len(losses))
    loop.hooks.remove(hook.name)
    return None if "epochs are complete" in result.reason else result.epoch - first - 1, result.reason


def sent(loop: Loop, losses: Sequence[float], mode: str = "min", **arguments: object) -> int | None:
    """Sends a new hook one evaluation an epoch, in double precision, and returns at which it asks for the end."""
    hook = EarlyStopping("val_loss", mode=mode, **arguments)
    reasons: list[str] = []
    hook.on_setup(loop, Moment(Event.SETUP, 0, 0, 0, {}, False, False, None, reasons.append))
    for epoch, loss in enumerate(losses):
        logs = {"val_loss": loss}
        hook.on_eval_end(Moment(Event.EVAL_END, epoch + 1, epoch, 1, logs, False, False, None, reasons.append))
        if reasons:
            return epoch
    return None


@functools.cache
def keras_model() -> keras.Model:
    return keras.Sequential([keras.Input([1]), keras.layers.Dense(1)])


def of_keras(losses: Sequence[float], mode: str = "min", **arguments: object) -> int | None:
    """Sends the same to Keras' callback."""
    callback = keras.callbacks.EarlyStopping("val_loss", mode=mode, **arguments)
    callback.set_model(keras_model())
    keras_model().stop_training = False  # as fit() does
    callback.on_train_begin()
    for epoch, loss in enumerate(losses):
        callback.on_epoch_end(epoch, {"val_loss": loss})
        if keras_model().stop_training:
            return epoch
    return None


# The same as Keras.

VECTORS: list[tuple[list[float], dict[str, object], int | None]] = [
    ([1, 2, 3], {"patience": 0}, 1),
    ([1, 2, 3], {"patience": 1}, 1),
    ([1, 2, 3, 4], {"patience": 2}, 2),
    ([1, NAN, 0.5, NAN, NAN, NAN, 0.25], {"patience": 3}, 5),
    ([1, 0.75, 0.5, 0.25], {"patience": 3, "min_delta": 0.25}, None),
    ([1, 0.75, 0.5, 0.25], {"patience": 1, "min_delta": 0.25}, 1),
    ([1, 0.95, 0.9, 0.85, 0.8, 0.75], {"patience": 3, "min_delta": 0.1}, None),
    ([4, 3.75, 3.5, 3.25], {"patience": 2, "min_delta": 0.5}, 2),
    ([5, 4, 3, 3, 3], {"patience": 2, "baseline": 4.5}, 4),
    ([0.5, 0.75, 0.75, 0.5], {"patience": 2, "mode": "max"}, 3),
    ([-1, -2, -1.5, -1.75], {"patience": 2}, 3),
    ([INF, INF, 5, 5, 5], {"patience": 2}, 4),
]


@pytest.mark.more
def test_real_runs_end_where_keras_ends(loop: Loop) -> None:
    stops = [stop for *_, stop in VECTORS]
    assert [of_keras(losses, **arguments) for losses, arguments, _ in VECTORS] == stops
    assert [ended(loop, losses, **arguments)[0] for losses, arguments, _ in VECTORS] == stops


def test_epochs_before_start_from_epoch_are_ignored_as_in_keras() -> None:
    loop = make_loop([EarlyStopping("loss", mode="min", patience=1, start_from_epoch=2)], [1, 2, 3, 4, 5])
    assert loop.run(epochs=5).reason == "loss has not improved on 3 at step 3 in 1 check"
    assert loop.epoch - 1 == of_keras([1, 2, 3, 4, 5], patience=1, start_from_epoch=2) == 3


@pytest.mark.parametrize("count", [200, pytest.param(1000, marks=pytest.mark.long)])
def test_random_runs_end_where_keras_ends(loop: Loop, count: int) -> None:
    draw = random.Random(8)
    runs = []
    for _ in range(count):
        first = draw.choice([0, 0, 1, 3])
        # Multiples of 1/8: exact in Keras' single precision too. NaN only where Keras has a best value already.
        losses = [draw.randrange(1, 33) / 8 for _ in range(draw.randrange(1, 14))]
        losses = [
            draw.choice([NAN, INF, -INF, 0.0]) if i > first and draw.random() < 0.1 else loss
            for i, loss in enumerate(losses)
        ]
        arguments = {
            "mode": draw.choice(["min", "max"]),
            "patience": draw.randrange(5),
            "min_delta": draw.choice([0.0, 0.0, 0.125, 0.5]),
            "start_from_epoch": first,
        }
        runs.append((losses, arguments))
    ours = [(losses, arguments, sent(loop, losses, **arguments)) for losses, arguments in runs]
    keras_ = [(losses, arguments, of_keras(losses, **arguments)) for losses, arguments in runs]
    assert ours == keras_
    assert len({stop for *_, stop in ours}) > 8  # not all alike


def test_a_hook_that_is_sent_moments_ends_where_a_real_run_ends(loop: Loop) -> None:
    draw = random.Random(9)
    runs = [([draw.randrange(1, 33) / 8 for _ in range(6)], {"patience": draw.randrange(4)}) for _ in range(10)]
    assert [sent(loop, *r, **a) for *r, a in runs] == [ended(loop, *r, **a)[0] for *r, a in runs]


# Not the same as Keras.


def test_nan_is_never_the_best_whereas_it_stays_the_best_in_keras(loop: Loop) -> None:
    losses = [NAN, 1, 0.5, 0.25, 0.125]
    assert of_keras(losses, patience=3) == 3
    assert ended(loop, losses, patience=3)[0] is None


def test_nan_at_the_first_check_counts_as_no_improvement(loop: Loop) -> None:
    assert of_keras([NAN, 1], patience=1) == 1
    assert ended(loop, [NAN, 1], patience=1) == (0, "val_loss was NaN in 1 check")


def test_values_are_compared_in_double_precision_whereas_keras_compares_in_single(loop: Loop) -> None:
    losses = [1, 1 - 1e-9, 1 - 2e-9, 1 - 3e-9]
    assert of_keras(losses, patience=2) == 2
    assert sent(loop, losses, patience=2) is None


def test_a_baseline_not_beaten_in_time_ends_the_run_whereas_keras_goes_on_while_it_improves(loop: Loop) -> None:
    losses = [5, 4, 3, 2.5, 2.4, 2.3]
    assert of_keras(losses, patience=3, baseline=1.0) is None
    assert ended(loop, losses, patience=3, baseline=1.0)[0] == 2


def test_a_baseline_beaten_in_time_is_of_no_more_account(loop: Loop) -> None:
    losses = [5, 4, 0.5, 0.75, 0.25, 0.5, 0.5, 0.5]
    assert of_keras(losses, patience=3, baseline=1.0) == 7
    assert ended(loop, losses, patience=3, baseline=1.0)[0] == 7


# More than Keras.


def test_a_relative_min_delta_is_a_fraction_of_the_best_value(loop: Loop) -> None:
    tenth = {"relative": True, "min_delta": 0.1}
    runs = [
        ([100, 91, 89, 81, 80.5], {"patience": 2}, 4),  # 91 and 81 are within 10% of 100 and 89
        ([-100, -109, -111, -120, -122], {"patience": 2}, 4),
        ([100, 109, 111, 120, 122], {"patience": 2, "mode": "max"}, 4),
        ([1, 1.9, 2.1, 3, 4, 5], {"patience": 2, "mode": "max", "min_delta": 1.0}, 4),  # twice as much, or more
        ([0, 0, -1, -1], {"patience": 2}, None),
        ([INF, 5, 4, 3], {"patience": 1}, None),
        ([INF, 5, 4, 3], {"patience": 1, "min_delta": 0.0}, None),
        ([-INF, 5, 6, 7], {"patience": 1, "mode": "max"}, None),
    ]
    assert [ended(loop, losses, **tenth | arguments)[0] for losses, arguments, _ in runs] == [stop for *_, stop in runs]


def test_a_run_ends_when_the_target_is_reached(loop: Loop) -> None:
    runs = [([4, 3, 2, 1], "min", 2), ([4, 1.5, 1], "min", 1), ([1, 1.5, 2, 3], "max", 2), ([4, NAN, INF], "min", None)]
    stops = [ended(loop, losses, mode, target=2.0, patience=9)[0] for losses, mode, _ in runs]
    assert stops == [stop for *_, stop in runs]


def test_the_reason_names_metric_value_and_target(loop: Loop) -> None:
    assert ended(loop, [4, 1.5], target=2.0, patience=9)[1] == "val_loss = 1.5 has reached the target of 2"


def test_a_run_ends_when_it_diverges_or_is_not_finite(loop: Loop) -> None:
    runs = [
        ([1, 10, 9, 10.5, 1], "min", 3),
        ([1, NAN, 1], "min", 1),
        ([1, INF, 1], "min", 1),
        ([1, -INF, 1], "min", 1),
        ([30, 10, 9.5, 20], "max", 2),
        ([30, INF, 20], "max", 1),
    ]
    stops = [ended(loop, losses, mode, divergence=10.0, patience=9)[0] for losses, mode, _ in runs]
    assert stops == [stop for *_, stop in runs]


def test_without_divergence_values_that_are_not_finite_only_count_as_no_improvement(loop: Loop) -> None:
    assert ended(loop, [1, NAN, INF, 0.5], patience=3)[0] is None


def test_a_train_metric_is_checked_when_an_epoch_ends() -> None:
    # Means of two steps each: 3, 2, 2.5, 2.
    loop = make_loop([EarlyStopping("loss", mode="min", patience=2)], [4, 2, 3, 1, 1, 4, 3, 1, 0, 0], steps_per_epoch=2)
    result = loop.run(epochs=5)
    assert (result.step, result.reason) == (8, "loss has not improved on 2 at step 4 in 2 checks")


def test_an_evaluation_metric_is_checked_when_an_evaluation_ends() -> None:
    hook = EarlyStopping("val_loss", mode="min", patience=1)
    loop = make_loop([hook], [9, 3, 1, 2, 1, 4, 0, 0], evaluate=True, steps_per_epoch=4, eval_every=Every(steps=2))
    result = loop.run(epochs=2)
    assert (result.step, result.epoch, loop.step_in_epoch) == (6, 1, 2)
    assert result.reason == "val_loss has not improved on 2 at step 4 in 1 check"


def test_two_hooks_watch_side_by_side() -> None:
    hooks = [EarlyStopping("loss", mode="min", patience=9), EarlyStopping("loss", mode="max", name="high")]
    assert make_loop(hooks, [3, 2, 1]).run(epochs=3).reason == "loss has not improved on 3 at step 1 in 1 check"


# Resumed runs.

LOSSES = [5.0, 4.0, 6.0, 3.0, 7.0, 8.0, 9.0, 1.0, 2.0, 0.5]  # with patience 3, the seventh check ends the run


def saved_loop(directory: Path, monitor: str = "loss", patience: int = 3) -> Loop:
    hooks = [EarlyStopping(monitor, mode="min", patience=patience), Checkpoint(directory)]
    return make_loop(hooks, LOSSES, evaluate=monitor == "val_loss")


@pytest.mark.parametrize(("monitor", "lives"), [("loss", (1, 2, 3, 4, 5, 6, 10)), ("val_loss", (5, 10))])
def test_a_run_resumed_after_any_check_ends_where_an_uninterrupted_one_ends(
    monitor: str, lives: tuple[int, ...], tmp_path: Path
) -> None:
    results = [saved_loop(tmp_path, monitor).run(epochs=epochs) for epochs in lives]
    assert [result.step for result in results] == [*lives[:-1], 7]
    assert results[-1].reason == f"{monitor} has not improved on 3 at step 4 in 3 checks"


@pytest.mark.more
def test_a_run_that_was_ended_ends_again_at_once_and_goes_on_with_more_patience(tmp_path: Path) -> None:
    ended_run = saved_loop(tmp_path).run(epochs=10)
    again, events = saved_loop(tmp_path), []
    for event in Event:
        if event not in (Event.SETUP, Event.STEP_END):
            again.on(event)(noted(event, events))
    result = again.run(epochs=10)
    assert (result.step, result.reason, result.logs) == (7, ended_run.reason, ended_run.logs)
    assert events == ["run_begin", "run_end"]
    result = saved_loop(tmp_path, patience=4).run(epochs=10)
    assert (result.step, result.reason) == (10, "10 epochs are complete")


def noted(event: Event, events: list[str]) -> Callable[[Moment], None]:
    def note(moment: Moment) -> None:
        events.append(moment.event)

    note.__name__ = f"note_{event}"
    return note


# Going back to the best.

BEST_AT = 4
"""The step after which the best loss of the first six is reported."""


@pytest.fixture(scope="module")
def plain() -> dict[int, dict[str, bytes]]:
    """The variables of a run without restore_best, by step."""
    loop, at = make_loop(losses=LOSSES), {}
    for step in (BEST_AT, 6, 8):
        loop.run(steps=step)
        at[step] = bits(loop)
    return at


def only(variables: dict[str, bytes], prefix: str) -> dict[str, bytes]:
    return {path: value for path, value in variables.items() if path.startswith(prefix)}


@pytest.mark.more
def test_weights_of_the_best_check_are_put_back_and_nothing_else(plain: dict[int, dict[str, bytes]]) -> None:
    loop = make_loop([EarlyStopping("loss", mode="min", patience=9, restore_best="weights")], LOSSES)
    loop.run(steps=6)
    assert only(bits(loop), "model/") == only(plain[BEST_AT], "model/") != only(plain[6], "model/")
    assert only(bits(loop), "optimizer/") == only(plain[6], "optimizer/") != only(plain[BEST_AT], "optimizer/")


def test_the_whole_state_of_the_best_check_is_put_back(plain: dict[int, dict[str, bytes]]) -> None:
    loop = make_loop([EarlyStopping("loss", mode="min", patience=9, restore_best="state")], LOSSES)
    loop.run(steps=6)
    assert bits(loop) == plain[BEST_AT]


def test_the_best_is_put_back_when_patience_ends_the_run(plain: dict[int, dict[str, bytes]]) -> None:
    loop = make_loop([EarlyStopping("loss", mode="min", patience=2, restore_best="state")], LOSSES)
    assert loop.run(epochs=10).step == 6
    assert bits(loop) == plain[BEST_AT]


@pytest.mark.more
@pytest.mark.parametrize("what", ["weights", "state"])
def test_a_run_goes_on_from_the_last_step_and_not_from_the_best(what: str, plain: dict[int, dict[str, bytes]]) -> None:
    loop = make_loop([EarlyStopping("loss", mode="min", patience=9, restore_best=what)], LOSSES)
    loop.run(steps=6)
    loop.run(steps=6)  # does nothing, and puts the best back again
    assert only(bits(loop), "model/") == only(plain[BEST_AT], "model/")
    loop.run(steps=8)  # the eighth is the best
    assert bits(loop) == plain[8]


def test_without_the_hook_too_a_run_goes_on_from_the_last_step(plain: dict[int, dict[str, bytes]]) -> None:
    loop = make_loop([EarlyStopping("loss", mode="min", patience=9, restore_best="weights")], LOSSES)
    loop.run(steps=6)
    loop.hooks.remove("early_stopping")
    loop.run(steps=8)
    assert only(bits(loop), "model/") == only(plain[8], "model/")


@pytest.mark.more
@pytest.mark.parametrize(("what", "order"), [("weights", 1), ("state", -1)])
def test_a_resumed_run_goes_on_from_the_last_step_and_not_from_the_best(
    what: str, order: int, plain: dict[int, dict[str, bytes]], tmp_path: Path
) -> None:
    def life() -> Loop:
        hooks = [EarlyStopping("loss", mode="min", patience=9, restore_best=what), Checkpoint(tmp_path)]
        return make_loop(hooks[::order], LOSSES)

    life().run(steps=6)
    again = life()
    assert again.run(steps=6).step == 6
    assert only(bits(again), "model/") == only(plain[BEST_AT], "model/")
    resumed = life()
    resumed.run(steps=8)
    assert bits(resumed) == plain[8]


def test_an_exception_leaves_the_state_as_it_is(plain: dict[int, dict[str, bytes]]) -> None:
    loop = make_loop([EarlyStopping("loss", mode="min", patience=9, restore_best="state")], LOSSES)

    @loop.on(Event.SETTLED)
    def fail(moment: Moment) -> None:
        if moment.step == 6:
            raise ArithmeticError("six")

    with pytest.raises(ArithmeticError, match="six"):
        loop.run(steps=8)
    assert bits(loop) == plain[6]


def test_nothing_is_put_back_when_no_check_was_good(plain: dict[int, dict[str, bytes]]) -> None:
    loop = make_loop([EarlyStopping("loss", mode="min", patience=9, restore_best="state")], [NAN] * 6)
    loop.run(steps=6)
    assert only(bits(loop), "model/") == only(plain[6], "model/")


# Errors.


def test_wrong_arguments_are_refused_with_what_would_do() -> None:
    direction = "EarlyStopping('val_loss') needs mode='min' if a smaller 'val_loss' is better, mode='max' if a larger"
    negative = "must be zero or positive. Received:"
    wrong = [
        ({"mode": None}, f"{direction} one is. Received: mode=None."),
        ({"mode": "auto"}, f"{direction} one is. Received: mode='auto'."),
        ({"patience": -1}, f"EarlyStopping(patience=...) {negative} -1."),
        ({"start_from_epoch": -2}, f"EarlyStopping(start_from_epoch=...) {negative} -2."),
        ({"min_delta": -0.1}, f"EarlyStopping('val_loss')(min_delta=...) {negative} -0.1."),
        ({"min_delta": NAN}, f"EarlyStopping('val_loss')(min_delta=...) {negative} nan."),
        (
            {"min_delta": 2, "relative": True},
            "EarlyStopping('val_loss')(min_delta=..., relative=True) is a fraction of the best value, as in 0.02 for 2 "
            "%. Received: 2.",
        ),
        *(
            (
                {"mode": mode, "target": 1.0, "divergence": divergence},
                "EarlyStopping(target=..., divergence=...) would end the run at the first check, whatever it is. With "
                f"mode={mode!r}, the target is the {which} one. Received: target=1.0, divergence={divergence}.",
            )
            for mode, divergence, which in [("min", 0.5, "smaller"), ("min", 1.0, "smaller"), ("max", 2.0, "larger")]
        ),
        ({"target": NAN}, "EarlyStopping(target=...) needs a number. Received: nan."),
        ({"divergence": NAN}, "EarlyStopping(divergence=...) needs a number. Received: nan."),
        ({"baseline": NAN}, "EarlyStopping(baseline=...) needs a number. Received: nan."),
        ({"restore_best": True}, "EarlyStopping(restore_best=...): 'weights', 'state' or None. Received: True."),
    ]
    for arguments, message in wrong:
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            EarlyStopping("val_loss", **{"mode": "min"} | arguments)
    with pytest.raises(TypeError, match=r"Received: 'max'; write mode='min' or mode='max', and patience=5\."):
        EarlyStopping("val_loss", "max")  # type: ignore[misc]


@pytest.mark.parametrize(
    ("short", "full"), [("val_acc", "val_accuracy"), ("acc", "accuracy"), ("test_acc_1", "test_accuracy_1")]
)
def test_who_forgets_the_mode_of_what_keras_called_acc_is_told_both(short: str, full: str) -> None:
    told = f"mode='max' if a larger one is. Received: mode=None. And a metric named 'accuracy' is logged as {full!r}, "
    with pytest.raises(ValueError, match=re.escape(told)):
        EarlyStopping(short)


def test_an_unknown_metric_is_refused_before_the_first_step_with_those_that_are_known() -> None:
    unknown = [
        ("val_los", " Did you mean 'val_loss'?"),
        ("valid_loss", " Did you mean 'val_loss'?"),
        ("test_loss", " Did you mean 'loss'?"),
        ("f1", ""),
    ]
    loop = make_loop(losses=LOSSES, evaluate=True)
    for metric, hint in unknown:
        loop.hooks.add(EarlyStopping(metric, mode="min"))
        known = "'learning_rate', 'loss', 'val_loss'"
        message = f"EarlyStopping({metric!r}) watches {metric!r}, but this loop reports: {known}.{hint}"
        with pytest.raises(ValueError, match=rf"^{re.escape(message)}(\n|$)"):
            loop.run(epochs=1)
        loop.hooks.remove("early_stopping")
    assert loop.step == 0


@pytest.mark.parametrize(("short", "meant"), [("val_acc", "val_accuracy"), ("acc", "val_accuracy"), ("los", "loss")])
def test_what_is_short_for_a_metric_is_told_it(short: str, meant: str) -> None:
    with pytest.raises(ValueError, match=f"watches '{short}'.* Did you mean '{meant}'"):
        make_counter([EarlyStopping(short, mode="max")]).run(steps=1)
