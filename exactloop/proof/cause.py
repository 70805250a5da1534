"""What a difference between two runs is likely to come from."""

from exactloop.proof.journal import Divergence, Journal
from exactloop.proof.suspects import suspects

REPEAT = "Nothing had been killed by then: the program does not do the same each time."
SEEDS = "Is keras.utils.set_random_seed(1) called before anything is built? Do data, files and time have a part in it?"
DATA = "The data do not come again as they were. See StreamData(resume=...), or ArrayData."
AUDIT = "Loop.audit() names what no checkpoint can hold:"
PYTHON = "Python's own values are in no checkpoint; a tf.Variable that is set on a hook in __init__ is. Suspects:"
CHUNKS = (
    "In this life the loop stopped only where hooks want it, in the others after each step: does a hook count its "
    "calls of on_steps or on_settled?"
)
UNSAVED = "It goes on from a checkpoint if it is given in state=..., or set on the hook by its __init__."
UNKNOWN = "Something decides this that is in no checkpoint: a value of Python, a file, the time."
SAID = 600  # characters of what a life said, where that is all there is to go by
SHOWN = 12  # suspects


def all_suspects(whole: Journal, program: str) -> list[str]:
    """Returns what `suspects` does of all files of a program, given its record and the one that is started."""
    # As a dict: each file once, in the order in which they were imported.
    sources = {path: None for line in whole.of("begin") for path in line["sources"]}
    return [line for path in sources or [program] for line in suspects(path)]


def cause(found: Divergence, whole: Journal, *, resumed: bool, stepwise: bool, said: str, program: str) -> str:
    """Returns what to look at.

    Args:
        found: The difference.
        whole: What the uninterrupted run wrote down.
        resumed: Whether it was found after a kill.
        stepwise: Whether it was found in a life that stopped after each step.
        said: What that life said last.
        program: The file of the program.
    """
    parts = [] if resumed else [REPEAT, SEEDS]
    if found.kind == "missing":
        return "\n".join([*parts, "That life ended by itself. It said:", said[-SAID:].strip() or "nothing."])
    if found.kind == "unsaved" and resumed:
        return UNSAVED
    # What is known to be inexact is more likely than anything that a search of the source can find.
    findings = [finding for line in whole.of("begin") for finding in line["findings"]]
    if findings:
        named = [f"  {each['what']}" + (f", at {each['where']}" if each["where"] else "") for each in findings]
        parts += [AUDIT, *dict.fromkeys(named)]
    if found.kind == "batches" and resumed:
        parts.append(DATA)
    elif resumed:
        suspicious = all_suspects(whole, program)
        more = [f"and {len(suspicious) - SHOWN} more"] if len(suspicious) > SHOWN else []
        parts += [PYTHON, *(f"  {line}" for line in [*suspicious[:SHOWN], *more])] if suspicious else []
    parts = parts or [UNKNOWN]
    return "\n".join(parts if stepwise else [*parts, CHUNKS])
