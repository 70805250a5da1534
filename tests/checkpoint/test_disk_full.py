"""A disk that is full, or broken: the checkpoint before is intact, and what failed is said."""

import contextlib
import errno
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from storage import (
    EVERY_2,
    Bits,
    Disk,
    begins,
    bits,
    counting_loop,
    failure_of,
    files,
    make_loop,
    names,
    not_saved,
    steps_in,
)

from hooks import Checkpoint
from loop import Event, Moment


@pytest.mark.more
@pytest.mark.parametrize(
    ("number", "for_good"),
    [
        pytest.param(errno.ENOSPC, False, marks=pytest.mark.long, id="full once"),
        pytest.param(errno.EIO, True, id="broken from there on"),
    ],
)
def test_the_previous_checkpoint_is_intact_when_the_disk_fails_at_any_operation(
    number: int, for_good: bool, whole: dict[int, Bits], disk: Disk, tmp_path: Path
) -> None:
    # One loop for all of it: compiling it anew for each operation would take half a minute.
    loop, start = make_loop(), []
    loop.on(Event.SETUP)(lambda loop, moment: start.append(loop.state.capture()))
    loop.on(Event.RUN_BEGIN)(disk.watch)
    begun = begins(loop)

    def run(directory: Path, steps: int, *, afresh: bool) -> None:
        if afresh and start:
            loop.state.rollback(start[0])
        loop.hooks.add(Checkpoint(directory, EVERY_2, keep=1, background=False))
        try:
            loop.run(steps=steps)
        finally:
            loop.hooks.remove("checkpoint")

    run(tmp_path / "base", 2, afresh=True)
    shutil.copytree(tmp_path / "base", tmp_path / "all")
    run(tmp_path / "all", 6, afresh=True)
    kinds = disk.operations
    assert (begun[-1], bits(loop), files(tmp_path / "all").keys()) == (whole[2], whole[6], names(6))
    assert set(kinds) == {"write", "sync data", "sync directory", "sync manifest", "rename", "remove", "state file"}

    outcomes, reason = set(), os.strerror(number)
    for index in (index for index, kind in enumerate(kinds) if kind != "state file"):
        directory = Path(shutil.copytree(tmp_path / "base", tmp_path / str(index)))
        disk.fail(number, lambda now, index=index: now >= index if for_good else now == index)
        with pytest.raises(OSError, match=reason) as error:
            run(directory, 6, afresh=True)
        message, left = str(error.value), files(directory)
        step = int(re.search("[0-9]+", message.partition("tep ")[2])[0])
        assert error.value.errno == number
        if committed := "is saved, but" in message:
            start_of = rf"Step {step} is saved, but no older one was removed in {re.escape(repr(str(directory)))}: "
            assert re.search(rf"{start_of}{reason}\.( It needs about [1-9][\d,]* bytes; [\d,]+ are free\.)?$", message)
            mark = f"ckpt-{step - 2}.json.tmp"
            assert names(step) <= left.keys() <= names(step, step - 2) | {"checkpoint.tmp", mark}
        else:
            assert re.search(not_saved(directory, step, reason, step - 2), message), message
            if for_good:  # nor can what is left be removed, or TensorFlow's own file be put right
                old = names(step - 2) - {"checkpoint"}
                assert {name: left.get(name) for name in old} == {name: disk.before.get(name) for name in old}
            else:  # the run ends there, and so the step is saved once more, unless this was that
                assert left.keys() == names(step if step < 6 else step - 2)
        disk.heal()
        run(directory, 8, afresh=False)
        # On a disk that is broken for good, what was committed in the last moment cannot be taken back.
        went_back = next(2 * n for n in range(1, 4) if begun[-1] == whole[2 * n])
        outcomes.add((committed, went_back - step))
        assert (bits(loop), files(directory).keys()) == (whole[8], names(8))
    assert outcomes == {(True, 0), (False, 0), (False, -2)}


@pytest.fixture
def small() -> Iterator[Path]:
    """A disk of 256 KiB."""
    directory = Path(tempfile.mkdtemp())
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(directory)]
    try:
        if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode != 0:
            pytest.skip("nothing can be mounted here")
        yield directory
        subprocess.run(["umount", str(directory)], check=True)
    finally:
        directory.rmdir()


PAGE = 4096


def fill(disk: Path, pages: int) -> None:
    """Fills a disk up, but for some pages."""
    filler = disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(bytes(PAGE)):
            pass
    os.truncate(filler, filler.stat().st_size - pages * PAGE)


@pytest.mark.more
def test_the_previous_checkpoint_is_intact_on_a_real_disk_with_too_little_room(
    whole: dict[int, Bits], small: Path
) -> None:
    directory = small / "run"
    loop = make_loop(Checkpoint(directory, EVERY_2))
    loop.run(steps=2)
    before, begun, told = files(directory), begins(loop), list[OSError]()

    @loop.on(Event.RUN_BEGIN)
    def leave_some_room(moment: Moment) -> None:
        fill(small, len(told) + 1)

    while len(told) < 18:
        failure = failure_of(loop, 4)
        if steps_in(directory) == [2, 4]:
            break
        assert failure is not None
        assert re.search(not_saved(directory, 4, ".*No space left on device", 2), str(failure))
        assert files(directory) == before
        told.append(failure)
    # The data take several pages, then come the index, the manifest, and what is kept up for TensorFlow.
    assert 4 < len(told) < 18
    assert {failure.errno for failure in told} == {errno.ENOSPC}
    assert begun == [whole[2]] * (len(told) + 1)

    (small / "filler").unlink()
    again = make_loop(Checkpoint(directory, EVERY_2))
    begun = begins(again)
    again.run(steps=6)
    assert (begun, bits(again), files(directory).keys()) == ([whole[4]], whole[6], names(2, 4, 6))


def test_nothing_is_left_behind_on_a_real_disk_without_any_room(small: Path) -> None:
    directory = small / "run"
    loop = counting_loop(Checkpoint(directory, EVERY_2))
    loop.run(steps=2)
    before = files(directory)
    loop.on(Event.RUN_BEGIN)(lambda moment: fill(small, 0))
    with pytest.raises(OSError, match="No space left on device"):
        loop.run(steps=4)
    assert files(directory) == before


def test_a_run_that_begins_on_a_full_disk_says_where(small: Path) -> None:
    directory = small / "run"
    loop = counting_loop(Checkpoint(directory, EVERY_2))
    loop.run(steps=2)
    fill(small, 0)
    with pytest.raises(OSError, match="No space left on device") as error:
        loop.run(steps=4)
    assert str(directory) in str(error.value)


def test_a_disk_that_does_not_even_say_how_much_is_free_does_not_hide_what_failed(
    disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(descriptor: int) -> os.statvfs_result:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fstatvfs", broken)
    loop = counting_loop(Checkpoint(tmp_path, EVERY_2))
    loop.on(Event.RUN_BEGIN)(disk.watch)
    disk.fail(errno.EIO, lambda index: True)
    with pytest.raises(OSError, match="The checkpoint of step 2 was not saved"):
        loop.run(steps=2)


@pytest.mark.more
def test_a_first_save_that_fails_leaves_nothing_and_a_new_loop_begins_anew(
    whole: dict[int, Bits], disk: Disk, tmp_path: Path
) -> None:
    loop = make_loop(Checkpoint(tmp_path, EVERY_2))
    loop.on(Event.RUN_BEGIN)(disk.watch)
    disk.fail(errno.EIO, lambda index: True)
    with pytest.raises(OSError, match=not_saved(tmp_path, 2, "Input/output error")):
        loop.run(steps=4)
    assert {name for name in files(tmp_path) if not name.endswith(".json.tmp")} == set()  # a mark is no checkpoint
    disk.heal()
    again = make_loop(Checkpoint(tmp_path, EVERY_2))
    again.run(steps=4)
    assert bits(again) == whole[4]
