"""Variables that hooks change and no checkpoint holds are warned of, and no others."""

import csv
import functools
import io
import logging
import os
import random
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from hooks import Checkpoint
from loop import ArrayData, At, Every, Halt, Hook, Loop, Moment
from loop.running.unsaved.variables import Unsaved
from loop.workers.cluster import Workers, become, here

SAID = "changes what no checkpoint holds"


def make(directory: Path | None = None, hooks: Sequence[Hook] = (), **state: object) -> Loop:
    """Returns a loop of two steps an epoch."""
    weight = tf.Variable(1.0, name="weight")
    return Loop(
        lambda x: {"weight": weight.assign_add(tf.reduce_sum(x))},
        ArrayData(tf.range(2.0), batch_size=1, seed=1),
        state={"weight": weight, **state},
        hooks=[*hooks, *([Checkpoint(directory)] if directory else [])],
    )


def said(loop: Loop, caplog: pytest.LogCaptureFixture, epochs: int = 2) -> list[str]:
    caplog.clear()
    loop.run(epochs=epochs)
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


@tf.function
def noise() -> tf.Tensor:
    return tf.random.normal([])


@tf.function
def seeded_noise(generator: tf.random.Generator) -> tf.Tensor:
    return generator.normal([])


class Noisy(keras.callbacks.Callback):
    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        noise()


def test_what_a_hook_draws_in_a_compiled_function_is_named_and_the_remedies_are_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    begins = " draws from a stream that cannot be saved: "
    for hooks in ([], [Noisy()]):
        loop = make(tmp_path / f"{len(hooks)}", hooks=hooks)  # type: ignore[arg-type]
        if not hooks:
            loop.on("epoch_end")(lambda moment: noise())
        (warning,) = said(loop, caplog)
        name = "keras_callbacks" if hooks else "on_epoch_end"
        assert warning.startswith(f"Hook {name!r}{begins}RandomStandardNormal, at ")
        assert "return tf.random.normal([]). A run that goes on from a checkpoint" in warning

    class Remedied(Hook):
        def __init__(self) -> None:
            super().__init__()
            self.generator = tf.random.Generator.from_seed(1)

        def on_epoch_end(self, moment: Moment) -> None:
            seeded_noise(self.generator)
            tf.random.normal([])

    assert said(make(tmp_path / "remedied", hooks=[Remedied()]), caplog) == []


def averaging(average: Sequence[tf.Variable]) -> Callable[[Moment], None]:
    def update(moment: Moment) -> None:
        average[0].assign(0.9 * average[0] + moment.logs["weight"])

    return update


def test_an_average_that_only_a_hook_has_is_named_and_the_remedy_works(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    average = [tf.Variable(0.0, name="average")]
    loop = make(tmp_path / "lost")
    loop.on("step_end", every=Every(steps=1))(averaging(average))
    (warning,) = said(loop, caplog)
    assert warning.startswith(f"Hook 'update' {SAID}: average:0  shape (), float32. A run that goes on from a")
    assert said(loop, caplog, 3) != []  # each run says it
    given = make(tmp_path / "given", average=average)
    given.on("step_end", every=Every(steps=1))(averaging(average))
    assert said(given, caplog) == []


class Average(Hook):
    """Has an average of its own, from the beginning or made when it is wanted."""

    def __init__(self, *, late: bool) -> None:
        super().__init__()
        self.average = [] if late else [tf.Variable(0.0)]

    def on_epoch_end(self, moment: Moment) -> None:
        if not self.average:
            self.average = [tf.Variable(0.0)]
        self.average[0].assign_add(moment.logs["weight"])


def test_what_a_hook_makes_too_late_is_named_as_soon_as_it_changes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert said(make(tmp_path / "set", [Average(late=False)]), caplog, 3) == []
    (warning,) = said(make(tmp_path / "late", [Average(late=True)]), caplog, 3)
    assert warning.startswith(f"Hook 'average' {SAID}: Variable:0  shape (), float32.")


def test_what_is_lost_by_nobody_is_not_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    average, mean, still = tf.Variable(0.0), keras.metrics.Mean(), tf.Variable(1.0)

    def use(moment: Moment) -> None:
        mean.reset_state()
        mean.update_state(still)

    loop = make(tmp_path)
    loop.on("epoch_end")(use)
    assert said(loop, caplog) == []
    loop = make(None)  # nothing is saved, and so nothing is resumed
    loop.on("step_end", every=Every(steps=1))(averaging([average]))
    assert said(loop, caplog) == []


def test_a_comparison_of_two_runs_has_them_and_what_python_holds(tmp_path: Path) -> None:
    losses, average = list[float](), [tf.Variable(0.0, name="average")]

    class Counts(Hook):
        def __init__(self) -> None:
            super().__init__()
            self.count = 0

        def on_epoch_end(self, moment: Moment) -> None:
            self.count += 1
            losses.append(moment.logs["weight"])
            average[0].assign_add(1.0)

    loop = make(tmp_path, [Counts()])
    loop.run(epochs=1)
    variables, python = loop.unsaved()
    loop.run(epochs=2)
    for then, now, names in zip((variables, python), loop.unsaved(), (OF_VARIABLES, OF_PYTHON), strict=True):
        assert {name for name in now if now[name] != then[name]} == names


class Waits(Hook):
    """As a callback of Keras would count."""

    def __init__(self) -> None:
        super().__init__()
        self.best, self.wait, self.began, self.seen = float("inf"), 0, 0, list[float]()

    def on_epoch_begin(self, moment: Moment) -> None:
        self.began = moment.step

    def on_epoch_end(self, moment: Moment) -> None:
        self.seen.append(moment.step - self.began)
        if moment.logs["weight"] < self.best:
            self.best = moment.logs["weight"]
        else:
            self.wait += 1


class Keeps(Waits):
    def get_state(self) -> list[float]:
        return [self.best, self.wait]

    def set_state(self, state: list[float]) -> None:
        self.best, self.wait = state


def test_what_a_hook_counts_in_attributes_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make(tmp_path / "a", [Waits()]).run(epochs=4)
    (line,) = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert line.startswith("Hook 'waits' counts in Python what no checkpoint holds: best, wait. A run that goes on")
    caplog.clear()
    make(tmp_path / "b", [Keeps()]).run(epochs=4)  # as it says
    make(None, [Waits()]).run(epochs=4)  # nothing is saved
    assert not [each for each in caplog.records if each.levelname == "WARNING"]


class Lazy(Hook):
    """Has a handle that is made when it is first wanted, or else anew each time."""

    def __init__(self, *, anew: bool) -> None:
        super().__init__()
        self.handle, self.anew = None, anew

    def on_epoch_end(self, moment: Moment) -> None:
        if self.handle is None or self.anew:
            self.handle = moment.step


def test_what_is_made_once_when_it_is_first_wanted_is_not_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make(tmp_path / "a", [Lazy(anew=False)]).run(epochs=4)
    assert not [each for each in caplog.records if each.levelname == "WARNING"]
    make(tmp_path / "b", [Lazy(anew=True)]).run(epochs=4)
    (line,) = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert line.startswith("Hook 'lazy' counts in Python what no checkpoint holds: handle. A run that goes on")


class Means(Hook):
    """Gathers, and goes by what it has gathered; has some that are only filled, and a list that is begun anew."""

    every = Every(steps=1)

    def __init__(self) -> None:
        super().__init__()
        self.losses, self.counts, self.sums = list[float](), {"steps": 0}, np.zeros([2])
        self.filled, self.own, self.names = list[float](), list[float](), ["a", "b"]
        self.by_step, self.rows = dict[int, float](), list[float]()

    def on_step_end(self, moment: Moment) -> None:
        self.losses.append(moment.logs["weight"])
        self.filled.append(moment.logs["weight"])
        self.by_step |= {moment.step: moment.logs["weight"]}
        self.rows += [moment.logs["weight"]]
        self.counts["steps"] += 1
        self.sums[0] += 1

    def on_epoch_end(self, moment: Moment) -> None:
        self.own = []
        for name in self.names:
            self.own.append(len(name) + len(self.losses))
        if self.own[0] > 10:
            self.losses = self.losses[-10:]


class Scratch(Hook):
    """Fills and empties in one event."""

    def __init__(self) -> None:
        super().__init__()
        self.found = list[int]()

    def on_epoch_end(self, moment: Moment) -> None:
        self.found = []
        self.found.append(moment.step)
        self.last = sum(self.found)


def test_what_a_hook_gathers_and_reads_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make(tmp_path / "a", [Means(), Scratch()]).run(epochs=4)
    (line,) = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert line.startswith("Hook 'means' counts in Python what no checkpoint holds: counts, losses, sums. A run")


class Collects(Hook):
    """Collects for whoever looks at it when the run has ended, and of each epoch anew."""

    def __init__(self) -> None:
        super().__init__()
        self.collected, self.of_epoch = list[float](), list[float]()

    def on_epoch_begin(self, moment: Moment) -> None:
        self.of_epoch = []

    def on_epoch_end(self, moment: Moment) -> None:
        self.collected.append(moment.logs["weight"])
        self.of_epoch.append(moment.logs["weight"])


def test_what_is_only_collected_is_told_where_a_run_goes_on_without_what_came_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def live(epochs: int) -> tuple[list[str], Loop]:
        losses, seen = list[float](), dict[int, float]()
        callback = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: losses.append(logs["weight"]))
        loop = make(tmp_path, [Collects(), callback])  # type: ignore[list-item]  # a loop takes callbacks, too
        loop.on("epoch_end")(lambda moment: seen.update({moment.epoch: moment.step}))
        return said(loop, caplog, epochs), loop

    told, loop = live(1)
    assert told == said(loop, caplog, 2) == []  # what it has collected is there
    begins = "gathers in Python what no checkpoint holds:"
    named = {"collects": "collected", "keras_callbacks": "losses", "on_epoch_end": "seen"}
    for epochs in (3, 5):  # in one epoch more, or two
        told, _ = live(epochs)
        assert [line.partition(". This run goes on")[0] for line in told] == [
            f"Hook {hook!r} {begins} {name}" for hook, name in named.items()
        ]
    assert live(5)[0] == []  # nothing is left to run


def test_what_a_hook_gathers_and_another_one_reads_is_not_told_when_a_run_ends(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def live(epochs: int) -> list[str]:
        loop, losses = make(tmp_path), list[float]()
        loop.on("epoch_begin")(lambda moment: losses.clear())
        loop.on("step_end", Every(steps=1))(lambda moment: losses.append(moment.logs["weight"]))
        loop.on("epoch_end")(lambda moment: print(np.mean(losses)))
        return said(loop, caplog, epochs)

    live(1)
    assert [line for line in live(3) if "gathers" in line] == []


@pytest.mark.parametrize("is_given", [False, True])
def test_what_a_hook_numbers_checkpoints_of_its_own_by_is_told_and_may_be_saved(
    is_given: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As scripts have it that saved by themselves before: a resumed run would begin with other numbers."""
    weight = tf.Variable(0.0)
    saver = tf.train.Checkpoint(weight=weight)
    manager = tf.train.CheckpointManager(saver, str(tmp_path / "own"), max_to_keep=2)
    state = {"weight": weight} | ({"saves": saver.save_counter} if is_given else {})

    def step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"weight": weight.assign_add(tf.reduce_sum(x))}

    loop = Loop(step, ArrayData(tf.ones([4]), batch_size=2), state=state, hooks=[Checkpoint(tmp_path / "ours")])

    @loop.on("epoch_end")
    def save(_: Moment) -> None:
        manager.save()

    told = [line for line in said(loop, caplog, 2) if "save_counter" in line]
    assert len(told) == (not is_given)


class Meter:
    """As training loops in Python have one."""

    def __init__(self) -> None:
        self.total, self.count, self.last = 0.0, 0, 0.0

    def update(self, value: float) -> None:
        self.total += value
        self.count += 1
        self.last = value


METER = Meter()


def measures(moment: Moment) -> None:
    METER.update(moment.logs["weight"])


class Measures(Hook):
    """Has objects that count."""

    def __init__(self) -> None:
        super().__init__()
        self.meters = {"weight": Meter()}

    def on_epoch_end(self, moment: Moment) -> None:
        self.meters["weight"].update(moment.logs["weight"])


class KeepsMeasures(Measures):
    """Does what it is told to."""

    def get_state(self) -> list[float]:
        return [self.meters["weight"].total, self.meters["weight"].count]

    def set_state(self, state: list[float]) -> None:
        self.meters["weight"].total, self.meters["weight"].count = state[0], int(state[1])


@pytest.mark.parametrize("hook", [Measures, KeepsMeasures, None])
def test_what_objects_that_hooks_use_count_is_told_and_the_remedy_works(
    hook: type[Hook] | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    loop = make(tmp_path, [] if hook is None else [hook()])
    if hook is None:
        loop.on("epoch_end")(measures)
    told = said(loop, caplog, 4)
    assert [line.partition(". ")[0] for line in told] == [
        f"Hook {name!r} counts in Python what no checkpoint holds: Meter.count, Meter.total"
        for name in ([] if hook is KeepsMeasures else ["measures"])
    ]


class OfEpoch(Hook):
    """Has sums and rows of one epoch, which begin anew with it, or are emptied when it ends."""

    def __init__(self, anew: str) -> None:
        super().__init__()
        self.anew, self.meter, self.seen, self.mean = anew, Meter(), list[int](), 0.0

    def on_epoch_begin(self, moment: Moment) -> None:
        if self.anew == "at its beginning":
            self.begin()

    def on_steps(self, first_step: int, values: Mapping[str, np.ndarray]) -> None:
        self.meter.update(float(values["weight"].sum()))
        self.seen.append(first_step)

    def on_epoch_end(self, moment: Moment) -> None:
        self.mean = self.meter.total / len(self.seen)
        if self.anew == "at its end":
            self.begin()

    def begin(self) -> None:
        self.meter.total = 0.0
        self.meter.count = 0
        self.seen.clear()


@pytest.mark.parametrize("anew", ["at its beginning", "at its end"])
@pytest.mark.parametrize("saved", ["between epochs", "at a stop", "by steps"])
def test_what_is_of_one_epoch_is_told_where_a_run_may_be_taken_up_in_mid_epoch(
    anew: str, saved: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    of_steps = [Checkpoint(tmp_path, Every(steps=1))] if saved == "by steps" else []
    loop = make(None if of_steps else tmp_path, [OfEpoch(anew), *of_steps])
    if saved == "at a stop":
        loop.on("step_end", every=At(3))(lambda moment: moment.stop("it is time"))
    lost = [line.partition(". ")[0] for line in said(loop, caplog, 3)]
    line = "Hook 'of_epoch' counts in Python what no checkpoint holds: Meter.count, Meter.total, seen"
    assert lost == [line] * (saved != "between epochs")


class Plain:
    """Has numbers that others change."""

    count = 0


def with_default(moment: Moment, seen: list[int] = [0]) -> None:  # noqa: B006 (that is what is tested)
    seen[0] += 1


def with_two_at_once(moment: Moment, seen: list[int] = [0]) -> None:  # noqa: B006
    step = moment.step
    print("", end="")
    seen[0] = step  # both are loaded by one instruction of Python 3.13


def with_arguments(given: dict[str, int], moment: Moment) -> None:
    given["count"] += 1


def of_itself(moment: Moment) -> None:
    of_itself.count += 1  # type: ignore[attr-defined]


of_itself.count = 0  # type: ignore[attr-defined]


def of_class(moment: Moment) -> None:
    Plain.count += 1


SPACE, MODEL = types.SimpleNamespace(count=0), keras.Sequential([keras.Input([1])])
MODEL.count = 0


def of_namespace(moment: Moment) -> None:
    SPACE.count += 1


def of_model(moment: Moment) -> None:
    MODEL.count += 1


class OfClass(Hook):
    """Begins with what its class has."""

    count = 0

    def on_epoch_end(self, moment: Moment) -> None:
        self.count += 1


@pytest.mark.parametrize(
    ("counts", "named"),
    [
        (with_default, "seen"),
        (with_two_at_once, "seen"),
        (functools.partial(with_arguments, {"count": 0}), "given"),
        (of_itself, "of_itself.count"),
        (of_class, "Plain.count"),
        (of_namespace, "SimpleNamespace.count"),
        (of_model, "Sequential.count"),
        (OfClass, "count"),
    ],
)
def test_what_is_counted_is_told_wherever_it_is(
    counts: Callable[[Moment], None] | type[Hook], named: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    loop = make(tmp_path, [counts()] if isinstance(counts, type) else [])
    if not isinstance(counts, type):
        loop.on("epoch_end")(counts)
    (line,) = said(loop, caplog)
    assert line.split(" counts in Python what no checkpoint holds: ")[1].startswith(f"{named}. A run that goes on")


class Games:
    """A source of data that keeps what it plays with."""

    def __init__(self) -> None:
        self.meter = Meter()

    def get_state(self) -> float:
        return self.meter.total

    def set_state(self, state: float) -> None:
        self.meter.total = state


GAMES = Games()


def test_what_keeps_itself_is_not_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    loop = make(tmp_path)
    loop.on("epoch_end")(lambda moment: GAMES.meter.update(1.0))
    assert said(loop, caplog) == []


class Third:
    """A trigger that goes by how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def next_after(self, step: int) -> int:
        return step + 1

    def next_time(self, seconds: float) -> None:
        return None

    def due(self, halt: Halt) -> bool:
        self.asked += 1
        return self.asked % 3 == 0


class Seldom(Hook):
    every = Third()  # type: ignore[assignment]  # it cannot be joined with others by |

    def on_step_end(self, moment: Moment) -> None:
        pass


def test_a_trigger_that_counts_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (line,) = said(make(tmp_path, [Seldom()]), caplog)
    assert line.startswith("Hook 'seldom' counts in Python what no checkpoint holds: Third.asked. A run")


class Writes(Hook):
    """Writes rows into a file of its own."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def on_run_begin(self, moment: Moment) -> None:
        self.file = self.path.open("a")

    def on_epoch_end(self, moment: Moment) -> None:
        self.file.write(f"{moment.epoch}\n")

    def on_run_end(self, moment: Moment) -> None:
        self.file.close()


class Cuts(Hook):
    """Does what it is told to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path, self.file = path, path.open("a")

    def on_run_begin(self, moment: Moment) -> None:
        if not moment.resumed:
            os.truncate(self.path, 0)

    def on_epoch_end(self, moment: Moment) -> None:
        self.file.write(f"{moment.epoch}\n")
        self.file.flush()

    def get_state(self) -> int:
        return os.path.getsize(self.path)

    def set_state(self, state: int) -> None:
        os.truncate(self.path, state)


def test_a_file_that_a_hook_writes_by_itself_is_named_and_the_remedy_works(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make(tmp_path / "a", [Writes(tmp_path / "a.txt")]).run(epochs=4)
    (line,) = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert line.startswith(f"Hook 'writes' writes to '{tmp_path / 'a.txt'}', which no resume cuts back")
    caplog.clear()
    (tmp_path / "b.txt").write_text("of a run that was killed before it was saved")
    for epochs in (2, 3):
        hook = Cuts(tmp_path / "b.txt")
        make(tmp_path / "b", [hook]).run(epochs=epochs)
        hook.file.write("of a step that is done again")
        hook.file.close()
    hook = Cuts(tmp_path / "b.txt")
    make(tmp_path / "b", [hook]).run(epochs=3)
    hook.file.close()
    assert (tmp_path / "b.txt").read_text() == "1\n2\n3\n"
    assert not [each for each in caplog.records if each.levelname == "WARNING"]


COUNT, BEST, SEEN, NAMES, ROWS = 0, None, list[float](), ["a", "b"], np.zeros([3])


def counts(moment: Moment) -> None:
    global COUNT, BEST
    COUNT += len(NAMES) + int(ROWS.sum())
    if BEST is None or moment.logs["weight"] > BEST:
        BEST = moment.logs["weight"]


def goes_by(moment: Moment) -> None:
    SEEN.append(moment.logs["weight"])
    if len(SEEN) > 2:
        NAMES.count("a")


def only_fills(moment: Moment) -> None:
    SEEN.append(moment.logs["weight"])


def closing() -> Callable[[Moment], None]:
    count = 0

    def closes(moment: Moment) -> None:
        nonlocal count
        count += 1

    return closes


class CountsGlobally(keras.callbacks.Callback):
    def __init__(self) -> None:
        super().__init__()
        self.own = 0

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        global COUNT
        COUNT += 1
        self.own += 1  # which is saved


@pytest.mark.parametrize(
    ("function", "named"),
    [
        (counts, "'counts' {} BEST, COUNT."),
        (goes_by, "'goes_by' {} SEEN."),
        (closing(), "'closes' {} count."),
        (only_fills, ""),
        (CountsGlobally(), "'keras_callbacks' {} COUNT."),
    ],
)
def test_what_functions_and_callbacks_count_outside_is_told_once(
    function: Callable[[Moment], None], named: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    is_callback = isinstance(function, keras.callbacks.Callback)
    loop = make(tmp_path, [function] if is_callback else [])
    if not is_callback:
        loop.on("epoch_end")(function)
    told = said(loop, caplog, 4)
    begins = f"Hook {named.format('counts in Python what no checkpoint holds:')}"
    assert [each.startswith(begins) for each in told] == [True] * bool(named)


RNG = np.random.default_rng(3)


class Draws(Hook):
    """Goes on with what goes on by being used."""

    def __init__(self) -> None:
        super().__init__()
        self.rng, self.old, self.python = np.random.default_rng(1), np.random.RandomState(1), random.Random(1)
        self.rows, self.unused = iter(range(99)), np.random.default_rng(1)

    def on_epoch_end(self, moment: Moment) -> None:
        self.at = next(self.rows) + self.rng.normal() + self.old.normal() + self.python.random()


class KeepsDrawing(Hook):
    """Does what it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.rng = np.random.default_rng(1)

    def on_epoch_end(self, moment: Moment) -> None:
        self.drawn = self.rng.normal()

    def get_state(self) -> object:
        return self.rng.bit_generator.state

    def set_state(self, state: object) -> None:
        self.rng.bit_generator.state = state


def test_random_generators_and_iterators_of_a_hook_are_told_and_the_remedy_works(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (line,) = said(make(tmp_path / "a", [Draws()]), caplog)
    assert line.startswith("Hook 'draws' counts in Python what no checkpoint holds: old, python, rng, rows. A run")
    loop = make(tmp_path / "b")
    loop.on("epoch_end")(lambda moment: print(RNG.normal()))
    (line,) = said(loop, caplog)
    assert "what no checkpoint holds: RNG. A run" in line
    drawn = []
    for name, epochs in {"c": (3,), "d": (2, 3)}.items():
        for count in epochs:
            hook = KeepsDrawing()
            assert said(make(tmp_path / name, [hook]), caplog, count) == []
        drawn.append(hook.drawn)
    assert drawn[0] == drawn[1]


LOG: list[io.TextIOWrapper] = []


def open_itself(path: Path) -> Hook:
    class Appends(Hook):
        def on_epoch_end(self, moment: Moment) -> None:
            self.write(moment.epoch)

        def write(self, epoch: int) -> None:
            with path.open(mode="a", encoding="utf-8") as file:
                print(epoch, file=file)

    return Appends()


def with_a_state(path: Path) -> Hook:
    class Keeps(Hook):
        def on_epoch_end(self, moment: Moment) -> None:
            with path.open("a") as file:
                print(moment.epoch, file=file)

        def get_state(self) -> int:
            return 0  # and so nothing of its file

        def set_state(self, state: int) -> None:
            pass

    return Keeps()


def with_a_writer(path: Path) -> Hook:
    file = path.open("w", newline="")
    LOG.append(file)
    rows = csv.DictWriter(file, ["epoch"]) if path.suffix == ".dict" else csv.writer(file)

    class Rows(Hook):
        def on_epoch_end(self, moment: Moment) -> None:
            rows.writerow({"epoch": moment.epoch} if isinstance(rows, csv.DictWriter) else [moment.epoch])

    return Rows()


def in_a_callback(path: Path) -> keras.callbacks.Callback:
    LOG.append(path.open("wt", buffering=1))
    return keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: LOG[0].write(f"{epoch}\n"))


def in_a_class_of_callbacks(path: Path) -> keras.callbacks.Callback:
    class Appends(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: object = None) -> None:
            with open(os.path.join(path.parent, path.name), "a+") as file:
                file.write(f"{epoch}\n")

    return Appends()


@pytest.mark.parametrize(
    ("made", "named"),
    [
        (open_itself, "a file that {}Appends.write opens with 'a'"),
        (with_a_state, "a file that {}Keeps.on_epoch_end opens with 'a'"),
        (with_a_writer, "'{}'"),
        (in_a_callback, "'{}'"),
        (in_a_class_of_callbacks, "a file that {}Appends.on_epoch_end opens with 'a'"),
    ],
)
@pytest.mark.parametrize("suffix", [".txt", pytest.param(".dict", marks=pytest.mark.more)])
def test_a_file_that_hooks_and_callbacks_reach_or_append_to_is_named(
    made: Callable[[Path], Hook], named: str, suffix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    LOG.clear()
    path = tmp_path / f"log{suffix}"
    make(tmp_path / "a", [made(path)]).run(epochs=4)
    (line,) = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    name = {open_itself: "appends", with_a_state: "keeps", with_a_writer: "rows"}.get(made, "keras_callbacks")
    assert line.startswith(f"Hook {name!r} writes to {named.format(path if LOG else f'{made.__name__}.<locals>.')}, ")
    for file in LOG:
        file.close()


def test_a_writer_of_summaries_of_its_own_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    writer = tf.summary.create_file_writer(str(tmp_path / "own"))

    def draw(moment: Moment) -> None:
        with writer.as_default(step=moment.step):
            tf.summary.scalar("x", 1.0)

    loop = make(tmp_path / "a")
    loop.on("epoch_end")(draw)
    (line,) = said(loop, caplog)
    assert line.startswith("Hook 'draw' writes tf.summary through a writer of its own, whose file no resume cuts back")


class WritesElsewhere(Hook):
    """Writes what needs no cut: files that are written anew as a whole, memory, and standard streams."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path, self.memory, self.out, self.read = path, io.StringIO(), sys.__stderr__, path.open()

    def on_epoch_end(self, moment: Moment) -> None:
        logs = {"a": moment.epoch}
        with self.path.open("w") as file:
            file.write(f"{logs['a']}")
        with open(f"{self.path}{logs['a']}", "w") as file:
            file.write("a")
        print(moment.epoch, file=self.memory)
        print("a", end="", file=self.out)


class OwnRows(keras.callbacks.CSVLogger):
    """Goes on in its file, as what it is made from does."""

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        super().on_epoch_end(epoch, {**(logs or {}), "epoch": epoch})


def test_files_that_are_looked_after_are_not_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert said(make(tmp_path / "a", [OwnRows(str(tmp_path / "log.csv"))]), caplog) == []


def test_files_that_are_written_as_a_whole_are_not_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    hook = WritesElsewhere(tmp_path / "file")
    assert said(make(tmp_path / "a", [hook]), caplog) == []
    hook.read.close()


OF_VARIABLES, OF_PYTHON = {"average:0 of hook 'counts'"}, {"losses", "Counts.count"}


def test_a_file_that_each_of_several_workers_writes_is_named_as_such(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class InOne(Writes):
        everywhere = False

    class Saves(Hook):
        def on_epoch_end(self, moment: Moment) -> None:
            np.save(tmp_path / "c.npy", np.zeros(moment.epoch))

    class SavesInOne(Hook):
        def on_epoch_end(self, moment: Moment) -> None:
            if here().rank == 0:
                np.save(tmp_path / "d.npy", np.zeros(moment.epoch))

    before = become(Workers(0, ("10.0.0.1:1", "10.0.0.2:1")))
    try:
        unsaved = Unsaved([Writes(tmp_path / "a.txt"), InOne(tmp_path / "b.txt"), Saves(), SavesInOne()], ())
    finally:
        become(before)
    unsaved.warn()
    lines = [each.getMessage() for each in caplog.records if "each of the workers" in each.getMessage()]
    assert [line.partition(" is called")[0] for line in lines] == ["Hook 'writes'", "Hook 'saves'"]
