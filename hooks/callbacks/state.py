"""What a Keras callback keeps in Python in the course of a run, and how that is saved and put back."""

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence, Set
from operator import itemgetter
from typing import NamedTuple, TypeAlias

import keras

from hooks.callbacks.objects import attributes
from hooks.callbacks.values import GoesOn, NotKept, Written, read, write

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


class Closed(NamedTuple):
    """What cannot be written down: which object it is, and what kind of thing.

    Attributes:
        key: Its id, or of what goes on by itself None, which is not what it was.
        kind: What to call it.
    """

    key: int | None
    kind: str


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
        self._first: dict[str, Written | Closed] | None = None
        self._changed: set[str] = set()
        self._elsewhere: Set[int] = frozenset()

    def _attributes(self) -> list[tuple[str, object]]:
        return sorted(attributes(self._callback).items(), key=itemgetter(0))

    def note(self, elsewhere: Set[int]) -> None:
        """Notes how the callback was made, once: what is other than that has to be saved.

        Args:
            elsewhere: The ids of the variables that are in the state of the loop anyway.
        """
        self._elsewhere = elsewhere
        if self._first is None:
            self._first = {name: self._written(value) for name, value in self._attributes()}

    def begin_anew(self) -> None:
        """Puts back how the callback was made, as in a new process: what a run has changed that is undone now."""
        own = vars(self._callback)
        for name in self._changed & own.keys():
            if (first := (self._first or {}).get(name)) is None:
                del own[name]
            elif not isinstance(first, Closed):
                own[name] = read(first[0], iter(first[1]), own[name])
        self._changed.clear()

    def take(self) -> tuple[dict[str, tuple[str, int]], list[bytes]]:
        """Returns, for each attribute that has ever changed, a text and how many parts its arrays have; and these."""
        texts: dict[str, tuple[str, int]] = {}
        parts: list[bytes] = []
        for name, value in self._attributes():
            written = self._written(value)
            goes_on = isinstance(written, Closed) and written.key is None
            if name not in self._changed and (self._first or {}).get(name) == written and not goes_on:
                continue
            if isinstance(written, Closed):
                self.lost[name] = written.kind
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

    def _written(self, value: object) -> Written | Closed:
        try:
            return write(value, self._elsewhere)
        except (NotKept, RecursionError) as kind:
            return Closed(None if isinstance(kind, GoesOn) else id(value), str(kind) or type(value).__name__)


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
