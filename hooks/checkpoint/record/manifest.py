"""The commit record of a checkpoint, in a form in which no damage goes unnoticed."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, NamedTuple

from hooks.checkpoint.record.limit import limit
from hooks.checkpoint.record.shape import OF_HEAD, SHAPE, agrees, fits, is_head, of_format
from hooks.shared.plain import plain

# The formats are in `SHAPE`: what is new in one is `Since`, what came within one is `Late`.
FORMAT = 3  # what is written; all that came before is read
PACKAGE = "0.1.0"  # the version of this package
HEAD = 2**14  # bytes in which the head of a manifest ends, if its checkpoint has up to about a hundred files


def this_writer() -> dict[str, str | int]:
    """Returns what writes here: the versions of this package and of its fingerprints."""
    from loop import TrainingState  # here, because TensorFlow comes with it, which who only reads does not need

    return {"exactloop": PACKAGE, "fingerprint": TrainingState.fingerprint}


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
        made: Seconds since 1970, versions and thread counts, and where the run was to end, `total_steps` and
            `total_epochs`, as far as that was known: for people, and for later comparison.
        writer: The versions of this package and of its fingerprints; empty if that is not known.
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
    writer: Mapping[str, str | int] = field(default_factory=this_writer)
    format: int = FORMAT
    result: Mapping[str, Any] = field(default_factory=dict)


class Head(NamedTuple):
    """What a manifest begins with: all that has to be known of a checkpoint that stays, but is not restored.

    Attributes:
        record: See `Manifest`.
        files: See `Manifest`.
    """

    record: Record
    files: Mapping[str, tuple[int, str]]


OF_RECORD = [each.name for each in fields(Record)]
HEADED = re.compile(rb',"head":\[([0-9]{1,12}),"[0-9a-f]{64}"\],')  # within a text, its quotes would be escaped


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
    # The order of the fields is the order in the file, and so a part of the format.
    parts = {each.name: getattr(manifest, each.name) for each in fields(manifest) if each.name != "record"}
    if not manifest.result:
        del parts["result"]
    if manifest.format < 3:  # which `decode` reads, and encodes again to compare, byte for byte
        del parts["writer"]
    return {"format": parts.pop("format"), **asdict(manifest.record), **parts}


def peek(beginning: bytes, size: int) -> Head | None:
    """Returns the head of a manifest, which has a SHA-256 of its own; None if the whole of it has to be decoded.

    That is so for one of another format, or if anything is not as `encode` would have written it.

    Args:
        beginning: The first `HEAD` bytes.
        size: How many there are.
    """
    told = HEADED.search(beginning)
    if told is None or not beginning.startswith(b'{"format":%d,' % FORMAT):
        return None
    # As many bytes have to follow as the head says: a file that was cut off is not taken for whole.
    raw, rest = beginning[: told.start()], int(told[1])
    if _sealed(raw, rest) != told[0] or size != told.end() + rest:
        return None
    try:
        said = json.loads(raw + b"}")
        right = is_head(said)
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError):  # of a right hash, but not of our making
        return None
    return _head(said) if right and _compact(said)[:-1] == raw else None  # no key stands there twice


def decode(raw: bytes) -> Manifest:
    """Returns the manifest of which these are the bytes. Whatever `encode` would not have written is refused.

    Raises:
        ValueError: If they are not exactly what `encode` returns, so also for duplicate keys, or deep nesting.
        RuntimeError: If a later version of this package wrote them.
    """
    if raw.startswith(b"{\n"):
        raise RuntimeError("an early version wrote it, in a form from before format 1 that no later one reads")
    try:
        content = json.loads(raw)
        content.pop("sha256")
        content.pop("head", None)
        # Made again and compared, so whatever would be read in another way than it was written shows.
        same = canonical(content) == raw
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError, OverflowError) as error:
        raise ValueError(f"not a manifest ({type(error).__name__}: {str(error)[:100]})") from None
    if not same:
        raise ValueError("its SHA-256 is not the one in it")
    written = content.get("format")
    if written not in range(1, FORMAT + 1):
        raise RuntimeError(f"a later version wrote it{_by(content)}, in format {written!r:.20}; {FORMAT} is read here")
    superfluous = written > 1 and content.get("result") == {}
    content = {**({"result": {}} if written > 1 else {}), **content}
    if superfluous or not fits(content, of_format(SHAPE, written, content)) or not agrees(content):
        raise ValueError("a manifest with other fields, or other kinds of values, than those of its format")
    record, files = _head(content)
    rest = {name: value for name, value in content.items() if name not in OF_HEAD}
    # It may be missing in format 1: nothing is known of the steps then, and nothing compared.
    rest["description"].setdefault("steps", {})
    return Manifest(record, files, **{"writer": {}, **rest, "format": written, "digests": tuple(rest["digests"])})


def _head(content: Mapping[str, Any]) -> Head:
    record = Record(*[content[name] for name in OF_RECORD])
    return Head(record, {name: (size, digest) for name, (size, digest) in content["files"].items()})


def _by(content: Mapping[str, Any]) -> str:
    """Returns which version of this package wrote something, for a message; nothing if that is not said."""
    writer = content.get("writer")
    version = writer.get("exactloop") if isinstance(writer, dict) else None
    return f", exactloop {plain(version[:20])}" if isinstance(version, str) else ""


def canonical(content: Mapping[str, object]) -> bytes:
    """Returns JSON values as bytes, with the SHA-256 of them in it. No other bytes say the same.

    From format 3 on there is another SHA-256 after `files`: of what comes before it, and the number of bytes after it.
    """
    # Of the usual JSON, with spaces: so in format 1, and ever since.
    whole = {**content, "sha256": hashlib.sha256(json.dumps(content).encode()).hexdigest()}
    raw, written, names = _compact(whole) + b"\n", content.get("format"), list(content)
    if not isinstance(written, int) or written < 3 or "files" not in names[:-1]:
        return raw
    head = _compact({name: content[name] for name in names[: names.index("files") + 1]})[:-1]
    rest = raw[len(head) + 1 :]
    return head + _sealed(head, len(rest)) + rest


def _sealed(head: bytes, rest: int) -> bytes:
    return b',"head":[%d,"%s"],' % (rest, hashlib.sha256(b"%d %s" % (rest, head)).hexdigest().encode())


def _compact(content: Mapping[str, object]) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()
