"""What networks, and other things that cannot be written down, keep in Python: it is not saved, but seen to change."""

import collections
import functools
from collections.abc import Mapping, Set
from typing import TypeAlias

import keras
import numpy as np
import tensorflow as tf

from hooks.callbacks.objects import COMPUTING, OTHERS, VARIABLES, attributes, nodes
from hooks.callbacks.values import PLAIN
from loop.tf_internals import BOOKKEEPING, Trackable

LISTS = (list, tuple, collections.deque, Mapping, Set)
DEEPEST = 4  # what is further in is known by which object it is
Python: TypeAlias = dict[int, dict[str, object]]
LARGEST = 10_000  # numbers of an array; a larger one is known by which it is
TRACKED = (Trackable, keras.Variable)  # these are met by themselves
# The tables that nothing can be put into.
STATIC = (tf.lookup.StaticHashTable, tf.lookup.StaticVocabularyTable)


def keeps_unseen(value: object) -> str:
    """Returns the kind of what keeps something that is neither a variable nor Python; nothing if there is nothing."""
    of = (type(n).__name__ for n in nodes(value) if isinstance(n, tf.saved_model.experimental.TrackableResource)
          and not isinstance(n, STATIC))  # fmt: skip
    return next(of, "")


def seen(value: object) -> str:
    """Returns what is in Python in a thing that cannot be written down, as a text to compare with a later one."""
    return "" if isinstance(value, COMPUTING) else repr(_of(value, set(), 0))


def python_of(value: object) -> Python:
    """Returns what a thing that TensorFlow tracks, and what it is made of, have in Python, by object and name.

    Of a library's own classes that is what they are made with: numbers and texts.
    """
    found: Python = {}
    # Networks are trees of thousands of objects: only what is compared is taken out, in plain values.
    for node in nodes(value):
        if isinstance(node, VARIABLES):
            continue
        own, known = getattr(node, "__dict__", {}), _internals()
        names = [name for name in own if name not in known and not name.startswith(BOOKKEEPING)]
        # Private attributes of a library change whenever its objects are called, and say nothing.
        if _of_library(node):
            found[id(node)] = {n: own[n] for n in names if not n.startswith("_") and type(own[n]) in PLAIN}
        else:
            found[id(node)] = {name: _plain(own[name], set(), 1) for name in names}
    if isinstance(value, LISTS):
        # What is in it, under a name that no attribute has.
        found.setdefault(id(value), {})[""] = _items(value, set(), 0)
    return found


def changes(value: object, first: Python, now: Python) -> bool:
    """Returns whether something in Python has changed, other than by what a library does when a thing is called."""
    library = {id(node) for node in nodes(value) if _of_library(node)}
    # Objects that came or went are no change here: they are seen as the attributes that point at them.
    for key in first.keys() & now.keys():
        was, own = first[key], now[key]
        # A library sets attributes late, as when a layer is built; the program's own count from the first.
        names = was.keys() & own.keys() if key in library else was.keys() | own.keys()
        if any(name not in was or name not in own or was[name] != own[name] for name in names):
            return True
    return False


@functools.cache
def _internals() -> frozenset[str]:
    """Returns what Keras and TensorFlow set on such things themselves, and change when these are called."""
    # Found out, not listed: the next version of Keras may set others.
    made = keras.layers.Layer(), keras.Model(), keras.Sequential(), tf.Module()
    private = {name for name in vars(keras.optimizers.SGD()) if name.startswith("_")}
    # What `fit`, `compile` and `build` set.
    by_fit = {"built", "stop_training", "stop_predicting", "stop_evaluating", "optimizer", "history"}
    return frozenset(by_fit | private.union(*(vars(each) for each in made)))


def _of_library(value: object) -> bool:
    return type(value).__module__.split(".")[0] in OTHERS


def _of(value: object, met: set[int], depth: int) -> object:
    """Returns the attributes of a thing of a class of the program, and what is in it if it is a list or a dict."""
    own = {} if _of_library(value) else attributes(value)
    return _items(value, met, depth), [(name, _plain(item, met, depth + 1)) for name, item in own.items()]


def _plain(value: object, met: set[int], depth: int) -> object:
    if type(value) in PLAIN:
        return value
    # Bytes, and not the array: that may be changed in place, and would then equal itself.
    if isinstance(value, np.ndarray | np.generic) and value.size <= LARGEST:
        return value.shape, value.tobytes()
    if id(value) in met or depth > DEEPEST or not (isinstance(value, LISTS) or _is_ours(value)):
        return id(value)
    met.add(id(value))  # what contains itself would have no end
    return _of(value, met, depth) if _is_ours(value) else _items(value, met, depth)


def _is_ours(value: object) -> bool:
    return not _of_library(value) and not isinstance(value, Trackable | type)


def _items(value: object, met: set[int], depth: int) -> object:
    if isinstance(value, Mapping):
        pairs = [(key, item) for key, item in value.items() if not isinstance(item, TRACKED)]
        return [(_plain(key, met, depth + 1), _plain(item, met, depth + 1)) for key, item in pairs]
    if isinstance(value, Set):
        return sorted(map(repr, value))  # a set of texts has another order in each process
    items = value if isinstance(value, LISTS) else ()
    return [_plain(item, met, depth + 1) for item in items if not isinstance(item, TRACKED)]
