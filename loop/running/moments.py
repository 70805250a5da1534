"""What hooks are told of a run, and how the state is kept whole while they are."""

import functools
from collections.abc import Callable, Mapping

import keras

from loop.errors.readonly import ReadOnly
from loop.events import Event, Moment
from loop.running.making import Making
from loop.running.parts import Parts
from loop.state.position import Position
from loop.triggers import Halt

# At which a run ends if `fit` would.
ENDING = (Event.STEP_END, Event.EVAL_END, Event.EPOCH_END)


class Moments:
    """Makes the moments of a run, and sends its events.

    Attributes:
        place: Where the run stands.
        round: What was measured at this step, by name.
        resumed: Whether the run went on from a restored state.

    Args:
        parts: What the loop is made of.
        making: Has the state, and the learning rates.
    """

    def __init__(self, parts: Parts, making: Making) -> None:
        self._hooks, self._stops, self._position, self._making = parts.hooks, parts.stops, parts.position, making
        self.place = Position(0, 0, 0)
        self._models: list[keras.Model] = []
        self.begin_again()

    def begin_again(self) -> None:
        """Forgets what was measured, and that the run was resumed: the state is restored next."""
        self.round: dict[str, float] = {}
        self.resumed = False

    def begin(self) -> None:
        """Has the models ask for nothing, as `fit` does: an earlier run, or another loop, may have left it so."""
        self._models = [*self._making.state.objects(keras.Model).values()]
        for model in self._models:
            model.stop_training = False

    def reached(self) -> bool:
        """Returns whether what was asked for is done when this round is."""
        return self._stops.reached(self.place.step, self.place.epoch + self._position.phase.is_over)

    def is_last(self) -> bool:
        """Returns whether the run ends with this round, as far as is known by now."""
        return self._stops.asked or self.reached()

    def moment(
        self,
        event: Event,
        logs: Mapping[str, float] | None = None,
        error: BaseException | None = None,
        *,
        last: bool | None = None,
    ) -> Moment:
        """Returns where the run stands; with `logs`, also what hooks have reported and, of a step, learning rates."""
        # Asked when the moment is made: a stop that comes a moment later is told at the next event.
        last, reports = self.is_last() if last is None else last, self._hooks.reports
        if logs is not None:
            # EPOCH_END is sent with them: they are those of the epoch.
            rates = self._making.rates.now() if event is Event.STEP_END else {}
            logs = {**logs, **rates, **reports.round}
        # Bound to the event: a moment that a hook keeps reports nothing later.
        report = functools.partial(reports.take, event, self.place.step)
        stop = self._stops.after_round
        return Moment(event, *self.place, ReadOnly(logs or {}), self.resumed, last, error, stop, report)

    def emit(self, event: Event, logs: Mapping[str, float] | None = None, *, halt: Halt | None = None) -> None:
        """Sends an event. The moment is made only if somebody listens: most steps have nobody who does."""
        self._hooks.calls.send(event, lambda: self.moment(event, logs), halt=halt)
        # Of a hook that was a callback once, or of a function; `KerasCallbacks` has asked in its own words by now.
        if event in ENDING and any(model.stop_training for model in self._models):
            self._stops.after_round("model.stop_training was set", end_epoch=True)

    def emit_whole(self, event: Event) -> None:
        """Sends an event at which the state is whole, and puts it back if a hook raises."""
        back = self.capture()
        try:
            self.emit(event)
        except BaseException:
            back()
            raise
        finally:
            del back  # or this frame, which an exception has, would keep the values

    def capture(self, *, as_written: bool = False) -> Callable[[], None]:
        """Holds the present state, and returns what puts it back; see `TrainingState.capture`."""
        # Buffers are shared until they are written: no copies, some microseconds for each variable.
        held = self._making.state.capture(as_written=as_written)
        return lambda: self._making.state.rollback(held)
