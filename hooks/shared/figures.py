"""How a logged number, and a count, is shown to people."""

LARGEST = 2**53  # up to here a float64 tells all whole numbers apart


def figure(value: float, digits: int = 4) -> str:
    """Returns a whole number with all its digits, such as a count, and any other with so many."""
    return f"{value:.0f}" if float(value).is_integer() and abs(value) <= LARGEST else f"{value:.{digits}g}"


def counted(count: int, what: str) -> str:
    """Returns how many things there are, such as `1 kill` and `2 kills`."""
    return f"{count} {what}{'' if count == 1 else 's'}"
