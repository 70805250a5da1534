"""Values, pictures and texts for TensorBoard, each step once, whatever happens to the run."""

import collections
import contextlib
import logging
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from hooks.board.drawings import Drawings, beginning, check_settings, ending
from hooks.board.event_file import EventFile
from hooks.board.recorded import Recorders
from hooks.board.summaries import Array, Value, histogram, picture, text
from hooks.shared.in_time import InTime, of_steps, without_halts
from hooks.shared.paths import is_remote, path_of
from hooks.shared.places import Target, check_alone, note
from loop import Every, Hook, Loop, Moment, Trigger
from loop.tf_internals import writers_of_others

log = logging.getLogger("exactloop")
UNCUT = (
    "the train step writes tf.summary to a file of its own, which no resume cuts back: after a kill, points are "
    "missing there, or there twice. Write `with tensorboard.summaries():`, with this hook, in the place of `with "
    "writer.as_default():`."
)
INSTEAD = {
    **dict.fromkeys(("directory", "log_dir", "logdir", "save_dir"), "write TensorBoard(directory)"),
    **dict.fromkeys(("update_freq", "log_every_n_steps", "steps"), "write every=Every(steps=100)"),
    "histogram_freq": "write histograms=True, draw=Every(epochs=1)",
    **dict.fromkeys(("write_graph", "log_graph"), "write graph=True"),
    "profile_batch": "write Profile(directory, first=10, steps=11) for profile_batch=(10, 20)",
    **dict.fromkeys(
        ("write_images", "embeddings_freq"),
        "leave it out; of what you make, images={name: function} or tensorboard.image(name, images, moment) in a hook",
    ),
}


class TensorBoard(Hook, instead=INSTEAD):
    """Writes the values of train steps, epoch means and evaluations to event files.

    Under `directory` there is a run `train` with the values after the steps of `every` (`loss`) and the epoch means
    (`epoch_loss`), and a run for each evaluation, such as `val`, with its results under the names without the prefix
    (`loss`), so that the curves come to lie in one chart, and once more as `epoch_loss` where an epoch ends. What hooks
    report is in the run whose name it begins with, such as `fid` of `val_fid`, or else in `train`. All have the true
    number of train steps. What was written is in the file before the state of that step can be saved; points after a
    restored step are cut out of the files.

    Values that steps return are written some at a time, at the latest after a second, and no step has to wait for that;
    of a run that an exception ends, those of the last second may be missing. For the running results of train metrics,
    and for other triggers than steps, the compiled loop halts each time.

    The format of these files has float32 values: 124,505,365 is drawn as 124,505,368. What is wider is as it is in
    `moment.logs` and in checkpoints.

    Hooks of your own write through `image`, `text` and `histogram`, which are cut and continued as well.

    Values that cannot be written, because the disk is full, say, are written as soon as there is room again, as far as
    memory holds them: the latest 10,000 points of each of these runs. At the end, what is missing is logged.

    Args:
        directory: Point TensorBoard here: `tensorboard --logdir <directory>`.
        every: The steps of which train values are written.
        images: Functions of the moment that return pictures, by name, called after the epochs of `draw`; see `image`.
        text: The same of texts.
        histograms: The same of values of any shape, or True: of all weights in `state=`.
        draw: After which epochs; in epochs alone.
        graph: Whether to write the train step as it was traced, some MB for a large network.
        rate: Whether to write how many steps were made in a second, and of how many examples, without evaluations, for
            each epoch. All else that is written is the same whatever happens to the run.
        hparams: Hyperparameters of the run, for their dashboard.
        name: The name of the hook.
        on_error: What becomes of the run if something cannot be written; see `Hook`.
    """

    on_error = "warn"
    everywhere = False
    _train_names: tuple[str, ...] = Hook.later()
    _evaluations: dict[str, tuple[str, ...]] = Hook.later()
    _runs: "dict[str, EventFile]" = Hook.later()
    _loop: Loop = Hook.later()
    _began: tuple[int, int, float] = Hook.later()  # where rates are measured from: step, examples, seconds of steps
    _found: dict[str, dict[str, float]] = Hook.later()  # in this round, by evaluation

    def __init__(
        self,
        directory: str | os.PathLike[str],
        every: Trigger = Every(steps=100),
        *,
        images: Mapping[str, Callable[[Moment], Array]] | None = None,
        text: Mapping[str, Callable[[Moment], str]] | None = None,
        histograms: Mapping[str, Callable[[Moment], Array]] | bool = False,
        draw: Trigger = Every(epochs=1),
        graph: bool = False,
        rate: bool = False,
        hparams: Mapping[str, bool | int | float | str] | None = None,
        name: str | None = None,
        on_error: Literal["raise", "warn", "disable"] | None = None,
    ) -> None:
        super().__init__(name=name, on_error=on_error)
        self.every = every
        if is_remote(where := path_of(directory)):
            raise ValueError(f"TensorBoard(directory=...) has to be a path here. Received: {directory!r}.")
        # Nothing is made there before `RUN_BEGIN`.
        self._directory, self._writes = Path(where), Target(where, "directory")
        empty: dict[str, Callable[[Moment], Array]] = {}
        drawings = Drawings(empty if images is None else images, {} if text is None else text, histograms, draw)
        drawings.check()
        self._drawings = drawings
        self._shows_rate, self._taken = rate, False
        self._recorders = Recorders()
        self._graph, self._hparams = graph, check_settings({} if hparams is None else hparams)

    @contextlib.contextmanager
    def summaries(self, run: str = "train") -> Iterator[None]:
        """Makes `tf.summary.scalar`, `image`, `histogram`, `text` write through this hook, in its files.

        In a train step, an evaluation step, or a hook, with the number of the train step: what is written is cut and
        continued as all the rest. Each step that is trained writes; to write less often, `tf.summary.record_if`.

            tensorboard = TensorBoard("runs/digits/tensorboard")

            def train_step(batch):
                ...
                with tensorboard.summaries():
                    tf.summary.histogram("gradients", gradients[0])

        Args:
            run: `train`, or an evaluation.

        Raises:
            RuntimeError: If it is called neither in a step nor while a run is under way.
        """
        number = self.step_number()
        if number is None and not self._runs:
            raise RuntimeError("TensorBoard.summaries() is for steps, and for hooks while a run is under way.")
        with self._recorders.of(run).writer.as_default(self._loop.step if number is None else number):
            yield

    def before_dry_run(self, directory: str) -> None:
        self._directory = Path(directory) / self.name
        self._writes = Target(str(self._directory), "directory")

    def on_setup(self, loop: Loop, moment: Moment) -> None:
        check_alone(self, loop)
        if os.path.isfile(self._directory):  # which raises nothing
            raise NotADirectoryError(f"TensorBoard needs a directory. Received: {str(self._directory)!r}, a file.")
        self._loop, self._train_names, self._evaluations = loop, loop.train_names, loop.evaluation_names
        for run in self._recorders.runs:  # of `summaries(run)` in steps, which are traced by now
            _check_run(run, ("train", *self._evaluations))
        self.every = without_halts(self.every, loop)
        self._runs, self._taken = {}, False
        self._found = {}

    def on_run_begin(self, moment: Moment) -> None:
        note(self, self._loop, begins=moment.step == 0)
        # Cuts what comes after the restored step, when it is first flushed.
        self._runs = {run: EventFile(self._directory / run, moment.step) for run in ("train", *self._evaluations)}
        examples = self._loop.examples if moment.step_in_epoch and not self._loop.finished else 0
        self._began = moment.step, examples, self._loop.spent.get("steps", 0.0)
        if moment.step == 0:  # or it is there already
            self._runs["train"].add(0, beginning(self._loop, self._hparams))
            if self._graph:
                self._runs["train"].add(0, self._loop.graph.as_graph_def().SerializeToString())
        if not self._loop.finished and writers_of_others(self._loop.graph, self._recorders.writers):
            log.warning("%s: %s", self.name, UNCUT)
        collections.deque(self._recorders.new(), maxlen=0)  # of what was tried, or taken back
        self._flush()

    def on_steps(self, first_step: int, values: Mapping[str, np.ndarray]) -> None:
        if isinstance(self.every, InTime):
            # Each call hands out all of its steps; those that are wanted are picked here, without a halt.
            for step, said in of_steps(self.every, first_step, values):
                self._runs["train"].add(step, said)
            self._runs["train"].flush()

    def on_step_end(self, moment: Moment) -> None:
        if not isinstance(self.every, InTime):
            self._runs["train"].write(moment.step, moment.logs)

    def on_eval_end(self, moment: Moment) -> None:
        for run, names in self._evaluations.items():
            if found := {name.removeprefix(f"{run}_"): moment.logs[name] for name in names if name in moment.logs}:
                self._found[run] = found
                self._runs[run].write(moment.step, found)

    def on_epoch_end(self, moment: Moment) -> None:
        train = self._runs["train"]
        train.add(
            moment.step, {f"epoch_{name}": moment.logs[name] for name in self._train_names} | self._rates(moment.step)
        )
        for run, found in self._found.items():  # of this very step
            self._runs[run].add(moment.step, {f"epoch_{name}": value for name, value in found.items()})
            if self._hparams:  # whose dashboard looks for the metrics of a run in the run itself
                train.add(moment.step, {f"hparams/{run}_{name}": value for name, value in found.items()})
        # Also if a picture cannot be made: what is measured is written first.
        try:
            if drawn := self._drawings.made(moment, self._loop):
                train.add(moment.step, drawn)
        finally:
            self._flush()

    def _rates(self, step: int) -> dict[str, float]:
        """Returns how fast the steps of an epoch, or of what this run has done of it, were: without evaluations."""
        (began, examples, before), seconds = self._began, self._loop.spent.get("steps", 0.0)
        self._began = step, 0, seconds  # of the next epoch
        if not self._shows_rate or seconds <= before:
            return {}
        speed = 1 / (seconds - before)
        done = self._loop.examples - examples
        return {"steps_per_second": speed * (step - began), "examples_per_second": speed * done}

    def _flush(self) -> None:
        with contextlib.ExitStack() as flushing:  # all of them, whatever is the matter with one
            for file in self._runs.values():
                flushing.callback(file.flush)

    def on_report(self, moment: Moment) -> None:
        for name, value in moment.logs.items():
            # The longest, as in `val` and `val_hard`, of which one name begins with the other.
            run = max((run for run in self._evaluations if name.startswith(f"{run}_")), key=len, default="train")
            self._runs[run].write(moment.step, {name.removeprefix(f"{run}_"): value})

    def image(self, name: str, images: Array, moment: Moment, *, run: str = "train", most: int = 16) -> None:
        """Writes pictures; to be called by a hook, or a function of `loop.on`, with its moment.

        Args:
            name: What they are called.
            images: `[height, width]`, `[height, width, channels]` or `[n, height, width, channels]`, of 1, 3 or 4
                channels; uint8, or floats in 0..1.
            moment: The moment.
            run: `train`, or an evaluation.
            most: How many of n to write.

        Raises:
            ValueError: If they are of another shape, or there is no such run.
            RuntimeError: If no run is under way.
        """
        self._take(run, moment, {name: picture(name, images, most)})

    def text(self, name: str, markdown: str, moment: Moment, *, run: str = "train") -> None:
        """Writes a text, in Markdown; see `image`."""
        self._take(run, moment, {name: text(name, markdown)})

    def histogram(self, name: str, values: Array, moment: Moment, *, run: str = "train") -> None:
        """Writes how values of any shape are distributed; see `image`."""
        self._take(run, moment, {name: histogram(name, values)})

    def _take(self, run: str, moment: Moment, values: Mapping[str, Value]) -> None:
        if not self._runs:
            raise RuntimeError("TensorBoard writes while a run is under way: call this in a hook, from RUN_BEGIN on.")
        _check_run(run, self._runs)
        self._runs[run].add(moment.step, values)
        self._taken = True

    def _take_recorded(self, now: int) -> None:
        for run, step, value in self._recorders.new():
            self._runs[run].add(min(step, now), {value.tag: value})  # an evaluation is before the next step
            self._taken = True

    def on_settled(self, moment: Moment) -> None:
        self._take_recorded(moment.step)
        if self._taken:  # before this step can be saved
            self._taken = False
            self._flush()
        self._found = {}

    def on_run_end(self, moment: Moment) -> None:
        if self._runs:
            self._take_recorded(moment.step)
        with contextlib.ExitStack() as closing:  # all of them, whatever is the matter with one
            if self._hparams and self._runs and moment.error is None and self._loop.finished:
                self._runs["train"].add(moment.step, ending())
            for file in self._runs.values():
                closing.callback(file.close)
            self._runs = {}


def _check_run(run: str, runs: Collection[str]) -> None:
    if run not in runs:
        raise ValueError(f"TensorBoard has the runs {', '.join(map(repr, runs))}. Received: run={run!r}.")
