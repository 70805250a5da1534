"""Runs Keras' callbacks as they are."""

import contextlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeAlias

import keras
import numpy as np
import tensorflow as tf

from hooks.callbacks.asked import Asked
from hooks.callbacks.kinds import OF_BATCHES, WRITING, does, each_of, going_on, length, places, refused, watch, without
from hooks.callbacks.model import CallbackModel, checked
from hooks.callbacks.objects import functions
from hooks.callbacks.state import CallbackState, SavedCallback, parted, states, taken
from hooks.callbacks.told import CallbackWarnings
from hooks.shared.numbers import put
from hooks.shared.places import Targets, check_alone, note
from hooks.shared.texts import in_bytes, text_in, text_variable
from loop import NEVER, Event, Every, Hook, Loop, Moment, TrainingState, digest

Callback: TypeAlias = keras.callbacks.Callback
INSTEAD = {
    "callbacks": "write KerasCallbacks([keras.callbacks.CSVLogger('log.csv')])",
    "verbose": "leave it out: each callback has its own",
    **dict.fromkeys(("epochs", "steps", "params"), "leave it out: callbacks are told what run() was asked for"),
}


class KerasCallbacks(Hook, instead=INSTEAD):
    """Runs callbacks of Keras as `fit` runs them, in their order.

    A callback that is given in `hooks=[...]` directly is one of these by itself. Epochs and batches are counted from 0,
    as in `fit`, and values have the names that they have there: those of an evaluation begin with `val_`, and are there
    at the end of an epoch in which it was. `on_train_batch_end` gets the values of exactly that step. The compiled loop
    halts at each step only if one of the callbacks does something at each batch. What callbacks change of the model and
    the optimizer, such as the learning rate, is trained with from the next step on. `model.stop_training = True` ends
    the run, and the epoch, after the step in progress, or after the one that has begun: as in `fit`, the epoch is
    evaluated and `on_epoch_end` is called. A run that was ended so ends again at once.

    What callbacks have set on themselves in the course of the run is saved, and put back behind `on_train_begin`, which
    is called in each process; what that changes of the state is put back in a run that goes on. What cannot be saved is
    named in a warning. `CSVLogger` goes on in its file. What `on_train_end` changes of weights, such as the best ones
    that are put back, is there when the run has ended, and training goes on from the last step nevertheless.

    Args:
        callbacks: The callbacks, or one of them.
        model: Their model; by default the one `keras.Model` in `state=`.
        optimizer: What they find as `model.optimizer`; by default that which the model was compiled with, if it is in
            `state=`, or else the only one there is.
        reports: The names of values that callbacks put into the logs in `on_epoch_end`, and that are to be reported to
            other hooks; see `Hook`.
        name: The name of the hook.

    Raises:
        TypeError, ValueError: If something is no callback, or one that cannot be run here; when a run begins, if a
            callback does not say whether what it monitors is to be small or large, or needs a model and there are
            several.
    """

    apart = ("kept",)  # where the files are that the first of several workers writes

    _loop: Loop = Hook.later()
    _state: TrainingState = Hook.later()
    _bound: CallbackModel = Hook.later()

    def __init__(
        self,
        callbacks: Callback | Sequence[Callback],
        *,
        model: keras.Model | None = None,
        optimizer: keras.optimizers.Optimizer | None = None,
        reports: Sequence[str] = (),
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.reports = reports if isinstance(reports, str) else [*reports]  # not a tuple, which would be tracked
        self.callbacks = [*each_of(callbacks)]
        for each in self.callbacks:
            if why := refused(each):
                raise (ValueError if isinstance(each, keras.callbacks.Callback) else TypeError)(why)
        self._given = checked(model, optimizer)  # not an attribute, which would be a part of the state
        self._states = states(self.callbacks)
        self._writes = Targets(place for callback in self.callbacks for place in places(callback))
        batches = {method: any(does(each, method) for each in self.callbacks) for method in OF_BATCHES}
        self._begins_batches = batches["on_train_batch_begin"]
        self.every = Every(steps=1) if any(batches.values()) else NEVER
        self._evaluating = False  # between `on_test_begin` and `on_test_end`; an abandoned one leaves it True
        self._behind = False  # whether batches have come since `kept` was written
        self._logs: dict[str, float] | None = None
        self._told = CallbackWarnings()
        self.kept = text_variable("kept")  # and bits, as `taken` returns them: it grows with the run
        self.stopped = text_variable("stopped")
        self._asked = Asked(self.stopped, {state.key: state.settings for state in self._states})
        self.evaluated = text_variable("evaluated")  # in this epoch: names, a list in JSON
        self.batch = tf.Variable(-1, dtype=tf.int64, trainable=False, name="batch")  # the step before the latest begun

    def handlers(self) -> dict[str, Callable[..., object]]:
        # Who listens to steps makes the loop halt at them, so what would do nothing is left out.
        unused: dict[str, bool] = {Event.STEP_END: self.every is NEVER, Event.SETTLED: not self._begins_batches}
        return {event: handler for event, handler in super().handlers().items() if not unused.get(event)}

    def functions_called(self) -> list[Callable[..., object]]:
        return [*(each for callback in self.callbacks for each in functions(callback)), *map(type, self.callbacks)]

    def before_dry_run(self, directory: str) -> None:
        """Leaves the callbacks out: nobody knows where they write to."""
        self.callbacks, self._states, self._writes = [], [], Targets()

    def on_setup(self, loop: Loop, moment: Moment) -> None:
        self._loop, self._state, self._bound = loop, loop.state, CallbackModel(loop, *self._given())
        check_alone(self, loop)
        self._evaluating, self._logs, self._behind = False, None, False
        loop.state.before_reading[self.name] = self._catch_up
        for callback in self.callbacks:
            watch(callback, loop)
        self._told.of_what_is_not_called(self._each())

    def reason_to_end(self) -> str:
        """Says why, if a callback has ended the run; not if it is made with other arguments now."""
        return "" if self._asked.waits else self._asked.reason

    def on_run_begin(self, moment: Moment) -> None:
        note(self, self._loop, begins=moment.step == 0)
        saved = parted(self.kept.numpy().tobytes())
        hooks = {f"/{hook.name}": hook for hook in self._loop.hooks}
        elsewhere = {**self._state.variables, **self._state.objects(object), **hooks}
        for state in self._states:
            state.note(elsewhere)
            state.begin_anew()
            self._loop.hooks.keep(state.variables())
        model = self._bound.lend()
        params = {"verbose": 1, "epochs": self._loop.total_epochs or 0, "steps": self._loop.steps_per_epoch}
        held = self._state.capture() if saved else None  # before `on_train_begin` assigns something anew
        for state, callback in self._each():
            callback.set_model(model)
            callback.set_params(dict(params))
            if self._is_called(callback):
                of = saved.get(state.key)  # None: a callback that is new in the program
                with going_on(callback, of.length) if of else contextlib.nullcontext():
                    callback.on_train_begin({})
        for state in self._states:
            state.note_begun()
        if held is not None:
            self._state.rollback(held)  # this run has begun before
            self._begin_epochs(saved, lambda: self._state.rollback(held))
        self._told.of_what_is_lost(self._put_back(saved), self._each())
        self._keep()
        if self._asked.reason and (self._asked.waits or self._state.position.is_pending):
            self._bound.ask_to_stop()  # after what is still to be done
        elif self._asked.reason:
            moment.stop(self._asked.reason)
        else:
            self._stop_if_asked(moment)
            if moment.step_in_epoch and not self._state.position.is_pending:
                self._begin_batch(moment, waits=True)

    def _begin_epochs(self, saved: Mapping[str, SavedCallback], put_back: Callable[[], None]) -> None:
        """Has callbacks make again what they hold since the beginning of an epoch, and nothing else could make."""
        for state, callback in self._each():
            if (of := saved.get(state.key)) and self._is_called(callback):
                for epoch in of.epochs:
                    state.put_back(of.kept, iter(of.parts))
                    with state.epoch_begins(epoch):
                        callback.on_epoch_begin(epoch, {})
                    put_back()

    def on_epoch_begin(self, moment: Moment) -> None:
        self._call("on_epoch_begin", moment, moment.epoch)
        self._begin_batch(moment)

    def on_step_end(self, moment: Moment) -> None:
        logs = without(moment.logs, self._loop.rate_names)
        self._call("on_train_batch_end", moment, moment.step_in_epoch - 1, logs=logs)
        self._stop_if_asked(moment)  # as may have been done before the step

    def on_eval_begin(self, moment: Moment) -> None:
        self._evaluating = True
        self._call("on_test_begin", moment)

    def on_eval_end(self, moment: Moment) -> None:
        self._evaluating = False
        self._set_evaluated({*self._in_this_epoch(), *moment.logs})
        first = next(iter(self._loop.evaluation_names))
        found = [name for name in self._loop.evaluation_names[first] if name in moment.logs]
        self._call("on_test_end", moment, logs={name.removeprefix(f"{first}_"): moment.logs[name] for name in found})

    def on_epoch_end(self, moment: Moment) -> None:
        older = {name for names in self._loop.evaluation_names.values() for name in names} - {*self._in_this_epoch()}
        self._logs = without(moment.logs, {*self._loop.rate_names, *older})
        self._set_evaluated(())
        logs = {**self._logs}  # one dict for all of them, as in `fit`: some add values for those after them
        self._call("on_epoch_end", moment, moment.epoch - 1, logs=logs)
        added = logs.keys() - self._logs.keys() - {*self.reports, *moment.logs, "learning_rate"}
        self._told.of_what_is_added({name: logs[name] for name in added}, self.reports)
        moment.report(**{name: logs[name] for name in self.reports if name in logs})

    def _in_this_epoch(self) -> list[str]:
        return json.loads(text_in(self.evaluated) or "[]")

    def _set_evaluated(self, names: Collection[str]) -> None:
        self.evaluated.assign(in_bytes(json.dumps(sorted(names))))

    def on_settled(self, moment: Moment) -> None:
        if moment.step_in_epoch and not moment.last and not self._evaluating:
            self._begin_batch(moment, waits=True)

    def on_run_end(self, moment: Moment) -> None:
        try:
            if moment.error is None:
                self._end(moment)
            else:
                self._catch_up()
                for state in self._states:
                    state.take()  # what has changed, and is to be undone if this process goes on from a checkpoint
        finally:
            self._behind = False
            self._bound.take_back()

    def _last_logs(self, moment: Moment) -> dict[str, float]:
        """Returns what `fit` has at its end: the values of the epoch that was the last, also of one that is cut."""
        if self._logs is not None and not moment.step_in_epoch:
            return self._logs
        logs, found = self._state.logs(), self._loop.evaluation_names.values()
        evaluated = {name for names in found for name in names} if moment.step_in_epoch else set[str]()
        return without(logs, evaluated - {*self._in_this_epoch()})

    def _end(self, moment: Moment) -> None:
        """Tells the callbacks, and lets what they change of the state be seen without being a part of the training."""
        if self._evaluating:  # which was abandoned, and will be done again
            self._put_back(parted(self.kept.numpy().tobytes()))
        before, logs = self._state.capture(), self._last_logs(moment)
        self._behind = False  # what is done now is kept by nobody
        for callback in filter(self._is_called, self.callbacks):
            callback.on_train_end(logs)
        after = self._state.capture().values
        if changed := {path: value for path, value in after.items() if _differ(value, before.values[path])}:
            self._state.rollback(before)
            self._state.override(changed)

    def _begin_batch(self, moment: Moment, *, waits: bool = False) -> None:
        if self._begins_batches and int(self.batch) != moment.step:  # once, if a run stops after it
            put(self.batch, moment.step)
            self._call("on_train_batch_begin", moment, moment.step_in_epoch, waits=waits)

    def _call(
        self, method: str, moment: Moment, *counts: int, logs: dict[str, float] | None = None, waits: bool = False
    ) -> None:
        """Calls a method of each callback with the same logs, to which they may add, and keeps what they keep."""
        of_batch, begins = method in OF_BATCHES, method == "on_epoch_begin"
        logs = {} if logs is None else logs
        for state, callback in self._each():
            if self._is_called(callback) and (not of_batch or does(callback, method)):
                with state.epoch_begins(*counts) if begins else contextlib.nullcontext():
                    getattr(callback, method)(*counts, logs)
                self._told.of_what_is_unread(state.key, self._bound.check(state.key))
                self._stop_if_asked(moment, state, waits=waits)
        # A list of all losses takes longer with each batch: of batches, what is kept is written when it is wanted.
        self._behind = of_batch
        if not of_batch:
            self._keep()

    def _is_called(self, callback: Callback) -> bool:
        """Returns whether a callback is called: of several workers, in the first one alone if all it does is write."""
        return self._loop.workers.is_chief or not isinstance(callback, WRITING)

    def _stop_if_asked(self, moment: Moment, by: CallbackState | None = None, *, waits: bool = False) -> None:
        """Ends the run, and the epoch, if a callback asks for it; if it waits, after the step that has begun."""
        if self._bound.asks_to_stop():
            if by:
                self._asked.by(by.key, waits=waits)
            if not waits:
                self._asked.waits_no_more()
                moment.stop(self._asked.reason or "a callback has set model.stop_training", end_epoch=True)

    def _each(self) -> list[tuple[CallbackState, Callback]]:
        return [*zip(self._states, self.callbacks, strict=True)]

    def _catch_up(self) -> None:
        if self._behind:  # also after it was, as a state may be put back in between
            self._keep()

    def _keep(self) -> None:
        """Writes what the callbacks keep into the state; tells of what cannot be saved."""
        kept = taken(self._states, [length(callback) for callback in self.callbacks])
        if kept != self.kept.numpy().tobytes():
            self.kept.assign(np.frombuffer(kept, np.uint8))  # also what is saved with the next checkpoint
        for state, callback in self._each():
            self._told.of_writers(state.key, callback)
            self._told.of_what_would_be_lost({state.key: state.lost})

    def _put_back(self, saved: Mapping[str, SavedCallback]) -> dict[str, dict[str, str]]:
        """Gives the callbacks what was saved; returns what is missing of each then."""
        there = ((state, saved[state.key]) for state in self._states if state.key in saved)
        return {state.key: {**of.lost, **state.put_back(of.kept, iter(of.parts))} for state, of in there}


def _differ(one: tf.Tensor, other: tf.Tensor) -> bool:
    return one is not other and digest(one) != digest(other)
