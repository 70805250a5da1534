"""What Python in a pipeline keeps outside of itself, from pass to pass: an order, a count, a generator.

A generator that shuffles its list in place, counts its calls, or draws from an object that it is given, yields another
pass each time. So what it changes is in the checkpoint, as it was when the pass began, and is put back before that is
read again. An audit, and an evaluation, read it as it was when the run began.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import tensorflow as tf

from loop.data.changed import Changed
from loop.state.plain import Encoded, Plain, decoded

OWNER = "the generators of the data"


class Around:
    """What functions change outside of themselves.

    Attributes:
        settled: Whether each pass is to be as the first one.

    Args:
        functions: What the pipeline calls in Python.
    """

    def __init__(self, functions: Sequence[object]) -> None:
        self._changed = Changed([*functions])
        self.settled, self._tried = False, not functions
        self._first = self._begun = Encoded({}, OWNER)  # as it was when the run began, and when the open pass did
        self._meanwhile: Encoded | None = None  # of others, while an evaluation is read
        self._saved: Plain = {}

    @property
    def changes(self) -> bool:
        """Whether anything was seen to change, in this process or an earlier one."""
        return bool(self._changed)

    @contextlib.contextmanager
    def as_at_first(self) -> Iterator[None]:
        """Within it, all is as it was when the run began; afterwards, as it was before. Once, sees what changes."""
        if not self._tried:
            self._tried = True
            with self._changed.undone():
                yield
            self._first = self._now()
            return
        held = self._now()
        self._put(self._first)
        try:
            yield
        finally:
            self._put(held)

    def begin(self) -> None:
        """Takes note of where a pass begins."""
        if self.settled and self.changes:
            self._meanwhile = self._now()
            self._put(self._first)
        self._begun = self._now()

    def end(self) -> None:
        """Says that a pass is over."""
        if self._meanwhile is not None:
            self._put(self._meanwhile)
            self._meanwhile = None

    def tensors(self, *, is_open: bool) -> dict[str, tf.Tensor]:
        """Returns what a checkpoint holds, within a pass or between two."""
        now = self._now().decoded()
        state = Encoded([self._first.decoded(), self._begun.decoded() if is_open else now, now], OWNER)
        return {"around_text": tf.constant(state.text), "around_data": tf.constant(state.data)}

    def take(self, tensors: Mapping[str, tf.Tensor]) -> None:
        """Takes over what a checkpoint held. Raises `ValueError` if the functions do not have that any more."""
        first, begun, now = decoded(tensors["around_text"].numpy(), tensors["around_data"].numpy())
        self._tried, self._saved = True, now
        self._changed.put(begun)
        self._first = Encoded(first, OWNER)

    def changed_by_others(self) -> list[str]:
        """Returns what is not as it was saved, now that the pass is read again up to where it was."""
        now, saved = self._now().decoded().get("values", {}), self._saved.get("values", {})
        return [name for name in {**saved, **now} if not _equal(saved.get(name), now.get(name))]

    def mark(self) -> Callable[[], None]:
        """Returns what takes all of this back to where it is now."""
        now, first, begun = self._now(), self._first, self._begun

        def go_back() -> None:
            self._first, self._begun = first, begun
            self._put(now)

        return go_back

    def _now(self) -> Encoded:
        return Encoded(self._changed.get() if self.changes else {}, OWNER)

    def _put(self, state: Encoded) -> None:
        if self.changes:
            self._changed.put(state.decoded())


def _equal(one: Plain, other: Plain) -> bool:
    return Encoded(one, OWNER) == Encoded(other, OWNER)
