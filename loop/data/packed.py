"""The state of an iterator, smaller: TensorFlow has the same names in it again for each element that is buffered.

What is made anew for each pass has stages more here and there, and so longer names, and more of them. In a checkpoint
it is smaller than TensorFlow's own: names are compressed. Large elements are left alone: 50 MB would take a second.
"""

import itertools
import struct
import zlib

import tensorflow as tf

TOGETHER = 256  # records that are packed at the same time, so that little more memory than theirs is needed
SMALL = 2**16  # bytes: what is larger has elements in it of more than some hundred
TEXTS = (  # what is in each record; what was packed depends on them, and on their order
    b"\n\x14tensorflow::Iterator\x12",
    b"tensorflow.data.CompressedElement\x12",
    b"Iterator::Root::",
    b"Zip[1]::",
)
KNOWN = (  # more that zlib need not be told anew in a state of few records
    b"@@num_elements@@seed@@seed2@@epoch@@input_impl_empty@@inputs_size@@current_element_iterator_uninitialized@@"
    b"element_index@@exhausted@@inputs[0]@@num_components@@component[0]@@component[1]@@buffer_size@@status.code"
    b'@@next@@global_shuffle_iterator_next_index\x12\x07\x08\t\x12\x00"\x01\x08::Shuffle:buffer::BatchV2::FlatMap[0]::'
    b"Prefetch::MapAndBatch::ParallelMapV2::Map::Zip[1]::Zip[0]::Range@@input_impls_empty\x1a@\x08\x15\x12\x00z:"
) + b"".join(TEXTS)
MARKS = [bytes([1, *number.to_bytes(2), 255]) for number in range(514, 2**16 - 514, 257)]  # none ends as one begins
NONE = bytes(len(MARKS[0]))  # in the place of the mark of a text that stays as it is


def packed(state: tf.Tensor) -> tf.Tensor:
    """Returns the state of an iterator, variant `[n]`, as texts: string `[n / 256]`. Takes as long as to make it."""
    records = _texts_of(state).numpy().tolist()
    parts = [_joined(records[i : i + TOGETHER]) for i in range(0, len(records), TOGETHER)]
    return tf.constant([compressed(part) if len(part) < SMALL else marked(part) for part in parts])


def unpacked(texts: tf.Tensor) -> tf.Tensor:
    """Returns the state that was packed."""
    return _variants_of(tf.constant([record for text in texts.numpy() for record in _apart(whole(text))]))


# One by one, in a loop of TensorFlow's: a text of more than 2 GB would end the process.


@tf.function(input_signature=[tf.TensorSpec([None], tf.variant)], autograph=False)
def _texts_of(state: tf.Tensor) -> tf.Tensor:
    return tf.map_fn(tf.io.serialize_tensor, state, fn_output_signature=tf.string)


@tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
def _variants_of(texts: tf.Tensor) -> tf.Tensor:
    scalar = tf.TensorSpec([], tf.variant)
    return tf.map_fn(
        lambda text: tf.ensure_shape(tf.io.parse_tensor(text, tf.variant), []), texts, fn_output_signature=scalar
    )


def _joined(records: list[bytes]) -> bytes:
    return b"".join([struct.pack(f"<{len(records) + 1}Q", len(records), *map(len, records)), *records])


def _apart(part: bytes) -> list[bytes]:
    (count,) = struct.unpack_from("<Q", part)
    ends = list(itertools.accumulate(struct.unpack_from(f"<{count}Q", part, 8), initial=8 * (count + 1)))
    return [part[first:end] for first, end in itertools.pairwise(ends)]


def compressed(part: bytes) -> bytes:
    """Returns a part with all of it compressed."""
    compressor = zlib.compressobj(1, wbits=-15, zdict=KNOWN)
    return b"\x01" + compressor.compress(part) + compressor.flush()


def marked(part: bytes) -> bytes:
    """Puts a mark that is nowhere else in the place of each text, as long as there is one."""
    marks = list[bytes]()
    for text in TEXTS:
        mark = next((each for each in MARKS if each not in part), NONE)
        part = part if mark == NONE else part.replace(text, mark)
        marks.append(mark)
    return b"".join([b"\x00", *marks, part])


def whole(text: bytes) -> bytes:
    """Returns what was compressed or marked."""
    how, part = text[0], text[1:]
    if how:
        return zlib.decompressobj(wbits=-15, zdict=KNOWN).decompress(part, SMALL)
    size = len(NONE)
    marks, part = [part[i * size : (i + 1) * size] for i in range(len(TEXTS))], part[len(TEXTS) * size :]
    for text, mark in [*zip(TEXTS, marks, strict=True)][::-1]:
        part = part if mark == NONE else part.replace(mark, text)
    return part
