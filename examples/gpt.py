"""Learns to write Python, from the source text of its standard library, as a small GPT that reads bytes.

    python examples/gpt.py --run_dir runs/gpt

The text is written once, as TFRecords; every tenth file is kept for validation. AdamW with warm-up, cosine decay,
clipping, and gradients summed over two batches; each evaluation is done with the weights, with their exponential
average beside them, and shows what the network writes. After 600 steps, some minutes on two cores, it needs less than
2.1 nats for a byte of the files that it has not seen, where one who knows only the byte before (bigrams) needs 2.4.

Kill it when you like and start it again: it goes on where it was, and ends with the same bits.
"""

import logging
import os
import shutil
import sysconfig
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags
from absl import logging as absl_logging
from keras import layers

from hooks import Checkpoint, Preemption, Progress, TensorBoard, WeightAverage
from loop import Evaluation, Every, Hook, Loop, Moment, supervised

RUN_DIR = flags.DEFINE_string("run_dir", "runs/gpt", "Where records, checkpoints and TensorBoard files go.")
STEPS = flags.DEFINE_integer("steps", 600, "Steps to train in all.", lower_bound=1)
BATCH_SIZE = flags.DEFINE_integer("batch_size", 32, "Pieces of text in a batch.", lower_bound=1)
BFLOAT16 = flags.DEFINE_bool("bfloat16", False, "Compute in bfloat16; the weights stay float32.")
FRESH = flags.DEFINE_bool("fresh", False, "Remove what an earlier run left in run_dir.")
CONTEXT, WIDTH, HEADS, LAYERS, BYTES, SHARDS = 64, 128, 4, 2, 256, 4


def write_records(directory: Path) -> None:
    """Writes pieces of text, each `CONTEXT + 1` bytes, unless that is done; a kill leaves nothing half."""
    if directory.exists():
        return
    files = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    aside = directory.with_name(f"{directory.name}.{os.getpid()}")
    aside.mkdir(parents=True)
    for name, texts in {"val": files[::10], "train": [file for i, file in enumerate(files) if i % 10]}.items():
        text = b"\n".join(file.read_bytes() for file in texts)
        pieces = [text[at : at + CONTEXT + 1] for at in range(0, len(text) - CONTEXT, CONTEXT)]
        for shard in range(SHARDS):
            with tf.io.TFRecordWriter(str(aside / f"{name}-{shard}.tfrecord")) as writer:
                for piece in pieces[shard::SHARDS]:
                    writer.write(piece)
    aside.rename(directory)


def read(directory: Path, name: str) -> tf.data.Dataset:
    """Returns batches of the bytes of pieces, int32 [batch, CONTEXT], and of the bytes that follow each."""
    files = tf.data.Dataset.list_files(str(directory / f"{name}-*.tfrecord"), shuffle=name == "train")
    records = files.interleave(tf.data.TFRecordDataset, cycle_length=SHARDS)
    records = records.shuffle(20_000) if name == "train" else records

    def parse(pieces: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        tokens = tf.cast(tf.io.decode_raw(pieces, tf.uint8, fixed_length=CONTEXT + 1), tf.int32)
        tokens = tf.ensure_shape(tokens, [None, CONTEXT + 1])
        return tokens[:, :-1], tokens[:, 1:]

    return records.batch(BATCH_SIZE.value, drop_remainder=True).map(parse).prefetch(tf.data.AUTOTUNE)


class Positions(layers.Layer):
    """Adds a vector of its own to each place in a piece."""

    def build(self, shape: tuple[int | None, ...]) -> None:
        self.vectors = self.add_weight(shape=shape[1:], initializer=keras.initializers.RandomNormal(stddev=0.02))

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return inputs + self.vectors


def build() -> keras.Model:
    """Returns a network from bytes, int32 [n, CONTEXT], to logits of the next ones, float32 [n, CONTEXT, 256]."""
    tokens = keras.Input([CONTEXT], dtype="int32")
    x = Positions()(layers.Embedding(BYTES, WIDTH)(tokens))
    for _ in range(LAYERS):
        y = layers.LayerNormalization()(x)
        x += layers.MultiHeadAttention(HEADS, WIDTH // HEADS)(y, y, use_causal_mask=True)
        y = layers.Dense(4 * WIDTH, activation="gelu")(layers.LayerNormalization()(x))
        x += layers.Dense(WIDTH)(y)
    return keras.Model(tokens, layers.Dense(BYTES, dtype="float32")(layers.LayerNormalization()(x)))


def bigrams(directory: Path) -> float:
    """Returns the nats that a byte of the validation files costs if the one before it is all that is known."""
    pairs = np.ones([BYTES, BYTES])
    for x, y in read(directory, "train").as_numpy_iterator():
        np.add.at(pairs, (x.ravel(), y.ravel()), 1)
    costs = -np.log(pairs / pairs.sum(1, keepdims=True))
    return float(np.mean([costs[x, y].mean() for x, y in read(directory, "val").as_numpy_iterator()]))


class Sample(Hook):
    """Lets the network go on writing from where each piece of text begins, at each evaluation.

    Args:
        model: The network.
        tensorboard: Shows the text.
        length: How many bytes to write.
    """

    def __init__(self, model: keras.Model, tensorboard: TensorBoard, length: int = 200) -> None:
        super().__init__()
        self._show, self._length = tensorboard.text, length
        self._logits = tf.function(lambda tokens: model(tokens, training=False)[0])

    def on_eval_end(self, moment: Moment) -> None:
        rng, text = np.random.default_rng(moment.step), b"def "
        for _ in range(self._length):
            seen = text[-CONTEXT:]
            tokens = np.frombuffer(seen.ljust(CONTEXT, b"\0"), np.uint8).astype(np.int32)
            logits = self._logits(tokens[None]).numpy()[len(seen) - 1] / 0.8
            text += bytes([int(np.argmax(logits + rng.gumbel(size=BYTES)))])
        self._show("written", f"```python\n{text.decode(errors='replace')}\n```", moment)


def main(_: list[str]) -> None:
    """Trains, or goes on training, and prints how well it predicts."""
    absl_logging.set_verbosity(absl_logging.WARNING)  # TensorFlow's; the loop has a logger of its own
    logging.getLogger("exactloop").setLevel(logging.INFO)
    run_dir = Path(RUN_DIR.value)
    if FRESH.value:
        shutil.rmtree(run_dir, ignore_errors=True)
    if BFLOAT16.value:
        keras.mixed_precision.set_global_policy("mixed_bfloat16")
    keras.utils.set_random_seed(1)
    write_records(run_dir / "records")
    model = build()
    updates = max(2, STEPS.value // 2)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, updates, alpha=0.1, warmup_target=2e-3, warmup_steps=updates // 10
    )
    optimizer = keras.optimizers.AdamW(rate, weight_decay=0.1, global_clipnorm=1.0, gradient_accumulation_steps=2)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta", "vectors"])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    train_step, eval_step = supervised(model, optimizer, loss)
    average = WeightAverage(decay=0.98)
    tensorboard = TensorBoard(run_dir / "tensorboard", every=Every(steps=10))
    loop = Loop(
        train_step,
        read(run_dir / "records", "train"),
        state={"model": model, "optimizer": optimizer},
        evaluate=[
            Evaluation(eval_step, read(run_dir / "records", "val"), steps=40),
            Evaluation(eval_step, read(run_dir / "records", "val"), steps=40, name="ema", within=average.exchanged),
        ],
        eval_every=Every(steps=100),
        hooks=[
            average,
            Progress(),
            tensorboard,
            Sample(model, tensorboard),
            Checkpoint(run_dir / "checkpoints", Every(steps=50), best="ema_loss", mode="min"),
            Preemption(),
        ],
    )
    result = loop.run(steps=STEPS.value)
    found = {name: result.logs[name] for name in ("val_loss", "ema_loss") if name in result.logs}
    said = ", ".join(f"{name} {value:.2f}" for name, value in found.items()) or "not evaluated"
    print(f"{said}; bigrams {bigrams(run_dir / 'records'):.2f} after {result.step} steps: {result.reason}")


if __name__ == "__main__":
    app.run(main)
