"""Saves the whole training state, and takes a run up again where it was."""

import json
import logging
import math
import os
import platform
import time

import keras
import numpy as np
import tensorflow as tf

from hooks.checkpoint_store import CorruptCheckpoint, Manifest, Store
from hooks.monitor import Monitor
from loop import Every, Hook, Loop, Moment, Trigger

log = logging.getLogger("exactloop")


class Checkpoint(Hook):
    """Saves everything a resumed run needs, and restores it when a run begins.

    Saves after the steps of `every`, whenever the metric `best` gets better, and when a run ends other than by an
    exception. A save that has returned survives SIGKILL and power failure. Checkpoints are TensorFlow's own, written
    through `tf.train.CheckpointManager`, so `tf.train.Checkpoint(model=model).restore(path)` reads them too.

    Args:
        directory: Where checkpoints go; made if it is missing. One run to a directory.
        every: When to save.
        keep: How many of the latest checkpoints to keep, at least 1.
        best: The name of a metric whose best checkpoints are kept as well, such as "val_accuracy".
        mode: "min" or "max", required with `best`. NaN is never best.
        keep_best: How many of the best to keep, at least 1.
        resume: "auto" goes on from the newest whole checkpoint if there is one, "must" fails if there is none, "never"
            starts afresh and sets what is there aside.
        name: The name of the hook.

    Raises:
        ValueError: If an argument is out of range; at the beginning of a run, if the checkpoint belongs to another
            model, optimizer or data: all differences are listed, and nothing is assigned.
        FileNotFoundError: At the beginning of a run, with resume="must" and nothing to resume from.
        CorruptCheckpoint: At the beginning of a run, if there are checkpoints but none is whole.
        NotADirectoryError, PermissionError, RuntimeError: At the beginning of a run, if the directory is none, cannot
            be written to, or is in use.
    """

    saves = True

    def __init__(
        self,
        directory: str | os.PathLike[str],
        every: Trigger = Every(epochs=1),
        *,
        keep: int = 3,
        best: str | None = None,
        mode: str | None = None,
        keep_best: int = 1,
        resume: str = "auto",
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        if resume not in ("auto", "must", "never"):
            raise ValueError(f"Checkpoint(resume=...) must be 'auto', 'must' or 'never'. Received: {resume!r}.")
        for argument, count in {"keep": keep, "keep_best": keep_best}.items():
            if count < 1:
                raise ValueError(f"Checkpoint({argument}=...) must be at least 1. Received: {count!r}.")
        self.every = every
        self._store, self._keep, self._keep_best, self._resume = Store(directory), keep, keep_best, resume
        # What a stop cut short in mid-round has the step of the whole round, and no checkpoint is ever overwritten.
        self._pending = Store(self._store.directory / "pending")
        self._managers: dict[Store, tf.train.CheckpointManager] = {}
        self._monitor = Monitor("Checkpoint(best=...)", best, mode) if best is not None else None
        self._due = False
        self._value: float | None = None

    def on_setup(self, loop: Loop, moment: Moment) -> None:
        self._state = loop.state
        self._due, self._value = False, None  # also where an exception cut a round short
        if self._monitor:
            self._monitor.attach(loop)
        json.dumps([self._state.notes(), self._state.describe()])  # better a TypeError now than at the first save
        self._store.acquire()
        self._managers = {}
        try:
            self._pending.sweep()
            # Not moment.step: another Checkpoint may have restored the state by now.
            if self._state.position.torn or self._state.position.place().step == 0:
                self._restore()
        except BaseException:
            self._store.release()
            raise

    def on_step_end(self, moment: Moment) -> None:
        self._due = True

    def on_eval_end(self, moment: Moment) -> None:
        self._look(moment)

    def on_epoch_end(self, moment: Moment) -> None:
        self._look(moment)

    def on_settled(self, moment: Moment) -> None:
        if self._due or moment.last or self._is_best():
            self._save(moment)
        self._due, self._value = False, None

    def on_run_end(self, moment: Moment) -> None:
        self._store.release()

    def _look(self, moment: Moment) -> None:
        value = self._monitor.value(moment) if self._monitor else None
        self._value = self._value if value is None else value

    def _is_best(self) -> bool:
        if self._monitor is None or self._value is None:
            return False
        others = [value for _, value in self._ranked()]
        return self._monitor.better(self._value, others[0] if others else None)

    def _ranked(self) -> list[tuple[int, float]]:
        """Returns step and value of the committed checkpoints that have one, the best first."""
        if self._monitor is None:
            return []
        monitor, found = self._monitor, []
        for step in self._store.steps():
            try:
                best = self._store.read(step).best
            except CorruptCheckpoint:
                continue  # an old one, older than what was restored: not the best of anything
            if best.get("name") == monitor.name and not math.isnan(float(best["value"])):
                found.append((step, float(best["value"])))
        return sorted(found, key=lambda pair: (pair[1] if monitor.mode == "min" else -pair[1], pair[0]))

    def _save(self, moment: Moment) -> None:
        best: dict[str, str | float] = {}
        if self._monitor and self._value is not None:
            best = {"name": self._monitor.name, "mode": self._monitor.mode, "value": self._value}

        def manifest(files: dict[str, tuple[int, str]]) -> Manifest:
            return Manifest(
                step=moment.step,
                files=files,
                notes=self._state.notes(),
                description=self._state.describe(),
                logs=dict(moment.logs),
                best=best,
                made=_made(),
            )

        store = self._pending if self._state.position.is_pending() else self._store
        store.commit(moment.step, lambda: self._manager(store).save(checkpoint_number=moment.step), manifest)
        if store is self._store:
            kept = {*store.steps()[-self._keep :], *(step for step, _ in self._ranked()[: self._keep_best])}
            store.remove([step for step in store.steps() if step not in kept])
            self._pending.remove(self._pending.steps())

    def _manager(self, store: Store) -> tf.train.CheckpointManager:
        """Returns what writes into a store; never prunes, because that must not come before the commit."""
        if store not in self._managers:
            self._managers[store] = tf.train.CheckpointManager(
                self._state.root, str(store.directory), max_to_keep=None, checkpoint_name="ckpt"
            )
        return self._managers[store]

    def _restore(self) -> None:
        stores = (self._store, self._pending)
        if self._resume == "never":
            for store in stores:
                store.set_aside(store.steps())
            self._resume = "auto"  # what comes from here on is this training's own
            return
        damaged: list[CorruptCheckpoint] = []
        # The newest first; of one step, the one that was saved when its round was complete.
        for step, _, store in sorted(((n, s is self._store, s) for s in stores for n in s.steps()), key=_newest):
            try:
                manifest = store.read(step)
                path = store.verify(manifest)
            except CorruptCheckpoint as error:
                damaged.append(error)
                continue
            for defect in damaged:
                log.warning("Damaged: %s. Going on from step %d instead.", defect, step)
            differences = self._state.differences(manifest.description)
            if differences:
                raise ValueError(
                    f"The checkpoint {path!r} does not fit what is being trained, and nothing was restored:\n  "
                    + "\n  ".join(differences)
                    + "\nUndo the change, or start afresh with resume='never' or another directory."
                )
            for each in stores:
                each.set_aside([later for later in each.steps() if later > step])
            with store.readable(path) as readable:
                self._state.restore(readable, manifest.notes)
            log.info("Restored %s.", path)
            return
        if damaged:
            listed = "\n  ".join(map(str, damaged))
            raise CorruptCheckpoint(f"No checkpoint in {str(self._store.directory)!r} is whole:\n  {listed}")
        if self._resume == "must":
            raise FileNotFoundError(
                f"resume='must', but there is no checkpoint in {str(self._store.directory)!r}. "
                "Give the directory of an earlier run, or resume='auto' to start where there is none."
            )


def _newest(candidate: tuple[int, bool, Store]) -> tuple[int, bool]:
    step, whole, _ = candidate
    return -step, not whole


def _made() -> dict[str, object]:
    """Returns what may change the bits of a run, and when this was."""
    return {
        "time": time.time(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "intra_op_threads": tf.config.threading.get_intra_op_parallelism_threads(),
        "inter_op_threads": tf.config.threading.get_inter_op_parallelism_threads(),
    }
