"""The pipelines that are tried: tables of cases, a file for each kind."""

from pipelines import (
    batches,
    caches,
    epochs,
    files,
    hidden,
    interleaves,
    keras,
    maps,
    options,
    public,
    python,
    shuffles,
)
from pipelines.cases import PIPELINES

__all__ = [
    "PIPELINES",
    "batches",
    "caches",
    "epochs",
    "files",
    "hidden",
    "interleaves",
    "keras",
    "maps",
    "options",
    "public",
    "python",
    "shuffles",
]
