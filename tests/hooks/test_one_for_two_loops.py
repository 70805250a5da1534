"""A hook, a copy of one, or a place to write to that two loops have: refused, or told, and never in silence."""

import concurrent.futures
import copy
import logging
import threading
from collections.abc import Callable
from pathlib import Path

import keras
import pytest
import tensorflow as tf
from tiny import make_counter, make_loop, model

from hooks import Checkpoint, EarlyStopping, KerasCallbacks, MetricsLog, TensorBoard, TimeBudget
from loop import Event, Every, Hook, Loop, Moment
from loop.listeners import had


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


class Sees(Hook):
    """Has something of the program's."""

    def __init__(self, thing: object) -> None:
        super().__init__()
        self.thing = thing

    def on_epoch_end(self, moment: Moment) -> None: ...


class Counts(Sees):
    """Has a state of its own."""

    def __init__(self) -> None:
        super().__init__(None)
        self.epochs = tf.Variable(0)

    def on_epoch_end(self, moment: Moment) -> None:
        self.epochs.assign_add(1)


class Within(Hook):
    """Runs another loop at the end of the first epoch."""

    def __init__(self, other: Loop) -> None:
        super().__init__()
        self.run_other = other.run

    def on_epoch_end(self, moment: Moment) -> None:
        self.run_other(epochs=1)


HOOKS: dict[str, Callable[[Path], Hook]] = {
    "state": lambda path: EarlyStopping("loss", mode="min", patience=9),
    "files": lambda path: TensorBoard(path / "board"),
    "own state": lambda path: Counts(),
}


@pytest.mark.parametrize("kind", ["state", *(pytest.param(kind, marks=pytest.mark.more) for kind in [*HOOKS][1:])])
def test_a_hook_cannot_be_in_two_runs_at_once(kind: str, tmp_path: Path) -> None:
    hook = HOOKS[kind](tmp_path)
    other = make_counter([hook])
    with pytest.raises(
        RuntimeError,
        match=rf"{hook.name}' is in a run of another loop that is under way.* a new {type(hook).__name__}\(",
    ):
        make_counter([hook, Within(other)]).run(epochs=2)
    assert make_counter([hook]).run(epochs=1).epoch == 1  # when the others have ended
    assert (
        make_counter([Within(make_counter([HOOKS[kind](tmp_path / "2")])), HOOKS[kind](tmp_path / "3")])
        .run(epochs=1)
        .epoch
        == 1
    )


def test_one_that_is_taken_out_of_a_run_may_be_in_another() -> None:
    counts = Counts()
    outer, inner = make_counter([counts]), make_counter([counts])

    @outer.on(Event.EPOCH_END)
    def hand_over(moment: Moment) -> None:
        if counts in outer.hooks:
            outer.hooks.remove("counts")
            inner.run(epochs=2)

    outer.run(epochs=2)
    assert int(counts.epochs) == 3


def test_nor_can_a_callback() -> None:
    callback = keras.callbacks.EarlyStopping("loss", mode="min", patience=3)
    other = make_counter([callback])
    message = (
        r"A callback of hook 'keras_callbacks' is in a run of another loop .* Give this Loop a new EarlyStopping\("
    )
    with pytest.raises(RuntimeError, match=message):
        make_counter([callback, Within(other)]).run(epochs=9)
    assert [loop.run(epochs=9).epoch for loop in (other, make_counter([callback]))] == [4, 4]  # one after the other


def test_what_an_interrupted_run_has_left_keeps_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(dict):
        left = 1

        def pop(self, *args: object) -> object:
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt
            return super().pop(*args)

    monkeypatch.setattr(had, "RUNNING", Interrupted())
    counts = Counts()
    loop = make_counter([counts])
    with pytest.raises(KeyboardInterrupt):
        loop.run(epochs=1)
    left = {**had.RUNNING}
    assert left
    assert loop.run(epochs=2).epoch == 2
    had.RUNNING.update(left)
    assert make_counter([counts]).run(epochs=1).epoch == 1


@pytest.mark.more
def test_nor_in_two_threads(tmp_path: Path) -> None:
    counts, inside, go_on = Counts(), threading.Event(), threading.Event()
    first = make_counter([counts])

    @first.on(Event.RUN_BEGIN)
    def wait(moment: Moment) -> None:
        inside.set()
        assert go_on.wait(60)

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        run = pool.submit(first.run, epochs=2)
        assert inside.wait(60)
        with pytest.raises(RuntimeError, match="'counts' is in a run of another loop that is under way"):
            make_counter([counts]).run(epochs=2)
        go_on.set()
        assert run.result().epoch == int(counts.epochs) == 2


def test_a_hook_without_anything_of_a_run_may_be_in_both() -> None:
    seen = list[int]()

    class Looks(Hook):
        def on_epoch_end(self, moment: Moment) -> None:
            seen.append(moment.step)

    looks = Looks()
    make_counter([looks, Within(make_counter([looks]))]).run(epochs=1)
    assert seen == [7, 7]


def test_loops_that_have_a_hook_in_turns_are_told_each_time(caplog: pytest.LogCaptureFixture) -> None:
    counts = Counts()
    loops = [make_counter([counts]) for _ in range(2)]
    for epochs in (1, 2):
        for loop in loops:
            loop.run(epochs=epochs)
    assert [said.partition(",")[0] for said in told(caplog)] == ["Hook 'counts' was in a run of another loop"] * 3


@pytest.mark.parametrize("of", ["model", "optimizer", "list"])
def test_a_copy_that_would_have_another_model_is_refused(of: str) -> None:
    thing = {"model": model(), "optimizer": keras.optimizers.SGD(), "list": [{"a": model()}]}[of]
    with pytest.raises(
        TypeError, match=r"A copy of this Sees would have a copy of '.*', which is not what is trained\. Make"
    ):
        copy.deepcopy(Sees(thing))
    with pytest.raises(TypeError, match="A copy of this Sees would have a copy of"):
        copy.deepcopy([Counts(), Sees(thing)])
    _, both = copy.deepcopy((thing, Sees(thing)))  # who copies the model as well wants that
    assert isinstance(both, Sees)


@pytest.mark.parametrize("make", [lambda: EarlyStopping("loss", mode="min", patience=1, restore_best="state"), Counts])
def test_a_copy_is_a_hook_of_its_own(make: Callable[[], Hook]) -> None:
    hook = make()
    with pytest.raises(TypeError, match="would have the same variables"):
        copy.copy(hook)
    copies = copy.deepcopy([hook, hook])
    assert copies[0] is copies[1]
    one, other = make_counter([hook]), make_counter([copies[0]])
    assert one.run(epochs=3).step == other.run(epochs=3).step
    assert [v.numpy().tolist() for v in hook.variables] == [v.numpy().tolist() for v in copies[0].variables]
    assert not {*map(id, hook.variables)} & {*map(id, copies[0].variables)}
    with pytest.raises(
        TypeError, match=r"was in a run, and a copy would go on with what it has seen there\. Make another"
    ):
        copy.deepcopy(hook)


@pytest.mark.more
def test_a_copy_of_callbacks_keeps_what_they_keep() -> None:
    def make() -> KerasCallbacks:
        return KerasCallbacks([keras.callbacks.EarlyStopping("loss", patience=1)])

    assert make_loop([copy.deepcopy(make())]).run(epochs=3).step == make_loop([make()]).run(epochs=3).step


def test_a_hook_that_writes_for_another_loop_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = MetricsLog(tmp_path / "a.csv", Every(steps=1))
    make_counter([rows]).run(steps=4)
    other = make_counter([copy.copy(rows)])
    other.run(steps=2)  # a training that begins anew, with a hook of its own
    other.run(steps=3)
    assert told(caplog) == []
    make_counter([rows]).run(steps=2)
    (said,) = told(caplog)
    path = tmp_path / "a.csv"
    assert said.startswith(f"metrics_log: another loop of this process has written to '{path}', and this one begins")


def test_a_cell_that_is_run_twice_with_a_dry_run_in_it_is_not_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        loop = make_counter([MetricsLog(tmp_path / "a.csv", Every(steps=1))])
        loop.dry_run()
        loop.run(steps=2)
    assert told(caplog) == []


@pytest.mark.more
def test_loops_that_write_in_turns_to_one_place_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    loops = [make_counter([TensorBoard(tmp_path)]) for _ in range(2)]
    for steps in (2, 4):
        for loop in loops:
            loop.run(steps=steps)
    assert [said.partition(f"'{tmp_path}'")[2].partition(".")[0] for said in told(caplog)] == [" since", " since"]


@pytest.mark.more
def test_a_run_that_goes_on_from_a_checkpoint_of_another_loop_writes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for steps in (2, 4):
        loop = make_counter([MetricsLog(tmp_path / "a.csv", Every(steps=1)), Checkpoint(tmp_path / "c")])
        loop.dry_run()
        loop.run(steps=steps)
    assert told(caplog) == []
    assert (tmp_path / "a.csv").read_text().count("\nstep,") == 4


def test_a_place_of_a_loop_that_is_running_is_refused(tmp_path: Path) -> None:
    other = make_counter([TensorBoard(tmp_path)])
    with pytest.raises(
        ValueError,
        match=r"'tensor_board' would write to .*, and so does a loop that is running\. Give each a directory",
    ):
        make_counter([TensorBoard(tmp_path), TimeBudget(hours=1.0), Within(other)]).run(epochs=2)
