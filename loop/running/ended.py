"""Runs that somebody has ended and no checkpoint says so: a program that is started again goes on with them."""

import logging

from loop.running.finished import why_over
from loop.running.parts import Parts

log = logging.getLogger("exactloop")
GOES_ON = (
    "The run of another loop was ended before this one: %s. No checkpoint says that it is over. When the program is "
    "started again, that loop trains on, and this one may go on from what it was not made for. What is to end at the "
    "same step again: EarlyStopping, a callback of Keras that sets self.model.stop_training = True, or a hook that "
    "says so in reason_to_end(self), by a variable of its own, and asks for the end in on_run_begin."
)
going_on: dict[int, str] = {}  # why, by which loop


def begin(parts: Parts) -> None:
    """Warns, if a loop begins to train, at its first step, after another one that would go on."""
    others = [reason for of, reason in going_on.items() if of != id(parts)]
    if others and any(hook.saves for hook in parts.hooks):
        log.warning(GOES_ON, ", ".join(others))
        going_on.clear()


def end(parts: Parts) -> None:
    """Notes why a run has ended, if whoever starts again does not know that."""
    going_on.pop(id(parts), None)
    stops, saves = parts.stops, any(hook.saves for hook in parts.hooks)
    place = parts.position.place()
    if saves and stops.reason is not None and not stops.reached(place.step, place.epoch) and not why_over(parts.hooks):
        going_on[id(parts)] = stops.reason
