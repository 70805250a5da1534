"""What a line about a run says, cut to what fits: what tells how far it is never goes, values do."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from hooks.shared.figures import figure
from hooks.shared.plain import plain

NARROWEST, WIDEST = 6, 40  # of the bar, in columns
ENOUGH, SHORTEST = 12, 5  # columns for one value, and of a name of which a part is left out
DONE, LEFT = "━", "─"


@dataclass
class ProgressLine:
    """How far a run is.

    Attributes:
        epoch: Such as `3/10`.
        step: Train steps completed.
        total: At which step it ends; None if nobody knows.
        rate: Such as `120.5 steps/s`.
        time: The time left; how long it has taken, if nobody knows the total.
        doing: What it does instead of training, such as `evaluating`.
        values: Name to value.
        first: Names that are left out last.
        best: Names of values that are marked.
    """

    epoch: str = ""
    step: int = 0
    total: int | None = None
    rate: str = ""
    time: str = ""
    doing: str = ""
    values: Mapping[str, float] = field(default_factory=dict)
    first: Collection[str] = ()
    best: Collection[str] = ()

    def text(self, width: int) -> Text:
        """Returns it in so many columns at most."""
        if not self.epoch:
            return Text(_cut(self.doing, width), no_wrap=True, overflow="crop")
        count = f"{self.step}/{self.total or '?'}"
        numbers = " ".join(part for part in (count, self.rate, self.time, self.doing) if part)
        head = f"epoch {self.epoch} "
        # Columns, not characters: a Chinese one takes two.
        left = width - cell_len(head) - cell_len(numbers) - 1
        size = min(WIDEST, max(NARROWEST, left // 3)) if self.total else 0
        line = Text(head, no_wrap=True, overflow="crop")
        if 0 < size <= left:
            done = min(size, size * self.step // (self.total or 1))
            line.append(DONE * done, "bar.complete").append(LEFT * (size - done), "bar.back").append(" ")
            left -= size + 1
        # What is left is for values, so they are what goes when a window is narrow.
        values = fitting(self.values, left - 2, first=self.first, best=self.best)
        line.append(f"{numbers}  {values}".rstrip())
        line.truncate(width)
        return line


def fitting(values: Mapping[str, float], width: int, *, first: Collection[str] = (), best: Collection[str] = ()) -> str:
    """Returns names and values in so many columns, with `…` in the place of those for which there is no room."""
    said = {name: said_of(name, value, best=name in best) for name, value in values.items()}
    whole = "  ".join(said.values())
    if cell_len(whole) <= width:
        return whole
    kept, room = set[str](), width - 1
    # Sorting is stable: besides those that are watched, values go from the end of their order.
    order = sorted(said, key=lambda name: name not in first)
    for name in order:
        if cell_len(said[name]) + 2 <= room:
            kept.add(name)
            room -= cell_len(said[name]) + 2
        elif kept or width < ENOUGH:
            break
    if not kept and order and width >= ENOUGH:  # all names are too long
        value = said[order[0]].removeprefix(plain(order[0]))
        left = room - 2 - cell_len(value)
        return f"{shortened(plain(order[0]), left)}{value}  …" if left >= SHORTEST else ""
    return "".join(f"{said[name]}  " for name in said if name in kept) + "…" if kept else ""


def shortened(name: str, width: int) -> str:
    """Returns a name in so many columns: without its middle, as names are told apart by their ends."""
    if cell_len(name) <= width:
        return name
    end = max(0, width - 1) // 2
    # Of a character of two columns that is cut in two, a blank is left.
    begin, rest = set_cell_size(name, max(0, width - 1 - end)), set_cell_size(name[::-1], end)[::-1]
    return f"{begin.rstrip()}…{rest.lstrip()}"


def said_of(name: str, value: float, *, best: bool = False) -> str:
    """Returns a name and its value, marked if it is the best."""
    return f"{plain(name)} {figure(value)}{'*' if best else ''}"


def clock(seconds: float | None) -> str:
    """Returns a span of time as hours, minutes and seconds."""
    if seconds is None:
        return "-:--:--"
    minutes, rest = divmod(round(seconds), 60)  # rounded first, or 59.6 s would be shown as 0:00:60
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def _cut(text: str, width: int) -> str:
    return text if cell_len(text) <= width else f"{set_cell_size(text, max(0, width - 1))}…"
