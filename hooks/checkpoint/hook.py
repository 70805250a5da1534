"""Saves the whole training state, and takes a run up again where it was."""

import functools
import logging
import os
import weakref
from collections.abc import Callable, Sequence
from typing import Literal

from hooks.checkpoint.arguments import INSTEAD, check_best, check_counts
from hooks.checkpoint.best_metric import BestMetric
from hooks.checkpoint.commits.retention import Retention
from hooks.checkpoint.commits.store import Store
from hooks.checkpoint.disk.directory import open_files
from hooks.checkpoint.disk.errors import Differing
from hooks.checkpoint.disk.files import Files
from hooks.checkpoint.record.manifest import CorruptCheckpoint
from hooks.checkpoint.resuming.added import Added
from hooks.checkpoint.resuming.begin import begin
from hooks.checkpoint.resuming.saved import Newest, newest
from hooks.checkpoint.saving.bundle import Naming
from hooks.checkpoint.saving.contents import Contents
from hooks.checkpoint.saving.saver import Saver
from hooks.checkpoint.workers.followers import Followers
from hooks.shared.monitor import Monitor, MonitorHook
from hooks.shared.paths import path_of
from loop import NEVER, Every, Hook, Loop, Moment, TrainingState, Trigger

log = logging.getLogger("exactloop")
HELD: dict[str, "Checkpoint"] = {}  # who writes to a directory in this process, or was interrupted in letting go of it


class Checkpoint(MonitorHook, instead=INSTEAD):
    """Saves everything a resumed run needs, and restores it when a run begins.

    Saves after the steps of `every`, whenever the metric `best` is among the `keep_best` best so far, and when a run
    ends other than by an exception within a round. A save is complete when its manifest is there; it then survives
    SIGKILL and power failure. Checkpoints are TensorFlow's own, written through `tf.train.CheckpointManager`, so
    `tf.train.Checkpoint(model=model).restore(path)` reads them too.

    When one is complete, hooks hear the event `committed`, so that they can copy it elsewhere, say: in the loop's
    thread, when the next round is settled or the run ends. Its step is `moment.logs["step"]`. Who listens is a function
    of `@loop.on("committed")`, or a hook with `events = ("committed",)` and `on_committed(moment)`.

    Args:
        directory: Where checkpoints go; made if it is missing. One run to a directory. With an address such as
            `gs://...`, nothing is locked, and how well files survive is the affair of that service.
        every: When to save.
        keep: How many of the latest checkpoints to keep, at least 1.
        best: The name of a metric whose best checkpoints are kept as well, such as "val_accuracy".
        mode: "min" or "max", required with `best`. NaN is never best.
        keep_best: How many of the best to keep, at least 1.
        keep_every: Which checkpoints to keep for good: `Every(steps=10_000)`, `Every(epochs=5)`, or
            `Every(seconds=3600)`, the first one after each full hour of training. It makes nothing be saved.
        resume: "auto" goes on from the newest whole checkpoint if there is one, "must" fails if there is none, "never"
            starts afresh and sets what is there aside.
        resume_changed: What to do if the run would go on with other numbers, because the steps, the contents of the
            data, the seed or settings such as the learning rate are not what they were: "refuse", or "warn" and go on,
            with what the program sets now. Other versions, threads or processors, which may change bits, are warnings
            in either case.
        background: Whether training goes on while a checkpoint is written. The memory of the state is then needed
            twice for that long. At most one is being written; the next save waits for it.
        on_error: What to do when a checkpoint cannot be saved: "raise" ends the run after the step in progress, "warn"
            logs it and goes on. The last save of a run always raises.
        save_nonfinite: Whether to save a state in which values are NaN or infinite. Refusing it counts as an error.
        name: The name of the hook.

    Raises:
        ValueError: If an argument is out of range; at the beginning of a run, if the checkpoint belongs to another
            model, optimizer or data: all differences are listed, and nothing is assigned.
        FileNotFoundError: At the beginning of a run, with resume="must" and nothing to resume from.
        CorruptCheckpoint: At the beginning of a run, if there are checkpoints but none is whole. If one is, those that
            are not are warnings of this class.
        NotADirectoryError, PermissionError, RuntimeError: At the beginning of a run, if the directory is none, cannot
            be written to, or is in use, or was written by a later version of this package.
        OSError: When a checkpoint could not be saved. What was saved before is as it was.
        FloatingPointError: When values of the state are NaN or infinite.
    """

    saves = True
    events = ("committed",)

    _state: TrainingState = Hook.later()
    _contents: Contents = Hook.later()
    _saver: Saver = Hook.later()
    _workers: Followers = Hook.later()

    def __init__(
        self,
        directory: str | os.PathLike[str],
        every: Trigger = Every(epochs=1),
        *,
        keep: int = 3,
        best: str | None = None,
        mode: Literal["min", "max"] | None = None,
        keep_best: int = 1,
        keep_every: Trigger = NEVER,
        resume: Literal["auto", "must", "never"] = "auto",
        resume_changed: Literal["refuse", "warn"] = "refuse",
        background: bool = True,
        on_error: Literal["raise", "warn"] = "raise",
        save_nonfinite: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        check_counts(keep=keep, keep_best=keep_best)
        check_best(best, mode, keep_best)
        self.every = every
        self._directory, self._resume, self._changed = path_of(directory), resume, resume_changed
        self._background, self._on_error, self._finite = background, on_error, not save_nonfinite
        # An attribute of its own, where `Progress` finds it.
        self._monitor = Monitor("Checkpoint(best=...)", best, mode) if best is not None else None
        self._best = BestMetric(self._monitor)
        self._retention = Retention(keep, self._monitor, keep_best, keep_every)
        self._naming, self._added = Naming(), Added()
        self._due = self._refused = False  # `every` asked for this step; a state was refused
        self._newest: Newest | None = None
        self._afresh: Callable[[], Loop | None] = lambda: None  # which loop has begun with resume="never"
        self._files: Files | None = None
        self._begun = False  # whether there is a saver
        self._loop: Loop | None = None

    @property
    def directory(self) -> str:
        """Where checkpoints go: an absolute path, or an address."""
        return self._directory

    def wait(self) -> None:
        """Waits until what is being saved is complete, in any thread; before a run, that is nothing.

        Raises:
            OSError, FloatingPointError: If it cannot be saved. The run hears of that as well.
        """
        if self._begun:
            self._saver.join()

    def saved_place(self) -> Newest | None:
        """Returns what would be restored now, as far as manifests say it; None with resume="never"."""
        opened = functools.partial(open_files, self._directory, make=False)
        self._newest = None if self._resume == "never" else newest(opened)
        return self._newest

    def before_dry_run(self, directory: str) -> None:
        self._directory = os.path.join(directory, self.name)

    def on_setup(self, loop: Loop, moment: Moment) -> None:
        self._state = loop.state
        self._due = self._refused = False  # also where an exception cut a round short
        self._best.begin(loop)
        self._contents = Contents(loop)
        self._contents.refuse_what_no_manifest_holds(moment, self._best.said(self._state.position.place().step))
        self._workers = Followers(loop, self.name)
        self._added.look(loop)
        if self._workers.follows:
            self._workers.follow(self._directory, self._added, changed=self._changed)
            return
        earlier = HELD.get(self._directory)
        if earlier is None or earlier is self or not earlier._is_running():
            if earlier is not None:
                self._logged(earlier._let_go)
            # Before anything is locked: wherever an interrupt comes, the next run lets go of it.
            HELD[self._directory] = self
        self._loop = loop
        try:
            self._open(loop)
        except BaseException:
            self._close()  # a refused start holds no lock
            raise

    def _open(self, loop: Loop) -> None:
        """Locks the directory, and restores what there is."""
        self._files = files = open_files(self._directory)
        files.lock()
        store = Store(files)
        damaged = store.load()
        restored = self._take_over(store, damaged, loop)
        self._workers.announce(restored)
        self._contents.describe()  # nothing in it changes from here on
        self._saver = Saver(
            store, self._state, self._retention, self._naming, finite=self._finite, failed=lambda: self._stop(loop)
        )
        self._begun = True

    def on_step_end(self, moment: Moment) -> None:
        self._due = True

    def _look(self, moment: Moment, value: float) -> None:
        self._best.take(moment.step, value)

    def on_settled(self, moment: Moment) -> None:
        wanted = self._workers.agreed(self._is_due(moment))  # sync: one exchange, if there are several
        self._due = False
        if self._workers.follows:
            if wanted:
                self._workers.tell()
            if moment.last:
                self._workers.wait_for_all()
            return
        try:
            if not self._refused:
                self._save_in_turn(moment, wanted=wanted)
        except (FloatingPointError, Differing):
            self._refused = True  # what comes of it, too, or the next run would go on as if nothing had been amiss
            raise
        finally:
            if moment.last:
                self._workers.wait_for_all()
        self._tell()

    def _is_due(self, moment: Moment) -> bool:
        if self._workers.follows or self._refused:
            return False
        value = self._best.value(moment.step)
        return self._due or moment.last or (value is not None and self._saver.ranks(value))

    def _save_in_turn(self, moment: Moment, *, wanted: bool) -> None:
        try:
            self._tolerate(self._saver.wait if moment.last else self._saver.collect)
        except OSError as earlier:
            if moment.last:  # what could not be saved before is no reason not to save this
                try:
                    self._save_if(wanted, moment)
                    earlier.add_note(f"The state after step {moment.step}, with which the run ends, is saved.")
                except Exception as also:
                    earlier.add_note(f"Then {also!r}")
            raise
        self._save_if(wanted, moment)

    def _save_if(self, wanted: bool, moment: Moment) -> None:
        if wanted:
            self._tolerate(self._saver.wait)
            self._state.check()
            record = self._contents.record(self._best.said(self._state.position.place().step))
            self._saver.save(record, self._workers.comparing(), **self._contents.parts(moment))
            if moment.last:
                self._saver.wait()
            elif not self._background:
                self._tolerate(self._saver.wait)

    def on_run_end(self, moment: Moment) -> None:
        if self._workers.follows:
            self._workers.leave()
        else:
            self._let_go()
            self._tell()

    def _let_go(self) -> None:
        """Waits for the save under way, and lets others write to the directory."""
        if not self._begun:
            self._close()
            return
        try:
            self._saver.wait()
        finally:
            self._saver.leave(self._close)  # not yet if an impatient Ctrl-C has cut the waiting short

    def _tell(self) -> None:
        """Tells hooks what is complete since they were told last."""
        if self._loop is not None:
            for step in self._saver.committed():
                self._loop.hooks.emit("committed", step=step)

    def _is_running(self) -> bool:
        """Returns whether a run goes on in which this saves: not if it was taken out since, and the loop runs again."""
        return self._loop is not None and self._loop.running and any(hook is self for hook in self._loop.hooks)

    def _close(self) -> None:
        if self._files is not None:
            self._files.close()
        if HELD.get(self._directory) is self:
            del HELD[self._directory]

    def _tolerate(self, call: Callable[[], None]) -> None:
        call() if self._on_error == "raise" else self._logged(call)

    def _logged(self, call: Callable[[], None]) -> None:
        try:
            call()
        except (OSError, FloatingPointError) as error:
            log.warning("%s", error)

    def _take_over(self, store: Store, damaged: Sequence[CorruptCheckpoint], loop: Loop) -> str | None:
        """Restores what there is; returns its stem, or None if nothing was restored."""
        # Once for a loop: what comes from then on is its own. Another one, as of a cell that is run again, has nothing.
        if self._resume == "never" and self._afresh() is not loop:
            store.set_aside(store.stems())
            self._afresh = weakref.ref(loop)
            return None
        announced, must = self._newest.stem if self._newest else None, self._resume == "must"
        return begin(store, damaged, loop, self._added, announced=announced, changed=self._changed, must=must)

    def _stop(self, loop: Loop) -> None:
        if self._on_error == "raise":
            loop.stop("a checkpoint could not be saved")  # so that what was raised is raised soon
