"""What a loop is like that is one of several: as it is traced, without the others."""

import itertools
import json
import logging
import os
import random
import signal
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

import loop
from hooks.checkpoint.record.environment import environment
from loop import ArrayData, Hook, Loop, Step, StreamData, average, total
from loop.exact.graph import operations
from loop.state.randomness import global_seed, untouched
from loop.workers import joining, sums, together
from loop.workers.cluster import Workers, become, here
from loop.workers.collective import OPERATIONS, Collective
from loop.workers.joining import _warn_of_tasks, share_seed
from loop.workers.rows import OwnRows
from loop.workers.store import InProcess

X = np.arange(24, dtype="float32").reshape(8, 3)
Gradients = list[tf.Tensor]


@pytest.fixture
def one_of() -> Iterator[Callable[[int, int], None]]:
    """Makes this process one of several, which cannot be reached."""
    alone = here()
    yield lambda rank, count: become(Workers(rank, tuple(f"10.0.0.{i}:1234" for i in range(count)))) and None
    become(alone)


def linear(
    treated: Callable[[Gradients], Gradients], optimizer: keras.optimizers.Optimizer | None = None
) -> tuple[Callable, dict]:
    weights = tf.Variable(tf.zeros([3, 1]), name="weights")
    optimizer = optimizer or keras.optimizers.SGD()
    optimizer.build([weights])

    def step(batch: tf.Tensor) -> dict:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(batch @ weights))
        optimizer.apply(treated(tape.gradient(loss, [weights])), [weights])
        return {"loss": loss}

    return step, {"weights": weights, "optimizer": optimizer}


def test_random_numbers_begin_alike_and_a_seed_counts_as_set_only_if_the_program_sets_it() -> None:
    store, drawn = InProcess(), []
    with untouched():
        before = global_seed()
        for rank in (0, 1):
            share_seed(Workers(rank, ("10.0.0.0:1234", "10.0.0.1:1234"), store))
            model = keras.Sequential([keras.Input([3]), keras.layers.Dense(2)])
            drawn.append([random.random(), np.random.normal(), *model.get_weights()[0].ravel().tolist()])
        assert global_seed() == before  # or a run that sets none could not be started again
    assert drawn[0] == drawn[1]


def test_a_seed_that_was_set_before_is_kept() -> None:
    """All begin with the numbers that one process without a cluster has."""
    store = InProcess()
    with untouched():
        for rank, seed in ((0, 3), (1, None)):
            random.seed(3)
            np.random.seed(seed)
            share_seed(Workers(rank, ("10.0.0.0:1234", "10.0.0.1:1234"), store))
            assert (random.random(), np.random.normal()) == (
                random.Random(3).random(),
                np.random.RandomState(3).normal(),
            )


def test_without_a_cluster_nothing_is_connected_and_nothing_added_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    workers = loop.connect()
    assert (workers.rank, workers.count, workers.addresses) == (0, 1, ())
    assert workers is loop.connect()
    given = [tf.ones([2]), None]
    assert average(given) is given
    assert total(given) is given
    assert workers.put("key", [1, "two"])
    assert not workers.put("key", 3)
    assert workers.get("key") == [1, "two"]
    with pytest.raises(TimeoutError, match=r"'other' within 0\.01 s"):
        workers.get("other", 0.01)


def test_a_process_that_has_not_joined_the_others_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    step, state = linear(average)
    cluster = {"worker": ["10.0.0.1:1234", "10.0.0.2:1234"], "evaluator": ["10.0.0.3:1234"]}
    for config in ("", "{}", "no JSON", json.dumps({"cluster": cluster, "task": {"type": "evaluator", "index": 0}})):
        monkeypatch.setenv("TF_CONFIG", config)
        Loop(step, ArrayData(X, batch_size=4), state=state)
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": {"type": "worker", "index": 1}}))
    with pytest.raises(RuntimeError, match=r"names 2 workers.*Write loop\.connect\(\).*take TF_CONFIG out"):
        Loop(step, ArrayData(X, batch_size=4), state=state)
    monkeypatch.delenv("TF_CONFIG")
    Loop(step, ArrayData(X, batch_size=4), state=state)


def test_what_a_worker_starts_is_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one of a pool that runs the lines of the script again; it has the environment of its worker."""
    cluster = {"worker": ["10.0.0.1:1234", "10.0.0.2:1234"]}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": {"type": "worker", "index": 1}}))
    step, state = linear(average)
    for joined in (f"{os.getpid()} 10.0.0.2:1234", "1 10.0.0.3:1234"):  # itself, started anew; of another cluster
        monkeypatch.setenv(joining.JOINED, joined)
        with pytest.raises(RuntimeError, match="has not joined the others"):
            Loop(step, ArrayData(X, batch_size=4), state=state)
    monkeypatch.setenv(joining.JOINED, "1 10.0.0.2:1234")
    assert loop.connect() is here()
    assert not here().are_several
    Loop(step, ArrayData(X, batch_size=4), state=state)


def test_one_of_several_tasks_of_slurm_that_trains_alone_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Once. Each of them may be meant to train a model of its own."""
    step, state = linear(average)
    monkeypatch.setenv("SLURM_PROCID", "0")
    for count, said in (("3", 1), ("1", 0)):
        _warn_of_tasks.cache_clear()
        caplog.clear()
        monkeypatch.setenv("SLURM_STEP_NUM_TASKS", count)
        with caplog.at_level(logging.WARNING, "exactloop"):
            Loop(step, ArrayData(X, batch_size=4), state=state)
            Loop(step, ArrayData(X, batch_size=4), state=state)
        assert len([each for each in caplog.messages if "SLURM has started this script 3 times" in each]) == said


def test_own_rows_are_all_rows_once() -> None:
    for count in (2, 3, 8):
        for rows in range(20):
            bounds = [OwnRows(rank, count).bounds(rows) for rank in range(count)]
            assert [first for first, _ in bounds] == [0, *(end for _, end in bounds[:-1])]
            assert bounds[-1][1] == rows
            sizes = [end - first for first, end in bounds]
            assert max(sizes) - min(sizes) <= 1


def test_own_rows_of_all_kinds_of_tensors() -> None:
    whole = np.arange(10.0).reshape(5, 2)
    ragged = tf.ragged.constant([[1], [2, 2], [], [4], [5, 5, 5]])
    batch = {
        "dense": tf.constant(whole),
        "ragged": ragged,
        "sparse": tf.sparse.from_dense(whole),
        "one": tf.constant(7),
    }
    part = tf.function(OwnRows(1, 3).of)(batch)
    assert (int(part.rows), int(part.whole)) == (2, 5)
    assert part.batch["dense"].numpy().tolist() == whole[1:3].tolist()
    assert part.batch["ragged"].to_list() == [[2, 2], []]
    assert tf.sparse.to_dense(part.batch["sparse"]).numpy().tolist() == whole[1:3].tolist()
    assert int(part.batch["one"]) == 7


@tf.function
def averaged_and_not(gradient: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return average(gradient), 2.0 * gradient


ACCEPTED: dict[str, Callable[[Gradients], Gradients]] = {
    "averaged": average,
    "averaged and clipped": lambda gradients: tf.clip_by_global_norm(average(gradients), 1.0)[0],
    "averaged twice": lambda gradients: average(average(gradients)),
    "averaged by a function that returns them as they are, too": lambda gradients: [averaged_and_not(gradients[0])[0]],
    "averaged and put into the shape of before": lambda gradients: [
        tf.where(tf.math.is_finite(each := tf.reshape(average(gradients[0]), tf.shape(gradients[0]))), each, 0.0)
    ],
    "averaged in a loop": lambda gradients: [
        tf.while_loop(
            lambda i, added: i < 2,
            lambda i, added: (i + 1, added + average(gradients[0])),
            (0, tf.zeros_like(gradients[0])),
        )[1]
    ],
}
FORGOTTEN: dict[str, Callable[[Gradients], Gradients]] = {
    "as they are": lambda gradients: gradients,
    "clipped": lambda gradients: tf.clip_by_global_norm(gradients, 1.0)[0],
    "beside what a function averages": lambda gradients: [averaged_and_not(gradients[0])[1]],
    "averaged in one case alone": lambda gradients: [
        tf.cond(tf.constant(gradients is None), lambda: average(gradients[0]), lambda: 1.0 * gradients[0])
    ],
    "with the averaged added": lambda gradients: [gradients[0] + average(gradients[0])],
    "with something else averaged": lambda gradients: [0 * average(gradients[0]) is None or gradients[0]],
}


@pytest.mark.more
@pytest.mark.parametrize("how", ACCEPTED)
def test_averaged_gradients_are_applied(how: str, one_of: Callable[[int, int], None]) -> None:
    one_of(0, 2)
    step, state = linear(ACCEPTED[how])
    assert Loop(step, ArrayData(X, batch_size=4), state=state).audit() == []


@pytest.mark.parametrize("how", FORGOTTEN)
def test_gradients_that_were_not_averaged_are_refused(how: str, one_of: Callable[[int, int], None]) -> None:
    one_of(1, 2)
    step, state = linear(FORGOTTEN[how], keras.optimizers.Adam(name="mine"))
    with pytest.raises(ValueError, match=r"rows alone, by Adam 'mine': .*\n?.*gradients = loop.average\(gradients\)"):
        Loop(step, ArrayData(X, batch_size=4), state=state).audit()


@pytest.mark.more
def test_gradients_that_are_kept_and_applied_later(one_of: Callable[[int, int], None]) -> None:
    """Averaged before they are added to a variable: not so, they are refused."""
    one_of(0, 2)
    kept = tf.Variable(tf.zeros([3, 1]), trainable=False, name="kept")

    def treated(gradients: Gradients, by: Callable[[Gradients], Gradients]) -> Gradients:
        kept.assign_add(by(gradients)[0])
        return [kept.read_value()]

    step, state = linear(lambda gradients: treated(gradients, average))
    Loop(step, ArrayData(X, batch_size=4), state={**state, "kept": kept}).audit()
    step, state = linear(lambda gradients: treated(gradients, lambda each: each))
    with pytest.raises(ValueError, match="rows alone"):
        Loop(step, ArrayData(X, batch_size=4), state={**state, "kept": kept}).audit()


def test_a_second_optimizer_is_looked_at_too(one_of: Callable[[int, int], None]) -> None:
    one_of(0, 2)
    first, state = linear(average)
    second, more = linear(lambda gradients: gradients, keras.optimizers.SGD(name="second"))

    def step(batch: tf.Tensor) -> dict:
        return {**first(batch), "other": second(batch)["loss"]}

    with pytest.raises(ValueError, match="by SGD 'second'"):
        Loop(step, ArrayData(X, batch_size=4), state={**state, "w": more["weights"], "o": more["optimizer"]}).audit()


class Generator(keras.Model):
    """Weights that are trained by rows, and others by what is drawn and goes through the first."""

    def __init__(self) -> None:
        super().__init__()
        self.judge, self.maker = keras.layers.Dense(1), keras.layers.Dense(3)
        self.second, self.seeds = keras.optimizers.Adam(name="second"), keras.random.SeedGenerator(1)

    def train_step(self, batch: tf.Tensor) -> dict:
        loss = tf.constant(0.0)
        for layer, optimizer in ((self.judge, self.optimizer), (self.maker, self.second)):
            with tf.GradientTape() as tape:
                noise = keras.random.normal([tf.shape(batch)[0], 2], seed=self.seeds)
                loss = tf.reduce_mean(self.judge(self.maker(noise)))
                loss -= tf.reduce_mean(self.judge(batch)) if layer is self.judge else 0.0
            gradients = tape.gradient(loss, layer.trainable_variables)
            optimizer.apply(average(gradients) if layer is self.judge else gradients, layer.trainable_variables)
        return {"loss": loss}


def test_what_is_trained_by_drawn_numbers_alone_is_averaged_too(
    one_of: Callable[[int, int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the generator of a GAN: its loss has no rows, and weights that were averaged are behind it."""
    one_of(0, 2)
    averaged, usual = list[int](), sums.TracedStep.average
    monkeypatch.setattr(
        sums.TracedStep, "average", lambda step, given: averaged.append(len(given)) or usual(step, given)
    )
    model = Generator()
    model.compile(keras.optimizers.Adam())
    Loop(loop.keras_steps(model)[0], ArrayData(X, batch_size=4), state={"model": model}).audit()
    assert averaged == [2, 2]
    with pytest.raises(ValueError, match="rows alone, by Adam 'second'"):
        Loop(Step(model.train_step), ArrayData(X, batch_size=4), state={"model": model}).audit()


def test_what_a_hook_has_reported_otherwise_is_told_from_a_forgotten_average() -> None:
    """It is in the history, too; of weights that have drifted, both come."""
    reported = ["history/cells", "hooks/probe/last_reported/values"]
    assert "call moment.report(...) in all of them" in here().why_apart(reported)
    assert "loop.average" in here().why_apart([*reported, "weights"])


@pytest.mark.more
def test_models_average_by_themselves(one_of: Callable[[int, int], None]) -> None:
    """`keras_steps`, also if the optimizer scales the loss; `supervised`, also of several batches at once."""
    one_of(0, 2)
    model = keras.Sequential([keras.Input([2]), keras.layers.Dense(1)])
    model.compile(keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam()), "mse")
    data = ArrayData((X[:, :2], X[:, 2:]), batch_size=4)
    Loop(loop.keras_steps(model)[0], data, state={"model": model}).audit()
    for size in (4, 3):  # and the last batch is smaller, so that nobody knows how many rows a batch has
        optimizer = keras.optimizers.SGD()
        step, _ = loop.supervised(model, optimizer, "mse", accumulate=2, clip_norm=1.0)
        data = ArrayData((X[:, :2], X[:, 2:]), batch_size=size)
        Loop(step, data, state={"model": model, "optimizer": optimizer}).audit()


class Largest(keras.metrics.Metric):
    """The largest value so far."""

    def __init__(self, aggregation: str) -> None:
        super().__init__(name="largest")
        self.value = self.add_variable([], "zeros", aggregation=aggregation, name="value")

    def update_state(self, values: tf.Tensor) -> None:
        self.value.assign(tf.maximum(self.value, tf.reduce_max(values)))

    def result(self) -> tf.Tensor:
        return self.value + 0.0


def measuring(
    metric: keras.metrics.Metric,
    name: str | None = None,
    computed: Callable[[tf.Tensor], tf.Tensor] = lambda result: result,
) -> tuple[loop.Step, dict]:
    step, state = linear(average)

    def measured(batch: tf.Tensor) -> dict:
        metric.update_state(batch)
        return {**step(batch), **({name: computed(metric.result())} if name else {})}

    return loop.Step(measured, metrics={"metric": metric}), state


DRAWS = tf.random.Generator.from_seed(1)
COUNTER = tf.Variable(3, trainable=False, name="counter")
Values = tuple[tf.Tensor, ...]


def mean_and_steps(x: tf.Tensor) -> Values:
    return tf.reduce_mean(x), COUNTER.read_value()


def rounds(x: tf.Tensor, limit: tf.Tensor | int = 2) -> Values:
    """Returns a number of rounds, and what they add up."""
    return tf.while_loop(lambda i, _: i < limit, lambda i, s: (i + 1, s + tf.reduce_mean(x)), (0, 0.0))


def in_rounds(x: tf.Tensor) -> Values:
    """Returns a count of these rows, as it was two rounds ago, and a count of all."""

    def another(_: tf.Tensor, b: tf.Tensor, a: tf.Tensor, of_all: tf.Tensor, i: tf.Tensor) -> Values:
        count = tf.math.count_nonzero(x > 3, dtype=tf.int32)
        return b, a, count, of_all + total(count), i + 1

    oldest, _, _, of_all, _ = tf.while_loop(lambda *at: at[-1] < 4, another, (0, 0, 0, 0, 0))
    return oldest, of_all


def sometimes(x: tf.Tensor, when: tf.Tensor) -> Values:
    """Returns a mean that is computed sometimes, and whether it was."""
    return tf.cond(when, lambda: (tf.reduce_mean(x), 1), lambda: (0.0, 0))


@tf.function
def doubled(x: tf.Tensor) -> tf.Tensor:
    return 2 * x


def beside_a_loss(x: tf.Tensor) -> Values:
    """Returns a loss, a count and a number from a function through which a gradient has gone."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        found = tf.function(lambda x: (tf.reduce_mean(tf.exp(x)), *counts(x)[1:], COUNTER.read_value()))(x)
    tape.gradient(found[0], x)
    return found


def counts(x: tf.Tensor) -> Values:
    """Returns a count of all rows, and one of these."""
    count = tf.math.count_nonzero(x > 3, dtype=tf.int32)
    return total(count), count


REFUSED: dict[str, tuple[Callable[[tf.Tensor], object], str]] = {
    "a count": (lambda x: tf.reduce_sum(tf.cast(x > 3, tf.int32)), "a whole number that each"),
    "a truth value": (lambda x: tf.reduce_any(x > 3), "a truth value that each"),
    "the number of rows": (lambda x: tf.shape(x)[0], "how many rows this worker has"),
    "that, as Python has it": (lambda x: float(x.shape[0]), "how many rows this worker has"),
    "a count in a function": (tf.function(lambda x: tf.math.count_nonzero(x)), "a whole number that each"),
    "that, beside one of all": (lambda x: tf.function(counts)(x)[1], "a whole number that each"),
    "a size in a function": (tf.function(lambda x: 2.0 * x.shape[0]), "how many rows this worker has"),
    "a count from beside a loss": (lambda x: beside_a_loss(x)[1], "a whole number that each"),
    "rounds for the rows": (lambda x: rounds(x, tf.cast(tf.reduce_sum(x), tf.int32))[0], "a whole number that each"),
    "rounds for each": (lambda x: rounds(x, tf.shape(x)[0])[0], "how many rows this worker has"),
    "two rounds later": (lambda x: in_rounds(x)[0], "a whole number that each"),
    "a branch by number": (lambda x: tf.switch_case(counts(x)[1], [lambda: 1, lambda: 2]), "a whole number that each"),
    "a branch for the rows": (lambda x: sometimes(x, tf.reduce_any(x > 3))[1], "a whole number that each"),
    "in one branch": (lambda x: tf.cond(COUNTER > 2, lambda: counts(x)[1], lambda: 0), "a whole number that each"),
    "one function, twice": (lambda x: doubled(counts(x)[1]) + doubled(COUNTER), "a whole number that each"),
}
RETURNED: dict[str, Callable[[tf.Tensor], object]] = {
    "a count of all": lambda x: total(tf.reduce_sum(tf.cast(x > 3, tf.int32))),
    "a count, as a mean": lambda x: tf.cast(tf.math.count_nonzero(x > 3), tf.float32),
    "the number of all rows": lambda x: total(tf.shape(x)[0]),
    "a number": lambda x: 7,
    "draws for the rows": lambda x: tf.reduce_mean(DRAWS.normal(x.shape)),
    "whether any row is such": lambda x: total(tf.reduce_sum(tf.cast(x > 3, tf.int32))) > 0,
    "what a function returns beside": lambda x: tf.function(mean_and_steps)(x)[1],
    "rounds": lambda x: rounds(x)[0],
    "a number from beside a loop": lambda x: rounds(x, COUNTER.read_value())[0],
    "a count of all in a loop": lambda x: in_rounds(x)[1],
    "a branch of all": lambda x: sometimes(x, COUNTER % 2 == 0)[1],
    "no number": lambda x: float("nan"),
    "a mean of what is equal": lambda x: tf.reduce_mean(tf.ones([x.shape[0]])),
    "that, in a function": tf.function(lambda x: tf.reduce_mean(tf.fill([x.shape[0], 3], 0.1))),
    "a number from beside a loss": lambda x: beside_a_loss(x)[2],
    "one of two counts": lambda x: tf.function(counts)(x)[0],
    "a sum of nothing": lambda x: tf.reduce_sum(total(tf.zeros([0]))),
    "in a function": tf.function(lambda x: total(tf.reduce_sum(tf.cast(x > 3, tf.int32)))),
}


def returning(what: Callable[[tf.Tensor], object], rows: int = 4) -> Loop:
    step, state = linear(average)
    data, state = ArrayData(X, batch_size=rows), {**state, "counter": COUNTER, "draws": DRAWS}
    return Loop(lambda batch: {**step(batch), "more": what(batch)}, data, state=state)


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_mean_over_rows_and_was_not_added_up_is_refused(
    what: str, one_of: Callable[[int, int], None]
) -> None:
    one_of(1, 2)
    function, said = REFUSED[what]
    with pytest.raises(ValueError, match=f"returns 'more', .*{said}.*loop.total") as error:
        returning(function).audit()
    assert "tf.cast(x, tf.float32)" in str(error.value) or "loop.total(tf.shape(batch)[0])" in str(error.value)


@pytest.mark.more
@pytest.mark.parametrize("what", RETURNED)
def test_what_all_workers_have_alike_is_returned(what: str, one_of: Callable[[int, int], None]) -> None:
    one_of(1, 2)
    returning(RETURNED[what]).audit()


@pytest.mark.more
def test_the_number_of_rows_of_batches_of_any_size_is_refused(one_of: Callable[[int, int], None]) -> None:
    one_of(1, 2)
    with pytest.raises(ValueError, match="a whole number that each of several workers"):
        returning(lambda x: tf.shape(x)[0], rows=3).audit()


@pytest.mark.more
def test_a_sum_over_rows_is_warned_of(one_of: Callable[[int, int], None], caplog: pytest.LogCaptureFixture) -> None:
    one_of(0, 2)
    sums: list[tuple[Callable, int]] = [(tf.reduce_sum, 1), (tf.reduce_mean, 0), (lambda x: total(tf.reduce_sum(x)), 0)]
    sums += [(tf.function(lambda x: tf.reduce_sum(x)), 1), (lambda x: tf.reduce_sum(x) * (1 / 8), 1)]
    # As programs for TensorFlow's strategies have it.
    sums += [(lambda x: tf.nn.compute_average_loss(x[:, 0], global_batch_size=8), 1)]
    sums += [(lambda x: tf.nn.compute_average_loss(x[:, 0]), 0), (tf.nn.l2_loss, 1)]
    sums += [(lambda x: tf.reduce_sum(tf.reduce_mean(x, 0)), 0), (lambda x: tf.reduce_sum(tf.ones([4])), 0)]
    for function, said in sums:
        caplog.clear()
        with caplog.at_level(logging.WARNING, "exactloop"):
            returning(function, rows=3).audit()
        assert len([each for each in caplog.messages if "returns 'more', a sum over the rows" in each]) == said


def test_the_largest_of_the_rows_is_warned_of(
    one_of: Callable[[int, int], None], caplog: pytest.LogCaptureFixture
) -> None:
    """And not of the numbers of each row, of which there is a mean."""
    one_of(0, 2)
    for function, said in (
        (tf.reduce_max, 1),
        (lambda x: 2.0 * tf.reduce_min(x[:, 0]), 1),
        (lambda x: tf.reduce_mean(tf.reduce_max(x, axis=1)), 0),
    ):
        caplog.clear()
        with caplog.at_level(logging.WARNING, "exactloop"):
            returning(function, rows=3).audit()
        assert len([each for each in caplog.messages if "the mean of these" in each]) == said


@pytest.mark.more
def test_a_sum_that_is_divided_by_how_many_rows_there_are_is_a_mean(
    one_of: Callable[[int, int], None], caplog: pytest.LogCaptureFixture
) -> None:
    one_of(0, 2)
    for count, said in ((lambda x: x.shape[0], 0), (lambda x: 4, 1)):
        caplog.clear()
        returning(lambda x, count=count: tf.reduce_sum(x) / count(x)).audit()
        assert len([each for each in caplog.messages if "returns 'more', a sum over the rows" in each]) == said


def test_a_number_of_rows_that_the_program_has_fixed_is_named(one_of: Callable[[int, int], None]) -> None:
    one_of(0, 2)
    with pytest.raises(ValueError, match="must be equal") as raised:
        returning(lambda x: tf.reduce_mean(x * tf.ones([4, 3]))).audit()
    assert any("some of the rows of each batch" in note for note in raised.value.__notes__)


def test_a_function_within_a_step_is_traced_for_several_workers_too(one_of: Callable[[int, int], None]) -> None:
    one_of(0, 2)
    step, state = linear(tf.function(lambda gradients: average(gradients)))
    assert Loop(step, ArrayData(X, batch_size=3), state=state).audit() == []
    whole, state = linear(average)
    assert Loop(tf.function(whole), ArrayData(X, batch_size=3), state=state).audit() == []


def test_a_loss_that_compares_rows_with_one_another_is_refused(one_of: Callable[[int, int], None]) -> None:
    one_of(0, 2)
    labels, references = tf.constant([0, 1, 0]), tf.eye(3)
    with pytest.raises(ValueError, match=r"each row of a batch with all others.*ref_labels"):
        returning(lambda x: keras.losses.Circle()(tf.cast(x[:, 0] > 3, tf.int32), x)).audit()
    circle = keras.losses.circle
    returning(lambda x: tf.reduce_mean(circle(tf.cast(x[:, 0] > 3, tf.int32), x, labels, references))).audit()


def test_connecting_after_tensorflow_was_used_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    tf.zeros([])
    tasks = {"cluster": {"worker": ["127.0.0.1:1", "127.0.0.1:2"]}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(tasks))
    with pytest.raises(RuntimeError, match=r"has been used in this process.*Write loop.connect\(\) in the first line"):
        loop.connect()


@pytest.mark.parametrize(
    ("said", "sent"), [("/job:worker/task:1", True), ("/job:worker/task:0", False), ("/job:chief/task:0", False)]
)
def test_sigterm_that_tensorflow_has_caught_is_sent_again_to_who_was_sent_it(
    said: str, sent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed: list[tuple[int, int]] = []
    monkeypatch.setattr(joining, "config_key_value", lambda key, timeout: said)
    monkeypatch.setattr(joining.os, "kill", lambda pid, number: killed.append((pid, number)))
    joining._send_again(Workers(2, tuple(f"10.0.0.{i}:1234" for i in range(3)), chiefs=1))
    assert killed == ([(os.getpid(), signal.SIGTERM)] if sent else [])


def test_devices_of_other_workers_are_not_of_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or a run that goes on with another number of workers would be warned of other devices."""
    alone = environment()["devices"]
    for own, said in ((["CPU:0"], "1 CPU"), (["CPU:0", "GPU:0"], "1 CPU, 1 GPU"), (["GPU:0", "GPU:1"], "2 GPU")):
        names = [f"/job:worker/replica:0/task:{i}/device:{device}" for i in range(3) for device in own]
        found = [SimpleNamespace(name=name, device_type=name.split(":")[-2]) for name in names]
        monkeypatch.setattr(tf.config, "list_logical_devices", lambda found=found: found)
        assert environment()["devices"] == said
    assert alone == "1 CPU"


@pytest.mark.more
def test_metrics_that_cannot_be_added_up_are_refused(one_of: Callable[[int, int], None]) -> None:
    one_of(0, 2)
    step, state = measuring(Largest("sum"))
    with pytest.raises(ValueError, match=r"'metric' cannot be added up.* 'value' is not .* by Maximum.*='mean'\)"):
        Loop(step, ArrayData(X, batch_size=4), state=state).audit()
    for metric in (Largest("mean"), Largest("only_first_replica"), keras.metrics.Mean(), keras.metrics.Sum()):
        step, state = measuring(metric)
        Loop(step, ArrayData(X, batch_size=4), state=state).audit()


@pytest.mark.long
def test_metrics_of_keras_can_be_added_up(one_of: Callable[[int, int], None]) -> None:
    one_of(0, 2)
    model, optimizer = keras.Sequential([keras.Input([3]), keras.layers.Dense(3, "softmax")]), keras.optimizers.SGD()
    of_classes = [keras.metrics.F1Score(), keras.metrics.AUC(), keras.metrics.AUC(multi_label=True, name="labels")]
    of_classes += [keras.metrics.OneHotMeanIoU(3), keras.metrics.R2Score(), keras.metrics.Precision(), "accuracy"]
    of_classes += [keras.metrics.SensitivityAtSpecificity(0.5), keras.metrics.RootMeanSquaredError(), "poisson"]
    of_classes += [keras.metrics.TruePositives(), keras.metrics.PearsonCorrelation(), keras.metrics.CosineSimilarity()]
    step, _ = loop.supervised(model, optimizer, "categorical_crossentropy", metrics=of_classes)
    Loop(step, ArrayData((X, X), batch_size=4), state={"model": model, "optimizer": optimizer}).audit()


def test_what_is_computed_of_a_result_so_far_is_refused(one_of: Callable[[int, int], None]) -> None:
    one_of(0, 2)
    for computed in (tf.sqrt, lambda result: result / 2.0, lambda result: result + result):
        step, state = measuring(keras.metrics.Mean(), "root", computed)
        with pytest.raises(ValueError, match=r"'measured' returns 'root', which .* under the names of their metrics"):
            Loop(step, ArrayData(X, batch_size=4), state=state).audit()
    for name in ("metric", "another"):
        step, state = measuring(keras.metrics.Mean(), name)
        Loop(step, ArrayData(X, batch_size=4), state=state).audit()


def test_a_result_from_before_the_step_is_not_taken_for_that_of_all(one_of: Callable[[int, int], None]) -> None:
    one_of(0, 2)
    step, state = linear(average)
    metric = keras.metrics.Mean()

    def measured(batch: tf.Tensor) -> dict:
        before = metric.result()
        metric.update_state(batch)
        return {**step(batch), "before": before}

    with pytest.raises(ValueError, match="'measured' returns 'before'"):
        Loop(loop.Step(measured, metrics={"metric": metric}), ArrayData(X, batch_size=4), state=state).audit()


def test_a_step_is_told_from_others_as_it_is_on_one_process(one_of: Callable[[int, int], None]) -> None:
    """So a run may go on with another number of workers."""

    def described() -> dict:
        step, state = linear(average)
        made = Loop(step, ArrayData(X, batch_size=4, seed=1), state=state)
        made.audit()
        return made.state.describe()

    alone = described()
    one_of(1, 3)
    assert described() == alone


@pytest.mark.more
def test_workers_that_are_given_a_part_of_the_data_each_are_told_apart(one_of: Callable[[int, int], None]) -> None:
    """Each would take its own rows of that part; a part that is the same for all is as good as any data."""

    def described(rank: int, count: int, index: int) -> object:
        one_of(rank, 2)
        step, state = linear(average)
        dataset = tf.data.Dataset.from_tensor_slices(X).shard(count, index).batch(2)
        made = Loop(step, StreamData(dataset), state=state)
        made.audit()
        return made.state.describe()["data"]

    assert described(0, 2, 0) != described(1, 2, 1)
    assert described(0, 2, 1) == described(1, 2, 1)


def test_batches_with_fewer_rows_than_workers_are_refused(one_of: Callable[[int, int], None]) -> None:
    one_of(0, 4)
    step, state = linear(average)
    for data in (
        ArrayData(X, batch_size=3),
        loop.IndexedData(list(X), batch_size=3),
        StreamData(tf.data.Dataset.from_tensor_slices(X).batch(3, drop_remainder=True)),
    ):
        with pytest.raises(ValueError, match=r"at least one row for each of the 4 workers. Received: batches of 3"):
            Loop(step, data, state=state)
    Loop(step, ArrayData(X, batch_size=4), state=state)
    Loop(step, loop.IndexedData([X[:4], X[4:]], batch_size=None), state=state)  # whole batches


@pytest.mark.more
def test_batches_of_an_evaluation_may_have_fewer_rows_than_there_are_workers(
    one_of: Callable[[int, int], None],
) -> None:
    """All of them one, or the only one: the first worker has no row of it."""
    one_of(0, 2)
    model, optimizer = keras.Sequential([keras.Input([2]), keras.layers.Dense(1)]), keras.optimizers.SGD()
    step, evaluate = loop.supervised(model, optimizer, "mse", metrics=["mae"])
    for data in (ArrayData((X[:, :2], X[:, 2:]), batch_size=1), ArrayData((X[:1, :2], X[:1, 2:]), batch_size=32)):
        state = {"model": model, "optimizer": optimizer}
        evaluation = loop.Evaluation(evaluate, data)
        Loop(step, ArrayData((X[:, :2], X[:, 2:]), batch_size=4), state=state, evaluate=evaluation).audit()


def test_xla_is_refused(one_of: Callable[[int, int], None]) -> None:
    one_of(0, 2)
    step, state = linear(average)
    with pytest.raises(ValueError, match=r"jit_compile=True\) is for one process.*Leave it out"):
        Loop(step, ArrayData(X, batch_size=4), state=state, jit_compile=True)


@pytest.mark.more
def test_of_what_shape_is_added_up_has_to_be_known(one_of: Callable[[int, int], None]) -> None:
    one_of(0, 2)
    step, state = linear(average)

    def summed(batch: tf.Tensor, of: Callable[[tf.Tensor], tf.Tensor]) -> dict:
        return {**step(batch), "sum": tf.reduce_sum(total(of(tf.boolean_mask(batch, batch > 3))))}

    with pytest.raises(ValueError, match=r"of a known shape. Received: .*shape \(None,\)"):
        Loop(lambda batch: summed(batch, lambda x: x), ArrayData(X, batch_size=4), state=state).audit()
    Loop(lambda batch: summed(batch, tf.reduce_sum), ArrayData(X, batch_size=4), state=state).audit()


def test_what_has_no_elements_is_its_own_sum() -> None:
    """TensorFlow's gather of nothing ends the process; together with something else of its dtype it is added up."""
    graph = tf.Graph()
    with graph.as_default():
        empty, double = Collective(2).sum([tf.zeros([0]), tf.zeros([0, 3], tf.float64)])
        assert (empty.shape, double.shape) == ([0], [0, 3])
        assert not [op for op in graph.get_operations() if op.type in OPERATIONS]
        empty, one = Collective(2).sum([tf.zeros([0]), tf.zeros([1])])
        assert (empty.shape, one.shape) == ([0], [1])
        assert len([op for op in graph.get_operations() if op.type in OPERATIONS]) == 1


def test_a_step_that_returns_other_names_when_it_is_traced_again_is_refused(one_of: Callable[[int, int], None]) -> None:
    one_of(0, 2)
    for names in ("ab", ["a", ""], ["", "a"]):
        step, state = linear(average)
        left = iter(names)

        def named(batch: tf.Tensor, step: Callable = step, left: Iterator[str] = left) -> dict:
            return {"loss": step(batch)["loss"], **dict.fromkeys(next(left), 1.0)}

        with pytest.raises(ValueError, match=r"'named' returns \[.*'loss'\], traced for several .*\['.*same names"):
            Loop(named, ArrayData(X, batch_size=4), state=state).audit()


def test_it_is_said_when_many_read_all(one_of: Callable[[int, int], None], caplog: pytest.LogCaptureFixture) -> None:
    step, state = linear(average)
    kinds = [
        lambda: StreamData(tf.data.Dataset.from_tensor_slices(X).batch(8)),
        lambda: loop.IndexedData([X], batch_size=None),
    ]
    for (rank, count, said), data in itertools.product(((0, 4, 0), (0, 5, 1), (1, 5, 0)), kinds):
        one_of(rank, count)
        caplog.clear()
        with caplog.at_level(logging.WARNING, "exactloop"):
            Loop(step, data(), state=state)
        assert len([each for each in caplog.messages if f"Each of the {count} workers reads all" in each]) == said


class Written(Hook):
    """A hook that is called in the first worker alone."""

    everywhere = False

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[str] = []

    def on_setup(self, loop: Loop, moment: loop.Moment) -> None:
        self.heard.append(moment.event)


@pytest.mark.parametrize(("rank", "heard"), [(0, ["setup"]), (1, [])])
def test_some_hooks_are_called_in_the_first_worker_alone(
    rank: int, heard: list[str], one_of: Callable[[int, int], None]
) -> None:
    one_of(rank, 2)
    hook = Written()
    made = Loop(*linear(average)[:1], ArrayData(X, batch_size=4), state=linear(average)[1], hooks=[hook])
    moment = loop.Moment(loop.Event.SETUP, 0, 0, 0, {}, False, False, None, made.stop, print)
    made.hooks.calls.begin(made, moment, lambda name: False)
    assert hook.heard == heard


def test_a_hook_that_all_need_cannot_be_called_in_one_alone() -> None:
    class Reporting(Written):
        reports = ("probe",)

    with pytest.raises(ValueError, match=r"all workers need it. Received: everywhere=False"):
        loop.HookRegistry([Reporting()])
    loop.HookRegistry([Written()])


def test_parts_of_a_batch_that_have_not_equally_many_rows_are_refused() -> None:
    own = OwnRows(1, 2)
    with pytest.raises(ValueError, match=r"Received: tensors of 5 and 10 rows. Pad them"):
        own.spec((tf.TensorSpec([5, 3]), tf.TensorSpec([10, 3])))
    own.spec((tf.TensorSpec([10, 3]), tf.TensorSpec([10]), tf.TensorSpec([])))

    @tf.function(input_signature=[tf.TensorSpec([None, 3]), tf.TensorSpec([None])])
    def part(x: tf.Tensor, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return own.of((x, y)).batch

    assert [each.shape.as_list() for each in part(tf.zeros([5, 3]), tf.zeros([5]))] == [[3, 3], [3]]
    with pytest.raises(tf.errors.InvalidArgumentError, match="different numbers of rows"):
        part(tf.zeros([5, 3]), tf.zeros([10]))


class Keeping(keras.layers.Layer):
    """Keeps something of its rows."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self._how = how

    def build(self, shape: tuple[int | None, ...]) -> None:
        self.kept = self.add_weight(shape=[2], trainable=False, name="kept")

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        if training:
            of_rows = {
                "mean": lambda: 0.9 * self.kept + 0.1 * keras.ops.mean(x, axis=0),
                "variance": lambda: 0.9 * self.kept + 0.1 * tf.nn.moments(x, [0])[1],
                "total": lambda: 0.9 * self.kept + 0.1 * total(tf.reduce_sum(x, 0)),
                "count": lambda: self.kept + 1.0,
                "sum": lambda: 0.9 * self.kept + 0.1 * tf.reduce_sum(x, 0),
                "largest": lambda: tf.maximum(self.kept, tf.reduce_max(x, 0)),
                "last": lambda: x[-1],
            }[self._how]
            self.kept.assign(of_rows())
        return x - self.kept


KINDS = ["mean", "total", "sum", "last"]
MORE = [pytest.param(each, marks=pytest.mark.more) for each in ("variance", "count", "largest")]


@pytest.mark.parametrize("how", [*KINDS, *MORE])
def test_what_a_layer_keeps_of_rows_and_is_no_mean_is_warned_of(
    how: str, one_of: Callable[[int, int], None], caplog: pytest.LogCaptureFixture
) -> None:
    one_of(0, 2)
    layers = [Keeping(how), keras.layers.BatchNormalization(), keras.layers.Dense(1)]
    model, optimizer = keras.Sequential([keras.Input([2]), *layers]), keras.optimizers.SGD()
    step, _ = loop.supervised(model, optimizer, "mse")
    data = ArrayData((X[:, :2], X[:, 2:]), batch_size=4)
    with caplog.at_level(logging.WARNING, "exactloop"):
        Loop(step, data, state={"model": model, "optimizer": optimizer}).audit()
    said = [each for each in caplog.messages if "otherwise than by a mean over them" in each]
    assert len(said) == (how in ("sum", "largest", "last"))
    assert all("changes 'sequential/keeping/kept' by" in each for each in said)


def test_moments_of_what_a_mask_leaves_are_those_of_keras_and_are_added_up(one_of: Callable[[int, int], None]) -> None:
    x = tf.constant(np.random.default_rng(0).normal(3.0, size=[4, 5, 2]).astype("float32"))
    mask = tf.constant(np.random.default_rng(1).integers(0, 2, [4, 5]).astype(bool))
    layer = keras.layers.BatchNormalization()
    layer.build(x.shape)
    found = []
    for moments in (
        lambda x: layer._moments(x, mask),
        lambda x: together._masked_moments(SimpleNamespace(sum=lambda parts: parts), x, mask, [0, 1]),
    ):
        with tf.GradientTape() as tape:
            tape.watch(x)
            mean, variance = moments(x)
            loss = tf.reduce_sum(mean * [1.0, 2.0] + variance * [3.0, 4.0])
        found.append([mean, variance, tape.gradient(loss, x)])
    for wanted, each in zip(*found, strict=True):
        np.testing.assert_allclose(each, wanted, rtol=1e-5, atol=1e-6)
    one_of(0, 2)
    added = []
    for synchronized in (False, True):
        layers = [keras.layers.Masking(), keras.layers.BatchNormalization(synchronized=synchronized)]
        model, optimizer = keras.Sequential([keras.Input([5, 2]), *layers]), keras.optimizers.SGD()
        step, _ = loop.supervised(model, optimizer, "mse")
        made = Loop(step, ArrayData((x, x), batch_size=2), state={"model": model, "optimizer": optimizer})
        made.audit()
        graph = made._built.chunk.graph
        added.append(sum(op.type in OPERATIONS for op in operations(graph)))
    assert added[1] > added[0]


def test_gradients_of_rows_that_are_looked_up_are_made_dense_and_that_is_said_once(
    one_of: Callable[[int, int], None], caplog: pytest.LogCaptureFixture
) -> None:
    """Keras' Adam in one process trains rows that a batch has twice otherwise than with the dense gradient."""
    ends = []
    for dense in (False, True):
        weights, optimizer = tf.Variable([[1.0], [2.0]], name="weights"), keras.optimizers.Adam(0.1)
        optimizer.build([weights])
        for rows in ([0, 0, 1], [1, 1, 0]):
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(tf.square(tf.gather(weights, rows)))
            gradient = tape.gradient(loss, weights)
            optimizer.apply([tf.convert_to_tensor(gradient) if dense else gradient], [weights])
        ends.append(weights.numpy())
    assert np.abs(ends[0] - ends[1]).max() > 1e-3
    one_of(0, 2)
    sums._warn_of_slices.cache_clear()
    layers = [keras.layers.Embedding(9, 2), keras.layers.Flatten(), keras.layers.Dense(1)]
    model, optimizer = keras.Sequential([keras.Input([3], dtype="int32"), *layers]), keras.optimizers.Adam()
    with caplog.at_level(logging.WARNING, "exactloop"):
        for _ in range(2):
            step, _ = loop.supervised(model, optimizer, "mse")
            data = ArrayData((X.astype("int32") % 9, X[:, :1]), batch_size=4)
            Loop(step, data, state={"model": model, "optimizer": optimizer}).audit()
    assert len([each for each in caplog.messages if "are made dense and averaged" in each]) == 1
