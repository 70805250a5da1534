"""Which accelerator each worker of this machine has."""

import os
import re
from collections.abc import Mapping, Sequence

VISIBLE = "CUDA_VISIBLE_DEVICES"
NODE = re.compile("nvidia[0-9]+")  # in /dev, one for each


def devices(workers: int, environment: Mapping[str, str]) -> list[dict[str, str]]:
    """Returns what to add to the environment of each worker, so that it sees one device: nothing where there are none.

    Raises:
        ValueError: If there are fewer devices than workers.
    """
    # What the user or a scheduler has left of them. Set to nothing, or -1, there are to be none.
    given = environment.get(VISIBLE)
    found = _there() if given is None else [each.strip() for each in given.split(",") if each.strip() not in ("", "-1")]
    if not found:
        return [{} for _ in range(workers)]
    if len(found) < workers:
        raise ValueError(
            f"Each worker trains on a device of its own. Received: {workers} workers for {len(found)} "
            f"GPU{'s' if len(found) > 1 else ''}. Write --workers={len(found)}, or train on the processors, with "
            f"{VISIBLE}=-1 in the environment."
        )
    # In each worker, its own is GPU:0, so programs need not know which one it is.
    return [{VISIBLE: each} for each in found[:workers]]


def _there() -> Sequence[str]:
    # The driver itself would have to be asked by a library, which the launcher goes without.
    names = [name for name in os.listdir("/dev") if NODE.fullmatch(name)]
    return [str(i) for i in range(len(names))]
