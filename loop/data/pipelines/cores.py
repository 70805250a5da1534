"""How many cores there are, by which TensorFlow decides what nobody else has decided."""

import os
from collections.abc import Callable


def cores() -> int:
    """Returns how many cores this process may use."""
    # A container or a batch system may leave a process fewer than the machine has.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def other_order(of_cores: Callable[[int], list[int]], then: int, now: int) -> str:
    """Returns a line if the order of a pipeline is another one for how many cores there are; else nothing.

    Args:
        of_cores: Returns of how many inputs at once its stages yield, by how many cores there are.
        then: How many there were when the run began.
        now: How many there are.
    """
    if of_cores(then) == of_cores(now):
        return ""
    return (
        "data: interleave(...) without cycle_length yields of as many inputs at once as the cores allow, so the order "
        f"is another one: there were {then} cores when the run began, and are {now}. Give it a cycle_length in new "
        "runs, and go on with this one on as many cores"
    )
