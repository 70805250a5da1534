"""Pipelines as people write them: small ones with the stages of those in tutorials, models and research code."""

import gzip
import random
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from pipelines.cases import AUTOTUNE, BATCH, ROWS, Dataset, Source, pipeline

SIDE = 6  # of pictures
NUMBERS = np.random.default_rng(5)
PICTURES = NUMBERS.integers(0, 255, [ROWS, SIDE, SIDE, 3]).astype("uint8")
LABELS, VALUES = np.arange(ROWS) % 3, NUMBERS.normal(size=[ROWS, 5]).astype("float32")
PARSED = {
    "picture": tf.io.FixedLenFeature([], tf.string),
    "label": tf.io.FixedLenFeature([], tf.int64),
    "tokens": tf.io.VarLenFeature(tf.int64),
}


# By name, what makes it, and the seed that its program gives.
WRITTEN: dict[str, tuple[Callable[[Path], Source], int | None]] = {}


def public(
    name: str, *, steps: int | None = None, seed: int | None = None
) -> Callable[[Callable[[Path], Source]], object]:
    """Registers a pipeline that is made in a process with a seed for all that draws, or with none at all."""

    def register(make: Callable[[Path], Source]) -> object:
        WRITTEN[name] = make, seed

        def made(files: Path) -> Source:
            if seed is None:
                tf.random.set_seed(None)
                np.random.seed(None)
                random.seed(None)
            else:
                keras.utils.set_random_seed(seed)
            return make(files)

        return pipeline(f"public: {name}", steps=steps)(made)

    return register


# Files.


def in_directories(files: Path, end: str, write: Callable[[int], bytes]) -> str:
    for i in range(ROWS):
        (files / end / f"kind{i % 2}").mkdir(parents=True, exist_ok=True)
        (files / end / f"kind{i % 2}" / f"{i:02}.{end}").write_bytes(write(i))
    return str(files / end)


def pictures(files: Path) -> str:
    return in_directories(files, "png", lambda i: tf.io.encode_png(PICTURES[i]).numpy())


def sounds(files: Path) -> str:
    def wave(i: int) -> bytes:
        return tf.audio.encode_wav(tf.sin(tf.range(64.0) * i)[:, tf.newaxis], 16_000).numpy()

    return in_directories(files, "wav", wave)


def example(i: int) -> bytes:
    numbers = {"label": [i % 3], "tokens": [*range(i, 2 * i + 1)]}
    features = {name: tf.train.Feature(int64_list=tf.train.Int64List(value=value)) for name, value in numbers.items()}
    picture = tf.train.BytesList(value=[tf.io.encode_png(PICTURES[i]).numpy()])
    features["picture"] = tf.train.Feature(bytes_list=picture)
    # Its features are in another order in each process, and who goes on there has other files.
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def shards(files: Path, compression: str = "") -> list[str]:
    """Writes four files of four examples each."""
    names = [str(files / f"{n}.tfrecord") for n in range(4)]
    for n, name in enumerate(names):
        with tf.io.TFRecordWriter(name, compression) as writer:
            for i in range(4 * n, 4 * n + 4):
                writer.write(example(i))
    return names


def tables(files: Path) -> str:
    for n in range(2):
        lines = ["a,b,c,y", *(f"{i},{i * n},{i * i},{i % 2}" for i in range(8))]
        (files / f"{n}.csv").write_text("".join(f"{line}\n" for line in lines))
    return str(files / "*.csv")


# Functions.


def parse(record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    found = tf.io.parse_single_example(record, PARSED)
    return tf.reshape(tf.cast(tf.io.decode_png(found["picture"], 3), tf.float32), [SIDE, SIDE, 3]), found["label"]


def parse_tokens(record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    found = tf.io.parse_single_example(record, PARSED)
    return tf.sparse.to_dense(found["tokens"]), found["label"]


def scaled(picture: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return tf.cast(picture, tf.float32) / 255.0, label


def load(path: tf.Tensor) -> tf.Tensor:
    return tf.reshape(tf.cast(tf.io.decode_png(tf.io.read_file(path), 3), tf.float32), [SIDE, SIDE, 3])


def jittered(picture: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return tf.image.random_flip_left_right(tf.image.random_crop(picture, [4, 4, 3])), label


def read(files: Path, *, shuffle_files: bool) -> Dataset:
    """Reads as `tensorflow_datasets` does."""
    names = Dataset.from_tensor_slices(shards(files))
    if shuffle_files:
        names = names.shuffle(4, reshuffle_each_iteration=True)
    found = names.interleave(
        tf.data.TFRecordDataset,
        cycle_length=16,
        block_length=16,
        num_parallel_calls=AUTOTUNE,
        deterministic=not shuffle_files,
    )
    return found.apply(tf.data.experimental.assert_cardinality(ROWS)).map(parse, num_parallel_calls=AUTOTUNE)


def labelled() -> Dataset:
    return Dataset.from_tensor_slices((PICTURES, LABELS))


def in_any_order() -> tf.data.Options:
    options = tf.data.Options()
    options.deterministic = False
    return options


# Tutorials.


def training_pictures(files: Path) -> Dataset:
    return keras.utils.image_dataset_from_directory(
        pictures(files),
        validation_split=0.2,
        subset="training",
        seed=123,
        image_size=(SIDE, SIDE),
        batch_size=BATCH,
        verbose=False,
    )


@public("pictures of directories, cached")
def _(files: Path) -> Source:
    return training_pictures(files).cache().prefetch(AUTOTUNE)


@public("pictures of directories, cached and shuffled")
def _(files: Path) -> Source:
    return training_pictures(files).cache().shuffle(1000).prefetch(AUTOTUNE)


@public("layers that augment batches")
def _(files: Path) -> Source:
    augment = keras.Sequential([keras.layers.RandomFlip("horizontal_and_vertical"), keras.layers.RandomRotation(0.2)])
    rows = read(files, shuffle_files=False).map(scaled, num_parallel_calls=AUTOTUNE).shuffle(1000).batch(BATCH)
    return rows.map(lambda x, y: (augment(x, training=True), y), num_parallel_calls=AUTOTUNE).prefetch(AUTOTUNE)


@public("seeds of a generator for stateless functions")
def _(files: Path) -> Source:
    generator = tf.random.Generator.from_seed(123, alg="philox")

    def augment(picture: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        seed = generator.make_seeds(2)[0]
        (other,) = tf.unstack(tf.random.split(seed, num=1))
        padded = tf.image.resize_with_crop_or_pad(picture, SIDE + 2, SIDE + 2)
        cropped = tf.image.stateless_random_crop(padded, [4, 4, 3], seed=seed)
        return tf.image.stateless_random_brightness(cropped, 0.5, seed=other), label

    rows = read(files, shuffle_files=False).shuffle(1000)
    return rows.map(augment, num_parallel_calls=AUTOTUNE).batch(BATCH).prefetch(AUTOTUNE)


@public("files that are listed, cropped, flipped on a condition, and repeated", steps=4)
def _(files: Path) -> Source:
    def augment(path: tf.Tensor) -> tf.Tensor:
        picture = tf.image.random_crop(load(path), [4, 4, 3])
        return tf.cond(tf.random.uniform(()) > 0.5, lambda: tf.image.flip_left_right(picture), lambda: picture)

    found = Dataset.list_files(f"{pictures(files)}/*/*.png").map(augment, num_parallel_calls=AUTOTUNE)
    return found.shuffle(400).batch(BATCH).repeat()


@public("pairs of two domains")
def _(files: Path) -> Source:
    def domain() -> Dataset:
        rows = read(files, shuffle_files=False).cache().map(jittered, num_parallel_calls=AUTOTUNE)
        return rows.shuffle(1000).batch(BATCH)

    return Dataset.zip((domain(), domain()))


@public("make_csv_dataset")
def _(files: Path) -> Source:
    return tf.data.experimental.make_csv_dataset(tables(files), batch_size=BATCH, label_name="y", num_epochs=1)


@public("texts with labels, split by skip, padded")
def _(files: Path) -> Source:
    words = tf.lookup.KeyValueTensorInitializer([f"w{i}" for i in range(6)], tf.range(2, 8, dtype=tf.int64))
    table = tf.lookup.StaticVocabularyTable(words, 1)
    both = None
    for n in range(2):
        (files / f"{n}.txt").write_text("".join(f"{' '.join(f'w{j}' for j in range(i))}\n" for i in range(1, 13)))
        rows = tf.data.TextLineDataset(str(files / f"{n}.txt")).map(lambda line, n=n: (line, n))
        both = rows if both is None else both.concatenate(rows)
    found = both.shuffle(50, reshuffle_each_iteration=False)
    found = found.map(lambda line, label: (table.lookup(tf.strings.split(line)), label))
    return found.skip(8).shuffle(50).padded_batch(BATCH).prefetch(AUTOTUNE)


@public("windows of a series by Keras")
def _(files: Path) -> Source:
    windows = keras.utils.timeseries_dataset_from_array(
        VALUES, targets=None, sequence_length=4, sequence_stride=1, shuffle=True, batch_size=BATCH
    )
    return windows.map(lambda rows: (rows[:, :3], rows[:, 3:, 0]))


@public("slices, shuffled and batched")
def _(files: Path) -> Source:
    return Dataset.from_tensor_slices((VALUES, LABELS)).shuffle(10_000).batch(BATCH)


@public("sounds of directories", seed=42)
def _(files: Path) -> Source:
    rows = keras.utils.audio_dataset_from_directory(
        sounds(files),
        batch_size=BATCH,
        validation_split=0.2,
        seed=0,
        output_sequence_length=64,
        subset="training",
        verbose=False,
    )
    rows = rows.map(lambda sound, label: (tf.squeeze(sound, -1), label), AUTOTUNE)
    spectra = rows.map(lambda sound, label: (tf.abs(tf.signal.stft(sound, 16, 8)), label), num_parallel_calls=AUTOTUNE)
    return spectra.cache().shuffle(10_000).prefetch(AUTOTUNE)


# Models.


@public("files that are shuffled and repeated, interleaved in any order, shuffled again", steps=4)
def _(files: Path) -> Source:
    names = Dataset.from_tensor_slices(shards(files)).shuffle(4, reshuffle_each_iteration=True).repeat()
    rows = names.interleave(
        tf.data.TFRecordDataset, cycle_length=3, block_length=1, num_parallel_calls=3, deterministic=False
    )
    rows = rows.shuffle(10).map(parse, num_parallel_calls=AUTOTUNE).map(scaled, num_parallel_calls=AUTOTUNE)
    return rows.batch(BATCH, drop_remainder=True).with_options(in_any_order()).prefetch(AUTOTUNE)


@public("files that are listed, repeated and shuffled, interleaved, shuffled again", steps=4)
def _(files: Path) -> Source:
    names = Dataset.list_files(f"{Path(shards(files)[0]).parent}/*.tfrecord", shuffle=True).repeat().shuffle(4)
    rows = names.interleave(tf.data.TFRecordDataset, cycle_length=8, num_parallel_calls=AUTOTUNE).shuffle(100)
    rows = rows.map(parse, num_parallel_calls=AUTOTUNE)
    rows = rows.map(lambda picture, label: ({"picture": picture}, label), num_parallel_calls=AUTOTUNE)
    return rows.batch(BATCH, drop_remainder=True).prefetch(AUTOTUNE)


@public("records in any order, shuffled")
def _(files: Path) -> Source:
    rows = tf.data.TFRecordDataset(shards(files)).with_options(in_any_order())
    return rows.map(parse, num_parallel_calls=AUTOTUNE).shuffle(2048).prefetch(AUTOTUNE).batch(BATCH)


@public("batches that Python augments", seed=42)
def _(files: Path) -> Source:
    def augment(batch: tf.Tensor) -> np.ndarray:
        turned = tf.cast(batch, tf.float32).numpy()[:, :: -1 if np.random.rand() > 0.5 else 1]
        return turned * np.float32(np.random.uniform(0.5, 1.5))

    def augmented(batch: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        (found,) = tf.py_function(augment, [batch], [tf.float32])
        return tf.ensure_shape(found, [None, SIDE, SIDE, 3]), labels

    return labelled().shuffle(400).batch(BATCH).map(augmented, num_parallel_calls=AUTOTUNE).prefetch(AUTOTUNE)


@public("two of everything, mixed", seed=42)
def _(files: Path) -> Source:
    def one() -> Dataset:
        return labelled().shuffle(1024).map(scaled, num_parallel_calls=AUTOTUNE)

    def mixed(first: tuple[tf.Tensor, tf.Tensor], second: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        a, b = tf.random.gamma([1], [0.25]), tf.random.gamma([1], [0.25])
        share, moved = (a / (a + b))[0], tf.random.uniform((1,), 0, SIDE, tf.int32)[0]
        labels = [tf.cast(label, tf.float32) for _, label in (first, second)]
        picture = first[0] * share + second[0] * (1 - share)
        return tf.roll(picture, moved, 0), labels[0] * share + labels[1] * (1 - share)

    both = Dataset.zip((one(), one())).shuffle(1024)
    return both.map(mixed, num_parallel_calls=AUTOTUNE).batch(BATCH).prefetch(AUTOTUNE)


@public("pictures with labels and without, side by side")
def _(files: Path) -> Source:
    rows = [read(files, shuffle_files=False).shuffle(buffer_size=size).batch(BATCH) for size in (12, 8)]
    return Dataset.zip((rows[0], rows[1])).prefetch(AUTOTUNE)


# And more.


@public("files that are shuffled, cached, and shuffled again")
def _(files: Path) -> Source:
    rows = read(files, shuffle_files=True).map(scaled, num_parallel_calls=AUTOTUNE).cache()
    return rows.shuffle(ROWS).batch(BATCH).prefetch(AUTOTUNE)


@public("cache, shuffle, repeat, batch", steps=4)
def _(files: Path) -> Source:
    return read(files, shuffle_files=False).map(scaled).cache().shuffle(1000).repeat().batch(BATCH)


@public("records in any order, with noise, repeated, shuffled and padded", steps=4)
def _(files: Path) -> Source:
    def noisy(tokens: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.cast(tokens, tf.float32) + tf.random.normal([]), label

    rows = tf.data.TFRecordDataset(shards(files), num_parallel_reads=AUTOTUNE).map(parse_tokens, AUTOTUNE)
    rows = rows.map(noisy, AUTOTUNE).repeat().shuffle(40).with_options(in_any_order())
    padding = (-1.0, tf.constant(0, tf.int64))
    return rows.padded_batch(BATCH, padded_shapes=([ROWS], []), padding_values=padding).prefetch(AUTOTUNE)


@public("compressed records of listed files, cached, shuffled and padded")
def _(files: Path) -> Source:
    shards(files, "ZLIB")
    names = Dataset.list_files(str(files / "*.tfrecord"))
    rows = tf.data.TFRecordDataset(names, compression_type="ZLIB", num_parallel_reads=AUTOTUNE)
    rows = rows.map(parse_tokens, num_parallel_calls=AUTOTUNE).cache()
    return rows.shuffle(30, reshuffle_each_iteration=True).padded_batch(BATCH, ([None], [])).prefetch(AUTOTUNE)


@public("lines of gzip files, which hold the time, shuffled and batched")
def _(files: Path) -> Source:
    names = [str(files / f"{n}.gz") for n in range(2)]
    for n, name in enumerate(names):
        with gzip.open(name, "wt") as file:
            file.write("".join(f"{i * n},{i}\n" for i in range(ROWS // 2)))
    return tf.data.TextLineDataset(names, compression_type="GZIP").shuffle(10).batch(BATCH).prefetch(AUTOTUNE)


@public("arrays of zip files, which hold the time, that a generator reads, shuffled")
def _(files: Path) -> Source:
    names = [str(files / f"{n}.npz") for n in range(2)]
    for n, name in enumerate(names):
        with (
            zipfile.ZipFile(name, "w") as file,
            file.open(zipfile.ZipInfo("values.npy", time.gmtime()[:6]), "w") as array,
        ):
            np.save(array, VALUES[n::2])

    def values(*names: bytes) -> Iterator[np.ndarray]:
        for name in names:
            with np.load(name.decode()) as file:
                yield from file["values"]

    rows = Dataset.from_generator(values, args=names, output_signature=tf.TensorSpec([5], tf.float32))
    return rows.shuffle(10).batch(BATCH).prefetch(AUTOTUNE)


@public("a generator with noise of NumPy", seed=42)
def _(files: Path) -> Source:
    def noisy() -> Iterator[tuple[np.ndarray, int]]:
        for value, label in zip(VALUES, LABELS, strict=True):
            yield (value + np.random.normal(0, 0.1, 5)).astype("float32"), label

    spec = tf.TensorSpec([5], tf.float32), tf.TensorSpec([], tf.int32)
    rows = Dataset.from_generator(noisy, output_signature=spec)
    return rows.shuffle(60, seed=42, reshuffle_each_iteration=True).batch(BATCH).prefetch(AUTOTUNE)


@public("ragged batches and a layer that flips")
def _(files: Path) -> Source:
    flip = keras.layers.RandomFlip("horizontal")
    rows = tf.data.TFRecordDataset(shards(files))
    rows = rows.map(lambda x: {"picture": parse(x)[0], "tokens": parse_tokens(x)[0]}, num_parallel_calls=AUTOTUNE)

    def flipped(batch: dict[str, tf.Tensor | tf.RaggedTensor]) -> dict[str, tf.Tensor | tf.RaggedTensor]:
        picture = batch["picture"]
        if isinstance(picture, tf.RaggedTensor):
            picture = picture.to_tensor(shape=[BATCH, SIDE, SIDE, 3])
        return {**batch, "picture": flip(picture)}

    batches = rows.shuffle(16).ragged_batch(BATCH, drop_remainder=True).map(flipped, num_parallel_calls=AUTOTUNE)
    pairs = batches.map(lambda x: (x["picture"], x["tokens"].to_tensor()), num_parallel_calls=AUTOTUNE)
    return pairs.prefetch(AUTOTUNE)


@public("shuffle_and_repeat", steps=4)
def _(files: Path) -> Source:
    rows = Dataset.from_tensor_slices((VALUES, LABELS)).map(lambda x, y: (x * 2, y))
    return rows.apply(tf.data.experimental.shuffle_and_repeat(buffer_size=10)).batch(BATCH).prefetch(AUTOTUNE)


@public("windows of a series", seed=42)
def _(files: Path) -> Source:
    windows = Dataset.from_tensor_slices(VALUES[:, 0]).window(5, shift=1, drop_remainder=True)
    rows = windows.flat_map(lambda window: window.batch(5)).shuffle(50)
    return rows.map(lambda window: (window[:-1], window[-1])).batch(BATCH).prefetch(1)


@public("flips by one seed, shuffled and repeated", steps=4)
def _(files: Path) -> Source:
    def flipped(picture: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.image.random_flip_up_down(tf.image.random_flip_left_right(picture, seed=2020), seed=2020), label

    rows = labelled().map(scaled, num_parallel_calls=AUTOTUNE).map(flipped, num_parallel_calls=AUTOTUNE)
    return rows.shuffle(512).repeat().batch(BATCH).prefetch(AUTOTUNE)


@public("shuffled batches and layers that move them")
def _(files: Path) -> Source:
    augment = keras.Sequential([keras.layers.RandomFlip("horizontal"), keras.layers.RandomTranslation(0.1, 0.1)])
    batches = labelled().shuffle(1000).batch(BATCH)
    return batches.map(lambda x, y: (augment(x, training=True), y), num_parallel_calls=AUTOTUNE).prefetch(AUTOTUNE)


@public("a generator of places, shuffled, which Python reads")
def _(files: Path) -> Source:
    def found(i: tf.Tensor) -> tuple[np.ndarray, np.ndarray]:
        return PICTURES[int(i)], PICTURES[int(i)][..., :1]

    places = Dataset.from_generator(lambda: list(range(ROWS)), tf.uint8)
    rows = places.shuffle(buffer_size=60, reshuffle_each_iteration=True)
    pairs = rows.map(lambda i: tf.py_function(found, [i], [tf.uint8, tf.uint8]), num_parallel_calls=AUTOTUNE)
    return pairs.batch(BATCH).prefetch(AUTOTUNE)


@public("a sample of two shuffles, which Python reads and a filter keeps")
def _(files: Path) -> Source:
    def found(i: tf.Tensor) -> tuple[bool, np.ndarray, np.float32]:
        return True, VALUES[int(i)], np.float32(LABELS[int(i)])

    parts = [Dataset.range(first, first + 8).shuffle(8) for first in (0, 8)]
    rows = Dataset.sample_from_datasets(parts, weights=[0.5, 0.5], stop_on_empty_dataset=True)
    kinds = [tf.bool, tf.float32, tf.float32]
    rows = rows.map(lambda i: tf.py_function(found, [i], kinds), num_parallel_calls=AUTOTUNE)
    rows = rows.filter(lambda kept, x, y: tf.logical_and(kept, tf.not_equal(y, -1.0)))
    return rows.map(lambda _, x, y: (tf.ensure_shape(x, [5]), tf.ensure_shape(y, []))).batch(BATCH).prefetch(AUTOTUNE)


def all_pictures(files: Path) -> Dataset:
    return keras.utils.image_dataset_from_directory(
        pictures(files), image_size=(SIDE, SIDE), batch_size=BATCH, verbose=False
    )


@public("pictures of directories without a seed, scaled")
def _(files: Path) -> Source:
    return all_pictures(files).map(lambda x, y: (x / 255, y))


@public("pictures of directories without a seed, read ahead")
def _(files: Path) -> Source:
    return all_pictures(files).prefetch(AUTOTUNE)


class Shuffled(keras.utils.PyDataset):
    """Batches that are shuffled when it is made, and after each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.order = np.random.permutation(ROWS)

    def __len__(self) -> int:
        return ROWS // BATCH

    def __getitem__(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        rows = self.order[i * BATCH : (i + 1) * BATCH]
        return VALUES[rows], LABELS[rows]

    def on_epoch_end(self) -> None:
        np.random.shuffle(self.order)


@public("a PyDataset that shuffles")
def _(files: Path) -> Source:
    return Shuffled()
