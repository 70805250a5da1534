"""Where batches come from, and that each row comes once an epoch."""

import copy
import random
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

from loop import ArrayData, Evaluation, Event, IndexedData, Loop, Moment, Step, StreamData
from loop.data.orders import array_orders
from loop.data.orders.prefetch import Prefetched
from loop.state.position import Position
from loop.tensors import put


def order(data: ArrayData) -> np.ndarray:
    """Returns the rows of each batch of the pass that is open; one more batch is padding."""
    return data.variables[0].numpy()


def rows_seen(data: ArrayData | StreamData | tf.data.Dataset, epochs: int) -> list[list[int]]:
    """Returns the rows of each epoch in the order in which a loop over `data` sees them."""
    seen = tf.Variable(tf.zeros([0], tf.int64), shape=[None], trainable=False)

    def step(batch: tf.Tensor) -> dict[str, tf.Tensor]:
        seen.assign(tf.concat([seen, tf.cast(batch, tf.int64)], axis=0))
        return {"rows": tf.size(batch)}

    loop, epochs_seen = Loop(step, data, state={"seen": seen}), []
    for epoch in range(1, epochs + 1):
        loop.run(epochs=epoch)
        epochs_seen.append(seen.numpy().tolist())
    return [later[len(earlier) :] for earlier, later in zip([[], *epochs_seen], epochs_seen, strict=False)]


@pytest.mark.parametrize("n", [1, 7, 8, 50])
def test_array_data_sees_each_row_once_an_epoch_in_another_order(n: int) -> None:
    epochs = rows_seen(ArrayData(np.arange(n), batch_size=8, seed=1), 3)
    assert [sorted(epoch) for epoch in epochs] == [list(range(n))] * 3
    assert n < 8 or len({tuple(epoch) for epoch in epochs}) == 3


@pytest.mark.parametrize("n", [65_537, 2**18 + 1])
def test_the_permutation_is_one_where_others_are_not(n: int) -> None:
    data = ArrayData(np.zeros(n), batch_size=n, seed=1)
    data.open(0)
    assert np.array_equal(np.sort(order(data)[0]), np.arange(n))


def test_the_order_does_not_come_back_after_256_epochs() -> None:
    data = ArrayData(np.zeros(100), batch_size=100, seed=1)
    orders = []
    for epoch in range(600):
        data.open(epoch)
        orders.append(tuple(order(data)[0].tolist()))
    assert Counter(orders).most_common(1)[0][1] == 1


@pytest.mark.more
def test_positions_are_uniform() -> None:
    data, counts = ArrayData(np.zeros(8), batch_size=8, seed=5), np.zeros([8, 8])
    for epoch in range(4000):
        data.open(epoch)
        counts[np.arange(8), order(data)[0]] += 1
    chi_square = ((counts - 500) ** 2 / 500).sum()
    assert chi_square < 95  # 49 degrees of freedom: above this by chance once in 10,000 seeds


def test_array_data_without_shuffling_or_without_the_remainder() -> None:
    assert rows_seen(ArrayData(np.arange(10), batch_size=4, shuffle=False), 2) == [list(range(10))] * 2
    assert rows_seen(ArrayData(np.arange(10), batch_size=4, shuffle=False, drop_remainder=True), 1) == [list(range(8))]


def test_an_order_that_could_not_be_made_beforehand_is_made_when_it_is_wanted() -> None:
    calls: list[str] = []

    def make() -> int:
        calls.append(threading.current_thread().name)
        if len(calls) == 1:
            raise MemoryError
        return 5

    early = Prefetched(make)
    while not calls:
        time.sleep(0.001)
    assert early.get() == 5
    assert calls == ["early_0", threading.current_thread().name]


def test_what_waits_behind_something_slow_is_made_when_it_is_wanted() -> None:
    begun, over = threading.Event(), threading.Event()

    def slow() -> bool:
        begun.set()
        return over.wait(60)

    first, second = Prefetched(slow), Prefetched(lambda: threading.current_thread().name)
    begun.wait(60)
    assert second.get() == threading.current_thread().name
    over.set()
    assert first.get()


@pytest.mark.more
def test_orders_made_beforehand_are_those_made_when_they_are_wanted() -> None:
    data = ArrayData(np.arange(100), batch_size=10, seed=1)
    for epoch in [*range(40), *range(3, 6), 39, *range(20, 30)]:
        data.open(epoch)
        fresh = ArrayData(np.arange(100), batch_size=10, seed=1)
        fresh.open(epoch)
        assert np.array_equal(order(data), order(fresh))
        assert np.array_equal(data.ahead, fresh.ahead)


@pytest.mark.parametrize("made", [copy.copy, copy.deepcopy])
def test_array_data_can_be_copied(made: Callable[[ArrayData], ArrayData]) -> None:
    data = ArrayData(tf.range(10), batch_size=2, seed=1)
    copied = made(data)
    for epoch in range(4):
        data.open(epoch)
        copied.open(epoch)
        assert order(data).tolist() == order(copied).tolist()


def test_array_data_takes_nests() -> None:
    data = ArrayData({"x": np.zeros([5, 2], np.float32), "y": (np.zeros(5, np.int32),)}, batch_size=2)
    assert data.element_spec == {"x": tf.TensorSpec([None, 2]), "y": (tf.TensorSpec([None], tf.int32),)}


@pytest.mark.more
@pytest.mark.parametrize("held", [True, False])
def test_arrays_of_any_dtype_come_through(held: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where they stay tensors, as they do on a GPU."""
    if not held:
        monkeypatch.setattr("loop.data.orders.placed._placed", tf.convert_to_tensor)
    kinds = ("uint8", "int8", "uint16", "int32", "uint64", "int64", "float16", "bfloat16", "float64", "complex64")
    arrays = {kind: tf.cast(tf.range(1.0, 6.0), kind) for kind in (*kinds, "bool")}
    arrays["string"] = tf.strings.as_string(tf.range(1, 6))
    data = ArrayData(arrays, batch_size=2, shuffle=False)
    seen = {kind: tf.Variable(array[:2], shape=[None], trainable=False) for kind, array in arrays.items()}

    def step(batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        for kind, rows in batch.items():
            seen[kind].assign(rows)
        return {"rows": tf.size(batch["bool"])}

    loop = Loop(step, data, state={"seen": seen})
    for first in (0, 2, 4):
        loop.run(steps=loop.step + 1)
        for kind, array in arrays.items():
            assert seen[kind].numpy().tolist() == array[first : first + 2].numpy().tolist(), kind
    assert len(data.variables) == 1 + held * len(arrays)


def test_early_orders_are_few_where_batches_are_large() -> None:
    """Of 2 KB orders with first batches of 1 MB only one is made beforehand, and of 4 KB of all some more."""
    for width, early in ((2**12, 1), (1, 16)):
        data = ArrayData(np.zeros([256, width], np.float32), batch_size=64, seed=1)
        for epoch in range(3):
            data.open(epoch)
        assert len(data._orders._early) in (early, early - 1)


@pytest.mark.more
def test_orders_that_are_made_early_several_at_once_are_those_of_their_epochs() -> None:
    going_on = ArrayData(np.arange(20), batch_size=6, seed=1)
    for epoch in (*range(40), 3, 70, 71, 72):
        going_on.open(epoch)
        begun = ArrayData(np.arange(20), batch_size=6, seed=1)
        begun.open(epoch)
        assert np.array_equal(order(going_on), order(begun)), epoch
        assert np.array_equal(going_on.ahead, begun.ahead), epoch


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_order_that_an_interrupt_has_cut_short_is_no_other_epochs(
    when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a notebook: what is restored then may be the epoch before it."""
    data, whole = (ArrayData(np.arange(20), batch_size=5, seed=1) for _ in range(2))

    def interrupted(variable: tf.Variable, value: tf.Tensor) -> None:
        if when == "after":
            put(variable, value)
        raise KeyboardInterrupt

    data.open(2)
    with monkeypatch.context() as patched:
        patched.setattr(array_orders, "put", interrupted)
        with pytest.raises(KeyboardInterrupt):
            data.open(3)
    for each in (data, whole):
        each.open(2)
    assert np.array_equal(order(data), order(whole))
    assert np.array_equal(data.ahead, whole.ahead)


def test_an_evaluation_without_a_seed_reads_the_same_in_every_process() -> None:
    def evaluated(seed: int) -> dict[str, float]:
        random.seed(seed)
        rows, weight = ArrayData(np.arange(100, dtype=np.float32), batch_size=10), tf.Variable(0.0)
        evaluate = Evaluation(lambda batch: {"mean": tf.reduce_mean(batch)}, rows, steps=2)
        data = ArrayData(tf.range(4), batch_size=2)
        step = Step(lambda batch: {"loss": weight.assign_add(1.0)})
        return Loop(step, data, state={"weight": weight}, evaluate=evaluate).evaluate()

    assert evaluated(1) == evaluated(2)


def test_nobody_evaluates_in_another_thread_than_that_in_which_the_loop_runs() -> None:
    weight, raised = tf.Variable(0.0), list[str]()
    evaluate = Evaluation(lambda batch: {"weight": weight.read_value()}, ArrayData(tf.range(4), batch_size=2))
    loop = Loop(
        lambda batch: {"loss": weight.assign_add(1.0)},
        ArrayData(tf.range(4), batch_size=2),
        state={"weight": weight},
        evaluate=evaluate,
    )

    def there() -> None:
        try:
            loop.evaluate()
        except RuntimeError as error:
            raised.append(str(error))

    @loop.on(Event.EPOCH_BEGIN)
    def elsewhere(moment: Moment) -> None:
        assert loop.evaluate() == {"val_weight": 0.0}
        thread = threading.Thread(target=there)
        thread.start()
        thread.join()

    loop.run(epochs=1)
    assert raised == ["This loop is running in another thread. Evaluate in a hook, or when it has ended."]
    there()
    assert len(raised) == 1


@pytest.mark.parametrize("seed", [0, 2**62, -1, 2**63, 2**64 + 1])
def test_any_integer_will_do_as_a_seed(seed: int) -> None:
    assert sorted(rows_seen(ArrayData(np.arange(9), batch_size=4, seed=seed), 1)[0]) == list(range(9))


def test_a_drawn_seed_is_in_the_notes_and_comes_back_with_them() -> None:
    first, second = (ArrayData(np.arange(20), batch_size=5) for _ in range(2))
    first.open(3)
    second.seek(Position(step=14, epoch=3, step_in_epoch=2), first.cursor())
    assert np.array_equal(second.ahead, order(first)[2])  # fetched when it is asked for
    assert np.array_equal(order(first), order(second))


def test_a_stream_is_read_anew_in_each_epoch() -> None:
    dataset = tf.data.Dataset.range(10).batch(4)
    assert rows_seen(dataset, 2) == [list(range(10))] * 2
    assert rows_seen(StreamData(dataset.filter(lambda x: True)), 2) == [list(range(10))] * 2


def test_a_function_of_the_epoch_gets_its_number() -> None:
    data = StreamData(lambda epoch: tf.data.Dataset.range(10 * epoch, 10 * epoch + 3 + epoch).batch(2))
    assert rows_seen(data, 3) == [[0, 1, 2], [10, 11, 12, 13], [20, 21, 22, 23, 24]]


@pytest.mark.more
def test_steps_per_epoch_cuts_one_endless_stream() -> None:
    endless = tf.data.Dataset.counter().batch(2)
    assert rows_seen(StreamData(endless, steps_per_epoch=3), 2) == [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]]
    finite = tf.data.Dataset.range(8).batch(2)
    assert rows_seen(StreamData(finite, steps_per_epoch=3), 2) == [[0, 1, 2, 3, 4, 5], [6, 7, 0, 1, 2, 3]]
    by_epoch = StreamData(lambda epoch: tf.data.Dataset.counter(10 * epoch).batch(2), steps_per_epoch=2)
    assert rows_seen(by_epoch, 2) == [[0, 1, 2, 3], [10, 11, 12, 13]]


def test_ragged_and_sparse_batches_of_unknown_number_come_through() -> None:
    ragged = tf.data.Dataset.from_tensor_slices(tf.ragged.constant([[1], [2, 3], [], [4]])).ragged_batch(3)
    total = tf.Variable(0)

    def step(batch: tf.RaggedTensor) -> dict[str, tf.Tensor]:
        total.assign_add(tf.reduce_sum(batch))
        return {"rows": batch.nrows()}

    loop = Loop(step, ragged.filter(lambda batch: True), state={"total": total})
    result = loop.run(epochs=1)
    assert (int(total), result.step, result.logs) == (10, 2, {"rows": (3 * 3 + 1 * 1) / 4})


def test_an_error_in_the_data_names_the_step_before_it_and_tears_the_state() -> None:
    weight = tf.Variable(0)

    def step(batch: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"x": weight.assign_add(1)}

    def bad(x: tf.Tensor) -> tf.Tensor:
        with tf.control_dependencies([tf.debugging.assert_less(x, tf.constant(5, tf.int64), "bad record")]):
            return tf.identity(x)

    for data in (tf.data.Dataset.range(9).map(bad), tf.data.Dataset.range(9).map(bad).filter(lambda x: True)):
        weight.assign(0)
        loop = Loop(step, data, state={"weight": weight})
        with pytest.raises(tf.errors.InvalidArgumentError, match="bad record") as caught:
            loop.run(epochs=1)
        assert (int(weight), loop.step) == (5, 5)
        assert "after step 5" in " ".join(caught.value.__notes__)
        with pytest.raises(RuntimeError, match="half-updated"):
            loop.run(epochs=1)


def test_an_error_in_the_step_leaves_the_counter_before_it() -> None:
    weight = tf.Variable(0.0)

    def step(batch: tf.Tensor) -> dict[str, tf.Tensor]:
        weight.assign_add(1.0)
        return {"x": tf.debugging.check_numerics(tf.math.log(4.0 - tf.cast(batch, tf.float32)), "no number")}

    loop = Loop(step, tf.data.Dataset.range(9), state={"weight": weight})
    with pytest.raises(tf.errors.InvalidArgumentError, match="no number") as caught:
        loop.run(epochs=1)
    assert loop.step == 4
    assert "after step 4" in " ".join(caught.value.__notes__)


@pytest.mark.parametrize("used", range(8))
def test_a_restored_pass_leaves_the_order_of_later_ones_alone(used: int) -> None:
    def stream() -> StreamData:
        tf.random.set_seed(1)
        return StreamData(tf.data.Dataset.range(50).shuffle(50, seed=3).batch(8))

    def epoch(data: StreamData, number: int) -> list[list[int]]:
        data.close()
        data.open(number)
        return [batch.numpy().tolist() for batch in data.source]

    whole = stream()
    epochs = [epoch(whole, number) for number in range(4)]
    saved, restored = stream(), stream()
    epoch(saved, 0)
    saved.close()
    saved.open(1)
    for _ in range(used):
        next(saved.source)
    path = tf.train.Checkpoint(data=saved).write(f"{tempfile.mkdtemp()}/state")
    restored.seek(Position(7 + used, 1, used), saved.cursor())
    tf.train.Checkpoint(data=restored).read(path).assert_consumed()
    assert [batch.numpy().tolist() for batch in restored.source] == epochs[1][used:]
    assert [epoch(restored, 2), epoch(restored, 3)] == epochs[2:]


def test_one_stream_without_end_is_refused_for_an_evaluation() -> None:
    data = StreamData(tf.data.Dataset.range(8), steps_per_epoch=3)
    with pytest.raises(ValueError, match=r"needs data that are the same each time.*Evaluation\(data, steps=...\)"):
        Evaluation(lambda batch: {"x": batch}, data)


@pytest.mark.more
@pytest.mark.parametrize(
    "make",
    [
        lambda: tf.data.Dataset.range(8).shuffle(8),
        lambda: tf.data.Dataset.range(8).repeat().shuffle(8).take(6),
        lambda: StreamData(tf.data.Dataset.range(8).map(lambda x: x + tf.random.uniform([], 0, 9, tf.int64))),
        lambda: StreamData(lambda epoch: tf.data.Dataset.range(8).shuffle(8, seed=epoch)),
    ],
)
def test_each_evaluation_reads_the_same_pass_whatever_it_shuffles_and_draws(make: Callable[[], object]) -> None:
    def last_of_each() -> list[float]:
        tf.random.set_seed(1)
        found, last = [], tf.Variable(0, dtype=tf.int64)
        evaluation = Evaluation(lambda batch: {"last": last.assign(batch) + 0}, make())
        train = tf.data.Dataset.range(2)
        loop = Loop(lambda batch: {"x": batch}, train, state={"last": last}, evaluate=evaluation)
        loop.on(Event.EVAL_END)(lambda moment: found.append(moment.logs["val_last"]))
        loop.run(epochs=3)
        return found

    first = last_of_each()
    assert first == [first[0]] * 3
    assert last_of_each() == first


def test_random_numbers_drawn_for_an_evaluation_come_again_when_it_is_redone() -> None:
    def drawn(stop: bool) -> list[float]:
        keras.utils.set_random_seed(1)
        weight, found = tf.Variable(0.0), {}
        loop = Loop(
            lambda batch: {"x": weight.assign_add(1.0)},
            tf.data.Dataset.range(3),
            state={"weight": weight},
            evaluate=Evaluation(lambda batch: {"x": weight}, tf.data.Dataset.range(2)),
        )

        @loop.on(Event.EVAL_BEGIN)
        def draw(moment: Moment) -> None:
            if stop and moment.step == 3 and 3 not in found:
                loop.stop("now")
            found[moment.step] = random.random() + np.random.random()

        while loop.run(epochs=2).epoch < 2:
            pass
        return list(found.values())

    assert drawn(stop=True) == drawn(stop=False)


def test_more_rows_than_can_be_counted_are_refused_before_they_are_copied() -> None:
    rows = np.broadcast_to(np.uint8(0), [2**31, 4])
    with pytest.raises(ValueError, match=r"at most 1,073,741,824 rows.*Received: 2,147,483,648 rows. Write"):
        ArrayData({"x": rows}, batch_size=10)


def test_a_batch_may_be_asked_for_that_is_larger_than_all_memory() -> None:
    data = ArrayData(np.arange(3), batch_size=2**40, seed=1)
    data.open(0)
    assert (data.steps_per_epoch, sorted(data.ahead.numpy())) == (1, [0, 1, 2])
    assert (data.describe()["batch_size"], data.element_spec.shape.as_list()) == (2**40, [None])


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"steps_per_epoch": 2}, "steps_per_epoch=2 is for"),
        ({"state": {"weight": 3}}, "cannot be saved"),
        ({"hooks": [3]}, "must be an instance of loop.Hook"),
        ({"evaluate": 3}, "needs an Evaluation"),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_data_can_be_given_again_when_a_loop_could_not_be_made(
    wrong: dict[str, object], says: str, streamed: bool
) -> None:
    weight, rows = tf.Variable(0.0), np.arange(8, dtype="float32")
    data = StreamData(tf.data.Dataset.from_tensor_slices(rows).batch(2)) if streamed else ArrayData(rows, batch_size=2)

    def step(batch: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"loss": weight.assign_add(tf.reduce_mean(batch))}

    right: dict[str, object] = {"state": {"weight": weight}}
    with pytest.raises((TypeError, ValueError), match=says):
        Loop(step, data, **right | wrong)  # type: ignore[arg-type]
    loop = Loop(step, data, **right)  # type: ignore[arg-type]
    with pytest.raises((TypeError, ValueError), match=says):
        Loop(step, ArrayData(rows, batch_size=2), **right | wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="read by another loop"):
        Loop(step, data, **right)  # type: ignore[arg-type]
    assert loop.run(epochs=1).step == 4


def test_an_evaluation_that_could_not_be_made_leaves_its_data_to_the_next_one() -> None:
    data = ArrayData(np.arange(8), batch_size=2)
    with pytest.raises(TypeError, match="every"):
        Evaluation(lambda batch: {"sum": tf.reduce_sum(batch)}, data, every=3)  # type: ignore[arg-type]
    assert Evaluation(lambda batch: {"sum": tf.reduce_sum(batch)}, data).data is data


def test_items_of_a_kind_that_numpy_does_not_have_are_refused_with_what_to_write() -> None:
    items, seen = [tf.fill([2], float(i)) for i in range(4)], tf.Variable(tf.zeros([], tf.bfloat16))
    advice = r"bfloat16 in it, .* Give it as float32, and write tf.cast\(x, 'bfloat16'\) in the step"
    with pytest.raises(TypeError, match=advice):
        IndexedData([tf.cast(item, tf.bfloat16) for item in items], batch_size=2)

    def step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"sum": tf.cast(seen.assign_add(tf.reduce_sum(tf.cast(x, "bfloat16"))), tf.float32)}

    Loop(step, IndexedData(items, batch_size=2), state={"seen": seen}).run(epochs=1)
    assert float(seen) == 12
    with pytest.raises(TypeError, match="no array of numbers or texts"):
        IndexedData([np.zeros(2, "V4")] * 4, batch_size=2)
