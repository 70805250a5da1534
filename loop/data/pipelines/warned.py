"""What may keep a run from being resumed, though nobody can tell: said once, of a process without a seed."""

import logging
from collections.abc import Callable, Iterable, Mapping

import keras
import numpy as np
import tensorflow as tf

from loop.data.orders.rows import Rows
from loop.errors.remedies import SEED_FIRST
from loop.exact.assigned import BY_NUMPY, BY_TENSORFLOW, Names
from loop.exact.drawn_names import ANY, OF_PYTHON, drawn_arguments
from loop.exact.drawn_shapes import drawn_arrays, drawn_constants, drawn_shapes
from loop.exact.given import names_number
from loop.exact.reach import Reach, attributes
from loop.exact.text import seeds_numpy
from loop.state.randomness import drawn, global_seed, is_seeded
from loop.state.rows_in_memory import OF_ANOTHER, OF_OTHERS

log = logging.getLogger("exactloop")
DRAWN = (
    "Python or NumPy have drawn %s random numbers in this process, which has no seed, and the data are rows in memory "
    "that are too large to be kept with the run, or on an accelerator. If another process has the same rows in another "
    "order, as numpy.random.permutation gives them, this run can be resumed; if it has other rows, as train_test_split "
    f"takes without a seed, or rows that are drawn themselves, it cannot. {SEED_FIRST}"
)
NOT_KEPT = (
    "%s have %s rows in memory that are not kept with the run: more than 16 MB of functions, as in "
    "map(lambda i: x[i]), or what a function of the epoch has other than in arrays and lists. Python or NumPy have "
    "drawn %s random numbers in this process, which has no seed. If the rows were drawn, another process has other "
    f"ones, and cannot resume this run. {SEED_FIRST}"
)
OF_TIME = (
    "The process has the seed %d, which neither the script nor its arguments name. If each start draws one, as of the "
    "time, only a start with this one can resume this run: write down a number, as in keras.utils.set_random_seed(1)."
)
SHAPED = (
    "The program gives %s what Python or NumPy have drawn, as far as its text says, in a process that has no seed. If "
    "the shape of batches comes of it, or what is done with them, another process cannot resume this run, because it "
    f"draws something else. {SEED_FIRST}"
)
CONSTANT = (
    "A step computes with %s, drawn in a process that has no seed, as far as the text of the program says. Another "
    f"process draws something else, and then it cannot resume this run. {SEED_FIRST}"
)
OF_HOOK = (
    "Hook %r goes by %s, drawn in a process that has no seed, as far as the text of the program says. Another process "
    f"draws something else, and a run that goes on there has that. {SEED_FIRST}"
)
OF_DATA = (
    "Steps use layers that were adapted, %s, to data that were drawn or shuffled, as far as the text of the program "
    "says, in a process that has no seed. A process that draws other rows has other words in them, and one that reads "
    f"them in another order has other boundaries of bins: then it cannot resume this run. {SEED_FIRST}"
)
OF_TWO = (
    "This run begins with what this process has drawn, and another run of it has gone on with rows as an earlier "
    "process had drawn them. If both have parts of one split, such as the folds of KFold, these do not fit together "
    f"any more: start all of them afresh, in other directories. {SEED_FIRST}"
)
LONG = 6  # digits of a seed
VOCABULARIES = (keras.layers.StringLookup, keras.layers.IntegerLookup, keras.layers.TextVectorization)
GIVEN = ("class_weight", "loss_weights")  # to `supervised`: constants of its steps


def warn_of_seed() -> None:
    """Says so if it seems that each start of the program draws the seed of its process."""
    # One of a few digits may have been computed of others, such as the number of a trial.
    if (seed := global_seed()) is not None and len(str(seed)) >= LONG and not names_number(seed):
        log.warning(OF_TIME, seed)


def warn_of_parts() -> None:
    """Says so of a run that begins, if another one of the process goes on with what this process has not drawn."""
    if OF_ANOTHER.is_set() and not is_seeded():
        log.warning(OF_TWO)
        OF_ANOTHER.clear()  # once is enough


def unseeded() -> Names:
    """Returns what stands for the streams of the process that have no seed."""
    if is_seeded():
        return frozenset()
    return ANY - ({BY_NUMPY} if seeds_numpy() else set()) - ({BY_TENSORFLOW} if global_seed() is not None else set())


def warn_of_shapes() -> None:
    """Says so if the shapes of batches seem to be drawn."""
    if (kinds := unseeded()) and (names := drawn_shapes(kinds)):
        log.warning(SHAPED, ", ".join(names))


def warn_of_constants(steps: Iterable[object]) -> None:
    """Says so if what is compiled into steps seems to be drawn."""
    if not (kinds := unseeded()):
        return
    steps, given = [*steps], drawn_arguments(frozenset(["supervised"]), kinds & OF_PYTHON)
    arguments = (name for name in GIVEN if any(each.place == name for each in given))
    if names := dict.fromkeys([*drawn_constants(steps, kinds), *drawn_arrays(steps, kinds), *arguments]):
        log.warning(CONSTANT, ", ".join(names))


def warn_of_hooks(functions: Mapping[str, Iterable[object]]) -> None:
    """Says so if what hooks show or compare with seems to be drawn, such as the noise of which a network makes images.

    Args:
        functions: What each hook calls, by its name.
    """
    kinds = unseeded()
    for hook, called in functions.items() if kinds else ():
        if names := drawn_arrays(called, kinds):
            log.warning(OF_HOOK, hook, ", ".join(names))


def warn_of_adapted(steps: Iterable[object], kept: Iterable[keras.Layer]) -> None:
    """Says so if layers of steps seem to be adapted to what was drawn: what these are traced with stays as it is.

    Args:
        steps: What the steps call.
        kept: Layers whose variables a checkpoint has, from which they derive all that they compute with.
    """
    if not drawn_arguments(frozenset(["adapt"]), unseeded()):
        return
    adapted = [thing for thing in Reach(steps).objects if isinstance(thing, keras.Layer) and _is_adapted(thing)]
    known = {id(layer) for layer in kept if isinstance(layer, keras.layers.Normalization)}
    adapted = [layer for layer in adapted if id(layer) not in known]
    within = {id(part) for layer in adapted for part in attributes(layer).values()}  # one for texts has one for words
    if names := [repr(layer.name) for layer in adapted if id(layer) not in within]:
        log.warning(OF_DATA, ", ".join(dict.fromkeys(names)))


def _is_adapted(layer: keras.Layer) -> bool:
    """Returns whether a layer has seen data, and was not given what it has of them."""
    if isinstance(layer, keras.layers.Discretization):
        return bool(np.size(layer.summary))
    name = "mean" if isinstance(layer, keras.layers.Normalization) else "vocabulary"
    return isinstance(layer, (keras.layers.Normalization, *VOCABULARIES)) and layer.get_config()[name] is None


def warn_of_rows(pool: Iterable[Rows], kept: Callable[[], Mapping[str, tf.Tensor]]) -> None:
    """Says so if rows that are not kept may have been drawn without a seed, and so be others in the next process.

    If they are the same ones in another order, they are put back where they were. Nobody can tell beforehand.

    Args:
        pool: The rows.
        kept: Returns what is kept. It is asked last, as that may take its time.
    """
    # Who permutes n rows draws about n numbers.
    counts = [rows.count for rows in pool]
    if counts and not is_seeded() and (count := drawn()) >= max(counts) + OF_OTHERS and not kept():
        log.warning(DRAWN, f"{count:,}")


def warn_of_tensors(tensors: Iterable[tf.Tensor], owner: str) -> None:
    """Says so if rows that cannot be kept may have been drawn; see above.

    Args:
        tensors: What the functions of pipelines have, and what else is meant.
        owner: What to call the data.
    """
    counts = [int(x.shape[0]) for x in tensors if x.shape.rank and (x.dtype.is_floating or x.dtype.is_integer)]
    if counts and not is_seeded() and (count := drawn()) >= max(counts) + OF_OTHERS:
        log.warning(NOT_KEPT, owner, f"{max(counts):,}", f"{count:,}")
