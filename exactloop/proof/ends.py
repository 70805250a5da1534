"""Waits for processes to end, and leaves them to be waited for."""

import contextlib
import os
import select
import time
from collections.abc import Sequence

GRACE = 30.0  # seconds for the others to end by themselves when one has failed; they need 15 at most


def await_all(pids: Sequence[int], *, together: bool) -> int:
    """Waits until all children are over, or one has failed and the others have had the time to end because of it.

    Args:
        pids: The children. What they end with is still there to be waited for.
        together: Whether none of the others has that time.

    Returns:
        The place of the first that failed; 0 if none has.
    """
    first, deadline, left = None, float("inf"), dict(enumerate(pids))
    with contextlib.ExitStack() as opened:
        poll = select.poll()
        # Readable when the process is over. It is not reaped by that, so its number stays its own.
        descriptors = {os.pidfd_open(pid): place for place, pid in left.items()}
        for descriptor in descriptors:
            opened.callback(os.close, descriptor)
            poll.register(descriptor, select.POLLIN)
        # Whoever has not ended in time is left for the caller to kill.
        while left and (remaining := deadline - time.monotonic()) > 0:
            for descriptor, _ in poll.poll(None if first is None else 1000 * remaining):
                poll.unregister(descriptor)
                place = descriptors[descriptor]
                if _failed(left.pop(place)) and first is None:
                    first, deadline = place, time.monotonic() + (0.0 if together else GRACE)
    return first or 0


def _failed(pid: int) -> bool:
    found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # WNOWAIT: looks, and leaves it to be waited for
    return found is not None and (found.si_code != os.CLD_EXITED or found.si_status != 0)
