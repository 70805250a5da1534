"""What a difference between two runs is likely to come from."""

from hooks.prove_record import Difference, Record
from hooks.prove_suspects import suspects

REPEAT = "Nothing had been killed by then: the program does not do the same each time."
SEEDS = "Is keras.utils.set_random_seed(1) called before anything is built? Do data, files and time have a part in it?"
DATA = "The data do not come again as they were. See StreamData(resume=...), or ArrayData."
PYTHON = "Python's own values are in no checkpoint; a tf.Variable that is set on a hook in __init__ is. Suspects:"
UNKNOWN = "Something decides this that is in no checkpoint: a value of Python, a file, the time."


def cause(found: Difference, whole: Record, *, resumed: bool, program: str) -> str:
    """Returns what to look at.

    Args:
        found: The difference.
        whole: What the uninterrupted run wrote down.
        resumed: Whether it was found in a life that went on from a checkpoint.
        program: The file of the program.
    """
    findings = [finding for line in whole.of("begin") for finding in line["findings"]]
    if findings:
        named = [f"  {each['what']}" + (f", at {each['where']}" if each["where"] else "") for each in findings]
        return "\n".join(["Loop.audit() names what no checkpoint can hold:", *dict.fromkeys(named)])
    if not resumed:
        return f"{REPEAT}\n{SEEDS}"
    if found.kind == "batches":
        return DATA
    suspicious = suspects(program)
    return "\n".join([PYTHON, *(f"  {line}" for line in suspicious)]) if suspicious else UNKNOWN
