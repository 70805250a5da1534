"""A name, or a message, as a terminal can show it."""


def plain(text: str) -> str:
    """Returns a text in one line, of which nothing is an order to the terminal.

    What is no space, letter, sign or picture, such as an escape character, or one that turns the direction of writing
    round, is shown as Python writes it: `\\x1b`.
    """
    return escaped(" ".join(text.split()))


def escaped(text: str) -> str:
    """Returns the same of a text with its lines and spaces."""
    # Most are printable as they are.
    return text if text.isprintable() else "".join(c if c.isprintable() or c == "\n" else _written(c) for c in text)


def _written(character: str) -> str:
    return character.encode("unicode_escape").decode()
