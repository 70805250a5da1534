"""The learning rates of optimizers, for hooks that set them."""

import keras
import tensorflow as tf

from loop import Loop
from loop.tf_internals import rate_of


class AssignedRates:
    """The rates of one of a loop's optimizers, or of all of them, as variables that can be assigned.

    Attributes:
        variables: The variables by the paths of their optimizers, float32 `[]`; from `attach` on.

    Args:
        owner: Who asks, for the messages.
        optimizer: The path of one, as in the name of its logged rate; None: all, or the only one.
    """

    def __init__(self, owner: str, optimizer: str | None) -> None:
        self._owner, self._wanted = owner, optimizer
        self.variables: dict[str, tf.Variable] = {}

    def attach(self, loop: Loop, *, alone: bool) -> None:
        """Finds the optimizers of a loop.

        Args:
            loop: The loop.
            alone: Whether it has to be one.

        Raises:
            ValueError: If there is none, or not the one that is wanted, or several where it has to be one; if a rate
                cannot be assigned, or another hook sets it.
        """
        found = loop.optimizers
        there = ", ".join(map(repr, found)) or "none"
        if self._wanted is not None and self._wanted not in found:
            raise ValueError(f"{self._owner}: no optimizer in state= is {self._wanted!r}. There are: {there}.")
        if not found:
            raise ValueError(f"{self._owner} sets the learning rate of an optimizer, and state= has none.")
        chosen = found if self._wanted is None else {self._wanted: found[self._wanted]}
        if alone and len(chosen) > 1:
            raise ValueError(
                f"{self._owner}: which optimizer? There are: {there}. Write optimizer={next(iter(found))!r}, and give "
                "each its own hook, with name=... for the second."
            )
        otherwise = "or leave this hook out"
        self.variables = {path: assignable(self._owner, path, each, otherwise) for path, each in chosen.items()}
        # Whichever of the two is attached later sees it: by then the first one has its variables.
        for hook in loop.hooks:
            for other in vars(hook).values():
                if isinstance(other, AssignedRates) and other is not self and self.shares(other):
                    raise ValueError(
                        f"{self._owner} and hook {hook.name!r} would both set the learning rate of one optimizer. "
                        "Leave one of them out, or give each its own optimizer=..."
                    )

    def shares(self, other: "AssignedRates") -> bool:
        """Returns whether a rate is among those of both."""
        # By the object: one optimizer may have several paths.
        return any(mine is theirs for mine in self.variables.values() for theirs in other.variables.values())


def assignable(owner: str, path: str, optimizer: keras.optimizers.Optimizer, otherwise: str) -> tf.Variable:
    """Returns the variable of a learning rate. Raises `ValueError`, with what to do otherwise, if it is a schedule."""
    scaled = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)  # which asks the inner one for its rate
    # Not `optimizer.learning_rate`, which computes a schedule's present value and so hides that it is one.
    rate = rate_of(optimizer.inner_optimizer if scaled else optimizer)
    if not isinstance(rate, keras.Variable):
        raise ValueError(
            f"{owner}: the learning rate of {path!r} is a {type(rate).__name__}, which cannot be assigned. "
            f"Make the optimizer with a number, as in {type(optimizer).__name__}(1e-3), {otherwise}."
        )
    return rate.value
