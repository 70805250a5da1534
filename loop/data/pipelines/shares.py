"""Which files each of several workers reads, and whether a checkpoint can be divided so."""

from collections.abc import Mapping

from loop.errors.kinds import shown
from loop.rebuilt.files import WITHOUT, Share
from loop.state.resumable import Unlike
from loop.workers.cluster import Workers

SHARES = "shares"  # a note: how many workers have an iterator each in a checkpoint
AFRESH = "start afresh in another directory, where weights can be taken from it by hooks.restore"


def share_of(shard: str | None, workers: Workers) -> Share | None:
    """Returns which files this worker reads; None: all, as with `StreamData(shard=None)`."""
    if shard not in (None, "files"):
        raise ValueError(f"StreamData(shard=...) must be 'files' or None. Received: {shown(shard)}.")
    return None if shard is None else Share(workers.rank, workers.count)


def check_shared(share: Share | None, *, varies: bool, steps: int | None, saved: bool) -> None:
    """Raises `ValueError` if data of which each worker reads a part are of a kind that cannot be read so.

    Args:
        share: Which part it is; None: all.
        varies: Whether a function makes the dataset of each epoch.
        steps: Steps in an epoch, if they are given.
        saved: Whether iterators are saved, or else the data read again.
    """
    if share is None:
        return
    if not saved:
        raise ValueError(
            "StreamData(shard='files') saves the iterator of each worker, and TensorFlow saves none of this pipeline, "
            "or resume='replay' was given. Leave that out, and write what Python does in the pipeline with operations "
            f"of TensorFlow; {WITHOUT}."
        )
    if varies and steps is not None:
        raise ValueError(
            "StreamData(shard='files', steps_per_epoch=...) is for one dataset. Received: a function of the epoch, the "
            f"datasets would be cut in each worker. Leave out steps_per_epoch; {WITHOUT}."
        )


def check_count(cursor: Mapping[str, int], share: Share | None) -> None:
    """Raises `Unlike` if a checkpoint has the iterators of another number of workers than there are.

    Args:
        cursor: What was noted of the data; of an evaluation's, that is less, and has no iterator.
        share: Which files this worker reads; None: all.
    """
    saved, now = cursor.get(SHARES, 1), 1 if share is None else share.count  # one process notes none
    if "passes" not in cursor or saved == now:
        return
    how = f"Start {saved} workers, as with `exactloop launch --workers {saved}`, with" if saved > 1 else "Leave out"
    raise Unlike(
        f"The checkpoint was saved {_by(saved)}, and is to be restored {_by(now)}. What each has read of its files is "
        f"not what another number of workers reads. {how} shard='files'; or {AFRESH}."
    )


def _by(workers: int) -> str:
    own = f"by {workers} workers, each with files of its own (StreamData(shard='files'))"
    return own if workers > 1 else "where one iterator reads all files: by one process, or without shard='files'"
