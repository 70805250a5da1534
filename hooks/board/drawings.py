"""What TensorBoard shows besides values: pictures every so many epochs, and what is said of a run when it begins."""

import platform
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

import keras
import numpy as np
import tensorflow as tf
from tensorboard.plugins.hparams import api_pb2
from tensorboard.plugins.hparams.summary import session_end_pb
from tensorboard.plugins.hparams.summary_v2 import hparams_pb

from hooks.board.summaries import Array, Value, converted, histogram, picture, text
from loop import Halt, Loop, Moment, Trigger

Setting: TypeAlias = bool | int | float | str


class Drawings(NamedTuple):
    """Pictures, texts and histograms that are made every so many epochs.

    Attributes:
        images: Functions of the moment that return pictures, by name.
        texts: The same of texts in Markdown.
        histograms: The same of values of any shape; True: of all weights in the state.
        every: After which epochs.
    """

    images: Mapping[str, Callable[[Moment], Array]]
    texts: Mapping[str, Callable[[Moment], str]]
    histograms: Mapping[str, Callable[[Moment], Array]] | bool
    every: Trigger

    def check(self) -> None:
        """Raises `TypeError` if there is anything but functions by name, `ValueError` if the trigger says more than
        epochs."""
        for name, given in (("images", self.images), ("text", self.texts), ("histograms", self.histograms)):
            flag = isinstance(given, bool) and name == "histograms"
            if not flag and not (isinstance(given, Mapping) and all(map(callable, given.values()))):
                raise TypeError(
                    f"TensorBoard({name}=...) needs functions by name, which are called with the moment, as in "
                    f"{name}={{'name': lambda moment: ...}}{', or True' if name == 'histograms' else ''}. Received: "
                    f"{given!r:.80}."
                )
        if self.every.next_after(0) is not None or self.every.next_time(0.0) is not None:
            raise ValueError(
                f"TensorBoard(draw=...) is by epochs, as in Every(epochs=5). Received: {self.every!r}. Otherwise call "
                "tensorboard.image(name, images, moment) in a hook of your own, with an every= of its own."
            )

    def made(self, moment: Moment, loop: Loop) -> dict[str, Value]:
        """Returns what is due at the end of an epoch, by name."""
        # By epochs alone, which `check` has seen to: the times here stand for nothing.
        if not self.every.due(Halt(moment.step, moment.epoch, 0.0, 0.0)):
            return {}
        # Functions of the user's own, which may take as long as they like: training waits.
        found = {name: picture(name, function(moment), 16) for name, function in self.images.items()}
        found |= {name: text(name, function(moment)) for name, function in self.texts.items()}
        if isinstance(self.histograms, bool):
            # sync: copies each to the host, one after the other.
            weights = loop.state.weights() if self.histograms else {}
            return found | {f"weights/{path}": histogram(f"weights/{path}", v.numpy()) for path, v in weights.items()}
        return found | {name: histogram(name, function(moment)) for name, function in self.histograms.items()}


def check_settings(hparams: Mapping[str, Setting]) -> Mapping[str, Setting]:
    """Returns hyperparameters. Raises `TypeError` if TensorBoard cannot show one."""
    if not isinstance(hparams, Mapping):
        raise TypeError(f"TensorBoard(hparams=...) needs a dict, as in {{'rate': 0.1}}. Received: {hparams!r:.80}.")
    hparams = {name: v.item() if isinstance(v, np.generic) else v for name, v in hparams.items()}
    for name, value in hparams.items():
        if not isinstance(name, str) or not isinstance(value, bool | int | float | str):
            raise TypeError(
                f"TensorBoard(hparams=...) needs numbers, bools and texts by name, as in {{'rate': 0.1}}. "
                f"Received: {name!r}: {value!r:.80}. Write str(...) around it."
            )
    return hparams


def beginning(loop: Loop, hparams: Mapping[str, Setting]) -> dict[str, Value]:
    """Returns what is said of a run when it begins: its hyperparameters, and its parts as text."""
    lines = [f"| {name} | {value} |" for name, value in _parts(loop).items()]
    said = {"configuration": text("configuration", "\n".join(["| what | |", "|---|---|", *lines]))}
    if hparams:
        # With the time of day, which no resume has again: event files are not compared by their bytes.
        started = converted(hparams_pb(dict(hparams), start_time_secs=time.time()))
        said[started.tag] = started
    return said


def ending() -> dict[str, Value]:
    """Returns that a run with hyperparameters is complete, as their dashboard shows it."""
    ended = converted(session_end_pb(api_pb2.STATUS_SUCCESS, end_time_secs=time.time()))
    return {ended.tag: ended}


def _parts(loop: Loop) -> dict[str, object]:
    """Returns what a run is made of, for people."""
    optimizers = {f"optimizer `{path}`": type(each).__name__ for path, each in loop.optimizers.items()}
    weights = sum(int(tf.size(variable)) for variable in loop.state.weights().values())
    return {
        "weights": f"{weights:,}",
        **optimizers,
        "steps in an epoch": loop.steps_per_epoch or "unknown",
        "steps in all": loop.total_steps or "unknown",
        "data": loop.describe_data().replace("\n", "<br>").replace("|", "\\|"),
        "hooks": ", ".join(hook.name for hook in loop.hooks),
        "versions": f"TensorFlow {tf.__version__}, Keras {keras.__version__}, Python {platform.python_version()}",
    }
