"""Forks processes that have imported TensorFlow already, which takes each of them seconds otherwise.

As a script, it waits for requests: one line each, {"script": [...], "environment": {...}, "out": ..., "cwd": ...}. It
answers with the number of a new process, and, whenever one is over, with its number and how it ended.
"""

import atexit
import json
import os
import runpy
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import places


class Child:
    """A process, with what `subprocess.Popen` has of it.

    Attributes:
        pid: Its number.
        returncode: How it ended; negative for the signal that killed it; None as long as it has not.
    """

    def __init__(self, pid: int) -> None:
        self.pid, self.returncode = pid, None
        self._over = threading.Event()

    def end(self, code: int) -> None:
        self.returncode = code
        self._over.set()

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int | None:
        if not self._over.wait(timeout):
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Nursery:
    """Starts processes; those that are left end with the one that has it."""

    def __init__(self) -> None:
        environment = places.environment(TF_CPP_MIN_LOG_LEVEL="2")
        environment.pop("TF_CONFIG", None)
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self._children: dict[int, Child] = {}
        self._born = threading.Condition()
        self._newest: list[Child] = []
        threading.Thread(target=self._read, daemon=True).start()

    def start(self, script: Sequence[str], environment: Mapping[str, str], out: Path, cwd: Path) -> Child:
        """Returns a new process, which runs a script with its arguments."""
        request = {"script": [*script], "environment": {**environment}, "out": str(out), "cwd": str(cwd)}
        assert self._process.stdin is not None
        with self._born:
            print(json.dumps(request), file=self._process.stdin, flush=True)
            assert self._born.wait_for(lambda: self._newest, 300)
            return self._newest.pop()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            pid, code = json.loads(line)
            with self._born:
                if code is None:
                    self._children[pid] = Child(pid)
                    self._newest.append(self._children[pid])
                    self._born.notify_all()
                else:
                    self._children.pop(pid).end(code)


def become(request: Mapping[str, object]) -> None:
    """Becomes the process that was asked for. Never returns."""
    code = 1
    try:
        out = os.open(str(request["out"]), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for number, to in ((nothing, 0), (out, 1), (out, 2)):
            os.dup2(number, to)
        os.environ.clear()
        os.environ.update(request["environment"])
        os.chdir(str(request["cwd"]))
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w", buffering=1)
        sys.argv = list(request["script"])
        sys.path.insert(0, os.path.dirname(sys.argv[0]))
        runpy.run_path(sys.argv[0], run_name="__main__")
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        threading._shutdown()
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    import tensorflow  # noqa: F401
    import worker_cases  # noqa: F401

    import hooks  # noqa: F401
    import loop  # noqa: F401

    ended, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    children = set[int]()
    try:
        while True:
            ready, _, _ = select.select([0, ended], [], [])
            if ended in ready:
                os.read(ended, 1000)
            for pid in [*children]:
                found, status = os.waitpid(pid, os.WNOHANG)
                if found:
                    children.discard(pid)
                    print(json.dumps([pid, os.waitstatus_to_exitcode(status)]), flush=True)
            if 0 in ready:
                line = LINES.readline()
                if not line:
                    return
                pid = os.fork()
                if not pid:
                    signal.set_wakeup_fd(-1)
                    become(json.loads(line))
                children.add(pid)
                print(json.dumps([pid, None]), flush=True)
    finally:
        for pid in children:
            os.kill(pid, signal.SIGKILL)


LINES = os.fdopen(0, "rb", buffering=0, closefd=False)
if __name__ == "__main__":
    main()
