"""What is saved in the background is the state as it was when the save was asked for, whatever it is made of."""

import gc
import weakref
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import nursery
import pytest
import tensorflow as tf

from hooks import Checkpoint, restore
from hooks.checkpoint.saving import bundle as bundles
from hooks.checkpoint.saving.bundle import Bundle, Naming
from hooks.checkpoint.saving.saver import digest
from hooks.checkpoint.saving.snapshot import Snapshot, StandIn
from loop import ArrayData, At, Event, Every, Hook, Loop, Moment
from loop.tf_internals import OBJECT_GRAPH, TrackableObjectGraph

COUNTER = "save_counter"


def words() -> tuple[object, Callable[[], object]]:
    layer = keras.layers.TextVectorization()
    layer.adapt(["a b c"])
    return layer, layer.get_vocabulary


def mutable_table() -> tuple[object, Callable[[], object]]:
    table = tf.lookup.experimental.MutableHashTable(tf.int64, tf.int64, default_value=-1)
    table.insert(tf.constant([1, 2], tf.int64), tf.constant([3, 4], tf.int64))
    return table, lambda: sorted(table.export()[1].numpy().tolist())


def dense_table() -> tuple[object, Callable[[], object]]:
    kinds = {"key_dtype": tf.int64, "value_dtype": tf.int64, "empty_key": -1, "deleted_key": -2}
    table = tf.lookup.experimental.DenseHashTable(**kinds, default_value=-1)
    table.insert(tf.constant([5], tf.int64), tf.constant([6], tf.int64))
    return table, lambda: int(table.lookup(tf.constant(5, tf.int64)))


def iterator() -> tuple[object, Callable[[], object]]:
    numbers = iter(tf.data.Dataset.range(100).shuffle(100, seed=1))
    next(numbers)
    return numbers, lambda: [int(next(numbers)) for _ in range(5)]


class Counted(tf.train.experimental.PythonState):
    def __init__(self) -> None:
        self.count = 7

    def serialize(self) -> str:
        return str(self.count)

    def deserialize(self, string_value: bytes) -> None:
        self.count = int(string_value)


def python_state() -> tuple[object, Callable[[], object]]:
    state = Counted()
    return state, lambda: state.count


def variables() -> tuple[object, Callable[[], object]]:
    kinds = [
        tf.bool,
        tf.int8,
        tf.uint64,
        tf.float16,
        tf.bfloat16,
        tf.float64,
        tf.complex64,
        tf.dtypes.experimental.float8_e4m3fn,
    ]
    made = [tf.Variable(tf.cast(tf.constant([[0.0, 1.0], [1.0, 0.0]]), kind)) for kind in kinds]
    made += [tf.Variable(["text", ""]), tf.Variable(tf.zeros([0, 3]))]
    return made, lambda: [digest(variable.read_value()) for variable in made]


def make_loop(*hooks: Hook, given: object) -> Loop:
    counter = tf.Variable(0.0)

    def step(batch: tf.Tensor) -> dict[str, tf.Tensor]:
        counter.assign_add(tf.reduce_mean(batch))
        return {"loss": counter.read_value()}

    data = ArrayData(np.arange(40.0, dtype=np.float32), batch_size=4, seed=1)
    return Loop(step, data, state={"counter": counter, "given": given}, hooks=hooks)


@pytest.mark.more
@pytest.mark.parametrize("make", [words, mutable_table, dense_table, iterator, python_state, variables])
def test_anything_that_tensorflow_can_save_is_restored(
    make: Callable[[], tuple[object, Callable[[], object]]], tmp_path: Path
) -> None:
    given, value = make()
    make_loop(Checkpoint(tmp_path), given=given).run(steps=4)
    saved = value()
    again, value_again = make()
    if isinstance(again, Counted):
        again.count = 0
    if isinstance(again, tf.lookup.experimental.MutableHashTable):
        again.insert(tf.constant([1], tf.int64), tf.constant([9], tf.int64))
    loop = make_loop(Checkpoint(tmp_path, resume="must"), given=again)
    loop.run(steps=5)
    assert value_again() == saved


def test_a_dense_table_is_held_as_it_was() -> None:
    """What it exports is the memory that it goes on writing to."""
    table, value = dense_table()
    loop = make_loop(given=table)
    loop.audit()
    snapshot = Snapshot(loop.state)
    snapshot.take()
    table.insert(tf.constant([5], tf.int64), tf.constant([7], tf.int64))
    (held,) = [leaf.held for leaf in snapshot.leaves if "-keys" in leaf.held]
    assert value() == 7
    assert sorted(np.concatenate([tensor.numpy().ravel() for tensor in held.values()]))[-2:] == [5, 6]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (tf.constant([1.0, 2.0]), tf.constant([1.0, 2.0000002])),
        (tf.constant([0.0]), tf.constant([-0.0])),
        (tf.constant([[1, 2]]), tf.constant([[1], [2]])),
        (tf.constant([1], tf.int32), tf.constant([1], tf.uint32)),
        (tf.constant(["ab", "c"]), tf.constant(["a", "bc"])),
        (tf.constant("a"), tf.constant(["a"])),
    ],
)
def test_digests_of_what_is_not_the_same_differ(one: tf.Tensor, other: tf.Tensor) -> None:
    assert digest(one) == digest(tf.identity(one))
    assert digest(one) != digest(other)


@pytest.mark.crash
def test_a_value_of_more_than_two_gigabytes_has_a_digest() -> None:
    assert digest(tf.zeros([2**31 + 8], tf.uint8)) != digest(tf.zeros([2**31 + 9], tf.uint8))


def test_no_value_is_held_when_it_is_written_or_could_not_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither by the snapshot nor by an error: or each failed save would cost the memory of the state."""
    hook, held = Checkpoint(tmp_path, Every(steps=1), on_error="warn"), list[weakref.ref]()
    loop = make_loop(hook, given=tf.Variable(tf.ones([100])))

    @loop.on(Event.SETTLED)
    def look(moment: Moment) -> None:
        saver = hook._saver
        take = saver._snapshot.take

        def taken() -> None:
            take()
            held.extend(weakref.ref(value) for value in saver._snapshot.values.values())

        saver._snapshot.take = taken
        if moment.step == 3:
            monkeypatch.setattr(saver._store, "commit", fail)

    def fail(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    gc.collect()
    gc.disable()
    try:
        with pytest.raises(OSError, match="No space left"):
            loop.run(steps=8)
    finally:
        gc.enable()
    assert len(held) > 8 * len(loop.state.variables)
    assert [ref() for ref in held if ref() is not None] == []


class Replacing(Hook):
    every = Every(steps=1)

    def __init__(self) -> None:
        super().__init__()
        self.seen = tf.Variable(0)

    def on_step_end(self, moment: Moment) -> None:
        self.seen = tf.Variable(moment.step)


def test_a_variable_of_a_hook_cannot_be_replaced_unnoticed() -> None:
    with pytest.raises(TypeError, match=r"Replacing\.seen is a variable.*Write self\.seen\.assign\(\.\.\.\)"):
        make_loop(Replacing(), given=tf.Variable(0.0)).run(steps=2)


class Late(Hook):
    def on_setup(self, loop: Loop, moment: Moment) -> None:
        self.late = tf.Variable(0)


@pytest.mark.parametrize("late_first", [True, False])
def test_a_variable_made_too_late_is_refused_wherever_the_hook_stands(late_first: bool, tmp_path: Path) -> None:
    hooks = [Late(), Checkpoint(tmp_path)]
    with pytest.raises(RuntimeError, match=r"made (variables )?in on_setup"):
        make_loop(*(hooks if late_first else reversed(hooks)), given=tf.Variable(0.0)).run(steps=2)


def test_what_another_line_of_training_has_left_is_set_aside(tmp_path: Path) -> None:
    make_loop(Checkpoint(tmp_path, Every(steps=1)), given=tf.Variable(100.0)).run(steps=9)
    loop = make_loop(given=tf.Variable(1.0))
    loop.run(steps=3)
    loop.hooks.add(Checkpoint(tmp_path, Every(steps=1)))
    loop.run(steps=6)
    assert sorted(path.stem for path in tmp_path.glob("*.json")) == ["ckpt-4", "ckpt-5", "ckpt-6"]
    assert {path.stem for path in tmp_path.glob("set-aside-1/*.json")} == {"ckpt-7", "ckpt-8", "ckpt-9"}
    given = tf.Variable(0.0)
    make_loop(Checkpoint(tmp_path), given=given).run(steps=7)
    assert float(given) == 1.0


def test_checkpoints_of_tensorflows_own_manager_are_not_removed(tmp_path: Path) -> None:
    manager = tf.train.CheckpointManager(tf.train.Checkpoint(mine=tf.Variable(1.0)), str(tmp_path), max_to_keep=5)
    for _ in range(3):
        manager.save()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    loop = make_loop(Checkpoint(tmp_path), given=tf.Variable(0.0))
    with pytest.raises(UserWarning, match=r"(?s)no checkpoint is whole; nothing was changed:.*ckpt-1.json"):
        loop.run(steps=2)
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.name != ".lock"}
    assert {name: after[name] for name in before if name != "checkpoint"} == {
        name: content for name, content in before.items() if name != "checkpoint"
    }


def test_a_part_of_the_state_is_restored_by_whatever_path_it_was_saved(tmp_path: Path) -> None:
    def build() -> dict[str, keras.Model]:
        generator = keras.Sequential([keras.Input([2]), keras.layers.Dense(2)])
        judge = keras.Sequential([keras.Input([2]), keras.layers.Dense(1)])
        return {"a": generator, "b": judge, "both": keras.Sequential([generator, judge])}

    state = build()
    state["both"].build([None, 2])
    weights = [value.tobytes() for value in state["both"].get_weights()]
    make_loop(Checkpoint(tmp_path), given=state).run(steps=1)
    loop = Loop(
        lambda batch: {"loss": tf.reduce_mean(batch)},
        ArrayData(np.zeros([4], np.float32), batch_size=4),
        state=dict(state),
        hooks=[Checkpoint(tmp_path / "parts")],
    )
    loop.run(steps=1)
    for keys in (["both"], ["b", "both"], ["a"], ["a", "b"]):
        fresh = build()
        fresh["both"].build([None, 2])
        restore(tmp_path / "parts", {key: fresh[key] for key in keys})
        found = [value.tobytes() for value in fresh["both"].get_weights()]
        assert found[: 2 if keys == ["a"] else 4] == weights[: 2 if keys == ["a"] else 4]


THREAD = """
import sys, threading
import numpy as np, tensorflow as tf
from hooks import Checkpoint
from loop import ArrayData, Every, Loop

counter = tf.Variable(0.0)
data = ArrayData(np.ones([40], np.float32), batch_size=4)
def step(batch):
    counter.assign_add(tf.reduce_mean(batch))
    return {"loss": counter.read_value()}
loop = Loop(step, data, state={"counter": counter}, hooks=[Checkpoint(sys.argv[1], Every(steps=2))])
threading.Thread(target=lambda: print(loop.run(steps=8).step)).start()  # and the main thread is at its end
"""


def test_a_run_in_a_thread_is_saved_when_the_main_thread_has_ended(tmp_path: Path) -> None:
    done = nursery.run("-c", THREAD, tmp_path)
    assert (done.stdout, done.returncode) == ("8\n", 0), done.stderr
    assert sorted(path.stem for path in tmp_path.glob("*.json")) == ["ckpt-4", "ckpt-6", "ckpt-8"]


def test_a_hook_that_saves_cannot_be_removed_from_a_run_under_way(tmp_path: Path) -> None:
    loop = make_loop(Checkpoint(tmp_path), given=tf.Variable(0.0))

    @loop.on(Event.STEP_END, every=At(3))
    def remove(moment: Moment) -> None:
        with pytest.raises(RuntimeError, match="'checkpoint' saves the state of the run that is under way"):
            loop.hooks.remove("checkpoint")

    loop.run(steps=4)
    assert (tmp_path / "ckpt-4.json").exists()
    loop.hooks.remove("checkpoint")


def test_a_hook_may_remove_the_one_after_it_in_the_same_event() -> None:
    loop, heard = make_loop(given=tf.Variable(0.0)), list[str]()

    @loop.on(Event.RUN_BEGIN)
    def first(moment: Moment) -> None:
        loop.hooks.remove("second")

    @loop.on(Event.RUN_BEGIN)
    def second(moment: Moment) -> None:
        heard.append("second")

    assert (loop.run(steps=1).step, heard) == (1, [])


def test_a_state_of_too_many_variables_is_refused_before_the_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hooks.checkpoint.record.limit.SMALL", 1000)
    monkeypatch.setattr("hooks.checkpoint.record.limit.TIMES", 0)
    loop = make_loop(Checkpoint(tmp_path / "new"), given=[tf.Variable(0.0) for _ in range(20)])
    with pytest.raises(ValueError, match=r"of \d+ variables in about 1,000 bytes\. Received: one that takes"):
        loop.run(steps=1)
    assert not (tmp_path / "new").exists()


def test_what_is_in_the_place_of_tensorflows_temporary_directory_is_not_written_into(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run" / "ckpt-4_temp").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "mine").touch()
    loop = make_loop(Checkpoint(tmp_path / "run"), given=tf.Variable(0.0))
    loop.run(steps=4)
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["mine"]
    assert not (tmp_path / "run" / "ckpt-4_temp").is_symlink()


def test_the_files_are_those_that_tensorflow_writes_of_such_a_graph(tmp_path: Path) -> None:
    """Under the same names, with the same values and the same graph; also of what says each time what there is."""
    kinds = [words, mutable_table, dense_table, iterator, python_state, variables]
    loop = make_loop(given={make.__name__: make()[0] for make in kinds})
    loop.audit()
    snapshot = Snapshot(loop.state)
    bundle = Bundle(snapshot)
    ordinary = tf.train.Checkpoint(**{name: each for name, each in snapshot.root.children.items() if name != COUNTER})
    for count in (1, 2):
        loop.state.variables["position/step"].assign(count)
        ordinary.save_counter.assign(count)
        snapshot.take()
        bundle.write(f"{tmp_path}/ours-{count}")
        ordinary.write(f"{tmp_path}/theirs-{count}")
        snapshot.drop()
        ours, theirs = (tf.train.load_checkpoint(f"{tmp_path}/{whose}-{count}") for whose in ("ours", "theirs"))
        dtypes = ours.get_variable_to_dtype_map()
        assert dtypes == theirs.get_variable_to_dtype_map()
        assert len(dtypes) > 30
        plain = [name for name, dtype in dtypes.items() if dtype != tf.variant and name != OBJECT_GRAPH]
        assert {name: digest(ours.get_tensor(name)) for name in plain} == {
            name: digest(theirs.get_tensor(name)) for name in plain
        }
        assert ours.get_tensor(f"{COUNTER}/.ATTRIBUTES/VARIABLE_VALUE") == count
        graphs = [TrackableObjectGraph.FromString(each.get_tensor(OBJECT_GRAPH)) for each in (ours, theirs)]
        one, other = (
            sorted(
                (
                    sorted(each.local_name for each in node.children),
                    [(each.name, each.checkpoint_key) for each in node.attributes],
                )
                for node in graph.nodes
            )
            for graph in graphs
        )
        assert one == other


def test_names_are_found_again_only_where_the_graph_has_another_shape(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a loop that is run again, not; what is written is what a bundle by itself would write."""
    found, searched = list[StandIn](), bundles.named_tensors

    def searching(root: StandIn) -> tuple[dict[str, tf.Tensor], bytes]:
        found.append(root)
        return searched(root)

    monkeypatch.setattr(bundles, "named_tensors", searching)
    naming, kinds, counts = Naming(), [words, mutable_table, iterator, python_state, variables], list[int]()
    for number, chosen in enumerate([kinds, kinds, kinds[1:], kinds[::-1], kinds[::-1]]):
        loop = make_loop(given={make.__name__: make()[0] for make in chosen})
        loop.audit()
        snapshot = Snapshot(loop.state)
        snapshot.take()
        for whose, bundle in (("ours", Bundle(snapshot, naming)), ("its", Bundle(snapshot))):
            before = len(found)
            bundle.write(f"{tmp_path}/{whose}-{number}")
            counts.append(len(found) - before)
        ours, its = (tf.train.load_checkpoint(f"{tmp_path}/{whose}-{number}") for whose in ("ours", "its"))
        kinds_of = ours.get_variable_to_dtype_map()
        assert kinds_of == its.get_variable_to_dtype_map()
        plain = [name for name, dtype in kinds_of.items() if dtype != tf.variant]
        assert [digest(ours.get_tensor(name)) for name in plain] == [digest(its.get_tensor(name)) for name in plain]
    assert counts == [1, 1, 0, 1, 1, 1, 1, 1, 0, 1]
