"""The state of an iterator, smaller: TensorFlow has the same names in it again for each element that is buffered.

What is made anew for each pass has stages more here and there, and so longer names, and more of them. In a checkpoint
it is smaller than TensorFlow's own: names are compressed. Large elements are left alone: 50 MB would take a second.
"""

import zlib

import numpy as np
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
    """Returns the state of an iterator, variant `[n]`, as texts: string `[n / 256]`."""
    parts = [tf.io.serialize_tensor(state[i : i + TOGETHER]).numpy() for i in range(0, state.shape[0], TOGETHER)]
    return tf.constant([compressed(part) if len(part) < SMALL else marked(part) for part in parts])


def unpacked(texts: tf.Tensor) -> tf.Tensor:
    """Returns the state that was packed."""
    parts = [tf.io.parse_tensor(whole(text), tf.variant) for text in texts.numpy()]
    rest = parts[-1].shape[0]
    parts[-1] = tf.gather(parts[-1], np.arange(TOGETHER) % rest)  # variants can be stacked, but not concatenated
    return tf.reshape(tf.stack(parts), [-1])[: (len(parts) - 1) * TOGETHER + rest]


def compressed(part: bytes) -> bytes:
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
