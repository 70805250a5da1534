"""What is known of Keras' own callbacks, so that they do here what they do in `fit`."""

import contextlib
import difflib
import os
import types
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import TypeAlias

import keras

from hooks.shared.monitor import close_names
from hooks.shared.paths import path_of
from hooks.shared.places import Target
from loop import Loop
from loop.tf_internals import MODEL, WRITERS, direction, profiles_batches

Callback: TypeAlias = keras.callbacks.Callback
OF_BATCHES = ("on_train_batch_begin", "on_train_batch_end")
ALIASES = {"on_train_batch_begin": "on_batch_begin", "on_train_batch_end": "on_batch_end"}  # which they call
NEVER_CALLED = ("on_test_batch_begin", "on_test_batch_end")  # evaluations run in the graph, where no Python is called
OF_FIT = {MODEL, "params"}  # attributes that `set_model` and `set_params` set
# Which are set by what is on the disk or the screen, and not by the course of the run.
OF_FILES: dict[type[Callback], set[str]] = {
    keras.callbacks.CSVLogger: {"append", "append_header", "csv_file", "writer"},
    keras.callbacks.ProgbarLogger: {"progbar"},
    keras.callbacks.TensorBoard: WRITERS,
}
LEFT = {
    keras.callbacks.TensorBoard: "what it has written after the step from which the run goes on stays in its files",
    keras.callbacks.RemoteMonitor: "what it has sent of epochs after the step from which the run goes on is sent again",
}
# What only writes or shows something.
WRITING = (
    keras.callbacks.CSVLogger,
    keras.callbacks.ModelCheckpoint,
    keras.callbacks.ProgbarLogger,
    keras.callbacks.RemoteMonitor,
    keras.callbacks.TensorBoard,
)
OF_OTHERS = {"train_epoch": "epoch", "start": "begin", "validation": "test", "fit": "train", "step": "train_batch"}
NEEDS = "KerasCallbacks needs callbacks, instances of keras.callbacks.Callback."
MONITORS = (keras.callbacks.EarlyStopping, keras.callbacks.ModelCheckpoint, keras.callbacks.ReduceLROnPlateau)


def _of_epochs(callback: keras.callbacks.ModelCheckpoint) -> bool:
    return callback.save_freq == "epoch"


def _writes_epochs(callback: keras.callbacks.TensorBoard) -> bool:
    return callback.update_freq == "epoch" and not callback.write_steps_per_second and not profiles_batches(callback)


# Methods that do nothing for some arguments. Those of a subclass are others.
IDLE: dict[Callable[..., None], Callable[..., bool]] = {
    keras.callbacks.ModelCheckpoint.on_train_batch_end: _of_epochs,
    keras.callbacks.TensorBoard.on_train_batch_begin: _writes_epochs,
    keras.callbacks.TensorBoard.on_train_batch_end: _writes_epochs,
}


def does(callback: Callback, method: str) -> bool:
    """Returns whether a callback does something when Keras calls a method of it."""
    if method in ALIASES and does(callback, ALIASES[method]):
        return True
    function = getattr(getattr(callback, method), "__func__", None)  # none, if it is set on the object
    if function is getattr(Callback, method):  # which does nothing but for its aliases
        return False
    # By the function itself: a subclass that overrides it has another one.
    return not (function in IDLE and IDLE[function](callback))


def misspelt(callback: Callback) -> dict[str, str]:
    """Returns the methods of a callback that are called like events, and by nobody; with what may be meant."""
    known = [name for name in dir(Callback) if name.startswith("on_")]
    own = [(name, each) for of_class in type(callback).__mro__ for name, each in vars(of_class).items()]
    functions = [each for _, each in own if isinstance(each, types.FunctionType)]
    called = {name for function in functions for name in function.__code__.co_names}  # by other methods of it
    unknown = sorted({name for name, _ in own if name.startswith("on_")} - {*known} - called)
    found = {name: difflib.get_close_matches(_as_in_keras(name), known, 1) for name in unknown}
    return {name: close[0] for name, close in found.items() if close}


def _as_in_keras(name: str) -> str:
    """Returns what an event of Lightning, or of the hooks here, is about called in Keras."""
    for theirs, ours in OF_OTHERS.items():
        name = name.replace(theirs, ours)
    return name


def each_of(given: object) -> Iterator[Callback]:
    """Yields callbacks, also those in lists, and in the `CallbackList` of a training loop that somebody wrote."""
    if isinstance(given, keras.callbacks.CallbackList):
        given = given.callbacks
    if isinstance(given, Callback | str) or not isinstance(given, Iterable):
        yield given  # or what is to be refused
    else:
        yield from (callback for several in given for callback in each_of(several))


def refused(callback: object) -> str:
    """Returns why something cannot be run as a callback, and what to do; nothing if it can."""
    if isinstance(callback, type):
        return f"{NEEDS} The class {callback.__name__} is none: write {callback.__name__}(...)."
    if not isinstance(callback, keras.callbacks.Callback):
        return f"{NEEDS} A {type(callback).__name__} is none."
    if isinstance(callback, keras.callbacks.BackupAndRestore):
        return (
            "KerasCallbacks cannot run this one: BackupAndRestore would put other weights into a run that goes on from "
            "elsewhere. Write hooks.Checkpoint(directory) in its place, which saves and restores all of it."
        )
    return ""


def kinds(of: Mapping[type[Callback], object], callback: Callback) -> list:
    """Returns what a table has for a callback, and for what it is made from."""
    return [said for kind, said in of.items() if isinstance(callback, kind)]


def watch(callback: Callback, loop: Loop) -> None:
    """Tells a callback whether what it monitors is to go up or down, as Keras does by the metrics of a compiled model.

    Keras does so at the end of the first epoch, and changes the sign of `min_delta` each time; so a callback that was
    restored later would have another sign.

    Args:
        callback: Any callback.
        loop: The loop, which knows its metrics by the names under which their results are logged.

    Raises:
        ValueError: If nobody knows.
    """
    if not isinstance(callback, MONITORS) or callback.monitor_op is not None:
        return
    name = callback.monitor.removeprefix("val_")
    metric = loop.metrics.get(callback.monitor, loop.metrics.get(name))
    # The callback's own word first, then the metric's own; never a name, but for `loss`.
    known = {"min": "down", "max": "up"}.get(callback.mode) or (None if metric is None else direction(metric))
    known = "down" if known is None and name == "loss" else known  # of a compiled model, too, which has a mean for it
    logged = sorted({*loop.train_names, *loop.reported_names}.union(*loop.evaluation_names.values()))
    if known is None and callback.monitor not in logged:  # or `mode=` would be given, and the callback never act
        close = close_names(callback.monitor, logged)
        raise ValueError(
            f"{type(callback).__name__} monitors {callback.monitor!r}, but this loop logs: "
            f"{', '.join(map(repr, logged))}. {f'Did you mean {close[0]!r}? ' if close else ''}Of what another "
            "callback puts into the logs, write mode='min' or mode='max'."
        )
    if known is None:
        raise ValueError(
            f"{type(callback).__name__}(monitor={callback.monitor!r}) does not say what is better, and nothing here "
            "does. Write mode='min' if a smaller value is, mode='max' if a larger one is."
        )
    callback.monitor_op = keras.ops.greater if known == "up" else keras.ops.less
    # As Keras turns it when it sets `monitor_op`; since that is set now, it does so no more.
    callback.min_delta *= 1 if known == "up" else -1


def places(callback: Callback) -> list[Target]:
    """Returns where a callback writes to, and nobody else may."""
    if isinstance(callback, keras.callbacks.CSVLogger):
        return [Target(path_of(callback.filename), "file")]
    return [Target(path_of(callback.log_dir), "directory")] if isinstance(callback, keras.callbacks.TensorBoard) else []


def without(logs: Mapping[str, float], names: Collection[str]) -> dict[str, float]:
    """Returns logs without what `fit` would not have in them: learning rates, and evaluations of earlier epochs."""
    return {name: value for name, value in logs.items() if name not in names}


def length(callback: Callback) -> int:
    """Returns how many bytes the file of a callback has that writes on in one; 0 of any other."""
    if isinstance(callback, keras.callbacks.CSVLogger):
        with contextlib.suppress(OSError):
            return os.path.getsize(callback.filename)
    return 0


@contextlib.contextmanager
def going_on(callback: Callback, size: int) -> Iterator[None]:
    """Has a callback that opens a file within go on in it.

    Args:
        callback: Any callback.
        size: How many bytes the file had where the run goes on; what came later is taken away.
    """
    if not isinstance(callback, keras.callbacks.CSVLogger):
        yield
        return
    with contextlib.suppress(FileNotFoundError):
        # A shorter file is left: somebody has emptied it, or a power failure has taken rows.
        if os.path.getsize(callback.filename) > size:
            os.truncate(callback.filename, size)
    # For this once: what the program has given is what a run that begins anew goes by.
    append, callback.append = callback.append, True
    try:
        yield
    finally:
        callback.append = append
