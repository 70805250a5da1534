"""Saves the whole training state, and takes a run up again where it was.

Read `hook.py`, then `store.py`, the protocol of commits, `manifest.py`, the commit record, and `saver.py`, the thread.
`resume.py` goes the other way. It may import `loop`, and the helpers that all hooks share.
"""

from hooks.checkpoint.hook import Checkpoint
from hooks.checkpoint.manifest import CorruptCheckpoint
from hooks.checkpoint.resume import restore

__all__ = ["Checkpoint", "CorruptCheckpoint", "restore"]
