"""Which thing is which: what a callback holds is known by where it was held when the run began."""

import numpy as np
import tensorflow as tf

from hooks.callbacks.closed import Python

NEW = "new"  # labels of what was made later begin with it, and paths do not: they begin with a dot or a slash
HOOKS = "//"  # those of the loop's hooks


class Things:
    """Labels of the things that can be changed in place, the same in each process: the first path to each of them.

    A thing under two names, or one of several that an attribute points at in turn, is so told from another of its kind.
    """

    def __init__(self) -> None:
        self._labels: dict[int, str] = {}
        self._things: dict[str, object] = {}  # holds them: an id is only one's own as long as one is there
        self._seen: dict[str, Python] = {}
        self._as_made: int | None = None
        self._views: dict[int, tuple[tf.Tensor, np.ndarray]] = {}

    def name(self, value: object, path: str) -> None:
        """Gives a thing a label, unless it has one or another has that."""
        if id(value) not in self._labels and path not in self._things:
            self._labels[id(value)], self._things[path] = path, value

    def begin(self) -> None:
        """Forgets the labels of what an earlier run in this process has made when it began."""
        if self._as_made is None:
            self._as_made = len(self._things)
        for path in [*self._things][self._as_made :]:  # a dict keeps its order, and these came later
            del self._labels[id(self._things.pop(path))]
            self._seen.pop(path, None)
        self._views = {key: view for key, view in self._views.items() if key in self._labels}

    def forget(self, path: str) -> None:
        """Forgets the labels of a path, and of what is in it."""
        for label in self._below(path):
            del self._labels[id(self._things.pop(label))]
            self._seen.pop(label, None)
        self._views = {key: view for key, view in self._views.items() if key in self._labels}

    def below(self, path: str) -> list[object]:
        """Returns what a path, or something in it, is the label of."""
        return [self._things[label] for label in self._below(path)]

    def has(self, path: str) -> bool:
        """Returns whether a path, or something in it, is a label."""
        return bool(self._below(path))

    def _below(self, path: str) -> list[str]:
        return [label for label in self._things if label == path or label.startswith(f"{path}.")]

    def label(self, value: object) -> str | None:
        """Returns the label of a thing; None of one that was not there when the run began."""
        return self._labels.get(id(value))

    def thing(self, label: str) -> object:
        """Returns what has a label; None if nothing has."""
        return self._things.get(label)

    def first(self, label: str, seen: Python) -> Python:
        """Returns what was first seen of a thing."""
        return self._seen.setdefault(label, seen)

    def view(self, variable: tf.Variable) -> np.ndarray:
        """Returns the value of a variable, without a copy and as the same array for as long as it is not updated."""
        # Shares the buffer of the variable until that is updated, and an update makes another one.
        tensor = variable.read_value()
        try:
            array = np.asarray(memoryview(tensor))  # sync: waits for the value
        except (ValueError, TypeError, BufferError):  # a type that NumPy does not have by itself
            return tensor.numpy()
        _, before = self._views.get(id(variable), (None, None))
        if before is not None and before.shape == array.shape and before.ctypes.data == array.ctypes.data:
            return before  # it is held, so nothing else can be there
        if id(variable) in self._labels:
            self._views[id(variable)] = tensor, array
        return array
