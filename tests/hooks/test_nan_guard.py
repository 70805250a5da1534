"""NaNGuard: what it finds, at which step, and what is left of it."""

import logging
import math
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny import bits

from hooks import Checkpoint, EarlyStopping, Export, NaNGuard, TensorBoard
from loop import ArrayData, At, Evaluation, Event, Every, Hook, Loop, Moment, StatefulData, StreamData, supervised

NAN, INF = math.nan, math.inf
ROWS = 8  # steps in an epoch


def make_loop(
    hooks: Sequence[Hook] = (), bad: dict[int, float] | None = None, data: object = None, *, evaluate: bool = False
) -> Loop:
    """Returns a loop whose loss, at the rows with these numbers, is what is given, and whose variable becomes that.

    Rows are numbered from 0, and come in this order in each epoch unless the data say otherwise.
    """
    w = tf.Variable(1.0, name="w")
    rows, losses = tf.constant([*(bad or {-1: 0.0})], tf.float32), tf.constant([*(bad or {-1: 0.0}).values()])

    def step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        x = tf.reshape(tf.cast(x, tf.float32), [])
        is_bad = tf.equal(rows, x)
        loss = tf.where(tf.reduce_any(is_bad), tf.reduce_sum(tf.where(is_bad, losses, tf.zeros_like(losses))), 1.0)
        w.assign(0.5 * w + x * loss)
        return {"loss": loss, "w": w + 0.0}

    given = ArrayData(np.arange(ROWS, dtype=np.float32), batch_size=1, shuffle=False) if data is None else data
    val = Evaluation(lambda x: {"w": w + 0.0}, ArrayData(np.zeros([1, 1]), batch_size=1)) if evaluate else None
    return Loop(step, given, state={"w": w}, hooks=hooks, evaluate=val)


class Notes(Hook):
    """Notes the values of all steps, and the events."""

    every = Every(steps=3)

    def __init__(self) -> None:
        super().__init__()
        self.w: dict[int, float] = {}
        self.events: list[tuple[str, int]] = []

    def on_steps(self, first_step: int, values: dict[str, np.ndarray]) -> None:
        self.w |= {first_step + i: float(value) for i, value in enumerate(values["w"])}

    def note(self, moment: Moment) -> None:
        self.events.append((str(moment.event), moment.step))

    on_run_begin = on_step_end = on_epoch_end = on_run_end = note


def saved(directory: Path) -> list[str]:
    return sorted(path.stem for path in directory.glob("*.json"))


def test_raise_names_the_step_the_value_and_the_rows_and_saves_nothing_of_it(tmp_path: Path) -> None:
    notes = Notes()
    loop = make_loop([NaNGuard(watch=["loss"]), notes, Checkpoint(tmp_path, Every(steps=3))], {4: NAN})
    with pytest.raises(FloatingPointError) as error:
        loop.run(epochs=2)
    assert str(error.value) == (
        "loss = nan after step 5: batch 5 of epoch 1 (rows 4). Look at the rows, the learning rate and what the loss "
        "divides by or takes the logarithm of."
    )
    assert (loop.step, [*notes.w], saved(tmp_path)) == (5, [1, 2, 3, 4, 5], ["ckpt-3"])


def test_the_batch_is_named_also_where_an_epoch_was_ended_early() -> None:
    loop = make_loop([NaNGuard()], {4: NAN})
    loop.on("step_end", every=At(2))(lambda moment: moment.stop("enough", end_epoch=True))
    loop.run(epochs=2)
    with pytest.raises(FloatingPointError, match=r"after step 7: batch 5 of epoch 2 \(rows 4\)\."):
        loop.run(epochs=2)


def test_stop_ends_the_run_with_the_reason_and_what_is_condemned_is_not_saved(tmp_path: Path) -> None:
    loop = make_loop([NaNGuard("stop", limits={"loss": 10.0}), Checkpoint(tmp_path, Every(steps=3))], {5: 11.0})
    result = loop.run(epochs=2)
    assert (result.step, result.reason) == (6, "loss = 11 is above its limit of 10 after step 6")
    assert saved(tmp_path) == ["ckpt-3"]  # though one was due at 6, and one at the end
    begun = []
    loop.on(Event.RUN_BEGIN)(lambda moment: begun.append(moment.step))
    assert loop.run(epochs=2).reason == result.reason  # again, from what was saved
    assert begun == [3]


def test_a_run_that_was_stopped_and_of_which_nothing_is_saved_cannot_go_on() -> None:
    loop = make_loop([NaNGuard("stop")], {4: INF})
    assert loop.run(epochs=1).reason == "loss = inf after step 5"
    with pytest.raises(RuntimeError, match=r"was stopped because loss = inf after step 5\. Nothing that was saved was"):
        loop.run(epochs=2)


def test_a_finite_value_at_its_limit_is_none_to_be_found() -> None:
    assert make_loop([NaNGuard(limits={"loss": 10.0}), NaNGuard("stop", name="b")], {4: 10.0}).run(epochs=1).step == 8
    assert make_loop([NaNGuard(watch=["loss"])], {4: -1e30}).run(epochs=1).step == 8


def test_only_what_is_watched_is_found() -> None:
    assert make_loop([NaNGuard(watch=["loss"], limits={"w": INF})], {4: 3e38}).run(epochs=1).step == 8
    with pytest.raises(FloatingPointError, match="loss = nan is above its limit of inf after step 5"):
        make_loop([NaNGuard(watch=[], limits={"loss": INF})], {4: NAN}).run(epochs=1)
    with pytest.raises(FloatingPointError, match="w = inf after step 5"):
        make_loop([NaNGuard()], {4: 3e38}).run(epochs=1)


def spikes(losses: Sequence[float], spike: float, window: int) -> int | None:
    """Returns the first step whose loss is a spike, by NumPy; None if there is none."""
    for i in range(window, len(losses)):
        median = np.median(losses[i - window : i])
        if losses[i] - median > (spike - 1) * abs(median):
            return i + 1
    return None


def test_spikes_are_those_above_the_median_of_the_latest_values(tmp_path: Path) -> None:
    draw = np.random.default_rng(3)
    series = tf.Variable(tf.zeros([60]))
    index, starts = tf.Variable(0), []

    def step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"loss": series[index.assign_add(1) - 1]}

    loop = Loop(step, ArrayData(np.zeros([60, 1]), batch_size=1), state={"series": series, "index": index})
    loop.hooks.add(NaNGuard("stop", spike={"loss": 2.0}, window=5))
    for _ in range(12):
        losses = draw.normal(draw.choice([-3, 0, 3]), 1.0, size=60).astype(np.float32)
        series.assign(losses)
        guard = loop.hooks["nan_guard"]
        index.assign(0)
        guard.count.assign(0)
        first = loop.step
        wanted = spikes(losses.astype(np.float64).tolist(), 2.0, 5)
        result = loop.run(steps=first + 60)
        loop.state.position.restored()
        starts.append(wanted)
        assert result.step - first == (60 if wanted is None else wanted)
    assert len({*starts}) > 3


def test_spikes_are_found_under_xla() -> None:
    series, index = tf.Variable(tf.range(1.0, 31.0)), tf.Variable(0)
    series[20].assign(99.0)

    def step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"loss": tf.gather(series, index.assign_add(1) - 1), "x": tf.reduce_sum(x)}

    data, state = ArrayData(np.zeros([30, 1]), batch_size=1, shuffle=False), {"series": series, "index": index}
    guard = NaNGuard("stop", spike={"loss": 4.0}, window=5)
    assert Loop(step, data, state=state, hooks=[guard], jit_compile=True).run(epochs=1).step == 21


class Same(Hook):
    every = Every(steps=2)

    def on_step_end(self, moment: Moment) -> None:
        pass


def test_training_has_the_same_bits_with_it_and_without_it() -> None:
    ended = []
    for hooks in ([], [NaNGuard(spike={"loss": 9.0}, limits={"w": 1e9})], [NaNGuard(), Same()]):
        loop = make_loop(hooks, {5: 1.25})
        loop.run(epochs=3)
        ended.append({path: value for path, value in bits(loop).items() if not path.startswith("hooks/")})
    assert ended[0] == ended[1] == ended[2]


class Source:
    """Rows from Python."""

    def __init__(self) -> None:
        self.at = 0

    def __iter__(self) -> "Source":
        return self

    def __next__(self) -> np.ndarray:
        self.at += 1
        return np.array([(self.at - 1) % ROWS], np.float32)

    def get_state(self) -> dict[str, int]:
        return {"at": self.at}

    def set_state(self, state: dict[str, int]) -> None:
        self.at = state["at"]


def rows() -> tf.data.Dataset:
    return tf.data.Dataset.range(ROWS).batch(1)


DATA = {
    "stream": lambda: StreamData(rows()),
    "of unknown length": lambda: StreamData(rows().filter(lambda x: True)),
    "fed": lambda: StatefulData(Source(), steps_per_epoch=ROWS),
}


@pytest.mark.parametrize("kind", ["fed", pytest.param("of unknown length", marks=pytest.mark.long)])
def test_of_other_data_it_is_found_at_the_step_too(kind: str) -> None:
    loop = make_loop([NaNGuard("stop")], {4: NAN}, DATA[kind]())
    assert (loop.run(epochs=2).reason, loop.step) == ("loss = nan after step 5", 5)


# Rolling back.


def guarded(directory: Path, policy: str = "rollback", every: int = 3, **more: object) -> list[Hook]:
    return [NaNGuard(policy, **more), Checkpoint(directory, Every(steps=every), keep=9)]


def without(bad: Sequence[int], steps: int) -> float:
    """Returns what the variable is when the rows of these steps are left out."""
    w = 1.0
    for step in range(1, steps + 1):
        w = w if step in bad else 0.5 * w + (step - 1) % ROWS
    return w


def test_rollback_leaves_out_the_batch_and_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    notes = Notes()
    loop = make_loop([notes, *guarded(tmp_path)], {4: NAN})
    result = loop.run(epochs=2)
    assert (result.step, result.epoch, result.reason) == (16, 2, "2 epochs are complete")
    assert float(loop.state.variables["w"]) == without([5, 13], 16)
    assert [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING] == [
        "NaNGuard: loss = nan after step 5. The run goes back, to leave out batch 5 of epoch 1 (rows 4).",
        "NaNGuard: loss = nan after step 13. The run goes back, to leave out batch 5 of epoch 2 (rows 4).",
    ]
    of_runs = [("run_begin", 0), ("step_end", 3), ("run_end", 5), ("run_begin", 3), ("step_end", 6), ("epoch_end", 8)]
    assert notes.events[:6] == of_runs
    assert math.isnan(notes.w.pop(5))
    assert math.isnan(notes.w.pop(13))
    assert notes.w == {step: without([5, 13], step) for step in range(1, 17) if step not in (5, 13)}


@pytest.mark.parametrize("data", ["arrays", *(pytest.param(kind, marks=pytest.mark.long) for kind in DATA)])
def test_an_epoch_whose_last_batch_is_left_out_ends_all_the_same(data: str, tmp_path: Path) -> None:
    loop = make_loop(guarded(tmp_path), {7: NAN}, None if data == "arrays" else DATA[data](), evaluate=True)
    notes = loop.hooks.add(Notes())
    result = loop.run(epochs=2)
    assert (result.step, result.epoch) == (16, 2)
    assert float(next(v for v in loop.state.given().values())) == without([8, 16], 16)
    ends = [step for event, step in notes.events if event == "epoch_end"]
    assert ends == [8, 16]
    assert result.history["val_w"] == [without([8], 8), without([8, 16], 16)]


def test_means_of_an_epoch_are_of_what_was_trained_also_without_its_first_batch(tmp_path: Path) -> None:
    data = ArrayData(np.arange(ROWS, dtype=np.float32), batch_size=1, seed=3)
    first, second = (data.rows(epoch, 0)[0] for epoch in (0, 1))
    bad = {first: 3.0, second: NAN}
    assert first != second
    loop = make_loop(guarded(tmp_path, every=1), bad, data)
    loop.run(epochs=2)
    assert loop.run(epochs=2).history["loss"] == [pytest.approx((3 + 6) / 7), pytest.approx((3 + 6) / 7)]
    assert loop.hooks["nan_guard"].skipped.numpy()[-1] == 9  # the first step of the second epoch


def test_several_batches_are_those_before_it_and_an_older_checkpoint_is_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    loop = make_loop(guarded(tmp_path, every=1, skip=3), {6: NAN})
    notes = loop.hooks.add(Notes())
    loop.run(epochs=1)
    assert float(loop.state.variables["w"]) == without([5, 6, 7], 8)
    assert ("run_begin", 4) in notes.events
    said = "leave out batch 5 of epoch 1 (rows 4), batch 6 of epoch 1 (rows 5), batch 7 of epoch 1 (rows 6)."
    assert said in caplog.text


@pytest.mark.more
def test_too_many_rollbacks_end_the_run(tmp_path: Path) -> None:
    loop = make_loop(guarded(tmp_path, max_rollbacks=2), {4: NAN, 5: INF, 6: NAN})
    with pytest.raises(
        FloatingPointError, match=r"loss = nan after step 7: .*rolled back 2 times, for steps 5, 6; max_"
    ):
        loop.run(epochs=1)
    assert make_loop(guarded(tmp_path / "more"), {4: NAN, 5: INF, 6: NAN}).run(epochs=1).step == 8


def test_where_nothing_is_saved_before_the_step_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(
        RuntimeError, match=r"^loss = nan after step 2, and there is no checkpoint before step 2\. Nothing"
    ):
        make_loop(guarded(tmp_path), {1: NAN}).run(epochs=1)


def test_what_cannot_be_is_refused_before_the_first_step(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"no hook saves one\. Add Checkpoint\(directory, Every\(steps=100\)\), or write"
    ):
        make_loop([NaNGuard("rollback")]).run(epochs=1)
    with pytest.raises(ValueError, match=r"skip=8\) would leave nothing of an epoch of 8 steps"):
        make_loop(guarded(tmp_path, skip=8)).run(epochs=1)
    with pytest.raises(ValueError, match=r"watches 'lost', but the step returns: 'loss', 'w'"):
        make_loop([NaNGuard(limits={"lost": 1.0})]).run(epochs=1)
    with pytest.raises(ValueError, match=r"must be 'raise', 'stop' or 'rollback'. Received: 'ignore'"):
        NaNGuard("ignore")
    with pytest.raises(ValueError, match=r"spike=...\) must be above 1, times the median. Received: 0.5"):
        NaNGuard(spike={"loss": 0.5})
    with pytest.raises(TypeError, match=r"Write watch=\['loss'\]"):
        NaNGuard(watch="loss")
    with pytest.raises(ValueError, match=r"skip=...\) must be at least 1. Received: 0"):
        NaNGuard(skip=0)


def cut(directory: Path, cuts: Sequence[int], data: str = "arrays", **more: object) -> tuple[dict[str, bytes], object]:
    """Returns the bits, and the history, of a run that is cut there and made anew each time."""
    for until in cuts:
        given = None if data == "arrays" else DATA[data]()
        loop = make_loop([EarlyStopping("loss", mode="min", patience=99), *guarded(directory, **more)], BAD, given)
        result = loop.run(steps=until)
    return bits(loop), result.history


BAD = {3: NAN, 6: 50.0}
HOW = {"limits": {"loss": 10.0}, "spike": {"loss": 4.0}, "window": 4, "max_rollbacks": 9}


def test_a_run_that_is_cut_ends_with_the_same_bits(tmp_path: Path) -> None:
    whole = cut(tmp_path / "whole", [20], **HOW)
    assert cut(tmp_path / "cut", [5, 20], **HOW) == whole  # 5 is between what was undone and what was found


@pytest.mark.long
@pytest.mark.parametrize(("data", "skip"), [("arrays", 2), *((data, 1) for data in ("arrays", *DATA))])
def test_cut_after_any_step_it_ends_with_the_same_bits(data: str, skip: int, tmp_path: Path) -> None:
    whole = cut(tmp_path / "whole", [20], data, skip=skip, every=2, **HOW)
    assert whole[0]["hooks/nan_guard/skipped"] != b""
    for at in range(1, 20):
        assert cut(tmp_path / str(at), [at, 20], data, skip=skip, every=2, **HOW) == whole, at


class Killer(Hook):
    """Raises at a step, for the first time that it is there, as a kill would end the run."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.every = At(at)
        self.left = [None]

    def on_step_end(self, moment: Moment) -> None:
        if self.left:
            self.left.pop()
            raise KeyboardInterrupt


@pytest.mark.long
def test_killed_at_any_step_also_after_a_rollback_it_ends_with_the_same_bits(tmp_path: Path) -> None:
    whole = cut(tmp_path / "whole", [20], every=3, **HOW)
    for at in range(1, 20):
        first = [
            Killer(at),
            EarlyStopping("loss", mode="min", patience=99),
            *guarded(tmp_path / str(at), every=3, **HOW),
        ]
        with pytest.raises(KeyboardInterrupt):
            make_loop(first, BAD).run(steps=20)
        assert cut(tmp_path / str(at), [20], every=3, **HOW) == whole, at


def test_curves_and_a_stop_from_outside_are_those_of_a_resumed_run(tmp_path: Path) -> None:
    hooks = [TensorBoard(tmp_path / "tb", Every(steps=1)), *guarded(tmp_path / "ckpt")]
    loop = make_loop(hooks, {4: NAN})

    @loop.on(Event.RUN_END)
    def stop(moment: Moment) -> None:
        if moment.step == 5:
            loop.stop("enough")

    assert (loop.run(epochs=1).reason, loop.step) == ("enough", 3)
    loop.run(epochs=1)
    steps = sorted(event.step for path in (tmp_path / "tb").glob("*/events*") for event in events(path, "loss"))
    assert steps == [1, 2, 3, 4, 6, 7, 8]


def events(path: Path, tag: str) -> list[tf.compat.v1.Event]:
    records = map(tf.compat.v1.Event.FromString, tf.compat.v1.io.tf_record_iterator(str(path)))
    return [event for event in records if any(value.tag == tag for value in event.summary.value)]


def test_a_run_that_is_stopped_at_its_last_step_exports_nothing_of_that(tmp_path: Path) -> None:
    def run(policy: str, bad: dict[int, float]) -> tuple[str, list[str], str]:
        model = keras.Sequential([keras.Input([1]), keras.layers.Dense(1)])
        step, _ = supervised(model, optimizer := keras.optimizers.SGD(0.1), "mse")
        rows = np.array([[bad.get(row, 1.0)] for row in range(2)], np.float32)
        export = Export(tmp_path / str(len(bad)), model, "end", format="weights")
        data = ArrayData((rows, rows), batch_size=1, shuffle=False)
        hooks = [NaNGuard(policy), export]
        loop = Loop(step, data, state={"model": model, "optimizer": optimizer}, hooks=hooks)
        return loop.run(epochs=1).reason, [path.name for path in export.paths()], loop.finished

    assert run("stop", {1: NAN}) == ("loss = nan after step 2", [], "")
    assert run("stop", {})[1] == ["2.weights.h5"]


@pytest.mark.more
def test_a_dry_run_raises_what_is_found_and_leaves_the_policy(tmp_path: Path) -> None:
    guard = NaNGuard("rollback")
    loop = make_loop([guard, Checkpoint(tmp_path, Every(steps=2))], {4: NAN})
    assert loop.dry_run().step == 1
    loop.run(epochs=1)
    assert guard.skipped.numpy().tolist() == [5]
    with pytest.raises(FloatingPointError, match="loss = nan after step 1: batch 1 of epoch 1"):
        make_loop([NaNGuard("rollback"), Checkpoint(tmp_path / "first")], {0: NAN}).dry_run()
