"""What a program does to the state between two runs, where it had done that before it was started again."""

import logging

import tensorflow as tf

from loop.digest import digest
from loop.state.randomness import Host, host, put_back
from loop.state.training_state import TrainingState
from loop.tensors import put, read

log = logging.getLogger("exactloop")
AGAIN = (
    "Between two runs, the program has changed %s. The first of them ended at once (%s): the program had done that "
    "before it was started again, and what is restored comes of it. So it is put back. To go on with other values, set "
    "them before the first run, with Checkpoint(..., resume_changed='warn')."
)


class Between:
    """Puts back what a program changes behind a run of which the end was passed before it was started again.

    As of `loop.run(epochs=5); rate.assign(rate / 2); loop.run(epochs=10)`, killed in epoch 7: the state has the smaller
    rate, and the script halves it once more. Nobody can tell that from a change that is meant, so it is logged.
    """

    def __init__(self) -> None:
        self._held: dict[str, tuple[tf.Variable, tf.Tensor]] = {}  # what was given, by path, and random streams
        self._streams: set[int] = set()  # ids of the variables
        self._host: Host | None = None
        self._why = ""

    def note(self, state: TrainingState, why: str) -> None:
        """Holds what there is at the end of such a run, at no cost of memory.

        Args:
            state: The training state.
            why: Why there was nothing to do.
        """
        streams = state.streams()
        self._streams, self._why, self._host = {*map(id, streams)}, why, host()
        variables = {**{str(i): each for i, each in enumerate(streams)}, **state.given()}
        self._held = {path: (variable, read(variable)) for path, variable in variables.items()}

    def forget(self) -> None:
        """Takes whatever comes for what is meant."""
        self._held, self._host = {}, None

    def put_back(self) -> None:
        """Puts back what has changed since, and says what that was; of random streams, nobody need know."""
        changed = {
            path: pair for path, pair in self._held.items() if digest(read(pair[0])) != digest(pair[1])
        }  # sync: hashes all that was given, twice
        for variable, value in changed.values():
            put(variable, value)
        if self._host is not None:
            put_back(self._host)
        if told := [path for path, (variable, _) in changed.items() if id(variable) not in self._streams]:
            log.warning(AGAIN, f"{', '.join(told[:3])}{f' and {len(told) - 3} more' if told[3:] else ''}", self._why)
        self.forget()
