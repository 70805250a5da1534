"""What a process that measures is told, and what it writes down."""

import dataclasses
import json
import math

VARIABLE = "EXACTLOOP_SPEED"  # of the environment: config, as JSON


@dataclasses.dataclass(frozen=True)
class SpeedConfig:
    """What to measure.

    Attributes:
        record: The file to write to.
        parent: The process with which it dies.
        seconds: For how long each thing is measured.
        steps: For how many steps instead; None: for as many as `seconds` are enough for.
        jit_compile: What the loop is made with; None: what the script says.
        times: How many times as large batches are to be.
        whole: Whether to find out what the time goes into, and not only how long steps take.
    """

    record: str  # written once, when all is measured: no file, no result
    parent: int
    seconds: float
    steps: int | None
    jit_compile: bool | None = None
    times: int = 1
    whole: bool = False

    def encode(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def decode(cls, text: str) -> "SpeedConfig":
        return cls(**json.loads(text))


@dataclasses.dataclass(frozen=True)
class Measured:
    """How long steps take, in seconds a step.

    Attributes:
        compiled: In long calls of the compiled loop, without hooks and evaluations.
        one_batch: The same on one batch, over and over; None if that was not asked for.
        idle: The same of a step that does nothing.
        run: In a run, with hooks and without evaluations.
        hooks: What each hook takes of that, by its name.
        left_out: The names of hooks of which nobody knows where they write, which were not called.
        data: What kind of data it is.
        rows: Rows in a batch.
        sized: Whether the size of batches can be changed from outside.
        batches: How many there are in an epoch; None: nobody knows.
        jit_compile: Whether XLA compiles the loop.
        convolves: Whether the step has convolutions.
        on_cpu: Whether there is no accelerator.
        again: What `compiled` was when all else had been measured; None if nobody knows.
    """

    compiled: float
    one_batch: float | None
    idle: float | None
    run: float | None
    hooks: dict[str, float]
    left_out: list[str]
    data: str
    rows: int
    sized: bool
    batches: int | None
    jit_compile: bool
    convolves: bool
    on_cpu: bool
    again: float | None = None

    @property
    def spread(self) -> float:
        """How many times as long the one of the two measurements is as the other."""
        both = (self.compiled, self.again or self.compiled)
        return max(both) / min(both)

    @property
    def middle(self) -> float:
        """What is between the two, by which others are measured."""
        return math.sqrt(self.compiled * (self.again or self.compiled))

    @property
    def parts(self) -> dict[str, float]:
        """What a step of a run goes into: what is measured by itself, and, as `loop`, the rest."""
        # A difference of two measurements may come out negative, which is noise.
        step = max(0.0, (self.one_batch or 0.0) - (self.idle or 0.0))
        data = max(0.0, self.compiled - (self.one_batch or 0.0))
        hooks = sum(self.hooks.values())
        loop = max(0.0, (self.run or 0.0) - step - data - hooks)
        return {"step": step, "data": data, "loop": loop, "hooks": hooks}
