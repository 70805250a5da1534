"""Which version of this package wrote a checkpoint, and what can be compared with it."""

from contextlib import AbstractContextManager

from hooks.checkpoint.record.manifest import PACKAGE, Manifest
from loop import TrainingState


def is_comparable(manifest: Manifest) -> bool:
    """Returns whether the hashes in a manifest were made as they can be made here; see `as_written`."""
    # Of the fingerprint alone: another version of the package may well make the same hashes.
    return manifest.writer.get("fingerprint") in TrainingState.comparable


def as_written(manifest: Manifest) -> AbstractContextManager[None]:
    """Has what is described within have the hashes that the version would make that wrote a manifest, if it can be."""
    said = manifest.writer.get("fingerprint")
    return TrainingState.as_with(next((each for each in TrainingState.comparable if each == said), None))


def written_by(manifest: Manifest) -> str:
    """Returns what a message says after the name of a checkpoint whose hashes cannot be compared; else nothing."""
    return "" if is_comparable(manifest) else f", written by {_version(manifest)},"


def not_comparable(manifest: Manifest) -> str:
    """Returns what cannot be told of a checkpoint, and what to do."""
    return (
        f"The checkpoint {manifest.record.stem} was written by {_version(manifest)}: not comparable with fingerprint "
        f"{TrainingState.fingerprint} of exactloop {PACKAGE}. All values are restored, but whether steps, pipelines "
        "and the contents of data are what they were is not known. To know it, go on with the version that wrote it."
    )


def _version(manifest: Manifest) -> str:
    if not manifest.writer:
        return f"an earlier exactloop, in format {manifest.format}, which does not say its fingerprint"
    return f"exactloop {manifest.writer['exactloop']}, fingerprint {manifest.writer['fingerprint']}"
