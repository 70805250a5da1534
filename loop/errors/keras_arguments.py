"""The parts of supervised learning: objects of Keras, and what to write where a name or a class is given instead."""

import inspect
import logging
from collections.abc import Callable, Mapping

import keras
import tensorflow as tf

from loop.errors.instead import is_unbatched, refuses_arguments, specs
from loop.errors.kinds import shown
from loop.tensors import Nest, unconverted

log = logging.getLogger("exactloop")
SUM = "Write loss=lambda y, p, w: first(y[0], p[0], w) + second(y[1], p[1], w), with keys for a dict."
WEIGHTS = ("w", "sw")  # what else a third argument is called that is one of weights


def check_parts(model: object, optimizer: object, loss: object) -> None:
    """Raises `TypeError` if one of them is of another kind."""
    if not isinstance(model, keras.Layer):
        raise TypeError(f"supervised(model, ...) needs a keras.Model or a layer. {_received(model)}")
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        named = f" Write keras.optimizers.get({optimizer!r})." if isinstance(optimizer, str) else ""
        wanted = "a keras.optimizers.Optimizer, as in keras.optimizers.Adam(1e-3)"
        raise TypeError(f"supervised(optimizer=...) needs {wanted}. {_received(optimizer)}{named}")
    if isinstance(loss, list | tuple | dict):
        raise TypeError(f"supervised(loss=...) takes one loss. Received: {shown(loss)}. {SUM}")
    if isinstance(loss, type | keras.Metric) or not callable(loss):
        raise TypeError(
            f"supervised(loss=...) needs a keras.losses.Loss or a function. {_received(loss)}"
            f"{_loss_named(type(loss).__name__ if isinstance(loss, keras.Metric) else loss)}"
        )
    name = getattr(loss, "__name__", type(loss).__name__)
    of_keras = _loss_named(name) if inspect.isfunction(loss) and loss.__module__.startswith("keras.") else ""
    if of_keras or not takes_weights(loss):  # the third argument of Keras' functions is another one
        why = "which cannot be" if refuses_arguments(loss, 3) else "whose third argument seems to be another one"
        raise TypeError(
            f"supervised(loss=...) is called as loss(y, prediction, sample_weight). Received: {name}, {why}."
            f"{of_keras or _weighted(loss)}"
        )


def check_ema(optimizer: keras.optimizers.Optimizer) -> None:
    """Warns if averages of the variables are computed and never used, which `fit` does at its end."""
    scaled = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    inner = optimizer.inner_optimizer if scaled else optimizer
    if inner.use_ema and not inner.ema_overwrite_frequency:
        log.warning(
            "The optimizer averages the variables (use_ema=True), and fit puts the averages into the model at its end. "
            "A loop does that with hooks=[WeightAverage('optimizer')], and not by itself. Or write "
            "optimizer.finalize_variable_values(model.trainable_variables) after run(), or give the optimizer "
            "ema_overwrite_frequency=100, say."
        )


def takes_weights(loss: Callable[..., object]) -> bool:
    """Returns whether a loss takes sample weights as its third argument, as far as can be seen.

    One that may be left out, such as `gamma=2.0`, has to say that it is one of weights, or it would get them as gamma.
    """
    if refuses_arguments(loss, 3):
        return False
    third = [*_parameters(loss)][2:3]
    if not third:  # of a decorated function, say, it is that of the function within
        third = [*_parameters(loss, follow_wrapped=True)][2:3]
    return all(each.default is each.empty or "weight" in each.name.lower() or each.name in WEIGHTS for each in third)


def _parameters(function: Callable[..., object], *, follow_wrapped: bool = False) -> list[inspect.Parameter]:
    """Returns the parameters that a function has by position."""
    try:
        parameters = inspect.signature(function, follow_wrapped=follow_wrapped).parameters.values()
    except (TypeError, ValueError):
        return []
    return [each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]


def _weighted(loss: Callable[..., object]) -> str:
    """Returns what to write for a function that does not take the sample weights third."""
    name = loss.__name__ if inspect.isfunction(loss) and loss.__name__.isidentifier() else "loss"
    try:
        named = [each for each in inspect.signature(loss).parameters if "weight" in each.lower()]
    except (TypeError, ValueError):
        named = []
    if named:
        return f" Write loss=lambda y, p, w: {name}(y, p, {named[0]}=w)."
    of_keras = f'type("Mine", (keras.losses.Loss,), {{"call": lambda self, y, p: {name}(y, p)}})()'
    return f" Write loss={of_keras}, which Keras weights as in fit."


@unconverted
def check_batch(batch: Nest, loss: object) -> None:
    """Raises `ValueError` if this is no batch `(x, y)` or `(x, y, sample_weight)`; when a step is traced."""
    x, y, _ = (None,) * 3 if _too_many(batch) else keras.utils.unpack_x_y_sample_weight(batch)
    if _too_many(batch) or is_unbatched((x, y)) or (y is None and isinstance(loss, keras.losses.Loss)):
        instead = "Write dataset.batch(32)" if y is not None else "Write dataset.map(lambda x: (x, x)), or of what is y"
        if _too_many(batch):
            instead = "Write dataset.map(lambda a, b, ...: ((a, b), y)), say, where x is of several parts"
        elif isinstance(batch, Mapping):
            first, *others = map(repr, batch)
            instead = (
                f"Write ArrayData((x, y), ...), or dataset.map(lambda batch: (batch[{first}], "
                f"batch[{others[0] if others else first}]))"
            )
        raise ValueError(
            "supervised(...) needs batches (x, y) or (x, y, sample_weight), with the examples in the first dimension. "
            f"Received: {specs(batch)}. {instead}."
        )


@unconverted
def check_prediction(prediction: Nest, loss: object) -> None:
    """Raises `TypeError` if a model has several outputs, of which a loss of Keras knows nothing."""
    if isinstance(prediction, list | tuple | dict) and type(loss).__module__.startswith("keras."):
        raise TypeError(
            f"supervised(loss=...) with a loss of Keras takes a model with one output. Received: "
            f"{type(prediction).__name__} of {specs(prediction)}. {SUM}"
        )


@unconverted
def check_loss(value: object) -> None:
    """Raises `TypeError` if a loss is not reduced over the batch."""
    if isinstance(value, tf.Tensor) and value.shape.rank not in (0, None):
        raise TypeError(
            f"supervised(loss=...) must return a scalar of shape []. Received: shape {value.shape}. Give the loss "
            "reduction='sum_over_batch_size', or return tf.reduce_mean(...) from it."
        )


def _too_many(batch: Nest) -> bool:
    return isinstance(batch, list | tuple) and len(batch) > 3


def _received(given: object) -> str:
    instead = f" Write {given.__name__}(...)." if isinstance(given, type) else ""
    return f"Received: {shown(given)}.{instead}"


def _loss_named(name: object) -> str:
    """Returns what to write for the name that a loss has in Keras, such as "mse"; nothing if it has none."""
    try:
        function: Callable[..., object] = keras.losses.get(name) if isinstance(name, str) and name else print
    except ValueError:
        return ""
    wanted = getattr(function, "__name__", type(function).__name__).replace("_", "").lower()
    classes = {name.lower(): name for name, kind in vars(keras.losses).items() if isinstance(kind, type)}
    return f" Write keras.losses.{classes[wanted]}()." if wanted in classes else ""
