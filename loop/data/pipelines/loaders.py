"""Keras' loaders of directories and time series, which draw a seed if they are given none.

By it they shuffle names of files, labels or positions in NumPy, before there is a dataset; then the dataset shuffles by
it, too, and so tells what it was. With the seed of an earlier process, the order that it had can be made again.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import tensorflow as tf

from loop.exact.pipeline import stages
from loop.tf_internals import kind_of, seeds_of, tensors_of, with_seed


def seeds(
    dataset: tf.data.Dataset, replaced: Mapping[tf.data.Dataset, tf.data.Dataset] = MappingProxyType({})
) -> list[int]:
    """Returns the seeds that the stages that shuffle, or draw, were given, the last stage first.

    Args:
        dataset: The dataset.
        replaced: By stage, another one that stands in its place.
    """
    # There are two: that of the process, which is left out here, and its own.
    given = [seeds_of(replaced.get(stage, stage))[1:] for stage in _seeded(dataset)]
    return [int(seed) for each in given for seed in each if seed is not None]


def reordered(
    dataset: tf.data.Dataset, earlier: Sequence[int], is_set: Callable[[int], bool]
) -> Mapping[tf.data.Dataset, tf.data.Dataset]:
    """Returns what stands in the place of stages, so that a dataset has the order that it had with other seeds.

    Args:
        dataset: The dataset.
        earlier: What `seeds` returned of it then.
        is_set: Says of a present seed whether somebody has set it, and nobody has drawn it.

    Returns:
        By stage, the one that stands in its place; nothing if the seeds are the same.
    """
    replaced = dict[tf.data.Dataset, tf.data.Dataset]()
    # Not strict: a pipeline that has changed is told by the hash of its stages.
    for stage, now, then in zip(_seeded(dataset), seeds(dataset), earlier, strict=False):
        if now != then and not is_set(now):
            replaced[stage] = with_seed(stage, then)
            replaced |= {each: _reordered(each, now, then) for each in stages(stage) if _is_list(each)}
    return replaced


def _seeded(dataset: tf.data.Dataset) -> Iterator[tf.data.Dataset]:
    return (stage for stage in stages(dataset) if kind_of(stage) in ("Shuffle", "ShuffleAndRepeat", "Random"))


def _is_list(stage: tf.data.Dataset) -> bool:
    tensors = tensors_of(stage) if kind_of(stage) in ("TensorSlice", "Tensor") else ()
    return (
        # Names of files, labels or positions: what Keras has shuffled in NumPy.
        len(tensors) == 1
        and tensors[0].shape.rank == 1
        and (tensors[0].dtype.is_integer or tensors[0].dtype == tf.string)
    )


def _reordered(stage: tf.data.Dataset, now: int, then: int) -> tf.data.Dataset:
    (tensor,) = tensors_of(stage)
    # The inverse of the order of now leads back to that of the directory; from there, to that of then.
    sorted_again = np.argsort(_order(len(tensor), now))
    as_then = tf.gather(tensor, sorted_again[_order(len(tensor), then)])
    make = tf.data.Dataset.from_tensors if kind_of(stage) == "Tensor" else tf.data.Dataset.from_tensor_slices
    return make(as_then)


def _order(length: int, seed: int) -> np.ndarray:
    """Returns the order in which Keras puts as many things: `numpy.random.RandomState(seed).shuffle`."""
    order = np.arange(length)
    np.random.RandomState(seed).shuffle(order)
    return order
