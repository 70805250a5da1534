"""How a logged number, and a count, is shown to people."""

LARGEST = 2**53  # up to here a float64 tells all whole numbers apart


def figure(value: float, digits: int = 4) -> str:
    """Returns a whole number with all its digits, such as a count, and any other with so many."""
    return f"{value:.0f}" if float(value).is_integer() and abs(value) <= LARGEST else f"{value:.{digits}g}"


def short(value: float, width: int) -> str:
    """Returns the same in so many characters, by leaving out digits and never a part of a number: from 9 on."""
    whole = figure(value)
    return (
        whole
        if len(whole) <= width
        else next((said for digits in (4, 3, 2, 1) if len(said := f"{value:.{digits}g}") <= width), f"{value:.0e}")
    )


def counted(count: int, what: str) -> str:
    """Returns how many things there are, such as `1 kill` and `2 kills`."""
    return f"{count} {what}{'' if count == 1 else 's'}"
