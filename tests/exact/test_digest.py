"""What tells two tensors, or two passes over the data, apart."""

import sys
from collections.abc import Callable, Sequence

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf

from loop import digest
from loop.digest import SAMPLE, BatchDigest, _spread

NUMBERS = [
    "bfloat16",
    "float16",
    "float32",
    "float64",
    "complex64",
    "complex128",
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float8_e4m3fn",
    "float8_e5m2",
]


def seen(*batches: object) -> int:
    digests = BatchDigest()
    for batch in batches:
        digests.update(tf.nest.map_structure(tf.convert_to_tensor, batch) if isinstance(batch, np.ndarray) else batch)
    return int(digests.digest)


def traced(*batches: object) -> int:
    digests = BatchDigest()
    for batch in batches:
        tf.function(digests.update)(batch)
    return int(digests.digest)


def numbers(dtype: str, values: Sequence[float]) -> tf.Tensor:
    return tf.cast(tf.constant(values, tf.float32), dtype)


def pairwise_different(batches: Sequence[object]) -> bool:
    return len({seen(batch) for batch in batches}) == len(batches)


@pytest.mark.parametrize("dtype", NUMBERS)
def test_any_change_of_a_batch_of_numbers_is_seen(dtype: str) -> None:
    batch = numbers(dtype, [0, 1, 1, 0, 1, 0])
    others = [
        numbers(dtype, [1, 1, 1, 0, 1, 0]),  # another value
        numbers(dtype, [1, 0, 1, 0, 1, 0]),  # another order
        numbers(dtype, [0, 1, 1, 0, 1]),  # one less
        numbers(dtype, [0, 1, 1, 0, 1, 0, 0]),  # one more
        tf.reshape(batch, [2, 3]),
        tf.reshape(batch, [3, 2]),
        tf.reshape(batch, [1, 6]),
        numbers(dtype, []),
        tf.reshape(numbers(dtype, []), [0, 2]),
        numbers(dtype, [0])[0],
    ]
    assert pairwise_different([batch, *others])


@pytest.mark.parametrize("dtype", NUMBERS)
def test_a_digest_that_is_traced_is_the_eager_one(dtype: str) -> None:
    batches = [numbers(dtype, [0, 1, 1, 0]), tf.reshape(numbers(dtype, [1, 0, 0, 1]), [2, 2])]
    assert traced(*batches) == seen(*batches) != 0


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (np.float32(0.0), np.float32(-0.0)),
        (np.float64(1.0), np.nextafter(1.0, 2.0)),
        (np.float32(np.nan), np.float32(np.inf)),
        (np.complex64(1 + 2j), np.complex64(2 + 1j)),
        (np.uint64(2**64 - 1), np.uint64(2**63 - 1)),
        (np.int64(-(2**63)), np.int64(0)),
        (np.array(1.5, ml_dtypes.bfloat16), np.array(1.25, ml_dtypes.bfloat16)),
    ],
)
def test_the_bits_count_and_not_what_is_equal_as_numbers(left: object, right: object) -> None:
    assert seen(tf.constant(left)) != seen(tf.constant(right))
    assert digest(tf.constant(left)) != digest(tf.constant(right))


def test_equal_numbers_of_another_dtype_are_other_batches() -> None:
    batches = [numbers(dtype, [0, 1, 0, 1]) for dtype in NUMBERS]
    assert pairwise_different(batches)
    assert len({digest(batch) for batch in batches}) == len(batches)


@pytest.mark.more
def test_texts_are_told_apart_by_value_order_length_and_number() -> None:
    texts = [["a", "bc"], ["ab", "c"], ["bc", "a"], ["a", "bc", ""], ["", "a", "bc"], ["a"], [""], [], ["abc"], ["ä"]]
    batches = [tf.constant(text, tf.string) for text in texts]
    assert pairwise_different(batches)
    assert traced(*batches) == seen(*batches)


@pytest.mark.more
@pytest.mark.parametrize("large", [1, 5, 2**20])
def test_texts_are_read_in_parts_with_the_same_digest(large: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["loop.digest"], "LARGE", large)
    texts = tf.constant([[b"a", b"", b"bc"], [b"d" * 40, b"\0", b"e"]])
    traced = []
    tf.function(lambda: traced.append(digest(texts)))()  # as of a constant that a step reads
    assert [digest(each) for each in (texts, texts[0, 0], texts[:0])] == [
        "d788f60ff57e0386",
        "ac48e2043ff9b1dc",
        "ede137b6d29b57c3",
    ]
    assert traced == [digest(texts)]


def test_ragged_batches_are_told_apart_by_their_values_and_where_rows_end() -> None:
    rows = [[[1], [2, 3]], [[1, 2], [3]], [[1, 2, 3], []], [[], [1, 2, 3]], [[1, 2, 3]], [[3], [2, 1]], [[], []]]
    batches = [tf.ragged.constant(row, tf.int32, ragged_rank=1) for row in rows]
    assert pairwise_different(batches)
    assert traced(*batches) == seen(*batches)


@pytest.mark.more
def test_sparse_batches_are_told_apart_by_their_values_places_and_shape() -> None:
    def sparse(places: list[list[int]], values: list[int], shape: list[int]) -> tf.SparseTensor:
        return tf.SparseTensor(tf.constant(places, tf.int64, [len(places), 2]), tf.constant(values, tf.int32), shape)

    batches = [
        sparse([[0, 1], [1, 0]], [5, 6], [2, 2]),
        sparse([[0, 1], [1, 0]], [6, 5], [2, 2]),
        sparse([[0, 1], [1, 1]], [5, 6], [2, 2]),
        sparse([[0, 1], [1, 0]], [5, 6], [2, 3]),
        sparse([[0, 1]], [5], [2, 2]),
        sparse([], [], [2, 2]),
    ]
    assert pairwise_different(batches)
    assert traced(*batches) == seen(*batches)


def test_what_moves_from_one_part_of_a_batch_to_another_is_seen() -> None:
    x, y = tf.constant([1, 2, 3]), tf.constant([4, 5, 6])
    zero = tf.constant([0, 0, 0])
    batches = [(x, y), (y, x), (x, x), (y, y), (x,), (x, y, zero), (zero, x, y), (x, zero, y)]
    assert pairwise_different([*batches, (tf.concat([x, y], axis=0),)])


def test_batches_that_change_places_or_are_left_out_or_come_twice_are_seen() -> None:
    a, b, c = (tf.random.stateless_normal([4, 3], seed=[1, i]) for i in range(3))
    passes = [
        (a, b, c),
        (a, c, b),
        (b, a, c),
        (c, b, a),
        (a, b),
        (b, c),
        (a, b, c, c),
        (a, a, b, c),
        (a,),
        (),
        (c, c, c),
    ]
    assert len({seen(*batches) for batches in passes}) == len(passes)


def test_rows_that_change_places_in_a_batch_are_seen_for_each_pair() -> None:
    rows = tf.random.stateless_normal([8, 5], seed=[1, 2])
    found = {seen(rows)}
    for i in range(8):
        for j in range(i):
            order = list(range(8))
            order[i], order[j] = j, i
            found.add(seen(tf.gather(rows, order)))
    assert len(found) == 1 + 8 * 7 // 2


def test_two_rows_that_change_places_between_two_batches_are_seen() -> None:
    rows = tf.random.stateless_normal([8, 5], seed=[1, 2])
    found = {seen(rows[:4], rows[4:])}
    for i in range(4):
        for j in range(4, 8):
            order = list(range(8))
            order[i], order[j] = j, i
            other = tf.gather(rows, order)
            found.add(seen(other[:4], other[4:]))
    assert len(found) == 1 + 4 * 4


@pytest.mark.more
@pytest.mark.parametrize("dtype", ["int32", "float32", "uint8"])
def test_no_two_of_many_small_batches_have_one_digest(dtype: str) -> None:
    grid = np.stack(np.meshgrid(*[np.arange(8)] * 4), axis=-1).reshape(-1, 4)
    spec = tf.TensorSpec([4], dtype)
    digests = BatchDigest()
    update = tf.function(digests.update, input_signature=[spec])
    found = set()
    for row in grid:
        digests.reset()
        update(tf.constant(row, dtype))
        found.add(int(digests.digest))
    assert len(found) == len(grid)


def test_a_new_pass_begins_with_nothing() -> None:
    digests = BatchDigest()
    digests.update(tf.constant([1]))
    digests.reset()
    assert int(digests.digest) == 0


def test_of_a_large_batch_a_sample_and_the_shape_are_looked_at() -> None:
    large = np.arange(3 * SAMPLE + 5, dtype=np.float32)
    assert pairwise_different([large, large[:-1], large[::-1].copy(), np.roll(large, 1), large.reshape([1, -1])])
    other = large.copy()
    other[:20] = -1
    assert seen(other) != seen(large)


def test_a_dataset_in_a_batch_is_not_looked_into() -> None:
    (window,) = tf.data.Dataset.range(3).window(3)
    assert seen((window, tf.constant(1))) != seen((window, tf.constant(2)))


@pytest.mark.parametrize("make", [lambda: np.array([b"a", b"bc"]), lambda: np.arange(4.0), lambda: np.zeros([0, 2])])
def test_the_digest_of_a_value_depends_on_its_shape(make: Callable[[], np.ndarray]) -> None:
    array = make()
    assert digest(tf.constant(array)) == digest(tf.constant(array.copy()))
    assert digest(tf.constant(array)) != digest(tf.constant(array[None]))
    assert digest(tf.constant(array)) != digest(tf.constant(array[:1] if len(array) else np.zeros([0, 3])))


@pytest.mark.parametrize("shape", [[12, 32, 32, 3], [16, 30, 30, 3], [12, 224, 224, 3], [64, 28, 28, 1]])
def test_no_colour_and_no_column_of_images_is_left_out(shape: list[int]) -> None:
    images, noise = np.zeros(shape, np.float32), np.random.default_rng(1).random(shape, np.float32)
    others = []
    for axis in (1, 2, 3):
        for i in range(shape[axis] if shape[axis] < 33 else 3):
            other = images.copy()
            index = (slice(None),) * axis + (i,)
            other[index] = noise[index]
            others.append(other)
    assert pairwise_different([images, *others[: None if shape[3] > 1 else -1]])


def test_each_number_of_a_large_batch_is_looked_at_in_some_batch() -> None:
    last, size = 0, 3 * SAMPLE + 5
    places: set[int] = set()
    for salt in range(40):
        found = _spread(tf.constant(size, tf.int64), tf.constant(salt * 7919, tf.int64)).numpy()
        assert len({*found.tolist()}) == SAMPLE
        last = max(last, int(found[-1]))
        places.update(found.tolist())
    assert (last, len(places)) == (size - 1, size)
    for small in (0, 1, 2, 100, SAMPLE):
        assert _spread(tf.constant(small, tf.int64), tf.constant(5, tf.int64)).numpy().tolist() == list(range(small))
