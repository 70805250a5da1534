"""A worker with a deliberate mistake in it: python planted.py NUMBER PLAN FILE."""

import runpy
import sys
from pathlib import Path

from mistakes import IN_PROCESSES
from planting import planted

number, *rest = sys.argv[1:]
sys.argv = ["worker.py", *rest]
with planted(IN_PROCESSES[int(number)]):
    runpy.run_path(str(Path(__file__).with_name("worker.py")), run_name="__main__")
