"""Where a run stands, and what is still to be done there."""

from typing import NamedTuple

import tensorflow as tf

from loop.digest import BatchDigest
from loop.tensors import read, write
from loop.tf_internals import read_variables


class Position(NamedTuple):
    """Train steps completed, epochs completed, and train steps completed in the current epoch."""

    step: int
    epoch: int
    step_in_epoch: int


class Phase:
    """What is still to be done at a place, to be looked at in each round without reading a variable.

    Of its own, because a `tf.Module` looks into whatever is set on it, which takes 10 us.

    Attributes:
        is_due: Whether an evaluation is.
        is_over: Whether the end of an epoch is still to be told.
        torn: See `PositionState`.
    """

    def __init__(self) -> None:
        self.is_due = self.is_over = self.torn = False
        self._said = False, False  # what is in the variables

    def load(self, due: tf.Variable, over: tf.Variable) -> None:
        """Takes over what is in variables."""
        self.is_due, self.is_over = self._said = bool(read(due)), bool(read(over))

    def write(self, due: tf.Variable, over: tf.Variable) -> None:
        """Writes what has changed into these; mostly nothing."""
        for variable, then, now in zip((due, over), self._said, (self.is_due, self.is_over), strict=True):
            if now != then:
                write(variable, now)
        self._said = self.is_due, self.is_over


class PositionState(tf.Module):
    """The place in variables, and the phase of the event round that a stop may have cut short.

    The compiled loop counts `step` and `step_in_epoch` up itself, so they are right even where it fails.

    Attributes:
        phase: What is still to be done here; in `evaluation_due` and `epoch_over` as soon as the round is settled.
        seen: A digest of what has been read in the current pass over the data, if somebody wants to know.
        torn: Whether an exception in the course of a run may have left the state half-updated. Not saved.
        condemned: Why the state must not be saved or trained on, whole as it is; empty if it may. Not saved.
        latest: The last step that a restored state may be of; None: any. Not saved.
        untouched: Whether the state is as it was restored, because nothing was trained since. Not saved.
        ahead: Whether it is so, and is of a later run than the latest one, which had nothing left to do. Not saved.
    """

    def __init__(self) -> None:
        super().__init__(name="position")
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False, name="step")
        self.epoch = tf.Variable(0, dtype=tf.int64, trainable=False, name="epoch")
        self.step_in_epoch = tf.Variable(0, dtype=tf.int64, trainable=False, name="step_in_epoch")
        self.evaluation_due = tf.Variable(False, trainable=False, name="evaluation_due")
        self.epoch_over = tf.Variable(False, trainable=False, name="epoch_over")
        self.phase = Phase()
        self.seen: BatchDigest | None = None
        self.condemned = ""
        self.latest: int | None = None
        self.untouched = self.ahead = False

    @property
    def torn(self) -> bool:
        return self.phase.torn  # an exception, not a kill: the next process restores a checkpoint anyway

    @torn.setter
    def torn(self, torn: bool) -> None:
        self.phase.torn = torn

    def restored(self) -> None:
        """Takes in that the state is whole and as it was saved."""
        self.torn, self.condemned, self.latest, self.untouched = False, "", None, True

    def load(self) -> Position:
        """Takes over what has been restored, and returns the place."""
        self.phase.load(self.evaluation_due, self.epoch_over)
        return self.place()

    def place(self) -> Position:
        """Returns the place as integers."""
        return Position(*map(int, read_variables([self.step, self.epoch, self.step_in_epoch])))

    @property
    def is_pending(self) -> bool:
        """Whether anything is still to be done here."""
        return self.phase.is_due or self.phase.is_over

    def settle(self) -> None:
        """Takes into the state what is still to be done here, before anybody saves it."""
        self.phase.write(self.evaluation_due, self.epoch_over)

    def next_epoch(self, place: Position) -> Position:
        """Moves on from the end of an epoch to the beginning of the next one, and returns that place."""
        write(self.epoch, place.epoch + 1)
        write(self.step_in_epoch, 0)  # also the index of the batch, which the compiled loop counts
        self.phase.is_over = False
        return Position(place.step, place.epoch + 1, 0)
