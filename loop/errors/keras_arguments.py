"""The parts of supervised learning: objects of Keras, and what to write where a name or a class is given instead."""

import inspect
import logging
from collections.abc import Callable, Collection, Mapping

import keras
import tensorflow as tf

from loop.errors.instead import is_unbatched, refuses_arguments, specs
from loop.errors.kinds import shown
from loop.tensors import Nest, unconverted

log = logging.getLogger("exactloop")
SUM = "Write loss=lambda y, p, w: first(y[0], p[0], w) + second(y[1], p[1], w), with keys for a dict."
BY_SHAPE = ("crossentropy", "ce")  # names of losses that Keras knows only when it sees what they are for
WEIGHTS = ("w", "sw")  # what else a third argument is called that is one of weights


def check_parts(model: object, optimizer: object, loss: object) -> None:
    """Raises `TypeError` if one of them is of another kind."""
    if not isinstance(model, keras.Layer):
        raise TypeError(f"supervised(model, ...) needs a keras.Model or a layer. {_received(model)}")
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        known = isinstance(optimizer, str) and optimizer.lower() in {name.lower() for name in vars(keras.optimizers)}
        named = f" Write keras.optimizers.get({optimizer!r})." if known else ""
        wanted = "a keras.optimizers.Optimizer, as in keras.optimizers.Adam(1e-3)"
        raise TypeError(f"supervised(optimizer=...) needs {wanted}. {_received(optimizer)}{named}")
    # Outputs without a loss are None, but not all of them.
    several = loss.values() if isinstance(loss, Mapping) else loss if isinstance(loss, list | tuple) else [loss]
    if isinstance(loss, Mapping | list | tuple) and all(each is None for each in several):
        raise TypeError(f"supervised(loss=...) needs a loss for one output at least. Received: {shown(loss)}.")
    for each in several:
        if each is not None or several is not loss:
            _check_loss_given(each, one_of_several=isinstance(loss, Mapping | list | tuple))


def _check_loss_given(loss: object, *, one_of_several: bool) -> None:
    """Raises `TypeError` or `ValueError` if this is no loss of one output, or of all."""
    if loss is None and one_of_several:
        return
    if isinstance(loss, Mapping | list | tuple):
        raise TypeError(f"supervised(loss=...) takes one loss for each output. Received: {shown(loss)}. {SUM}")
    if isinstance(loss, str):
        try:
            # Only looked up: what the name stands for is made when shapes are known.
            keras.losses.get(loss if loss.lower() not in BY_SHAPE else "mse")
        except ValueError:
            raise ValueError(
                f"supervised(loss=...) needs a loss that Keras knows by its name, such as 'mse'. Received: {loss!r}."
            ) from None
        return
    if isinstance(loss, type | keras.Metric) or not callable(loss):
        raise TypeError(
            f"supervised(loss=...) needs a keras.losses.Loss, a function or a name. {_received(loss)}"
            f"{_loss_named(type(loss).__name__ if isinstance(loss, keras.Metric) else loss)}"
        )
    name = getattr(loss, "__name__", type(loss).__name__)
    # Here, and not from within a trace, where the message is of Keras' code.
    if refuses_arguments(loss, 2) and refuses_arguments(loss, 3):
        raise TypeError(f"supervised(loss=...) is called as loss(y, prediction). Received: {name}, which cannot be.")
    weights = [] if takes_weights(loss) or isinstance(loss, keras.losses.Loss) else _named_as_weights(loss)
    if weights:  # or they would be left out
        raise TypeError(
            f"supervised(loss=...) is called as loss(y, prediction), or loss(y, prediction, sample_weight). Received: "
            f"{name}, whose third argument is not {weights[0]!r}. "
            f"Write loss=lambda y, p, w: {_callable_as(loss)}(y, p, {weights[0]}=w)."
        )


def check_ema(optimizer: keras.optimizers.Optimizer) -> None:
    """Warns if the optimizer averages the variables, which `fit` leaves in the model at its end, however it ended."""
    scaled = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    inner = optimizer.inner_optimizer if scaled else optimizer
    if inner.use_ema:
        log.warning(
            "The optimizer averages the variables (use_ema=True), and fit puts the averages into the model at its end. "
            "A loop does that with hooks=[WeightAverage('optimizer')], and not by itself. Or write "
            "optimizer.finalize_variable_values(model.trainable_variables) after run()."
        )


def warn_of_methods(model: object, names: Collection[str], said: str) -> None:
    """Warns if a model has methods of its own which `fit` calls, and nobody calls here.

    Args:
        model: The model.
        names: Those that nobody calls.
        said: The warning, with a place for the name of the model and one for those of the methods.
    """
    kind = type(model)
    if isinstance(model, keras.Model):
        own = [name for name in names if getattr(kind, name) is not getattr(keras.Model, name)]
        if own:
            log.warning(said, model.name, ", ".join(own))


def takes_weights(loss: Callable[..., object]) -> bool:
    """Returns whether a loss takes sample weights as its third argument, as far as can be seen.

    One that may be left out, such as `gamma=2.0`, has to say that it is one of weights, or it would get them as gamma.
    """
    if refuses_arguments(loss, 3):
        return False
    # By position, because the third argument may be called anything.
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


def _named_as_weights(loss: Callable[..., object]) -> list[str]:
    """Returns the names of the arguments of a function that seem to be sample weights."""
    try:
        return [each for each in inspect.signature(loss).parameters if "weight" in each.lower() and "class" not in each]
    except (TypeError, ValueError):
        return []


def _callable_as(loss: object) -> str:
    return loss.__name__ if inspect.isfunction(loss) and loss.__name__.isidentifier() else "loss"


@unconverted
def check_batch(batch: Nest, loss: object) -> None:
    """Raises `ValueError` if this is no batch `(x, y)` or `(x, y, sample_weight)`; when a step is traced."""
    x, y, _ = (None,) * 3 if _too_many(batch) else keras.utils.unpack_x_y_sample_weight(batch)
    if _too_many(batch) or is_unbatched((x, y)) or (y is None and isinstance(loss, keras.losses.Loss)):
        instead = "Write dataset.batch(32)" if y is not None else "Write dataset.map(lambda x: (x, x)), or of what is y"
        # Keras unpacks three at most.
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
def check_flat(prediction: Nest, loss: object) -> None:
    """Raises `TypeError` if there are losses by output, and the outputs are not in one list or dict."""
    if not isinstance(prediction, list | tuple | Mapping):
        raise TypeError(
            f"supervised(loss=...) has losses by output, and the model returns one tensor: {specs(prediction)}. "
            f"Received: {shown(loss)}. Give one loss."
        )
    inner = prediction.values() if isinstance(prediction, Mapping) else prediction
    if any(isinstance(each, list | tuple | Mapping) for each in inner):
        raise TypeError(
            f"supervised(loss=...) takes losses of outputs in one list or dict. Received: {shown(loss)}, of a model "
            f"that returns {specs(prediction)}, deeper in each other. {SUM}"
        )


@unconverted
def check_each(value: object) -> None:
    """Raises `ValueError` if a function does not return values to which weights, or a mask, can be applied."""
    if isinstance(value, tf.Tensor) and value.shape.rank == 0:
        raise ValueError(
            "supervised(loss=...) cannot apply the sample weights to a loss that has one value, of shape [], nor the "
            "mask that layers such as Embedding(mask_zero=True) hand on. Return one for each example, as with "
            "keras.ops.mean(..., axis=-1), or take the weights as a third argument: loss(y, prediction, sample_weight)."
        )


def check_metric(argument: str, name: str, given: object) -> None:
    """Raises `TypeError` if this is neither the name of a metric nor a function of two arguments."""
    if isinstance(given, type | keras.losses.Loss) or not (isinstance(given, str) or callable(given)):
        raise TypeError(
            f"supervised({argument}=...) takes keras.metrics.Metric objects, names and functions. Received: "
            f"{shown({name: given})}."
        )
    if callable(given) and refuses_arguments(given, 2):
        raise TypeError(
            f"supervised({argument}=...) calls functions as metric(y, prediction). Received: {shown({name: given})}, "
            "which cannot be."
        )


def metric_named(argument: str, name: str) -> object:
    """Returns what Keras calls by a name: a metric, or a function. Raises `ValueError` if there is none."""
    try:
        return keras.metrics.get(name)
    except ValueError:
        raise ValueError(
            f"supervised({argument}=...) needs metrics that Keras knows by their names, such as 'accuracy' or 'mae'. "
            f"Received: {name!r}."
        ) from None


@unconverted
def check_loss(value: object) -> None:
    """Raises `TypeError` if a loss is not reduced over the batch."""
    # Of an unknown rank nobody knows; the gradient of a vector would be that of its sum.
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
        # `print` stands for what has no such name.
        function: Callable[..., object] = keras.losses.get(name) if isinstance(name, str) and name else print
    except ValueError:
        return ""
    wanted = getattr(function, "__name__", type(function).__name__).replace("_", "").lower()
    classes = {name.lower(): name for name, kind in vars(keras.losses).items() if isinstance(kind, type)}
    return f" Write keras.losses.{classes[wanted]}()." if wanted in classes else ""
