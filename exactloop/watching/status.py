"""What is known of a run, by what its files say together."""

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from exactloop.watching.series import Series
from hooks.checkpoint.record.manifest import Manifest

WINDOW = 60.0  # seconds over which the rate is taken
HIDDEN = "hparams/"  # what TensorBoard has twice


@dataclass(frozen=True)
class Status:
    """What is known of a run; None, or nothing, stands for what is not.

    Attributes:
        name: Its directory, as it was given.
        state: Whether it is running, in words.
        step: Train steps completed, as far as anything says.
        total: The step at which it is to end.
        epoch: The epoch of that step, from 1.
        epochs: How many there are to be.
        rate: Steps in a second of late, with all that is done between them.
        left: Seconds to the total.
        saved: The step of the newest checkpoint.
        age: Seconds since that was saved.
        silent: Seconds since anything was written.
        values: The latest of each name.
        curves: Steps and values of each name.
        wrong: What cannot be read.
    """

    name: str
    state: str
    step: int
    total: int | None
    epoch: int | None
    epochs: int | None
    rate: float | None
    left: float | None
    saved: int | None
    age: float | None
    silent: float | None
    values: Mapping[str, float]
    curves: Mapping[str, Sequence[tuple[int, float]]]
    wrong: str


def status(
    name: str,
    series: Sequence[Series],
    manifests: Sequence[Manifest],
    *,
    holders: Sequence[int | None],
    changed: float,
    wrong: Sequence[str],
) -> Status:
    """Returns what is known of a run now, by what its files say.

    Args:
        name: Their directory.
        series: The values, in the order in which they were written.
        manifests: The checkpoints, the oldest first.
        holders: The processes that write checkpoints, as `Saves.holder` returns them.
        changed: When anything else was written last, in seconds since 1970; 0 if nobody knows.
        wrong: What cannot be read.
    """
    now, newest = time.time(), manifests[-1] if manifests else None
    steps = [at for each in series for _, at in each.times[-1:]]
    steps += [each.epochs[0] for each in series if each.epochs]
    # Whoever is furthest: events are written some at a time, checkpoints every so often, rows for some steps.
    step = max([*steps, newest.record.step if newest else 0])
    total, epochs = (_count(newest, each) for each in ("total_steps", "total_epochs"))
    # The last save of a run says so itself; if something came after it, another run goes on.
    over = newest is not None and newest.result.get("last") is True and newest.record.step == step
    state = _state(holders, over=over, reached=total is not None and step >= total)
    # Of a run that stands, the rate of an hour ago would be misleading.
    rate = None if state in ("finished", "ended", "not running") else _rate(series, manifests)
    curves = _curves(series) or _curves([_logged(manifests)])
    made = float(str(newest.made["time"])) if newest else 0.0
    changed = max(made, changed)
    return Status(
        name=name,
        state=state,
        step=step,
        total=total if total is None or total >= step else None,  # it has another one by now
        epoch=_epoch(step, series, newest),
        epochs=epochs,
        rate=rate,
        left=(total - step) / rate if rate and total is not None and total >= step else None,
        saved=newest.record.step if newest else None,
        age=max(0.0, now - made) if newest else None,
        silent=max(0.0, now - changed) if changed else None,
        values={each: points[-1][1] for each, points in curves.items()},
        curves=curves,
        wrong="; ".join(wrong),
    )


def _count(newest: Manifest | None, name: str) -> int | None:
    said = newest.made.get(name) if newest else None
    return said if isinstance(said, int) else None


def _state(holders: Iterable[int | None], *, over: bool, reached: bool) -> str:
    """Returns what a run is doing.

    Args:
        holders: What `Saves.holder` returned.
        over: Whether what was saved last was saved by a run that ended.
        reached: Whether its total is reached.
    """
    known = [each for each in holders if each is not None]  # None: on another machine, nobody knows
    if running := [each for each in known if each]:
        return f"running, process {running[0]}"
    if over:
        return "finished" if reached else "ended"
    return "not running" if known else ""


def _rate(series: Sequence[Series], manifests: Sequence[Manifest]) -> float | None:
    """Returns the rate of the last minute, or between the last two things that are known."""
    of_events = [each.times for each in series if len({step for _, step in each.times}) > 1]
    times = max(of_events, key=lambda each: each[-1], default=None)
    if times is None:  # by the time that the run itself has taken, whatever came between its lives
        times = [(manifest.record.seconds, manifest.record.step) for manifest in manifests[-2:]]
    if len(times) < 2:
        return None
    end, last = times[-1]
    # Of the last minute; steps above the latest are those of a life that was undone.
    late = [each for each in times if each[0] >= end - WINDOW and each[1] <= last]
    before = [each for each in times if each[0] < end - WINDOW][-1:]
    began, first = (late if late[0][1] < last else [*before, *late])[0]
    return (last - first) / (end - began) if end > began and last > first else None


def _epoch(step: int, series: Sequence[Series], newest: Manifest | None) -> int | None:
    """Returns the epoch of a step, from 1, by rows, by manifests, or by how many means there are."""
    known = [each.epochs for each in series if each.epochs]
    if newest is not None:
        record = newest.record
        whole = (record.step - record.step_in_epoch) / record.epoch if record.epoch else 0.0
        # Rows say the epoch; a manifest is older, but where all epochs are alike it can be reckoned.
        guessed = math.ceil(step / whole) if whole and whole.is_integer() else 0  # of epochs that are all alike
        known.append((step if guessed else record.step, guessed or record.epoch + (record.step_in_epoch > 0)))
    ends = {at for each in series for points in each.means.values() for at in points}  # steps at which epochs ended
    if not known and ends:
        known.append((step, len(ends) + (step > max(ends))))
    return max(1, max(known)[1]) if known else None


def _curves(series: Sequence[Series]) -> dict[str, list[tuple[int, float]]]:
    """Returns the values of each name by step; means of epochs where there is nothing else."""
    points, means = dict[str, dict[int, float]](), dict[str, dict[int, float]]()
    for each in series:
        for whole, part in ((points, each.points), (means, each.means)):
            for name, values in part.items():
                whole[name] = {**whole.get(name, {}), **values}
    return {name: sorted(values.items()) for name, values in {**means, **points}.items() if not name.startswith(HIDDEN)}


def _logged(manifests: Sequence[Manifest]) -> Series:
    series = Series()
    for manifest in manifests:
        for name, value in manifest.logs.items():
            of_epoch = manifest.record.step_in_epoch == 0  # then values of steps are its means
            series.put(name, manifest.record.step, value, of_epoch=of_epoch)
    return series
