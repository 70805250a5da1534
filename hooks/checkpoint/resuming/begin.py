"""What a run that begins makes of the checkpoints that are there."""

from collections.abc import Sequence

from hooks.checkpoint.commits.store import Store
from hooks.checkpoint.record.manifest import CorruptCheckpoint, Manifest
from hooks.checkpoint.resuming.added import Added
from hooks.checkpoint.resuming.resume import continue_unrestored, resume
from loop import Loop


def begin(
    store: Store,
    damaged: Sequence[CorruptCheckpoint],
    loop: Loop,
    added: Added,
    *,
    announced: str | None,
    changed: str,
    must: bool,
) -> str | None:
    """Restores what there is, unless the state is ahead of it.

    Args:
        store: The checkpoints; loaded.
        damaged: What `load` found.
        loop: The loop.
        added: The hooks that have come since the run before.
        announced: The stem of what was to be restored, by which the loop has decided whether to trace anything.
        changed: "refuse" or "warn" where the run would go on with other numbers.
        must: Whether it is an error if there is nothing.

    Returns:
        The stem of what was restored; None if nothing was.

    Raises:
        FileNotFoundError: If there is nothing, and has to be.
    """

    def found(manifest: Manifest) -> None:
        if not loop.state.steps and manifest.record.stem != announced:
            loop.audit()  # not traced yet, because of another one, by which nothing was left to run

    position = loop.state.position  # and not moment.step: another Checkpoint may have restored it by now
    if position.place().step > 0 and not position.torn:
        continue_unrestored(store, loop.state, damaged)
        return added.restore(store, loop.state)
    if manifest := resume(store, loop.state, damaged, changed=changed, found=found):
        return added.restored(manifest.record.stem)
    if must:
        raise FileNotFoundError(
            f"resume='must', but there is no checkpoint in {store.files.where!r}. "
            "Give the directory of an earlier run, or resume='auto' to start where there is none."
        )
    return None
