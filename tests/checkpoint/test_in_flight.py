"""What happens while a save is in flight: further saves, ends of runs, and exceptions."""

import contextlib
import errno
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import tensorflow as tf
from storage import (
    Bits,
    Disk,
    await_,
    begins,
    bits,
    by_step,
    counting_loop,
    dense,
    files,
    make_loop,
    names,
    rows,
    steps_in,
    threads,
)

from hooks import Checkpoint, restore
from hooks.checkpoint.commits.store import Store
from hooks.checkpoint.record.manifest import Record
from hooks.checkpoint.saving.saver import Saver
from hooks.checkpoint.saving.writing import Writing
from loop import At, Event, Every, Hook, Loop, Moment, StreamData


def shuffled() -> StreamData:
    """Returns the rows by way of a buffer that holds some of them, in another order each epoch."""
    return StreamData(tf.data.Dataset.from_tensor_slices(rows()).shuffle(5, seed=3).batch(1))


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Is set as soon as the main thread waits for a save."""
    event, wait = threading.Event(), Saver.wait

    def told(self: Saver) -> None:
        event.set()
        wait(self)

    monkeypatch.setattr(Saver, "wait", told)
    return event


@pytest.mark.more
@pytest.mark.parametrize(
    ("held_at", "data"),
    [("save", None), ("save", shuffled), ("write", shuffled)],
    ids=["arrays", "shuffled dataset", "shuffled dataset, held before its manifest"],
)
def test_training_goes_on_and_a_checkpoint_is_of_the_step_at_which_it_was_asked_for(
    held_at: str, data: Callable[[], StreamData] | None, disk: Disk, tmp_path: Path
) -> None:
    def make(*hooks: Hook) -> Loop:
        return make_loop(*hooks, data=data() if data else None)

    uninterrupted, released, held = by_step(make(), 8), threading.Event(), []

    def instead(index: int, kind: str) -> None:
        if disk.saves == 1 and kind == held_at and not held:
            held.append(kind)
            await_(released)

    disk.instead = instead
    loop = make(Checkpoint(tmp_path / "run", At(2)))
    loop.on(Event.RUN_BEGIN)(disk.watch)
    there: list[list[int]] = []

    @loop.on(Event.STEP_END, every=At(5))
    def release(moment: Moment) -> None:
        there.append(steps_in(tmp_path / "run"))
        released.set()

    loop.run(steps=6)
    assert (held, there, bits(loop)) == ([held_at], [[]], uninterrupted[6])
    assert steps_in(tmp_path / "run") == [2, 6]

    (tmp_path / "then").mkdir()
    for name in names(2) - {"checkpoint"}:  # as if the process had been killed before the last save
        shutil.copy(tmp_path / "run" / name, tmp_path / "then")
    again = make(Checkpoint(tmp_path / "then"))
    begun = begins(again)
    again.run(steps=8)
    assert (begun, bits(again)) == ([uninterrupted[2]], uninterrupted[8])


def hold_until(disk: Disk, loop: Loop, event: threading.Event) -> Loop:
    """Holds the first save of a run before it writes anything, until something happens."""

    def instead(index: int, kind: str) -> None:
        if (disk.saves, kind) == (1, "save"):
            await_(event)

    loop.on(Event.RUN_BEGIN)(disk.watch)
    disk.instead = instead
    return loop


def test_a_second_save_waits_for_the_first(
    whole: dict[int, Bits], disk: Disk, waiting: threading.Event, tmp_path: Path
) -> None:
    loop = hold_until(disk, make_loop(Checkpoint(tmp_path, At(2, 4))), waiting)
    settled: list[tuple[int, list[int]]] = []

    class After(Hook):
        saves = True

        def on_settled(self, moment: Moment) -> None:
            settled.append((moment.step, steps_in(tmp_path)))

    loop.hooks.add(After())
    loop.on(Event.STEP_END, every=At(3))(lambda moment: settled.append((3, steps_in(tmp_path))))
    loop.run(steps=6)
    # If the state were taken again before the first save is done, that one would be of step 4.
    assert settled[:2] == [(2, []), (3, [])]
    assert dict(settled)[4][:1] == [2]
    assert dict(settled)[6] == [2, 4, 6]
    model = dense()
    found = {}
    for step in (2, 4, 6):
        restore(tmp_path, {"model": model}, which=step)
        found[step] = sorted(variable.numpy().tobytes() for variable in model.variables)
    assert found == {
        step: sorted(value for path, value in whole[step].items() if path.startswith("model/")) for step in found
    }


@pytest.mark.more
@pytest.mark.parametrize("fails", [False, True])
def test_another_thread_may_wait_for_a_save_and_takes_nothing_from_the_run(
    fails: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint, waits, over = Checkpoint(tmp_path, At(2)), threading.Event(), threading.Event()
    wait, commit, outcome = Writing.wait, Store.commit, list[BaseException]()

    def outrun(self: Writing) -> None:
        """Lets the run end before the other thread goes on."""
        if threading.current_thread() is threading.main_thread():
            wait(self)
        else:
            waits.set()
            wait(self)
            await_(over)

    def failing(store: Store, record: Record, *args: object) -> None:
        await_(waits)
        if fails and record.step == 2:
            raise OSError(errno.ENOSPC, "full")
        commit(store, record, *args)

    def look() -> None:
        try:
            checkpoint.wait()
        except BaseException as error:
            outcome.append(error)

    monkeypatch.setattr(Writing, "wait", outrun)
    monkeypatch.setattr(Store, "commit", failing)
    thread, loop = threading.Thread(target=look), counting_loop(checkpoint)
    loop.on(Event.STEP_END, every=At(3))(lambda moment: thread.start())
    failed = pytest.raises(OSError, match="step 2 was not saved") if fails else contextlib.nullcontext()
    with failed:
        loop.run(steps=4)
    over.set()
    thread.join()
    assert [*map(type, outcome)] == ([OSError] if fails else [])


@pytest.mark.parametrize("steps", [2, 3])
def test_no_run_ends_before_its_last_save_is_there(
    steps: int, disk: Disk, waiting: threading.Event, tmp_path: Path
) -> None:
    loop = hold_until(disk, counting_loop(Checkpoint(tmp_path, At(2))), waiting)
    loop.run(steps=steps)
    assert (steps_in(tmp_path), threads()) == (sorted({2, steps}), [])


@pytest.mark.more
@pytest.mark.parametrize("raised", [ArithmeticError, KeyboardInterrupt])
def test_an_exception_waits_for_the_save_in_flight(
    raised: type[BaseException], whole: dict[int, Bits], disk: Disk, waiting: threading.Event, tmp_path: Path
) -> None:
    loop = hold_until(disk, make_loop(Checkpoint(tmp_path, At(2))), waiting)
    seen: list[tuple[list[int], list[str]]] = []

    @loop.on(Event.STEP_END, every=At(3))
    def fail(moment: Moment) -> None:
        seen.append((steps_in(tmp_path), threads()))
        raise raised("in step 3")

    with pytest.raises(raised, match="in step 3"):
        loop.run(steps=6)
    assert seen == [([], ["checkpoint"])]  # else this test would show nothing
    assert (files(tmp_path).keys(), threads()) == (names(2), [])
    disk.heal()
    again = make_loop(Checkpoint(tmp_path, resume="must"))
    begun = begins(again)
    again.run(steps=6)
    assert (begun, bits(again)) == ([whole[2]], whole[6])


@pytest.mark.parametrize("on_error", ["raise", "warn"])
def test_an_exception_is_not_hidden_by_a_save_in_flight_that_fails(
    on_error: str, disk: Disk, waiting: threading.Event, tmp_path: Path
) -> None:
    loop = counting_loop(Checkpoint(tmp_path, At(2), on_error=on_error))
    loop.on(Event.RUN_BEGIN)(disk.watch)

    def instead(index: int, kind: str) -> None:
        if kind == "sync data":
            await_(waiting)
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    disk.instead = instead

    @loop.on(Event.STEP_END, every=At(3))
    def fail(moment: Moment) -> None:
        raise ArithmeticError("in step 3")

    with pytest.raises(ArithmeticError, match="in step 3") as error:
        loop.run(steps=6)
    (note,) = [note for note in error.value.__notes__ if "The checkpoint of step 2 was not saved" in note]
    assert note.startswith("Then OSError(5, ")
    assert (files(tmp_path), threads()) == ({}, [])


@pytest.mark.parametrize("background", [False, True])
def test_only_in_the_foreground_a_save_is_complete_before_training_goes_on(
    background: bool, disk: Disk, tmp_path: Path
) -> None:
    loop, seen_it = counting_loop(Checkpoint(tmp_path, At(2), background=background)), threading.Event()
    seen: list[list[int]] = []

    class After(Hook):
        saves = True

        def on_settled(self, moment: Moment) -> None:
            seen.append(steps_in(tmp_path))
            seen_it.set()

    loop.hooks.add(After())
    if background:
        hold_until(disk, loop, seen_it)
    loop.run(steps=3)
    assert seen == [[] if background else [2], [2, 3]]


def test_one_thread_writes_all_checkpoints_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writers, commit = [], Store.commit

    def noted(self: Store, *args: object) -> None:
        writers.append(threading.current_thread())
        commit(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Store, "commit", noted)
    make_loop(Checkpoint(tmp_path, Every(steps=1))).run(steps=6)
    # TensorFlow keeps something of each thread for good.
    assert (len(writers), len(set(writers)), writers[0].name) == (6, 1, "checkpoint")
    assert threads() == []
