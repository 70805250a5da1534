"""Data that change between two passes, two epochs or two lives of a run are refused, or named; others are not."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from hooks import Checkpoint
from loop import ArrayData, Evaluation, Event, Every, InexactRun, Loop, Moment, StreamData
from loop.data.pipelines import epochs, replay
from loop.exact.pipeline import stages
from loop.exact.pipeline_hash import described

Dataset = tf.data.Dataset
Data = Dataset | ArrayData | StreamData


def make_loop(
    directory: Path, data: Data, *, evaluated: Data | None = None, exact: bool = True, changed: str = "refuse"
) -> Loop:
    total = tf.Variable(0.0, dtype=tf.float64, name="total")

    def step(batch: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"total": total.assign(total * 1.01 + tf.reduce_sum(tf.cast(batch, tf.float64)))}

    def eval_step(batch: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"sum": tf.reduce_sum(batch)}

    evaluate = None if evaluated is None else Evaluation(eval_step, evaluated)
    hooks = [Checkpoint(directory, Every(steps=1), background=False, resume_changed=changed)]
    return Loop(step, data, state={"total": total}, evaluate=evaluate, hooks=hooks, exact=exact)


def total(loop: Loop) -> float:
    return float(loop.state.variables["total"])


def generated(function: Callable[[], Iterator[float]]) -> Dataset:
    return Dataset.from_generator(function, output_signature=tf.TensorSpec([], tf.float32))


class Rearranged:
    """Puts its numbers into another order when it has yielded the last one, as `Sequence.on_epoch_end` does."""

    def __init__(self, count: int) -> None:
        self.order, self.rng = np.arange(count), np.random.default_rng(0)

    def __call__(self) -> Iterator[float]:
        yield from map(float, self.order)
        self.rng.shuffle(self.order)


def in_place(epochs: range = range(1, 99)) -> Callable[[int], Dataset]:
    """Returns a function that shuffles one list again and again in some epochs."""
    names, rng = list(range(20)), np.random.default_rng(1)

    def of_epoch(epoch: int) -> Dataset:
        if epoch in epochs:
            rng.shuffle(names)
        return Dataset.from_tensor_slices(list(names)).batch(2)

    return of_epoch


def keeping() -> Callable[[int], Dataset]:
    base = Dataset.range(20).shuffle(20, seed=3)
    return lambda epoch: base.batch(2) if epoch else Dataset.range(20).batch(2)


def cached(rows: Dataset) -> Callable[[int], Dataset]:
    kept = rows.cache()
    return lambda epoch: kept.shuffle(40, seed=epoch).batch(2)


def generated_in(epochs: range) -> Callable[[int], Dataset]:
    rows = Rearranged(20)
    return lambda epoch: generated(rows if epoch in epochs else lambda: iter([1.0])).batch(2)


READ_TWICE = "yield something else when they are read a second time"
OF_FUNCTION = "come from a function that makes another dataset each time"


@pytest.mark.parametrize(
    ("make", "resume", "what"),
    [
        (lambda: generated(Rearranged(40)).cache().batch(2), "replay", READ_TWICE),
        (lambda: cached(generated(Rearranged(40))), "replay", READ_TWICE),
        (lambda: generated_in(range(9)), "replay", READ_TWICE),
        (lambda: generated_in(range(1, 9)), "replay", READ_TWICE),
        (in_place, "state", OF_FUNCTION),
        (in_place, "replay", OF_FUNCTION),
        (keeping, "state", "come from a function that keeps a dataset that shuffles"),
    ],
    ids=[
        "cached",
        "cached by a function",
        "generator of epochs",
        "generator of later epochs",
        "list",
        "list, replayed",
    ]
    + ["kept dataset"],
)
def test_data_that_would_be_others_in_a_later_pass_are_refused(
    make: Callable[[], Dataset], resume: str, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "SECONDS", 60.0)
    loop = make_loop(tmp_path, StreamData(make(), resume=resume))
    with pytest.raises(InexactRun, match=f"The training data {what}"):
        loop.run(epochs=3)
    assert loop.step == 0


@pytest.mark.more
@pytest.mark.parametrize(
    "step", [20, pytest.param(33, marks=pytest.mark.long), pytest.param(7, marks=pytest.mark.long)]
)
@pytest.mark.parametrize("evaluates", [False, pytest.param(True, marks=pytest.mark.long)])
def test_a_generator_that_rearranges_itself_goes_on_as_it_was_when_the_pass_began(
    step: int, evaluates: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "SECONDS", 60.0)

    def start(directory: str) -> Loop:
        rows = Rearranged(40)
        np.random.default_rng().shuffle(rows.order)  # in each process otherwise
        held_out = generated(rows if evaluates else Rearranged(8)).batch(4)
        return make_loop(tmp_path / directory, generated(rows).shuffle(9, seed=1).batch(2), evaluated=held_out)

    start("cut").run(steps=step)
    shutil.copytree(tmp_path / "cut", tmp_path / "again")
    ends = [(loop.run(epochs=3).logs["val_sum"], total(loop)) for loop in (start("cut"), start("again"))]
    assert ends[0] == ends[1]


@pytest.mark.more
def test_what_a_hook_changes_of_a_generator_in_mid_pass_is_refused_when_it_is_resumed(tmp_path: Path) -> None:
    def start() -> tuple[Loop, np.random.Generator]:
        rng = np.random.default_rng(1)
        return make_loop(tmp_path, generated(lambda: map(float, rng.permutation(12))).batch(2)), rng

    loop, rng = start()
    loop.on(Event.STEP_END, every=Every(steps=1))(lambda moment: rng.random())
    loop.run(steps=8)
    with pytest.raises(ValueError, match=r"The generators of the data change .*rng, and so does something else"):
        start()[0].run(steps=9)


@pytest.mark.more
def test_a_generator_of_epochs_too_long_to_be_read_to_its_end_is_refused_when_it_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def data() -> StreamData:
        rows = Rearranged(40)
        return StreamData(lambda epoch: generated(rows).shuffle(9, seed=epoch).batch(2), resume="replay")

    monkeypatch.setattr(replay, "LONGEST", replay.TRIED)
    loop = make_loop(tmp_path, data())
    with pytest.raises(InexactRun, match="The training data yielded something else in a later pass"):
        loop.run(epochs=4)
    assert loop.step == 20
    loop = make_loop(tmp_path / "nevertheless", data(), exact=False)
    assert loop.run(epochs=3).step == 60


@pytest.mark.more
@pytest.mark.parametrize("shuffled", [False, pytest.param(True, marks=pytest.mark.long)])
def test_a_generator_too_long_to_be_read_to_its_end_goes_on_as_it_was(
    shuffled: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(directory: str) -> Loop:
        rows = generated(Rearranged(40))
        return make_loop(tmp_path / directory, (rows.shuffle(9, seed=1) if shuffled else rows).batch(2))

    monkeypatch.setattr(replay, "LONGEST", replay.TRIED)
    (whole := start("whole")).run(epochs=3)
    for step in (20, 45):  # when it has changed for the first time, and in a pass that it has changed
        start("cut").run(steps=step)
    (cut := start("cut")).run(epochs=3)
    assert total(cut) == total(whole)


@pytest.mark.more
@pytest.mark.parametrize("step", [20, 25])
@pytest.mark.parametrize("shuffled", [False, True])
def test_a_file_that_has_changed_behind_a_generator_is_refused_or_a_warning(
    shuffled: bool, step: int, tmp_path: Path
) -> None:
    file = tmp_path / "numbers"

    def data() -> StreamData:
        rows = generated(lambda: map(float, file.read_text().split()))
        return StreamData((rows.shuffle(40, seed=1) if shuffled else rows).batch(2), resume="replay")

    file.write_text("\n".join(map(str, range(40))))
    make_loop(tmp_path / "saved", data()).run(steps=step)
    assert make_loop(tmp_path / "saved", data()).run(steps=step + 1).step == step + 1
    file.write_text("\n".join(map(str, [7, *range(1, 40)])))
    with pytest.raises(ValueError, match=r"Nothing was restored:\n  data: read again"):
        make_loop(tmp_path / "saved", data()).run(steps=60)
    with pytest.warns(UserWarning, match="The run goes on with other numbers: data: read again"):
        assert make_loop(tmp_path / "saved", data(), changed="warn").run(steps=80).step == 80


@pytest.mark.more
def test_a_file_that_has_changed_at_its_end_is_refused_when_the_pass_is_over(tmp_path: Path) -> None:
    file = tmp_path / "numbers"

    def data() -> StreamData:
        return StreamData(generated(lambda: map(float, file.read_text().split())).batch(2), resume="replay")

    file.write_text("\n".join(map(str, range(40))))
    make_loop(tmp_path / "saved", data()).run(steps=20)
    file.write_text("\n".join(map(str, [*range(39), 7])))
    shutil.copytree(tmp_path / "saved", tmp_path / "again")
    loop = make_loop(tmp_path / "saved", data())
    with pytest.raises(InexactRun, match="The training data yielded something else in a later pass"):
        loop.run(steps=60)
    assert loop.step == 40
    file.write_text("\n".join(map(str, range(40))))
    make_loop(tmp_path / "again", data()).run(steps=35)
    file.write_text("\n".join(map(str, [*range(20), 7, *range(21, 40)])))
    with pytest.warns(UserWarning, match="data: read again, the first 15 batches"):  # of which the audit does not know
        assert make_loop(tmp_path / "again", data(), changed="warn").run(steps=80).step == 80


def ragged(k: int) -> Dataset:
    rows = tf.ragged.constant([[1 * k, 2], [3 * k], [4, 5], [6 * k]])
    return Dataset.from_tensor_slices(rows).ragged_batch(1).map(tf.reduce_sum)


def sparse(k: int) -> Dataset:
    rows = Dataset.from_tensor_slices(tf.sparse.from_dense(tf.constant([[1, 0, k], [0, 2, 0], [0, k, 0], [0, 0, 1]])))
    return rows.batch(1).map(lambda row: tf.reshape(tf.sparse.reduce_sum(row), []))


def padded(k: int) -> Dataset:
    rows = Dataset.range(1, 9).map(lambda i: {"a": tf.range(i)})
    batches = rows.padded_batch(2, padded_shapes={"a": [None]}, padding_values={"a": tf.constant(k, tf.int64)})
    return batches.map(lambda batch: batch["a"])


def looked_up(k: int) -> Dataset:
    layer = keras.layers.StringLookup(vocabulary=["a", "b", "c"][::k])
    return Dataset.from_tensor_slices(["a", "b", "c", "a"]).map(layer).batch(1)


def branches(k: int) -> Dataset:
    return Dataset.range(8).map(lambda i: tf.cond(i > 3, lambda: i * 3 * k, lambda: i * -k * 2 * k)).batch(2)


def of_seed(k: int) -> Callable[[int], Dataset]:
    return lambda epoch: Dataset.range(8).shuffle(8, seed=k * epoch).batch(2)


def late(k: int) -> Callable[[int], Dataset]:
    return lambda epoch: Dataset.range(8).shuffle(8, seed=epoch if epoch < 4 else k * epoch).batch(2)


@pytest.mark.more
# The notes know of epoch 5, when it has begun or is the next.
@pytest.mark.parametrize("step", [3, 16, *(pytest.param(number, marks=pytest.mark.long) for number in (4, 18))])
@pytest.mark.parametrize("make", [ragged, sparse, padded, looked_up, branches, of_seed, late])
def test_a_pipeline_that_has_changed_is_refused_and_one_that_has_not_goes_on(
    make: Callable[[int], Dataset], step: int, tmp_path: Path
) -> None:
    def start(k: int, **kinds: str) -> Loop:
        return make_loop(tmp_path, StreamData(make(k)), **kinds)

    start(1).run(steps=step)
    assert start(1).run(steps=step + 2).step == step + 2
    shutil.rmtree(tmp_path)
    start(1).run(steps=step)
    if make is late and step < 16:  # nobody can see so far ahead
        assert start(-1).run(steps=step + 1).step == step + 1
        return
    with pytest.raises(ValueError, match=r"Nothing was restored:\n  data: (the pipeline|for epoch \d)"):
        start(-1).run(steps=step + 1)
    with pytest.warns(UserWarning, match="The run goes on with other numbers: data: "):
        assert start(-1, changed="warn").run(steps=step + 1).step == step + 1


@pytest.mark.more
def test_another_version_of_what_traces_the_functions_is_no_other_function(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_loop(tmp_path, StreamData(late(1))).run(steps=17)
    monkeypatch.setattr(epochs, "PROGRAM", 7)
    assert make_loop(tmp_path, StreamData(late(-1))).run(steps=18).step == 18


def test_a_function_is_called_once_for_each_epoch_of_a_run_however_often_it_is_saved(tmp_path: Path) -> None:
    calls = tmp_path / "calls"  # no list: a function that holds what changes is called more often, to be looked at

    def of_epoch(epoch: int) -> Dataset:
        with open(calls, "a") as file:
            print(epoch, file=file)
        return Dataset.range(8).shuffle(8, seed=epoch).batch(2)

    make_loop(tmp_path / "run", StreamData(of_epoch)).run(epochs=3)
    # By the constructor, by the audit, for the epochs, and the last one because the run might go on.
    assert [*map(int, calls.read_text().split())] == [0] + [0, 1, 2, 1, 0] + [0, 1, 2] + [3]


@pytest.mark.more
def test_a_function_that_has_datasets_for_some_epochs_only_is_taken(tmp_path: Path) -> None:
    def data() -> StreamData:
        names = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
        return StreamData(lambda epoch: Dataset.from_tensor_slices(names[epoch]).batch(1))

    whole = make_loop(tmp_path / "whole", data())
    whole.run(epochs=2)
    for step in (3, 4, 6):
        make_loop(tmp_path / str(step), data()).run(steps=step)
        again = make_loop(tmp_path / str(step), data())
        assert (again.run(epochs=2).step, total(again)) == (6, total(whole))


def write(file: Path, k: int = 1) -> str:
    file.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(file)) as writer:
        for i in range(20):
            writer.write(str(i * k + 100).encode())
    return str(file)


def recorded(*files: str) -> Dataset:
    lines = Dataset.from_tensor_slices(list(files)).interleave(tf.data.TFRecordDataset)
    return lines.map(tf.strings.to_number).batch(2)


@pytest.mark.more
def test_the_same_files_elsewhere_are_the_same_data_and_others_of_that_name_and_size_are_not(tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    make_loop(saved, recorded(write(tmp_path / "job-1/a/x"), write(tmp_path / "job-1/b/x", 3))).run(steps=3)
    elsewhere = [write(tmp_path / "job-27/a/x"), write(tmp_path / "job-27/b/x", 3)]
    assert make_loop(saved, recorded(*elsewhere)).run(steps=4).step == 4
    with pytest.raises(ValueError, match="source data now in: TensorSlice"):
        make_loop(saved, recorded(*elsewhere[::-1])).run(steps=5)
    size = os.path.getsize(elsewhere[1])
    assert os.path.getsize(write(tmp_path / "job-27/b/x", 4)) == size
    with pytest.raises(ValueError, match="source data now in: TensorSlice"):
        make_loop(saved, recorded(*elsewhere)).run(steps=5)


def test_files_with_something_else_in_them_at_each_start_are_refused_until_they_are_written_once(
    tmp_path: Path,
) -> None:
    def data(*, once: bool) -> Dataset:
        if not once or not (tmp_path / "rows").exists():
            numbers = np.random.default_rng().random(20)
            (tmp_path / "rows").write_text("".join(f"{number}\n" for number in numbers))
        lines = Dataset.from_tensor_slices([str(tmp_path / "rows")]).flat_map(tf.data.TextLineDataset)
        return lines.map(tf.strings.to_number).batch(2)

    for once in (False, True):
        make_loop(tmp_path / str(once), data(once=once)).run(steps=3)
        loop = make_loop(tmp_path / str(once), data(once=once))
        if once:
            assert loop.run(steps=4).step == 4
        else:
            with pytest.raises(ValueError, match=r"writes its files anew at each start, .* only if they are not there"):
                loop.run(steps=4)


def test_texts_are_no_names_of_files_and_saved_datasets_may_be_moved(tmp_path: Path) -> None:
    def of(*texts: str) -> list[str]:
        return described(Dataset.from_tensor_slices(list(texts)))

    assert of("/a/x", "/a/y") != of("/b/x", "/b/y")
    for name in ("here", "there"):
        Dataset.range(5).save(str(tmp_path / name))
    Dataset.range(500).save(str(tmp_path / "more"))
    loaded = [described(Dataset.load(str(tmp_path / name))) for name in ("here", "there", "more")]
    assert loaded[0] == loaded[1] != loaded[2]


@pytest.mark.more
@pytest.mark.parametrize(
    ("data", "line"),
    [
        (lambda k: ArrayData(np.arange(4.0) + k, batch_size=2, seed=1), "the arrays have other values"),
        (lambda k: ArrayData(np.arange(4.0 + k), batch_size=2, seed=1), "rows was 4 in the checkpoint and is 5 now"),
        (lambda k: Dataset.range(4).map(lambda x: x * (k + 1)), "the pipeline has other arguments"),
    ],
    ids=["arrays", "rows", "stream"],
)
def test_other_validation_data_are_refused_or_a_warning(data: Callable[[int], Data], line: str, tmp_path: Path) -> None:
    def start(k: int, **kinds: str) -> Loop:
        return make_loop(tmp_path, Dataset.range(20).batch(2), evaluated=data(k), **kinds)

    start(0).run(steps=13)
    assert start(0).run(steps=14).step == 14
    with pytest.raises(ValueError, match=f"Nothing was restored:\n  data of evaluation 'val': (?s:.*){line}"):
        start(1).run(steps=15)
    with pytest.warns(UserWarning, match="The run goes on with other numbers: data of evaluation 'val'"):
        assert start(1, changed="warn").run(steps=15).step == 15
    assert make_loop(tmp_path, Dataset.range(20).batch(2)).run(steps=16).step == 16  # without any


def test_what_differs_in_each_process_is_said_to_lack_a_seed(tmp_path: Path) -> None:
    def data() -> Dataset:
        return Dataset.from_tensor_slices(np.random.default_rng().random(20)).batch(2)  # as Keras orders images

    make_loop(tmp_path, data()).run(steps=3)
    with pytest.raises(ValueError, match=r"TensorSlice; or, if the program is the same.*keras.utils.set_random_seed"):
        make_loop(tmp_path, data()).run(steps=4)


def extractor(value: float = 2.0) -> tf.Variable:
    return tf.Variable([value], name="extractor")


@pytest.mark.more
def test_a_variable_that_is_only_read_in_a_pipeline_is_taken_if_the_data_are_read_again(tmp_path: Path) -> None:
    def data(variable: tf.Variable, resume: str = "replay") -> StreamData:
        def of_epoch(epoch: int) -> Dataset:
            rows = Dataset.range(8).shuffle(8, seed=epoch)
            return rows.map(lambda x: tf.cast(x, tf.float32) * tf.gather(variable, 0) * variable[0]).batch(2)

        return StreamData(of_epoch, resume=resume)

    frozen = [extractor() for _ in range(4)]
    whole = make_loop(tmp_path / "whole", data(frozen[0]))
    whole.run(epochs=3)
    make_loop(tmp_path / "cut", data(frozen[1])).run(steps=6)
    again = make_loop(tmp_path / "cut", data(frozen[2]))
    again.run(epochs=3)
    assert total(again) == total(whole)
    make_loop(tmp_path / "other", data(frozen[3])).run(steps=6)
    with pytest.raises(ValueError, match="the variables that the pipeline reads begin with other values"):
        make_loop(tmp_path / "other", data(other := extractor(3.0))).run(steps=7)
    with pytest.raises(InexactRun, match=r"TensorFlow does not save an iterator that does(?s:.*)resume='replay'"):
        make_loop(tmp_path / "state", data(other, "state")).run(steps=7)
    loop = make_loop(tmp_path / "hook", data(other))

    @loop.on(Event.STEP_END, Every(steps=1))
    def change(moment: Moment) -> None:
        other.assign_add([1.0])

    said = "A hook, or another thread, has changed what functions of the data read: extractor"
    with pytest.raises(InexactRun, match=f"{said}(?s:.*)Read it in the step"):
        loop.run(epochs=2)
    assert loop.step == 4


def test_a_variable_that_a_step_changes_is_refused_in_a_pipeline(tmp_path: Path) -> None:
    variable = tf.Variable(tf.zeros([8]))
    rows = StreamData(Dataset.range(8).map(lambda i: tf.gather(variable, i)), resume="replay")
    loop = Loop(lambda x: {"x": variable.assign_add(tf.ones([8]))[0] + x}, rows, state={"variable": variable})
    (finding,) = loop.audit()
    assert "read a variable that a step changes" in finding.what
    assert finding.instead == "Read it in the step."


@pytest.mark.more
def test_a_thousand_stages_and_one_that_is_used_ever_again_are_looked_at_in_no_time() -> None:
    many = Dataset.range(1)
    for _ in range(1200):
        many = many.concatenate(Dataset.range(1))
    assert len(described(many)) == 2401
    assert StreamData(many.batch(2)).findings("The data") == []
    twice = Dataset.range(60).shuffle(60, seed=1)
    for _ in range(40):
        twice = Dataset.zip(twice, twice.skip(1)).map(lambda a, b: a + b)
    assert len(list(stages(twice))) == 2 + 3 * 40
    (finding,) = StreamData(twice).findings("The data")
    assert finding.what == "The data have more than 5000 stages, as each is counted wherever it is used"


def test_which_of_two_stages_is_used_again_is_seen() -> None:
    a, b = Dataset.range(3), Dataset.range(4)
    assert described(a.concatenate(b).concatenate(a)) != described(a.concatenate(b).concatenate(b))


@pytest.mark.more
def test_tables_with_keys_that_are_vectors_and_defaults_of_any_rank_are_looked_at() -> None:
    dense = tf.lookup.experimental.DenseHashTable(
        tf.int64, tf.int64, default_value=-1, empty_key=[-1, -1], deleted_key=[-2, -2]
    )
    (finding,) = StreamData(Dataset.from_tensor_slices(np.ones([4, 1, 2], "int64")).map(dense.lookup)).findings("D")
    assert "in a table that can change" in finding.what
    constants = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(["a"], tf.constant([0], tf.int64)), 3)

    @tf.function(input_signature=[tf.TensorSpec(None, tf.string), tf.TensorSpec(None, tf.int64)])
    def find(keys: tf.Tensor, default: tf.Tensor) -> tf.Tensor:
        return tf.raw_ops.LookupTableFindV2(table_handle=constants.resource_handle, keys=keys, default_value=default)

    rows = Dataset.from_tensor_slices(["a", "z"]).map(lambda x: find(x, tf.constant(7, tf.int64)))
    assert StreamData(rows.batch(2)).findings("D") == []


@pytest.mark.more
def test_what_is_read_for_the_audit_fills_no_cache(tmp_path: Path) -> None:
    def data(wrapped: bool) -> StreamData:
        rows = generated(lambda: iter(map(float, range(16)))) if wrapped else Dataset.range(16)
        return StreamData(rows.shuffle(16, seed=1).cache().batch(4), resume="replay")

    loops = [make_loop(tmp_path / str(wrapped), data(wrapped)) for wrapped in (True, False)]
    for loop in loops:
        loop.run(epochs=2)
    assert total(loops[0]) == total(loops[1])


def test_a_function_may_be_called_before_the_process_is_seeded() -> None:
    tf.random.set_seed(5)
    data = StreamData(lambda epoch: tf.data.Dataset.range(20).shuffle(20, seed=100 + epoch).batch(4))
    tf.random.set_seed(6)
    assert data.findings("The data") == []
