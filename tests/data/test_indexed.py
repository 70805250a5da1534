"""Sources with a length and an item for each number."""

import copy
import random
import threading
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from cuts import counting, run, same

from hooks import Checkpoint
from loop import ArrayData, Evaluation, Every, Hook, IndexedData, InexactRun, Loop
from loop.data.python.ahead import ReadAhead

AHEAD = ({"prefetch": 0}, {"prefetch": 1}, {"prefetch": 3, "workers": 2})


def loop_over(data: object) -> Loop:
    w = tf.Variable(0.0, dtype=tf.float64, name="w")
    return Loop(counting(w), data, state={"w": w})  # type: ignore[arg-type]


def batches(data: IndexedData, epoch: int = 0) -> list[object]:
    """Returns the batches of a pass, as NumPy has them."""
    data.open(epoch)
    found, more = [], True
    while more:
        with data.meanwhile():
            pass
        found.append(tf.nest.map_structure(lambda tensor: tensor.numpy(), data.ahead))
        more = data.trained()
    data.close()
    return found


class Shuffled(keras.utils.PyDataset):
    """Batches that are shuffled, as people write it: when it is made, in no way that is seeded, and after each epoch.

    Items are noisy, and an epoch's number is in them.
    """

    def __init__(self, noise: bool = True) -> None:
        super().__init__()
        self.order, self.noise, self.epoch = np.arange(12), noise, 0
        np.random.shuffle(self.order)

    def __len__(self) -> int:
        return 4

    def __getitem__(self, i: int) -> tuple[np.ndarray, int]:
        x = self.order[3 * i : 3 * i + 3].astype("float32")
        return (x + np.random.normal(size=3) + random.random() if self.noise else x), self.epoch

    def on_epoch_end(self) -> None:
        self.epoch += 1
        np.random.shuffle(self.order)


class Late(Shuffled):
    """Makes its order when the first item is read, as Keras' `ImageDataGenerator.flow` does."""

    def __init__(self) -> None:
        super().__init__()
        self.order = None

    def __getitem__(self, i: int) -> tuple[np.ndarray, int]:
        if self.order is None:
            self.order = np.random.permutation(12)
        return super().__getitem__(i)


class Owner:
    """A list that permutes itself with a generator of its own, within another object."""

    def __init__(self) -> None:
        self.inner = Inner()

    def __len__(self) -> int:
        return 6

    def __getitem__(self, i: int) -> float:
        return float(self.inner.numbers[i])

    def on_epoch_end(self) -> None:
        self.inner.turn()


class Inner:
    def __init__(self) -> None:
        self.numbers, self.rng, self.old = [1, 2, 3, 4, 5, 6], np.random.default_rng(), random.Random()

    def turn(self) -> None:
        self.rng.shuffle(self.numbers)
        self.numbers[0] += self.old.randrange(9)


class WithState(Owner):
    """The same, which says itself what is to be kept."""

    def get_state(self) -> object:
        return {"numbers": self.inner.numbers, "rng": self.inner.rng.bit_generator.state}

    def set_state(self, state: dict) -> None:
        self.inner.numbers = state["numbers"]
        self.inner.rng.bit_generator.state = state["rng"]

    def on_epoch_end(self) -> None:
        self.inner.rng.shuffle(self.inner.numbers)


@pytest.mark.more
def test_a_list_has_the_order_and_the_bits_of_arrays(tmp_path: Path) -> None:
    kinds = {"batch_size": 3, "seed": 5}
    whole = same(lambda w: IndexedData([np.float32(i) for i in range(10)], **kinds), tmp_path, [2, 6, 11])
    arrays = run(lambda w: ArrayData(np.arange(10, dtype="float32"), **kinds), tmp_path / "arrays", [11])
    assert whole == arrays


def test_batches_of_nested_items_do_not_depend_on_threads() -> None:
    def item(i: int) -> dict[str, object]:
        return {"x": np.full([2], i, "int16"), "y": (i, float(i), i % 2 == 0), "z": f"a{i}\0", "b": b"\0" * i}

    def all_of(**kinds: int) -> list[object]:
        data = IndexedData([item(i) for i in range(7)], batch_size=3, seed=1, **kinds)
        return [batches(data, epoch) for epoch in (0, 1, 0)]

    first = all_of(prefetch=0)
    assert all(repr(all_of(**kinds)) == repr(first) for kinds in AHEAD)
    assert repr(first[0]) == repr(first[2]) != repr(first[1])
    assert [len(batch["y"][0]) for batch in first[0]] == [3, 3, 1]
    rows = {int(i): (x.tolist(), z, b) for batch in first[0] for x, i, z, b in _rows(batch)}
    assert rows == {i: ([i, i], f"a{i}\0".encode(), b"\0" * i) for i in range(7)}
    assert [first[0][0][k].dtype for k in "xzb"] == [np.int16, object, object]
    assert [each.dtype for each in first[0][0]["y"]] == [np.int64, np.float32, np.bool_]


def _rows(batch: dict) -> zip:
    return zip(batch["x"], batch["y"][0], batch["z"], batch["b"], strict=True)


def test_a_source_may_use_one_array_for_all_items_and_batches() -> None:
    class Reused:
        def __init__(self) -> None:
            self.array = np.zeros([2])

        def __len__(self) -> int:
            return 4

        def __getitem__(self, i: int) -> np.ndarray:
            self.array[:] = i
            return self.array

    for size, shape in ((2, (2, 2)), (None, (2,))):
        found = batches(IndexedData(Reused(), batch_size=size, shuffle=False))
        assert [batch.shape for batch in found] == [shape] * len(found)
        assert np.concatenate([batch.ravel() for batch in found]).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


@pytest.mark.more
@pytest.mark.parametrize("kinds", AHEAD)
@pytest.mark.parametrize("make", [Shuffled, Late, Owner, WithState])
def test_what_changes_between_passes_and_what_is_drawn_goes_on_exactly(
    make: type, kinds: dict[str, int], tmp_path: Path
) -> None:
    size = None if issubclass(make, Shuffled) else 2
    cuts = [2, 4, 10] if issubclass(make, Shuffled) else [1, 3, 8]

    def data(w: tf.Variable) -> IndexedData:
        source = made() if not rest else rest.pop()
        return IndexedData(source, batch_size=size, seed=1, **kinds)

    def made() -> object:
        np.random.seed()  # as another process would have it
        return make()

    rest: list[object] = []
    sources = [made(), *[made() for _ in cuts]]
    _copy(sources[0], sources[1])
    rest = sources[::-1]
    whole = same(data, tmp_path, cuts)
    epochs = [[whole.steps[step].split()[-1] for step in range(start, start + 4)] for start in (1, 5)]
    assert epochs[0] != epochs[1]


def _copy(source: object, onto: object) -> None:
    """Makes the first life of the cut training begin as the uncut one does; those after it begin in any way."""
    if isinstance(source, Shuffled):
        onto.order = copy.copy(source.order)  # type: ignore[attr-defined]
    else:
        onto.inner.rng.bit_generator.state = source.inner.rng.bit_generator.state  # type: ignore[attr-defined]
        onto.inner.old.setstate(source.inner.old.getstate())  # type: ignore[attr-defined]


def test_global_streams_are_left_alone_and_nothing_depends_on_how_often_an_item_is_read() -> None:
    found = []
    for kinds in AHEAD:
        np.random.seed(3)
        source = Shuffled()
        before = np.random.get_state()[1].tolist(), random.getstate()
        found.append(repr(batches(IndexedData(source, batch_size=None, seed=2, **kinds), 1)))
        assert (np.random.get_state()[1].tolist(), random.getstate()) == before
    assert found[0] == found[1] == found[2]


def test_noise_is_another_one_for_each_item_epoch_and_seed() -> None:
    class Noise:
        def __len__(self) -> int:
            return 50

        def __getitem__(self, i: int) -> np.ndarray:
            return np.array([np.random.normal(), random.random()])

    drawn = np.stack(
        [
            np.concatenate(batches(IndexedData(Noise(), batch_size=10, seed=seed, shuffle=False), epoch))
            for seed, epoch in ((0, 0), (0, 1), (1, 0), (-1, 0), (2**40, 0))
        ]
    )
    assert len(np.unique(drawn[..., 0])) == len(np.unique(drawn[..., 1])) == 250
    together = np.corrcoef(drawn[..., 0])[np.triu_indices(5, 1)]
    assert abs(together).max() < 0.5
    assert abs(drawn[..., 0].mean()) < 0.3
    assert abs(drawn[..., 1].mean() - 0.5) < 0.1


def test_a_source_that_draws_now_and_then_is_read_as_if_that_had_been_known() -> None:
    class Rarely:
        def __len__(self) -> int:
            return 40

        def __getitem__(self, i: int) -> float:
            return np.random.random() if i == 17 else float(i)

    found = [batches(IndexedData(Rarely(), batch_size=4, seed=1, **kinds)) for kinds in AHEAD]
    assert repr(found[0]) == repr(found[1]) == repr(found[2])


def test_reading_ahead_is_bounded_and_only_done_while_a_step_runs() -> None:
    read: list[int] = []

    class Counted:
        def __len__(self) -> int:
            return 40

        def __getitem__(self, i: int) -> float:
            read.append(i)
            return float(i)

    data = IndexedData(Counted(), batch_size=2, shuffle=False, prefetch=3)
    data.open(0)
    read.clear()
    assert data.ahead.numpy().tolist() == [0, 1]
    assert read == [0, 1]
    for _ in range(3):
        with data.meanwhile() as jobs:
            for job in jobs:
                job.result()
    assert read == [*range(8)]
    before = len(read)
    data.trained()
    assert data.ahead.numpy().tolist() == [2, 3]
    assert len(read) == before


def test_several_workers_read_at_the_same_time() -> None:
    both = threading.Barrier(2, timeout=60)

    class Meets:
        def __len__(self) -> int:
            return 9

        def __getitem__(self, i: int) -> float:
            if threading.current_thread() is not threading.main_thread():
                both.wait()
            return float(i)

    data = IndexedData(Meets(), batch_size=1, workers=2, prefetch=2, shuffle=False)
    data.open(0)
    with data.meanwhile() as jobs:
        for job in jobs:
            job.result()
    assert [float(data.ahead[0]), data.trained(), float(data.ahead[0])] == [0.0, True, 1.0]


@pytest.mark.parametrize("kinds", AHEAD)
def test_an_error_in_an_item_is_raised_where_it_is_wanted_with_its_line(kinds: dict[str, int]) -> None:
    class Broken:
        well = True

        def __len__(self) -> int:
            return 8

        def __getitem__(self, i: int) -> float:
            if i == 5 and not self.well:
                raise KeyError("no such file")
            return float(i)

    source = Broken()
    loop = loop_over(IndexedData(source, batch_size=1, shuffle=False, **kinds))
    loop.audit()
    source.well = False
    with pytest.raises(KeyError, match="no such file") as raised:
        loop.run(epochs=1)
    assert loop.step == 5
    assert [entry.name for entry in raised.traceback][-1] == "__getitem__"


def test_what_only_the_main_thread_may_read_is_read_by_it() -> None:
    class Own:
        def __len__(self) -> int:
            return 8

        def __getitem__(self, i: int) -> float:
            if threading.current_thread() is not threading.main_thread():
                raise RuntimeError("objects created in a thread can only be used in that same thread")
            return float(i)

    found = batches(IndexedData(Own(), batch_size=2, shuffle=False))
    assert np.concatenate(found).tolist() == [*range(8)]


def test_items_that_are_batches_may_vary_in_length() -> None:
    data = IndexedData([np.zeros([n, n + 1]) for n in (2, 3, 4)], batch_size=None, shuffle=False)
    assert data.element_spec.shape.as_list() == [None, None]
    assert [batch.shape for batch in batches(data)] == [(2, 3), (3, 4), (4, 5)]
    assert IndexedData([np.zeros([2, 3])] * 4, batch_size=None).element_spec.shape.as_list() == [None, 3]
    assert IndexedData([np.zeros([3])] * 4, batch_size=2).element_spec.shape.as_list() == [2, 3]
    assert IndexedData([np.zeros([3])] * 5, batch_size=2).element_spec.shape.as_list() == [None, 3]
    even = IndexedData([np.zeros([3])] * 5, batch_size=2, drop_remainder=True)
    assert (even.element_spec.shape.as_list(), len(batches(even))) == ([2, 3], 2)


@pytest.mark.more
def test_what_varies_unseen_is_an_error_with_a_remedy_that_works() -> None:
    class Late:
        def __len__(self) -> int:
            return 500

        def __getitem__(self, i: int) -> np.ndarray:
            return np.zeros([1, 3 if i == 303 else 2], "float32")

    with pytest.raises(ValueError, match=r"Item 303 is float32 .1, 3.*Expected") as raised:
        loop_over(IndexedData(Late(), batch_size=None, shuffle=False)).run(epochs=1)
    assert "element_spec=(tf.TensorSpec([None, None]" in str(raised.value)
    spec = tf.TensorSpec([None, None], tf.float32)
    assert loop_over(IndexedData(Late(), batch_size=None, shuffle=False, element_spec=spec)).run(epochs=1).step == 500
    with pytest.raises(ValueError, match=r"Item 303 is float32 \(1, 3\); Item 303 is|Item \d+ is float32 \(1, 2\)"):
        loop_over(IndexedData(Late(), batch_size=50)).run(epochs=1)


class Draws:
    """Draws from a generator that it holds."""

    def __init__(self, seed: int | None) -> None:
        self.rng = np.random.default_rng(seed)

    def __len__(self) -> int:
        return 9

    def __getitem__(self, i: int) -> float:
        return self.rng.random()


class DrawsFromGlobal(Draws):
    def __getitem__(self, i: int) -> float:
        return np.random.normal(size=3)


class DrawsByNumber(Draws):
    def __getitem__(self, i: int) -> float:
        return np.random.default_rng([1, i]).normal(size=3)


@pytest.mark.parametrize("seed", [None, 1])
def test_a_generator_of_its_own_is_refused_and_each_remedy_works(seed: int | None) -> None:
    with pytest.raises(InexactRun, match="yield other items when they are read again") as raised:
        loop_over(IndexedData(Draws(seed), batch_size=3)).run(epochs=1)
    assert "numpy.random.normal(size=3)" in str(raised.value)
    assert "numpy.random.default_rng([1, i])" in str(raised.value)
    for make in (DrawsFromGlobal, DrawsByNumber):
        assert loop_over(IndexedData(make(seed), batch_size=3)).run(epochs=1).step == 3


def test_pictures_of_a_generator_of_keras_that_counts_by_its_seed_are_refused_with_what_to_write() -> None:
    x, y = np.ones([12, 4, 4, 3], "float32"), np.arange(12)
    x *= y[:, None, None, None] * np.arange(4)[:, None]
    flow = tf.keras.preprocessing.image.ImageDataGenerator(horizontal_flip=True).flow
    with pytest.raises(InexactRun, match="leave out the seed= of flow"):
        loop_over(flow(x, y, batch_size=4, seed=3)).run(epochs=1)
    assert loop_over(flow(x, y, batch_size=4)).run(epochs=1).step == 3


def test_a_generator_that_an_item_draws_from_now_and_then_is_seen_at_the_end_of_the_epoch() -> None:
    class Rarely(Draws):
        def __len__(self) -> int:
            return 40

        def __getitem__(self, i: int) -> float:
            return self.rng.random() if i == 17 else float(i)

    loop = loop_over(IndexedData(Rarely(1), batch_size=4))
    with pytest.raises(InexactRun, match="draw from a generator that the source holds"):
        loop.run(epochs=2)
    assert loop.step == 10


@pytest.mark.parametrize("draw", [lambda: tf.random.uniform([]) < 0.5, lambda: keras.random.randint([], 0, 2)])
def test_one_bit_that_tensorflow_draws_is_refused(draw: Callable[[], tf.Tensor]) -> None:
    class Flips:
        def __len__(self) -> int:
            return 40

        def __getitem__(self, i: int) -> np.ndarray:
            return np.float32(i) if draw() else np.float32(-i)

    with pytest.raises(InexactRun, match="yield other items when they are read again"):
        loop_over(IndexedData(Flips(), batch_size=4)).run(epochs=1)


def test_a_finished_run_is_restored_though_its_source_began_otherwise(tmp_path: Path) -> None:
    def train(steps: int) -> Loop:
        w = tf.Variable(0.0, dtype=tf.float64, name="w")
        loop = Loop(counting(w), Shuffled(), state={"w": w}, hooks=[Checkpoint(tmp_path, Every(steps=1))])
        loop.run(steps=steps)
        return loop

    before = train(6).state.variables["w"].numpy()
    assert train(6).state.variables["w"].numpy() == before
    assert train(7).step == 7


@pytest.mark.parametrize("kinds", AHEAD)
def test_a_run_that_an_item_has_ended_goes_on_and_parts_are_the_whole(kinds: dict[str, int], tmp_path: Path) -> None:
    class Fails(Shuffled):
        fails = False

        def __getitem__(self, i: int) -> tuple[np.ndarray, int]:
            if self.fails and self.epoch == 1 and i == 2:
                raise OSError("the disk is busy")
            return super().__getitem__(i)

    def made(source: Shuffled, *hooks: Hook) -> tuple[Loop, tf.Variable]:
        w = tf.Variable(0.0, dtype=tf.float64, name="w")
        data = IndexedData(source, batch_size=None, seed=1, **kinds)
        return Loop(counting(w), data, state={"w": w}, hooks=hooks), w

    np.random.seed(1)
    whole, expected = made(Shuffled())
    whole.run(steps=11)
    np.random.seed(1)
    source = Fails()
    loop, w = made(source, Checkpoint(tmp_path, Every(steps=1)))
    loop.run(steps=3)
    source.fails = True
    with pytest.raises(OSError, match="the disk is busy"):
        loop.run(steps=11)
    source.fails = False
    loop.run(steps=9)
    loop.run(steps=11)
    assert w.numpy() == expected.numpy()


class Bag(Owner):
    """Keeps its numbers in something that cannot be saved as it is."""

    def __init__(self) -> None:
        self.numbers = set(range(6))

    def __getitem__(self, i: int) -> float:
        return float(sorted(self.numbers)[i])

    def on_epoch_end(self) -> None:
        self.numbers = {number + 1 for number in self.numbers}


class Hardens(Owner):
    """Changes in a later pass what it leaves alone between the first two."""

    def __init__(self) -> None:
        self.passes, self.scale = 0, 1.0

    def __getitem__(self, i: int) -> float:
        return i * self.scale

    def on_epoch_end(self) -> None:
        self.passes += 1
        if self.passes == 2:
            self.scale = 3.0


class BagOfLater(Bag):
    passes = 0

    def on_epoch_end(self) -> None:
        self.passes += 1
        if self.passes == 2:
            super().on_epoch_end()


def test_what_only_a_later_pass_changes_is_kept_or_refused_when_it_does(tmp_path: Path) -> None:
    same(lambda w: IndexedData(Hardens(), batch_size=2, seed=1), tmp_path / "kept", [2, 6, 7, 8, 11, 13])
    loop = loop_over(IndexedData(BagOfLater(), batch_size=2, shuffle=False))
    with pytest.raises(InexactRun, match="change, from pass to pass, what no checkpoint holds: numbers"):
        loop.run(epochs=4)
    assert loop.step == 6


class BagWithState(Bag):
    def get_state(self) -> object:
        return sorted(self.numbers)

    def set_state(self, state: list) -> None:
        self.numbers = set(state)


def test_what_nothing_keeps_between_passes_is_refused_and_the_remedy_works(tmp_path: Path) -> None:
    with pytest.raises(InexactRun, match=r"change, from pass to pass, what no checkpoint holds: numbers"):
        loop_over(IndexedData(Bag(), batch_size=2, shuffle=False)).run(epochs=1)
    whole = same(lambda w: IndexedData(BagWithState(), batch_size=2, shuffle=False), tmp_path, [2, 8])
    assert len({whole.steps[step].split()[-1] for step in (1, 4, 7)}) == 3


def test_a_source_that_sees_what_is_trained_is_not_read_ahead() -> None:
    class Sees:
        def __init__(self, w: tf.Variable) -> None:
            self.w = w

        def __len__(self) -> int:
            return 4

        def __getitem__(self, i: int) -> float:
            return i + float(self.w)

    w = tf.Variable(0.0, dtype=tf.float64)
    frozen = tf.Variable(2.0)
    with pytest.raises(InexactRun, match="and are read ahead") as raised:
        Loop(counting(w), IndexedData(Sees(w), batch_size=1), state={"w": w}).run(epochs=1)
    assert "prefetch=0" in str(raised.value)
    Loop(counting(w), IndexedData(Sees(w), batch_size=1, prefetch=0), state={"w": w}).run(epochs=1)
    Loop(counting(w), IndexedData(Sees(frozen), batch_size=1), state={"w": w}).run(epochs=1)


def test_a_length_that_changes_is_said_at_the_epoch_that_has_another() -> None:
    class Grows(list):
        def on_epoch_end(self) -> None:
            self.append(1.0)

    loop = loop_over(IndexedData(Grows([1.0, 2.0]), batch_size=1))
    with pytest.raises(
        (ValueError, InexactRun), match=r"has 3 items in epoch \d|yield other items|no checkpoint holds"
    ):
        loop.run(epochs=3)


def test_other_items_are_not_resumed_with(tmp_path: Path) -> None:
    def train(items: list, steps: int) -> None:
        w = tf.Variable(0.0, dtype=tf.float64, name="w")
        data = IndexedData(items, batch_size=2, seed=1)
        Loop(counting(w), data, state={"w": w}, hooks=[Checkpoint(tmp_path, Every(steps=1))]).run(steps=steps)

    train([1.0, 2.0, 3.0, 4.0], 1)
    with pytest.raises(ValueError, match="data: the items are others than when the checkpoint was made"):
        train([1.0, 2.0, 3.0, 5.0], 2)
    with pytest.raises(ValueError, match="items was 4 in the checkpoint and is 5 now"):
        train([1.0, 2.0, 3.0, 4.0, 5.0], 2)
    train([1.0, 2.0, 3.0, 4.0], 3)


def test_an_evaluation_has_the_same_data_each_time() -> None:
    source = Shuffled()
    before = source.order.copy()
    w, seen = tf.Variable(0.0, dtype=tf.float64), []
    validation = Evaluation(lambda batch: {"x": tf.reduce_sum(batch[0])}, source)
    loop = Loop(counting(w), IndexedData([1.0, 2.0], batch_size=1), state={"w": w}, evaluate=validation)
    for epoch in (1, 2):
        loop.run(epochs=epoch)
        seen.append(loop.evaluate()["val_x"])
    assert seen[0] == seen[1]
    assert np.array_equal(source.order, before)
    assert source.epoch == 0


def test_a_bare_py_dataset_is_taken_as_it_is() -> None:
    result = loop_over(Shuffled()).run(epochs=2)
    assert (result.step, result.epoch) == (8, 2)


@pytest.mark.parametrize(
    ("given", "kinds", "said"),
    [
        ((np.zeros(3), np.zeros(3)), {"batch_size": 2}, "Arrays go into ArrayData"),
        ({"x": np.zeros(3)}, {"batch_size": 2}, "Arrays go into ArrayData"),
        (iter([1.0]), {"batch_size": 2}, "from_generator"),
        (list, {"batch_size": 2}, "It is a class"),
        ([], {"batch_size": 2}, "at least one item"),
        ([1.0], {"batch_size": 0}, "must be at least 1"),
        ([1.0], {"batch_size": 1, "workers": 0}, "must be at least 1"),
        ([1.0], {"batch_size": 1, "prefetch": -1}, "must be at least 0"),
        ([1.0], {"batch_size": 2, "drop_remainder": True}, "Write batch_size=1"),
        ([None], {"batch_size": 1}, "Leave it out"),
        ([object()], {"batch_size": 1}, "no array of numbers or texts"),
        ([1.0, 2], {"batch_size": 1}, r"Item 1 is int64 \(\); Item 0 is float32 \(\)"),
        ([np.zeros(1), np.zeros(2)], {"batch_size": 2}, "Pad it where it is read"),
        ([1.0], {}, "batch_size=None if each item is a batch already"),
        ([1.0], {"batch_size": 1, "num_workers": 2}, "write workers="),
    ],
)
def test_what_is_no_source_is_said_with_what_to_write(given: object, kinds: dict[str, object], said: str) -> None:
    with pytest.raises((TypeError, ValueError), match=said):
        IndexedData(given, **kinds)  # type: ignore[arg-type]


def test_a_py_dataset_is_not_batched_again_and_one_source_of_data_serves_one_loop() -> None:
    with pytest.raises(ValueError, match="Write batch_size=None"):
        IndexedData(Shuffled(), batch_size=2)
    data = IndexedData([1.0], batch_size=1)
    loop_over(data)
    with pytest.raises(ValueError, match="read by another loop"):
        loop_over(data)


def test_grain_is_read_by_its_numbers(tmp_path: Path) -> None:
    grain = pytest.importorskip("grain")

    def data(w: tf.Variable) -> IndexedData:
        rows = grain.MapDataset.range(10).shuffle(seed=3).map(lambda x: {"x": np.float32(x), "y": x % 2})
        return IndexedData(rows, batch_size=3, seed=1)

    whole = same(data, tmp_path, [2, 6, 11])
    assert len({whole.steps[step].split()[-1] for step in (1, 5, 9)}) > 1
    batched = IndexedData(grain.MapDataset.range(10).batch(4), batch_size=None, shuffle=False)
    assert np.concatenate(batches(batched)).tolist() == [*range(10)]
    with pytest.raises(ValueError, match="leave that out"):
        IndexedData(grain.MapDataset.range(10).repeat(), batch_size=2)


def test_a_batch_is_made_by_whoever_comes_first_and_taken_once() -> None:
    made: list[int] = []

    def make(number: int):  # noqa: ANN202
        yield
        made.append(number)
        return number

    reader: ReadAhead[int] = ReadAhead(make, 2, 2)
    reader.begin(3, 7)
    found = []
    for number in range(3, 7):
        found.append(reader.take(number))
        with reader.meanwhile():
            pass
    assert found == [3, 4, 5, 6]
    assert sorted(made) == [3, 4, 5, 6]
