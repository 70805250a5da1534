"""The parts of supervised learning: objects of Keras, and what to write where a name or a class is given instead."""

import inspect
from collections.abc import Callable

import keras

from loop.instead import is_unbatched, refuses_arguments, specs
from loop.kinds import shown
from loop.types import Nest


def check_parts(model: object, optimizer: object, loss: object) -> None:
    """Raises `TypeError` if one of them is of another kind."""
    if not isinstance(model, keras.Layer):
        raise TypeError(f"supervised(model, ...) needs a keras.Model or a layer. {_received(model)}")
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        named = f" Write keras.optimizers.get({optimizer!r})." if isinstance(optimizer, str) else ""
        wanted = "a keras.optimizers.Optimizer, as in keras.optimizers.Adam(1e-3)"
        raise TypeError(f"supervised(optimizer=...) needs {wanted}. {_received(optimizer)}{named}")
    if isinstance(loss, type) or not callable(loss):
        raise TypeError(
            f"supervised(loss=...) needs a keras.losses.Loss or a function. {_received(loss)}{_loss_named(loss)}"
        )
    name = getattr(loss, "__name__", type(loss).__name__)
    of_keras = _loss_named(name) if inspect.isfunction(loss) and loss.__module__.startswith("keras.") else ""
    if of_keras or refuses_arguments(loss, 3):  # the third argument of Keras' functions is another one
        instead = of_keras or " Write lambda y, prediction, weight: tf.reduce_mean(loss(y, prediction))."
        raise TypeError(
            f"supervised(loss=...) is called as loss(y, prediction, sample_weight). Received: {name}, which cannot "
            f"be.{instead}"
        )


def check_batch(batch: Nest, loss: object) -> None:
    """Raises `ValueError` if this is no batch `(x, y)` or `(x, y, sample_weight)`; when a step is traced."""
    x, y, _ = keras.utils.unpack_x_y_sample_weight(batch)
    if is_unbatched((x, y)) or (y is None and isinstance(loss, keras.losses.Loss)):
        instead = "Write dataset.batch(32)" if y is not None else "Write dataset.map(lambda x: (x, x)), or of what is y"
        raise ValueError(
            "supervised(...) needs batches (x, y) or (x, y, sample_weight), with the examples in the first dimension. "
            f"Received: {specs(batch)}. {instead}."
        )


def _received(given: object) -> str:
    instead = f" Write {given.__name__}(...)." if isinstance(given, type) else ""
    return f"Received: {shown(given)}.{instead}"


def _loss_named(name: object) -> str:
    """Returns what to write for the name that a loss has in Keras, such as "mse"; nothing if it has none."""
    try:
        function: Callable[..., object] = keras.losses.get(name) if isinstance(name, str) and name else print
    except ValueError:
        return ""
    wanted = getattr(function, "__name__", "").replace("_", "").lower()
    classes = {name.lower(): name for name, kind in vars(keras.losses).items() if isinstance(kind, type)}
    return f" Write keras.losses.{classes[wanted]}()." if wanted in classes else ""
