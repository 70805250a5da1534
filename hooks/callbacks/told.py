"""What is said of callbacks that are not quite what they are in `fit`: each thing once."""

import logging
import warnings
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import keras
import numpy as np
import tensorflow as tf

from hooks.callbacks.kinds import LEFT, NEVER_CALLED, does, kinds, misspelt
from hooks.callbacks.objects import attributes
from hooks.callbacks.state import CallbackState

log = logging.getLogger("exactloop")
Callback: TypeAlias = keras.callbacks.Callback
Of: TypeAlias = Sequence[tuple[CallbackState, Callback]]
Lost: TypeAlias = Mapping[str, Mapping[str, str]]  # by callback and attribute: of what kind it is
KEPT = "Numbers, texts, arrays and variables, and lists and dicts of them, are saved."
WRITTEN = (
    "what it writes through a writer of its own after the step from which a run goes on stays in its file, and is "
    "there twice then. Write `with tensorboard.summaries():`, with the hook TensorBoard, in the place of "
    "`with writer.as_default():`."
)


class CallbackWarnings:
    """Tells of what callbacks have lost, would lose if the run were interrupted, are not called for, and keep apart."""

    def __init__(self) -> None:
        self._said: set[str] = set()  # not saved: each process says it once

    def of_what_is_lost(self, lost: Lost, of: Of) -> None:
        """Warns of what was lost when the run was interrupted, and of callbacks that begin anew wherever they are.

        Args:
            lost: What could not be put back.
            of: The callbacks, with their states.
        """
        if named := _named(lost):
            warnings.warn(f"The run was interrupted, and callbacks have begun anew with: {named}. {KEPT}", stacklevel=2)
            self._said |= {f"{key}.{name}" for key, names in lost.items() for name in names}
        for state, callback in of:
            said = [f"{state.key}: {each}, if the run is interrupted." for each in kinds(LEFT, callback)]
            self._say(state.key, *said)

    def of_what_would_be_lost(self, lost: Lost) -> None:
        """Warns of what would be lost if the run were interrupted now."""
        new = {key: {n: k for n, k in names.items() if f"{key}.{n}" not in self._said} for key, names in lost.items()}
        if named := _named(new):
            # Before it is said: where warnings are errors, it is raised once and not at each event.
            self._said |= {f"{key}.{name}" for key, names in new.items() for name in names}
            warnings.warn(
                f"If the run is interrupted, callbacks lose: {named}. No checkpoint can hold it. {KEPT}", stacklevel=2
            )

    def of_writers(self, key: str, callback: Callback) -> None:
        """Warns of writers of TensorBoard's files that a callback holds, alone or several."""
        for name, held in attributes(callback).items():
            each = held.values() if isinstance(held, Mapping) else held if isinstance(held, list | tuple) else (held,)
            if any(isinstance(one, tf.summary.SummaryWriter) for one in each):
                self._say(f"{key}.{name}", f"{key}.{name}: {WRITTEN}")

    def of_what_is_not_called(self, of: Of) -> None:
        """Warns of methods that callbacks have and nobody calls here."""
        for state, callback in of:
            for method, close in misspelt(callback).items():
                said = f"{state.key}: {method} will not be called: there is no such event. Did you mean {close}?"
                self._say(f"{state.key}.{method}()", said)
            never = [method for method in NEVER_CALLED if does(callback, method)]
            if never and not isinstance(callback, keras.callbacks.TensorBoard | keras.callbacks.ProgbarLogger):
                why = "an evaluation runs as a whole"
                self._say(state.key + "/batches", f"{state.key}: {' and '.join(never)} will not be called: {why}.")

    def of_what_is_unread(self, key: str, names: Sequence[str]) -> None:
        """Warns of numbers that a callback has set on the optimizer, and that this never reads."""
        for name in names:
            remedy = " Write optimizer.learning_rate." if name in ("lr", "rate") else ""
            self._say(f"{key}.{name}", f"{key} has set optimizer.{name}, which the optimizer does not read.{remedy}")

    def of_what_is_added(self, logs: Mapping[str, object], reports: Sequence[str]) -> None:
        """Tells of what callbacks have put into the logs that is not announced: the history of `fit` would have it."""
        if new := sorted({*logs} - self._said):
            self._said.update(new)
            seen = "Callbacks have put %s into the logs. Other callbacks see it; "
            unseen, numbers = "RunResult.history and other hooks do not.", [n for n in new if _is_number(logs[n])]
            remedy = f" For these, write KerasCallbacks([...], reports={[*reports, *numbers]!r})." if numbers else ""
            log.warning(seen + unseen + remedy, ", ".join(map(repr, new)))

    def _say(self, key: str, *lines: str) -> None:
        if key not in self._said:
            self._said.add(key)
            for line in lines:
                warnings.warn(line, stacklevel=3)


def _is_number(value: object) -> bool:
    found = np.asarray(value)
    return found.shape == () and found.dtype.kind in "biuf"


def _named(lost: Lost) -> str:
    return ", ".join(f"{key}.{name} (a {kind})" for key, names in lost.items() for name, kind in names.items())
