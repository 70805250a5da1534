"""Checkpoint: what is on disk, what is restored, and what is refused."""

import hashlib
import json
import math
import os
import random
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np
import nursery
import pytest
import tensorflow as tf
from storage import bits, files, names

from hooks import Checkpoint, CorruptCheckpoint, EarlyStopping, restore
from hooks.checkpoint.commits.store import Store
from hooks.checkpoint.disk.directory import open_files
from loop import NEVER, ArrayData, At, Evaluation, Event, Every, Hook, Loop, Moment, Trigger

NAN = float("nan")
EVERY_2 = Every(steps=2)
OTHER_STEP = "The run goes on with other numbers: the 'train' step has other constants now"


def make_loop(
    *hooks: Hook,
    units: int = 1,
    optimizer: type[keras.optimizers.Optimizer] = keras.optimizers.SGD,
    batch_size: int = 1,
    seed: int = 1,
    evaluate: bool = False,
    eval_every: Trigger = Every(epochs=1),
    losses: Sequence[float] = (),
    fail_at: int = 0,
) -> Loop:
    """Returns a loop that fits a line to four rows, four steps an epoch.

    Args:
        losses: What to report as the loss of the steps, instead of what it is.
        fail_at: The step in which to fail.
    """
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.Input([1]), keras.layers.Dense(units)])
    adapt = optimizer(0.01)

    def train_step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(x) - 3.0) ** 2)
        adapt.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        tf.debugging.assert_none_equal(adapt.iterations.value, tf.constant(fail_at, adapt.iterations.dtype))
        return {"loss": tf.constant(losses)[adapt.iterations - 1] if losses else loss}

    def eval_step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"loss": tf.reduce_mean((model(x) - 3.0) ** 2)}

    x = np.arange(1.0, 5.0, dtype=np.float32)[:, None]
    return Loop(
        train_step,
        ArrayData(x, batch_size=batch_size, seed=3),
        state={"model": model, "optimizer": adapt},
        evaluate=Evaluation(eval_step, ArrayData(x, batch_size=4)) if evaluate else None,
        eval_every=eval_every,
        hooks=hooks,
    )


@pytest.fixture(scope="module")
def whole() -> dict[int, dict[str, bytes]]:
    """The state of an uninterrupted run without checkpoints, by step."""
    loop, at = make_loop(), {}
    for step in range(1, 11):
        loop.run(steps=step)
        at[step] = bits(loop)
    return at


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run that was saved after steps 2, 4 and 6."""
    directory = tmp_path_factory.mktemp("original")
    make_loop(Checkpoint(directory, EVERY_2)).run(steps=6)
    return directory


@pytest.fixture
def saved(original: Path, tmp_path: Path) -> Path:
    """A copy of it to play with."""
    return Path(shutil.copytree(original, tmp_path / "saved"))


# Resuming.


@pytest.mark.more
def test_auto_begins_where_nothing_is_and_goes_on_where_something_is(
    whole: dict[int, dict[str, bytes]], tmp_path: Path
) -> None:
    for steps in (3, 4, 10):
        loop = make_loop(Checkpoint(tmp_path / "not" / "yet", EVERY_2))
        loop.run(steps=steps)
        assert bits(loop) == whole[steps]


@pytest.mark.more
def test_must_goes_on(whole: dict[int, dict[str, bytes]], saved: Path) -> None:
    loop = make_loop(Checkpoint(saved, resume="must"))
    loop.run(steps=8)
    assert bits(loop) == whole[8]


def test_must_refuses_to_begin_from_nothing(tmp_path: Path) -> None:
    loop = make_loop(Checkpoint(tmp_path, resume="must"))
    with pytest.raises(FileNotFoundError, match=f"resume='must', but there is no checkpoint in {str(tmp_path)!r}"):
        loop.run(steps=1)
    assert loop.step == 0


def test_never_starts_afresh_and_sets_aside_what_is_there(whole: dict[int, dict[str, bytes]], saved: Path) -> None:
    before = files(saved)
    loop = make_loop(Checkpoint(saved, EVERY_2, resume="never"))
    loop.run(steps=3)
    assert bits(loop) == whole[3]
    aside = {name: content for name, content in before.items() if name != "checkpoint"}
    assert files(saved / "set-aside-1") == aside
    make_loop(Checkpoint(saved, EVERY_2, resume="never")).run(steps=1)
    after = files(saved)
    assert set(after) == {
        *names(1),
        *(f"set-aside-1/{name}" for name in aside),
        *(f"set-aside-2/{name}" for name in names(2, 3) - {"checkpoint"}),
    }


def test_never_means_each_loop_also_if_the_hook_is_given_to_another_one(
    whole: dict[int, dict[str, bytes]], saved: Path
) -> None:
    hook = Checkpoint(saved, EVERY_2, resume="never")
    make_loop(hook).run(steps=4)
    loop = make_loop(hook)  # a cell of a notebook that is run again
    assert loop.run(steps=3).step == 3
    assert bits(loop) == whole[3]


def test_never_means_what_was_there_before_and_not_what_the_same_loop_saved(
    whole: dict[int, dict[str, bytes]], saved: Path
) -> None:
    loop = make_loop(Checkpoint(saved, EVERY_2, resume="never"))
    loop.run(steps=2)

    @loop.on(Event.STEP_END, every=At(3))
    def fail(moment: Moment) -> None:
        loop.hooks.remove("fail")
        raise ArithmeticError("once")

    with pytest.raises(ArithmeticError, match="once"):
        loop.run(steps=4)
    loop.run(steps=4)
    assert bits(loop) == whole[4]
    assert {path.name for path in saved.glob("set-aside-*")} == {"set-aside-1"}


def test_a_loop_whose_run_failed_goes_on_from_the_checkpoint(
    whole: dict[int, dict[str, bytes]], tmp_path: Path
) -> None:
    loop = make_loop(Checkpoint(tmp_path, At(1, 3), keep=9))

    @loop.on(Event.STEP_END, every=At(3))
    def fail(moment: Moment) -> None:
        loop.hooks.remove("fail")
        raise ArithmeticError("once")

    with pytest.raises(ArithmeticError, match="once"):
        loop.run(steps=5)
    loop.on(Event.STEP_END, every=At(2))(lambda moment: None)  # settles off the grid
    loop.run(steps=5)
    assert bits(loop) == whole[5]
    assert set(files(tmp_path)) == names(1, 3, 5)


# Which checkpoints there are.


@pytest.mark.more
@pytest.mark.parametrize(("keep", "kept"), [(1, [9]), (3, [6, 8, 9]), (9, [2, 4, 6, 8, 9])])
def test_the_latest_are_kept(keep: int, kept: list[int], tmp_path: Path) -> None:
    make_loop(Checkpoint(tmp_path, EVERY_2, keep=keep)).run(steps=9)
    assert set(files(tmp_path)) == names(*kept)


def best_of(losses: Sequence[float], directory: Path, *args: object, **arguments: object) -> set[str]:
    """Runs one step an epoch with these losses and returns the names of the files."""
    loop = make_loop(Checkpoint(directory, *args, best="loss", **arguments), batch_size=4, losses=losses)
    loop.run(epochs=len(losses))
    return set(files(directory))


@pytest.mark.more
def test_improvements_are_saved_off_the_grid_and_the_smallest_kept(tmp_path: Path) -> None:
    losses = [5.0, 3.0, 4.0, 2.0, 6.0, 7.0, 8.0]  # saved after 1, 2, 3 (grid), 4, 6 (grid) and 7 (last)
    assert best_of(losses, tmp_path / "1", Every(steps=3), mode="min", keep=1) == names(4, 7)
    assert best_of(losses, tmp_path / "2", Every(steps=3), mode="min", keep=1, keep_best=3) == names(2, 3, 4, 7)
    assert best_of(losses, tmp_path / "3", Every(steps=3), mode="min", keep=2, keep_best=2) == names(2, 4, 6, 7)


@pytest.mark.more
def test_improvements_are_saved_off_the_grid_and_the_largest_kept(tmp_path: Path) -> None:
    losses = [5.0, 3.0, 6.0, 7.0, 2.0, 1.0]
    assert best_of(losses, tmp_path, NEVER, mode="max", keep=1, keep_best=2) == names(3, 4, 6)


def telling(losses: Sequence[float], *hooks: Hook) -> Loop:
    """Returns a loop of one variable and one step an epoch, with these losses."""
    count, told = tf.Variable(0), tf.constant(losses)
    data = ArrayData(np.zeros(1), batch_size=1)
    return Loop(lambda batch: {"loss": told[count.assign_add(1) - 1]}, data, state={"count": count}, hooks=hooks)


@pytest.mark.more
def test_what_is_among_the_best_is_saved_though_it_is_not_the_best(tmp_path: Path) -> None:
    losses = [1.0, 5.0, 2.0, 6.0, 2.0, 1.5, 9.0, 8.0]
    for i, (mode, keep_best, epochs, left) in enumerate(
        [
            ("min", 2, 8, (1, 6, 8)),
            ("min", 3, 8, (1, 3, 6, 8)),
            ("min", 3, 5, (1, 3, 5)),
            ("max", 3, 5, (2, 3, 4, 5)),
        ]
    ):
        hook = Checkpoint(tmp_path / str(i), NEVER, best="loss", mode=mode, keep=1, keep_best=keep_best)
        telling(losses, hook).run(epochs=epochs)
        assert set(files(tmp_path / str(i))) == names(*left)


def ranked(losses: Sequence[float], mode: str, count: int) -> list[int]:
    """Returns the steps of the best: of equals the earlier one, and NaN never."""
    valued = [(loss if mode == "min" else -loss, step) for step, loss in enumerate(losses, 1) if not math.isnan(loss)]
    return [step for _, step in sorted(valued)[:count]]


@pytest.mark.more
@pytest.mark.parametrize("mode", ["min", "max"])
def test_the_true_best_are_left_of_any_run_in_any_lives(mode: str, tmp_path: Path) -> None:
    draw = random.Random(mode)
    for count in (1, 2, 3):
        losses = [draw.choice([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, math.inf, NAN]) for _ in range(12)]
        for epochs in (draw.randint(1, 5), draw.randint(6, 11), 12):
            every = draw.choice([NEVER, Every(steps=5)])
            hook = Checkpoint(tmp_path / str(count), every, best="loss", mode=mode, keep=1, keep_best=count)
            other = Checkpoint(tmp_path / f"other {count}", NEVER, keep=1, name="other")
            telling(losses, hook, other).run(epochs=epochs)
            best = ranked(losses[:epochs], mode, count)
            assert set(files(tmp_path / str(count))) == names(*{*best, epochs}), (losses, epochs)
        restored = tf.Variable(0)
        assert restore(tmp_path / str(count), {"count": restored}, which="best") == int(restored) == best[0]


def test_a_value_stands_at_the_step_at_which_it_was_measured(tmp_path: Path) -> None:
    hook = Checkpoint(tmp_path, Every(steps=1), best="val_loss", mode="min", keep=9)
    seen: dict[int, dict[str, float]] = {}
    loop = make_loop(hook, evaluate=True, eval_every=Every(steps=3))
    loop.on(Event.EVAL_END)(lambda moment: seen.update({moment.step: dict(moment.logs)}))
    ends: list[dict[str, float]] = []
    loop.on(Event.EPOCH_END)(lambda moment: ends.append(dict(moment.logs)))
    loop.run(steps=8)
    told = {step: json.loads((tmp_path / f"ckpt-{step}.json").read_bytes()) for step in range(1, 9)}
    values = {step: manifest["logs"]["val_loss"] for step, manifest in told.items() if "val_loss" in manifest["logs"]}
    assert values == {step: logs["val_loss"] for step, logs in seen.items()}
    assert [step for step, manifest in told.items() if manifest["best"]] == [3, 6]
    assert [end["val_loss"] for end in ends] == [seen[3]["val_loss"], seen[6]["val_loss"]]  # the latest
    assert all("loss" in manifest["logs"] for manifest in told.values())


def test_a_value_is_saved_with_its_step_where_a_stop_comes_while_it_settles(tmp_path: Path) -> None:
    loop = telling([1.0, 2.0, 3.0], Checkpoint(tmp_path, NEVER, best="loss", mode="min"))

    class Late(Hook):
        saves = True

        def on_settled(self, moment: Moment) -> None:
            if moment.step == 2:  # whose value is not the best, so nothing has been saved by now
                loop.stop("now")

    loop.hooks.add(Late())
    loop.run(epochs=3)
    saved = {step: json.loads((tmp_path / f"ckpt-{step}.json").read_bytes())["best"]["value"] for step in (1, 2)}
    assert saved == {1: 1.0, 2: 2.0}


def test_of_equals_the_first_is_the_best(tmp_path: Path) -> None:
    assert best_of([3.0, 2.0, 2.0, 2.0], tmp_path, mode="min", keep=1) == names(2, 4)


@pytest.mark.parametrize("mode", ["min", "max"])
def test_nan_is_never_the_best(mode: str, tmp_path: Path) -> None:
    assert best_of([NAN, 3.0, NAN, NAN, NAN], tmp_path / "some", NEVER, mode=mode, keep=1) == names(2, 5)
    assert best_of([NAN, NAN], tmp_path / "all", NEVER, mode=mode, keep=1) == names(2)


@pytest.mark.more
def test_a_resumed_run_knows_the_best(tmp_path: Path) -> None:
    losses = [5.0, 3.0, 4.0, 3.5, 6.0, 2.0, 7.0]
    for epochs in (3, 5, 7):
        hook = Checkpoint(tmp_path, NEVER, best="loss", mode="min", keep=1)
        make_loop(hook, batch_size=4, losses=losses).run(epochs=epochs)
        assert set(files(tmp_path)) == names({3: 2, 5: 2, 7: 6}[epochs], epochs)


def test_wrong_arguments_are_refused_with_what_would_do(tmp_path: Path) -> None:
    wrong = [
        ({"keep": 0}, "Checkpoint(keep=...) must be at least 1. Received: 0."),
        ({"keep_best": -1}, "Checkpoint(keep_best=...) must be at least 1. Received: -1."),
        ({"resume": True}, "Checkpoint(resume=...) must be 'auto', 'must' or 'never'. Received: True."),
        ({"resume": "always"}, "Checkpoint(resume=...) must be 'auto', 'must' or 'never'. Received: 'always'."),
        (
            {"best": "loss"},
            "Checkpoint(best=...) needs mode='min' if a smaller 'loss' is better, mode='max' if a larger one is. "
            "Received: mode=None.",
        ),
    ]
    for arguments, message in wrong:
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            Checkpoint(tmp_path, **arguments)


def test_an_unknown_metric_is_refused_before_the_first_step_and_nothing_is_made(tmp_path: Path) -> None:
    loop = make_loop(Checkpoint(tmp_path / "new", best="los", mode="min"))
    known = r"watches 'los', but this loop reports: 'learning_rate', 'loss'\. Did you mean 'loss'\?"
    with pytest.raises(ValueError, match=known):
        loop.run(steps=1)
    assert (loop.step, list(tmp_path.iterdir())) == (0, [])


# What is in the files.


def test_tensorflow_reads_a_checkpoint_without_this_package(whole: dict[int, dict[str, bytes]], original: Path) -> None:
    assert set(files(original)) == names(2, 4, 6)
    assert tf.train.latest_checkpoint(str(original)) == str(original / "ckpt-6")
    assert tf.train.get_checkpoint_state(str(original)).all_model_checkpoint_paths == [
        str(original / f"ckpt-{step}") for step in (2, 4, 6)
    ]
    for step in (2, 6):
        model = keras.Sequential([keras.Input([1]), keras.layers.Dense(1)])
        tf.train.Checkpoint(model=model).restore(str(original / f"ckpt-{step}")).expect_partial()
        weights = {path: value for path, value in whole[step].items() if path.startswith("model/")}
        assert sorted(variable.numpy().tobytes() for variable in model.variables) == sorted(weights.values())


def test_the_manifest_records_files_step_logs_and_variables(tmp_path: Path) -> None:
    loop = make_loop(Checkpoint(tmp_path, best="loss", mode="min"), batch_size=2)
    result = loop.run(epochs=2)
    manifest = json.loads((tmp_path / "ckpt-4.json").read_bytes())
    of_tensorflow = ("ckpt-4.data-00000-of-00001", "ckpt-4.index")
    content = {name: (tmp_path / name).read_bytes() for name in of_tensorflow}
    assert manifest["files"] == {name: [len(c), hashlib.sha256(c).hexdigest()] for name, c in content.items()}
    assert manifest["description"]["variables"] == {
        path: [*variable.shape, variable.dtype.name] for path, variable in loop.state.variables.items()
    }
    assert (manifest["step"], manifest["logs"]["loss"]) == (4, result.logs["loss"])
    assert manifest["best"] == {"name": "loss", "mode": "min", "value": result.logs["loss"]}
    assert manifest["made"]["tensorflow"] == tf.__version__
    assert manifest["made"]["keras"] == keras.__version__


@pytest.mark.more
def test_a_step_that_is_saved_is_not_written_again(tmp_path: Path) -> None:
    def life() -> Loop:
        return make_loop(Checkpoint(tmp_path, best="val_loss", mode="min"), evaluate=True)

    def stats() -> list[tuple[str, int, int]]:
        paths = sorted(tmp_path.rglob("ckpt-*"))
        return [(str(path.relative_to(tmp_path)), path.stat().st_ino, path.stat().st_mtime_ns) for path in paths]

    first = life()
    first.on(Event.EVAL_BEGIN)(lambda moment: first.stop("in the evaluation"))
    assert first.run(epochs=1).step == 4
    # The round of step 4 is not complete, so what will have its number cannot be written yet.
    assert {*files(tmp_path)} == {name.replace("ckpt", "pending") for name in names(4)}
    assert tf.train.latest_checkpoint(str(tmp_path)) == str(tmp_path / "pending-4")
    value = life().run(epochs=1).logs["val_loss"]
    before = stats()
    assert {*files(tmp_path)} == names(4)
    assert json.loads((tmp_path / "ckpt-4.json").read_bytes())["best"]["value"] == value
    assert life().run(epochs=1).step == 4
    assert stats() == before


def test_an_exception_in_a_step_saves_nothing(whole: dict[int, dict[str, bytes]], tmp_path: Path) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError):
        make_loop(Checkpoint(tmp_path, EVERY_2), fail_at=5).run(steps=10)
    assert set(files(tmp_path)) == names(2, 4)
    loop = make_loop(Checkpoint(tmp_path, EVERY_2))  # without the failure: an assertion changes no number
    loop.run(steps=6)
    assert bits(loop) == whole[6]


# Damage.


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize("ending", ["index", "data-00000-of-00001", "json"])
@pytest.mark.parametrize("damage", [flip, truncate, Path.unlink])
def test_a_damaged_checkpoint_is_reported_and_set_aside_and_the_one_before_used(
    damage: Callable[[Path], object],
    ending: str,
    whole: dict[int, dict[str, bytes]],
    saved: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = saved / f"ckpt-6.{ending}"
    damage(path)
    left = {name.name for name in saved.glob("ckpt-6.*")}
    loop = make_loop(Checkpoint(saved, NEVER))
    begun: list[int] = []
    loop.on(Event.RUN_BEGIN)(lambda moment: begun.append(moment.step))
    with pytest.warns(CorruptCheckpoint) as warned:
        loop.run(steps=7)
    (warning,) = (each.message for each in warned)
    assert (warning.file, warning.instead) == (str(path), "The one of step 4 is used instead.")
    assert str(warning) == f"{warning.file}: {warning.reason}. {warning.instead}"
    assert (begun, bits(loop)) == ([4], whole[7])
    assert {name for name in files(saved) if "/" not in name} == names(2, 4, 7)
    reported = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert reported == [f"Set aside in {saved / 'set-aside-1'}: ckpt-6."]
    assert {name.name for name in (saved / "set-aside-1").iterdir()} == left


def test_a_manifest_of_another_step_is_damage(whole: dict[int, dict[str, bytes]], saved: Path) -> None:
    for ending in ("index", "data-00000-of-00001", "json"):
        shutil.copy(saved / f"ckpt-4.{ending}", saved / f"ckpt-99.{ending}")
    loop = make_loop(Checkpoint(saved))
    with pytest.warns(CorruptCheckpoint, match="ckpt-99.json: it is the manifest of ckpt-4"):
        loop.run(steps=8)
    assert bits(loop) == whole[8]
    assert (saved / "set-aside-1" / "ckpt-99.json").exists()


def test_of_several_damaged_checkpoints_each_is_reported(
    whole: dict[int, dict[str, bytes]], saved: Path, caplog: pytest.LogCaptureFixture
) -> None:
    flip(saved / "ckpt-6.index")
    truncate(saved / "ckpt-4.json")
    loop = make_loop(Checkpoint(saved))
    with pytest.warns(CorruptCheckpoint) as warned:
        loop.run(steps=4)
    assert bits(loop) == whole[4]
    assert {each.message.file for each in warned} == {f"{saved}/ckpt-6.index", f"{saved}/ckpt-4.json"}
    reported = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert reported == [f"Set aside in {saved / 'set-aside-1'}: ckpt-6, ckpt-4."]


@pytest.mark.more
def test_damage_to_an_old_checkpoint_does_not_end_a_run_that_looks_for_the_best(tmp_path: Path) -> None:
    losses = [3.0, 2.0, 4.0, 1.0, 5.0]
    assert best_of(losses[:3], tmp_path, mode="min") == names(1, 2, 3)
    truncate(tmp_path / "ckpt-2.json")
    with (
        pytest.warns(CorruptCheckpoint, match=r"ckpt-2.json: .*The one of step 3 is used instead"),
        pytest.warns(UserWarning, match=OTHER_STEP),
    ):
        left = best_of(losses, tmp_path, mode="min", keep=2, resume_changed="warn")
    aside = {f"set-aside-1/{name}" for name in names(2) - {"checkpoint"}}
    assert left == names(4, 5) | aside


@pytest.mark.more
@pytest.mark.parametrize("resume", ["auto", "must"])
def test_if_all_are_damaged_nothing_is_assigned_and_nothing_changed(resume: str, saved: Path) -> None:
    flip(saved / "ckpt-2.index")
    truncate(saved / "ckpt-4.data-00000-of-00001")
    truncate(saved / "ckpt-6.json")
    before = files(saved)
    loop = make_loop(Checkpoint(saved, resume=resume), evaluate=True)
    loop.evaluate()
    untouched = bits(loop)
    with pytest.raises(CorruptCheckpoint, match=r"(?s)no checkpoint is whole.*ckpt-4.*ckpt-6.*ckpt-2"):
        loop.run(steps=8)
    assert (bits(loop), files(saved)) == (untouched, before)


def refused(store: Store, step: int) -> bool:
    try:
        store.pin(f"ckpt-{step}").close()
    except CorruptCheckpoint:
        return True
    return False


def replace_by_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def replace_by_link(path: Path) -> None:
    target = path.with_name("elsewhere")
    path.rename(target)
    path.symlink_to(target)


@pytest.mark.parametrize("replace", [replace_by_fifo, replace_by_link])
def test_what_is_no_plain_file_is_damage_and_not_opened(
    replace: Callable[[Path], None], original: Path, tmp_path: Path
) -> None:
    store, found = Store(open_files(tmp_path)), []
    for ending in ("index", "data-00000-of-00001", "json"):
        shutil.copytree(original, tmp_path, dirs_exist_ok=True)
        replace(tmp_path / f"ckpt-6.{ending}")
        found.append(refused(store, 6))
        (tmp_path / f"ckpt-6.{ending}").unlink()
    assert found == [True, True, True]


# Changes between the lives of a run.


class Before(Hook):
    """Tells the state before Checkpoint, behind it, restores it."""

    def __init__(self, tell: Callable[[dict[str, bytes]], None]) -> None:
        super().__init__()
        self.tell = tell

    def on_setup(self, loop: Loop, moment: Moment) -> None:
        self.tell(bits(loop))


MODEL = [
    "variables: model/_functional/_operations/1/_kernel was [1, 1, 'float32'] in the checkpoint "
    "and is [1, 2, 'float32'] now",
    "variables: model/_functional/_operations/1/bias was [1, 'float32'] in the checkpoint and is [2, 'float32'] now",
]
OPTIMIZER = [
    "state: optimizer was 'SGD' in the checkpoint and is 'Adam' now",
    "variables: optimizer/_variables/2 [1, 1, 'float32'] is missing in the checkpoint",
    "variables: optimizer/_variables/3 [1, 1, 'float32'] is missing in the checkpoint",
    "variables: optimizer/_variables/4 [1, 'float32'] is missing in the checkpoint",
    "variables: optimizer/_variables/5 [1, 'float32'] is missing in the checkpoint",
]
BATCH_SIZE = [
    "data: batch_size was 1 in the checkpoint and is 2 now",
    "data: element_spec was 'TensorSpec(shape=(1, 1), dtype=tf.float32, name=None)' in the checkpoint "
    "and is 'TensorSpec(shape=(2, 1), dtype=tf.float32, name=None)' now",
    "data: steps_per_epoch was 4 in the checkpoint and is 2 now",
]
SEED = ["seed: tf.random.set_seed was 1 in the checkpoint and is 2 now; keras.utils.set_random_seed calls it"]
ADAM = keras.optimizers.Adam


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        ({"units": 2}, MODEL),
        ({"optimizer": ADAM}, OPTIMIZER),
        ({"batch_size": 2}, BATCH_SIZE),
        ({"seed": 2}, SEED),
        ({"optimizer": ADAM, "batch_size": 2, "seed": 2}, OPTIMIZER + BATCH_SIZE + SEED),
    ],
    ids=["model", "optimizer", "batch size", "global seed", "three of them"],
)
def test_a_change_is_refused_with_all_differences_and_nothing_is_assigned(
    changes: dict[str, object], lines: list[str], saved: Path
) -> None:
    before, told = files(saved), []
    loop = make_loop(Before(told.append), Checkpoint(saved), **changes)
    with pytest.raises(ValueError, match=r"does not fit\. Nothing was restored") as error:
        loop.run(steps=8)
    assert str(error.value).splitlines()[1:-1] == [f"  {line}" for line in lines]
    assert (told, files(saved)) == ([bits(loop)], before)


def test_another_optimizer_with_variables_of_the_same_shapes_is_refused(saved: Path) -> None:
    def momentum(rate: float) -> keras.optimizers.Optimizer:
        return keras.optimizers.SGD(rate, momentum=0.9)

    make_loop(Checkpoint(saved, resume="never"), optimizer=momentum).run(steps=2)
    with pytest.raises(ValueError, match="Nothing was restored"):
        make_loop(Checkpoint(saved), optimizer=keras.optimizers.RMSprop).run(steps=8)


@pytest.mark.more
def test_hooks_may_come_and_go_between_lives(whole: dict[int, dict[str, bytes]], tmp_path: Path) -> None:
    def stopping(name: str) -> Hook:
        return EarlyStopping("loss", mode="min", patience=99, name=name)

    lives = [[stopping("first")], [], [stopping("first"), stopping("second")]]
    for steps, others in zip((4, 6, 8), lives, strict=True):
        loop = make_loop(*others, Checkpoint(tmp_path))
        loop.run(steps=steps)
        assert bits(loop) == whole[steps]


# Who may write where.


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("mine")
    for directory in (path, path / "below"):
        loop = make_loop(Checkpoint(directory))
        with pytest.raises(NotADirectoryError, match=f"need a directory. Received: {str(directory)!r}, which is"):
            loop.run(steps=1)
        assert loop.step == 0
    assert path.read_text() == "mine"


def test_a_second_loop_is_refused_while_the_first_runs_and_not_after(
    whole: dict[int, dict[str, bytes]], tmp_path: Path
) -> None:
    first = Checkpoint(tmp_path, EVERY_2, background=False)
    loop, second = make_loop(first), make_loop(Checkpoint(tmp_path))

    @loop.on(Event.STEP_END, every=At(3))
    def intrude(moment: Moment) -> None:
        before = files(tmp_path)
        who = f"another trainer (pid {os.getpid()} on {socket.gethostname()} since "
        with pytest.raises(RuntimeError, match=re.escape(who)):
            second.run(steps=1)
        assert (second.step, files(tmp_path)) == (0, before)

    loop.run(steps=4)
    assert bits(loop) == whole[4]
    second.run(steps=6)
    assert bits(second) == whole[6]


HOLD = """
import sys
from hooks.checkpoint.disk.directory import open_files
open_files(sys.argv[1]).lock()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.more
def test_a_second_process_is_refused_until_the_first_is_dead(saved: Path) -> None:
    with nursery.start("-c", HOLD, saved, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == "held\n"
        loop = make_loop(Checkpoint(saved))
        with pytest.raises(RuntimeError, match=rf"trainer \(pid {holder.pid} on {re.escape(socket.gethostname())} "):
            loop.run(steps=8)
        holder.kill()
        holder.wait()
        loop.run(steps=8)
    assert loop.step == 8


def test_junk_in_the_lock_file_locks_nothing(saved: Path) -> None:
    (saved / ".lock").write_bytes(b"pid 1 on mars\xff")
    assert make_loop(Checkpoint(saved)).run(steps=8).step == 8


class Failing(Hook):
    def on_setup(self, loop: Loop, moment: Moment) -> None:
        raise ArithmeticError("in SETUP")


@pytest.mark.more
def test_the_lock_is_free_after_a_setup_that_failed(saved: Path) -> None:
    with pytest.raises(ArithmeticError):
        make_loop(Checkpoint(saved), Failing()).run(steps=8)  # behind Checkpoint
    with pytest.raises(ValueError, match="does not fit"):
        make_loop(Checkpoint(saved), batch_size=2).run(steps=8)  # in it, when it restores
    (saved / "checkpoint").unlink()
    (saved / "checkpoint").mkdir()
    with pytest.raises(IsADirectoryError):
        make_loop(Checkpoint(saved)).run(steps=8)  # in it, when it tidies up
    (saved / "checkpoint").rmdir()
    assert make_loop(Checkpoint(saved)).run(steps=8).step == 8


# What else lies in the directory.


def test_what_a_crash_left_is_removed_and_what_is_not_ours_is_left_alone(
    whole: dict[int, dict[str, bytes]], saved: Path
) -> None:
    crash = ["ckpt-9.index", "ckpt-9.data-00000-of-00001", "ckpt-9.json.tmp", "ckpt-6.json.tmp"]
    crash += ["ckpt-7.index", "ckpt-7.json.tmp"]
    foreign = ["notes.txt", "ckpt-9.bak", "ckpt-6.bak", "ckpt-x.json", "ckpt-09.json", "ckpt-٣.json", "ckpt-9.index~"]
    foreign += ["ckpt-8.json.orig", "ckpt.json", "my-ckpt-9.index", "ckpt-4.data", "ckpt-9_temporary"]
    for name in crash + foreign:
        (saved / name).write_text(name)
    for name in ("ckpt-9_temp", "ckpt-6_temp"):
        (saved / name).mkdir()
        (saved / name / "part-00000-of-00001.index").write_text("half")
    (saved / "ckpt-3_temp").symlink_to(saved.parent)
    (saved / "ckpt-3.json.tmp").touch()
    loop = make_loop(Checkpoint(saved, EVERY_2, keep=1, best="loss", mode="min"))  # prunes 2, 4, 6 and 9
    for steps in (6, 9, 10):
        loop.run(steps=steps)
        assert bits(loop) == whole[steps]
        assert {name: content.decode() for name, content in files(saved).items() if name in foreign} == {
            name: name for name in foreign
        }
    assert set(files(saved)) == names(8, 10) | set(foreign)  # the loss was best after 8
    assert not [path for path in saved.iterdir() if path.name.endswith("_temp")]


def test_a_file_beside_a_checkpoint_is_no_part_of_it(whole: dict[int, dict[str, bytes]], tmp_path: Path) -> None:
    (tmp_path / "ckpt-2.bak").write_text("mine")
    make_loop(Checkpoint(tmp_path)).run(steps=2)
    loop = make_loop(Checkpoint(tmp_path, resume="must"))
    (tmp_path / "ckpt-2.bak").unlink()
    loop.run(steps=3)
    assert bits(loop) == whole[3]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\xff\xfe garbage",
        b'model_checkpoint_path: "ckpt-77"\nall_model_checkpoint_paths: "ckpt-77"\n',
        b'model_checkpoint_path: "../victim/ckpt-1"\nall_model_checkpoint_paths: "../victim/*"\n',
    ],
)
def test_the_state_file_of_tensorflow_is_not_believed(
    content: bytes, whole: dict[int, dict[str, bytes]], original: Path, saved: Path
) -> None:
    victim = Path(shutil.copytree(original, saved.parent / "victim"))
    (saved / "checkpoint").write_bytes(content)
    loop = make_loop(Checkpoint(saved, EVERY_2, keep=1))
    loop.run(steps=7)
    (saved / "checkpoint").write_bytes(content)  # between runs of one process
    loop.run(steps=9)
    assert bits(loop) == whole[9]
    assert (set(files(saved)), files(victim)) == (names(9), files(original))
    assert tf.train.latest_checkpoint(str(saved)) == str(saved / "ckpt-9")


# What the directory is called.


def test_a_relative_directory_stays_where_it_was_when_the_process_moves(
    whole: dict[int, dict[str, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    loop = make_loop(Checkpoint("run", EVERY_2))

    @loop.on(Event.STEP_END, every=At(3))
    def move(moment: Moment) -> None:
        os.chdir(tmp_path / "elsewhere")

    loop.run(steps=5)
    loop.run(steps=6)
    assert set(files(tmp_path)) == {f"run/{name}" for name in names(2, 4, 5, 6) - names(2)} | {"run/checkpoint"}
    again = make_loop(Checkpoint(Path("..", "run"), resume="must"))
    again.run(steps=8)
    assert bits(again) == whole[8]


@pytest.mark.parametrize("name", ["with space", "ünï-令", "[1]", "x[1]", "x?", "x*", "new\nline", "-x", "back\\slash"])
def test_a_directory_may_have_any_name(
    name: str, whole: dict[int, dict[str, bytes]], original: Path, tmp_path: Path
) -> None:
    neighbours = [Path(shutil.copytree(original, tmp_path / near)) for near in ("1", "x1", "x")]
    shutil.copytree(original, tmp_path / name)
    loop = make_loop(Checkpoint(tmp_path / name, keep=2, resume="must"))
    loop.run(steps=8)
    assert bits(loop) == whole[8]
    assert set(files(tmp_path / name)) == names(6, 8)
    assert [files(neighbour) for neighbour in neighbours] == [files(original)] * 3


@pytest.mark.more
def test_a_checkpoint_saved_in_a_directory_named_like_a_pattern_is_restored_from_there(
    whole: dict[int, dict[str, bytes]], tmp_path: Path
) -> None:
    for steps in (2, 4):
        loop = make_loop(Checkpoint(tmp_path / "x[1]?*\\" / "[!a]", EVERY_2))
        loop.run(steps=steps)
        assert bits(loop) == whole[steps]
