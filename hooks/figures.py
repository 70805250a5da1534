"""How a logged number is shown to people."""

LARGEST = 2**53  # up to here a float64 tells all whole numbers apart


def figure(value: float, digits: int = 4) -> str:
    """Returns a whole number with all its digits, such as a count, and any other with so many."""
    return f"{value:.0f}" if float(value).is_integer() and abs(value) <= LARGEST else f"{value:.{digits}g}"
