"""A run that is killed again and again, and compared with the uninterrupted one after each life."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

from hooks.prove_life import Death
from hooks.prove_plan import described
from hooks.prove_process import Program
from hooks.prove_record import Difference, Reference

TRIES = 5  # how often a kill inside a save is tried, if saves are faster than the kill


class Trial:
    """Runs a program, one life after the other, of which all but the last are killed.

    Attributes:
        kills: What each kill has cut short, of the lives that have been compared and do not differ.
        begun: The steps at which lives began.
        difference: What differed first; None if nothing did.
        failure: What went wrong in a life that was started again; empty if nothing did.

    Args:
        program: The program.
        root: Where to write down what happens.
        name: The name of the run.
        deaths: Where to kill it, in the order of the run.
        checkpoints: The directories in which it saves, relative to that of the run.
    """

    def __init__(
        self, program: Program, root: Path, name: str, deaths: Sequence[Death], checkpoints: Sequence[str]
    ) -> None:
        self._program, self._root, self._name, self._checkpoints = program, root, name, checkpoints
        self._deaths = list(deaths)
        self.kills, self.begun = list[str](), set[int]()
        self.difference: Difference | None = None
        self.failure = ""

    def run(self, whole: Reference, say: Callable[[str], None]) -> None:
        """Runs to the end, or to the first difference.

        Args:
            whole: The uninterrupted run.
            say: Is told of each kill.
        """
        tries, killed = TRIES, True
        while killed:
            death = self._deaths.pop(0) if self._deaths else None
            life = self._program.live(self._root, self._name, death, self._checkpoints)
            self.begun |= {line["step"] for line in life.record.of("begin")}
            killed = death is not None and life.killed
            self.difference = whole.compare(life.record)
            if self.difference is not None:
                return
            if death is not None and killed:
                self.kills.append(described(death, life))
                say(f"  killed {self.kills[-1]}.")
                tries -= 1
                if death.event == "save" and not life.saving and tries and life.record.lines:
                    self._deaths.insert(0, dataclasses.replace(death, step=life.record.lines[-1]["step"] + 1))
        if life.status != 0:
            self.failure = f"a life that was started again failed with status {life.status}:\n{life.said}"
        self.difference = whole.missing() if not self.failure else None
