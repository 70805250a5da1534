"""What Python in a pipeline keeps outside of itself, from pass to pass: an order, a count, a generator.

A generator that shuffles its list in place, counts its calls, or draws from an object that it is given, yields another
pass each time. So what it changes is in the checkpoint, as it was when the pass began, and is put back before that is
read again. An audit, and an evaluation, read it as it was when the run began.
"""

import contextlib
import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import tensorflow as tf

from loop.data.objects.changed import Changed, joined
from loop.data.objects.looks import Look
from loop.errors.remedies import KEPT_AS_PLAIN
from loop.findings import Finding
from loop.state.plain import Encoded, Plain, decoded

log = logging.getLogger("exactloop")
OWNER = "the generators of the data"
REMEMBERED = (
    "Checkpoints do not hold what the generators of the data keep in %s, which has more than 64 MB by now: a run that "
    "is resumed makes it anew. What is yielded must not depend on how much is in it."
)


class Around:
    """What functions change outside of themselves.

    All is compared at the end of each pass with what it was at its beginning: what has been changed by then is in the
    state from then on, and what it was before is known. So it does not matter how late that is.

    Attributes:
        settled: Whether each pass is to be as the first one.
        lost: What was changed in a pass, and nothing can keep.

    Args:
        functions: What the pipeline calls in Python.
    """

    def __init__(self, functions: Sequence[object]) -> None:
        self._changed = Changed([*functions])
        self.settled, self._tried = False, not functions  # without any, nothing can change
        self._first = self._begun = Encoded({}, OWNER)  # as it was when the run began, and when the open pass did
        self._meanwhile: Encoded | None = None  # of others, while an evaluation is read
        self._saved: Plain = {}  # as it was at the save, to tell what hooks have changed
        self._look: Look = {}  # of all that there was when the open pass began
        self.lost, self._has_said = list[str](), False

    @property
    def changes(self) -> bool:
        """Whether anything was seen to change, in this process or an earlier one."""
        return bool(self._changed)

    @property
    def names(self) -> Collection[str]:
        """What of it was seen to change."""
        return self._changed.names

    @contextlib.contextmanager
    def as_at_first(self) -> Iterator[None]:
        """Within it, all is as it was when the run began; afterwards, as it was before. Once, sees what changes."""
        if not self._tried:
            with self._changed.undone():
                yield
            # Not if that was interrupted, as by Ctrl-C: what comes later would be taken for what never changes.
            self._tried, self._first = True, self._now()
            return
        # An audit may read while a pass is open, which must not see that.
        held = self._now()
        self._put(self._first)
        try:
            yield
        finally:
            self._put(held)

    def begin(self) -> None:
        """Takes note of where a pass begins."""
        # An evaluation begins as at first each time, though training goes on to change what both may share.
        if self.settled and self.changes:
            self._meanwhile = self._now()
            self._put(self._first)
        self._changed.put_in_order()  # or a resumed run would go through sets in another order
        # Costs copies of 64 MB at most, and checksums of the rest, a second for 2 GB.
        self._begun, self._look = self._now(), self._changed.look()

    def end(self) -> bool:
        """Says that a pass is over. Returns whether it has changed anything that no pass before has."""
        before, self._look = self._look, {}  # lets go of these copies
        known = {*self._changed.lost}  # of the trial: two readings were the same all the same
        found = self._changed.since(before)
        self.lost += [name for name in self._changed.lost if name not in known]
        if self._changed.remembered and not self._has_said:
            self._has_said = True
            log.warning(REMEMBERED, ", ".join(self._changed.remembered))
        is_new = bool(found["values"] or found["absent"])
        if is_new:
            # Nobody knew that it was state when these were taken; the look has what it was.
            self._first, self._begun = joined(self._first, found), joined(self._begun, found)
        # What an evaluation has changed is taken back: training goes on from where it was.
        if self.settled and self.changes:
            self._put(self._begun if self._meanwhile is None else joined(self._meanwhile, found))
        self._meanwhile = None
        return is_new

    def findings(self, owner: str) -> list[Finding]:
        """Returns what was changed in a pass and cannot be kept, though it was not seen before the first one."""
        who, names = f"{owner}, or hooks that share an object with them,", ", ".join(self.lost)
        what = f"{who} have changed, late in a pass, what no checkpoint holds: {names}"
        return [Finding(what, "", KEPT_AS_PLAIN)] if self.lost else []

    def tensors(self, *, is_open: bool) -> dict[str, tf.Tensor]:
        """Returns what a checkpoint holds, within a pass or between two."""
        now = self._now().decoded()
        # The pass is read again from its beginning, which has to come to `now`, unless a hook has changed that.
        state = Encoded([self._first.decoded(), self._begun.decoded() if is_open else now, now], OWNER)
        return {"around_text": tf.constant(state.text), "around_data": tf.constant(state.data)}

    def take(self, tensors: Mapping[str, tf.Tensor]) -> None:
        """Takes over what a checkpoint held. Raises `ValueError` if the functions do not have that any more."""
        first, begun, now = decoded(tensors["around_text"].numpy(), tensors["around_data"].numpy())
        self._tried, self._saved = True, now  # an earlier process has found out what changes
        self._changed.put(begun)  # from where the pass is to be read again
        self._first = Encoded(first, OWNER)

    def changed_by_others(self) -> list[str]:
        """Returns what is not as it was saved, now that the pass is read again up to where it was."""
        now, saved = self._now().decoded().get("values", {}), self._saved.get("values", {})
        return [name for name in {**saved, **now} if not _equal(saved.get(name), now.get(name))]

    def now(self, names: Collection[str]) -> Mapping[str, Encoded]:
        """Returns what some of it is now, as far as it is there."""
        values = self._now().decoded().get("values", {})
        return {name: Encoded(values[name], OWNER) for name in names if name in values}

    def put_saved(self, names: Collection[str]) -> None:
        """Lets some of it be what it was when it was saved."""
        # Of these alone: what the reading has come to by itself is right.
        values = {name: value for name, value in self._saved.get("values", {}).items() if name in names}
        self._changed.put({"values": values, "absent": []})

    def mark(self) -> Callable[[], None]:
        """Returns what takes all of this back to where it is now."""
        back, first, begun, look = self._changed.mark(), self._first, self._begun, self._look

        def go_back() -> None:
            self._first, self._begun, self._look = first, begun, look
            back()

        return go_back

    def _now(self) -> Encoded:
        return Encoded(self._changed.get() if self.changes else {}, OWNER)

    def _put(self, state: Encoded) -> None:
        if self.changes:
            self._changed.put(state.decoded())


def _equal(one: Plain, other: Plain) -> bool:
    return Encoded(one, OWNER) == Encoded(other, OWNER)
