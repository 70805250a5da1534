"""The outputs of a model, and what belongs to each of them: of labels, sample weights, losses and metrics."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, TypeVar

import keras

from loop.errors.kinds import shown
from loop.tensors import Nest

Of = TypeVar("Of")


class Output(NamedTuple):
    """One of the outputs of a model: its name, or its number as text if it has none."""

    name: str


def names_of(model: keras.Layer) -> tuple[str, ...]:
    """Returns the names of several outputs, as far as they are known before the model is called: of functional ones."""
    try:
        made = model.output if isinstance(model, keras.Model) else None
    except (AttributeError, ValueError):  # of a subclass, or one that is built late
        return ()
    if isinstance(made, Mapping):
        return tuple(made)
    return tuple(model.output_names) if isinstance(made, list | tuple) else ()


def name_of_only(model: keras.Layer) -> str:
    """Returns the name of the one output of a functional model, which is that of its layer; of others nothing."""
    names = getattr(model, "output_names", None) if not names_of(model) else None
    return names[0] if isinstance(names, list | tuple) and len(names) == 1 else ""


def outputs(prediction: Nest, names: Sequence[str]) -> list[Output]:
    """Returns the outputs of which a prediction is made, in their order."""
    if isinstance(prediction, Mapping):
        return [Output(name) for name in prediction]
    # Without names, or with another number of them, outputs are called by their numbers.
    known = names if len(names) == len(prediction) else [*map(str, range(len(prediction)))]
    return [Output(name) for name in known]


def part(given: Mapping[str, Of] | Sequence[Of], output: Output, among: Sequence[Output], what: str) -> Of:
    """Returns what belongs to an output.

    Args:
        given: By name, or in the order of the outputs.
        output: Which one.
        among: All to which something in it belongs.
        what: What to call it.

    Raises:
        ValueError: If there is nothing for this output.
    """
    if isinstance(given, Mapping) and output.name in given:
        return given[output.name]
    if isinstance(given, list | tuple) and len(given) == len(among):
        return given[[*among].index(output)]
    raise _none(f"needs {what} for output {output.name!r}", given, [each.name for each in among])


def check_names(given: object, names: Collection[str], what: str) -> None:
    """Raises `ValueError` if something is given for an output that is not there."""
    unknown = [name for name in given if name not in names] if isinstance(given, Mapping) else []
    if unknown:
        raise _none(f"has {what} for an output {unknown[0]!r}, which is not there", given, names)


def _none(why: str, given: object, names: Collection[str]) -> ValueError:
    count = f"{len(given)}" if isinstance(given, list | tuple) else "one"
    several = shown([*given]) if isinstance(given, Mapping) else count
    return ValueError(
        f"supervised(...) {why}. Received: {several}, for the outputs {shown([*names])}. Give a dict by the names of "
        "the outputs, or a list in their order."
    )


def alone(given: Nest) -> Nest:
    """Returns what is alone in a list, as Keras takes what is of the only output of a model; or what was given."""
    return given[0] if isinstance(given, list | tuple) and len(given) == 1 else given


def is_several(given: object) -> bool:
    """Returns whether something is given for each output."""
    return isinstance(given, Mapping | list | tuple)
