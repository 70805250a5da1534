"""A save that fails ends the run, or with `on_error="warn"` is logged; the last one raises in any case."""

import errno
import os
import re
import threading
from pathlib import Path

import pytest
from storage import (
    EVERY_2,
    Bits,
    Disk,
    await_,
    begins,
    bits,
    counting_loop,
    files,
    life,
    make_loop,
    names,
    not_saved,
    threads,
    warned,
)

from hooks import Checkpoint
from loop import At, Event, Loop


def failing(disk: Disk, loop: Loop, *saves: int) -> Loop:
    """Lets the saves of each run that have these numbers fail, as soon as they begin to flush what they wrote."""
    loop.on(Event.RUN_BEGIN)(disk.watch)

    def instead(index: int, kind: str) -> None:
        if kind == "sync data" and disk.saves in saves:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    disk.instead = instead
    return loop


@pytest.mark.more
@pytest.mark.parametrize("background", [True, False])
def test_with_warn_a_run_goes_on_and_logs_each_save_that_failed_once(
    background: bool, whole: dict[int, Bits], disk: Disk, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hook = Checkpoint(tmp_path, EVERY_2, keep=9, on_error="warn", background=background)
    loop = failing(disk, make_loop(hook), 2, 4)
    loop.run(steps=10)
    assert (bits(loop), files(tmp_path).keys()) == (whole[10], names(2, 6, 10))
    told = [(4, "The one of step 2 is as it was."), (8, "The one of step 6 is as it was.")]
    assert [re.sub(r"[\d,]+ (?=bytes|are free)", "", message) for message in warned(caplog)] == [
        f"[Errno 28] The checkpoint of step {step} was not saved in {str(tmp_path)!r}: No space left on device. "
        f"It needs about bytes; are free. {before} With Checkpoint(on_error='warn'), training would go on"
        for step, before in told
    ]


@pytest.mark.parametrize(("on_error", "background"), [("raise", True), ("warn", True), ("warn", False)])
def test_the_last_save_raises_whatever_on_error_says(
    on_error: str, background: bool, disk: Disk, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hook = Checkpoint(tmp_path, EVERY_2, on_error=on_error, background=background)
    loop = failing(disk, counting_loop(hook), 2)
    with pytest.raises(OSError, match=not_saved(tmp_path, 4, "No space left on device", 2)):
        loop.run(steps=4)
    assert (files(tmp_path).keys(), warned(caplog), threads()) == (names(2), [], [])


def test_the_last_save_raises_with_warn_where_the_one_before_failed_too(
    disk: Disk, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    loop = failing(disk, counting_loop(Checkpoint(tmp_path, EVERY_2, on_error="warn")), 1, 2)
    with pytest.raises(OSError, match=not_saved(tmp_path, 4, "No space left on device")):
        loop.run(steps=4)
    assert [message[:49] for message in warned(caplog)] == ["[Errno 28] The checkpoint of step 2 was not saved"]
    assert files(tmp_path) == {}


def test_a_save_that_fails_ends_the_run_after_the_step_in_progress(
    whole: dict[int, Bits], disk: Disk, tmp_path: Path
) -> None:
    stopped = threading.Event()
    loop = failing(disk, make_loop(Checkpoint(tmp_path, At(1, 2)), wait=lambda: await_(stopped)), 2)
    stop = loop.stop

    def told(reason: str) -> None:
        stop(reason)
        stopped.set()

    loop.stop = told
    with pytest.raises(OSError, match=r"The checkpoint of step 2 was not saved .* The one of step 1 is as it was"):
        loop.run(steps=10**6)
    assert (loop.step, bits(loop), files(tmp_path).keys()) == (3, whole[3], names(1, 3))


@pytest.mark.more
def test_a_script_whose_last_save_exceeds_the_limit_on_file_sizes_ends_with_an_error(
    whole: dict[int, Bits], tmp_path: Path
) -> None:
    with life(tmp_path, "limited") as process:
        _, printed = process.communicate()
    assert process.returncode == 1
    (last,) = [line for line in printed.splitlines() if line.startswith("OSError")]
    assert re.search(not_saved(tmp_path, 4, ".*File too large", 2), last)
    assert files(tmp_path).keys() == names(2)
    loop = make_loop(Checkpoint(tmp_path, EVERY_2))
    begun = begins(loop)
    loop.run(steps=4)
    assert (begun, bits(loop)) == ([whole[2]], whole[4])
