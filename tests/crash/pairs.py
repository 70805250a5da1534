"""Two trainers that are started together in one directory: exactly one of them may train.

    python tests/crash/pairs.py [PAIRS]

Prints a line for each pair in which that is not so, or in which the other is refused without saying by whom, or changes
something. Exit status 1 if there is such a line.
"""

import mmap
import os
import socket
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path[:0] = [str(Path(__file__).parent.parent.parent), str(Path(__file__).parent)]

from operations import contents
from trainer import array_data, make_loop

import hooks
from loop import Every, Hook, Moment

READY, GO, TRAINS, REFUSED, FINISH = range(1, 6)
PATIENCE = 60.0  # seconds; nothing here takes that long


class Board:
    """What the two, and the one who started them, tell one another: a byte each."""

    def __init__(self) -> None:
        self._bytes = mmap.mmap(-1, 3)

    def say(self, who: int, what: int) -> None:
        self._bytes[who] = what

    def wait(self, who: int, *whats: int) -> int:
        give_up = time.monotonic() + PATIENCE
        while self._bytes[who] not in whats:
            if time.monotonic() > give_up:
                raise TimeoutError(f"{who} said {self._bytes[who]}, not one of {whats}")
            time.sleep(0.0002)
        return self._bytes[who]


class Waiter(Hook):
    """Holds a training before its first step until the other trainer has been refused."""

    def __init__(self, board: Board, who: int) -> None:
        super().__init__()
        self._board, self._who = board, who

    def on_run_begin(self, moment: Moment) -> None:
        self._board.say(self._who, TRAINS)
        self._board.wait(2, FINISH)


def train(directory: Path, board: Board, who: int) -> None:
    loop = make_loop(array_data())
    loop.hooks.add(hooks.Checkpoint(directory, Every(steps=1)))
    loop.hooks.add(Waiter(board, who))
    board.say(who, READY)
    board.wait(2, GO)
    try:
        loop.run(steps=2)
    except RuntimeError as error:
        directory.with_name(f"refused-{who}").write_text(str(error))
        board.say(who, REFUSED)


def fork(directory: Path, board: Board, who: int) -> int:
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            train(directory, board, who)
            status = 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
        os._exit(status)
    return pid


def pair(root: Path) -> str | None:
    """Starts two trainers, and returns what is wrong with what they do."""
    directory, board = root / "checkpoints", Board()
    pids = [fork(directory, board, who) for who in (0, 1)]
    for who in (0, 1):
        board.wait(who, READY)
    board.say(2, GO)
    said = [board.wait(who, TRAINS, REFUSED) for who in (0, 1)]
    untouched = contents(directory)
    board.say(2, FINISH)
    statuses = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    if sorted(said) != [TRAINS, REFUSED] or statuses != [0, 0]:
        return f"they said {said} and ended with {statuses}"
    told = (root / f"refused-{said.index(REFUSED)}").read_text()
    if f"(pid {pids[said.index(TRAINS)]} on {socket.gethostname()} since " not in told:
        return f"the one that was refused was told: {told}"
    if left := [name for name in untouched if name != ".lock"]:
        return f"before the first step there was {left}"
    steps = sorted(int(path.stem[5:]) for path in directory.glob("ckpt-*.json"))
    return None if steps == [1, 2] else f"saved are {steps}"


def main(pairs: int) -> int:
    wrong = []
    with tempfile.TemporaryDirectory() as root:
        for number in range(pairs):
            (Path(root) / str(number)).mkdir()
            wrong += [f"pair {number}: {what}"] if (what := pair(Path(root) / str(number))) else []
    print(f"{pairs} pairs of trainers; not exactly one trained: {len(wrong)}", *wrong, sep="\n", flush=True)
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100))
