"""Runs as text: for each what it is doing, and its curves."""

import math
from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from exactloop.printing import span
from exactloop.watching.status import Status
from hooks.shared.figures import short
from hooks.shared.plain import plain
from hooks.shared.progress_line import ProgressLine, clock, shortened

BLOCKS, NONE = "▁▂▃▄▅▆▇█", "?"  # the latter for what is not finite
NARROWEST, BESIDE = 56, 2  # columns of a run, and between two
NAME, NUMBER = 20, 10  # columns
NOTHING = "Nothing of a run is here yet: no checkpoints, no event files of TensorBoard, no rows of MetricsLog."


def picture(runs: Sequence[tuple[str, Status | None]], width: int) -> RenderableType:
    """Returns runs as they fit: beside one another, or below.

    Args:
        runs: What each is called, and what is known of it.
        width: How many columns there are.
    """
    beside = max(1, min(len(runs), (width + BESIDE) // (NARROWEST + BESIDE)))
    each = (width - BESIDE * (beside - 1)) // beside
    table = Table.grid(padding=(0, BESIDE, 0, 0))
    for _ in range(beside):
        table.add_column(width=each)
    panels = [_panel(name, status, each) for name, status in runs]
    for first in range(0, len(panels), beside):  # row by row, in the order of their names
        table.add_row(*panels[first : first + beside])
    return table


def sparkline(points: Sequence[tuple[int, float]], width: int) -> str:
    """Returns a curve in so many columns at most: the mean of what lies in each, between the smallest and the largest.

    Args:
        points: Steps and values, in the order of the steps.
        width: How many columns.
    """
    first, last = points[0][0], points[-1][0]
    count = max(0, min(width, len(points)))
    if not count:  # there is no room at all
        return ""
    of_column = [list[float]() for _ in range(count)]
    for step, value in points:
        # By steps and not by count, so a gap between two points is as wide as it was long.
        of_column[min(count - 1, (step - first) * count // max(1, last - first))].append(value)
    means, latest = list[float](), math.nan
    for values in of_column:
        finite = [value for value in values if math.isfinite(value)]
        # Divided first, since the sum of large ones may be infinite. A column without points has what was latest.
        latest = sum(value / len(finite) for value in finite) if finite else math.nan if values else latest
        means.append(latest)
    known = [mean for mean in means if math.isfinite(mean)]
    low, high = min(known, default=0.0), max(known, default=0.0)
    # 0 for a curve that is level, or wider than a float64.
    scale = (len(BLOCKS) - 1) / (high - low) if 0 < high - low < math.inf else 0.0
    return "".join(
        BLOCKS[round((mean - low) * scale) if scale else 0] if math.isfinite(mean) else NONE for mean in means
    )


def _panel(name: str, status: Status | None, width: int) -> Panel:
    inner = width - 4  # without the frame
    if status is None:
        return Panel(Text(NOTHING), title=Text(plain(name)), title_align="left", width=width)
    parts: list[RenderableType] = [_line(status).text(inner), Text(_saved(status), no_wrap=True, overflow="ellipsis")]
    if status.wrong:
        parts.append(Text(plain(status.wrong), "red"))
    if status.curves:
        parts.append(_curves(status, inner))
    return Panel(Group(*parts), title=Text(plain(name)), title_align="left", width=width)


def _line(status: Status) -> ProgressLine:
    """Returns how far it is, as `Progress` would show it."""
    number = "" if status.epoch is None else str(status.epoch)
    return ProgressLine(
        epoch=f"{number}/{status.epochs}" if status.epochs else number or "?",
        step=status.step,
        total=status.total,
        rate="" if status.rate is None else f"{status.rate:.1f} steps/s",
        time="" if status.left is None else clock(status.left),
        doing=status.state,
        values={},
    )


def _saved(status: Status) -> str:
    saved = "nothing saved" if status.age is None else f"saved {span(status.age)} ago at step {status.saved}"
    return saved if status.silent is None else f"{saved}, written {span(status.silent)} ago"


def _curves(status: Status, width: int) -> Table:
    rows = [(plain(name), points, _numbers(points)) for name, points in sorted(status.curves.items())]
    longest = max(cell_len(name) for name, *_ in rows)
    # Three numbers only if ten columns are left for the curve.
    wide = width - min(NAME, longest) - 3 * (NUMBER + 1) - 2 >= 10
    number = NUMBER if wide else min(NUMBER, max(len(numbers[0]) for *_, numbers in rows))
    # In a narrow window the curve goes, and then a part of the names: the latest value is what one looks for.
    name = max(1, min(NAME, longest, width - number - 2))
    left = max(0, width - name - (3 if wide else 1) * (number + 1) - 2)
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(width=name, no_wrap=True, overflow="ellipsis")
    table.add_column(width=left, no_wrap=True)
    for _ in range(3 if wide else 1):
        table.add_column(width=number, no_wrap=True, justify="right")
    if wide:
        table.add_row("", "", *(Text(said, "dim") for said in ("latest", "lowest", "highest")))
    for called, points, numbers in rows:
        table.add_row(
            Text(shortened(called, name)), Text(sparkline(points, left), "cyan"), *numbers[: 3 if wide else 1]
        )
    return table


def _numbers(points: Sequence[tuple[int, float]]) -> list[str]:
    """Returns the latest, the lowest and the highest value of a curve."""
    finite = [value for _, value in points if math.isfinite(value)]
    shown = points[-1][1], min(finite, default=math.nan), max(finite, default=math.nan)
    return [short(value, NUMBER) for value in shown]
