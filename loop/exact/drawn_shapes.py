"""What is fixed in what is traced, such as the shapes of batches and constants, of what a program has drawn.

What another process has drawn there cannot be put in its place when a run goes on: steps are traced for it.
"""

import types
from collections.abc import Collection, Iterable, Iterator, Mapping

import numpy as np
import tensorflow as tf

from loop.exact.assigned import DRAWN
from loop.exact.drawn_names import drawn_arguments, drawn_names
from loop.exact.reach import Reach, is_of_program, outside

DROPS = "drop_remainder"  # or else `batch` makes batches of any size, as far as the pipeline says
SHAPING: Mapping[str, Collection[int | str]] = {  # the arguments that do, by the name of the function or class
    **{"batch": (0, "batch_size"), "padded_batch": (1, "padded_shapes")},
    **dict.fromkeys(("ArrayData", "IndexedData"), ("batch_size",)),
    **dict.fromkeys(("resize", "random_crop"), (1, 2, "size", "method")),
    **dict.fromkeys(("resize_with_pad", "resize_with_crop_or_pad"), (1, 2, "target_height", "target_width")),
    **dict.fromkeys(("image_dataset_from_directory", "text_dataset_from_directory"), ("batch_size", "image_size")),
    "audio_dataset_from_directory": ("batch_size", "output_sequence_length"),
    "timeseries_dataset_from_array": (2, 3, 4, 5, "sequence_length", "sequence_stride", "sampling_rate", "batch_size"),
}
SIZES = frozenset(("len", "shape", "size"))  # of what was drawn: mostly the same each time


def drawn_shapes() -> list[str]:
    """Returns the functions and classes that are given such values, as far as the text of the program says."""
    # What TensorFlow draws, it draws when a function runs, and then it is in no shape.
    given = drawn_arguments(frozenset(SHAPING), frozenset([DRAWN]), SIZES)
    shaping = [each for each in given if each.place in SHAPING[each.function]]
    fixed = [each for each in shaping if each.function != "batch" or DROPS in each.keywords]
    return sorted({each.function for each in fixed})


def drawn_constants(functions: Iterable[object]) -> list[str]:
    """Returns the names of numbers, arrays and texts that come of what was drawn, and that functions of a program read.

    Args:
        functions: What is traced; what it calls counts, too.
    """
    return sorted({name for each in Reach(functions).functions if is_of_program(each) for name in _drawn_in(each)})


def _drawn_in(function: types.FunctionType) -> Iterator[str]:
    drawn = {each.name for each in drawn_names(frozenset([DRAWN]), SIZES) if each.module == function.__module__}
    for name, value in outside(function):
        if name in drawn and isinstance(value, int | float | str | np.generic | np.ndarray | tf.Tensor):
            yield name
