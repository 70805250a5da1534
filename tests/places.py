"""Where the tests and the sources are, also for the processes that tests start."""

import os
from pathlib import Path

TESTS = Path(__file__).parent
ROOT = TESTS.parent


def environment(**more: str) -> dict[str, str]:
    """Returns the environment of a process that finds the sources, and what tests share.

    The sources stand first, because folders of the tests are called like them.
    """
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(TESTS)]), **more}
