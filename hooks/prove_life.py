"""One life of a program that is proved: runs it, writes down all that happens in its loops, and dies where it is told.

    python -m hooks.prove_life PROGRAM [ARGUMENTS]

What to write to, and where to die, is in the environment: see `Orders`.
"""

import dataclasses
import hashlib
import json
import os
import runpy
import signal
import sys
import threading
import time
from typing import TextIO

from hooks.checkpoint import Checkpoint
from loop import Every, Hook, InexactRun, Loop, Moment, Trigger, digest

VARIABLE = "EXACTLOOP_LIFE"  # of the environment: orders, as JSON
REFUSED = 3  # exit status of a program whose loop refused to run what is not exact
HASHED = 2**24  # bytes of state that are hashed after each step; of a larger one, after every n-th step
SHORT = 8  # hex digits of the hash of a variable


@dataclasses.dataclass(frozen=True)
class Death:
    """Where a life is to end by SIGKILL.

    Attributes:
        event: The name of the event at which it dies, when all other hooks are done with it, and, but for "settled",
            what they were saving is saved; or "evaluation", to die in the middle of one; or "save", for which somebody
            outside waits.
        loop: Of which loop of the program: 0 is the first that is made.
        step: At which step.
        seconds: For "evaluation": how long after its beginning.
    """

    event: str
    loop: int
    step: int
    seconds: float = 0.0


@dataclasses.dataclass(frozen=True)
class Orders:
    """What a life has to do.

    Attributes:
        record: The file to write to.
        death: Where to die; None: nowhere.
        function: Makes the loop, if the program is no script but a module; empty if it is a script.
        totals: `epochs` and `steps` for that loop's `run`.
    """

    record: str
    death: Death | None = None
    function: str = ""
    totals: dict[str, int] = dataclasses.field(default_factory=dict)

    def encode(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def decode(cls, text: str) -> "Orders":
        said = json.loads(text)
        return cls(**said | {"death": Death(**said["death"]) if said["death"] else None})


class Witness(Hook):
    """Writes a line for each event of a loop: its logs, a digest of the batches, a hash of each variable."""

    every: Trigger = Every(steps=1)
    saves = True  # so it comes after all that might change the state

    def __init__(self, number: int, file: TextIO, death: Death | None) -> None:
        super().__init__()
        self._number, self._file = number, file
        self._death = death if death is not None and death.loop == number else None

    def on_setup(self, loop: Loop, moment: Moment) -> None:
        self._loop = loop

    def on_run_begin(self, moment: Moment) -> None:
        variables = self._loop.state.variables
        self._paths = [path for path in variables if path != "clock/seconds"]
        size = sum(variable.dtype.size * (variable.shape.num_elements() or 0) for variable in variables.values())
        self._stride = 1 + size // HASHED
        self._checkpoints = [hook for hook in self._loop.hooks if isinstance(hook, Checkpoint)]
        directories = [hook.directory for hook in self._checkpoints]
        findings = [dataclasses.asdict(finding) for finding in self._loop.audit()]
        self._write("begin", moment, variables=self._paths, directories=directories, findings=findings)

    def on_step_end(self, moment: Moment) -> None:
        batches = int(self._loop.state.variables["position/seen/digest"])
        self._write("step_end", moment, batches=batches)

    def on_settled(self, moment: Moment) -> None:
        state = {}
        if moment.step % self._stride == 0 or moment.step_in_epoch == 0 or moment.last:
            held = self._loop.state.hold()
            hashes = "".join(digest(held.values[path])[:SHORT] for path in self._paths)
            state = {"state": hashes, "host": hashlib.sha256(held.host.encode()).hexdigest()[:SHORT]}
        self._write("settled", moment, **state)

    def on_eval_begin(self, moment: Moment) -> None:
        self._write("eval_begin", moment)
        if self._death is not None and self._is_here("evaluation", moment):
            timer = threading.Timer(self._death.seconds, _die)
            timer.daemon = True
            timer.start()

    def on_eval_end(self, moment: Moment) -> None:
        self._write("eval_end", moment)
        if self._is_here("evaluation", moment):
            _die()  # the timer was late

    def on_epoch_begin(self, moment: Moment) -> None:
        self._write("epoch_begin", moment)

    def on_epoch_end(self, moment: Moment) -> None:
        self._write("epoch_end", moment)

    def _write(self, event: str, moment: Moment, **parts: object) -> None:
        place = {"step": moment.step, "epoch": moment.epoch, "step_in_epoch": moment.step_in_epoch}
        logs = {name: float(value).hex() for name, value in moment.logs.items()}
        line = {"loop": self._number, "event": event, **place, "time": time.monotonic(), "logs": logs, **parts}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        if self._is_here(event, moment):
            if event in ("step_end", "epoch_end"):  # else few lives would get further than the one before
                for hook in self._checkpoints:
                    hook.wait()
            _die()

    def _is_here(self, event: str, moment: Moment) -> bool:
        return self._death is not None and (event, moment.step) == (self._death.event, self._death.step)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main(program: str, *arguments: str) -> None:
    """Runs the program as if it had been started itself."""
    orders = Orders.decode(os.environ.pop(VARIABLE))
    with open(orders.record, "a", encoding="utf-8") as file:
        count = 0

        def watch(loop: Loop) -> None:
            nonlocal count
            loop.digest_batches()
            loop.hooks.add(Witness(count, file, orders.death))
            count += 1

        Loop.witnesses.append(watch)
        sys.argv[:] = [program, *arguments]
        sys.path.insert(0, os.path.dirname(os.path.abspath(program)))
        try:
            if orders.function:
                runpy.run_path(program, run_name="proved")[orders.function]().run(**orders.totals)
            else:
                runpy.run_path(program, run_name="__main__")
        except InexactRun as refusal:
            file.write(json.dumps({"event": "refused", "message": str(refusal)}) + "\n")
            file.flush()
            sys.exit(REFUSED)


if __name__ == "__main__":
    main(*sys.argv[1:])
