"""What would keep a run from being resumed exactly, of the datasets of its epochs: looked for before the first step."""

import threading
from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf

from loop.data.objects.around import Around
from loop.data.objects.reached import draws_by_tensorflow, variables_reached
from loop.data.pipelines.replay import Reader
from loop.data.pipelines.warned import warn_of_tensors
from loop.data.pipelines.written import Written
from loop.errors.remedies import DRAWN_IN_TENSORFLOW, GENERATOR, READ_BETWEEN_STEPS
from loop.exact.pipeline_audit import Read, audit_function, audit_reading
from loop.findings import Finding

Again = Callable[[], tf.data.Dataset]


def as_written(
    made: Sequence[tuple[int, Written]],
    each: Mapping[int, Written],
    owner: str,
    *,
    saved: bool,
    varies: bool,
    kept: bool,
) -> list[Finding]:
    """Returns what is found in datasets without reading them.

    Args:
        made: Datasets with their epochs; of a function several, some epochs twice.
        each: The first one of each epoch.
        owner: What to call the data.
        saved: Whether iterators are saved, or else the data read again.
        varies: Whether a function makes them.
        kept: Whether what that function has from outside is kept beside the checkpoints.
    """
    found = list[Finding]()
    for written in each.values():
        found += written.findings(owner, saved=saved, alone=not varies)
        if not kept:
            warn_of_tensors([*written.of_functions.not_kept(), *(written.in_memory() if varies else [])], owner)
    return found + (audit_function([(epoch, written.dataset) for epoch, written in made], owner) if varies else [])


def as_read(
    again: Mapping[int, tuple[Written, Again]],
    reader: Reader,
    around: Around,
    python_draws: threading.Event,
    owner: str,
) -> tuple[list[Finding], int | None]:
    """Returns what shows when the datasets that may differ are read twice, and a digest of how the first one begins.

    Args:
        again: By epoch, the dataset, and what makes the pass that comes of it.
        reader: Reads them.
        around: What Python in them changes outside of itself.
        python_draws: Set, if Python does: what comes next may have no threads.
        owner: What to call the data.
    """
    differing = [(written, make) for written, make in again.values() if written.may_differ]
    had_no_threads = python_draws.is_set()  # not if it is set by what is read now
    readings = [reader.read_twice(make) for _, make in differing]
    if around.changes and not had_no_threads:
        python_draws.set()
        readings = [reader.read_twice(make) for _, make in differing]
    found = [finding for written, make in differing for finding in _reads(written, make, reader, owner)]
    wrong = [(each, reading.wrong) for (each, _), reading in zip(differing, readings, strict=True) if reading.wrong]
    for written, what in wrong[:1]:
        draws = [DRAWN_IN_TENSORFLOW] if draws_by_tensorflow(written.python()) else []
        found += [finding for instead in (*draws, GENERATOR) for finding in audit_reading(what, owner, instead)]
    return found, readings[0].beginning if readings else None


def _reads(written: Written, again: Again, reader: Reader, owner: str) -> list[Finding]:
    """Returns which variables Python reads, if others make other elements: they may be what is trained."""
    # The beginning is read twice more then: not where there is no variable.
    reached = variables_reached(written.python())
    if not reached or not reader.differs_with_others(again, reached):
        return []
    what = f"{owner} read a variable that a step changes, in Python, and depend on how far they read ahead"
    return [Read(what, "", READ_BETWEEN_STEPS, variable) for variable in reached]
