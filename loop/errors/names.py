"""What the name of something that is saved may be."""

import re

from loop.errors.kinds import shown

WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def is_word(name: object) -> bool:
    """Returns whether TensorFlow takes this for the name of a module."""
    return isinstance(name, str) and WORD.fullmatch(name) is not None


def check_name(owner: str, name: object) -> None:
    """Raises `ValueError` if this cannot be the name of something that is saved, with one that can."""
    if not is_word(name):
        word = re.sub(r"[^A-Za-z0-9]+", "_", str(name)).strip("_")
        word = word if is_word(word) else f"my_{word or 'own'}"
        raise ValueError(
            f"{owner} needs a name of letters (A to Z), digits and _, because it is part of the keys of what is saved. "
            f"Received: {shown(name)}. Write name={word!r}."
        )
