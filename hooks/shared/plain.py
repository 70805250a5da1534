"""A name, or a message, as a terminal can show it."""


def plain(text: str) -> str:
    """Returns a text in one line, of which nothing is an order to the terminal.

    What is no space, letter, sign or picture, such as an escape character, or one that turns the direction of writing
    round, is shown as Python writes it: `\\x1b`.
    """
    line = " ".join(text.split())
    # Most names are printable as they are.
    return line if line.isprintable() else "".join(c if c.isprintable() else _written(c) for c in line)


def _written(character: str) -> str:
    return character.encode("unicode_escape").decode()
