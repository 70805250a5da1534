"""Pipelines that Keras makes, or that use its layers and random numbers."""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from pipelines.cases import BATCH, Source, pipeline, rows, texts


@pipeline("random numbers of Keras' global generator")
def _(files: Path) -> Source:
    return rows().map(lambda x: keras.random.uniform([2])).batch(BATCH)


@pipeline("random numbers of a Keras generator with a seed")
def _(files: Path) -> Source:
    return rows().map(lambda x: keras.random.uniform([2], seed=1)).batch(BATCH)


@pipeline("a Keras layer that draws")
def _(files: Path) -> Source:
    flip = keras.layers.RandomFlip(seed=1)
    return rows().map(lambda x: flip(tf.reshape(tf.range(12.0), [2, 2, 3]), training=True)).batch(BATCH)


@pipeline("a Keras layer that is only read")
def _(files: Path) -> Source:
    layer = keras.layers.Dense(2, kernel_initializer="ones")
    layer.build([None, 1])
    return rows().map(lambda x: layer(tf.cast([[x]], tf.float32))[0]).batch(BATCH)


@pipeline("Keras' time series, shuffled")
def _(files: Path) -> Source:
    series = np.arange(18.0)
    return keras.utils.timeseries_dataset_from_array(series, series, 3, batch_size=BATCH, shuffle=True, seed=1)


def directories(files: Path, **arguments: int) -> Source:
    for kind in ("yes", "no"):
        (files / kind).mkdir(exist_ok=True)
        for i in range(8):
            texts(files / kind, f"{i}.txt", i)
    return keras.utils.text_dataset_from_directory(str(files), batch_size=BATCH, verbose=False, **arguments)


@pipeline("Keras' texts in directories")
def _(files: Path) -> Source:
    return directories(files, seed=1)


@pipeline("Keras' layers without state")
def _(files: Path) -> Source:
    look_up = keras.layers.StringLookup(vocabulary=["a-1", "a-3"])
    scale = keras.layers.Rescaling(0.5)
    return tf.data.TextLineDataset(texts(files, "a")).map(lambda x: scale(look_up(x))).batch(BATCH)


@pipeline("a layer that is adapted")
def _(files: Path) -> Source:
    normalise = keras.layers.Normalization()
    normalise.adapt(np.arange(32.0).reshape([16, 2]))
    return rows().map(lambda x: normalise(tf.cast([[x, x]], tf.float32))[0]).batch(BATCH)


@pipeline("Keras' time series, no seed")
def _(files: Path) -> Source:
    series = np.arange(18.0)
    return keras.utils.timeseries_dataset_from_array(series, series, 3, batch_size=BATCH, shuffle=True)


@pipeline("Keras' texts in directories, no seed")
def _(files: Path) -> Source:
    return directories(files)
