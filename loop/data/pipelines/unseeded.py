"""What a pipeline holds that was drawn when it was made, in a process without a seed: the next one draws it otherwise.

What is drawn while a run goes on is in its checkpoints. This is not: initializers without a seed, the weights that they
gave to networks, and what Python draws while a function is traced, which is once; and networks that steps only read.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TypeGuard

import keras
import numpy as np
import tensorflow as tf

from loop.data.objects.reached import variables_of
from loop.errors.remedies import HELD_OR_SEED, SEED_FIRST, SEED_OR_FIRST
from loop.exact.drawn_names import reads_drawn
from loop.exact.draws_in_python import names_streams
from loop.exact.outside import SEVERAL, is_computed
from loop.exact.pipeline import stages
from loop.exact.reach import Reach, attributes
from loop.findings import Finding
from loop.handles import keys
from loop.state.randomness import drawn, is_seeded, seeded
from loop.state.rows_in_memory import OF_OTHERS
from loop.tf_internals import programmed

log = logging.getLogger("exactloop")
COMPUTED = (
    "%s use numbers that were computed, %s, in a process that has no seed, and has drawn %s random numbers. If they "
    "are of rows that were chosen at random, such as their mean, another process has others. So few are not taken back "
    f"if all else is the same, and then it cannot resume this run. {SEED_FIRST}"
)
ADAPTED = (
    "%s use layers that were adapted to data in a process without a seed: %s. If those were shuffled, another process "
    f"has other numbers in them, and cannot resume this run. {SEED_FIRST}"
)
ONCE = "%s draw from Python's or NumPy's random numbers while a function is traced, once, and without a seed"


def unseeded(dataset: tf.data.Dataset, owner: str, *, kept: bool) -> list[Finding]:
    """Returns what would be other numbers in another process; nothing, if this one has a seed.

    Args:
        dataset: The pipeline.
        owner: What to call the data.
        kept: Whether the run keeps arrays that its functions have.
    """
    if is_seeded():
        return []
    functions = [each for stage in stages(dataset) for each in programmed(stage)]
    reach = Reach(function for function, _ in functions)
    layers = [thing for thing in reach.objects if isinstance(thing, keras.Layer)]
    if adapted := [layer.name for layer in layers if _is_adapted(layer, kept=kept)]:
        log.warning(ADAPTED, owner, ", ".join(map(repr, dict.fromkeys(adapted))))
    # Those of which the text says so are taken back, however few they are.
    is_left = (numbers := _computed(reach)) and (count := drawn()) >= OF_OTHERS
    if is_left and not (kept and reads_drawn(function for function, _ in functions)):
        log.warning(COMPUTED, owner, ", ".join(numbers), f"{count:,}")
    of_layers = {id(value) for layer in layers for value in attributes(layer).values()}  # said of the layer, once
    what = [f"an initializer, {type(x).__name__}," for x in reach.held() if _draws(x) and id(x) not in of_layers]
    what += [f"layer {layer.name!r}, whose weights were drawn" for layer in layers if _is_as_drawn(layer)]
    found = [Finding(f"{owner} use {each} without a seed", "", SEED_OR_FIRST) for each in dict.fromkeys(what)]
    # To trace all again takes as long as it took to make it: only where code names what draws.
    if names_streams(reach, layers) and any(_draws_in_python(again) for _, again in functions):
        found.append(Finding(ONCE % owner, "", SEED_FIRST))
    return found


def as_drawn(roots: Iterable[object], variables: Collection[tf.Variable]) -> list[Finding]:
    """Returns which layers another process would draw otherwise, in one without a seed.

    Args:
        roots: The steps, and what they work on.
        variables: Those that they only read, and no checkpoint holds.
    """
    if not variables or is_seeded():
        return []
    read = keys(variables)
    found = [layer for layer in Reach(roots).objects if isinstance(layer, keras.Layer) and _is_as_drawn(layer)]
    names = [layer.name for layer in found if keys(variables_of(layer)) & read]
    what = "A step reads layer {!r}, whose weights were drawn without a seed, and no checkpoint would hold them"
    return [Finding(what.format(name), "", HELD_OR_SEED) for name in names]


def _draws(thing: object) -> TypeGuard[Callable[[Sequence[int]], tf.Tensor]]:
    """Returns whether this is an initializer that drew its own seed."""
    return isinstance(thing, keras.initializers.Initializer) and thing.get_config().get("seed", 0) is None


def _is_as_drawn(layer: keras.Layer) -> bool:
    """Returns whether a layer has the weights still that such an initializer gave it: nobody has loaded others."""
    for name, initializer in attributes(layer).items():
        stem, _, what = name.rpartition("_")
        if what == "initializer" and _draws(initializer):
            for weight in (getattr(layer, attribute, None) for attribute in (stem, "_".join((stem, "kernel")))):
                # An initializer draws the same each time that it is called: its seed is its own.
                if isinstance(weight, keras.Variable) and np.array_equal(initializer(weight.shape), weight):
                    return True
    return False


def _is_adapted(layer: keras.Layer, *, kept: bool) -> bool:
    """Returns whether a layer has numbers that depend on the data it has seen, and that are not kept with the run."""
    if isinstance(layer, keras.layers.Normalization):
        return not kept and layer.input_mean is None and layer.built
    is_of_data = isinstance(layer, keras.layers.Discretization) and layer.summary is not None and layer.summary.size > 0
    return not kept and is_of_data


def _computed(reach: Reach) -> list[str]:
    """Returns numbers that the program has computed of arrays, if there are so few that they are not taken back."""
    scalars = [np.atleast_1d(x) for x in reach.held() if isinstance(x, np.floating | np.ndarray)]
    scalars += [np.atleast_1d(x) for x in reach.held() if isinstance(x, tf.Tensor) and not tf.is_symbolic_tensor(x)]
    # Of two dimensions are the logarithms of weights by which TensorFlow samples from datasets.
    found = [f"{number:.6g}" for array in scalars if array.ndim == 1 and is_computed(array) for number in array]
    return [*dict.fromkeys(found)] if len({*found}) < SEVERAL else []


def _draws_in_python(trace: Callable[[], object]) -> bool:
    with seeded(0) as has_drawn:  # puts the streams back
        try:
            trace()
        except Exception:  # it can be traced once only
            return False
        return has_drawn()
