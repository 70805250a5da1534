"""What TensorBoard shows besides scalars: pictures, texts and histograms, as `tf.summary` would write them."""

import logging
from typing import TypeAlias

import numpy as np
import tensorflow as tf
from tensorboard.plugins.histogram.summary_v2 import histogram_pb
from tensorboard.plugins.image.metadata import create_summary_metadata
from tensorboard.plugins.text.summary_v2 import text_pb

Value: TypeAlias = tf.compat.v1.Summary.Value
log = logging.getLogger("exactloop")
Array: TypeAlias = np.ndarray | tf.Tensor
DARK, LIGHT = -0.01, 1.01  # what rounding may make of 0 and 1
TOLD: set[str] = set()  # of which pictures it was said


def picture(tag: str, images: Array, most: int) -> Value:
    """Returns pictures as PNG.

    Args:
        tag: The name.
        images: `[height, width]`, `[height, width, channels]` or `[n, height, width, channels]`, of 1 (grey), 3 (RGB)
            or 4 channels; uint8, or floats in 0..1.
        most: How many of n to take.

    Raises:
        ValueError: If it is of another shape, or not of numbers.
    """
    given = tf.convert_to_tensor(images)
    shape, rank = given.shape.as_list(), given.shape.rank
    wrong = rank not in (2, 3, 4) or (rank > 2 and shape[-1] not in (1, 3, 4))
    known = given.dtype.is_floating or given.dtype == tf.uint8  # of other integers, nobody knows what is white
    # Of a picture without pixels, TensorFlow would die.
    if wrong or not known or 0 in (shape if rank < 4 else shape[1:]):
        write = "Add an axis for the channel, as in images[..., None]" if wrong else "Write tf.cast(images, tf.uint8)"
        raise ValueError(
            f"A picture for {tag!r} needs shape [height, width], [height, width, channels] or [n, height, width, "
            f"channels], of 1, 3 or 4 channels, uint8 or floats in 0..1. Received: shape {given.shape}, dtype "
            f"{given.dtype.name}. {write if wrong or not known else 'It has no pixels'}."
        )
    given = given[..., tf.newaxis] if rank == 2 else given
    given = given if rank == 4 else given[tf.newaxis]
    if given.dtype.is_floating and tag not in TOLD and bool(tf.reduce_any((given < DARK) | (given > LIGHT))):
        TOLD.add(tag)
        log.warning(
            "The picture %r has values from %.6g to %.6g, of which only 0..1 is seen. Write (images + 1) / 2 of -1..1, "
            "images / 255 of 0..255.",
            *(tag, float(tf.reduce_min(given)), float(tf.reduce_max(given))),
        )
    if given.dtype.is_floating:  # what is no number has no colour: on each machine another one
        given = tf.where(tf.math.is_nan(given), tf.zeros([], given.dtype), given)
    pixels = tf.image.convert_image_dtype(given[:most], tf.uint8, saturate=True)  # uint8 [n, height, width, channels]
    size = [str(length).encode() for length in (given.shape[2], given.shape[1])]
    strings = [*size, *tf.image.encode_png(pixels).numpy()]
    # As TensorBoard's own: width and height as texts, then a PNG for each.
    value = Value(tag=tag, metadata=_metadata(create_summary_metadata(None, None)))
    # By hand: tf.make_tensor_proto would end the process on more than 2 GB, where this raises.
    value.tensor.dtype = tf.string.as_datatype_enum
    value.tensor.tensor_shape.dim.add(size=len(strings))
    value.tensor.string_val.extend(strings)
    return value


def text(tag: str, markdown: str) -> Value:
    """Returns a text, in Markdown. Raises `TypeError` if it is none."""
    if not isinstance(markdown, str):
        raise TypeError(f"A text for {tag!r} needs a str, in Markdown. Received: {type(markdown).__name__}.")
    return converted(text_pb(tag, markdown))


def histogram(tag: str, values: Array) -> Value:
    """Returns how values of any shape are distributed; those that are not finite are left out."""
    numbers = np.asarray(values, np.float64).ravel()  # sync: copies all to the host
    return converted(histogram_pb(tag, numbers[np.isfinite(numbers)]))


def converted(made: object) -> Value:
    """Returns what TensorBoard has made as a message of TensorFlow, which has a copy of the format."""
    (value,) = tf.compat.v1.Summary.FromString(made.SerializeToString()).value  # type: ignore[attr-defined]
    return value


def _metadata(made: object) -> object:
    return tf.compat.v1.SummaryMetadata.FromString(made.SerializeToString())  # type: ignore[attr-defined]
