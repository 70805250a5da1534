"""TensorFlow's strategies, which divide a step among devices by themselves: refused, with what to write."""

import contextlib
from collections.abc import Callable, Iterator, Mapping

import tensorflow as tf

from loop.state.variables import flat, keras_variables, nodes
from loop.tensors import raw
from loop.tf_internals import Attribute

INSTEAD = (
    "Write loop.connect() in the first line of the script, leave out the strategy, and start it with `exactloop launch "
    "--workers N script.py`: one process for each device."
)
METHODS = {name: Attribute(tf.distribute.Strategy, name) for name in ("run", "scope")}


def check_no_strategy(given: Mapping[str, object]) -> None:
    """Sees to it that a loop is made outside of strategies, and of what was made outside of them.

    Args:
        given: The user's `state=`.

    Raises:
        RuntimeError: If it is not.
    """
    if tf.distribute.has_strategy():  # in its scope, variables are of a kind of their own
        name = type(tf.distribute.get_strategy()).__name__
        raise RuntimeError(f"A loop is made outside of strategy.scope(). Received: one in that of a {name}. {INSTEAD}")
    held = [*map(raw, keras_variables(given)), *(node for value in flat(given) for node in nodes(value))]
    if any(isinstance(each, tf.distribute.DistributedValues) for each in held):
        raise RuntimeError(f"Models are made outside of strategy.scope(). Received: a variable of one. {INSTEAD}")


@contextlib.contextmanager
def without_strategies() -> Iterator[None]:
    """While in it, a step that is traced cannot hand anything to a strategy.

    Raises:
        RuntimeError: If it does.
    """
    with contextlib.ExitStack() as filled:
        for name, method in METHODS.items():
            filled.enter_context(method.filled(_refused(name)))
        yield


def _refused(name: str) -> Callable[[Callable[..., object]], Callable[..., object]]:
    def asking(usual: Callable[..., object]) -> Callable[..., object]:
        def called(self: tf.distribute.Strategy, *args: object, **named: object) -> object:
            # That of no strategy runs what it is given, once: a script that knows no other goes on.
            if self is tf.distribute.get_strategy():
                return usual(self, *args, **named)
            raise RuntimeError(
                f"A step is called once for each batch. Received: one that calls {type(self).__name__}.{name}. "
                f"Call the function itself. For several devices: {INSTEAD[0].lower()}{INSTEAD[1:]}"
            )

        return called

    return asking
