"""What is set on a hook, and is its state."""

from collections.abc import Iterator

import keras
import tensorflow as tf

from loop.tf_internals import Trackable


def hold_of_keras(hook: tf.Module) -> None:
    """Sets on a hook, for TensorFlow to find, the variables of Keras' metrics and seed generators that it has.

    To be called when all that its `__init__` makes is there. A metric that is made later, for each epoch, say, is none
    of its state.
    """
    for name, value in vars(hook).copy().items():
        if kept := _of_keras(value):
            setattr(hook, f"state_of_{name}", kept)


def variables_in(value: object, seen: set[int] | None = None) -> Iterator[tf.Variable]:
    """Yields the variables of TensorFlow in a value, also in modules, lists and dicts, each once."""
    seen = set() if seen is None else seen
    for each in _held(value, seen):
        if isinstance(each, tf.Variable):
            yield each
        elif isinstance(each, tf.Module):
            yield from variables_in(vars(each), seen)


def _of_keras(value: object) -> list[keras.Variable]:
    # As they are, and not as variables of TensorFlow: a hook that only reads a metric has no state by that.
    found = list[keras.Variable]()
    for each in _held(value, set()):
        if isinstance(each, keras.Metric):
            found += each.variables
        elif isinstance(each, keras.random.SeedGenerator):
            found.append(each.state)
    return found


def _held(value: object, seen: set[int]) -> Iterator[object]:
    """Yields what is in lists, tuples and dicts, at any depth, each once; or else the value itself."""
    if id(value) not in seen:
        seen.add(id(value))
        if isinstance(value, list | tuple | dict):
            for item in [*(value.values() if isinstance(value, dict) else value)]:
                yield from _held(item, seen)
        else:
            yield value


def holds_state(value: object) -> bool:
    """Returns whether there is anything in a value that TensorFlow can save."""
    return any(isinstance(each, Trackable) for each in _held(value, set()))
