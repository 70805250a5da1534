"""A child that a hook has forked has no part in the run: whatever it raises comes out of it, and nothing is done there.

    PYTHONPATH=.:tests python tests/loop/test_children.py DIRECTORY METHOD ERROR

is a run in which a child raises in a method of a hook while a checkpoint is being written; it says what came of that.
"""

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import nursery
import pytest
import tensorflow as tf

from hooks import Checkpoint, MetricsLog, Preemption
from hooks.checkpoint.commits.store import Store
from hooks.checkpoint.record.manifest import Record
from loop import ArrayData, Every, Hook, Loop, Moment

ERRORS = {"SystemExit": SystemExit(0), "ValueError": ValueError("in a child"), "KeyboardInterrupt": KeyboardInterrupt()}
PATIENCE = 60  # seconds; no child needs them


class Forks(Hook):
    """Has a child after the third step, which raises something, and waits for it; only then is a checkpoint written."""

    every = Every(steps=1)

    def __init__(self, error: BaseException, written: threading.Event, on_error: str) -> None:
        super().__init__(on_error=on_error)  # type: ignore[arg-type]
        self._error, self._written = error, written

    def on_step_end(self, moment: Moment) -> None:
        pass  # but the loop halts at each step

    def _fork(self, moment: Moment) -> None:
        if moment.step != 3 or self._written.is_set():
            return
        if (pid := os.fork()) == 0:
            signal.alarm(PATIENCE)  # which ends a child that hangs
            raise self._error
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
        self._written.set()


def main(directory: Path, method: str, name: str) -> None:
    written, commit = threading.Event(), Store.commit

    def held(self: Store, record: Record, *rest: Any) -> None:
        if record.step == 2:
            written.wait(PATIENCE)
        commit(self, record, *rest)

    Store.commit = held  # type: ignore[method-assign]
    kind = type("Kind", (Forks,), {method: Forks._fork})
    count = tf.Variable(0.0)
    hooks = [
        kind(ERRORS[name], written, "warn" if method == "on_step_end" else "raise"),
        MetricsLog(directory / "log.csv", Every(steps=1)),
        Checkpoint(directory, Every(steps=2)),
        Preemption(),
    ]
    data, parent = ArrayData(tf.range(4.0), batch_size=1, seed=1), os.getpid()
    step = lambda x: {"count": count.assign_add(1.0)}  # noqa: E731 (traced with its loop)
    try:
        result = Loop(step, data, state={"count": count}, hooks=hooks).run(steps=6)
    except BaseException as error:
        os._exit(7 if os.getpid() != parent and error is ERRORS[name] else 1)
    print(result.step, flush=True)


@pytest.mark.parametrize(
    ("method", "name"),
    [
        ("on_step_end", "ValueError"),
        ("on_settled", "SystemExit"),
        pytest.param("on_step_end", "SystemExit", marks=pytest.mark.more),
        pytest.param("on_settled", "KeyboardInterrupt", marks=pytest.mark.more),
    ],
)
def test_what_a_child_raises_comes_out_of_it_and_the_run_goes_on(method: str, name: str, tmp_path: Path) -> None:
    done = nursery.run(__file__, tmp_path, method, name)
    assert (done.returncode, done.stdout.split()) == (0, ["7", "6"]), done
    assert sorted(path.name for path in tmp_path.glob("*.json")) == [f"ckpt-{step}.json" for step in (2, 4, 6)]
    assert [line.split(",")[1] for line in (tmp_path / "log.csv").read_text().splitlines()[1:]] == list("1234456")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
