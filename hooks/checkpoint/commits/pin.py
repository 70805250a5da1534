"""A checkpoint that stays what it is while it is read."""

import contextlib
from dataclasses import dataclass

from hooks.checkpoint.record.manifest import Manifest


@dataclass(frozen=True)
class Pin:
    """A checkpoint that is whole, and stays so while this is open, whatever becomes of the directory.

    Attributes:
        manifest: What it holds.
        prefix: What TensorFlow takes for it.
        held: What `close` lets go of.
    """

    manifest: Manifest
    prefix: str
    held: contextlib.ExitStack

    # Closes descriptors: files that a trainer has removed meanwhile leave the disk only now.
    def close(self) -> None:
        self.held.close()
