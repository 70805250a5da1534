"""Export: what is there is whole, can be loaded and called, and is the same after a kill."""

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny

from hooks import Checkpoint, EarlyStopping, Export, WeightAverage
from hooks.exports import Exports
from loop import ArrayData, Evaluation, Event, Every, Hook, Loop, Moment

X = np.linspace(-1.0, 1.0, 8, dtype=np.float32)[:, None]
LOSSES = (3.0, 1.0, 2.0, 0.5, 0.75, 4.0)


class Doubled(keras.layers.Layer):
    """A layer of one's own."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.scale = self.add_weight(name="scale", shape=[], initializer="ones")

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return 2.0 * x * self.scale


def make(hooks_of: "list[Hook] | None" = None, *, directory: Path | None = None, **export: object) -> Loop:
    """Returns a loop of 2 steps an epoch over a line and a layer of one's own; `val_loss` goes through `LOSSES`."""
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [keras.Input([1]), keras.layers.Dense(1, name="line"), keras.layers.Dropout(0.1), Doubled(name="own")]
    )
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    optimizer.build(model.trainable_variables)
    told, index = tf.constant(LOSSES), tf.Variable(-1)

    def train_step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(x, training=True) - 3.0 * x) ** 2)
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        return {"loss": loss}

    def eval_step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"loss": told[index] + 0.0 * tf.reduce_sum(x)}

    class Counts(Hook):
        def on_epoch_begin(self, moment: Moment) -> None:
            index.assign_add(1)

    hooks = [Counts(), *(hooks_of or [])]
    if directory:
        hooks.insert(1, Export(directory, model, **export))
    evaluate = Evaluation(eval_step, ArrayData(X, batch_size=8, shuffle=False))
    state = {"model": model, "optimizer": optimizer, "index": index}
    return Loop(train_step, ArrayData(X, batch_size=4, seed=1), state=state, evaluate=evaluate, hooks=hooks)


def model_of(loop: Loop) -> keras.Model:
    return loop._parts.given["model"]


def names(directory: Path) -> list[str]:
    return sorted(os.listdir(directory), key=lambda name: (int(re.match(r"\d*", name)[0] or -1), name))


def test_each_format_is_loaded_and_predicts_the_same(tmp_path: Path) -> None:
    loop = make([Export(tmp_path / "other", _other(), format="weights", name="another_model")])
    model = model_of(loop)
    for kind in ("saved_model", "keras", "weights"):
        loop.hooks.add(Export(tmp_path / kind, model, format=kind, name=kind))
    loop.run(steps=3)
    right = model(X).numpy()
    assert [names(tmp_path / kind) for kind in ("saved_model", "keras", "weights", "other")] == [
        ["3"],
        ["3.keras"],
        ["3.weights.h5"],
        ["3.weights.h5"],
    ]
    served = tf.saved_model.load(str(tmp_path / "saved_model/3"))
    np.testing.assert_allclose(served.serve(X), right, rtol=1e-6)
    loaded = keras.models.load_model(tmp_path / "keras/3.keras", custom_objects={"Doubled": Doubled})
    np.testing.assert_array_equal(loaded(X), right)
    other = model_of(make())
    other.load_weights(tmp_path / "weights/3.weights.h5")
    np.testing.assert_array_equal(other(X), right)


def _other() -> keras.Model:
    return keras.Sequential([keras.Input([1]), keras.layers.Dense(1)])


def test_safetensors_have_the_weights_by_their_paths(tmp_path: Path) -> None:
    load = pytest.importorskip("safetensors.numpy").load_file
    loop = make(directory=tmp_path, format="safetensors")
    loop.run(steps=2)
    model = model_of(loop)
    saved = load(tmp_path / "2.safetensors")
    assert {path: value.tobytes() for path, value in saved.items()} == {
        weight.path: weight.numpy().tobytes() for weight in model.weights
    }
    assert {"line/kernel", "own/scale"} <= {path.split("/", 1)[1] for path in saved} | {*saved}


def test_without_the_package_safetensors_are_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "safetensors.numpy", None)
    with pytest.raises(ImportError, match=re.escape("pip install 'exactloop[safetensors]'")):
        Export(tmp_path, _other(), format="safetensors")


@pytest.mark.parametrize(
    ("on", "keep", "there"),
    [
        ({"on": Every(steps=2)}, 9, [2, 4, 6, 8, 10, 12]),
        pytest.param({"on": Every(steps=5)}, 1, [10], marks=pytest.mark.long),
        pytest.param({"on": Every(epochs=2)}, 2, [8, 12], marks=pytest.mark.long),
        pytest.param({"on": "end"}, 1, [12], marks=pytest.mark.long),
        ({"on": "best", "monitor": "val_loss", "mode": "min"}, 9, [2, 4, 8]),
        pytest.param({"on": "best", "monitor": "val_loss", "mode": "max"}, 1, [12], marks=pytest.mark.long),
    ],
)
def test_what_is_exported_and_kept(on: dict[str, object], keep: int, there: list[int], tmp_path: Path) -> None:
    hooks = [Checkpoint(tmp_path / "checkpoints", Every(steps=3))]
    make(hooks, directory=tmp_path / "exports", format="weights", keep=keep, **on).run(epochs=6)
    assert names(tmp_path / "exports") == [f"{step}.weights.h5" for step in there]


@pytest.mark.more
def test_exporting_leaves_training_alone(tmp_path: Path) -> None:
    plain = make()
    plain.run(epochs=2)
    loop = make()
    for kind in ("saved_model", "keras", "weights"):
        loop.hooks.add(Export(tmp_path / kind, model_of(loop), Every(steps=3), format=kind, name=kind))
    loop.run(epochs=2)
    ours = {path: value for path, value in tiny.bits(loop).items() if not path.startswith("hooks/")}
    assert ours == {path: value for path, value in tiny.bits(plain).items() if not path.startswith("hooks/")}
    assert names(tmp_path / "saved_model") == ["3"]


@pytest.mark.more
def test_the_end_has_what_other_hooks_have_put_back(tmp_path: Path) -> None:
    best = EarlyStopping("val_loss", mode="min", patience=2, restore_best="weights")
    for place, hooks in enumerate(([best], [])):
        average = WeightAverage(0.9)
        loop = make([*hooks, average], directory=tmp_path / str(place), format="weights")
        loop.run(epochs=6)
        other = model_of(make())
        (path,) = (tmp_path / str(place)).iterdir()
        other.load_weights(path)
        np.testing.assert_array_equal(other(X), model_of(loop)(X))


@pytest.mark.more
def test_averages_are_exported_within_their_exchange(tmp_path: Path) -> None:
    average = WeightAverage(0.9, at_end="last")
    loop = make([average], directory=tmp_path, on=Every(steps=2), format="weights", within=average.exchanged)
    loop.run(steps=4)
    other = model_of(make())
    other.load_weights(tmp_path / "4.weights.h5")
    before = model_of(loop)(X).numpy()
    with average.exchanged():
        np.testing.assert_array_equal(other(X), model_of(loop)(X))
    assert np.abs(model_of(loop)(X) - other(X)).max() > 1e-3
    np.testing.assert_array_equal(model_of(loop)(X), before)


class Cut(Exception):
    pass


@pytest.mark.long
@pytest.mark.parametrize("on", [{"on": Every(steps=2)}, {"on": "best", "monitor": "val_loss", "mode": "min"}])
@pytest.mark.parametrize("stage", ["written", "renamed", "removed"])
def test_what_a_cut_leaves_is_no_export_and_comes_again(
    stage: str, on: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cut at each stage of the second export, with the checkpoint before, and after it."""
    arguments = {"format": "weights", "keep": 1, **on}
    make([Checkpoint(tmp_path / "c")], directory=tmp_path / "whole", **arguments).run(epochs=6)
    whole = {path.name: path.read_bytes() for path in (tmp_path / "whole").iterdir()}
    for first in (True, False):
        here = tmp_path / f"cut-{first}"

        def life(here: Path = here, first: bool = first) -> Loop:
            checkpoint = Checkpoint(here / "checkpoints", Every(steps=2))
            loop = make([], directory=here / "exports", **arguments)
            if not first:
                export = loop.hooks.remove("export")
                loop.hooks.add(checkpoint)
                loop.hooks.add(export)
            else:
                loop.hooks.add(checkpoint)
            return loop

        calls = {"add": 0, "remove": 0}
        add, remove = Exports.add, Exports.remove

        def adds(self: Exports, step: int, write: object, add: object = add, calls: dict = calls) -> None:
            calls["add"] += 1
            if calls["add"] == 2 and stage == "written":
                (self._directory / f"half-{step}").mkdir()
                (self._directory / f"half-{step}" / "torn").write_text("half")
                raise Cut
            add(self, step, write)
            if calls["add"] == 2 and stage == "renamed":
                raise Cut

        def removes(self: Exports, step: int, remove: object = remove, calls: dict = calls) -> None:
            calls["remove"] += 1
            if calls["remove"] == 1 and stage == "removed":
                (self._directory / f"half-{step}").mkdir()
                shutil.move(self.path(step), self._directory / f"half-{step}")
                raise Cut
            remove(self, step)

        monkeypatch.setattr(Exports, "add", adds)
        monkeypatch.setattr(Exports, "remove", removes)
        with pytest.raises(Cut):
            life().run(epochs=6)
        monkeypatch.setattr(Exports, "add", add)
        monkeypatch.setattr(Exports, "remove", remove)
        life().run(epochs=6)
        assert {path.name: path.read_bytes() for path in (here / "exports").iterdir()}.keys() == whole.keys()
        left = [_weights(folder / name) for name in whole for folder in (here / "exports", tmp_path / "whole")]
        assert left[0::2] == left[1::2]


def _weights(path: Path) -> list[bytes]:
    model = model_of(make())
    model.load_weights(path)
    return [weight.numpy().tobytes() for weight in model.weights]


@pytest.mark.more
def test_exports_of_a_step_that_is_done_again_are_removed_and_older_ones_are_kept_that_long(tmp_path: Path) -> None:
    def life(epochs: int, every: int) -> list[str]:
        hooks = [Checkpoint(tmp_path / "checkpoints", Every(steps=every), background=False)]
        loop = make(hooks, directory=tmp_path / "exports", on=Every(steps=2), format="weights", keep=2)

        @loop.on(Event.STEP_END, every=Every(steps=9))
        def fail(moment: Moment) -> None:
            if epochs > 4:
                raise Cut

        if epochs > 4:
            with pytest.raises(Cut):
                loop.run(epochs=epochs)
        else:
            loop.run(epochs=epochs)
        return [name.split(".")[0] for name in names(tmp_path / "exports")]

    assert life(5, 3) == ["4", "6", "8"]  # the run would go on from step 6, and be in want of 4
    assert life(3, 3) == ["4", "6"]
    assert life(4, 3) == ["6", "8"]


@pytest.mark.more
def test_exports_of_an_earlier_training_are_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        make(directory=tmp_path, format="weights").run(steps=3)
    assert names(tmp_path) == ["set-aside-1", "set-aside-2", "3.weights.h5"]
    assert names(tmp_path / "set-aside-2") == ["3.weights.h5"]
    assert "the exports of steps 3." in caplog.text


@pytest.mark.more
def test_a_finished_run_exports_nothing_again_and_a_stopped_one_not_yet_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def life(stop: int | None = None) -> Loop:
        loop = make([Checkpoint(tmp_path / "checkpoints")], directory=tmp_path / "exports", format="weights")

        @loop.on(Event.STEP_END, every=Every(steps=1))
        def halt(moment: Moment) -> None:
            if moment.step == stop:
                moment.stop("halt")

        loop.run(epochs=2)
        return loop

    life(3)
    assert not (tmp_path / "exports").exists()
    (told,) = caplog.messages
    assert told.startswith("Hook 'export': the run was stopped at step 3, before its end, so no model is exported yet.")
    caplog.clear()
    life()
    assert caplog.messages == []
    (path,) = (tmp_path / "exports").iterdir()
    then = path.stat().st_mtime_ns
    life()
    assert path.stat().st_mtime_ns == then
    path.unlink()
    loop = life()
    assert (path.exists(), loop.state.steps) == (True, {})


@pytest.mark.more
def test_an_export_that_cannot_be_written_ends_the_run_which_is_saved_and_makes_up_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def life() -> Loop:
        hooks = [Checkpoint(tmp_path / "checkpoints", Every(steps=9))]
        return make(hooks, directory=tmp_path / "exports", on=Every(steps=3), format="weights", keep=3)

    with monkeypatch.context() as patched:
        patched.setattr(keras.Model, "save_weights", _full)
        with pytest.raises(OSError, match="No space left"):
            life().run(steps=6)
    assert names(tmp_path / "exports") == []
    loop = life()
    loop.run(steps=6)
    assert names(tmp_path / "exports") == ["3.weights.h5", "6.weights.h5"]


@pytest.mark.more
@pytest.mark.parametrize("number", [errno.EINVAL, errno.EBADF, errno.EIO])
def test_where_directories_cannot_be_flushed_models_are_exported_and_a_failing_disk_is_an_error(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync = os.fsync

    def refusing(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(number, os.strerror(number))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", refusing)
    failed = contextlib.nullcontext() if number != errno.EIO else pytest.raises(OSError, match=os.strerror(number))
    with failed:
        make(directory=tmp_path, on=Every(steps=2), format="weights").run(steps=5)
    assert names(tmp_path) == ([] if number == errno.EIO else ["4.weights.h5"])


def _full(model: keras.Model, path: str) -> None:
    Path(path).write_text("half")
    raise OSError(28, "No space left on device")


def test_wrong_arguments_are_refused_with_what_would_do(tmp_path: Path) -> None:
    model = _other()
    cases: Sequence[tuple[dict[str, object], str]] = [
        ({"format": "onnx"}, "must be 'saved_model', 'keras', 'weights' or 'safetensors'. Received: 'onnx'."),
        ({"keep": 0}, "Export(keep=...) must be at least 1. Received: 0."),
        ({"on": "best"}, "needs all of the three"),
        ({"monitor": "val_loss", "mode": "min"}, "needs all of the three"),
        ({"on": "best", "monitor": "val_loss"}, "needs mode='min'"),
        ({"on": "last"}, "must be 'best', 'end' or a trigger. Received: 'last'."),
        ({"on": Every(seconds=9)}, "cannot be by seconds"),
    ]
    for arguments, said in cases:
        with pytest.raises((TypeError, ValueError), match=re.escape(said)):
            Export(tmp_path, model, **arguments)
    with pytest.raises(ValueError, match="has to be a path here"):
        Export("gs://bucket/exports", model)
    with pytest.raises(TypeError, match="write keep=3"):
        Export(tmp_path, model, max_to_keep=3)
    with pytest.raises(ValueError, match="watches 'val_los'"):
        make(directory=tmp_path, on="best", monitor="val_los", mode="min").run(steps=1)
