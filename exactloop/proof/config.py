"""What a life of a program that is proved is told: where to write, and where to die."""

import dataclasses
import json

VARIABLE = "EXACTLOOP_LIFE"  # of the environment: config, as JSON


@dataclasses.dataclass(frozen=True)
class KillPoint:
    """Where a life is to end by SIGKILL.

    Attributes:
        event: The name of the event at which it dies, when all other hooks are done with it, and, but for "settled",
            what they were saving is saved; or "evaluation", to die in the middle of one; or "save", to die when all
            files of a checkpoint are written and only its manifest is not committed.
        loop: Of which loop of the program: 0 is the first that is made.
        step: At which step; for "save": in the first save of this step or a later one.
        seconds: For "evaluation": how long after its beginning.
        ranks: Which workers die, of several; if all do, at the latest when the first of them has.
    """

    event: str
    loop: int
    step: int
    seconds: float = 0.0
    ranks: tuple[int, ...] = (0,)


@dataclasses.dataclass(frozen=True)
class ChildConfig:
    """What a life has to do.

    Attributes:
        record: The file to write to.
        parent: The process with which it dies.
        stepwise: Whether the compiled loop is to stop after each step, or only where the program's own hooks want it.
        death: Where to die; None: nowhere.
        in_vain: Whether to go on where a loop begins that nobody saves, of which nothing can be proved by killing.
        module: The module of `function`; empty if that is in the program itself.
        function: Makes the loop, if the program is no script; empty if it is one.
        totals: `epochs` and `steps` for that loop's `run`.
        entropy: What Python's and NumPy's streams begin with, as if by chance; None: what the system gives them.
        path: Where to import from; empty for a script, which has its own directory.
    """

    record: str
    parent: int
    stepwise: bool = True
    death: KillPoint | None = None
    in_vain: bool = True
    module: str = ""
    function: str = ""
    totals: dict[str, int] = dataclasses.field(default_factory=dict)
    entropy: int | None = None
    path: list[str] = dataclasses.field(default_factory=list)

    def encode(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def decode(cls, text: str) -> "ChildConfig":
        said = json.loads(text)
        # A tuple is a list in JSON.
        death = said["death"] and KillPoint(**said["death"] | {"ranks": tuple(said["death"]["ranks"])})
        return cls(**said | {"death": death})
