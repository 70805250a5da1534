"""What a script takes from a checkpoint, also while others write and remove it."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import pytest
import tensorflow as tf
from storage import EVERY_1, OF_TENSORFLOW, Bits, counting_loop, dense, files, life, rows, weights, weights_in

from hooks import Checkpoint, CorruptCheckpoint, restore
from hooks.checkpoint.commits.pin import Pin
from hooks.checkpoint.commits.store import Store
from hooks.checkpoint.disk.local import LocalFiles
from loop import ArrayData, At, Event, Loop, Moment, supervised


def test_a_model_alone_is_restored(whole: dict[int, Bits], saved: Path) -> None:
    before, model = files(saved), dense()
    found = [(restore(saved, {"model": model}, which=which), weights(model)) for which in (2, "latest", 4)]
    assert found == [(step, weights_in(whole[step])) for step in (2, 6, 4)]
    assert (restore(str(saved), {"model": model}), weights(model)) == (6, weights_in(whole[6]))
    assert files(saved) == before


def test_a_model_and_its_optimizer_are_restored(whole: dict[int, Bits], saved: Path) -> None:
    model, optimizer = dense(), keras.optimizers.SGD(0.5, momentum=0.9)
    optimizer.build(model.trainable_variables)
    assert restore(saved, {"model": model, "optimizer": optimizer}, which=4) == 4
    mine = sorted(v.numpy().tobytes() for v in [*model.variables, *optimizer.variables])
    assert mine == sorted(v for path, v in whole[4].items() if path.startswith(("model/", "optimizer/")))


@pytest.mark.more
def test_the_best_is_restored(tmp_path: Path) -> None:
    for mode, best in (("min", 8), ("max", 24)):
        counting_loop(Checkpoint(tmp_path / mode, best="loss", mode=mode, keep=9)).run(epochs=3)
        left = tf.Variable(tf.zeros([2**12]))
        assert restore(tmp_path / mode, {"left": left}, which="best") == best
        assert left.numpy().tolist() == [best] * 2**12


def test_there_is_no_best_where_none_was_watched(saved: Path) -> None:
    message = f"No checkpoint 'best' is in {str(saved)!r}. There are: ckpt-2, ckpt-4, ckpt-6."
    with pytest.raises(FileNotFoundError, match=re.escape(message)):
        restore(saved, {"model": dense()}, which="best")


def test_a_step_that_is_missing_is_refused_with_those_there_are(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    model = dense()
    before = weights(model)
    for directory, which, there in [
        (saved, 5, "ckpt-2, ckpt-4, ckpt-6"),
        (saved, -2, "ckpt-2, ckpt-4, ckpt-6"),
        (tmp_path / "empty", "latest", "none"),
    ]:
        message = f"No checkpoint {which!r} is in {str(directory)!r}. There are: {there}."
        with pytest.raises(FileNotFoundError, match=f"^{re.escape(message)}$"):
            restore(directory, {"model": model}, which=which)
    assert weights(model) == before


def test_a_directory_that_is_missing_is_refused_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=re.escape(str(tmp_path / "new"))):
        restore(tmp_path / "new", {"model": dense()})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrong", ["newest", "6", "ckpt-6", True, 6.0, None])
def test_what_names_no_checkpoint_is_refused(wrong: object, saved: Path) -> None:
    message = f"restore(which=...) must be 'latest', 'best' or a step. Received: {wrong!r}."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        restore(saved, {"model": dense()}, which=wrong)


def test_another_model_is_refused_with_all_differences_and_nothing_is_assigned(saved: Path) -> None:
    models = {
        "wider": keras.Sequential([keras.Input([1]), keras.layers.Dense(2)]),
        "deeper": keras.Sequential([keras.Input([1]), keras.layers.Dense(1), keras.layers.Dense(1)]),
    }
    layer = "model/_functional/_operations"
    lines = {
        "wider": [
            f"{layer}/1/_kernel: [1, 1, 'float32'] in the checkpoint, [1, 2, 'float32'] now",
            f"{layer}/1/bias: [1, 'float32'] in the checkpoint, [2, 'float32'] now",
        ],
        "deeper": [
            f"{layer}/2/_kernel: missing in the checkpoint, [1, 1, 'float32'] now",
            f"{layer}/2/bias: missing in the checkpoint, [1, 'float32'] now",
        ],
    }
    before = {kind: weights(model) for kind, model in models.items()}
    told = {}
    for kind, model in models.items():
        with pytest.raises(ValueError, match=r"ckpt-6 in .* does not fit\. Nothing was restored") as error:
            restore(saved, {"model": model})
        told[kind] = [line.strip() for line in str(error.value).splitlines()[1:-1]]
    assert told == lines
    assert {kind: weights(model) for kind, model in models.items()} == before


def test_what_the_checkpoint_does_not_have_is_refused(saved: Path) -> None:
    variable = tf.Variable(7.0)
    with pytest.raises(ValueError, match="Nothing was restored") as error:
        restore(saved, {"model": dense(), "ema": variable})
    assert str(error.value).splitlines()[1:-1] == ["  ema: missing in the checkpoint, ['float32'] now"]
    assert float(variable) == 7.0
    assert "It has 'model', 'optimizer', and no 'ema': give all by their names" in str(error.value)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize("ending", [*OF_TENSORFLOW, ".json"])
def test_of_damaged_checkpoints_the_one_before_is_restored_with_a_warning(
    ending: str, whole: dict[int, Bits], saved: Path
) -> None:
    cut(saved / f"ckpt-6{ending}")
    before, model = files(saved), dense()
    with pytest.warns(CorruptCheckpoint) as told:
        assert restore(saved, {"model": model}) == 4
    assert weights(model) == weights_in(whole[4])
    assert [(each.message.file, each.message.instead) for each in told] == [
        (str(saved / f"ckpt-6{ending}"), "The one of step 4 is used instead.")
    ]
    assert files(saved) == before  # setting it aside is for the one that trains


def test_a_damaged_step_is_an_error_where_just_this_one_is_wanted(saved: Path) -> None:
    cut(saved / "ckpt-6.index")
    model = dense()
    before = weights(model)
    with pytest.raises(CorruptCheckpoint, match=re.escape(str(saved / "ckpt-6.index"))):
        restore(saved, {"model": model}, which=6)
    assert weights(model) == before


@pytest.mark.parametrize(
    "ending",
    [
        *OF_TENSORFLOW,
        ".json",
    ],
)
def test_of_damaged_best_ones_the_next_best_is_restored_with_a_warning(ending: str, tmp_path: Path) -> None:
    counting_loop(Checkpoint(tmp_path, best="loss", mode="min", keep=9)).run(epochs=3)
    cut(tmp_path / f"ckpt-8{ending}")
    with pytest.warns(CorruptCheckpoint, match=rf"ckpt-8{ending}: .*The one of step 16 is used instead"):
        assert restore(tmp_path, {"left": tf.Variable(tf.zeros([2**12]))}, which="best") == 16


def test_if_all_are_damaged_nothing_is_restored(saved: Path) -> None:
    for step in (2, 4, 6):
        cut(saved / f"ckpt-{step}.index")
    model = dense()
    before = weights(model)
    with pytest.raises(CorruptCheckpoint, match=r"(?s)no checkpoint is whole.*ckpt-6.*ckpt-4.*ckpt-2"):
        restore(saved, {"model": model})
    assert weights(model) == before


def counted(directory: Path) -> tuple[int, float]:
    """Returns the step that a reader restores as the latest, and the count that is in it."""
    left, right = (tf.Variable(tf.zeros([2**12]), name=name) for name in ("left", "right"))
    step = restore(directory, {"left": left, "right": right})
    return step, float(right[0])


def test_a_reader_from_whom_the_latest_is_removed_takes_a_newer_one_and_no_older_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, pin = counting_loop(Checkpoint(tmp_path, EVERY_1, keep=1, keep_every=At(1))), Store.pin
    loop.run(steps=3)
    asked: list[str] = []

    def after_a_step(self: Store, stem: str) -> Pin:
        asked.append(stem)
        if len(asked) == 1:
            loop.run(steps=4)  # removes the one that the reader has just chosen
        return pin(self, stem)

    monkeypatch.setattr(Store, "pin", after_a_step)
    assert (counted(tmp_path), asked) == ((4, 4.0), ["ckpt-3", "ckpt-4"])


@pytest.mark.parametrize("missing", ["ckpt-", "ckpt-3"], ids=["all", "the latest"])
@pytest.mark.parametrize("listing", range(4))
def test_a_listing_that_misses_what_is_there_is_not_believed(
    missing: str, listing: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting_loop(Checkpoint(tmp_path, EVERY_1, keep=1, keep_every=At(1))).run(steps=3)
    names, listed = LocalFiles.names, list[list[str]]()

    def some(self: LocalFiles) -> list[str]:
        listed.append(names(self))
        return [name for name in listed[-1] if len(listed) != listing + 1 or not name.startswith(missing)]

    monkeypatch.setattr(LocalFiles, "names", some)
    assert counted(tmp_path) == (3, 3.0)
    assert len(listed) > listing or listing == 3  # else nothing was kept from it


@pytest.mark.more
def test_a_reader_that_restores_all_the_time_never_sees_half_a_checkpoint(tmp_path: Path) -> None:
    loop = counting_loop(Checkpoint(tmp_path, EVERY_1, keep=1))
    loop.run(steps=1)
    with life(tmp_path, "reader") as process:

        @loop.on(Event.STEP_END, every=EVERY_1)
        def look(moment: Moment) -> None:
            if process.poll() is not None:
                moment.stop("enough was read")

        loop.run(steps=10**6)
        printed, errors = process.communicate()
    assert (process.returncode, printed) == (0, "200 and more were whole\n"), errors


@pytest.mark.parametrize("argument", ["strict", "skip_mismatch", "by_name"])
def test_who_wants_a_part_of_a_model_is_told_how_and_that_works(
    argument: str, whole: dict[int, Bits], saved: Path
) -> None:
    old, new = dense(), keras.Sequential([keras.Input([1]), keras.layers.Dense(1, name="a"), keras.layers.Dense(2)])
    before = weights(new)
    with pytest.raises(TypeError, match=f"argument '{argument}': leave it out: .* as a whole, or not at all") as error:
        restore(saved, {"model": new}, **{argument: False})  # type: ignore[call-overload]
    assert "restore(directory, {'model': old}), and new.get_layer(name).set_weights(" in str(error.value)
    assert weights(new) == before
    restore(saved, {"model": old})
    new.get_layer("a").set_weights(old.layers[0].get_weights())
    assert weights(new.layers[0]) == weights_in(whole[6])


def test_wrong_calls_say_what_to_write(saved: Path) -> None:
    wrong: list[tuple[Callable[[], object], str]] = [
        (lambda: restore(saved, model=dense()), "no argument 'model': write state={'model': model}"),
        (lambda: restore(saved, {"model": dense()}, "best"), "write which='best', or which=120, a step"),
        (lambda: restore(saved), "needs 'state': write restore(directory, {'model': model})"),
    ]
    for call, message in wrong:
        with pytest.raises(TypeError, match=re.escape(message)):
            call()
    assert restore(saved, state={"model": dense()}, which=4) == 4


def trained(
    directory: Path, *, batch_size: int = 1, optimizer: str = "sgd", units: int = 3
) -> tuple[Loop, keras.Model]:
    keras.utils.set_random_seed(1)
    layers = [keras.layers.Dense(units, use_bias=False), keras.layers.Dense(1, use_bias=False)]
    model, chosen = keras.Sequential([keras.Input([1]), *layers]), keras.optimizers.get(optimizer)
    step, _ = supervised(model, chosen, "mse")
    data = ArrayData((rows(), rows()), batch_size=batch_size, seed=1)
    return Loop(step, data, state={"model": model, "optimizer": chosen}, hooks=[Checkpoint(directory)]), model


@pytest.mark.more
@pytest.mark.parametrize("change", [{"batch_size": 2}, {"optimizer": "adam"}, {"batch_size": 4, "optimizer": "adam"}])
def test_where_all_but_the_weights_are_others_the_refusal_says_how_to_take_over_these(
    change: dict[str, Any], tmp_path: Path
) -> None:
    first, was = trained(tmp_path / "one")
    first.run(steps=3)
    with pytest.raises(ValueError, match="Nothing was restored") as refused:
        trained(tmp_path / "one", **change)[0].run(steps=4)
    remedy = str(refused.value).splitlines()[-1]
    assert "or begin another run with these weights: in another directory, and with restore(" in remedy
    (directory,) = re.findall(r"restore\('(.*)', \{'model': model\}\) before the loop is made", remedy)
    keras.utils.set_random_seed(1)
    loop, model = trained(tmp_path / "another", **change)
    assert restore(directory, {"model": model}) == 3
    assert weights(model) == weights(was)
    assert loop.run(steps=4).step == 4


def test_of_other_weights_none_are_offered(tmp_path: Path) -> None:
    trained(tmp_path / "one")[0].run(steps=3)
    with pytest.raises(ValueError, match="Nothing was restored") as refused:
        trained(tmp_path / "one", units=4, batch_size=2)[0].run(steps=4)
    assert "restore(" not in str(refused.value)


def test_the_path_that_tensorflow_calls_the_latest_is_told_what_to_write(whole: dict[int, Bits], saved: Path) -> None:
    model, path = dense(), tf.train.latest_checkpoint(str(saved))
    with pytest.raises(FileNotFoundError) as error:
        restore(path, {"model": model})
    (directory, step) = re.findall(r"a checkpoint in '(.*)': give that directory; .*which=(\d+)\)\.", str(error.value))[
        0
    ]
    assert restore(directory, {"model": model}, which=int(step)) == 6
    assert weights(model) == weights_in(whole[6])
