"""Values that layers derive from their variables, and compute with instead of these."""

import warnings
from collections.abc import Mapping
from typing import Any, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from loop.digest import digest
from loop.state.variables import all_layers, own_variables
from loop.tensors import raw
from loop.tf_internals import BOOKKEEPING, EagerTensor

# These override it for quantized weights and the like; what they compute with is their variables.
DERIVE_NOTHING = {
    each.load_own_variables
    for each in (keras.Layer, keras.layers.Dense, keras.layers.EinsumDense, keras.layers.Embedding, keras.layers.Conv1D)
}
Attributes: TypeAlias = list[dict[str, Any]]


class Derived:
    """The layers in what was given that derive values when Keras loads their weights, as `Normalization` does.

    To restore such a layer's variables is not enough. In a traced function, derived values are constants.

    Args:
        given: What was given as `state=`. Everything has to be built.
    """

    def __init__(self, given: Mapping[str, object]) -> None:
        layers = all_layers(given)
        self._layers = [layer for layer in layers if _derives(layer)]
        # Their traced functions have derived values in them, as constants.
        self._models = [layer for layer in layers if isinstance(layer, keras.Model)] if self._layers else []
        self._first = self._bits()  # what a trace that is made now computes with

    def variables(self) -> list[tf.Variable]:
        """Returns the variables from which anything is derived."""
        return [variable for layer in self._layers for variable in own_variables(layer)]

    def again(self) -> None:
        """Derives everything again. Functions that a model has traced for `predict` and the like are traced anew."""
        before = self._bits()
        for layer in self._layers:
            _derive(layer)
        self._forget(before)

    def other_with(self, values: Mapping[int, tf.Tensor]) -> list[str]:
        """Returns the names of the layers that would compute with other values than now, and changes nothing.

        Args:
            values: Of what `variables` returned, by `id`.
        """
        # To derive is to assign first, and to look at what comes of it: all of that is put back below.
        attributes, before, variables = self.capture(), self._bits(), self.variables()
        held = [variable.read_value() for variable in variables]
        try:
            for variable in variables:
                variable.assign(values[id(variable)])
            for layer in self._layers:
                _derive(layer)
            return self._other(before)
        finally:
            for variable, value in zip(variables, held, strict=True):
                variable.assign(value)
            self.rollback(attributes)

    def check(self) -> None:
        """Raises `RuntimeError` if values are not what they were when this was made: when a loop was traced."""
        if names := self._other(self._first):
            raise RuntimeError(
                f"{listed(names)} other values from variables than when this loop was traced, and the loop would go on "
                "computing with the old ones. Call adapt, or restore, before the loop is first used, or make it anew."
            )

    def capture(self) -> Attributes:
        """Returns what the layers are made of."""
        return [dict(vars(layer)) for layer in self._layers]

    def rollback(self, attributes: Attributes) -> None:
        """Gives the layers what `capture` returned."""
        before = self._bits()
        for layer, held in zip(self._layers, attributes, strict=True):
            vars(layer).clear()  # past Keras' __setattr__, which would track what is set
            vars(layer).update(held)
        self._forget(before)

    def _forget(self, before: list[dict[str, object]]) -> None:
        """Lets models trace their functions anew, if values are not what they were."""
        if self._other(before):
            for model in self._models:
                # None: traced when it is next called.
                model.predict_function = model.test_function = model.train_function = None

    def _bits(self) -> list[dict[str, object]]:
        return [
            {name: _plain(value) for name, value in vars(layer).items() if not name.startswith(BOOKKEEPING)}
            for layer in self._layers
        ]

    def _other(self, before: list[dict[str, object]]) -> list[str]:
        pairs = zip(self._layers, self._bits(), before, strict=True)
        return [layer.name for layer, now, then in pairs if now != then]


def listed(names: list[str]) -> str:
    """Returns the subject and verb of what is said about layers."""
    return f"Layer {names[0]!r} derives" if len(names) == 1 else f"Layers {', '.join(map(repr, names))} derive"


def _derives(layer: keras.Layer) -> bool:
    # Without variables, there is nothing to derive from.
    return (_loads(layer) or _finalize(layer) is not None) and own_variables(layer) != []


def _loads(layer: keras.Layer) -> bool:
    return type(layer).load_own_variables not in DERIVE_NOTHING


def _finalize(layer: keras.Layer) -> Any:
    return getattr(type(layer), "finalize_state", None)  # what the layers have that are adapted


def _derive(layer: keras.Layer) -> None:
    """Lets a layer load its own variables, as `keras.Model.load_weights` does, and leaves these as they are."""
    # Of the layers within, too: loading may assign to whatever it reaches.
    variables = {id(each): each for each in (*own_variables(layer), *map(raw, layer.variables))}
    held = {key: variable.read_value() for key, variable in variables.items()}
    try:
        if _loads(layer):
            store: dict[str, Any] = {}
            layer.save_own_variables(store)
            # As arrays, which is how they come out of a file.
            layer.load_own_variables({name: keras.ops.convert_to_numpy(value) for name, value in store.items()})
    except Exception as error:
        warnings.warn(f"Layer {layer.name!r} cannot load what it saves itself: {error!r}.", stacklevel=2)
    finally:
        for key, value in held.items():
            variables[key].assign(value)
    if (finalize := _finalize(layer)) is not None:
        finalize(layer)


def _plain(value: object) -> object:
    """Returns what can be compared of an attribute: tensors, arrays and numbers, also in lists and dicts."""
    if isinstance(value, EagerTensor | np.ndarray | np.generic):
        return digest(tf.convert_to_tensor(value))
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    # Of other objects nothing is compared: equal ones may be made again and again.
    return repr(value) if isinstance(value, int | float | str | bytes) else None
