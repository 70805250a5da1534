"""How many cores there are, by which TensorFlow decides what nobody else has decided."""

import os


def cores() -> int:
    """Returns how many cores this process may use."""
    # A container or a batch system may leave a process fewer than the machine has.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
