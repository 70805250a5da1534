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
