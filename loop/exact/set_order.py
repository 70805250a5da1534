"""What has the order of a set of texts, which is another one in each process: Python hashes them with a seed.

Nobody can ask a list where its order comes from. But a set is a table, in which each text has its place by the lowest
bits of its hash; so in the order of a set, these go up, but for where two met, and in any other order half the time.
"""

import dis
import logging
import math
import operator
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

import keras
import numpy as np

from loop.errors.remedies import SORTED
from loop.exact.reach import Reach, attributes, codes, is_of_program, outside
from loop.exact.text import hashes, program_text
from loop.findings import Finding

FEWEST, MOST = 12, 20_000  # of fewer texts, the order may be that by chance
FEW = 4  # as many tell something where the program is seen to go through a set
UNLIKELY = 5  # standard deviations from how often hashes go up by chance: once in millions
SIZES = 4  # of tables: up to eight times as large as what is in them
log = logging.getLogger("exactloop")
IN_SET_ORDER = (
    "In the script, %s has the order of a set, which is another in each process. A process that has another one can "
    "resume this run only if nothing but rows in memory depends on it. Write sorted(set(names)) for list(set(names))."
)
THROUGH_SET = (
    "A step goes through a set of texts, whose order is another one in each process: %s. If what it computes depends "
    "on that, another process refuses to go on. Write for name in sorted(names)."
)
HASHED = (
    "The program calls hash, which gives another number for a text in each process: %s. A process can resume this run "
    "only if nothing but rows in memory depends on it. Write zlib.crc32(text.encode()), or start Python with "
    "PYTHONHASHSEED=0."
)
VOCABULARIES = (keras.layers.StringLookup, keras.layers.TextVectorization)


def is_other_each_time() -> bool:
    """Returns whether the next process has another order of sets."""
    return bool(sys.flags.hash_randomization) and os.environ.get("PYTHONHASHSEED", "random") == "random"


def has_order_of_set(texts: Sequence[object]) -> bool:
    """Returns whether different texts stand in the order that a set has in this process."""
    if not FEWEST <= len(texts) <= MOST or not all(isinstance(text, str) for text in texts):
        return False
    count, hashes = len(texts), [*map(hash, texts)]
    needed = (count - 1) / 2 + UNLIKELY * math.sqrt((count + 1) / 12)  # of a permutation, mean and deviation
    masks = [2 ** (count.bit_length() + more) - 1 for more in range(SIZES)]
    again = {text: i for i, text in enumerate({*texts})}  # of few texts, where they met is the same once more
    places = [[again[text] for text in texts], *([each & mask for each in hashes] for mask in masks)]
    return len(again) == count and any(sum(map(operator.lt, each, each[1:])) >= needed for each in places)


def globals_in_set_order() -> list[str]:
    """Returns the names of lists and dicts of the script that are in such an order."""
    held = vars(sys.modules["__main__"]).items() if is_other_each_time() else ()
    return [name for name, value in [*held] if any(map(_seems_to_have_it, _texts_of(value)))]


def _seems_to_have_it(texts: Sequence[object]) -> bool:
    if has_order_of_set(texts):
        return True
    is_text = FEW <= len(texts) <= MOST and all(isinstance(text, str) for text in texts)
    return is_text and program_text().orders_sets and [*{*texts}] == [*texts] != sorted(map(str, texts))


def warn_of_sets(steps: Iterable[object]) -> None:
    """Names them in the log, if there are any, and sets that steps go through; and what is hashed."""
    if is_other_each_time() and (lines := hashes()):
        log.warning(HASHED, "; ".join(lines))
    if names := globals_in_set_order():
        log.warning(IN_SET_ORDER, ", ".join(map(repr, names)))
    if is_other_each_time() and (found := sorted({*_gone_through(Reach(steps))})):
        log.warning(THROUGH_SET, "; ".join(found))


def _gone_through(reach: Reach) -> Iterator[str]:
    """Yields what to call sets of texts that functions of the program go through, as they are."""
    of_objects = {name: held for each in reach.objects for name, held in attributes(each).items() if _is_of_texts(held)}
    for function in filter(is_of_program, reach.functions):
        known = {**of_objects, **{name: held for name, held in outside(function) if _is_of_texts(held)}}
        instructions = map(dis.get_instructions, codes(function.__code__))
        for before, after in (pair for each in instructions for pair in pairwise(each)):
            # A set that stands there is a constant.
            held = before.argval if before.opname == "LOAD_CONST" else known.get(before.argval)
            if after.opname == "GET_ITER" and before.opname.startswith("LOAD_") and _is_of_texts(held):
                yield f"{before.argval}, in {function.__qualname__}"


def _is_of_texts(held: object) -> bool:
    return isinstance(held, set | frozenset) and len(held) > 1 and any(isinstance(each, str) for each in held)


def vocabularies_in_set_order(owner: str, roots: Iterable[object]) -> list[Finding]:
    """Returns the layers whose words have other numbers in the next process, so that it would refuse to go on.

    Args:
        owner: Who uses them.
        roots: What to go through, to find them.
    """
    if not is_other_each_time():
        return []
    layers = [thing for thing in Reach(roots).objects if isinstance(thing, VOCABULARIES)]
    words = {layer.name: layer.get_vocabulary(include_special_tokens=False) for layer in layers}
    found = [name for name, each in words.items() if has_order_of_set(each)]
    # Of few, it may be chance: then it is only said.
    if few := [f"the vocabulary of {name!r}" for name in words if name not in found and _seems_to_have_it(words[name])]:
        log.warning(IN_SET_ORDER, ", ".join(few))
    what = "{} numbers words by layer {!r}, whose vocabulary has the order of a set, which is another in each process"
    return [Finding(what.format(owner, name), "", SORTED) for name in found]


def _texts_of(value: object) -> list[Sequence[object]]:
    if isinstance(value, dict):
        return [[*value], [*value.values()]]
    if isinstance(value, np.ndarray) and value.dtype.kind == "U" and value.ndim == 1:
        return [value.tolist()]
    return [value] if isinstance(value, list | tuple) else []
