"""What a Keras callback keeps in Python in the course of a run, and how that is saved and put back."""

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from operator import itemgetter
from typing import NamedTuple, TypeAlias

import keras

from hooks.callbacks.kinds import OF_FILES, OF_FIT, kinds
from hooks.callbacks.values import NotKept, Written, read, write

HEAD = 8  # bytes
Callback: TypeAlias = keras.callbacks.Callback


class Saved(NamedTuple):
    """What was saved of a callback.

    Attributes:
        kept: A text for each attribute, and how many parts its arrays have.
        lost: As in `CallbackState`.
        length: How many bytes its file had.
        parts: The bits of the arrays.
    """

    kept: Mapping[str, tuple[str, int]]
    lost: Mapping[str, str]
    length: int
    parts: Sequence[bytes]


class CallbackState:
    """The attributes that a callback has changed since the run began.

    Attributes:
        key: What to save them under: the class, and a number if there are several of it.
        settings: What the callback was made with, as far as it is numbers and texts.
        lost: What kind of things the attributes are that have changed and cannot be saved, by name.

    Args:
        callback: The callback, before a run begins.
        key: See above.
    """

    def __init__(self, callback: Callback, key: str) -> None:
        self.key, self._callback = key, callback
        self.settings = json.dumps({n: v for n, v in self._attributes() if type(v) in (bool, int, float, str)})
        self.lost: dict[str, str] = {}
        self._first: dict[str, Written | int] | None = None
        self._changed: set[str] = set()

    def _attributes(self) -> list[tuple[str, object]]:
        of_files = set[str]().union(*kinds(OF_FILES, self._callback))
        return [
            (n, v) for n, v in sorted(vars(self._callback).items(), key=itemgetter(0)) if n not in OF_FIT | of_files
        ]

    def note(self) -> None:
        """Notes how the callback was made, once: what is other than that has to be saved."""
        if self._first is None:
            self._first = {name: _written(value)[0] for name, value in self._attributes()}

    def begin_anew(self) -> None:
        """Puts back how the callback was made, as in a new process: what a run has changed that is undone now."""
        own = vars(self._callback)
        for name in self._changed & own.keys():
            if (first := (self._first or {}).get(name)) is None:
                del own[name]
            elif not isinstance(first, int):
                own[name] = read(first[0], iter(first[1]), own[name])
        self._changed.clear()

    def take(self) -> tuple[dict[str, tuple[str, int]], list[bytes]]:
        """Returns, for each attribute that has ever changed, a text and how many parts its arrays have; and these."""
        texts: dict[str, tuple[str, int]] = {}
        parts: list[bytes] = []
        for name, value in self._attributes():
            written, kind = _written(value)
            if name not in self._changed and (self._first or {}).get(name) == written:
                continue
            if isinstance(written, int):
                self.lost[name] = kind
                continue
            self._changed.add(name)
            texts[name] = written[0], len(written[1])
            parts += written[1]
        return texts, parts

    def put_back(self, texts: Mapping[str, tuple[str, int]], parts: Iterator[bytes]) -> dict[str, str]:
        """Gives the callback what `take` returned. Returns what cannot be put back, as `lost`."""
        lost, own = {}, self._callback.__dict__
        for name, (text, count) in texts.items():
            bits = iter([*itertools.islice(parts, count)])
            try:
                own[name] = read(text, bits, own.get(name))
                self._changed.add(name)
            except NotKept as kind:
                lost[name] = str(kind)
        return lost


def states(callbacks: Sequence[Callback]) -> list[CallbackState]:
    """Returns what is kept of each, under keys that hold when others are added or taken away."""
    counts = dict[str, int]()
    made = []
    for callback in callbacks:
        kind = type(callback).__name__
        counts[kind] = counts.get(kind, 0) + 1
        made.append(CallbackState(callback, kind if counts[kind] == 1 else f"{kind} {counts[kind]}"))
    return made


def taken(of: Sequence[CallbackState], lengths: Sequence[int]) -> bytes:
    """Returns all that is kept of all of them, in bytes: a text, how long it is before it, and arrays after it.

    Args:
        of: The states.
        lengths: How many bytes the file of each callback has.
    """
    said, parts = {}, list[bytes]()
    for state, length in zip(of, lengths, strict=True):
        texts, bits = state.take()
        said[state.key] = {
            "kept": texts,
            "lost": {**state.lost},
            "length": length,
            "parts": [len(each) for each in bits],
        }
        parts += bits
    text = json.dumps(said).encode()
    return b"".join([len(text).to_bytes(HEAD, "little"), text, *parts])


def parted(kept: bytes) -> dict[str, Saved]:
    """Returns what `taken` has put together, by key; nothing of nothing.

    Raises:
        ValueError: If it is something else.
    """
    end = HEAD + int.from_bytes(kept[:HEAD], "little")
    found = {}
    try:
        for key, each in json.loads(kept[HEAD:end] or "{}").items():
            ends = [end, *itertools.accumulate(each["parts"], initial=end)][1:]
            parts = [kept[first:last] for first, last in itertools.pairwise(ends)]
            found[key], end = Saved(each["kept"], each["lost"], int(each["length"]), parts), ends[-1]
        return found
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"This is no state of callbacks: {error!r:.100}") from None


def _written(value: object) -> tuple[Written | int, str]:
    """Returns a value written down, or else which object it is, and what kind of thing."""
    try:
        return write(value), ""
    except (NotKept, RecursionError) as kind:
        return id(value), str(kind) or type(value).__name__
