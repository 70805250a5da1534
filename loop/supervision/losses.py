"""The loss of supervised learning: one for all, or one for each output of a model, as Keras takes them."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import keras
import tensorflow as tf

from loop.errors.keras_arguments import check_each, check_flat, check_loss, takes_weights
from loop.errors.kinds import shown
from loop.supervision.outputs import Of, Output, alone, check_names, is_several, name_of_only, names_of, outputs, part
from loop.tensors import Nest
from loop.tf_internals import converted, loss_of, mask_of

Loss: TypeAlias = keras.losses.Loss | Callable[..., tf.Tensor] | str
Losses: TypeAlias = Loss | Mapping[str, Loss | None] | Sequence[Loss | None]
OF_OUTPUT = "{}_loss"  # under which the loss of an output is logged, as in Keras
Weights: TypeAlias = float | Mapping[str, float] | Sequence[float]


class WeightedLoss:
    """What is minimized, but for the model's own losses: the sum of the losses of the outputs.

    Args:
        model: The model.
        loss: One loss, or several by output.
        weights: What each is multiplied with in the sum.
    """

    def __init__(self, model: keras.Layer, loss: Losses, weights: Weights | None) -> None:
        self._loss, self._weights, self._names = loss, weights, names_of(model)
        self._name = name_of_only(model)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the outputs, as far as they are known before the model is called."""
        if self._names or not isinstance(self._loss, Mapping | list | tuple):
            return self._names
        if isinstance(self._loss, Mapping):
            return tuple(self._loss)
        return tuple(map(str, range(len(self._loss)))) if len(self._loss) > 1 else ()

    def __call__(self, y: Nest, prediction: Nest, sample_weight: Nest) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """Returns the sum, `[]`, and, where there are several, the loss of each output before it is weighted."""
        loss = self._loss if is_several(prediction) else self._only(self._loss)
        # A loss that takes three arguments takes all outputs at once, and their labels as they are.
        if not is_several(loss) and (not is_several(prediction) or _is_of_all(loss)):
            value = _called(loss, y if loss is self._loss else alone(y), prediction, sample_weight)
            return (value if self._weights is None else value * self._weight_of_all()), {}
        check_flat(prediction, self._loss)
        found = outputs(prediction, self._names)
        # A misspelt name of an output would leave its loss out, and train on with the others.
        check_names(self._loss, [each.name for each in found], "a loss")
        check_names(self._weights, [each.name for each in found], "a weight of a loss")
        given = {each: self._of(each, found) for each in found}
        losses = {each: own for each, own in given.items() if own is not None}
        values = {}
        for output, own in losses.items():
            label = y if len(losses) == 1 and not is_several(y) else _label(y, output, found, [*losses])
            weight = part(sample_weight, output, found, "weights") if is_several(sample_weight) else sample_weight
            values[output] = _called(own, label, part(prediction, output, found, "a value"), weight)
        # In the dtype of the first: outputs may be of several policies.
        terms = [value * self._factor(output, [*losses]) for output, value in values.items()]
        # Of one output, it would be the same number twice.
        named = {OF_OUTPUT.format(output.name): value for output, value in values.items()} if len(values) > 1 else {}
        return tf.add_n([tf.cast(each, terms[0].dtype) for each in terms]), named

    def _only(self, given: Of) -> Of:
        """Returns what is given for the one output of the model, in a list or by its name; or what was given."""
        return given.get(self._name, given) if isinstance(given, Mapping) and len(given) == 1 else alone(given)

    def _weight_of_all(self) -> float:
        """Returns what one loss is multiplied with. Raises `ValueError` if that is not one number."""
        weight = self._only(self._weights)
        if is_several(weight):
            raise ValueError(
                f"supervised(loss_weights=...) needs one number for one loss. Received: {shown(self._weights)}. Give a "
                "number, or a loss for each output."
            )
        return weight  # type: ignore[return-value]  # it is not several

    def _of(self, output: Output, among: Sequence[Output]) -> Loss | None:
        if isinstance(self._loss, Mapping):
            return self._loss.get(output.name)
        return part(self._loss, output, among, "a loss") if isinstance(self._loss, list | tuple) else self._loss

    def _factor(self, output: Output, among: Sequence[Output]) -> float:
        weights = self._weights
        if weights is None or isinstance(weights, Mapping):
            return (weights or {}).get(output.name, 1.0)
        return part(weights if isinstance(weights, list | tuple) else [weights], output, among, "a weight of the loss")


class Values(keras.losses.Loss):
    """The weighted mean of losses that were computed already."""

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        return y_pred


def _is_of_all(loss: object) -> bool:
    """Returns whether a loss takes all outputs at once: a function of three arguments that is no loss of Keras."""
    return callable(loss) and not isinstance(loss, keras.losses.Loss) and takes_weights(loss)


def _label(y: Nest, output: Output, among: Sequence[Output], with_loss: Sequence[Output]) -> Nest:
    # Labels may be of those outputs alone that have a loss.
    partial = isinstance(y, list | tuple) and len(y) == len(with_loss)
    return part(y, output, with_loss if partial else among, "labels")


def _called(loss: Loss, y: Nest, prediction: Nest, sample_weight: Nest) -> tf.Tensor:
    """Returns the loss of one output. A function of the program's own gets labels of any structure as they are."""
    made = loss
    if isinstance(prediction, tf.Tensor):
        of_keras = isinstance(loss, str | keras.losses.Loss)
        y = alone(y) if of_keras else y
        sample_weight = sample_weight if not of_keras and _is_of_all(loss) else alone(sample_weight)
    if isinstance(loss, str):
        made = loss_of(loss, y, prediction)
    elif not isinstance(loss, keras.losses.Loss) and not takes_weights(loss):
        # Keras applies the mask of a prediction as well.
        each = loss if sample_weight is None and mask_of(prediction) is None else _each(loss)
        if isinstance(y, tf.Tensor):
            made = loss_of(each, y, prediction)
        else:  # labels of some structure, or ragged, of which Keras makes no tensor
            y = prediction = converted(each)(y, prediction)
            made = Values()
    # A loss of Keras weights and reduces as in `fit`.
    value = converted(made)(y, prediction, sample_weight)  # type: ignore[arg-type]  # it is no name any more
    check_loss(value)
    return value


def _each(loss: Callable[..., tf.Tensor]) -> Callable[..., tf.Tensor]:
    """Returns a function of two arguments that is seen to return what weights, and a mask, can be applied to."""

    @functools.wraps(loss, assigned=[name for name in functools.WRAPPER_ASSIGNMENTS if name in dir(loss)], updated=[])
    def each(y: Nest, prediction: Nest) -> tf.Tensor:
        value = loss(y, prediction)
        check_each(value)
        return value

    return each
