"""An interrupt at any instruction of saving and of waiting for it: nothing is torn, and the next run is not stopped."""

import contextlib
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest
import tensorflow as tf
from interrupting import Interrupt

from hooks import Checkpoint
from hooks.checkpoint import hook as checkpoint
from hooks.checkpoint.commits.store import Store
from hooks.checkpoint.disk import local, lock
from hooks.checkpoint.saving import background as checkpoint_background
from hooks.checkpoint.saving import saver as checkpoint_saver
from hooks.checkpoint.saving import writing as checkpoint_writing
from loop import ArrayData, At, Loop

METHODS = {  # of the saver, all
    checkpoint.__file__: {"on_setup", "_open", "on_run_end", "on_settled", "_let_go", "_close"},
    local.__file__: {"lock", "close"},
    lock.__file__: {"take", "_taken", "release"},
}
SAVER = (checkpoint_background.__file__, checkpoint_saver.__file__, checkpoint_writing.__file__)


def counting_loop(directory: Path) -> Loop:
    """Returns a loop after whose n-th step there is n, saved in the background after the second step and at the end."""
    count = tf.Variable(0.0, name="count")

    def train_step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"loss": count.assign_add(1.0)}

    data = ArrayData(tf.range(8), batch_size=1, seed=1)
    return Loop(train_step, data, state={"count": count}, hooks=[Checkpoint(directory, At(2))])


def of_saving(frame: FrameType) -> bool:
    file, method = frame.f_code.co_filename, frame.f_code.co_name
    return file in SAVER or method in METHODS.get(file, ())


@contextlib.contextmanager
def slow_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Holds every save until the event that it yields is set."""
    event, commit = threading.Event(), Store.commit

    def held(self: Store, *args: object) -> None:
        event.wait(60)
        commit(self, *args)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(Store, "commit", held)
        yield event
        event.set()


def interrupted(at: int, loop: Loop, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Runs a loop that is interrupted at an instruction. Returns whether it came to that."""
    with slow_disk(monkeypatch) as written:
        threading.Timer(0.05, written.set).start()  # an interrupt before or after it: both have to be right
        # A file that was opened just before it closes itself, and Python says so.
        quiet = warnings.catch_warnings(action="ignore", category=ResourceWarning)
        with quiet, contextlib.suppress(KeyboardInterrupt), Interrupt(at, of_saving) as interrupt:
            loop.run(steps=4)
    return interrupt.raised


def check(at: int, directory: Path, monkeypatch: pytest.MonkeyPatch, *, anew: bool) -> bool:
    loop = counting_loop(directory)
    loop.run(steps=1)  # so that there is something to go on from
    raised = interrupted(at, loop, monkeypatch)
    again = counting_loop(directory) if anew else loop
    result = again.run(steps=6)
    assert (result.step, result.reason, float(again.state.variables["count"])) == (6, "6 steps are complete", 6.0), at
    assert [thread.name for thread in threading.enumerate() if thread.name == "checkpoint"] == [], at
    assert sorted(path.name for path in directory.glob("ckpt-*.json"))[-1] == "ckpt-6.json", at
    assert checkpoint.HELD == {}, at
    return raised


@pytest.mark.parametrize(
    ("anew", "apart"),
    [(False, 20), (False, 5), (True, 5)],
    ids=["the same loop, at a few", "the same loop", "another loop of this process"],
)
def test_an_interrupt_while_a_save_is_waited_for_stops_no_later_run(
    anew: bool, apart: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for at in range(0, 60, apart):
        check(at, tmp_path / str(at), monkeypatch, anew=anew)


@pytest.mark.long
@pytest.mark.parametrize("anew", [False, True])
def test_an_interrupt_at_each_instruction_stops_no_later_run(
    anew: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = 0
    while check(at, tmp_path / str(at), monkeypatch, anew=anew):
        at += 1
    assert at > 30  # else this has tried nothing


def test_the_instructions_are_those_of_waiting(tmp_path: Path) -> None:
    with Interrupt(10**9, of_saving) as interrupt:
        counting_loop(tmp_path).run(steps=4)
    assert 10**9 - interrupt.left > (30 if sys.version_info < (3, 13) else 20)  # which tells nothing of some frames
