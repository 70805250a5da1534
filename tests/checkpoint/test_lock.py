"""Who may write to a directory: one process, and the others are told which."""

import contextlib
import json
import os
import signal
import socket
from pathlib import Path

import pytest
from storage import life

from hooks.checkpoint.disk.directory import open_files


@pytest.mark.more
def test_a_fork_does_not_keep_the_lock_of_a_process_that_was_killed(tmp_path: Path) -> None:
    with life(tmp_path, "holder") as process:
        fork = int(process.stdout.readline())
        try:
            with pytest.raises(RuntimeError, match=rf"\(pid {process.pid} on "):
                open_files(tmp_path).lock()
            process.send_signal(signal.SIGKILL)
            process.wait()
            os.kill(fork, 0)  # it is alive
            with contextlib.closing(open_files(tmp_path)) as opened:
                opened.lock()
        finally:
            os.kill(fork, signal.SIGKILL)


def test_whoever_may_write_by_the_umask_may_lock_the_directory_next(tmp_path: Path) -> None:
    before = os.umask(0o002)  # as where a group shares its directories
    try:
        with contextlib.closing(open_files(tmp_path / "shared")) as files:
            files.lock()
    finally:
        os.umask(before)
    assert [oct(path.stat().st_mode & 0o777) for path in (tmp_path / "shared", tmp_path / "shared/.lock")] == [
        "0o775",
        "0o664",
    ]


def test_a_lock_is_let_go_of_once_and_never_what_has_its_number_next(tmp_path: Path) -> None:
    files = open_files(tmp_path)
    files.lock()
    files.close()
    with (tmp_path / "other").open("w") as other:  # has the number of one of the two that were closed
        files.close()
        other.write("fine")
        other.flush()
    with contextlib.closing(open_files(tmp_path)) as again:
        again.lock()


def test_of_two_processes_that_lock_at_the_same_moment_exactly_one_wins_and_the_other_says_who(tmp_path: Path) -> None:
    with life(tmp_path, "race") as process:
        printed, _ = process.communicate()
    rounds = [json.loads(line) for line in printed.splitlines()]
    assert (process.returncode, len(rounds)) == (0, 20)
    for number, results in enumerate(rounds):
        winners = [pid for pid, message in results if message is None]
        messages = [message for _, message in results if message is not None]
        assert len(winners) == len(messages) == 1, results
        start = f"{str(tmp_path / str(number))!r} is being written by another trainer "
        assert messages[0].startswith(f"{start}(pid {winners[0]} on {socket.gethostname()} since "), messages


@pytest.mark.parametrize("kind", ["directory", "link", "pipe"])
def test_what_is_in_the_place_of_the_lock_is_named_and_the_remedy_works(kind: str, tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    {"directory": path.mkdir, "link": lambda: path.symlink_to(".lock"), "pipe": lambda: os.mkfifo(path)}[kind]()
    with contextlib.closing(open_files(tmp_path)) as files:
        with pytest.raises(OSError, match=r"Remove '\.lock' in it, which is no plain file\."):
            files.lock()
        path.rmdir() if kind == "directory" else path.unlink()
        files.lock()
