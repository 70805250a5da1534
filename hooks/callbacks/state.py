"""What a Keras callback keeps in Python in the course of a run, and how that is saved and put back."""

import contextlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence, Set
from operator import itemgetter
from typing import NamedTuple, TypeAlias

import keras
import tensorflow as tf

from hooks.callbacks.closed import seen
from hooks.callbacks.objects import attributes, take_away
from hooks.callbacks.reading import Present, read
from hooks.callbacks.things import Things
from hooks.callbacks.values import Bits, GoesOn, NotKept, WrittenValue, raw
from hooks.callbacks.writing import NamesGiven, write

HEAD = 8  # bytes
GONE = ""  # in the place of the text of an attribute that was deleted
Callback: TypeAlias = keras.callbacks.Callback


class SavedCallback(NamedTuple):
    """What was saved of a callback.

    Attributes:
        kept: A text for each attribute, and how many parts its arrays have.
        lost: As in `CallbackState`.
        epochs: As in `CallbackState`.
        length: How many bytes its file had.
        parts: The bits of the arrays.
    """

    kept: Mapping[str, tuple[str, int]]
    lost: Mapping[str, str]
    epochs: Sequence[int]
    length: int
    parts: Sequence[bytes]


class Closed(NamedTuple):
    """What cannot be written down: which object it is, and what kind of thing.

    Attributes:
        thing: It, or of what goes on by itself None, which is not what it was.
        kind: What to call it.
        seen: What is seen of it.
    """

    thing: object
    kind: str
    seen: str

    def is_like(self, other: "WrittenValue | Closed | None") -> bool:
        """Returns whether it is the same thing."""
        return isinstance(other, Closed) and self.thing is other.thing is not None and self.seen == other.seen


class CallbackState:
    """The attributes that a callback has changed since the run began.

    Attributes:
        key: What to save them under: the class, and a number if there are several of it.
        settings: What the callback was made with, as far as it is numbers and texts.
        lost: What kind of things the attributes are that have changed and cannot be saved, by name.
        epochs: At whose beginning the callback has made what it holds and nothing else could make.

    Args:
        callback: The callback, before a run begins.
        key: See above.
    """

    def __init__(self, callback: Callback, key: str) -> None:
        self.key, self._callback = key, callback
        self.settings = json.dumps({n: v for n, v in self._attributes() if type(v) in (bool, int, float, str)})
        self.lost: dict[str, str] = {}
        # As the program has made it, not as an earlier run in this process has left it.
        self._first: dict[str, WrittenValue | Closed] | None = None
        # By name: at which epochs it was made, and what it was then.
        self._of_epoch: dict[str, tuple[frozenset[int], WrittenValue | Closed]] = {}
        self._changed: set[str] = set()
        self._kept_on: dict[str, str] = {}  # what could not be put back as it was made, such as what is built by now
        self._begun: set[str] = set()  # what `on_train_begin` has set, which comes again by itself
        self._elsewhere: Set[int] = frozenset()
        self._things = Things()

    def _attributes(self) -> list[tuple[str, object]]:
        return sorted(attributes(self._callback).items(), key=itemgetter(0))

    def note(self, elsewhere: Mapping[str, object]) -> None:
        """Notes how the callback was made, once: what is other than that has to be saved.

        Args:
            elsewhere: What is in the state of the loop anyway, by path.
        """
        # Held by the loop's state, so these ids are nobody else's while the run lasts.
        self._elsewhere = {id(each) for each in elsewhere.values()}
        if self._first is None:  # a second run in this process has the same beginning
            for path, thing in elsewhere.items():
                self._things.name(thing, f"/{path}")
            self._first = {name: self._written(value, f".{name}") for name, value in self._attributes()}

    def variables(self) -> list[tf.Variable]:
        """Returns the variables that are saved with the callback, as far as it has held them from the beginning."""
        saved = [f".{name}" for name, first in (self._first or {}).items() if isinstance(first, WrittenValue)]
        return [thing for path in saved for thing in self._things.below(path) if isinstance(thing, tf.Variable)]

    def note_begun(self) -> None:
        """Notes what `on_train_begin` has made, which it does in each process."""
        self._begun = {*attributes(self._callback)}
        for name, value in self._attributes():
            self._written(value, f"begun.{name}")  # for the names that it gives; what is written is of no use

    @contextlib.contextmanager
    def epoch_begins(self, epoch: int) -> Iterator[None]:
        """Notes what the callback makes within, which is `on_epoch_begin`, and nothing else could make."""
        # Held, so no new object can have the id of an old one that is compared by `is`.
        before = dict(self._attributes())
        yield
        own = dict(self._attributes())
        moved = {id(before[name]): epochs for name, (epochs, _) in self._of_epoch.items() if name in before}
        other = sorted(name for name in before.keys() | own.keys() if own.get(name) is not before.get(name))
        for name in other:
            self._of_epoch.pop(name, None)
            self._things.forget(f"epoch.{name}")
        for name in other:
            written = self._written(value := own.get(name), path := f"epoch.{name}", naming=NamesGiven.UNMAKEABLE)
            if isinstance(written, Closed) or self._things.has(path):
                self._of_epoch[name] = moved.get(id(value), frozenset()) | {epoch}, written

    @property
    def epochs(self) -> list[int]:
        own = attributes(self._callback)
        return sorted({epoch for name, (epochs, _) in self._of_epoch.items() if name in own for epoch in epochs})

    def begin_anew(self) -> None:
        """Puts back how the callback was made, as in a new process: what a run has changed that is undone now."""
        self._things.begin()
        self._of_epoch.clear()
        self._kept_on.clear()
        own, present = vars(self._callback), Present(self._things, {})
        # Only what a run has changed: all else may have been set by the program between two runs.
        for name in self._changed:
            if (first := (self._first or {}).get(name)) is None:
                own.pop(name, None)
            elif isinstance(first, Closed):
                if first.thing is not None:
                    own.setdefault(name, first.thing)
            else:
                try:
                    own[name] = read(first.text, iter(first.bits), present)
                except NotKept as kind:  # mostly `put_back` follows, with what it was later
                    self._kept_on[name] = str(kind)
        self._changed.clear()

    def take(self) -> tuple[dict[str, tuple[str, int]], list[Bits]]:
        """Returns, for each attribute that has ever changed, a text and how many parts its arrays have; and these."""
        texts: dict[str, tuple[str, int]] = {}
        parts: list[Bits] = []
        firsts, made = self._first or {}, dict[int, str]()
        own = self._attributes()
        for name, value in own:
            # Without arrays being copied, if they are those of variables: this is done after each event.
            written, first = self._written(value, f".{name}", made, NamesGiven.NOTHING), firsts.get(name)
            if isinstance(written, Closed):
                if name in self._of_epoch and written.is_like(self._of_epoch[name][1]):
                    continue  # `on_epoch_begin` makes it again as it is
                if name in self._changed or not written.is_like(first):
                    again = ", which on_epoch_begin makes again" if name in self._of_epoch else ""
                    self.lost[name] = f"{written.kind}{again}"
                continue
            if isinstance(first, WrittenValue) and name not in self._changed and written.is_like(first):
                continue
            if written.closed:
                self.lost[name] = f"{written.closed[0]} whose attributes change"
            self._changed.add(name)
            texts[name] = written.text, len(written.bits)
            parts += written.bits
        # Deleted since. Sorted, so that the same state is the same bytes in each process.
        for name in sorted((firsts.keys() | self._begun | self._of_epoch.keys()) - {name for name, _ in own}):
            self._changed.add(name)
            texts[name] = GONE, 0
        return texts, parts

    def put_back(self, texts: Mapping[str, tuple[str, int]], parts: Iterator[Bits]) -> dict[str, str]:
        """Gives the callback what `take` returned. Returns what cannot be put back, as `lost`."""
        lost = {name: kind for name, kind in self._kept_on.items() if name not in texts}
        own, present = self._callback.__dict__, Present(self._things, {})
        for name, (text, count) in texts.items():
            # Its own parts, whatever becomes of it: the next attribute's begin after them.
            bits = iter([*itertools.islice(parts, count)])
            self._changed.add(name)
            try:
                if text != GONE:
                    own[name] = read(text, bits, present)
                elif name in own:
                    take_away(self._callback, name)
            except NotKept as kind:
                lost[name] = str(kind)
        return lost

    def _written(
        self, value: object, path: str, made: dict[int, str] | None = None, naming: NamesGiven = NamesGiven.ALL
    ) -> WrittenValue | Closed:
        try:
            return write(value, self._things, path, self._elsewhere, made, naming)
        except (NotKept, RecursionError) as kind:
            named = str(kind) or type(value).__name__
            return Closed(None, named, "") if isinstance(kind, GoesOn) else Closed(value, named, seen(value))


def states(callbacks: Sequence[Callback]) -> list[CallbackState]:
    """Returns what is kept of each, under keys that hold when others are added or taken away."""
    counts = dict[str, int]()
    made = []
    for callback in callbacks:
        kind = type(callback).__name__  # by class, so another order in the program does no harm
        counts[kind] = counts.get(kind, 0) + 1
        made.append(CallbackState(callback, kind if counts[kind] == 1 else f"{kind} {counts[kind]}"))
    return made


def taken(of: Sequence[CallbackState], lengths: Sequence[int]) -> bytes:
    """Returns all that is kept of all of them, in bytes: a text, how long it is before it, and arrays after it.

    Args:
        of: The states.
        lengths: How many bytes the file of each callback has.
    """
    said, parts = {}, list[Bits]()
    for state, length in zip(of, lengths, strict=True):
        texts, bits = state.take()
        said[state.key] = {
            "kept": texts,
            "lost": {**state.lost},
            "epochs": state.epochs,
            "length": length,
            "parts": [len(raw(each)) for each in bits],
        }
        parts += bits
    text = json.dumps(said).encode()  # ASCII, so its length in bytes is that in characters
    return b"".join([len(text).to_bytes(HEAD, "little"), text, *(raw(each).data for each in parts)])


def parted(kept: bytes) -> dict[str, SavedCallback]:
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
            found[key], end = (
                SavedCallback(each["kept"], each["lost"], each.get("epochs", ()), int(each["length"]), parts),
                ends[-1],
            )
        return found
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"This is no state of callbacks: {error!r:.100}") from None
