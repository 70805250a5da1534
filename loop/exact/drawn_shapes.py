"""What is fixed in what is traced, such as the shapes of batches and constants, of what a program has drawn.

What another process has drawn there cannot be put in its place when a run goes on: steps are traced for it.
"""

import types
from collections.abc import Collection, Iterable, Iterator, Mapping

import numpy as np
import tensorflow as tf

from loop.exact.assigned import OF_OBJECTS, Names
from loop.exact.drawn_names import OF_PYTHON, drawn_arguments, drawn_names, drawn_themselves
from loop.exact.reach import Reach, attributes, cells_of, globals_of, is_of_program, outside

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
ARRAYS = (np.ndarray, tf.Tensor)


def drawn_shapes(kinds: Names = OF_PYTHON) -> list[str]:
    """Returns the functions and classes that are given such values, as far as the text of the program says.

    Args:
        kinds: What stands for the streams that are meant.
    """
    # What TensorFlow draws, it draws when a function runs, and then it is in no shape.
    given = drawn_arguments(frozenset(SHAPING), kinds & OF_PYTHON, SIZES)
    shaping = [each for each in given if each.place in SHAPING[each.function]]
    fixed = [each for each in shaping if each.function != "batch" or DROPS in each.keywords]
    return sorted({each.function for each in fixed})


def drawn_constants(functions: Iterable[object], kinds: Names) -> list[str]:
    """Returns the names of numbers, arrays and texts that come of what was drawn, and that functions of a program read.

    Args:
        functions: What is traced; what it calls counts, too.
        kinds: What stands for the streams that are meant.
    """
    of_program = [each for each in Reach(functions).functions if is_of_program(each)]
    return sorted({name for each in of_program for name in _drawn_in(each, kinds & OF_PYTHON)})


def drawn_arrays(functions: Iterable[object], kinds: Names) -> list[str]:
    """Returns the names of arrays that were drawn, and that functions, and what they call, read; see above.

    Not of what was computed of drawn ones: what TensorFlow draws, it mostly draws when functions run.
    """
    reach, drawn = Reach(functions), drawn_themselves(kinds)
    of_objects = {name for _, (module, name) in drawn if module == OF_OBJECTS} & reach.read
    held = [attributes(thing) for thing in reach.objects if is_of_program(type(thing))]
    read = [(name, own[name]) for own in held for name in of_objects & own.keys()]
    for each in filter(is_of_program, reach.functions):
        around = each.__qualname__.split(".<locals>.")[:-1]  # functions, or methods with the name of their class
        places = {place.rpartition(".")[2] for place in around}
        within = {name for place, (module, name) in drawn if place in places and module == each.__module__}
        at_top = {name for place, (module, name) in drawn if not place and module == each.__module__}
        read += [(name, value) for name, value in globals_of(each).items() if name in at_top]
        read += [(name, cell.cell_contents) for name, cell in cells_of(each).items() if name in within]
    return sorted({name for name, value in read if isinstance(value, ARRAYS)})


def _drawn_in(function: types.FunctionType, kinds: Names) -> Iterator[str]:
    drawn = {each.name for each in drawn_names(kinds, SIZES) if each.module == function.__module__}
    for name, value in outside(function):
        if name in drawn and isinstance(value, int | float | str | np.generic | np.ndarray | tf.Tensor):
            yield name
