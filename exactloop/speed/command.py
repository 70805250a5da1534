"""`exactloop speed`: what it is asked for, and that that makes sense."""

import dataclasses
import os
import sys

from exactloop.options import JSON, SECONDS, STEPS
from exactloop.printing import Console, as_json
from exactloop.script import refuse_in_cluster
from exactloop.speed.advice import advice
from exactloop.speed.telling import show
from exactloop.speed.trying import tried


def speed(script: str, *arguments: str) -> int:
    """Says how fast a script trains, and what would make it faster."""
    if not os.path.isfile(script):
        raise FileNotFoundError(f"There is no script {script!r}.")
    refuse_in_cluster("What one process takes is measured: start it once")
    if SECONDS.present and STEPS.value is not None:
        raise ValueError(
            f"Each thing is measured for --seconds or for --steps. Received: --seconds={SECONDS.value} and "
            f"--steps={STEPS.value}. Leave one of them out."
        )

    def say(what: str) -> None:
        if not JSON.value:
            print(f"Measuring: {what}.", file=sys.stderr, flush=True)

    # Up to six processes, one after the other, each with TensorFlow's start.
    as_it_is, found = tried([script, *arguments], SECONDS.value, STEPS.value, say)
    if JSON.value:
        said = {"parts": as_it_is.parts, "as_it_is": dataclasses.asdict(as_it_is)}
        print(as_json({**said, "tried": [*map(dataclasses.asdict, found)], "advice": advice(as_it_is, found)}))
    else:
        show(os.path.basename(script), as_it_is, found, Console())
    return 0


COMMANDS = {"speed": speed}
