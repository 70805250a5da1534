"""The parts of supervised learning: objects of Keras, and what to write where a name or a class is given instead."""

from collections.abc import Callable

import keras

from loop.kinds import shown
from loop.remedies import is_unbatched, refuses_arguments, specs
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
    if not isinstance(loss, keras.losses.Loss) and refuses_arguments(loss, 3):
        name = getattr(loss, "__name__", type(loss).__name__)
        raise TypeError(
            f"supervised(loss=...) is called as loss(y, prediction, sample_weight). Received: {name}, which cannot be."
            + (_loss_named(name) or f" Write lambda y, prediction, weight: tf.reduce_mean({name}(y, prediction)).")
        )


def check_batch(batch: Nest) -> None:
    """Raises `ValueError` if this is no batch `(x, y)` or `(x, y, sample_weight)`; when a step is traced."""
    if is_unbatched(keras.utils.unpack_x_y_sample_weight(batch)[:2]):
        raise ValueError(
            f"supervised(...) needs batches (x, y), each with the examples in the first dimension. Received: "
            f"{specs(batch)}. Write dataset.batch(32)."
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
