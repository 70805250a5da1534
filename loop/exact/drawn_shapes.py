"""What the program shapes batches with, or decides by what is done with them, of what it has drawn without a seed.

Steps are traced for shapes, so what another process has drawn cannot be put in their place when a run goes on.
"""

from collections.abc import Collection, Mapping

from loop.exact.assigned import DRAWN
from loop.exact.drawn_names import drawn_arguments

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
