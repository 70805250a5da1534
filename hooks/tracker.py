"""Values for an experiment tracker, each step once, whatever happens to the run."""

import contextlib
import inspect
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from hooks.shared.paths import path_of, real_path
from hooks.shared.row_format import EPOCH, Row
from hooks.shared.row_hook import RowHook
from loop import Every, Hook, Loop, Moment, Trigger

log = logging.getLogger("exactloop")
COMMITTED = "committed"  # the event that Checkpoint sends
OF_SENT = 20  # characters in the note of what was sent
RUN = "Write Tracker(run, 'run.jsonl'), with run of wandb.init() or trackio.init(), or with mlflow.log_metrics"
INSTEAD = {
    **dict.fromkeys(("run", "logger", "project", "experiment_name", "tracking_uri"), RUN),
    **dict.fromkeys(("path", "directory", "save_dir", "log_dir"), "write Tracker(run, 'run.jsonl')"),
    **dict.fromkeys(("log_every_n_steps", "steps", "log_freq"), "write every=Every(steps=100)"),
}


@runtime_checkable
class TrackerRun(Protocol):
    """What a run of a tracker can do, under the name of `log`."""

    def log(self, values: dict[str, float], *, step: int) -> object:
        """Takes the values of a step."""
        ...


class Tracker(RowHook, instead=INSTEAD):
    """Sends the values of train steps, evaluations and epochs to wandb, MLflow, Trackio, Comet, or a function.

    The values of a step are sent when a checkpoint of that step, or of a later one, is complete, in the loop's thread;
    all of a step in one call. What a killed run has done after its latest checkpoint is so never sent twice, and each
    curve has each step once. Without a `Checkpoint`, values are sent at once, and a run that is started again begins
    anew.

    Until then, and for good, the values are in a file of their own, a `MetricsLog`. Beside it, in a file that ends in
    `.sent`, there is the last step that was sent. What could not be sent, for want of a network, say, is sent when the
    next checkpoint is complete, or when the script is started again, if it is given the same run of the tracker:

        run = wandb.init(id="digits", resume="allow")
        Tracker(run, "runs/digits/metrics.jsonl")

        mlflow.start_run(run_id=...)
        Tracker(mlflow.log_metrics, "runs/digits/metrics.jsonl")

        run = trackio.init("digits", name="first", resume="allow")
        Tracker(run, "runs/digits/metrics.jsonl")

        experiment = comet_ml.start(experiment_key=...)
        Tracker(experiment.log_metrics, "runs/digits/metrics.jsonl")

    The means of an epoch are called `epoch_loss`, since values of the last step have their name at the same step.

    A tracker that has stored what it was given when `log` returns, as MLflow has, misses no step, and has at most one
    twice: if a kill came between that and the note of it. With `latest=` not even that one. Trackio, and wandb offline,
    keep for a while in memory what they are given, and a kill loses it: there, `latest=` says what is to be sent again.

    Example:
        >>> import os, tempfile, tensorflow as tf
        >>> from hooks import Checkpoint, Tracker
        >>> from loop import ArrayData, Every, Loop
        >>> weight, directory = tf.Variable(8.0), tempfile.mkdtemp()
        >>> def train_step(x):
        ...     return {"loss": weight.assign_sub(1.0)}
        >>> def send(values, step):
        ...     print(step, values)
        >>> tracker = Tracker(send, os.path.join(directory, "metrics.jsonl"), Every(steps=2))
        >>> data = ArrayData(tf.range(8.0), batch_size=2)
        >>> hooks = [tracker, Checkpoint(directory)]
        >>> result = Loop(train_step, data, state={"weight": weight}, hooks=hooks).run(epochs=1)
        2 {'loss': 6.0}
        4 {'loss': 4.0, 'epoch_loss': 5.5}

    Args:
        run: What has `log(values, step=...)`, such as a run of wandb or Trackio; or a function that is called so.
        path: The file with the values. Its name ends in `.jsonl`.
        every: The steps of which train values are sent.
        latest: Returns the latest step of which the tracker has values; None: of none. Asked when a run begins.
        name: The name of the hook.
        on_error: What becomes of the run if something cannot be sent, or written; see `Hook`.

    Raises:
        TypeError: If `run` has no `log`, and cannot be called.
        ValueError: If the name of the file ends otherwise; when a run begins, if it is there and no log of values.
    """

    events = (COMMITTED,)
    _pending: Callable[[], bool] = Hook.later()
    _at_once: bool = Hook.later()
    _sent: int = Hook.later()
    _place: int = Hook.later()  # in the file, up to which it was read
    _due: int = Hook.later()  # the last step that may be sent

    def __init__(
        self,
        run: TrackerRun | Callable[..., object],
        path: str | os.PathLike[str],
        every: Trigger = Every(steps=100),
        *,
        latest: Callable[[], int | None] | None = None,
        name: str | None = None,
        on_error: Literal["raise", "warn", "disable"] | None = None,
    ) -> None:
        super().__init__(path, every, name=name, on_error=on_error)
        if self._path.suffix.lower() != ".jsonl":
            raise ValueError(f"Tracker(run, path) needs a path that ends in .jsonl. Received: {path!r}.")
        if isinstance(run, type) or not (isinstance(run, TrackerRun) or callable(run)):
            received = f"the class {run.__name__}" if isinstance(run, type) else type(run).__name__
            raise TypeError(f"Tracker(run, path) needs a run with log(values, step=...). Received: {received}. {RUN}.")
        self._log = run.log if isinstance(run, TrackerRun) else run
        try:
            inspect.signature(self._log).bind({}, step=0)
        except TypeError as error:
            raise TypeError(
                f"Tracker(run, path) calls log(values, step=...), and what it was given takes something else: {error}. "
                "Write a function: def log(values, step): ..."
            ) from None
        except ValueError:
            pass  # of a builtin, nobody knows
        self._latest = latest
        # Nothing is sent then: a proof trains the same steps again and again.
        self._silent = path_of(path) != real_path(path)  # while a script is proved

    def before_dry_run(self, directory: str) -> None:
        super().before_dry_run(directory)
        self._silent = True

    def on_setup(self, loop: Loop, moment: Moment) -> None:
        super().on_setup(loop, moment)
        self._pending = lambda: loop.state.position.is_pending
        self._at_once = not any(hook.saves and COMMITTED in hook.events for hook in loop.hooks)
        # Of the file, which is read anew from its beginning: the resume may have cut it.
        self._place = self._sent = self._due = 0

    def on_run_begin(self, moment: Moment) -> None:
        super().on_run_begin(moment)
        self._sent = self._noted() if self._latest is None else self._latest() or 0
        if moment.step == 0:
            if self._latest is None:
                self._note(0)  # a training that begins anew
            elif self._sent:
                log.warning("%s: the run has values up to step %d, which are not sent again.", self.name, self._sent)
        self._send(moment.step)

    def on_settled(self, moment: Moment) -> None:
        super().on_settled(moment)
        if self._at_once:
            self._send(moment.step)

    def on_committed(self, moment: Moment) -> None:
        """Called when a checkpoint is complete, whose step is in `moment.logs`."""
        self._send(int(moment.logs["step"]), now=moment.step)

    def on_run_end(self, moment: Moment) -> None:
        super().on_run_end(moment)
        unsent = [step for step, _, _ in self._steps_from(self._place, self._due) if step > self._sent]
        if unsent and not self._silent:
            log.warning("Values of steps %d to %d were not sent. They are when the script is started again.",
                        unsent[0], unsent[-1])  # fmt: skip

    def _send(self, step: int, now: int | None = None) -> None:
        """Sends what is in the file up to a step, and was not sent."""
        if self._silent:
            return
        if step == (step if now is None else now) and self._pending():
            step -= 1  # more of it will come when the run goes on
        self._due = step
        for of_step, values, end in self._steps_from(self._place, step):
            # In the order of steps, one call each; the note after it, so a kill in between sends it twice.
            if of_step > self._sent:
                self._log(values, step=of_step)
                self._note(of_step)
            self._place = end

    def _steps_from(self, start: int, last: int) -> Iterator[tuple[int, dict[str, float], int]]:
        """Yields steps up to the last one, with their values, and where in the file they end."""
        step, values, place_of_end = 0, dict[str, float](), start
        for end, row in self._file.rows(start) if last else ():
            if row.step > last:
                break
            if row.step != step and values:
                yield step, values, place_of_end
                values = {}
            step, place_of_end = row.step, end
            values |= self._named(row)
        if values:
            yield step, values, place_of_end

    def _named(self, row: Row) -> Mapping[str, float]:
        means = self._trained if row.kind == EPOCH else frozenset[str]()
        return {f"epoch_{name}" if name in means else name: value for name, value in row.values.items()}

    @property
    def _note_path(self) -> Path:
        return self._path.with_name(f"{self._path.name}.sent")

    def _noted(self) -> int:
        with contextlib.suppress(FileNotFoundError, ValueError):
            return int(self._note_path.read_text())
        return 0

    def _note(self, step: int) -> None:
        """Notes the last step that was sent: in one write, which a kill does not tear."""
        self._sent = step
        if self._note_path.exists() and self._note_path.stat().st_nlink > 1:  # in a copy (`cp -al`), not to change
            temporary = self._note_path.with_name(f".{self._note_path.name}.tmp")
            shutil.copy(self._note_path, temporary)
            temporary.replace(self._note_path)
        note = os.open(self._note_path, os.O_WRONLY | os.O_CREAT, 0o666)
        try:
            os.pwrite(note, f"{step:>{OF_SENT - 1}}\n".encode(), 0)
        finally:
            os.close(note)
