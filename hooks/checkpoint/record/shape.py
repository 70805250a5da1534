"""The shape that a manifest has in each format, and what has to be true of one."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from hooks.checkpoint.record.plausible import is_plausible


class Since(NamedTuple):
    """The shape of what a manifest has from a format on, and never before: on reading, nothing is known of it then."""

    format: int
    shape: Any


class Late(NamedTuple):
    """The same for what manifests of the format before may have, because it came within that format."""

    format: int
    shape: Any


NUMBER = (int, float)
SHAPE: dict[str, Any] = {  # a dict with the key `str` has any names
    "format": int,
    **{"step": int, "pending": bool, "epoch": int, "step_in_epoch": int, "seconds": NUMBER},
    "best": {str: (str, *NUMBER)},
    "files": {str: [int, str]},
    "notes": {"place": {"step": int, "epoch": int, "step_in_epoch": int}, "data": {str: int}},
    "description": {
        "state": {str: str},
        "variables": {str: list},
        "data": {str: (str, int, bool, type(None), list)},
        "steps": Late(2, {str: {"operations": {str: int}, "structure": str, "constants": str}}),
        "seed": {str: (int, type(None))},
        "settings": Since(2, {str: (int, float, str)}),
        "trainable": Since(2, {str: str}),
    },
    "digests": list,
    "logs": {str: NUMBER},
    "made": {str: (str, *NUMBER)},
    "writer": Since(3, {"exactloop": str, "fingerprint": int}),
    "result": Since(2, {str: (dict, bool)}),  # left out if it is empty
}
RESULT: dict[str, Any] = {"names": {str: [list, list]}, "sketches": {str: str}, "logs": {str: NUMBER}, "last": bool}
OF_HEAD = [*SHAPE][: [*SHAPE].index("files") + 1]
KINDS_OF_HEAD = [int, int, bool, int, int, float, dict, dict]  # in the order of `OF_HEAD`


def agrees(content: Mapping[str, Any]) -> bool:
    """Returns whether what a manifest says of the right shape can be true."""
    numbers = [*content["notes"]["data"].values(), content["step"], content["epoch"], content["step_in_epoch"]]
    digests, best = content["digests"], content["best"]
    result = content.get("result", {})
    return (
        all(-(2**63) <= number < 2**63 for number in numbers)
        and content["notes"]["place"] == {name: content[name] for name in ("step", "epoch", "step_in_epoch")}
        and len(digests) == len(content["description"]["variables"])
        and all(isinstance(digest, str) for digest in digests)
        and (result == {} or (fits(result, RESULT) and result["names"].keys() == result["sketches"].keys()))
        and all(isinstance(name, str) for names in result.get("names", {}).values() for name in (*names[0], *names[1]))
        and is_best(best)
        and is_plausible(content)
    )


def is_best(best: object) -> bool:
    """Returns whether this is what a record says of the metric that was watched."""
    return best == {} or fits(best, {"name": str, "mode": str, "value": NUMBER})


def of_format(shape: Any, written: int, content: object) -> Any:
    """Returns the shape that something has in a format.

    Args:
        shape: As in `SHAPE`.
        written: The format.
        content: What is to have it.
    """
    if isinstance(shape, Since | Late):
        return of_format(shape.shape, written, content)
    if not isinstance(shape, dict):
        return shape
    said = content if isinstance(content, dict) else {}
    there = {key: each for key, each in shape.items() if _is_there(key, each, written, said)}
    return {key: of_format(each, written, said.get(key)) for key, each in there.items()}


def _is_there(key: object, shape: object, written: int, said: Mapping[object, object]) -> bool:
    """Returns whether a manifest of a format has something."""
    if isinstance(shape, Late) and written == shape.format - 1:
        return key in said
    return not isinstance(shape, Since | Late) or shape.format <= written


def fits(value: object, shape: Any) -> bool:
    """Returns whether a value has a shape, of one format."""
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return False
        inner = shape.get(str)
        return (inner is not None or value.keys() == shape.keys()) and all(
            fits(item, inner or shape[key]) for key, item in value.items()
        )
    if isinstance(shape, list):
        return isinstance(value, list) and len(value) == len(shape) and all(map(fits, value, shape))
    # A bool is an int to Python, and would pass for a step.
    kinds = shape if isinstance(shape, tuple) else (shape,)
    return isinstance(value, kinds) and (not isinstance(value, bool) or bool in kinds)
