"""The rows that a source of items holds: those of the run, if the items are other ones with those of this process."""

import contextlib
import functools
from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf

from loop.data.objects.held_rows import HeldRows
from loop.data.python.indexable import Source
from loop.data.python.item_batches import Items, short
from loop.state.resumable import Earlier, Unlike
from loop.state.settled import is_settled

CONTENT = "content"  # the name of a note
OTHER = (
    "The items of the source are not what they were when the checkpoint was made, whatever of it was saved. Undo what "
    "has changed in them, or in what they are read from; or start afresh in another directory."
)


class ItemRows:
    """The rows that a source holds.

    Args:
        source: The source.
        items: Its items, sampled.
    """

    def __init__(self, source: Source, items: Items) -> None:
        self._held, self._items = HeldRows([source]), items
        self._earlier: Earlier | None = None

    def tensors(self) -> Sequence[tf.Tensor]:
        """Returns them, to be kept."""
        return self._held.tensors()

    def cursor(self) -> dict[str, int]:
        """Returns what tells the items from others, if the next process may have others."""
        return {CONTENT: self._number()} if self._may_be_drawn else {}

    def _number(self) -> int:
        return int(short(self._items.first)[:12], 16)

    @functools.cached_property
    def _may_be_drawn(self) -> bool:
        return not is_settled()  # looked at once, as it takes its time

    def recall(self, cursor: Mapping[str, int], earlier: Earlier, *, changes: bool) -> None:
        """Takes note of what was kept, and puts it in the place of what there is, if the items are those then.

        Args:
            cursor: Those of the data.
            earlier: What was kept.
            changes: Whether passes change the items, so that only `as_saved` can tell.
        """
        self._earlier = earlier
        if changes or cursor.get(CONTENT, self._number()) == self._number():
            return
        first = self._items.first

        def fits() -> bool:
            self._items.first = self._items.digests()
            return cursor[CONTENT] == self._number()

        if not self._held.recall(earlier, fits):
            self._items.first = first

    def recall_count(self, cursor: Mapping[str, int], earlier: Earlier, look: Callable[[], None]) -> None:
        """Puts what was kept in the place of what there is, if the items are those then, more or fewer as they are.

        Args:
            cursor: Those of the data.
            earlier: What was kept.
            look: Looks at the items anew.
        """

        def fits() -> bool:
            look()
            return cursor.get(CONTENT) == self._number()

        if earlier.tensors() and not self._held.recall(earlier, fits):
            look()

    def as_saved(self, digests: Sequence[str], put: Callable[[], None]) -> None:
        """Puts what passes have changed, and with it what was kept, if the items are not what they were without that.

        Args:
            digests: Those of the items when they were saved.
            put: Puts what passes have changed.

        Raises:
            Unlike: If the items are not what they were with it either.
        """
        # It may fit into what was kept alone, as an order of more rows does: with others, a source may raise anything.
        with contextlib.suppress(Exception):
            put()
            if self._items.digests() == digests:
                return
        if self._earlier is not None and (rows := self._earlier.tensors()):
            self._held.put(rows)
            self._items.first = self._items.digests()  # as at the beginning of the run: the notes are of that
        put()
        if self._items.digests() != digests:
            raise Unlike(OTHER)
        if self._earlier is not None:
            self._earlier.taken()

    def mark(self) -> Callable[[], None]:
        """Returns what takes all of it back to what it is now."""
        first, back = self._items.first, self._held.mark()

        def go_back() -> None:
            back()
            self._items.first = first

        return go_back
