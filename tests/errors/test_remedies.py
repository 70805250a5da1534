"""Each remedy that is printed is followed here literally: it is accepted, resumed exactly, and trains as before."""

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.data.experimental.ops import global_shuffle_op
from tensorflow.python.framework.config import disable_op_determinism

from hooks import Checkpoint
from loop import Hook, IndexedData, InexactRun, Loop, Moment, StatefulData, StreamData
from loop.errors import remedies
from loop.state.randomness import random_streams

ROWS, EPOCHS = 6, 3


class Values(Hook):
    """Collects the values of all steps."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[float] = []

    def on_steps(self, first_step: int, values: dict[str, np.ndarray]) -> None:
        self.seen += values["x"].tolist()


class Rises(Hook):
    """Has a level for each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.level = tf.Variable(0.0)

    def on_epoch_end(self, moment: Moment) -> None:
        self.level.assign_add(10.0)


class Program(NamedTuple):
    """A program that is refused, and those that its remedy makes of it.

    Attributes:
        refused: Makes the loop.
        mended: Make loops with what the remedy says.
        varies: Whether each epoch has other values, or another order of them, and no two steps of one have equal ones.
    """

    refused: Callable[[], Loop]
    mended: list[Callable[[], Loop]]
    varies: bool = False


def rows() -> tf.data.Dataset:
    return tf.data.Dataset.range(ROWS).map(lambda x: tf.cast(x, tf.float32))


def over(data: tf.data.Dataset | StreamData | IndexedData | StatefulData, **state: object) -> Loop:
    """Returns a loop over scalars whose values are those of the data."""
    w = tf.Variable(0.0, name="w")
    return Loop(lambda x: {"x": w.assign(tf.reshape(tf.cast(x, tf.float32), []))}, data, state={"w": w, **state})


def by_level(level: Callable[[tf.Variable, Rises, int], float]) -> Loop:
    """Returns a loop over data that go by a level, of what is trained, a hook, or the epoch."""
    w, hook = tf.Variable(0.0, name="w"), Rises()

    def of_epoch(epoch: int) -> tf.data.Dataset:
        added = level(w, hook, epoch)
        return rows().map(lambda x: x + added)

    return Loop(lambda x: {"x": w.assign(x)}, StreamData(of_epoch), state={"w": w}, hooks=[hook])


def of_epoch(function: Callable[[int], tf.data.Dataset], **arguments: object) -> Loop:
    return over(StreamData(function, **arguments))


def traced_once() -> Loop:
    return over(rows().shuffle(1000).map(lambda x: x + random.random()))


def noisy(*, in_python: bool) -> tf.data.Dataset:
    layer = keras.layers.GaussianNoise(0.1, seed=1)

    def moved(x: tf.Tensor) -> tf.Tensor:
        return layer(x, training=True)

    def called(x: tf.Tensor) -> tf.Tensor:
        return tf.ensure_shape(tf.py_function(moved, [x], tf.float32), []) if in_python else moved(x)

    return rows().map(called)


def initialized(**arguments: object) -> Loop:
    initializer = keras.initializers.RandomNormal(**arguments)
    return over(rows().map(lambda x: x + initializer([])))


def taught() -> Loop:
    teacher = keras.layers.Dense(1)
    return over(rows().map(lambda x: teacher(tf.reshape(x, [1, 1]))))


def taught_by(*, held: bool = False, loaded: bool = False) -> Loop:
    teacher = keras.layers.Dense(1)
    teacher.build([None, 1])
    if loaded:
        teacher.set_weights([np.ones([1, 1]), np.ones(1)])
    state = {"teacher": teacher} if held else {}
    return stepping(lambda x: teacher(tf.reshape(x, [1, 1]))[0, 0], **state)


def numbered(ordered: Callable[[set[str]], list[str]]) -> Loop:
    words = [f"word {i}" for i in range(40)]
    number = keras.layers.StringLookup(vocabulary=ordered(set(words)))
    return over(rows().map(lambda x: number(tf.gather(words, tf.cast(x, tf.int32)))))


def seeded_first(make: Callable[[], Loop]) -> Callable[[], Loop]:
    def made() -> Loop:
        keras.utils.set_random_seed(1)
        return make()

    return made


def stepping(draw: Callable[[tf.Tensor], tf.Tensor], **state: object) -> Loop:
    """Returns a loop whose step logs what a function makes of each row."""
    w = tf.Variable(0.0, name="w")
    return Loop(lambda x: {"x": w.assign(tf.reshape(draw(x), []))}, rows(), state={"w": w, **state})


def normal(epoch: int) -> tf.data.Dataset:
    return rows().enumerate().map(lambda i, x: tf.random.stateless_normal([], seed=[epoch, i]))


def twice(epoch: int) -> tf.data.Dataset:
    def draw(i: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
        seeds = tf.random.split([epoch, i], 2)
        first, second = (tf.random.stateless_normal([], seed=seeds[n]) for n in range(2))
        tf.debugging.assert_none_equal(first, second)
        return first - second

    return rows().enumerate().map(draw)


def in_tensorflow() -> Loop:
    keras.utils.set_random_seed(1)  # as a process has it that begins
    return stepping(lambda x: tf.random.normal([]))


def in_keras() -> Loop:
    seeds = keras.random.SeedGenerator(1)
    return stepping(lambda x: keras.random.normal([], seed=seeds), seeds=seeds)


def in_generator() -> Loop:
    generator = tf.random.Generator.from_seed(1)
    return stepping(lambda x: generator.normal([]), generator=generator)


def variable(function: Callable[[tf.Variable], Loop]) -> Callable[[], Loop]:
    return lambda: function(tf.Variable(1.0, name="v"))


def parts(x: tf.Tensor) -> tf.data.Dataset:
    return tf.data.Dataset.range(5).map(lambda y: tf.cast(y, tf.float32) + 10 * x)


def first_shuffled(seeds: keras.random.SeedGenerator | None) -> tf.Tensor:
    def row(x: tf.Tensor) -> tf.Tensor:
        given = {} if seeds is None else {"seed": keras.random.randint([], 0, 2**31 - 1, "int64", seeds)}
        orders = tf.data.Dataset.range(100).shuffle(1000, **given).batch(4, drop_remainder=True)
        first = next(iter(orders))
        return tf.reduce_sum(tf.cast(first, tf.float32) * [1.0, 100.0, 1e4, 1e6])

    return row


def shuffled_in_step() -> Loop:
    seeds = keras.random.SeedGenerator(1)
    return stepping(first_shuffled(seeds), seeds=seeds)


def python(stateful: bool) -> Loop:
    return stepping(lambda x: tf.numpy_function(lambda x: x + 1, [x], tf.float32, stateful=stateful))


SERVERS: list[object] = []  # kept, or they would end


def generated(function: Callable[..., Iterator[float]], **arguments: object) -> tf.data.Dataset:
    return tf.data.Dataset.from_generator(function, output_signature=tf.TensorSpec([], tf.float32), **arguments)


def counting() -> Iterator[float]:
    yield from (float(i) for i in range(ROWS))


def drawing() -> Loop:
    return over(StreamData(generated(lambda: iter(np.random.default_rng().normal(size=ROWS))), resume="replay"))


def relabelled() -> Loop:
    labels = tf.Variable(np.arange(ROWS, dtype=np.float32), name="labels")
    data = StreamData(generated(lambda: map(float, range(ROWS))), resume="replay")
    loop = Loop(lambda row: {"x": tf.gather(labels, tf.cast(row, tf.int32))}, data, state={"labels": labels})
    loop.on("epoch_end")(lambda moment: labels.assign(labels * 2 + 1))
    return loop


def served() -> Loop:
    service = tf.data.experimental.service
    server = service.DispatchServer()
    worker = service.WorkerServer(service.WorkerConfig(dispatcher_address=server.target.split("://")[1]))
    SERVERS.extend([server, worker])
    return over(rows().apply(service.distribute(processing_mode="parallel_epochs", service=server.target)))


def shuffled_globally(dataset: tf.data.Dataset) -> tf.data.Dataset:
    return global_shuffle_op._global_shuffle(dataset)


class Late:
    """Moves what it yields by how much it has found, which it does where nobody looks before the first pass.

    Args:
        find: Puts something to what it has found.
        wait: Seconds for each number, so that few are looked at.
    """

    def __init__(self, find: Callable[["Late"], object], wait: float = 0.0) -> None:
        self.pairs, self.numbers = dict[tuple[int, int], int](), list[int]()
        self._find, self._wait = find, wait

    def __call__(self) -> Iterator[float]:
        found = len(self.pairs) + len(self.numbers)
        for i in range(10):
            time.sleep(self._wait)
            if i == 9:
                self._find(self)
            yield float(100 * found + i)


def begin_again(late: Late) -> None:
    late.pairs = {}


def drawing_from_numpy() -> Iterator[float]:
    yield from (np.random.normal() for _ in range(ROWS))


def begun_anew(epoch: int) -> Iterator[float]:
    rng = np.random.default_rng(epoch)
    yield from rng.normal(size=ROWS)


def iterating(x: tf.Tensor, dataset: tf.data.Dataset) -> tf.Tensor:
    total = x
    for row in dataset:
        total += row
    return total


def from_iterator() -> Loop:
    iterator = iter(rows().shuffle(ROWS, seed=1).repeat())
    return stepping(lambda x: next(iterator), iterator=iterator)


def queued() -> Loop:
    queue = tf.queue.FIFOQueue(10, tf.float32, [[]])

    def draw(x: tf.Tensor) -> tf.Tensor:
        queue.enqueue(x)
        return queue.dequeue()

    return stepping(draw)


def table_in_step(made: tf.lookup.experimental.MutableHashTable | None) -> Callable[[tf.Tensor], tf.Tensor]:
    def draw(x: tf.Tensor) -> tf.Tensor:
        table = made or tf.lookup.experimental.MutableHashTable(tf.int64, tf.float32, 0.0)
        key = tf.cast(x, tf.int64)
        table.insert(key, table.lookup(key) + 1.0)
        return table.lookup(key)

    return draw


def table_outside() -> Loop:
    table = tf.lookup.experimental.MutableHashTable(tf.int64, tf.float32, 0.0)
    return stepping(table_in_step(table), table=table)


def looked_up(table: tf.lookup.StaticHashTable | tf.lookup.experimental.MutableHashTable) -> Loop:
    return over(rows().map(lambda x: table.lookup(tf.cast(x, tf.int64))))


def mutable_table() -> Loop:
    return looked_up(tf.lookup.experimental.MutableHashTable(tf.int64, tf.float32, 0.5))


def static_table() -> Loop:
    keys = tf.lookup.KeyValueTensorInitializer(tf.range(3, dtype=tf.int64), [1.0, 2.0, 3.0])
    return looked_up(tf.lookup.StaticHashTable(keys, 0.5))


def reading_what_changes() -> Loop:
    w = tf.Variable(1.0, name="w")
    data = StreamData(rows().map(lambda x: x * w), resume="replay")
    return Loop(lambda x: {"x": w.assign(x + 1)}, data, state={"w": w})


def reading_in_step() -> Loop:
    w = tf.Variable(1.0, name="w")
    return Loop(lambda x: {"x": w.assign(x * w + 1)}, rows(), state={"w": w})


def generated_from(w: tf.Variable) -> tf.data.Dataset:
    return generated(lambda: (i + float(w) for i in range(ROWS)))


def changing(data: Callable[[tf.Variable], tf.data.Dataset | IndexedData | StatefulData]) -> Loop:
    """Returns a loop whose step changes the variable that its data are given."""
    w = tf.Variable(1.0, name="w")
    return Loop(lambda x: {"x": w.assign(tf.reshape(x, []) / 2 + 1)}, data(w), state={"w": w})


class Own(tf.data.Dataset):
    """A dataset of somebody's own, of which nobody knows how it is made."""

    def __init__(self, rows: tf.data.Dataset) -> None:
        self._rows = rows
        super().__init__(tf.data.experimental.to_variant(rows))

    def _inputs(self) -> list[tf.data.Dataset]:
        return [self._rows]

    @property
    def element_spec(self) -> tf.TensorSpec:
        return self._rows.element_spec


class Items:
    """Numbers, each under its own."""

    def __len__(self) -> int:
        return ROWS

    def __getitem__(self, i: int) -> float:
        return float(i)


class ItemsDrawn(Items):
    def __init__(self) -> None:
        self.rng = np.random.default_rng(1)

    def __getitem__(self, i: int) -> float:
        return self.rng.normal()


class ItemsOfNumpy(Items):
    def __getitem__(self, i: int) -> np.ndarray:
        return np.random.normal(size=3)[0]


class ItemsByNumber(Items):
    def __getitem__(self, i: int) -> float:
        return np.random.default_rng([1, i]).normal()


class ItemsOf(Items):
    """Depend on what is trained."""

    def __init__(self, w: tf.Variable) -> None:
        self.w = w

    def __getitem__(self, i: int) -> float:
        return i + float(self.w)


class Turned(Items):
    """Keep their order in what is no plain value."""

    def __init__(self) -> None:
        self.order = set(range(ROWS))

    def __getitem__(self, i: int) -> float:
        return float(sorted(self.order)[i])

    def on_epoch_end(self) -> None:
        self.order = {number + 1 for number in self.order}


class TurnedWithState(Turned):
    def get_state(self) -> list[int]:
        return sorted(self.order)

    def set_state(self, state: list[int]) -> None:
        self.order = set(state)


class Numbers:
    """An iterator that says where it is."""

    def __init__(self, first: float = 0.0) -> None:
        self.first, self.n = first, 0

    def __iter__(self) -> "Numbers":
        return self

    def __next__(self) -> np.float32:
        self.n += 1
        return np.float32(self.first + self.n)

    def get_state(self) -> dict[str, object]:
        return {"n": self.n}

    def set_state(self, state: dict) -> None:
        self.n = state["n"]


class NumbersOf(Numbers):
    """Depend on what is trained."""

    def __init__(self, w: tf.Variable) -> None:
        super().__init__()
        self.w = w

    def __next__(self) -> np.float32:
        return super().__next__() + np.float32(self.w)


class Forgets(Numbers):
    """Leaves out of its state what it draws from."""

    def __init__(self) -> None:
        super().__init__()
        self.rng = np.random.default_rng(1)

    def __next__(self) -> np.float32:
        return super().__next__() + np.float32(self.rng.normal())


class Remembers(Forgets):
    def get_state(self) -> dict[str, object]:
        return {"n": self.n, "rng": self.rng.bit_generator.state}

    def set_state(self, state: dict) -> None:
        self.n, self.rng.bit_generator.state = state["n"], state["rng"]


class NumbersOfNumpy(Numbers):
    def __next__(self) -> np.float32:
        return super().__next__() + np.float32(np.random.normal())


class Ending(Numbers):
    def __next__(self) -> np.float32:
        if self.n == EPOCHS * ROWS:
            raise StopIteration
        return super().__next__()


class Anew:
    """Yields something else each time it is iterated."""

    def __init__(self) -> None:
        self.times = 0

    def __iter__(self) -> Ending:
        self.times += 1
        return Ending(10.0 * self.times)


def indexed(source: Items, **arguments: int) -> IndexedData:
    return IndexedData(source, batch_size=1, seed=1, **arguments)


def stateful(source: object, **arguments: int) -> StatefulData:
    return StatefulData(source, steps_per_epoch=ROWS, **arguments)


def of_one_generator(epoch: int) -> Ending:
    return Ending(np.random.default_rng(epoch).normal())


def csv() -> str:
    Path("rows.csv").write_text("x\n" + "\n".join(map(str, range(ROWS))), encoding="utf-8")
    return "rows.csv"


def filled() -> Loop:
    for _ in rows().cache("filled"):
        pass
    return over(rows().cache("filled"))


def written() -> Loop:
    if not Path("written").exists():
        rows().save("written")
    return over(tf.data.Dataset.load("written", element_spec=tf.TensorSpec([], tf.float32)))


def sampled(**arguments: object) -> Loop:
    sources = [rows(), rows().map(lambda x: x + 10)]
    return over(saved(tf.data.Dataset.sample_from_datasets(sources, seed=1, **arguments)))


def saved(dataset: tf.data.Dataset) -> StreamData:
    return StreamData(dataset, resume="state")


def truncated(x: tf.Tensor) -> tf.Tensor:
    given = {"means": [0.0], "stdevs": [1.0], "minvals": [-2.0], "maxvals": [2.0]}
    return x + tf.raw_ops.ParameterizedTruncatedNormal(shape=[1], **given)[0]


def classes(sampler: Callable[..., tuple[tf.Tensor, ...]], **arguments: object) -> Loop:
    """Returns a loop over classes, all of them in some order, as one number."""

    def sampled(_: tf.Tensor) -> tf.Tensor:
        found = sampler(tf.zeros([1, 1], tf.int64), 1, 9, True, 9, **arguments)[0]
        return tf.reduce_sum(10 ** tf.range(9.0) * tf.cast(found, tf.float32))

    return over(rows().map(sampled))


def counts_in_file() -> str:
    Path("counts").write_text("".join(f"word,{count}\n" for count in range(1, 10)))
    return "counts"


def replayed(dataset: tf.data.Dataset) -> Loop:
    return over(StreamData(dataset, resume="replay"))


PROGRAMS = {
    "RANDOM_IN_DATA": Program(
        lambda: over(rows().map(truncated)),
        [lambda: of_epoch(normal), lambda: of_epoch(twice)],
        varies=True,
    ),
    "NOT_IN_DATA": Program(
        variable(lambda v: over(rows().map(v.assign_add), v=v)),
        [lambda: of_epoch(normal), in_generator],
        varies=True,
    ),
    "RANDOM_IN_STEP": Program(
        lambda: stepping(lambda x: tf.raw_ops.RandomStandardNormal(shape=tf.shape(0.0), dtype=tf.float32, seed=1)),
        [in_tensorflow, in_keras, in_generator],
        varies=True,
    ),
    "SEED_IN_STEP": Program(lambda: stepping(first_shuffled(None)), [shuffled_in_step], varies=True),
    "PYTHON_IN_STEP": Program(lambda: python(True), [lambda: python(False), lambda: stepping(lambda x: x + 1)]),
    "PYTHON_IN_DATA": Program(
        lambda: over(saved(generated(counting))), [lambda: replayed(generated(counting)), lambda: over(rows())]
    ),
    "ITERATED_IN_STEP": Program(
        lambda: (lambda outside: stepping(lambda x: iterating(x, outside)))(rows()),
        [from_iterator, lambda: stepping(lambda x: iterating(x, rows()))],
    ),
    "QUEUE": Program(queued, [variable(lambda v: stepping(lambda x: v.assign(x), v=v))]),
    "STATE": Program(
        variable(lambda v: stepping(lambda x: v.assign_add(x))),
        [variable(lambda v: stepping(lambda x: v.assign_add(x), v=v))],
    ),
    "MADE_IN_STEP": Program(lambda: stepping(table_in_step(None)), [table_outside]),
    "CLOCK": Program(
        lambda: stepping(lambda x: x + 0 * tf.cast(tf.timestamp(), tf.float32)), [lambda: stepping(lambda x: x)]
    ),
    "SAME_IN_EACH": Program(
        lambda: stepping(lambda x: x + time.time() % 1),
        [lambda: stepping(lambda x: x), lambda: stepping(lambda x: x + np.random.default_rng(1).random())],
    ),
    "SEED_FIRST": Program(traced_once, [seeded_first(traced_once)], varies=True),
    "SEED_OR_FIRST": Program(
        initialized, [lambda: initialized(seed=1), seeded_first(initialized), seeded_first(taught)]
    ),
    "SORTED": Program(lambda: numbered(list), [lambda: numbered(sorted)]),
    "HELD_OR_SEED": Program(
        taught_by, [lambda: taught_by(held=True), lambda: taught_by(loaded=True), seeded_first(taught_by)]
    ),
    "READ_IN_STEP": Program(reading_what_changes, [reading_in_step]),
    "READ_OR_REPLAY": Program(
        variable(lambda v: over(saved(rows().map(lambda x: x * v)))),
        [
            variable(lambda v: stepping(lambda x: x * v)),
            variable(lambda v: replayed(rows().map(lambda x: x * v))),
        ],
    ),
    "TABLE": Program(mutable_table, [static_table]),
    "OF_EPOCH": Program(
        lambda: (lambda rng: of_epoch(lambda epoch: rows().shuffle(1000, seed=rng.integers(2**31))))(
            np.random.default_rng(1)
        ),
        [
            lambda: of_epoch(lambda epoch: rows().shuffle(1000, seed=epoch)),
            lambda: of_epoch(
                lambda epoch: tf.data.Dataset.from_tensor_slices(np.random.default_rng(epoch).normal(size=ROWS))
            ),
            seeded_first(lambda: of_epoch(lambda epoch: rows().shuffle(1000, seed=random.randrange(2**31)))),
            seeded_first(lambda: of_epoch(lambda epoch: rows().shuffle(1000, seed=np.random.randint(2**31)))),
        ],
        varies=True,
    ),
    "CLASSES_IN_FILE": Program(
        lambda: classes(tf.random.fixed_unigram_candidate_sampler, vocab_file=counts_in_file()),
        [
            lambda: classes(
                tf.random.fixed_unigram_candidate_sampler,
                unigrams=[float(line.split(",")[-1]) for line in Path(counts_in_file()).read_text().splitlines()],
            )
        ],
        varies=True,
    ),
    "CLASSES_LEARNED": Program(
        lambda: classes(tf.random.learned_unigram_candidate_sampler),
        [
            lambda: classes(tf.random.fixed_unigram_candidate_sampler, unigrams=[1.0] * 9),
            lambda: classes(tf.random.log_uniform_candidate_sampler),
        ],
        varies=True,
    ),
    "UNMADE": Program(
        lambda: over(Own(rows().shuffle(1000, seed=1))),
        [
            lambda: of_epoch(lambda epoch: Own(rows().shuffle(1000, seed=epoch))),
            lambda: of_epoch(lambda epoch: Own(normal(epoch))),
        ],
        varies=True,
    ),
    "GENERATOR": Program(
        drawing,
        [
            lambda: over(generated(drawing_from_numpy)),
            lambda: of_epoch(lambda epoch: generated(begun_anew, args=[epoch]), resume="replay"),
            relabelled,
        ],
        varies=True,
    ),
    "DRAWN_IN_TENSORFLOW": Program(
        lambda: over(noisy(in_python=True)),
        [lambda: over(noisy(in_python=False)), lambda: over(generated(drawing_from_numpy))],
        varies=True,
    ),
    "KEPT_AS_PLAIN": Program(
        lambda: over(generated(Late(lambda late: late.pairs.update({(len(late.pairs), 0): 1}), wait=0.15))),
        [
            lambda: over(generated(Late(lambda late: late.numbers.append(1)))),
            lambda: over(generated(Late(begin_again))),
        ],
    ),
    "READ_BETWEEN_STEPS": Program(
        lambda: changing(generated_from),
        [reading_in_step, lambda: changing(lambda w: stateful(NumbersOf(w)))],
    ),
    "IN_FUNCTION": Program(
        lambda: over(saved(rows().take(2).flat_map(lambda x: parts(x).cache()))),
        [
            lambda: over(rows().take(2).flat_map(parts).cache()),
            lambda: replayed(rows().take(2).flat_map(lambda x: parts(x).cache())),
        ],
    ),
    "BY_VARIABLE": Program(
        lambda: by_level(lambda w, hook, epoch: float(w)),
        [
            lambda: by_level(lambda w, hook, epoch: 10.0 * epoch),
            lambda: by_level(lambda w, hook, epoch: float(hook.level)),
        ],
        varies=True,
    ),
    "CACHE_FILE": Program(
        lambda: over(rows().cache("empty")),
        [filled, lambda: over(rows().cache()), written],
    ),
    "CSV_HEADER": Program(
        lambda: over(saved(tf.data.experimental.CsvDataset(csv(), [tf.float32], header=True).map(lambda x: x))),
        [
            lambda: over(tf.data.TextLineDataset(csv()).skip(1).map(lambda row: tf.io.decode_csv(row, [[0.0]])[0])),
            lambda: replayed(tf.data.experimental.CsvDataset(csv(), [tf.float32], header=True).map(lambda x: x)),
        ],
    ),
    "SERVICE": Program(served, [lambda: over(rows())]),
    "SHUFFLE": Program(
        lambda: over(rows().apply(shuffled_globally)), [lambda: over(rows().shuffle(ROWS, seed=1))], varies=True
    ),
    "SNAPSHOT": Program(lambda: over(rows().snapshot("snapshot")), [written]),
    "SAMPLED": Program(
        lambda: sampled(stop_on_empty_dataset=False),
        [lambda: replayed(tf.data.Dataset.sample_from_datasets([rows(), rows()], seed=1, stop_on_empty_dataset=False))],
    ),
    "ITEM_DRAWS": Program(
        lambda: over(indexed(ItemsDrawn())),
        [lambda: over(indexed(ItemsOfNumpy())), lambda: over(indexed(ItemsByNumber()))],
        varies=True,
    ),
    "SOURCE_STATE": Program(
        lambda: over(indexed(Turned(), shuffle=False)),
        [lambda: over(indexed(TurnedWithState(), shuffle=False))],
        varies=True,
    ),
    "READS_AHEAD": Program(
        lambda: changing(lambda w: indexed(ItemsOf(w))), [lambda: changing(lambda w: indexed(ItemsOf(w), prefetch=0))]
    ),
    "AGAIN_FROM_STATE": Program(
        lambda: over(stateful(Forgets())),
        [lambda: over(stateful(Remembers())), lambda: over(stateful(NumbersOfNumpy()))],
        varies=True,
    ),
    "ITERATED_ANEW": Program(
        lambda: over(StatefulData(Anew())),
        [lambda: over(stateful(iter(Anew()))), lambda: over(StatefulData(of_one_generator))],
        varies=True,
    ),
}
MENDED = [
    (f"{name}-{i}", mend, program.varies) for name, program in PROGRAMS.items() for i, mend in enumerate(program.mended)
]


def train(make: Callable[[], Loop], *, steps: int | None = None, saved: bool = False, number: int = 0) -> list[float]:
    random_streams()  # Keras' is made once in a process, with a number that Python draws
    random.seed(number)
    np.random.seed(number)  # a process of its own would not have what another one had
    loop, values = make(), Values()
    loop.hooks.add(values)
    if saved:
        loop.hooks.add(Checkpoint("checkpoints", background=False))
    loop.run(epochs=EPOCHS, steps=steps)
    return values.seen


@pytest.fixture(autouse=True)
def in_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield
    tf.config.experimental.enable_op_determinism()


def test_every_remedy_is_tried() -> None:
    texts = {name for name, value in vars(remedies).items() if name.isupper() and isinstance(value, str)}
    assert texts - {"REPLAY"} == PROGRAMS.keys()


@pytest.mark.parametrize("name", PROGRAMS)
def test_what_is_refused_is_given_its_remedy(name: str) -> None:
    if "SEED" in name:
        disable_op_determinism()  # which refuses them itself
        tf.random.set_seed(None)
    with pytest.raises(InexactRun) as refused:
        PROGRAMS[name].refused().run(epochs=1)
    assert getattr(remedies, name) in [finding.instead for finding in refused.value.findings]


@pytest.mark.parametrize(("mend", "varies"), [case[1:] for case in MENDED], ids=[case[0] for case in MENDED])
def test_a_remedy_is_accepted_resumed_exactly_and_changes_no_statistics(mend: Callable[[], Loop], varies: bool) -> None:
    whole = train(mend)
    count = len(whole) // EPOCHS
    epochs = [whole[i * count : (i + 1) * count] for i in range(EPOCHS)]
    assert len(whole) == EPOCHS * count
    if varies:
        assert [len(set(epoch)) for epoch in epochs] == [count] * EPOCHS
        assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
    cut = count + 2  # in the second epoch
    assert train(mend, steps=cut, saved=True) + train(mend, saved=True, number=1) == whole
