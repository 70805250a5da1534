"""Two checkpoints of one training, of which the second is always ahead of the first when it is killed.

    python tests/crash/ahead.py [KILLS]

At each start the second sets aside what it has ahead. Prints a line for whatever is wrong: more directories than are to
stay, or other bits at the end than without kills. Exit status 1 if there is such a line.
"""

import os
import signal
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path[:0] = [str(Path(__file__).parent.parent.parent), str(Path(__file__).parent)]

from trainer import array_data, make_loop

import hooks
from hooks.checkpoint.commits.aside import KEPT
from loop import Every, Hook, Moment


class Killer(Hook):
    """Kills its own process after a step, when that is saved."""

    saves = True

    def __init__(self, step: int) -> None:
        super().__init__()
        self._step = step

    def on_settled(self, moment: Moment) -> None:
        if moment.step >= self._step:
            os.kill(os.getpid(), signal.SIGKILL)


def life(root: Path, steps: int, killed_at: int | None) -> int:
    """Trains in a process of its own, and returns how that ended."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            loop = make_loop(array_data())
            for name, every in {"behind": Every(steps=3), "ahead": Every(steps=1)}.items():
                loop.hooks.add(hooks.Checkpoint(root / name, every, keep=2, background=False, name=name))
            loop.hooks.add(Killer(killed_at) if killed_at else Killer(2**31))
            loop.run(steps=steps)
            bits = b"".join(v.numpy().tobytes() for path, v in loop.state.variables.items() if path != "clock/seconds")
            (root / "bits").write_bytes(bits)
            status = 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
        os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main(kills: int) -> int:
    wrong, steps = [], kills + 6
    with tempfile.TemporaryDirectory() as work:
        root, whole = Path(work) / "killed", Path(work) / "whole"
        root.mkdir()
        whole.mkdir()
        life(whole, steps, None)
        for step in range(4, 4 + kills):
            if (status := life(root, steps, step)) != -signal.SIGKILL:
                wrong.append(f"the life to be killed at step {step} ended with {status}")
            aside = [*(root / "ahead").glob("set-aside-*")]
            if len(aside) > KEPT or [*(root / "behind").glob("set-aside-*")]:
                wrong.append(f"after step {step}, {len(aside)} directories are set aside")
        if life(root, steps, None) or (root / "bits").read_bytes() != (whole / "bits").read_bytes():
            wrong.append("the end is another than without kills")
        aside = {path.name for path in (root / "ahead").glob("set-aside-*")}
        if len(aside) != KEPT or f"set-aside-{KEPT}" in aside:
            wrong.append(f"set aside are {sorted(aside)}")
    print(f"{kills} kills of a training with two checkpoints; wrong: {len(wrong)}", *wrong, sep="\n", flush=True)
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 19))
