"""What a trace depended on that lives in Python, and whether it is still so."""

import collections
import logging
import operator
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

from loop.exact import compared, watched
from loop.exact.compared import Pair
from loop.exact.reach import Reach, is_within
from loop.exact.watched import Watched, of_attributes, of_containers, of_names, of_structure

log = logging.getLogger("exactloop")
Values: TypeAlias = list[tuple[object, ...]]  # of the things that are watched, in their order
Found: TypeAlias = Sequence[tuple[Watched, Mapping[str, Pair]]]
OFTEN, KNOWN = 3, 64  # new values after which one is told; states that are kept
TRIES = 10
AGAIN = (
    "%s changes again and again. Each time the step is traced again to see whether that matters, which takes %.0f ms. "
    "Read it in a hook instead of the step, or make it a tf.Variable in state=."
)
CHANGED = "would be compiled otherwise now, because Python has changed since; what is compiled does not follow"
REMEDY = (
    "Nothing was trained or saved after that was noticed. Train in parts: run one Loop up to the change; then make a "
    "new step, such as supervised(...), new data, a new optimizer if other variables are trained, and a new Loop with "
    "these, with another directory for its Checkpoint. Or undo the change; if a hook made it, take it out of the hook "
    "and start the script again. What is to change in the course of training can be a tf.Variable in state=, set by a "
    "hook: the steps read it each time."
)


class Traced:
    """Notes what the traces of some functions depended on in Python.

    That is what the functions, and all that they call, read there: numbers and other plain values in globals, enclosing
    functions and attributes; which layers, optimizers and functions these are; arrays; and of Keras' objects what they
    were made with, what is trainable, and their dtypes. To see that all is as it was takes half a microsecond for each
    object.

    Attributes:
        compiled: Functions that are a `tf.function` by themselves, and so keep what they once traced.

    Args:
        roots: The functions, and what they work on.
    """

    def __init__(self, roots: Iterable[object]) -> None:
        self._roots = list(roots)
        self._harmless = collections.Counter[str]()
        self.note()

    def note(self) -> None:
        """Takes what there is now for what the traces depended on. Takes milliseconds."""
        for left in reversed(range(TRIES)):
            try:
                self._note()
                return
            except (RuntimeError, KeyError):  # another thread of the program writes to what is read here
                if not left:
                    raise

    def _note(self) -> None:
        reach = Reach(self._roots)
        self.compiled, self._parents = reach.compiled, reach.parents
        self._always = [*of_attributes(reach), *of_names(reach), *of_containers(reach)]
        self._at_length = [*of_structure(reach)]
        self._reads, self._then = [(each.read, each.of) for each in self._always], [each.then for each in self._always]
        self._known = collections.deque([self._then], maxlen=KNOWN)  # of the same things, and traced alike

    def check(self, otherwise: Callable[[], Sequence[str]], *, at_length: bool = False, renew: bool = True) -> None:
        """Raises if something has changed that makes a difference.

        Args:
            otherwise: Traces again, and returns what is traced otherwise now; called only if something has changed to
                what it was not before.
            at_length: See `changes`.
            renew: Whether `otherwise` goes through all, so that what has made no difference can be remembered.

        Raises:
            RuntimeError: With all changes, what they concern and what to do.
        """
        found = self._found(at_length=at_length)
        changes = dict(self._told(found))
        if not changes:
            return
        # To trace may change Python, too, such as a count of calls.
        before = self._now() if renew and self._only_simple(found) else None
        began = time.perf_counter()
        if concerned := otherwise():
            listed = "\n  ".join(changes.values())
            raise RuntimeError(f"{' and '.join(concerned)} {CHANGED}:\n  {listed}\n{REMEDY}")
        seconds = time.perf_counter() - began
        if renew:
            self._remember(before)
        self._harmless.update(changes.keys())
        for key in changes:
            if self._harmless[key] == OFTEN:  # once: it is looked at each time anyhow
                log.warning(AGAIN, key, 1e3 * seconds)

    def changes(self, *, at_length: bool = False) -> dict[str, str]:
        """Returns a line for each thing that is not what it was, by what names it.

        Args:
            at_length: Whether to look for what takes longer, too: which layers and trainable variables there are, what
                is in large arrays, and whether what is equal is so by its type, too.
        """
        return dict(self._told(self._found(at_length=at_length)))

    def counted(self) -> list[str]:
        """Returns a line for each number that has changed, and each list that got a tensor.

        If only traces were made meanwhile, the program does so in these, and not at each step.
        """
        found = [(each, watched.counted(each)) for each in self._always]
        return [line for _, line in self._told(found)]

    def _found(self, *, at_length: bool) -> Found:
        known = self._is_known(at_length=at_length)
        if known and not at_length:
            return []
        # What is as it was need not be looked at one by one.
        looked_at = [*([] if known else self._always), *(self._at_length if at_length else [])]
        found: Found = [(each, changes) for each in looked_at if (changes := each.changes())]
        if not found and not known:  # equal arrays, say, in the place of others
            self._take(self._now())
        return found

    def _is_known(self, *, at_length: bool) -> bool:
        """Returns whether all is as it was, or as it was at another time; if not, it may still be equal."""
        try:
            now = self._now()
            if now == self._then:  # one comparison in C, not one for each thing
                return not at_length or all(map(_is_exactly, now, self._then))
            if not any(each == now and _exactly(each) == _exactly(now) for each in self._known):
                return False
        except Exception:  # something is gone, or is an array, which is not so simply compared
            return False
        self._take(now)
        return True

    def _now(self) -> Values:
        return [read(of) for read, of in self._reads]

    def _take(self, now: Values) -> None:
        self._then = now
        self._always = [each._replace(then=then) for each, then in zip(self._always, now, strict=True)]

    def _remember(self, before: Values | None) -> None:
        """Takes what there is now, which tracing may have changed, too, for what was traced."""
        if before is None or not self._only_simple(self._found(at_length=True)):
            self.note()
            return
        self._take(self._now())
        self._known.extend([before, self._then])  # neither is traced again, whichever comes back

    def _only_simple(self, found: Found) -> bool:
        """Returns whether only such values have changed that nothing else is to be watched now."""
        simple = all(compared.is_simple(value) for _, changes in found for pair in changes.values() for value in pair)
        return simple and not any(each is other for each, _ in found for other in self._at_length)

    def _told(self, found: Found) -> Iterator[tuple[str, str]]:
        """Yields the lines. What was set for a layer, and so for all in it, is told of that layer alone."""
        # Layers of which `trainable` itself was set.
        set_for = {id(each.thing) for each, changes in found if "trainable" in changes}
        for each, changes in found:
            for name, (then, now) in changes.items():
                inner = name.endswith((watched.FLAG, watched.TRAINED))
                inner |= name == "trainable" and is_within(each.thing, set_for, self._parents)
                if not (set_for and inner):
                    key = f"{each.owner}: {name}" if each.owner else name
                    yield key, f"{key} {compared.told(then, now)}"


def _exactly(values: Values) -> list[object]:
    """Returns what `compared.exactly` says of all values; 0.2 us for each."""
    return [compared.exactly(each) for each in values]


def _is_exactly(now: tuple[object, ...], then: tuple[object, ...]) -> bool:
    """Returns whether equal values are so by their types, too; mostly, they are the very same objects."""
    return all(map(operator.is_, now, then)) or compared.exactly(now) == compared.exactly(then)
