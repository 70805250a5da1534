"""Whether the next process has the same rows in memory, as far as anybody can tell."""

from loop.exact.set_order import globals_in_set_order, is_other_each_time
from loop.exact.text import hashes, program_text
from loop.state.randomness import is_seeded


def is_settled() -> bool:
    """Returns whether a seed decides what is drawn, and the program goes by no hashes of texts. It takes its time."""
    if not seed_decides():
        return False
    return not (is_other_each_time() and (program_text().orders_sets or hashes() or globals_in_set_order()))


def seed_decides() -> bool:
    """Returns whether the process has a seed, and the program draws nothing before it is set, nor of other streams."""
    return is_seeded() and not program_text().draws_unseeded
