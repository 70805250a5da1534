"""A run that is killed again and again, and compared with the uninterrupted one after each life."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path

from exactloop.proof.compare import Whole
from exactloop.proof.config import KillPoint
from exactloop.proof.journal import Divergence
from exactloop.proof.kill_plan import described
from exactloop.proof.process import Attempt, ProvedProgram


class Experiment:
    """Runs a program, one life after the other, of which all but the last are killed.

    Attributes:
        kills: What each kill has cut short, of the lives that have been compared and do not differ.
        resumed: Whether a loop that was killed went on from a checkpoint.
        removed: What the lives have removed.
        written: The files that they have written to by themselves.
        life: The last one.
        stepwise: Whether the last one stopped after each step.
        difference: What differed first; None if nothing did.
        failure: What went wrong in a life that was started again; empty if nothing did.

    Args:
        program: The program.
        root: Where to write down what happens.
        deaths: Where to kill it, in the order of the run; if nowhere, it is run once and stops after each step.
        entropy: What Python's and NumPy's streams began with in the uninterrupted run. So do the lives that begin anew;
            one that can go on from a checkpoint begins with something else, as it would by chance.
    """

    life: Attempt

    def __init__(self, program: ProvedProgram, root: Path, deaths: Sequence[KillPoint], entropy: int | None) -> None:
        self._program, self._root, self._deaths, self._entropy = program, root, list(deaths), entropy
        self.kills, self.removed, self.written, self.resumed = list[str](), set[str](), set[str](), False
        self.difference: Divergence | None = None
        self.failure = ""

    def run(self, whole: Whole, say: Callable[[str], None]) -> None:
        """Runs to the end, or to the first difference.

        Args:
            whole: The uninterrupted run.
            say: Is told of each kill.
        """
        loops, died_in, twice = len(whole.record.loops()), -1, not self._deaths
        saved = False  # whether the life before this one left a checkpoint of the loop in which it died
        while True:
            death = self._deaths.pop(0) if self._deaths else None
            # The last life is stopped only where the program's own hooks want it, as it is when nothing is proved.
            self.stepwise = twice or death is not None
            # Of several loops, one may begin anew where another one goes on, so all have the same.
            anew = self._entropy if loops > 1 or not saved else random.getrandbits(63)
            self.life = life = self._program.live(self._root, "again", death, stepwise=self.stepwise, entropy=anew)
            self.removed |= {path for record in life.records for path in record.removed}
            self.written |= {path for record in life.records for path in record.written}
            begun = [line["step"] for line in life.record.of("begin") if line["loop"] == died_in]
            self.resumed |= bool(begun and begun[0] > 0)  # a second call of run() goes on where the first one was
            killed = death is not None and life.killed
            if not killed and (life.status != 0 or life.record.failure):
                self.failure = f"a life that was started again failed{_why(life)}"
            last = not killed and not self.failure
            self.difference = whole.compare(life.records, stepwise=self.stepwise, last=last)
            if death is None or not killed or self.difference or self.failure:
                return
            if saved and begun and not self.resumed:
                return  # nor will it when it is killed again
            self.kills.append(described(death, life, loops))
            say(f"  killed {self.kills[-1]}.")
            died_in = death.loop  # what the next life has to go on with
            saved = any(line.get("saved") for line in life.record.of("settled") if line["loop"] == died_in)


def _why(life: Attempt) -> str:
    status = f" with status {life.status}" if life.status else ""
    error = f": {life.record.failure['error']['message']}" if life.record.failure else ""
    return f"{status}{error}\nIt said:\n{life.said}"
