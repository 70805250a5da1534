"""The model that Keras' callbacks are told of."""

from collections.abc import Callable
from typing import NoReturn, TypeAlias

import keras

from loop import Loop

Given: TypeAlias = tuple[keras.Model | None, keras.optimizers.Optimizer | None]


def checked(model: keras.Model | None, optimizer: keras.optimizers.Optimizer | None) -> Callable[[], Given]:
    """Returns what returns both, as far as they were given. Raises `TypeError` if one is something else."""
    wanted = {"model": (model, keras.Model), "optimizer": (optimizer, keras.optimizers.Optimizer)}
    for name, (given, kind) in wanted.items():
        if given is not None and not isinstance(given, kind):
            one = f"a keras.{kind.__name__}, one that is in state=..."
            raise TypeError(f"KerasCallbacks({name}=...) needs {one}. Received: {given!r:.80}.")
    return lambda: (model, optimizer)


class NoModel:
    """What callbacks have instead, where `state=` has no model: they can ask for the end, and have an optimizer."""

    stop_training = False
    metrics: tuple[keras.Metric, ...] = ()

    def __init__(self, why: str) -> None:
        self.why = why

    # Only what is asked for and missing comes here, so callbacks that need no model run without one.
    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"A callback asks for model.{name}, and {vars(self)['why']}")


class Past:
    """What callbacks find as `model.history`, as in `fit`: the values of the epochs before the present one."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop

    @property
    def history(self) -> dict[str, list[float]]:
        rates = self._loop.rate_names
        return {name: values for name, values in self._loop.history.items() if name not in rates}

    @property
    def epoch(self) -> list[int]:
        return [*range(max(map(len, self.history.values()), default=0))]


class CallbackModel:
    """The model, and what `fit` would have set on it, for as long as a run lasts.

    Args:
        loop: The loop.
        model: The model; None: the one in the state.
        optimizer: What is to be `model.optimizer`; None: that which it has, or the only one in the state.
    """

    def __init__(self, loop: Loop, model: keras.Model | None, optimizer: keras.optimizers.Optimizer | None) -> None:
        models, optimizers = loop.state.objects(keras.Model), loop.state.objects(keras.optimizers.Optimizer)
        several = (
            f"state=... has {len(models)} models: {', '.join(models)}" if models else "state=... has no keras.Model"
        )
        # One model under two names is one model.
        found = [*{id(each): each for each in models.values()}.values()]
        given = model if model is not None else found[0] if len(found) == 1 else None
        self._model = NoModel(f"{several}. Write KerasCallbacks([...], model=model).") if given is None else given
        self._optimizer, self._known = optimizer, [*{id(each): each for each in optimizers.values()}.values()]
        self._before: list[object] | None = None
        self._lent: keras.optimizers.Optimizer | None = None
        self._known_names, self._past = set[str](), Past(loop)

    def lend(self) -> keras.Model | NoModel:
        """Returns the model, with an optimizer, and as `fit` begins with it."""
        # By `vars`, past the tracking of Keras, here and below: what is lent must not be in a checkpoint.
        own = vars(self._model)
        if self._optimizer is None and not any(each is own.get("optimizer") for each in self._known):
            self._optimizer = self._known[0] if len(self._known) == 1 else None
        if self._optimizer is not None and own.get("optimizer") is not self._optimizer:
            # Past Keras, which would make it a part of the model, and so of every checkpoint.
            self._before, own["optimizer"] = [own[name] for name in ("optimizer",) if name in own], self._optimizer
        own["history"], self._lent = self._past, own.get("optimizer")
        # Also those that are None now, such as `clipnorm`, and those that the program itself has set.
        self._known_names = {*vars(self._lent)} if self._lent is not None else set()
        self._model.stop_training = False  # from an earlier run, or another loop
        return self._model

    def check(self, by: str) -> list[str]:
        """Raises `RuntimeError` if a callback has given the model another optimizer; returns what `unread` does."""
        if vars(self._model).get("optimizer") is not self._lent:
            raise RuntimeError(
                f"{by} has given the model another optimizer, or has compiled it. The steps, which are compiled, go on "
                "with the one that they were made with. Set what is in a variable, as in "
                "model.optimizer.learning_rate = 0.1, or train in parts: when this loop has run, make new steps, and "
                "a new Loop with these, with another directory for its Checkpoint."
            )
        return self.unread()

    def unread(self) -> list[str]:
        """Returns the names of numbers that were set on the optimizer, and that it does not have by itself."""
        own = {} if self._lent is None else vars(self._lent)
        return [name for name in own.keys() - self._known_names if type(own[name]) in (int, float)]

    def asks_to_stop(self) -> bool:
        """Returns whether a callback has asked for the end."""
        return bool(self._model.stop_training)

    def ask_to_stop(self) -> None:
        """Asks for the end in the name of a callback that has done so."""
        self._model.stop_training = True

    def take_back(self) -> None:
        """Leaves the model with the optimizer that it had."""
        if self._before is not None:
            own = vars(self._model)
            del own["optimizer"]
            own.update(zip(["optimizer"], self._before, strict=False))  # nothing, if it had none
            self._before = None
