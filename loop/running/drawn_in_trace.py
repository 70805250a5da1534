"""What a step has in it that Python gave while it was traced, once: another process would trace another step."""

import contextlib
import itertools
from collections.abc import Callable

import keras

from loop.data.objects.changed import Changed
from loop.errors.remedies import SAME_IN_EACH, SEED_FIRST
from loop.exact.draws_in_python import names_clock, names_streams, unseeded_generators
from loop.exact.reach import Reach
from loop.findings import Finding
from loop.state.randomness import is_seeded, seeded

DRAWN = "%s draws from Python's or NumPy's random numbers while it is traced, once, and without a seed"
OTHER = (
    "%s has in it what is other in each process, as what time.time(), uuid.uuid4() and np.random.default_rng() give, "
    "once, while it is traced"
)


def may_draw(step: object) -> bool:
    """Returns whether what the function of a step reaches names anything that gives other numbers in each process."""
    reach = Reach([step])
    layers = [each for each in reach.objects if isinstance(each, keras.Layer)]
    return bool(unseeded_generators(reach)) or names_streams(reach, layers) or names_clock(reach)


def drawn_in_trace(step: object, owner: str, was: object, traced: Callable[[], object]) -> list[Finding]:
    """Returns that a step would be traced otherwise in another process. Python is left as it was.

    Args:
        step: The function of the step, which may draw: to trace it takes as long as it did.
        owner: What to call it.
        was: What it was when it was traced.
        traced: Traces it again, and returns what it is then. It may raise.
    """
    reach = Reach([step])
    own = unseeded_generators(reach)
    changed, before = Changed([*reach.objects, *reach.functions]), itertools.count()

    def again(seed: int) -> object:
        # Each time from where the first trace has ended, but for what goes on by itself.
        with changed.undone(), seeded(seed):
            for each in own * next(before):
                each.random()
            return traced()

    found = ""
    with contextlib.suppress(Exception):  # nothing is known of what cannot be traced again
        if (once := again(0)) != was:
            found = OTHER if once != again(0) else DRAWN if not is_seeded() and once != again(1) else ""
    # Nor of what nobody can take back, such as an iterator.
    if not found or changed.lost:
        return []
    return [Finding(found % owner, "", SEED_FIRST if found == DRAWN else SAME_IN_EACH)]
