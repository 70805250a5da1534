"""What hooks have in common that keep a log of values: rows of steps, evaluations and epochs."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from hooks.shared.in_time import InTime, of_steps, without_halts
from hooks.shared.paths import is_remote, path_of
from hooks.shared.places import Target, check_alone, note
from hooks.shared.row_file import RowFile
from hooks.shared.row_format import EPOCH, EVALUATION, KINDS, STEP, Row, format_of
from loop import Hook, Loop, Moment, Trigger

KIND_OF = {"step_end": STEP, "eval_end": EVALUATION, "epoch_end": EPOCH}


class RowHook(Hook):
    """Gathers the rows of a round, and writes them before its step can be saved.

    Abstract.

    Args:
        path: The file.
        every: The steps that have a row.
        name: The name of the hook.
        on_error: See `Hook`.
    """

    on_error = "warn"
    everywhere = False
    _file: RowFile = Hook.later()
    _evaluated: frozenset[str] = Hook.later()
    _trained: frozenset[str] = Hook.later()
    _epoch: int = Hook.later()
    _names: tuple[str, ...] = Hook.later()
    _loop: Loop = Hook.later()

    def __init__(
        self,
        path: str | os.PathLike[str],
        every: Trigger,
        *,
        name: str | None,
        on_error: Literal["raise", "warn", "disable"] | None,
    ) -> None:
        super().__init__(name=name, on_error=on_error)
        if is_remote(where := path_of(path)):
            raise ValueError(f"{type(self).__name__} needs a path here. Received: {path!r}.")
        self.every, self._path, self._writes = every, Path(where), Target(where, "file")
        format_of(self._path)  # raises now what would be raised when a run begins
        self._steps: list[Row] = []  # of this round
        self._others: dict[str, dict[str, float]] = {}  # of this round: the values, by the kind of the row
        self._open = False  # whether there is a file: a run may end before it begins

    def before_dry_run(self, directory: str) -> None:
        self._path = Path(directory) / self.name / self._path.name
        self._writes = Target(str(self._path), "file")

    def on_setup(self, loop: Loop, moment: Moment) -> None:
        self._evaluated = frozenset(name for names in loop.evaluation_names.values() for name in names)
        self._trained = frozenset(loop.train_names)
        # In this order they are the columns; what is met later is added behind.
        self._names = (*loop.train_names, *sorted(self._evaluated), *loop.reported_names)
        self._loop = loop
        check_alone(self, loop)
        # Before anything is trained or written: a file of somebody else's is refused, not overwritten.
        RowFile(self._path, 0, ()).check()
        self.every = without_halts(self.every, loop)
        self._steps, self._others, self._open = [], {}, False

    def on_run_begin(self, moment: Moment) -> None:
        note(self, self._loop, begins=moment.step == 0)
        self._file, self._epoch, self._open = RowFile(self._path, moment.step, self._names), moment.epoch + 1, True
        self._file.flush()

    def on_steps(self, first_step: int, values: Mapping[str, np.ndarray]) -> None:
        self._steps += [Row(STEP, step, self._epoch, said) for step, said in of_steps(self.every, first_step, values)]

    def on_step_end(self, moment: Moment) -> None:
        if not isinstance(self.every, InTime):
            self._take(STEP, moment.logs)

    # What was reported at the end of the step is no longer in `logs` if the run was stopped in between, so each row has
    # what was measured in its own event. What was reported in that is added by `on_report`.
    def on_eval_end(self, moment: Moment) -> None:
        self._take(EVALUATION, {name: value for name, value in moment.logs.items() if name in self._evaluated})

    def on_epoch_end(self, moment: Moment) -> None:
        new = self._trained | self._others.get(EVALUATION, {}).keys()  # not results of an earlier step
        self._take(EPOCH, {name: value for name, value in moment.logs.items() if name in new})

    def on_report(self, moment: Moment) -> None:
        if kind := KIND_OF.get(moment.event):
            self._take(kind, moment.logs)

    def on_settled(self, moment: Moment) -> None:
        self._gather(moment.step)
        # Before anybody saves: a checkpoint's step has its rows, or a resume could not know that they are missing.
        self._file.flush()
        self._epoch = moment.epoch + 1

    def on_run_end(self, moment: Moment) -> None:
        if self._open:
            self._open = False
            self._gather(moment.step)  # of a round that was not settled, too; if it is done again, it comes again
            self._file.close()

    def _take(self, kind: str, values: Mapping[str, float]) -> None:
        self._others[kind] = {**self._others.get(kind, {}), **values}

    def _gather(self, step: int) -> None:
        """Puts what the round has brought into the order of the file."""
        of_step = self._others.pop(STEP, None)
        # What the step returned came by `on_steps`, what is reported at its end by `on_report`: one row.
        if of_step and self._steps and self._steps[-1].step == step:
            self._steps[-1] = self._steps[-1]._replace(values={**self._steps[-1].values, **of_step})
        elif of_step:
            self._steps.append(Row(STEP, step, self._epoch, of_step))
        for row in self._steps:
            self._file.add(row)
        for kind in KINDS:
            if kind in self._others:
                self._file.add(Row(kind, step, self._epoch, self._others[kind]))
        self._steps, self._others = [], {}
