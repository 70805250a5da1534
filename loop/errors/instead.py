"""What to write for a value of another kind than was expected, in a sentence or two."""

import inspect
import re
from collections.abc import Callable, Collection, Iterator, Mapping

import keras
import numpy as np
import tensorflow as tf

from loop.errors.kinds import OF_TF_KERAS, is_of_tf_keras, shown
from loop.errors.tracebacks import by_library
from loop.tensors import Nest

OF_SHAPES = (TypeError, ValueError, tf.errors.InvalidArgumentError)  # what a batch of a wrong shape raises
SHAPES_DIFFER = re.compile("[Ss]hapes|[Dd]imensions|[Ii]ncompatible|must be equal")  # in what TensorFlow says of that
OF_PART = (
    "As one of several workers, the step is given some of the rows of each batch. Where the program has a fixed number "
    "of rows, such as batch_size, write tf.shape(x)[0]."
)
ARRAYS = "Arrays go into ArrayData((x, y), batch_size=32)"
GENERATOR = (
    "A generator goes into StreamData(tf.data.Dataset.from_generator(function, output_signature=...), "
    'resume="replay"), where each call of the function returns a new one'
)
FRAME = (
    "Write ArrayData(dict(frame), batch_size=32), where batches have the columns by name; or, of columns of numbers, "
    "ArrayData(frame[columns].to_numpy(dtype='float32'), batch_size=32)."
)
COLUMN = (
    "Write ArrayData(column.to_numpy(dtype='float32'), batch_size=32); of what are no numbers, "
    "column.astype(str).fillna('')."
)
SUPERVISED = "Write train_step, eval_step = supervised(model, optimizer, loss), and Loop(train_step, ...)."
KERAS_STEPS = "Write train_step, eval_step = keras_steps(model), and Loop(train_step, ...)."
CALLBACKS = {
    "EarlyStopping": "hooks.EarlyStopping('val_loss', mode='min', patience=5)",
    "ModelCheckpoint": "hooks.Checkpoint(directory, best='val_loss', mode='min')",
    "BackupAndRestore": "hooks.Checkpoint(directory)",
    "TensorBoard": "hooks.TensorBoard(directory)",
    "ProgbarLogger": "hooks.Progress()",
    "LearningRateScheduler": "the schedule into the optimizer, as in keras.optimizers.schedules.CosineDecay(0.1, 1000)",
}


def instead_of_data(given: object) -> str:
    """Returns what to write for something that is given as data and is none."""
    package = type(given).__module__.split(".")[0]  # for those that need not be installed
    # Before "arrays": ArrayData would refuse it again.
    if isinstance(given, np.ndarray) and given.dtype == object:
        return "Write x.astype('float32'); of columns of several kinds, one array each: {'age': age, 'name': name}."
    if isinstance(given, tf.data.Iterator):
        return "Give the dataset itself, not iter(dataset)."
    if isinstance(given, tf.distribute.DistributedDataset | tf.distribute.DistributedIterator):
        return (
            "Give the dataset that it was made of, and no strategy: after loop.connect(), with `exactloop launch "
            "--workers N script.py`, each worker takes its own rows of every batch."
        )
    if isinstance(given, tf.data.Dataset):
        return "A dataset needs no ArrayData: give it as it is, batched, or StreamData(dataset)."
    if isinstance(given, tf.RaggedTensor):
        return "Write x.to_tensor(), which pads it, or tf.data.Dataset.from_tensor_slices(x).batch(32)."
    if isinstance(given, tf.SparseTensor):
        return "Write tf.sparse.to_dense(x), or tf.data.Dataset.from_tensor_slices(x).batch(32)."
    if package == "pandas":
        return FRAME if type(given).__name__ == "DataFrame" else COLUMN
    if package == "scipy":
        return "Write x.toarray(), or a tf.data.Dataset that makes dense batches."
    if isinstance(given, keras.utils.PyDataset):
        return "A PyDataset is given as it is, or as IndexedData(source, batch_size=None)."
    if isinstance(given, type):
        return f"It is a class: write {given.__name__}(...)."
    # Before generators and sequences: a loader that can say where it is can be resumed in mid-pass.
    if _has_state(given):
        return "What can say where it is goes into StatefulData(source)."
    # By its module's name: importing torch to ask would take seconds, and it need not be there.
    foreign = package == "torch" and not _is_indexed(given)
    if isinstance(given, Iterator) or foreign or inspect.isgeneratorfunction(given):
        return f"{GENERATOR}."
    if isinstance(given, tuple | list | dict | tf.Tensor) or package == "numpy":
        return f"{ARRAYS}."
    if _is_indexed(given):
        return "What has a length and items goes into IndexedData(source, batch_size=32)."
    if callable(given) and not isinstance(given, keras.Layer):
        return "A function from the epoch to a dataset goes into StreamData(function)."
    return f"{ARRAYS}, datasets are batched, as in dataset.batch(32)."


def _has_state(given: object) -> bool:
    # By the methods of its class, as `hasattr` would call properties of a stranger's object.
    names = _methods(given)
    return {"get_state", "set_state"} <= names or {"state_dict", "load_state_dict"} <= names


def _is_indexed(given: object) -> bool:
    return {"__len__", "__getitem__"} <= _methods(given) and not isinstance(given, str | bytes)


def _methods(given: object) -> set[str]:
    return {name for each in type(given).__mro__ for name in vars(each)}


def instead_of_evaluation(given: object) -> str:
    """Returns what to write for something that is given as `evaluate=` and is none."""
    if isinstance(given, type):
        return "That is the class: write evaluate=Evaluation(eval_step, data)."
    if isinstance(given, Mapping):
        return "Write evaluate=[...]; an evaluation has its name by itself: Evaluation(eval_step, data, name='test')."
    if isinstance(given, tuple | list) and any(isinstance(each, np.ndarray | tf.Tensor | list) for each in given):
        data = f"ArrayData({'(x, y)' if len(given) == 2 else 'arrays'}, batch_size=32)"
        return f"Write evaluate=Evaluation(eval_step, {data})."
    if callable(given):
        return "Write evaluate=Evaluation(eval_step, data): a step, and the data that it is called with."
    return "Write evaluate=Evaluation(eval_step, data)."


def instead_of_step(given: object) -> str:
    """Returns what was received as a step that is none, and what to write; nothing if it may be one."""
    if isinstance(given, type):
        return f"Received: {shown(given)}. Write an instance of it, or a function."
    # Callable, too, but as a layer.
    if isinstance(given, keras.Model) and given.compiled:
        return f"Received: {shown(given)}, a compiled model. {KERAS_STEPS}"
    if isinstance(given, tf.data.Dataset):
        return (
            f"Received: {shown(given)}. The step comes first, then the data: Loop(train_step, dataset, state={{...}})."
        )
    if not callable(given):
        return f"Received: {shown(given)}. {SUPERVISED}"
    if refuses_arguments(given, 1):
        name = getattr(given, "__name__", type(given).__name__)
        return f"Received: {name}, which cannot be called with a batch alone. Write def {name}(batch): x, y = batch"
    return ""


def of_tracing(function: object, element_spec: Nest, error: Exception) -> list[str]:
    """Returns what may be the cause of an exception that came while a step was traced."""
    if isinstance(function, keras.Layer):
        return [f"The step is a {type(function).__name__}. {SUPERVISED}"]
    # Only a guess, so it is a note to the error, and only where the batch looks like one example.
    if is_unbatched(element_spec) and isinstance(error, OF_SHAPES) and by_library(error):
        of = f"The step was called with {specs(element_spec)}"
        return [f"{of}. If that is one example, and not a batch of them, write dataset.batch(32)."]
    return []


def of_part(error: Exception) -> list[str]:
    """Returns what may be the cause of an exception in a step that is given some of the rows of each batch."""
    return [OF_PART] if isinstance(error, OF_SHAPES) and SHAPES_DIFFER.search(str(error)) else []


def instead_of_hook(given: object) -> str:
    """Returns what to write for something that is given as a hook and is none."""
    if isinstance(given, type):
        return f"Write {given.__name__}(...)."
    if isinstance(given, keras.callbacks.Callback):
        # By the names of base classes: a callback of the program's own is often a subclass of one of these.
        known = next((CALLBACKS[base.__name__] for base in type(given).__mro__ if base.__name__ in CALLBACKS), "")
        return f"Write hooks=[callback]{f', or hooks=[{known}]' if known else ''}."
    if is_of_tf_keras(given):
        return f"It is {OF_TF_KERAS}."
    if isinstance(given, Collection):
        return "Hooks are added one by one: for hook in hooks: loop.hooks.add(hook)."
    if callable(given):
        return "A function is added by @loop.on(Event.EPOCH_END)."
    return "Write a class Mine(loop.Hook), and hooks=[Mine()]."


def never_runs(function: Callable[..., object]) -> str:
    """Returns why a call of a function runs none of it, and what to write; empty if it does run."""
    # An object is called by its class's `__call__`; of a function, that is Python's own.
    for called in (function, type(function).__call__):
        if inspect.iscoroutinefunction(called):
            return "nobody awaits it. Write def in the place of async def, and asyncio.run(...) for what it awaits."
        if inspect.isgeneratorfunction(called) or inspect.isasyncgenfunction(called):
            return "a function with a yield in it only makes a generator. Write it without."
    return ""


def refuses_arguments(function: Callable[..., object], count: int) -> bool:
    """Returns whether a function cannot be called with that many arguments, as far as can be seen."""
    try:
        signature = inspect.signature(function, follow_wrapped=False)  # a decorator may call it in another way
    except (TypeError, ValueError):
        return False
    try:
        signature.bind(*range(count))
    except TypeError:
        return True
    return False


def specs(element_spec: Nest) -> str:
    """Returns what a batch is made of, in short. It may be that of tensors, or of their specs."""
    leaves = tf.nest.flatten(element_spec)
    dense = tf.TensorSpec | tf.Tensor
    named = [f"{leaf.dtype.name} {leaf.shape}" if isinstance(leaf, dense) else shown(leaf) for leaf in leaves]
    return ", ".join([*named[:4], *(["..."] if len(named) > 4 else [])])


def is_unbatched(element_spec: Nest) -> bool:
    """Returns whether parts of a batch cannot have one number of examples: some are numbers, or lengths differ."""
    shapes = [leaf.shape for leaf in tf.nest.flatten(element_spec) if isinstance(leaf, tf.TensorSpec | tf.Tensor)]
    known = [shape for shape in shapes if shape.rank is not None]
    # Dimensions that are not known may be equal, and say nothing.
    firsts = {shape[0] for shape in known if shape.rank and shape[0] is not None}
    return any(shape.rank == 0 for shape in known) or len(firsts) > 1
