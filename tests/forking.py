"""The process that has imported TensorFlow, and is forked for each process that `nursery` is asked for.

    python tests/forking.py DESCRIPTOR

The descriptor is of a socket, by which four others come for each process: of a socket to answer on, and its first
three. What is answered are the number of the process and, when it is over, how it ended. This one runs no operation of
TensorFlow, or its children could run none.
"""

import array
import atexit
import builtins
import contextlib
import gc
import json
import os
import select
import signal
import socket
import sys
import threading
import types
from typing import TypedDict


class Asked(TypedDict):
    arguments: list[str]
    environment: dict[str, str]
    cwd: str
    session: bool


def become(asked: Asked, first: list[int]) -> None:
    """Becomes the process that was asked for. Never returns."""
    import numpy as np

    for to, descriptor in enumerate(first):
        os.dup2(descriptor, to)
        os.close(descriptor)
    if asked["session"]:
        os.setsid()
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["cwd"])
    np.random.seed()  # as Python's own random numbers do after a fork
    sys.stdin = sys.__stdin__ = os.fdopen(0, closefd=False)
    sys.stdout = sys.__stdout__ = os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.__stderr__ = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    code, interrupted = 1, False
    try:
        execute(asked["arguments"])
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
    except BaseException as error:
        interrupted = isinstance(error, KeyboardInterrupt)
        of_others = error.__traceback__.tb_next.tb_next  # than this file
        sys.excepthook(type(error), error.with_traceback(of_others), of_others)
    finally:
        threading._shutdown()
        atexit._run_exitfuncs()
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
        if interrupted:  # as Python does
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
        os._exit(code & 0xFF)


def execute(arguments: list[str]) -> None:
    """Does what `python` does with these arguments."""
    first, main = arguments[0], types.ModuleType("__main__")
    main.__builtins__ = builtins
    sys.modules["__main__"] = main
    if first == "-c":
        text, name, sys.path[0], sys.argv = arguments[1], "<string>", "", ["-c", *arguments[2:]]
    else:
        with open(first, encoding="utf-8") as file:
            text = file.read()
        name = main.__file__ = first
        sys.path[0], sys.argv = os.path.dirname(os.path.abspath(first)), arguments
    exec(compile(text, name, "exec"), main.__dict__)


def fork(teller: socket.socket, first: list[int], others: list[int]) -> int:
    """Begins a process, which closes others' descriptors; returns its number."""
    with teller.makefile("rb") as asked:
        given = asked.readline()
    if not given:  # whoever asked has ended
        return 0
    if (pid := os.fork()) == 0:
        for descriptor in others:
            os.close(descriptor)
        become(json.loads(given), first)
    return pid


def tell(teller: socket.socket, number: int) -> None:
    with contextlib.suppress(BrokenPipeError):
        teller.sendall(array.array("i", [number]).tobytes())


def serve(line: socket.socket) -> None:
    """Forks until nobody can ask any more; then it ends those that are left."""
    children: dict[int, tuple[int, socket.socket]] = {}  # by a descriptor that can be read when the process is over
    try:
        while True:
            for ready in select.select([line.fileno(), *children], [], [])[0]:
                if ready != line.fileno():
                    pid, teller = children.pop(ready)
                    tell(teller, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
                    os.close(ready)
                    teller.close()
                    continue
                _, (*given,), *_ = socket.recv_fds(line, 1, 4)
                if not given:
                    return
                teller = socket.socket(fileno=given[0])
                theirs = [each for child, (_, of) in children.items() for each in (child, of.fileno())]
                if pid := fork(teller, given[1:], [line.fileno(), given[0], *theirs]):
                    tell(teller, pid)
                    children[os.pidfd_open(pid)] = pid, teller
                for descriptor in given[1:]:
                    os.close(descriptor)
    finally:
        for pid, _ in children.values():
            os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    import tensorflow  # noqa: F401

    import hooks.public  # noqa: F401
    import loop  # noqa: F401

    gc.collect()
    gc.freeze()  # or each look of a child at them takes a tenth of a second
    serve(socket.socket(fileno=int(sys.argv[1])))
