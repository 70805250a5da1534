"""The random streams of Python and NumPy as functions of numbers, for code of the program that draws from them."""

import random

import numpy as np


def key_streams(*key: int) -> None:
    """Seeds Python's `random` and NumPy's global generator with numbers, which are taken as 64 bits. Takes 15 us."""
    numbers = [number % 2**64 for number in key]
    # NumPy takes words of 32 bits.
    np.random.seed([word for number in numbers for word in (number % 2**32, number >> 32)])
    # With a 1 in front, or zeros at the beginning would be lost, and (0, 1) be (1,).
    random.seed(int.from_bytes(b"\x01" + b"".join(number.to_bytes(8) for number in numbers)))
