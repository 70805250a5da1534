"""Exports a model in a form that others load, such as TensorFlow Serving."""

import contextlib
import logging
import math
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import keras
import tensorflow as tf

from hooks.exports import Exports
from hooks.shared.monitor import Monitor, MonitorHook
from hooks.shared.numbers import put
from hooks.shared.paths import is_remote, path_of
from hooks.shared.places import Target, check_alone
from hooks.shared.texts import text_variable
from loop import NEVER, Hook, Loop, Moment, Trigger

log = logging.getLogger("exactloop")
NOT_YET = (
    "Hook %r: the run was stopped at step %d, before its end, so no model is exported yet. It will be when the program "
    "is started again and gets there. To export what there is, write on=Every(epochs=1)."
)
ENDINGS = {"saved_model": "", "keras": ".keras", "weights": ".weights.h5", "safetensors": ".safetensors"}
INSTEAD = {
    **dict.fromkeys(("filepath", "path", "dirpath", "export_dir"), "write Export(directory, model)"),
    **dict.fromkeys(("every", "save_freq", "every_n_epochs"), "write on=Every(epochs=5)"),
    **dict.fromkeys(("save_best_only", "best", "best_only"), "write on='best', monitor='val_loss', mode='min'"),
    "metric": "write monitor='val_loss', mode='min'",
    **dict.fromkeys(("max_to_keep", "exports_to_keep", "save_top_k", "keep_best"), "write keep=3"),
    **dict.fromkeys(("save_weights_only", "save_format"), "write format='weights'"),
    "serving_input_receiver_fn": "write Export(directory, model), with a model that takes what is served",
}


class Export(MonitorHook, instead=INSTEAD):
    """Exports a model: the best one, one at the end, or those after some steps.

    A model of step 1200 is `<directory>/1200`, a SavedModel with the signature `serve` as `model.export` makes it, and
    the version 1200 of TensorFlow Serving; or `1200.keras`, as `model.save` makes it, `1200.weights.h5`, or
    `1200.safetensors`, with the weights by their Keras paths. It is written aside, flushed and renamed, so what is
    there is whole, also after a kill or a power failure.

    After a resume there are the exports that there would be without: those of later steps than the restored one are
    removed, and come again; one that a kill has cut short is made up for. If a training begins, those of an earlier one
    are moved into `set-aside-<n>`. Their weights are the same to the bit; a `.keras` file has the date in it, too, and
    the numbers that objects which layers share, such as an initializer, had in memory, which are others each time.

    Exporting leaves training alone, and makes it wait: `saved_model` traces the model each time, which takes seconds;
    the others only write.

    Example:
        >>> import tempfile
        >>> import keras, tensorflow as tf
        >>> from hooks import Export
        >>> from loop import ArrayData, Every, Loop, supervised
        >>> model = keras.Sequential([keras.Input([1]), keras.layers.Dense(1)])
        >>> optimizer = keras.optimizers.SGD(0.1)
        >>> train_step, _ = supervised(model, optimizer, keras.losses.MeanSquaredError())
        >>> data, directory = ArrayData((tf.ones([8, 1]), tf.ones([8, 1])), batch_size=4), tempfile.mkdtemp()
        >>> export = Export(directory, model, on=Every(steps=2), format="keras", keep=2)
        >>> loop = Loop(train_step, data, state={"model": model, "optimizer": optimizer}, hooks=[export])
        >>> result = loop.run(steps=7)
        >>> [path.name for path in export.paths()]
        ['4.keras', '6.keras']

    Args:
        directory: Where exports go; a path. One training to a directory.
        model: The model, built; one of `state=`, or another one with the same layers.
        on: "best": after a step at which `monitor` is better than ever before. "end": when the run has done what it was
            asked for, or a hook has ended it for good; with the weights that other hooks have put back, such as the
            best ones. Or a trigger, as in `Every(epochs=5)`, not by seconds.
        format: "saved_model", "keras", "weights", or "safetensors", which needs the package of this name.
        keep: How many of the latest to keep. Those that a resumed run may fall short of without them stay for longer,
            until a checkpoint is later.
        monitor: With on="best", the name of a metric, such as "val_loss".
        mode: "min" or "max", required with `monitor`. NaN is never best.
        within: Makes a context to export in, such as `WeightAverage.exchanged`.
        name: The name of the hook.

    Raises:
        ValueError: If an argument is missing or out of range.
        ImportError: If the package is missing that a format needs.
        OSError: When a model cannot be written. What was exported before is as it was, and the step is saved.
    """

    everywhere = False
    saves = True  # so it comes when all others are done with a step

    _loop: Loop = Hook.later()

    def __init__(
        self,
        directory: str | os.PathLike[str],
        model: keras.Model,
        on: Trigger | Literal["best", "end"] = "end",
        *,
        format: Literal["saved_model", "keras", "weights", "safetensors"] = "saved_model",  # noqa: A002 (Keras' word)
        keep: int = 1,
        monitor: str | None = None,
        mode: Literal["min", "max"] | None = None,
        within: Callable[[], AbstractContextManager[object]] = nullcontext,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        if is_remote(where := path_of(directory)):
            raise ValueError(f"Export(directory=...) has to be a path here. Received: {directory!r}.")
        if not isinstance(model, keras.Model):
            raise TypeError(f"Export(directory, model) needs a keras.Model. Received: {type(model).__name__}.")
        if isinstance(within, AbstractContextManager) or not callable(within):
            raise TypeError(
                "Export(within=...) needs what makes a context, and is called for each export, as in "
                f"within=average.exchanged, without (). Received: {type(within).__name__}."
            )
        if keep < 1:
            raise ValueError(f"Export(keep=...) must be at least 1. Received: {keep!r}.")
        if (on == "best") != (monitor is not None) or (monitor is None and mode is not None):
            raise ValueError(
                "Export(on='best', monitor='val_loss', mode='min') needs all of the three; without on='best', leave "
                f"monitor and mode out. Received: on={on!r:.80}, monitor={monitor!r}, mode={mode!r}."
            )
        if on not in ("best", "end") and not isinstance(on, Trigger):
            raise ValueError(f"Export(on=...) must be 'best', 'end' or a trigger. Received: {on!r:.80}.")
        if not isinstance(on, str) and on.next_time(0.0) is not None:
            raise ValueError(
                "Export(on=...) cannot be by seconds: a resumed run would not export the same. Write on=Every(steps="
                f"1000) or on=Every(epochs=1). Received: {on!r}."
            )
        self._write, self._writes = _writer(format), Target(os.path.join(where, f"*{ENDINGS[format]}"), "directory")
        self._model = lambda: model  # not an attribute, which would be a part of the state
        self._exports, self._keep, self._within = Exports(where, ENDINGS[format]), keep, within
        self._at_end = on == "end"
        self._monitor = None if monitor is None else Monitor("Export(on='best')", monitor, mode)
        self.every = NEVER if isinstance(on, str) else on
        self.best = tf.Variable(math.nan, dtype=tf.float64, trainable=False, name="best")
        self.watched = text_variable("watched", self._monitor.watched if self._monitor else "")
        self.wanted = tf.Variable(0, dtype=tf.int64, trainable=False, name="wanted")  # after which step, the last time

    def paths(self) -> list[os.PathLike[str]]:
        """Returns where the exported models are, the latest last."""
        return [self._exports.path(step) for step in self._exports.steps()]

    @contextlib.contextmanager
    def around_run(self, loop: Loop) -> Iterator[None]:
        self._loop, self._begun = loop, False
        yield
        if self._begun and self._at_end:
            if loop.finished:  # what others put back at the end is there now
                self._export(loop.step)
            else:
                log.warning(NOT_YET, self.name, loop.step)
        if self._begun:
            self._prune(loop.step)

    def before_dry_run(self, directory: str) -> None:
        self._exports = self._exports.elsewhere(os.path.join(directory, self.name))

    def on_setup(self, loop: Loop, moment: Moment) -> None:
        check_alone(self, loop)
        if self._monitor:
            self._monitor.attach(loop)

    def on_run_begin(self, moment: Moment) -> None:
        if self._monitor and self._monitor.is_another(self.watched):
            self._monitor.watch_anew(self.watched)
            self.best.assign(math.nan)
        self._begun = True  # past `RUN_BEGIN`: a run that is refused earlier exports and removes nothing
        self._exports.sweep()  # what a kill has left half written
        later = [step for step in self._exports.steps() if step > moment.step]
        if later and moment.step == 0:
            self._exports.set_aside(later)
        else:
            for step in reversed(later):  # the latest first: a kill in between leaves no gap
                self._exports.remove(step)
        if moment.step and int(self.wanted) == moment.step:  # a checkpoint was quicker
            self._export(moment.step)
        self._prune(moment.step)

    def on_step_end(self, moment: Moment) -> None:
        put(self.wanted, moment.step)

    def on_settled(self, moment: Moment) -> None:
        if int(self.wanted) == moment.step:
            self._export(moment.step)
            if len(self._exports.steps()) > self._keep:  # else no manifest need be read
                self._prune(self._saved())

    def _look(self, moment: Moment, value: float) -> None:
        best = float(self.best)
        if self._monitor and self._monitor.better(value, None if math.isnan(best) else best):
            put(self.best, value)
            put(self.wanted, moment.step)

    def _export(self, step: int) -> None:
        if step not in self._exports.steps():  # or it is there, with the same bits
            with self._within():
                self._exports.add(step, lambda path: self._write(self._model(), path))

    def _saved(self) -> int:
        """Returns up to which step no run will have to go back; where nobody saves, none goes on at all."""
        saving = [hook for hook in self._loop.hooks if type(hook).saved_place is not Hook.saved_place]
        saved = [found.step for hook in saving if (found := hook.saved_place())]
        # Older exports stay as long as a resume may come to be before those that took their place.
        return self._loop.step if not saving else min(saved, default=0)

    def _prune(self, until: int) -> None:
        """Removes the oldest, as long as enough of those up to a step are left."""
        for step in [step for step in self._exports.steps() if step <= until][: -self._keep]:
            self._exports.remove(step)


def _writer(kind: str) -> Callable[[keras.Model, str], object]:
    """Returns what writes a model in a format, given the path."""
    if kind == "saved_model":
        return lambda model, path: model.export(path, verbose=False)
    # Keras goes by the ending of the name, so it has that already while it is written aside.
    if kind == "keras":
        return lambda model, path: model.save(path)
    if kind == "weights":
        return lambda model, path: model.save_weights(path)
    try:
        from safetensors.numpy import save_file
    except ImportError as error:
        raise ImportError(
            "Export(format='safetensors') needs the package safetensors: pip install 'exactloop[safetensors]'."
        ) from error

    def write(model: keras.Model, path: str) -> None:
        values = {variable.path: keras.ops.convert_to_numpy(variable) for variable in model.weights}
        if len(values) < len(model.weights):  # one would be missing in the file, and nobody would see it
            raise ValueError(
                "Several weights of the model have one path. Give its layers names of their own: Dense(8, name='head')."
            )
        save_file(values, path)

    return write
