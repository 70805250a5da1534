"""The rows in memory that data are made of, where a process without a seed may have drawn them.

The next process has others then. So they are kept beside the checkpoints, and the run goes on with them. It may as well
be that somebody has edited them, which must not be hidden. So they are taken only if there is a sign that they were
drawn: the streams of Python or NumPy have given as many numbers as there are rows, or the text of the program is what
it was when the run began; and never without a warning.
"""

import functools
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence

import tensorflow as tf

from loop.exact.text import program_text
from loop.state.randomness import drawn
from loop.state.resumable import Resumable
from loop.state.settled import is_settled, seed_decides

MOST = 2**26  # bytes of all rows that are kept
OF_OTHERS = 16  # numbers that imports draw
OF_ANOTHER = threading.Event()  # a run goes on with rows as an earlier process had drawn, and this one had not
TEXT = "text"  # the name of a note
log = logging.getLogger("exactloop")
TAKEN = (
    "The rows of the data are other ones than when the run began. It goes on with those that it began with, which were "
    "kept.%s"
)
PERHAPS_EDITED = (
    " If they were drawn, are in the order of a set, or come of hash(), that is right. If they, or what they are read "
    "from, were edited: start afresh in another directory, or go on with what is there now: Checkpoint(..., "
    "resume_changed='warn')."
)
DRAWN = (
    " If they were drawn, that is right; but what the program itself splits off, to test on when the run is over, is "
    "of this process, and may have been trained on. With keras.utils.set_random_seed(1) at its beginning, a new run "
    "has the same each time. If they were edited, start afresh in another directory to train on what is there now."
)
Read = Callable[[], Mapping[str, tf.Tensor]]
Cursor = Mapping[str, int]
Row = tuple[bytes, ...]  # what is in each column


class RowsInMemory:
    """The rows of all data of a loop.

    Args:
        data: The train data; None if there is no run.
        evaluated: The data of evaluations, by their names.
    """

    def __init__(self, data: Resumable | None, evaluated: Mapping[str, Resumable]) -> None:
        # By what the names of their notes begin with.
        self._data = {**({"": data} if data else {}), **{f"{name}/": each for name, each in evaluated.items()}}

    def held(self) -> dict[str, tf.Tensor]:
        """Returns all of them by names, to be kept with the run; nothing if the process has a seed, or they are large.

        None of them changes while the run goes on.
        """
        if not self._may_be_drawn:
            return {}
        found = {f"{name}{i}": x for name, data in self._data.items() for i, x in enumerate(data.in_memory())}
        return found if sum(map(bytes_of, found.values())) <= MOST else {}

    @functools.cached_property
    def _may_be_drawn(self) -> bool:
        # Looked at once: it takes its time where much was drawn from a stream that has a seed.
        return not is_settled()

    def cursor(self) -> dict[str, int]:
        """Returns what `recall` has to know besides, to be saved with each checkpoint."""
        return {TEXT: program_text().number} if self._may_be_drawn else {}

    def recall(self, cursor: Mapping[str, int], read: Read, *, sure: bool = False) -> None:
        """Lets the data take over what they drew when the run began, and the rows that they had then.

        Args:
            cursor: Those of all data.
            read: Returns what `held` had returned.
            sure: Whether to take such rows only where it is certain enough that they were drawn.
        """
        for name, own, earlier in self.earlier(cursor, read, sure=sure):
            self._data[name].recall(own, earlier)

    def earlier(self, cursor: Mapping[str, int], read: Read, *, sure: bool) -> Iterator[tuple[str, Cursor, "KeptRows"]]:
        """Yields, for each source, what its names begin with, its own cursor, and what was kept of it; see `recall`."""
        text = program_text()
        is_same = text.number == cursor.get(TEXT, 0) != 0

        @functools.cache
        def has_drawn() -> bool:
            rows = max([0, *(int(tensor.shape[0]) for tensor in self.held().values() if tensor.shape.rank)])
            return drawn() >= rows + OF_OTHERS

        # Only if there are other rows now: to see whether they were drawn takes its time.
        def is_certain() -> bool:
            return is_same and (text.draws or has_drawn())

        def earlier() -> Mapping[str, tf.Tensor]:
            if not (is_certain() or (not sure and (is_same or has_drawn()))):
                return {}
            now()  # before anything else is put in its place
            return read()

        now = functools.cache(self.held)

        def say() -> None:
            OF_ANOTHER.set()
            # Where a seed decides, and nothing goes through sets, they come of hashes; or somebody has edited them.
            is_doubtful = not is_certain() or (seed_decides() and not text.orders_sets)
            log.warning(TAKEN, PERHAPS_EDITED if is_doubtful else DRAWN)

        kept, told = functools.cache(earlier), functools.cache(say)
        for name in self._data:
            own = {key.removeprefix(name): number for key, number in cursor.items() if key.startswith(name)}
            yield name, own, KeptRows(name, kept, told, same_program=is_same)


class KeptRows:
    """What was kept of one source; see `Earlier`.

    Args:
        name: What the names of its rows begin with.
        read: Returns the rows of all.
        say: Says that some were taken, once.
        same_program: See there.
    """

    def __init__(self, name: str, read: Read, say: Callable[[], None], *, same_program: bool) -> None:
        self._name, self._read, self.taken, self.same_program = name, read, say, same_program

    def tensors(self) -> Sequence[tf.Tensor]:
        """Returns its rows."""
        of_all = self._read()
        names = (f"{self._name}{i}" for i in range(len(of_all)))
        return [of_all[name] for name in names if name in of_all]


def bytes_of(tensor: tf.Tensor) -> int:
    """Returns how many bytes there are, also of texts."""
    if tensor.dtype == tf.string:
        return int(tf.reduce_sum(tf.cast(tf.strings.length(tensor), tf.int64)))
    return tensor.dtype.size * int(tensor.shape.num_elements())
