"""Rows that a program without a seed has drawn: the next process goes on with those that the first one had."""

import json
import logging
import os
import subprocess
from pathlib import Path

import keras
import numpy as np
import nursery
import pytest
import tensorflow as tf
from places import environment

from loop import ArrayData, StreamData
from loop.exact.text import Text
from loop.state import rows_in_memory

STEPS = 9
HEAD = """
import hashlib, json, logging, random, sys

import keras
import numpy as np
import tensorflow as tf

from hooks import Checkpoint
from loop import ArrayData, Evaluation, Every, IndexedData, Loop, StreamData, supervised

Dataset, layers = tf.data.Dataset, keras.layers
held, logging.lastResort = None, None
logging.basicConfig(filename=sys.argv[3], level=logging.INFO)
"""
TAIL = """
model = keras.Sequential([keras.Input([3]), layers.Dense(4), layers.Dense(1)])
optimizer = keras.optimizers.Adam()
train_step, eval_step = supervised(model, optimizer, keras.losses.MeanSquaredError())
rows = tf.Variable(tf.zeros([0], tf.string), shape=[None], trainable=False)


def step(batch):
    read = tf.strings.join([tf.io.serialize_tensor(x) for x in batch])
    rows.assign(tf.concat([rows, [read]], axis=0))
    return train_step.function(batch)


loop = Loop(
    step,
    train,
    state={"model": model, "optimizer": optimizer, "rows": rows},
    evaluate=[] if held is None else [Evaluation(eval_step, held)],
    hooks=[Checkpoint(sys.argv[1], Every(steps=1), keep=99)],
)
result = loop.run(steps=int(sys.argv[2]))
seen = [hashlib.sha256(row).hexdigest() for row in rows.numpy()]
weights = hashlib.sha256(b"".join(each.numpy().tobytes() for each in model.variables)).hexdigest()
print(json.dumps([seen, weights, {name: value.hex() for name, value in result.logs.items()}]))
"""
ARRAYS = "x, y = x.astype('float32'), y.astype('float32')\n"
DRAWN: dict[str, str] = {
    "noise": ARRAYS.join(
        [
            "x = np.random.normal(size=[60, 3]); y = x.sum(axis=1, keepdims=True) + np.random.normal(size=[60, 1])\n",
            "train, held = ArrayData((x[:48], y[:48]), batch_size=16), ArrayData((x[48:], y[48:]), batch_size=6)\n",
        ]
    ),
    "of TensorFlow": (
        "x = tf.random.normal([48, 3]); y = tf.reduce_sum(x, axis=1, keepdims=True)\n"
        "train = Dataset.from_tensor_slices((x, y)).shuffle(48).batch(16)\n"
        "held = Dataset.from_tensors((tf.random.uniform([6, 3]), tf.random.uniform([6, 1])))\n"
    ),
    "a generator of its own": (
        "rng = np.random.default_rng(); x = rng.normal(size=[48, 3]); y = rng.normal(size=[48, 1])\n"
        "train = Dataset.from_tensor_slices((x, y)).map(lambda x, y: (x + 1, y)).repeat().batch(16)\n"
        "train = StreamData(train, steps_per_epoch=3)\n"
    ),
    "a teacher": (
        "teacher = keras.Sequential([keras.Input([3]), layers.Dense(5, activation='tanh'), layers.Dense(1)])\n"
        "x = np.linspace(-1, 1, 144).reshape([48, 3]).astype('float32'); y = teacher.predict(x, verbose=0)\n"
        "train = Dataset.zip(tuple(map(Dataset.from_tensor_slices, (x, y)))).shuffle(48).batch(16)\n"
    ),
    "rows that a generator reads": (
        "x = np.random.normal(size=[48, 3]).astype('float32'); kinds = [random.random() for _ in range(48)]\n"
        "def rows():\n"
        "    for i in np.random.permutation(48):\n"
        "        yield x[i], [kinds[i]]\n"
        "spec = (tf.TensorSpec([3], tf.float32), tf.TensorSpec([1], tf.float32))\n"
        "train = Dataset.from_generator(rows, output_signature=spec).batch(16)\n"
        "other = tf.random.normal([8, 3])\n"
        "held = Dataset.from_generator(lambda: ((row, row[:1]) for row in other), output_signature=spec).batch(4)\n"
    ),
    "a PyDataset": (
        "class Rows(keras.utils.PyDataset):\n"
        "    def __init__(self, x):\n"
        "        super().__init__()\n"
        "        self.x, self.y, self.order = x, x.sum(axis=1, keepdims=True), np.random.permutation(48)\n"
        "    def __len__(self):\n"
        "        return 3\n"
        "    def __getitem__(self, i):\n"
        "        own = self.order[16 * i : 16 * i + 16]\n"
        "        return self.x[own], self.y[own]\n"
        "    def on_epoch_end(self):\n"
        "        np.random.shuffle(self.order)\n"
        "train, held = (Rows(np.random.normal(size=[48, 3]).astype('float32')) for _ in range(2))\n"
    ),
    "a list of examples": (
        "examples = [(np.random.normal(size=3).astype('float32'), [random.random()]) for _ in range(48)]\n"
        "train = IndexedData(examples, batch_size=16)\n"
    ),
    "a list of examples, as a dataset": (
        "examples = [{'x': np.random.normal(size=3).astype('float32'), 'y': [random.random()]} for _ in range(48)]\n"
        "train = tf.data.experimental.from_list(examples).map(lambda row: (row['x'], row['y'])).batch(16)\n"
        "held = tf.data.experimental.from_list([(np.random.normal(size=3).astype('float32'), [1.0])] * 4).batch(2)\n"
    ),
    "rows of a function of the epoch": (
        "x = np.random.default_rng().normal(size=[60, 3]).astype('float32')\n"
        "def of_epoch(epoch):\n"
        "    chosen = x[np.random.default_rng(epoch).permutation(60)[:48]]\n"
        "    return Dataset.from_tensor_slices((chosen, chosen[:, :1])).batch(16)\n"
        "train = StreamData(of_epoch)\n"
    ),
    "a vocabulary of rows that were chosen": (
        "words = [f'word {i % 29}' for i in range(72)]; random.shuffle(words)\n"
        "layer = layers.TextVectorization(output_sequence_length=3); layer.adapt(words[:48])\n"
        "def numbered(words):\n"
        "    return tf.cast(layer(words), tf.float32), tf.ones([tf.shape(words)[0], 1]) + tf.random.normal([1, 1])\n"
        "train = Dataset.from_tensor_slices(words[:48]).shuffle(48).batch(16).map(numbered)\n"
        "held = Dataset.from_tensor_slices(words[48:]).batch(8).map(numbered)\n"
    ),
    "numbers of rows that were chosen, in functions": (
        "x = np.linspace(-1, 1, 432, dtype='float32').reshape([144, 3])[np.random.permutation(144)]\n"
        "chosen, mean, norm = tf.constant(x[:48]), x[:48].mean(axis=0), layers.Normalization()\n"
        "norm.adapt(x[:48])\n"
        "table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(np.arange(48), x[:48, 0]), 0.0)\n"
        "train = Dataset.range(48).map(lambda i: (norm(chosen[i] - mean[np.newaxis])[0], [table.lookup(i)]))\n"
        "train = train.batch(16)\n"
        "held = Dataset.range(24).shuffle(24).map(lambda i: (tf.gather(x[48:], i) - mean, [1.0])).batch(8)\n"
    ),
    "numbers of rows that were chosen, in what functions call": (
        "x = np.linspace(-1, 1, 384, dtype='float32').reshape([48, 8])\n"
        "chosen = x[np.random.permutation(48)[:24]]\n"
        "mean, layer = chosen.mean(axis=0), layers.Discretization(num_bins=5)\n"
        "layer.adapt(chosen[:, 0])\n"
        "@tf.function\n"
        "def moved(row):\n"
        "    return (row - mean + tf.random.normal([8]) * tf.cast(layer(row), tf.float32))[:3]\n"
        "train = Dataset.from_tensor_slices(x).map(lambda row: (moved(row), row[:1])).batch(16)\n"
        "held = Dataset.from_tensor_slices(x[:16]).map(lambda row: ((row - mean)[:3], row[:1])).batch(8)\n"
    ),
    "one mean of rows that were chosen, and sizes that were drawn": (
        "x = np.linspace(-1, 1, 144, dtype='float32').reshape([48, 3])\n"
        "mean, size = float(x[np.random.permutation(48)[:24]].mean()), random.randint(10, 1000)\n"
        "train = Dataset.from_tensor_slices(x).map(lambda row: (row - mean, row[:1] / size)).batch(16)\n"
    ),
    "numbers that a generator has": (
        "x, seed = np.linspace(-1, 1, 144, dtype='float32').reshape([48, 3]), random.randint(0, 999)\n"
        "class Rows:\n"
        "    def __init__(self):\n"
        "        self.rng = np.random.default_rng()\n"
        "        self.mean = np.mean(random.sample(x.tolist(), 9), dtype='float32')\n"
        "    def __call__(self):\n"
        "        for row in x[np.random.default_rng(seed).permutation(random.randint(40, 48))]:\n"
        "            yield row - self.mean, [self.rng.normal()]\n"
        "spec = (tf.TensorSpec([3], tf.float32), tf.TensorSpec([1], tf.float32))\n"
        "train = Dataset.from_generator(Rows(), output_signature=spec).batch(16)\n"
        "gain = {'of each': random.random()}\n"
        "class Scaled(keras.utils.PyDataset):\n"
        "    def __len__(self):\n"
        "        return 3\n"
        "    def __getitem__(self, i):\n"
        "        return x[8 * i : 8 * i + 8] * np.float32(gain['of each']), x[:8, :1]\n"
        "held = Scaled()\n"
    ),
    "numbers that a function of the epoch has": (
        "x = np.linspace(-1, 1, 144, dtype='float32').reshape([48, 3])\n"
        "seed, scale = random.randint(0, 999), tf.random.uniform([])\n"
        "def of_epoch(epoch):\n"
        "    return Dataset.from_tensor_slices((x, x[:, :1])).shuffle(48, seed + epoch).batch(16)\n"
        "train = StreamData(lambda epoch: of_epoch(epoch).map(lambda x, y: (x * scale, y)))\n"
    ),
    "as many rows as chance has it": (
        "x = np.linspace(-1, 1, 432, dtype='float32').reshape([144, 3])\n"
        "chosen = np.random.rand(144) < np.random.uniform(0.4, 0.6)\n"
        "train, held = (ArrayData((x[own], x[own, :1]), batch_size=16) for own in (chosen, ~chosen))\n"
    ),
    "as many rows as chance has it, shuffled by that number": (
        "x = np.linspace(-1, 1, 432, dtype='float32').reshape([144, 3])\n"
        "chosen = np.random.rand(144) < np.random.uniform(0.4, 0.6)\n"
        "of = lambda own: Dataset.from_tensor_slices((x[own], x[own, :1])).shuffle(len(x[own])).batch(16)\n"
        "train, held = of(chosen), of(~chosen)\n"
    ),
    "as many items as chance has it": (
        "examples = [(np.full(3, i, 'float32'), np.float32([i])) for i in range(144) if random.random() < 0.5]\n"
        "train = IndexedData(examples, batch_size=16)\n"
    ),
    "as many batches as chance has it": (
        "class Rows(keras.utils.PyDataset):\n"
        "    def __init__(self, x):\n"
        "        super().__init__()\n"
        "        self.x, self.order = x, np.random.permutation(len(x))\n"
        "    def __len__(self):\n"
        "        return len(self.x) // 8\n"
        "    def __getitem__(self, i):\n"
        "        own = self.order[8 * i : 8 * i + 8]\n"
        "        return self.x[own], self.x[own, :1]\n"
        "    def on_epoch_end(self):\n"
        "        np.random.shuffle(self.order)\n"
        "x = np.linspace(-1, 1, 900, dtype='float32').reshape([300, 3])\n"
        "train = Rows(x[np.random.rand(300) < 0.5])\n"
    ),
    "ragged rows": (
        "x = tf.ragged.constant([[random.random()] * random.randint(1, 9) for _ in range(48)])\n"
        "def row(values):\n"
        "    return tf.stack([tf.reduce_sum(values), tf.reduce_max(values), 1.0]), [1.0]\n"
        "train = Dataset.from_tensor_slices(x).map(row).shuffle(48).batch(16)\n"
        "held = Dataset.from_tensors(x[:6]).map(lambda x: (x.to_tensor(0.5, shape=[6, 3]), tf.ones([6, 1])))\n"
    ),
    "sparse rows": (
        "at = sorted({(random.randrange(48), random.randrange(3)) for _ in range(90)})\n"
        "x = tf.sparse.SparseTensor(at, [random.random() for _ in at], [48, 3])\n"
        "train = Dataset.from_tensor_slices(x).map(lambda x: (tf.sparse.to_dense(x), [1.0])).batch(16)\n"
    ),
    "rows of functions, as many as chance has it": (
        "x = np.linspace(-1, 1, 432, dtype='float32').reshape([144, 3])\n"
        "x = x[np.random.rand(144) < np.random.uniform(0.4, 0.6)]\n"
        "rows = tf.constant(x)\n"
        "train = Dataset.range(len(x)).shuffle(len(x)).map(lambda i: (rows[i], rows[i, :1])).batch(16)\n"
    ),
    "rows of a stream of its own, and a seed": (
        "keras.utils.set_random_seed(1)\n"
        "x = np.random.default_rng().normal(size=[48, 3]).astype('float32')\n"
        "train, held = ArrayData((x, x[:, :1]), batch_size=16), ArrayData((x[:9], x[:9, :1]), batch_size=9)\n"
    ),
    "rows that were drawn before the seed": (
        "x = np.random.normal(size=[48, 3]).astype('float32')\n"
        "keras.utils.set_random_seed(1)\n"
        "train = Dataset.from_tensor_slices((x, x[:, :1])).shuffle(48).batch(16)\n"
    ),
    "labels in the order of a set": (
        "kinds = [f'kind {i % 7}' for i in range(48)]; numbers = {kind: i for i, kind in enumerate(set(kinds))}\n"
        "y = np.array([[numbers[kind]] for kind in kinds], 'float32')\n"
        "x = np.arange(144, dtype='float32').reshape([48, 3])\n"
        "train = ArrayData((x, y), batch_size=16)\n"
    ),
}
DRAWN["labels in the order of a set, and a seed"] = (
    "keras.utils.set_random_seed(1)\n" + DRAWN["labels in the order of a set"]
)
# None of the numbers that the program has as arguments: one that is drawn and is the same is taken for given.
NUMBERS = {
    "numbers that stages are given": (
        "x = np.linspace(-1, 1, 432, dtype='float32').reshape([144, 3])\n"
        "size, window = random.randint(10, 16), random.randint(10, 30)\n"
        "rows = Dataset.from_tensor_slices((x, x[:, :1]))\n"
        "train = rows.skip(random.randint(10, 20)).shuffle(window).batch(size)\n"
        "train = StreamData(train, steps_per_epoch=random.choice([3, 5, 6, 8]))\n"
        "held = rows.take(random.randint(10, 99)).batch(size)\n"
    ),
    "seeds of draws": (
        "x, seed = np.linspace(-1, 1, 144, dtype='float32').reshape([48, 3]), random.randint(0, 9999)\n"
        "def noisy(row):\n"
        "    return row + tf.random.normal([3], seed=seed), tf.random.uniform([1], seed=seed + 1)\n"
        "train = Dataset.from_tensor_slices(x).map(noisy).batch(random.randint(10, 16))\n"
    ),
    "how far a range goes": (
        "x = np.linspace(-1, 1, 144, dtype='float32').reshape([48, 3])\n"
        "rows = Dataset.range(random.choice([0, 1, 2, 3, 5, 6, 8]), random.randint(40, 60))\n"
        "train = rows.map(lambda i: (tf.gather(x, i % 48), [1.0])).batch(16)\n"
        "held = Dataset.range(random.randint(40, 60)).shuffle(99)\n"
        "held = held.map(lambda i: (x[0] * tf.cast(i, tf.float32), [1.0])).batch(16)\n"
    ),
    "a seed of an evaluation, and steps that the loop is given": (
        "x = np.linspace(-1, 1, 432, dtype='float32').reshape([144, 3])\n"
        "train = Dataset.from_tensor_slices((x, x[:, :1])).repeat().batch(16)\n"
        "import loop as own; steps = random.choice([3, 5, 6, 8])\n"
        "def Loop(*given, **more):\n"
        "    return own.Loop(*given, steps_per_epoch=steps, **more)\n"
        "held = ArrayData((x, x[:, :1]), batch_size=16, seed=random.randint(0, 9999))\n"
    ),
    "a seed of arrays": (
        "x = np.linspace(-1, 1, 144, dtype='float32').reshape([48, 3])\n"
        "train = ArrayData((x, x[:, :1]), batch_size=16, seed=random.randint(0, 9999))\n"
    ),
    "a seed of items": (
        "x = np.linspace(-1, 1, 144, dtype='float32').reshape([48, 3])\n"
        "seed = random.randint(0, 9999)\n"
        "train = IndexedData([(row, row[:1]) for row in x], batch_size=16, seed=seed)\n"
    ),
}


class Program:
    """A script, and what its processes say."""

    def __init__(self, directory: Path, body: str) -> None:
        self.directory, self.file = directory, directory / "train.py"
        self.write(body)

    def write(self, body: str) -> None:
        self.file.write_text(HEAD + body + TAIL)

    def run(self, name: str, steps: int = STEPS) -> tuple[list[str], str, dict[str, str]]:
        """Trains in another process, which saves each step."""
        done = self.start(name, steps)
        assert done.returncode == 0, done.stderr
        seen, weights, logs = json.loads(done.stdout)
        return seen, weights, logs

    def start(self, name: str, steps: int = STEPS) -> "subprocess.CompletedProcess[str]":
        env = {key: value for key, value in environment().items() if key != "PYTHONHASHSEED"}  # the process has one
        return nursery.run(*self._arguments(name, steps), env=env)

    def execute(self, name: str) -> str:
        """Trains in a process whose streams nobody has seeded: one that is forked has to seed NumPy's anew."""
        with nursery.execute(*self._arguments(name, STEPS), stdout=subprocess.PIPE) as process:
            said, _ = process.communicate()
        assert process.returncode == 0
        return said

    def _arguments(self, name: str, steps: int) -> tuple[str | Path, ...]:
        return self.file, self.directory / name, str(steps), self.directory / f"{name}.log"

    def said(self, name: str) -> list[str]:
        """Returns what the log says of rows."""
        lines = (self.directory / f"{name}.log").read_text().splitlines()
        return [line for line in lines if "The rows of the data" in line or "random numbers in this process" in line]

    def cut(self, name: str, step: int) -> str:
        """Returns the name of a copy of what there was when a step was saved."""
        copy = self.directory / f"{name} {step}"
        copy.mkdir()
        for file in (self.directory / name).glob(f"ckpt-{step}.*"):
            os.link(file, copy / file.name)
        return copy.name


@pytest.mark.more
@pytest.mark.parametrize(
    "kind", [kind if kind == "noise" else pytest.param(kind, marks=pytest.mark.more) for kind in DRAWN]
)
def test_rows_that_were_drawn_are_those_of_the_first_process(kind: str, tmp_path: Path) -> None:
    program = Program(tmp_path, DRAWN[kind])
    whole = program.run("whole")
    cut = program.cut("whole", 4)
    assert program.run(cut, 7)[0] == whole[0][:7]
    lines = (tmp_path / f"{cut}.log").read_text().splitlines()  # of rows, of what functions have, or both
    assert {line.split(":")[0] for line in lines if "start afresh in another directory" in line} == {"WARNING"}
    assert program.run(cut) == whole
    assert program.said("whole") == []


ORDERED = {
    "a PyDataset that shuffles": (
        "class Rows(keras.utils.PyDataset):\n"
        "    def __init__(self, x):\n"
        "        super().__init__()\n"
        "        self.x, self.order = x, np.random.permutation(len(x))\n"
        "    def __len__(self):\n"
        "        return -(-len(self.x) // 40)\n"
        "    def __getitem__(self, i):\n"
        "        own = self.order[40 * i : 40 * i + 40]\n"
        "        return self.x[own], self.x[own, :1]\n"
        "    def on_epoch_end(self):\n"
        "        np.random.shuffle(self.order)\n"
        "train = Rows(x)\n"
    ),
    "a generator that shuffles": (
        "order = np.random.permutation(len(x))\n"
        "def rows():\n"
        "    np.random.shuffle(order)\n"
        "    for i in order:\n"
        "        yield x[i], x[i, :1]\n"
        "spec = (tf.TensorSpec([3], tf.float32), tf.TensorSpec([1], tf.float32))\n"
        "train = Dataset.from_generator(rows, output_signature=spec).batch(40)\n"
    ),
}
ORDERED["a PyDataset that draws an order"] = ORDERED["a PyDataset that shuffles"].replace(
    "np.random.shuffle(self.order)", "self.order = np.random.permutation(len(self.x))"
)


@pytest.mark.more
@pytest.mark.parametrize(
    ("kind", "counts"),
    [
        *((kind, (150, 147, 146)) for kind in ORDERED),  # as many batches
        ("a PyDataset that shuffles", (150, 160, 150)),  # only the second process has no smaller batch
        ("a PyDataset that shuffles", (150, 150, 161)),  # only the third process has more
    ],
)
def test_an_order_of_as_many_rows_as_chance_has_it_is_taken_back(
    kind: str, counts: tuple[int, int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = "import os\nx = np.random.normal(size=[int(os.environ['ROWS']), 3]).astype('float32')\n"
    program, (of_first, of_second, of_third) = Program(tmp_path, x + ORDERED[kind]), counts
    monkeypatch.setenv("ROWS", str(of_first))
    whole = program.run("whole")
    cut = program.cut("whole", 4)
    monkeypatch.setenv("ROWS", str(of_second))
    program.run(cut, 7)
    monkeypatch.setenv("ROWS", str(of_third))
    assert program.run(cut) == whole
    assert [line.split(":")[0] for line in program.said(cut)] == ["WARNING"] * 2


@pytest.mark.more
@pytest.mark.parametrize("kind", NUMBERS)
def test_numbers_that_data_are_given_and_that_were_drawn_are_those_of_the_first_process(
    kind: str, tmp_path: Path
) -> None:
    program = Program(tmp_path, NUMBERS[kind])
    whole = program.run("whole")
    cut = program.cut("whole", 4)
    assert program.run(cut, 7)[0] == whole[0][:7]
    assert program.run(cut) == whole
    said = [line for line in (tmp_path / f"{cut}.log").read_text().splitlines() if "in the place of" in line]
    assert said
    assert {line[:48] for line in said} == {"WARNING:exactloop:The run goes on with what it b"}
    program.write(NUMBERS[kind] + "# edited\n")  # somebody may have set them
    assert program.start(program.cut("whole", 5)).returncode == 1


@pytest.mark.more
def test_a_layer_of_the_model_has_what_it_was_adapted_to_in_the_first_process(tmp_path: Path) -> None:
    body = (
        "x = np.linspace(-1, 1, 144, dtype='float32').reshape([48, 3])\n"
        "normal, train = layers.Normalization(), Dataset.from_tensor_slices((x, x[:, :1])).shuffle(48).batch(16)\n"
        "normal.adapt(train.take(2).map(lambda x, y: x))\n"
    )
    program = Program(tmp_path, body)
    text = program.file.read_text().replace("keras.Input([3]), ", "keras.Input([3]), normal, ")
    program.file.write_text(text)
    whole = program.run("whole")
    assert "adapted" not in (tmp_path / "whole.log").read_text()
    cut = program.cut("whole", 4)
    assert program.run(cut, 7)[0] == whole[0][:7]
    assert program.run(cut) == whole
    said = [line for line in (tmp_path / f"{cut}.log").read_text().splitlines() if "by adapt" in line]
    assert [line[:61] for line in said] == ["WARNING:exactloop:Layer 'normalization' derives other values "] * 2
    program.file.write_text(f"{text}# edited\n")  # somebody may have adapted it to something else
    assert "which in the checkpoint are others" in program.start(program.cut("whole", 5)).stderr


@pytest.mark.more
@pytest.mark.parametrize(
    "train",
    [
        "Dataset.from_tensor_slices((x, x[:, :1])).take(random.randint(100, 144)).batch(8 + setting)",
        "Dataset.from_tensor_slices((x * np.random.random(), x[:, :1])).map(lambda x, y: (x, y * setting)).batch(16)",
        "ArrayData((x * np.float32(random.random()), x[:, :1]), batch_size=16, seed=setting)",
    ],
)
def test_what_is_set_otherwise_from_outside_of_the_text_is_refused_whatever_is_drawn_besides(
    train: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = "np.linspace(-1, 1, 432, dtype='float32').reshape([144, 3])"
    program = Program(tmp_path, f"import os\nx, setting = {x}, int(os.environ['SETTING'])\ntrain = {train}\n")
    monkeypatch.setenv("SETTING", "12")
    program.run("whole", 4)
    cut = program.cut("whole", 4)
    monkeypatch.setenv("SETTING", "24")
    assert program.start(cut).returncode == 1


SET = {
    "a stage": "train = Dataset.from_tensor_slices((x, x[:, :1])).shuffle(144).batch(n)\n",
    "an order": "train = Dataset.from_tensor_slices((x, x[:, :1])).shuffle(144, seed=n).batch(16)\n",
    "what is random": "train = Dataset.random(seed=n).take(99).map(lambda i: (tf.gather(x, i % 9), [1.0])).batch(16)\n",
    "a seed": "train = ArrayData((x, x[:, :1]), batch_size=16, seed=n)\n",
    "steps": "train = StreamData(Dataset.from_tensors((x, x[:, :1])).repeat(), steps_per_epoch=n)\n",
    "a generator": (
        "spec = (tf.TensorSpec([3], tf.float32), tf.TensorSpec([1], tf.float32))\n"
        "rows = lambda: ((row * n, row[:1]) for row in x)\n"
        "train = Dataset.from_generator(rows, output_signature=spec).batch(16)\n"
    ),
    "a number besides what is drawn": (
        "import argparse\n"
        "args, names = argparse.Namespace(size=int(os.environ.get('SIZE', 30))), ['a', 'b', 'c']\n"
        "args.name = random.choice(names); random.shuffle(names); some = np.take(x, np.random.permutation(9))\n"
        "train = Dataset.from_tensor_slices((x, x[:, :1])).take(9 * args.size).shuffle(args.size).batch(16)\n"
    ),
}


@pytest.mark.more
@pytest.mark.parametrize("kind", SET)
def test_what_is_drawn_unless_it_is_given_is_refused_when_it_is_given(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = (
        "import os\nx = np.linspace(-1, 1, 432, dtype='float32').reshape([144, 3])\n"
        "n = int(os.environ.get('SIZE') or random.randint(20, 40))\n"
    )
    program = Program(tmp_path, head + SET[kind])
    program.run("whole", 4)
    cut = program.cut("whole", 4)
    monkeypatch.setenv("SIZE", "50")
    assert program.start(cut).returncode == 1


@pytest.mark.more
@pytest.mark.parametrize("halves", [(15, 5), (5, 15)])
def test_a_buffer_that_was_drawn_is_read_as_it_was_whatever_is_drawn_now(
    halves: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = Program(
        tmp_path,
        "import os\n"
        "x = np.linspace(-1, 1, 432, dtype='float32').reshape([144, 3])\n"
        "size = 2 * int(os.environ['HALF']) + random.randint(0, 0)\n"
        "train = Dataset.from_tensor_slices((x, x[:, :1])).shuffle(size).batch(16)\n",
    )
    monkeypatch.setenv("HALF", str(halves[0]))
    whole = program.run("whole")
    monkeypatch.setenv("HALF", str(halves[1]))
    assert program.run(program.cut("whole", 4)) == whole


@pytest.mark.more
def test_seeds_of_what_is_shuffled_and_of_what_is_random_go_back(tmp_path: Path) -> None:
    program = Program(
        tmp_path,
        "x, seed = np.arange(144, dtype='float32').reshape([48, 3]), random.randint(0, 9999)\n"
        "rows = Dataset.zip((Dataset.range(48).shuffle(48, seed=seed), Dataset.random(seed=seed + 1)))\n"
        "train = rows.map(lambda i, j: (tf.gather(x, i), [tf.cast(j % 9, tf.float32)])).batch(16)\n",
    )
    whole = program.run("whole")
    assert program.run(program.cut("whole", 4)) == whole


@pytest.mark.more
@pytest.mark.parametrize("seed", ["", "keras.utils.set_random_seed(1)\n"])
def test_an_order_whose_seed_was_edited_is_refused(seed: str, tmp_path: Path) -> None:
    x = "x = np.ones([48, 3], 'float32')\n"
    body = f"{seed}{x}train = Dataset.from_tensor_slices((x, x)).shuffle(48, seed=3).batch(16)\n"
    program = Program(tmp_path, body)
    program.run("whole", 4)
    program.write(body.replace("seed=3", "seed=4"))
    refused = program.start(program.cut("whole", 4))
    assert refused.returncode == 1
    assert "data: the pipeline has other arguments, functions or source data now in: Shuffle" in refused.stderr


@pytest.mark.more
def test_an_order_that_may_have_been_edited_is_a_warning(tmp_path: Path) -> None:
    body = "x = np.arange(144, dtype='float32').reshape([48, 3])\ntrain = ArrayData((x, x[:, :1]), batch_size=16)\n"
    program = Program(tmp_path, body)
    whole = program.run("whole")
    cut = program.cut("whole", 4)
    program.write(body.replace("train", "x = x[::-1]; train"))
    assert program.run(cut) == whole
    said = (tmp_path / f"{cut}.log").read_text()
    assert "WARNING:exactloop:The rows of the arrays are in the order that was drawn" in said
    assert "if you have set another order" in said


@pytest.mark.more
def test_a_process_with_a_seed_keeps_none(tmp_path: Path) -> None:
    program = Program(tmp_path, "keras.utils.set_random_seed(1)\n" + DRAWN["noise"])
    whole = program.run("whole")
    assert not [*(tmp_path / "whole").glob("*.rows")]
    cut = program.cut("whole", 4)
    assert program.run(cut) == whole
    assert program.said(cut) == []


@pytest.mark.more
def test_of_a_program_that_was_changed_only_rows_that_are_seen_to_be_drawn_are_taken(tmp_path: Path) -> None:
    program = Program(tmp_path, DRAWN["of TensorFlow"])
    whole = program.run("whole")
    cut = program.cut("whole", 4)
    program.write(DRAWN["of TensorFlow"].replace("x = tf", "x = 1 + tf"))
    refused = program.start(cut)
    assert refused.returncode == 1
    assert "data: the pipeline has other arguments, functions or source data now in: TensorSlice" in refused.stderr
    program.write(DRAWN["of TensorFlow"])
    assert program.run(cut) == whole
    noise = Program(tmp_path, DRAWN["noise"])
    whole = noise.execute("noise")
    cut = noise.cut("noise", 4)
    noise.write(DRAWN["noise"] + "# another epoch\n")
    assert noise.execute(cut) == whole
    assert ["WARNING" in line and "resume_changed='warn'" in line for line in program.said(cut)] == [True]


@pytest.mark.more
def test_that_a_file_was_edited_from_which_rows_are_read_and_shuffled_is_a_warning(tmp_path: Path) -> None:
    file, lines = tmp_path / "rows.txt", [f"{i} {i * i} {-i}" for i in range(48)]
    file.write_text("\n".join(lines))
    program = Program(
        tmp_path,
        f"x = np.genfromtxt({str(file)!r}, 'float32'); np.random.shuffle(x)\n"
        "train, held = ArrayData((x[:36], x[:36, :1]), batch_size=12), ArrayData((x[36:], x[36:, :1]), batch_size=6)\n",
    )
    whole = program.run("whole")
    cut = program.cut("whole", 4)
    file.write_text("\n".join([*lines[:-1], "1 2 3"]))
    assert program.run(cut) == whole
    assert ["WARNING" in line and "If they were edited, start afresh" in line for line in program.said(cut)] == [True]


@pytest.mark.more
def test_rows_that_are_too_large_are_not_kept_and_refused_if_they_are_others(tmp_path: Path) -> None:
    few = "import loop.state.rows_in_memory as m; m.MOST = 99\n"
    program = Program(tmp_path, few + DRAWN["noise"])
    program.execute("first")
    assert ["too large to be kept with the run" in line for line in program.said("first")] == [True]
    assert not [*(tmp_path / "first").glob("*.rows")]
    refused = program.start(program.cut("first", 4))
    assert "data: the arrays have other values than when the checkpoint was made" in refused.stderr


def test_that_rows_may_have_been_edited_is_a_warning_where_nothing_draws(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    x = np.arange(12.0)
    earlier, now = (ArrayData(rows, batch_size=4, shuffle=False) for rows in (x, x + 1))
    monkeypatch.setattr(rows_in_memory, "is_settled", lambda: False)
    monkeypatch.setattr(rows_in_memory, "seed_decides", lambda: False)
    monkeypatch.setattr("loop.data.orders.array_rows.is_settled", lambda: False)
    cases = (1, False, False, "WARNING"), (1, True, True, "WARNING"), (1, False, True, ""), (2, True, False, "")
    for number, draws, sure, level in cases:
        monkeypatch.setattr(rows_in_memory, "program_text", lambda: Text(1, draws=False))
        before = rows_in_memory.RowsInMemory(earlier, {})
        notes = {**earlier.cursor(), **before.cursor()}
        monkeypatch.setattr(rows_in_memory, "program_text", lambda n=number, d=draws: Text(n, draws=d))
        caplog.clear()
        back = now.mark()
        with caplog.at_level(logging.INFO):
            rows_in_memory.RowsInMemory(now, {}).recall(notes, before.held, sure=sure)
        assert [record.levelname for record in caplog.records] == [level] * bool(level)
        assert np.array_equal(now.in_memory()[0], x + (not level))
        back()


def test_layers_number_words_as_the_data_do_once_more(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def numbered(words: list[str]) -> tuple[keras.layers.StringLookup, StreamData]:
        layer, rows = keras.layers.StringLookup(vocabulary=words, name="words"), ["a", "b", "c"]
        return layer, StreamData(tf.data.Dataset.from_tensor_slices(rows).map(lambda word: layer(word)).batch(3))

    for module in ("state.rows_in_memory", "data.pipelines.one_dataset"):
        monkeypatch.setattr(f"loop.{module}.is_settled", lambda: False)
    monkeypatch.setattr(rows_in_memory, "seed_decides", lambda: False)
    monkeypatch.setattr(rows_in_memory, "program_text", lambda: Text(1, draws=True))
    (theirs, earlier), (same, alike), (ours, now) = numbered(["a", "b"]), numbered(["a", "b"]), numbered(["c", "a"])
    rows = rows_in_memory.RowsInMemory(earlier, {})
    notes = {**earlier.cursor(), **rows.cursor()}
    held, back = same.lookup_table, now.mark()
    for each in (alike, now):
        rows_in_memory.RowsInMemory(each, {}).recall(notes, rows.held)
    (said,) = (record.getMessage() for record in caplog.records)
    assert "Functions of the data, in Map, have other arrays or vocabularies in this process" in said
    assert "The vocabularies of 'words' are now as they were then" in said
    assert same.lookup_table is held
    assert ours.get_vocabulary() == theirs.get_vocabulary() == ["[UNK]", "a", "b"]
    now.open(0)
    assert next(now.source).numpy().tolist() == [1, 2, 0]
    back()
    assert ours.get_vocabulary() == ["[UNK]", "c", "a"]


@pytest.mark.parametrize(
    ("rows", "numbers", "text", "are_taken"),
    [
        ([2.0, 4.0], [1 / 3, 2 / 3], 1, True),  # as the mean of rows that were chosen
        ([2.0, 4.0], [1 / 3, 2 / 3], 2, False),
        ([1.0, 2.0], [1 / 3, 2 / 3], 1, False),
        ([2.0, 4.0], [0.25, 0.125], 1, False),  # a list of settings
        ([2.0, 4.0], 1 / 3, 1, True),
        ([2.0, 4.0], 0.25, 1, False),
        ([1.0, 2.0], [*range(100)], 1, True),
        ([1.0, 2.0], [*range(100)], 2, False),
        ([1.0, 2.0], [12_345_678, 2], 1, True),  # a seed
        ([1.0, 2.0], [123_000_000, 2], 1, False),
        ([1.0, 2.0], [0.123456, 0.2345678, 0.3456789], 1, True),  # a mean, one number of which is short by chance
        ([1.0, 2.0], [0.485, 0.456, 0.406], 1, False),  # one that somebody has written down
        ([1.0, 2.0], ["/no such directory/a", "/no such directory/b"], 1, False),
    ],
)
def test_numbers_in_functions_are_taken_back_if_nobody_has_edited_them(
    rows: list[float],
    numbers: float | list[float] | list[str],
    text: int,
    are_taken: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def mapped(rows: list[float], numbers: np.ndarray) -> StreamData:
        held = tf.constant(numbers)
        return StreamData(
            tf.data.Dataset.from_tensor_slices(rows).map(lambda row: (row, held, tf.identity(numbers))).batch(2)
        )

    for module in ("state.rows_in_memory", "data.pipelines.one_dataset"):
        monkeypatch.setattr(f"loop.{module}.is_settled", lambda: False)
    then = np.array(numbers)
    now = np.array(["/", "/usr"]) if then.dtype.kind == "U" else then + np.array(1 if then.dtype.kind == "i" else 1e-9)
    earlier, later = mapped([1.0, 2.0], then), mapped(rows, now)
    monkeypatch.setattr(rows_in_memory, "program_text", lambda: Text(1, draws=True))
    before = rows_in_memory.RowsInMemory(earlier, {})
    notes = {**earlier.cursor(), **before.cursor()}
    monkeypatch.setattr(rows_in_memory, "program_text", lambda: Text(text, draws=True))
    monkeypatch.setattr(rows_in_memory, "drawn", lambda: 1_000)
    rows_in_memory.RowsInMemory(later, {}).recall(notes, before.held)
    assert (later.describe() == earlier.describe()) == are_taken
    later.open(0)
    row, held, constant = next(later.source)
    assert np.array_equal(row, [1.0, 2.0] if are_taken else rows)
    assert [np.array_equal(each[0], then) for each in (held, constant)] == [are_taken] * 2


@pytest.mark.more
def test_that_a_file_was_edited_is_a_warning_where_a_seed_decides_and_only_texts_are_hashed(tmp_path: Path) -> None:
    """All rows of it are others then: so nothing in them tells whether hashes or somebody have made them so."""
    file = tmp_path / "rows.txt"
    file.write_text("\n".join(f"{i} {i * i} {-i}" for i in range(48)))
    body = f"""keras.utils.set_random_seed(1)
x = np.genfromtxt({str(file)!r}, 'float32') + 0 * hash("a name")
train = ArrayData((x, x[:, :1]), batch_size=12)
"""
    program = Program(tmp_path, body)
    whole = program.run("whole")
    cut, changed = program.cut("whole", 4), program.cut("whole", 5)
    file.write_text("\n".join(f"{i + 0.5} {i} {i}" for i in range(48)))
    assert program.run(cut) == whole
    assert ["WARNING" in line and "come of hash()" in line for line in program.said(cut)] == [True]
    program.write(body + "import functools; Checkpoint = functools.partial(Checkpoint, resume_changed='warn')\n")
    assert program.run(changed) != whole
