"""The shape that a manifest has in each format, and what has to be true of one: a right hash says only who wrote it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

LARGEST = 2**63  # what an int64 does not hold


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
    digests, result = content["digests"], content.get("result", {})
    return (
        content["notes"]["place"] == {name: content[name] for name in ("step", "epoch", "step_in_epoch")}
        and len(digests) == len(content["description"]["variables"])
        and all(isinstance(digest, str) for digest in digests)
        and (result == {} or (fits(result, RESULT) and result["names"].keys() == result["sketches"].keys()))
        and all(isinstance(name, str) for names in result.get("names", {}).values() for name in (*names[0], *names[1]))
        and _is_best(content["best"])
        and _is_plausible(content)
        and all(isinstance(each, str | float) or -LARGEST <= each < LARGEST for each in _numbers(content))
        and isinstance(content["made"].get("time"), int | float)
        and -LARGEST < content["made"]["time"] < LARGEST
        and all(map(_is_variable, content["description"]["variables"].values()))
    )


def is_head(said: Mapping[str, Any]) -> bool:
    """Returns whether these are what a manifest begins with; raises any error of looking at it if they are not."""
    kinds = [type(said[name]) for name in OF_HEAD]  # ten times as fast as a look at `SHAPE`
    plain = all(list(map(type, measure)) == [int, str] for measure in said["files"].values())
    right = (len(said), kinds, plain) == (len(OF_HEAD), KINDS_OF_HEAD, True)
    return right and _is_best(said["best"]) and _is_plausible(said)


def _is_plausible(head: Mapping[str, Any]) -> bool:
    """Returns whether what a manifest says at its head can be that of a run."""
    step, epoch, step_in_epoch = (head[name] for name in ("step", "epoch", "step_in_epoch"))
    return (
        0 <= epoch <= step < LARGEST
        and 0 <= step_in_epoch <= step
        and 0 <= head["seconds"] < LARGEST  # and so neither NaN nor infinite
        and all(0 <= size < LARGEST for size, _ in head["files"].values())
    )


def _is_best(best: object) -> bool:
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


def _numbers(content: Mapping[str, Any]) -> list[Any]:
    """Returns what is added up, shown or compared later: an int of a thousand digits would end that with an error."""
    named = (content["logs"], content["made"], content["best"], content["notes"]["data"])
    logs = content.get("result", {}).get("logs", {})
    return [content["seconds"], *logs.values(), *(number for each in named for number in each.values())]


def _is_variable(said: list[object]) -> bool:
    """Returns whether this is a shape and a dtype."""
    *shape, dtype = said or [None]  # None within a shape: a length that was not known
    lengths = [] if shape == ["..."] else shape  # any number of dimensions
    return isinstance(dtype, str) and all(
        length is None or (isinstance(length, int) and 0 <= length < LARGEST) for length in lengths
    )
