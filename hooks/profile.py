"""A trace of some steps for TensorBoard's profiler."""

import operator
import os
from typing import Literal

import tensorflow as tf

from hooks.shared.paths import path_of
from loop import At, Hook, Moment

INSTEAD = {
    **dict.fromkeys(("log_dir", "logdir", "dirpath"), "write Profile(directory)"),
    "profile_batch": "write first=10, steps=11 for profile_batch=(10, 20)",
    **dict.fromkeys(("last", "stop", "end"), "write steps=..., which is how many"),
}


class Profile(Hook, instead=INSTEAD):
    """Traces some steps with TensorFlow's profiler, from the end of the step before them to the end of the last.

    The trace goes to `<directory>/plugins/profile`. Its tab in TensorBoard comes with `pip install
    tensorboard-plugin-profile`; `*.xplane.pb` can also be read by Perfetto and XProf. Nothing in the training changes.
    A run that ends earlier, or resumes behind the first of these steps, traces less, or nothing.

    Args:
        directory: Where TensorBoard looks.
        first: The first step to trace, counted from 1; not 1 itself if the time of starting is not what you look for.
        steps: How many.
        name: The name of the hook.
        on_error: What becomes of the run if the profiler fails, for lack of space, say; see `Hook`.

    Raises:
        ValueError: If `first` or `steps` is not positive.
    """

    on_error = "warn"
    everywhere = False

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        first: int = 101,
        steps: int = 10,
        name: str | None = None,
        on_error: Literal["raise", "warn", "disable"] | None = None,
    ) -> None:
        super().__init__(name=name, on_error=on_error)
        first, steps = operator.index(first), operator.index(steps)  # NumPy's integers too, and no floats
        if first < 1 or steps < 1:
            raise ValueError(f"Profile needs first >= 1 and steps >= 1. Received: first={first}, steps={steps}.")
        self._directory = path_of(directory)
        self._begin, self._end = first - 1, first - 1 + steps
        # The loop halts at these two steps alone, so the steps between run as they always do.
        self.every = At(*(step for step in (self._begin, self._end) if step))
        self._tracing = False

    def before_dry_run(self, directory: str) -> None:
        self._directory = os.path.join(directory, self.name)

    def on_run_begin(self, moment: Moment) -> None:
        self._look(moment)

    def on_step_end(self, moment: Moment) -> None:
        self._look(moment)

    def on_run_end(self, moment: Moment) -> None:
        self._stop()

    def _look(self, moment: Moment) -> None:
        if moment.step == self._begin:  # also at `RUN_BEGIN`, of a run that goes on right there
            tf.profiler.experimental.start(os.fsencode(self._directory))  # which may be no UTF-8
            self._tracing = True
        elif moment.step == self._end:
            self._stop()

    def _stop(self) -> None:
        if self._tracing:
            self._tracing = False  # first: one that cannot be written is not tried again
            tf.profiler.experimental.stop()
