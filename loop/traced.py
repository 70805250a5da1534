"""What a trace depended on that lives in Python, and whether it is still so."""

import collections
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from loop.reach import Reach, is_within
from loop.watched import Pair, Watched, flags, of_attributes, of_containers, of_names, of_structure, told, trained

CHANGED = "would be compiled otherwise now, because Python has changed since; what is compiled does not follow"
REMEDY = (
    "Nothing was trained or saved after that was noticed. Train in parts: run one Loop up to the change; then make a "
    "new step, such as supervised(...), new data, a new optimizer if other variables are trained, and a new Loop with "
    "these, with another directory for its Checkpoint. Or undo the change. What is to change in the course of training "
    "can be a tf.Variable in state=, set by a hook: the steps read it each time."
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
        self._noticed = collections.Counter[str]()
        self.note()

    def note(self) -> None:
        """Takes what there is now for what the traces depended on. Takes milliseconds."""
        reach = Reach(self._roots)
        self.compiled, self._parents = reach.compiled, reach.parents
        self._always = [*of_attributes(reach), *of_names(reach), *of_containers(reach)]
        self._at_length = [*of_structure(reach)]
        self._reads, self._then = [(each.read, each.of) for each in self._always], [each.then for each in self._always]

    def check(self, otherwise: Callable[[], Sequence[str]], *, at_length: bool = False, renew: bool = True) -> None:
        """Raises if something has changed that makes a difference.

        Args:
            otherwise: Traces again, and returns what is traced otherwise now; called only if something has changed,
                and for what changes again and again without a difference after 1, 2, 4, 8 ... times.
            at_length: See `changes`.
            renew: Whether `otherwise` goes through all, so that what has made no difference can be forgotten.

        Raises:
            RuntimeError: With all changes, what they concern and what to do.
        """
        changes = self.changes(at_length=at_length)
        if not changes:
            return
        self._noticed.update(changes.keys())
        if not at_length and all(self._noticed[key].bit_count() > 1 for key in changes):
            return
        if concerned := otherwise():
            listed = "\n  ".join(changes.values())
            raise RuntimeError(f"{' and '.join(concerned)} {CHANGED}:\n  {listed}\n{REMEDY}")
        if renew:
            self.note()

    def changes(self, *, at_length: bool = False) -> dict[str, str]:
        """Returns a line for each thing that is not what it was, by what names it.

        Args:
            at_length: Whether to look for what takes longer, too: which layers and trainable variables there are, and
                what is in large arrays.
        """
        if not at_length and self._is_as_it_was():
            return {}
        looked_at = [*self._always, *self._at_length] if at_length else self._always
        found = [(each, changes) for each in looked_at if (changes := each.changes())]
        if not found:  # equal arrays, say, in the place of others
            self._then = [read(of) for read, of in self._reads]
        return dict(self._told(found))

    def _is_as_it_was(self) -> bool:
        """Returns whether all is; if not, it may still be equal."""
        try:
            return [read(of) for read, of in self._reads] == self._then
        except Exception:  # something is gone, or is an array, which is not so simply compared
            return False

    def _told(self, found: Sequence[tuple[Watched, Mapping[str, Pair]]]) -> Iterator[tuple[str, str]]:
        """Yields the lines. What was set for a layer, and so for all in it, is told of that layer alone."""
        set_for = {id(each.thing) for each, changes in found if "trainable" in changes}
        for each, changes in found:
            for name, (then, now) in changes.items():
                inner = each.read in (flags, trained)
                inner |= name == "trainable" and is_within(each.thing, set_for, self._parents)
                if not (set_for and inner):
                    key = f"{each.owner}: {name}" if each.owner else name
                    yield key, f"{key} {told(then, now)}"
