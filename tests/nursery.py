"""Processes that have imported TensorFlow before they begin, which takes each of them seconds otherwise.

    done = nursery.run("script.py", "argument")        # as subprocess.run([sys.executable, "script.py", "argument"])
    with nursery.start("-c", code) as child: ...       # as subprocess.Popen([sys.executable, "-c", code])

Two processes import TensorFlow, each with a hash seed of its own, and are forked in turns for each that is wanted: so
one that goes on from what another has saved has another order of sets. They share the mode of the interpreter: what is
tested of that needs a process of its own, and so does the import itself.
"""

import array
import atexit
import contextlib
import functools
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

import places

NAMES = ("stdin", "stdout", "stderr")
TURNS = itertools.cycle(["1", "2"])


class Child:
    """A process, with what `subprocess.Popen` has of it.

    Attributes:
        pid: Its number.
        returncode: How it ended; negative for the signal that killed it; None as long as it has not.
        stdin: What it reads, a text file, where `subprocess.PIPE` was asked for; or None. So are the other two.
        stdout: What it says.
        stderr: What it says of errors.
    """

    def __init__(self, told: socket.socket, pipes: Mapping[str, IO[str]]) -> None:
        self._told = told
        self.returncode: int | None = None
        self.stdin, self.stdout, self.stderr = (pipes.get(name) for name in NAMES)
        self.pid = self._hear(300)

    def _hear(self, timeout: float | None) -> int:
        self._told.settimeout(timeout)
        heard = self._told.recv(4)
        if not heard:
            raise RuntimeError("the process from which others are forked has ended")
        return array.array("i", heard)[0]

    def poll(self) -> int | None:
        with contextlib.suppress(BlockingIOError):
            self._end(0.0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        try:
            return self._end(timeout)
        except (TimeoutError, BlockingIOError):
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0) from None

    def _end(self, timeout: float | None) -> int:
        if self.returncode is None:
            self.returncode = self._hear(timeout)
            self._told.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, given: str = "") -> tuple[str, str]:
        """Gives it something to read, and returns the rest of what it says, when it is over."""
        if self.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self.stdin.write(given)
                self.stdin.close()
        said = self.stdout.read() if self.stdout is not None else ""
        errors = self.stderr.read() if self.stderr is not None else ""
        self.wait()
        return said, errors

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *raised: object) -> None:
        for pipe in (self.stdout, self.stderr, self.stdin):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        self.wait()


@functools.cache
def nursery(seed: str) -> socket.socket:
    """Begins a process that is forked, and returns where it is asked. It ends with the one that asks.

    Args:
        seed: Of what Python hashes.
    """
    ours, its = socket.socketpair()
    environment = places.environment(TF_CPP_MIN_LOG_LEVEL="3", PYTHONHASHSEED=seed)
    environment.pop("TF_CONFIG", None)
    command = [sys.executable, str(places.TESTS / "forking.py"), str(its.fileno())]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment, pass_fds=[its.fileno()])
    its.close()
    atexit.register(process.wait)
    atexit.register(ours.close)  # is called first
    return ours


def start(
    *arguments: str | Path,
    stdin: int | IO[str] | None = None,
    stdout: int | IO[str] | None = None,
    stderr: int | IO[str] | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    start_new_session: bool = False,
) -> Child:
    """Begins a process, with the words of `subprocess.Popen`.

    Args:
        arguments: What stands behind `python`: a script, or `-c` and its text, and its arguments.
        stdin: What it reads.
        stdout: Where it says something.
        stderr: Where it says something of errors.
        env: Its environment; by default, with what tests need.
        cwd: Where it works.
        start_new_session: Whether it is the first of a session, and so of a group, of its own.
    """
    asked = {
        "arguments": [str(each) for each in arguments],
        "environment": {**(places.environment() if env is None else env)},
        "cwd": str(cwd or Path.cwd()),
        "session": start_new_session,
    }
    told, teller = socket.socketpair()
    pipes: dict[str, IO[str]] = {}
    with contextlib.ExitStack() as stack:
        stack.enter_context(teller)
        given = [teller.fileno()]
        for number, (name, wanted) in enumerate(zip(NAMES, (stdin, stdout, stderr), strict=True)):
            given.append(stack.enter_context(descriptor(name, number, wanted, pipes)))
        socket.send_fds(nursery(next(TURNS)), [b"!"], given)
    told.sendall(json.dumps(asked).encode() + b"\n")
    return Child(told, pipes)


def execute(*arguments: str | Path, **more: int | IO[str] | None) -> "subprocess.Popen[str]":
    """Begins a process that imports everything itself."""
    command = [sys.executable, *map(str, arguments)]
    return subprocess.Popen(command, env=places.environment(), text=True, **more)


@contextlib.contextmanager
def descriptor(name: str, number: int, wanted: int | IO[str] | None, pipes: dict[str, IO[str]]) -> Iterator[int]:
    """Yields what a process gets as one of its first three descriptors."""
    if wanted == subprocess.PIPE:
        read, write = os.pipe()
        ours, its = (read, write) if number else (write, read)
        pipes[name] = os.fdopen(ours, "r" if number else "w")
        yield its
        os.close(its)
    elif wanted == subprocess.DEVNULL:
        with open(os.devnull, "r+") as nothing:
            yield nothing.fileno()
    else:
        yield number if wanted is None else wanted if isinstance(wanted, int) else wanted.fileno()


def run(
    *arguments: str | Path,
    given: str = "",
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float = 1200,
) -> "subprocess.CompletedProcess[str]":
    """Runs a process to its end, with the words of `subprocess.run`, and returns what it has said and how it ended."""
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(tempfile.TemporaryFile("w+")) for _ in NAMES]
        files[0].write(given)
        files[0].seek(0)
        child = start(*arguments, **dict(zip(NAMES, files, strict=True)), env=env, cwd=cwd)
        try:
            code = child.wait(timeout)
        except BaseException:
            child.kill()
            child.wait()
            raise
        for file in files[1:]:
            file.seek(0)
        return subprocess.CompletedProcess([*map(str, arguments)], code, files[1].read(), files[2].read())
