"""A run that finds more complete than it was asked for: what the program does until the next one was done before."""

import logging

from loop.digest import digest
from loop.state.captured import StateValues
from loop.state.training_state import TrainingState

log = logging.getLogger("exactloop")
DONE_BEFORE = (
    "The state that was restored, of step %d, is of a later run than the one that had nothing left to do. What the "
    "program has changed after it was changed before that step, too, and is put back to what was saved: %s. What is to "
    "be changed now belongs behind a run() that asks for at least as much as is complete."
)
EVALUATED = (
    "The state is that of step %d, of a later run than the one that had nothing left to do, and so are the results of "
    "evaluate(): when the program was at this place first, they were others. What it decides by them, or keeps as the "
    "best, belongs into a hook, such as a function of @loop.on('eval_end') and moment.logs; or behind the last run()."
)


class CaughtUp:
    """Holds a restored state from such a run to the next one.

    A program may run a loop for two epochs, change the learning rate, and run it for five. Started again in the fourth,
    it would change the rate of that, and not of the third: so until it has caught up with its state, nothing that it
    changes between two runs counts.
    """

    def __init__(self) -> None:
        self._held: StateValues | None = None
        self._told = False

    def hold(self, state: TrainingState) -> None:
        """Holds the state as it is now, at no cost of memory."""
        self._held = state.capture()

    def tell_evaluated(self, step: int) -> None:
        """Says, once, that what is evaluated is a state that is held."""
        if self._held is not None and not self._told:
            self._told = True
            log.warning(EVALUATED, step)

    def put_back(self, state: TrainingState) -> None:
        """Puts back what was held, if anything was, and says what that changes; of random streams, nobody need know."""
        if self._held is not None:
            held, self._held, now = self._held, None, state.values()
            known = held.values.items()
            changed = [path for path, value in known if value is not now[path] and digest(value) != digest(now[path])]
            state.rollback(held)
            if changed:
                state.derived.again()
            streams = {*map(id, state.streams())}
            if told := [path for path in changed if id(state.variables[path]) not in streams]:
                more = f", and {len(told) - 4} more" if len(told) > 4 else ""
                log.warning(DONE_BEFORE, state.position.place().step, ", ".join(told[:4]) + more)
