"""What objects that callbacks hold are made of: attributes, or variables."""

import sys
import types
import weakref
from collections.abc import Callable

import keras
import tensorflow as tf

from hooks.callbacks.kinds import OF_FILES, OF_FIT, kinds
from loop.tf_internals import Trackable

OTHERS = {*sys.stdlib_module_names, "keras", "tensorflow", "numpy"} - {"__main__"}  # whose objects are closed books
VARIABLES = (tf.Variable, keras.Variable)
# What computes with variables, and keeps nothing else: averaged weights, a teacher, a random stream.
COMPUTING = (Trackable, keras.random.SeedGenerator)
# By which object it is: so only of those that equal nothing but themselves.
_built: weakref.WeakKeyDictionary[object, list[object]] = weakref.WeakKeyDictionary()


def is_of_program(value: object) -> bool:
    """Returns whether an object has attributes, and nothing else, and its class is none of a library here.

    A callback within another one is such an object, too, also one of Keras' own.
    """
    bases = type(value).__mro__[:-1]  # without `object`
    ours = not any(base.__module__.split(".")[0] in OTHERS for base in bases)
    has_attributes = type(value).__dictoffset__ != 0 or bool(_slots(value))
    return isinstance(value, keras.callbacks.Callback) or (ours and has_attributes)


def attributes(value: object) -> dict[str, object]:
    """Returns what such an object has set on itself; of a callback without what `fit` sets, and without its files."""
    aside = OF_FIT.union(*kinds(OF_FILES, value)) if isinstance(value, keras.callbacks.Callback) else set[str]()
    # Slots and the dict. Properties are neither: they are computed from what is in these.
    own = {name: getattr(value, name) for name in _slots(value)} | getattr(value, "__dict__", {})
    return {name: item for name, item in own.items() if name not in aside}


def functions(callback: keras.callbacks.Callback) -> list[Callable[..., object]]:
    """Returns what is called of a callback: methods of events, and functions that it holds, as a `LambdaCallback` does.

    Unbound: of what objects hold, it is told elsewhere.
    """
    methods = [getattr(callback, name) for name in dir(callback) if name[:3] == "on_"]
    held = [each for each in vars(callback).values() if isinstance(each, types.FunctionType)]
    return [getattr(each, "__func__", each) for each in (*methods, *held)]


def take_away(value: object, name: str) -> None:
    """Deletes an attribute, also of what is frozen."""
    object.__delattr__(value, name)


def fill(value: object, name: str, item: object) -> None:
    """Sets an attribute, also of what is frozen."""
    object.__setattr__(value, name, item)


def variables(value: object) -> list[tf.Variable]:
    """Returns the variables of a network, an optimizer or a random stream, in the same order in each process."""
    if isinstance(value, keras.random.SeedGenerator):
        return [value.state.value]
    found = nodes(value)
    layers = [value] if isinstance(value, keras.Layer) else [node for node in found if isinstance(node, keras.Layer)]
    # The random streams of layers, such as `Dropout`, which TensorFlow does not track.
    found = [*found, *(each for layer in layers for each in layer.variables)]
    own = [node.value if isinstance(node, keras.Variable) else node for node in found]
    return list({id(each): each for each in own if isinstance(each, tf.Variable)}.values())


def nodes(value: object) -> list[object]:
    """Returns what TensorFlow tracks in a thing, and the thing."""
    if isinstance(value, keras.random.SeedGenerator):
        return [value]
    of_keras = isinstance(value, keras.Layer | keras.optimizers.Optimizer) and value.built
    lasting = of_keras and type(value).__hash__ is object.__hash__
    if lasting and value in _built:  # to look for them takes milliseconds
        return [value, *_built[value]]
    found = [node for node in tf.train.TrackableView(value).descendants() if node is not value]
    # What is in it and is built later, as the optimizer of a network is by `fit`, has more in it then.
    if lasting and all(node.built for node in found if isinstance(node, keras.Layer | keras.optimizers.Optimizer)):
        _built[value] = found
    return [value, *found]


def build_optimizers(value: object) -> None:
    """Builds the optimizers with which networks in a thing were compiled, as `fit` does when it is first called."""
    for network in (node for node in nodes(value) if isinstance(node, keras.Model) and node.built):
        # By `vars`: a network that was not compiled has none, and says so by an exception.
        optimizer = vars(network).get("optimizer")
        if isinstance(optimizer, keras.optimizers.Optimizer) and not optimizer.built:
            optimizer.build(network.trainable_variables)


def _slots(value: object) -> list[str]:
    """Returns the names of the slots that have something in them."""
    names: list[str] = []
    for base in type(value).__mro__:
        listed = vars(base).get("__slots__", ())
        for name in [listed] if isinstance(listed, str) else listed:
            private = name.startswith("__") and not name.endswith("__")  # Python renames these within a class
            names.append(f"_{base.__name__.lstrip('_')}{name}" if private else name)
    return [name for name in names if name not in ("__dict__", "__weakref__") and _has(value, name)]


def _has(value: object, name: str) -> bool:
    try:
        getattr(value, name)
    except AttributeError:
        return False
    return True
