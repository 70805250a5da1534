"""Ends a worker that waits, while TensorFlow starts the cluster, for one that is gone.

TensorFlow does that in one call, which waits for all without an end, and in which no thread of Python runs and no
signal is heard. So a process of its own watches meanwhile, by the connections by which the workers have met.
"""

import contextlib
import os
import selectors
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence

PATIENCE = 600.0  # seconds that TensorFlow has
# Seconds, and how often: a machine that is gone without a word is missed after 20 s.
SILENT = {socket.TCP_KEEPIDLE: 5, socket.TCP_KEEPINTVL: 5, socket.TCP_KEEPCNT: 3}
WORD = struct.Struct(">i")  # what these processes tell one another: who is gone, or that this one is there
HERE = -1
GONE = "{} has gone, while TensorFlow was starting the cluster"
TOO_LONG = (
    "TensorFlow has not brought the workers together within {:.0f} s, though all of them have come. Each has to be "
    "reached by all others at its address, also those that are not the first"
)


@contextlib.contextmanager
def watched(rank: int, names: Sequence[str], others: Mapping[int, socket.socket]) -> Iterator[None]:
    """While in it, this process is killed when another one is gone, with a line that names it.

    Args:
        rank: That of this process.
        names: What to call each, by rank.
        others: The connections of the first one to all others, or that of another one to the first; closed at the end.
    """
    with contextlib.ExitStack() as opened:
        for each in others.values():
            opened.enter_context(each)
            each.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # of a machine that is gone without a word
            for option, value in SILENT.items():
                each.setsockopt(socket.IPPROTO_TCP, option, value)
        numbers = {each: other.fileno() for each, other in others.items()}
        said = [f"{each}={number}" for each, number in numbers.items()]
        # By its path, so that it imports nothing of the package, and begins in a moment.
        command = [sys.executable, "-I", "-S", __file__, str(os.getpid()), str(rank), ",".join(said), *names]
        read, write = os.pipe()
        watching = subprocess.Popen(command, stdin=read, pass_fds=[*numbers.values()])
        os.close(read)
        opened.callback(os.close, write)
        opened.callback(watching.wait)
        opened.callback(watching.kill)  # also if it has not begun yet, as on a busy machine
        yield
        # Not after an exception: then the others are to see that this one is gone.
        _tell(others, HERE)


def watch(rank: int, count: int, others: Mapping[int, socket.socket]) -> int | None:
    """Returns who is gone; None when this worker is gone itself, which a pipe at the standard input says.

    The first one hears it of all others, whose connections are closed then, and tells them of it.
    """
    absent = [*range(1, count)] if rank == 0 else [0]
    gone = next((each for each in absent if each not in others), None)
    with selectors.DefaultSelector() as selector:
        selector.register(0, selectors.EVENT_READ)
        for number, each in others.items():
            each.setblocking(True)
            selector.register(each, selectors.EVENT_READ, number)
        end = time.monotonic() + PATIENCE
        while gone is None:
            if not (ready := selector.select(max(0.0, end - time.monotonic()))):
                raise TimeoutError(TOO_LONG.format(PATIENCE))
            for key, _ in ready:
                if key.data is None:
                    return None
                if (word := _heard(others[key.data])) == HERE:  # so all have come
                    selector.unregister(key.fileobj)
                else:
                    gone = key.data if word is None else word
    _tell(others, gone)
    return gone


def _tell(others: Mapping[int, socket.socket], word: int) -> None:
    for each in others.values():
        with contextlib.suppress(OSError):
            each.sendall(WORD.pack(word))


def _heard(other: socket.socket) -> int | None:
    with contextlib.suppress(OSError):
        if len(said := other.recv(WORD.size, socket.MSG_WAITALL)) == WORD.size:
            return WORD.unpack(said)[0]
    return None


def main() -> None:
    """Watches for the process that has started this one."""
    # Whoever ends that process is heard by it, or by nobody; this one has to see it go.
    for number in {*signal.Signals} - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_IGN)
    parent, rank, given, *names = sys.argv[1:]
    pairs = [map(int, each.split("=")) for each in given.split(",") if each]
    others = {number: socket.socket(fileno=descriptor) for number, descriptor in pairs}
    try:
        gone = watch(int(rank), len(names), others)
        said = None if gone is None else GONE.format(names[gone])
    except TimeoutError as error:
        said = str(error)
    if said is not None and os.getppid() == int(parent):
        print(f"exactloop: {said}.", file=sys.stderr, flush=True)
        os.kill(int(parent), signal.SIGKILL)


if __name__ == "__main__":
    main()
