"""What has changed between two starts is refused, or a warning, and named."""

import logging
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from hooks import Checkpoint
from hooks.checkpoint.record.environment import changes, environment
from hooks.checkpoint.record.manifest import decode, encode
from loop import ArrayData, Evaluation, Every, Hook, Loop, Moment, StreamData, supervised

X = np.random.default_rng(1).normal(size=[20, 4]).astype(np.float32)
Rows = Callable[[], ArrayData | StreamData]


def make_loop(
    directory: Path,
    *,
    activation: str = "relu",
    decay: int = 100,
    weights: tuple[float, float] = (0.3, 0.7),
    dropout: float = 0.2,
    minuend: int = 0,
    seed: int = 1,
    data: Rows | None = None,
    evaluated: bool = False,
    hooks: Sequence[Hook] = (),
    **kinds: object,
) -> Loop:
    keras.utils.set_random_seed(seed)
    layers = [keras.layers.Dense(3, activation=activation), keras.layers.Dropout(dropout), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input([4]), *layers])
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.1, decay))

    def loss(y: tf.Tensor, prediction: tf.Tensor, sample_weight: tf.Tensor | None) -> tf.Tensor:
        pair = (prediction, y)
        error = pair[minuend] - pair[1 - minuend]
        return weights[0] * tf.reduce_mean(tf.abs(error)) + weights[1] * tf.reduce_mean(tf.square(error))

    step, eval_step = supervised(model, optimizer, loss)
    state = {"model": model, "optimizer": optimizer}
    evaluate = Evaluation(eval_step, arrays()) if evaluated else None
    every_hook = [*hooks, Checkpoint(directory, Every(steps=2), **kinds)]
    return Loop(step, data() if data else arrays(), state=state, hooks=every_hook, evaluate=evaluate)


def arrays(change: float = 0.0, seed: int = 1) -> ArrayData:
    x = X.copy()
    x[3, 2] += change
    return ArrayData((x, X[:, :1]), batch_size=5, seed=seed)


def text(warning: warnings.WarningMessage) -> str:
    return str(warning.message)


def stream(
    factor: float = 1.0,
    seed: int = 1,
    change: float = 0.0,
    threads: int = 1,
    *,
    flips: bool = False,
    ahead: int = 0,
    resume: str = "replay",
) -> StreamData:
    x = X.copy()
    x[3, 2] += change
    rows = tf.data.Dataset.from_tensor_slices((x, X[:, :1]))
    rows = rows.map(lambda x, y: (x * factor, y), num_parallel_calls=threads)
    if flips:
        rows = rows.map(lambda x, y: (x[::-1], y))

    def of_epoch(epoch: int) -> tf.data.Dataset:
        batches = rows.shuffle(20, seed=seed + epoch).batch(5)
        return batches.prefetch(ahead) if ahead else batches

    return StreamData(of_epoch, resume=resume)


STEP, DATA = "the 'train' step has", "data: the pipeline has other arguments, functions or source data now in:"


@pytest.mark.parametrize(
    ("before", "now", "line"),
    [
        ({}, {"activation": "tanh"}, f"{STEP} other operations now: -1 Relu, -1 ReluGrad, +1 Tanh, +1 TanhGrad"),
        ({}, {"decay": 200}, f"{STEP} other constants now, such as a coefficient"),
        ({}, {"weights": (0.7, 0.3)}, f"{STEP} other constants now, such as a coefficient"),
        ({}, {"dropout": 0.3}, f"{STEP} other constants now, such as a coefficient"),
        (
            {},
            {"minuend": 1},
            f"{STEP} the same operations, connected otherwise or with other attributes now; or, if the program is the "
            "same, it has the order of a set, as list(set(names)) does, which is another in each process",
        ),
        ({}, {"seed": 2}, "seed: tf.random.set_seed was 1 in the checkpoint and is 2 now"),
        (
            {"seed": 1_234_567},
            {"seed": 7_654_321},
            "seed: tf.random.set_seed was 1234567 in the checkpoint and is 7654321 now; keras.utils.set_random_seed "
            "calls it. If each start draws one, as of the time, start with that of the checkpoint",
        ),
        ({}, {"data": lambda: arrays(0.5)}, "data: the arrays have other values than when the checkpoint was made"),
        ({}, {"data": lambda: arrays(seed=2)}, "data: seed was 1 in the checkpoint and is 2 now"),
        ({"data": stream}, {"data": lambda: stream(2.0)}, f"{DATA} ParallelMap"),
        ({"data": stream}, {"data": lambda: stream(flips=True)}, "data: the pipeline was Batch <- Shuffle <- Parallel"),
        ({"data": stream}, {"data": lambda: stream(seed=2)}, f"{DATA} Shuffle"),
        (
            {"data": stream},
            {"data": lambda: stream(change=0.5)},
            f"{DATA} TensorSlice; or, if the program is the same, it draws in a process that is not seeded: give "
            "shuffles and the like a seed, or call keras.utils.set_random_seed first; or it has the order of a set, as "
            "list(set(names)) does, which is another in each process: write sorted(set(names)); or it writes its files "
            "anew at each start, and not the same into them, such as the time or what has no seed: write them only if "
            "they are not there",
        ),
    ],
    ids=[
        "activation",
        "schedule",
        "coefficients",
        "dropout",
        "order",
        "global seed",
        "drawn seed",
        "arrays",
        "seed",
        "map function",
    ]
    + ["augmentation", "shuffle seed", "tensors"],
)
def test_what_changes_the_numbers_is_refused_and_named_or_a_warning(
    before: dict, now: dict, line: str, tmp_path: Path
) -> None:
    make_loop(tmp_path, **before).run(steps=4)
    with pytest.raises(ValueError, match="Nothing was restored") as error:
        make_loop(tmp_path, **now).run(steps=6)
    assert [told for told in str(error.value).splitlines() if told.startswith(f"  {line}")] != []
    assert "Checkpoint(..., resume_changed='warn')" in str(error.value)
    with pytest.warns(UserWarning, match="The run goes on with other numbers") as warned:
        assert make_loop(tmp_path, **now, resume_changed="warn").run(steps=6).step == 6
    going_on = f"The run goes on with other numbers: {line}"
    assert [message for message in map(text, warned) if message.startswith(going_on)] != []


@pytest.mark.more
def test_how_many_threads_read_and_how_far_ahead_is_nobody_s_affair(tmp_path: Path) -> None:
    whole = make_loop(tmp_path / "whole", data=stream)
    whole.run(steps=6)
    make_loop(tmp_path / "cut", data=stream).run(steps=3)
    again = make_loop(tmp_path / "cut", data=lambda: stream(threads=2, ahead=2))
    again.run(steps=6)
    assert [trained(again) == trained(whole), len(trained(whole)) > 9] == [True, True]
    make_loop(tmp_path / "saved", data=lambda: stream(resume="state")).run(steps=4)  # the end of an epoch
    assert make_loop(tmp_path / "saved", data=lambda: stream(threads=2, ahead=2, resume="state")).run(steps=5).step == 5


def trained(loop: Loop) -> dict[str, bytes]:
    return {path: variable.numpy().tobytes() for path, variable in loop.state.given().items()}


class Counting(Hook):
    every = Every(steps=1)

    def __init__(self) -> None:
        super().__init__()
        self.count = tf.Variable(0)

    def on_step_end(self, moment: Moment) -> None:
        self.count.assign_add(1)


@pytest.mark.more
def test_hooks_and_evaluations_come_and_go(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make_loop(tmp_path).run(steps=3)
    counting = Counting()
    assert make_loop(tmp_path, evaluated=True, hooks=[counting]).run(steps=7).logs.keys() >= {"val_loss"}
    assert int(counting.count) == 4  # it begins where it comes
    with caplog.at_level(logging.WARNING, "exactloop"):
        make_loop(tmp_path).run(steps=10)
        assert make_loop(tmp_path, hooks=[counting]).run(steps=11).step == 11
    assert [record.getMessage().partition(".")[0] for record in caplog.records] == [
        "ckpt-3 holds nothing of hooks that are here now: 'counting'",
        "ckpt-7 holds what was kept by hooks that are not here now: 'counting'",
        "ckpt-10 holds nothing of hooks that are here now: 'counting'",
    ]


def as_if_made_with(directory: Path, **other: object) -> None:
    """Rewrites the latest manifest as if it had been made with other versions, or on another machine."""
    newest = max(directory.glob("ckpt-*.json"), key=lambda file: int(file.stem.removeprefix("ckpt-")))
    manifest = decode(newest.read_bytes())
    newest.write_bytes(encode(replace(manifest, made={**manifest.made, **other})))


@pytest.mark.more
def test_other_versions_threads_and_settings_are_warnings_that_name_each(tmp_path: Path) -> None:
    make_loop(tmp_path).run(steps=4)
    other = {"numpy": "1.9.0", "python": "3.9.0", "intra_op_threads": 99, "inter_op_threads": 98}
    other |= {"op_determinism": 7, "onednn": "?", "devices": "9 TPU", "processor": "an abacus"}
    as_if_made_with(tmp_path, **other)
    with pytest.warns(UserWarning, match="The bits of the run may be others from here on") as warned:
        assert make_loop(tmp_path).run(steps=5).step == 5
    for key, was in other.items():
        line = f"The bits of the run may be others from here on: {key} was {was} and is {environment()[key]}."
        assert line in [*map(text, warned)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        as_if_made_with(tmp_path, numpy="1.9.0")
        with pytest.raises(ValueError, match="the 'train' step has other operations now"):
            make_loop(tmp_path, activation="tanh").run(steps=6)


@pytest.mark.more
@pytest.mark.parametrize("library", ["tensorflow", "keras"])
def test_with_another_version_of_what_builds_the_step_its_differences_are_warnings(
    library: str, tmp_path: Path
) -> None:
    make_loop(tmp_path).run(steps=4)
    as_if_made_with(tmp_path, **{library: "1.0.0"})
    with pytest.warns(UserWarning, match=f"{library} was 1.0.0 and is|The run goes on with other numbers") as warned:
        assert make_loop(tmp_path, activation="tanh").run(steps=5).step == 5
    told = "\n".join(map(text, warned))
    assert f"The bits of the run may be others from here on: {library} was 1.0.0 and is" in told
    assert "The run goes on with other numbers: the 'train' step has other operations now: -1 Relu" in told


def test_what_may_change_bits_is_named() -> None:
    now = environment()
    for key in now:
        assert changes({**now, key: "other"}, now) == [f"{key} was other and is {now[key]}"]
    assert changes(now, now) == []


def test_a_variable_in_the_place_of_an_equal_one_is_told_before_it_is_set() -> None:
    """As in a notebook, whose cell makes it anew: the compiled loop would go on reading the other one."""
    scale, total = tf.Variable(2.0, name="scale"), tf.Variable(0.0)

    def step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"total": total.assign_add(scale * x[0])}

    loop = Loop(step, ArrayData(tf.range(4.0), batch_size=1, seed=1), state={"total": total})
    loop.run(epochs=1)
    first, scale = scale, tf.Variable(2.0, name="scale")
    with pytest.raises(RuntimeError, match="scale is another object now"):
        loop.run(epochs=2)
    scale = first
    assert loop.run(epochs=2).epoch == 2
