"""Whether the numbers in a manifest can be true: a right SHA-256 says only that somebody wrote it so."""

from collections.abc import Mapping
from typing import Any

LARGEST = 2**63  # what an int64 does not hold


def is_plausible(content: Mapping[str, Any]) -> bool:
    """Returns whether a manifest of the right shape, as JSON values, can be that of a run."""
    # What is added up, shown or compared later: an int of a thousand digits would end that with an error.
    numbers = [content["seconds"], *content["logs"].values(), *content["made"].values()]
    numbers += [*content["best"].values(), *content.get("result", {}).get("logs", {}).values()]
    return (
        is_plausible_head(content)
        and isinstance(content["made"].get("time"), int | float)
        and -LARGEST < content["made"]["time"] < LARGEST
        and all(isinstance(number, str | float) or -LARGEST <= number < LARGEST for number in numbers)
        and all(map(_is_variable, content["description"]["variables"].values()))
    )


def is_plausible_head(content: Mapping[str, Any]) -> bool:
    """Returns whether what a manifest says at its head can be that of a run."""
    step, epoch, step_in_epoch = (content[name] for name in ("step", "epoch", "step_in_epoch"))
    return (
        0 <= epoch <= step < LARGEST
        and 0 <= step_in_epoch <= step
        and 0 <= content["seconds"] < LARGEST  # and so neither NaN nor infinite
        and all(0 <= size < LARGEST for size, _ in content["files"].values())
    )


def _is_variable(said: list[object]) -> bool:
    """Returns whether this is a shape and a dtype."""
    *shape, dtype = said or [None]  # None within a shape: a length that was not known
    lengths = [] if shape == ["..."] else shape  # any number of dimensions
    return isinstance(dtype, str) and all(
        length is None or (isinstance(length, int) and 0 <= length < LARGEST) for length in lengths
    )
