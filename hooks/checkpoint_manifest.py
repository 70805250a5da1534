"""The commit record of a checkpoint, in a form in which no damage goes unnoticed."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, NamedTuple

from hooks.checkpoint_limit import limit
from hooks.checkpoint_plausible import is_plausible

FORMAT = 2  # what is written; all that came before is read


class CorruptCheckpoint(UserWarning):
    """A checkpoint that is not what was committed: a warning where an older one is used, an error where none is left.

    Attributes:
        file: The file in question.
        reason: What is wrong with it.
        instead: What is used instead; empty if that is not known, or nothing is.
    """

    def __init__(self, file: str, reason: str, instead: str = "") -> None:
        super().__init__(file, reason, instead)
        self.file, self.reason, self.instead = file, reason, instead

    def __str__(self) -> str:
        return f"{self.file}: {self.reason}." + (f" {self.instead}" if self.instead else "")


@dataclass(frozen=True)
class Record:
    """What has to be known of a committed checkpoint to decide whether it stays.

    Attributes:
        step: Train steps completed; also in the file names.
        pending: Whether a stop cut the event round of this step short. Its number is that of the whole round, and no
            checkpoint is ever overwritten, so it has names of its own.
        epoch: Epochs completed.
        step_in_epoch: Train steps completed in the current epoch.
        seconds: Training time.
        best: The monitored metric's `name`, `mode` and `value` at this step; empty if it was not evaluated here.
    """

    step: int
    pending: bool
    epoch: int
    step_in_epoch: int
    seconds: float
    best: Mapping[str, str | float] = field(default_factory=dict)

    @property
    def stem(self) -> str:
        """What the names of its files begin with."""
        return f"{'pending' if self.pending else 'ckpt'}-{self.step}"

    @property
    def order(self) -> tuple[int, bool]:
        """What to sort by: of one step, the one whose round is complete is the later."""
        return self.step, not self.pending


@dataclass(frozen=True)
class Manifest:
    """The commit record of one checkpoint.

    Attributes:
        record: What it is a checkpoint of.
        files: Size in bytes and SHA-256 (hex) of each file, by name.
        notes: What `TrainingState.restore` wants to know.
        description: What `TrainingState.describe` said: among others, shape and dtype of every variable.
        digests: The first 16 hex digits of the SHA-256 of each variable's value, in the order of the description.
        logs: The values logged in the event round of this step, all measured at it.
        made: Seconds since 1970, versions and thread counts: for people, and for later comparison.
        format: In which format it was written.
        result: What a run that has nothing left to do here needs: the `names` of the values that each step returns,
            the `sketches` of the steps, the `logs` of its `RunResult`, and whether it was the `last` save of a run.
            Empty if that is not known.
    """

    record: Record
    files: Mapping[str, tuple[int, str]]
    notes: Mapping[str, Mapping[str, int]]
    description: Mapping[str, Mapping[str, object]]
    digests: tuple[str, ...]
    logs: Mapping[str, float]
    made: Mapping[str, object]
    format: int = FORMAT
    result: Mapping[str, Any] = field(default_factory=dict)


class Since(NamedTuple):
    """The shape of what a manifest has from a format on, and never before: on reading, nothing is known of it then."""

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
        "steps": {str: {"operations": {str: int}, "structure": str, "constants": str}},
        "seed": {str: (int, type(None))},
        "settings": Since(2, {str: (int, float, str)}),
        "trainable": Since(2, {str: str}),
    },
    "digests": list,
    "logs": {str: NUMBER},
    "made": {str: (str, *NUMBER)},
    "result": Since(2, {str: (dict, bool)}),  # left out if it is empty
}
RESULT: dict[str, Any] = {"names": {str: [list, list]}, "sketches": {str: str}, "logs": {str: NUMBER}, "last": bool}


def encode(manifest: Manifest) -> bytes:
    """Returns a manifest as JSON in one canonical form, with its own SHA-256 in it.

    Raises:
        ValueError: If it is larger than what is read.
    """
    raw, index = canonical(content(manifest)), manifest.files.get(f"{manifest.record.stem}.index", (0, ""))[0]
    if len(raw) > limit(index):
        raise ValueError(f"the manifest would have {len(raw):,} bytes, more than the {limit(index):,} that are read")
    return raw


def content(manifest: Manifest) -> dict[str, object]:
    """Returns what a manifest says, in JSON values."""
    parts = {each.name: getattr(manifest, each.name) for each in fields(manifest) if each.name != "record"}
    if not manifest.result:
        del parts["result"]
    return {"format": parts.pop("format"), **asdict(manifest.record), **parts}


def decode(raw: bytes) -> Manifest:
    """Returns the manifest of which these are the bytes. Whatever `encode` would not have written is refused.

    Raises:
        ValueError: If they are not exactly what `encode` returns, so also for duplicate keys, or deep nesting.
        RuntimeError: If a later version of this package wrote them.
    """
    try:
        content = json.loads(raw)
        content.pop("sha256")
        same = canonical(content) == raw
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError, OverflowError) as error:
        raise ValueError(f"not a manifest ({type(error).__name__}: {str(error)[:100]})") from None
    if not same:
        raise ValueError("its SHA-256 is not the one in it")
    written = content.get("format")
    if written not in range(1, FORMAT + 1):
        raise RuntimeError(f"a later version wrote it, in format {written!r:.20}")
    content = {**({"result": {}} if written > 1 else {}), **content}
    if not _fits(content, _of_format(SHAPE, written)) or not _agrees(content):
        raise ValueError("a manifest with other fields, or other kinds of values, than those of its format")
    record = Record(**{each.name: content.pop(each.name) for each in fields(Record)})
    files = {name: (size, digest) for name, (size, digest) in content.pop("files").items()}
    return Manifest(record, files, digests=tuple(content.pop("digests")), **content)


def canonical(content: Mapping[str, object]) -> bytes:
    """Returns JSON values as bytes, with the SHA-256 of them in it. No other bytes say the same."""
    digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    return json.dumps({**content, "sha256": digest}, separators=(",", ":")).encode() + b"\n"


def _agrees(content: Mapping[str, Any]) -> bool:
    """Returns whether what a manifest says of the right shape can be true."""
    numbers = [*content["notes"]["data"].values(), content["step"], content["epoch"], content["step_in_epoch"]]
    digests, best = content["digests"], content["best"]
    result = content.get("result", {})
    return (
        all(-(2**63) <= number < 2**63 for number in numbers)
        and content["notes"]["place"] == {name: content[name] for name in ("step", "epoch", "step_in_epoch")}
        and len(digests) == len(content["description"]["variables"])
        and all(isinstance(digest, str) for digest in digests)
        and (result == {} or (_fits(result, RESULT) and result["names"].keys() == result["sketches"].keys()))
        and all(isinstance(name, str) for names in result.get("names", {}).values() for name in (*names[0], *names[1]))
        and (best == {} or _fits(best, {"name": str, "mode": str, "value": NUMBER}))
        and is_plausible(content)
    )


def _of_format(shape: Any, written: int) -> Any:
    """Returns the shape that something has in a format."""
    if isinstance(shape, Since):
        return _of_format(shape.shape, written)
    if not isinstance(shape, dict):
        return shape
    there = {key: each for key, each in shape.items() if not isinstance(each, Since) or each.format <= written}
    return {key: _of_format(each, written) for key, each in there.items()}


def _fits(value: object, shape: Any) -> bool:
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return False
        inner = shape.get(str)
        return (inner is not None or value.keys() == shape.keys()) and all(
            _fits(item, inner or shape[key]) for key, item in value.items()
        )
    if isinstance(shape, list):
        return isinstance(value, list) and len(value) == len(shape) and all(map(_fits, value, shape))
    kinds = shape if isinstance(shape, tuple) else (shape,)
    return isinstance(value, kinds) and (not isinstance(value, bool) or bool in kinds)
