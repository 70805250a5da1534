"""`exactloop speed`: what is measured, what is made of it, and that nothing is left of it."""

import dataclasses
import io
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
import rich.console
import tensorflow as tf
from absl import flags
from absl.testing import flagsaver
from places import ROOT, environment

from exactloop import cli
from exactloop.speed import child, trying
from exactloop.speed.advice import advice
from exactloop.speed.config import Measured, SpeedConfig
from exactloop.speed.measuring import measured, writes_elsewhere
from exactloop.speed.telling import show
from exactloop.speed.trying import Change, Outcome, Script, changes
from hooks import EarlyStopping, KerasCallbacks, MetricsLog
from loop import ArrayData, Every, Hook, IndexedData, Loop, Moment, StatefulData, StreamData
from loop.data.coerce import Given

X = np.arange(10.0, dtype=np.float32)
AS_IT_IS = Measured(
    compiled=97e-6,
    one_batch=82e-6,
    idle=6e-6,
    run=132e-6,
    hooks={"progress": 3e-6, "tensor_board": 9e-6, "checkpoint": 0.4e-6},
    left_out=[],
    data="ArrayData",
    rows=50,
    sized=True,
    batches=30,
    jit_compile=False,
    convolves=False,
    on_cpu=True,
    again=98e-6,
)


def like(seconds: float, rows: int = 50, **others: bool) -> Measured:
    """Returns what was measured of something else."""
    return dataclasses.replace(AS_IT_IS, compiled=seconds, rows=rows, **others)


TRIED = [
    Outcome("jit_compile=True", like(22e-6, jit_compile=True)),
    Outcome("batch_size=100", like(150e-6, rows=100)),
    Outcome("batch_size=200", like(260e-6, rows=200)),
    Outcome("TF_NUM_INTRAOP_THREADS=1", like(101e-6)),
]


class Counting:
    """Batches from something that says where it is."""

    def __init__(self) -> None:
        self.at = 0

    def __iter__(self) -> Iterator[np.ndarray]:
        while self.at < 5:
            self.at += 1
            yield X[2 * self.at - 2 : 2 * self.at]
        self.at = 0

    def get_state(self) -> int:
        return self.at

    def set_state(self, state: int) -> None:
        self.at = state


def pipeline() -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices(X).batch(2)


SOURCES: dict[str, Callable[[], Given]] = {
    "arrays": lambda: ArrayData(X, batch_size=2, shuffle=False),
    "uneven": lambda: ArrayData(X[:9], batch_size=2, shuffle=False),
    "pipeline": pipeline,
    "of unknown length": lambda: pipeline().filter(lambda x: x[0] > -1),
    "endless": lambda: StreamData(pipeline().repeat(), steps_per_epoch=5),
    "indexed": lambda: IndexedData(X, batch_size=2, shuffle=False),
    "stateful": lambda: StatefulData(Counting()),
}


def make_loop(data: Given, hooks: list[Hook] | None = None, *, jit_compile: bool = False) -> Loop:
    w = tf.Variable(0.0)

    def step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"first": x[0], "w": w.assign_add(tf.reduce_sum(x))}

    return Loop(step, data, state={"w": w}, hooks=hooks or [], jit_compile=jit_compile)


OTHERS = [pytest.param(name, marks=pytest.mark.more) for name in [*SOURCES][1:]]


@pytest.mark.parametrize("jit_compile", [False, pytest.param(True, marks=pytest.mark.more)])
@pytest.mark.parametrize("name", ["arrays", *OTHERS])
def test_one_batch_is_trained_over_and_over_beside_the_others_and_nothing_is_left(name: str, jit_compile: bool) -> None:
    loop = make_loop(SOURCES[name](), jit_compile=jit_compile)
    loop.run(steps=2)
    with loop.rehearse() as rehearsal:
        alone, idle = rehearsal.on_one_batch(), rehearsal.on_one_batch(idle=True)
        of_one, of_all = list[float](), list[float]()
        for _ in range(2):
            of_one += alone.train(3)["first"].tolist()
            of_all += rehearsal.train(2)["first"].tolist()
            assert idle.train(3).keys() == {"idle"}
        assert of_one == [of_one[0]] * 6
        assert of_one[0] == 0.0 or name == "stateful"  # which goes on from where it is
        assert of_all == sorted({*of_all}) or name == "stateful"
        assert (alone.steps, idle.steps, len(of_all)) == (6, 6, rehearsal.steps)
    assert (loop.step, float(loop.state.variables["w"])) == (2, 0.0 + 1.0 + 2.0 + 3.0)
    values = list[float]()
    loop.hooks.on("step_end", Every(steps=1))(lambda moment: values.append(moment.logs["first"]))
    loop.run(steps=4)
    assert values == [4.0, 6.0]


class Slow(Hook):
    """Is called at each other step."""

    every = Every(steps=2)

    def on_step_end(self, moment: Moment) -> None:
        sum(range(1000))

    def before_dry_run(self, directory: str) -> None:
        """It writes nothing."""


class Best(Hook):
    """Writes to where it likes, as hooks of users do."""

    reports = ("probe",)

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def on_run_end(self, moment: Moment) -> None:
        self.path.touch()


class MoreRows(MetricsLog):
    """Writes more than the hook that it is made of."""

    def on_run_end(self, moment: Moment) -> None:
        super().on_run_end(moment)
        Path(f"{self.name}.txt").touch()


class Below(MoreRows):
    """Says of what is more where it goes."""

    def before_dry_run(self, directory: str) -> None:
        super().before_dry_run(directory)


def test_hooks_are_left_out_that_do_not_say_where_they_write(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    hooks = {Best(tmp_path): True, MoreRows(path): True, Slow(): False, Below(path): False, MetricsLog(path): False}
    hooks[EarlyStopping("probe", mode="min", patience=1)] = False
    hooks[KerasCallbacks([])] = True
    assert [writes_elsewhere(hook) for hook in hooks] == [*hooks.values()]


def test_a_loop_is_measured_with_its_hooks_which_write_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    callback = keras.callbacks.CSVLogger(str(tmp_path / "log.csv"))
    hooks = [Slow(), MetricsLog(tmp_path / "metrics.csv", Every(steps=1)), Best(tmp_path / "best.npy")]
    hooks += [EarlyStopping("probe", mode="min", patience=1)]  # which waits for what is left out
    loop = make_loop(data := ArrayData(X, batch_size=3), [*hooks, callback])
    loop.hooks.on("run_end")(lambda moment: (tmp_path / "mine.csv").touch())
    config = SpeedConfig("", 0, seconds=1.0, steps=40, whole=True)
    found = measured(loop, data, config, str(tmp_path / "below"), jit_compile=False)
    assert [path.name for path in tmp_path.iterdir()] == ["below"]
    assert [path.name for path in (tmp_path / "below").iterdir()] == ["metrics_log"]
    assert min(found.compiled, found.one_batch or 0, found.idle or 0, found.run or 0, found.hooks["slow"]) > 0
    left_out = ["best", "keras_callbacks", "on_run_end"]
    assert found.hooks.keys() == {"slow", "metrics_log", "early_stopping"}
    assert (found.left_out, found.data, found.rows, found.batches) == (left_out, "ArrayData", 3, 4)
    assert loop.step == 50  # ten steps to warm up
    assert sum(found.parts.values()) == pytest.approx(max(found.run or 0, sum(found.parts.values())))


class Measures(Exception):
    """In the place of a process that ends."""


class MyLoop(Loop):
    """Has a way of its own to run."""

    def go(self) -> object:
        return super().run(epochs=1)


WAYS: dict[str, Callable[[MyLoop], object]] = {
    "run": lambda loop: loop.run(epochs=1),
    "by its class": lambda loop: Loop.run(loop, steps=3),
    "by a method of its own": lambda loop: loop.go(),
    "in a dry run first": lambda loop: (loop.dry_run(), loop.run(steps=4)),
}


@pytest.mark.parametrize("way", WAYS)
def test_whichever_way_a_loop_is_run_it_is_measured_instead(
    way: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ran = list[str]()

    def really(what: str) -> Callable[..., object]:
        return lambda loop, **totals: ran.append(what) or (what == "dry_run" and loop.run(steps=1))

    def measures(loop: Loop, data: object, *given: object, jit_compile: bool) -> Measured:
        assert isinstance(data, ArrayData)
        loop.run(steps=2)
        return like(1.0, jit_compile=jit_compile)

    def ends(status: int) -> None:
        raise Measures

    monkeypatch.setattr(Loop, "__init__", Loop.__init__)  # which is put back in the end
    monkeypatch.setattr(Loop, "run", really("run"))
    monkeypatch.setattr(Loop, "dry_run", really("dry_run"))
    monkeypatch.setattr(child, "measured", measures)
    monkeypatch.setattr("os._exit", ends)
    monkeypatch.setenv("EXACTLOOP_BELOW", str(tmp_path))
    child.instead_of_running(SpeedConfig(str(tmp_path / "record"), 0, 1.0, 1, jit_compile=True))
    loop = MyLoop(lambda x: {"mean": tf.reduce_mean(x)}, SOURCES["arrays"](), state={"w": tf.Variable(0.0)})
    with pytest.raises(Measures):
        WAYS[way](loop)
    assert Measured(**json.loads((tmp_path / "record").read_text())) == like(1.0, jit_compile=True)
    assert ran == (["dry_run", "run", "run"] if "dry" in way else ["run"])


def test_a_run_that_a_hook_ends_at_once_cannot_be_measured(tmp_path: Path) -> None:
    class Ends(Hook):
        def on_settled(self, moment: Moment) -> None:
            moment.stop("enough")

        def before_dry_run(self, directory: str) -> None:
            """It writes nothing."""

    loop = make_loop(data := ArrayData(X, batch_size=3), [Ends()])
    with pytest.raises(RuntimeError, match="A hook has ended the run before step 12"):
        measured(loop, data, SpeedConfig("", 0, 1.0, steps=10, whole=True), str(tmp_path), jit_compile=False)


def test_what_is_not_measured_by_itself_is_of_the_loop_and_nothing_is_negative() -> None:
    found = {name: round(1e6 * seconds) for name, seconds in AS_IT_IS.parts.items()}
    assert found == {"step": 76, "data": 15, "loop": 29, "hooks": 12}
    noisy = dataclasses.replace(AS_IT_IS, one_batch=99e-6, run=90e-6)
    assert {name for name, seconds in noisy.parts.items() if seconds == 0.0} == {"data", "loop"}


def shown(as_it_is: Measured, tried: list[Outcome]) -> str:
    console = rich.console.Console(file=io.StringIO(), width=80)
    show("train.py", as_it_is, tried, console)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())  # type: ignore[attr-defined]


def test_it_is_shown_in_80_columns_as_the_documentation_says() -> None:
    said = shown(AS_IT_IS, TRIED)
    assert max(map(len, said.splitlines())) <= 80
    assert f"```text\n{said}\n```\n" in (ROOT / "docs" / "speed.md").read_text(encoding="utf-8")


CONVOLVES = dataclasses.replace(AS_IT_IS, convolves=True)
XLA = "jit_compile=True"
SAID = {
    "faster": (AS_IT_IS, Outcome(XLA, like(22e-6)), "jit_compile=True: 4.4 times as fast. The bits are others"),
    "slower": (CONVOLVES, Outcome(XLA, like(980e-6)), "10 times as slow, because XLA is slow at convolutions on a CPU"),
    "slower by itself": (AS_IT_IS, Outcome(XLA, like(194e-6)), "jit_compile=True: 2.0 times as slow: leave it off."),
    "the same": (AS_IT_IS, Outcome(XLA, like(96e-6)), "jit_compile=True makes no difference."),
    "refused": (AS_IT_IS, Outcome(XLA, None, "ValueError: texts"), "jit_compile=True cannot be had. ValueError: texts"),
    "without": (
        dataclasses.replace(AS_IT_IS, jit_compile=True),
        Outcome("jit_compile=False", like(194e-6)),
        "jit_compile=False: 2.0 times as slow: leave it on.",
    ),
    "batches": (
        AS_IT_IS,
        Outcome("batch_size=100", like(97e-6, 100)),
        "batch_size=100: 2.0 times as many rows a second",
    ),
    "threads": (AS_IT_IS, Outcome("T=1", like(48e-6)), "T=1 in the environment: 2.0 times as fast."),
    "data": (dataclasses.replace(AS_IT_IS, data="tf.data", one_batch=10e-6), None, "prefetch(tf.data.AUTOTUNE)"),
    "hooks": (dataclasses.replace(AS_IT_IS, hooks={"a": 9e-6, "b": 40e-6}), None, "most of it into 'b'."),
}


@pytest.mark.parametrize("case", SAID)
def test_what_would_be_gained_is_said(case: str) -> None:
    as_it_is, tried, text = SAID[case]
    (line,) = advice(as_it_is, [tried] if tried else [])
    assert text in line


def test_what_makes_no_difference_is_not_said() -> None:
    same = [Outcome("batch_size=100", like(194e-6, 100)), Outcome("T=1", like(97e-6))]
    assert advice(dataclasses.replace(AS_IT_IS, hooks={"a": 1e-6}), same) == []


def again(seconds: float) -> Measured:
    return dataclasses.replace(AS_IT_IS, again=seconds, hooks={})


BUSY = "The machine is busy with something else: as it is, a step took 97 us at first, {} us in the end. Measure again"
NOISE = {  # by what was measured again: what is said of XLA, of a thread, and of the machine
    "less than the same differs by": (again(116e-6), 92e-6, []),
    "slower by less": (again(116e-6), 120e-6, []),
    "more": (again(116e-6), 80e-6, ["jit_compile=True: 1.3 times as fast", "T=1 in the env"]),
    "busy": (again(150e-6), 85e-6, [BUSY.format(150)]),
    "busy at first": (again(70e-6), 72e-6, [BUSY.format(70)]),
    "busy, and much faster": (again(150e-6), 10e-6, [BUSY.format(150), "jit_compile=True: 12 times", "T=1 in the"]),
    "nobody knows": (dataclasses.replace(again(0.0), again=None), 85e-6, ["jit_compile=True: 1.1 times", "T=1 in the"]),
}


@pytest.mark.parametrize("case", NOISE)
def test_nothing_is_advised_that_is_less_than_the_same_differs_by(case: str) -> None:
    as_it_is, seconds, expected = NOISE[case]
    lines = advice(as_it_is, [Outcome(name, like(seconds)) for name in (XLA, "T=1")])
    assert [line[: len(start)] for line, start in zip(lines, expected, strict=True)] == expected


def test_what_is_tried_depends_on_the_script(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    threads = "TF_NUM_INTRAOP_THREADS=1"
    assert [each.name for each in changes(AS_IT_IS)] == [XLA, "batch_size=100", "batch_size=200", threads]
    few = dataclasses.replace(AS_IT_IS, batches=4, jit_compile=True)
    assert [each.name for each in changes(few)] == ["jit_compile=False", "batch_size=100", threads]
    stream = dataclasses.replace(AS_IT_IS, sized=False, on_cpu=False)
    assert [each.name for each in changes(stream)] == [XLA]


def test_batches_that_are_made_elsewhere_are_not_tried_larger(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    data = IndexedData(X.reshape([5, 2]), batch_size=None, shuffle=False)
    found = measured(make_loop(data), data, SpeedConfig("", 0, 1.0, steps=5), str(tmp_path), jit_compile=False)
    assert (found.sized, found.rows) == (False, 2)

    def measure(script: Script, change: Change | None = None) -> Measured:
        told.append(change.name if change else "")
        return like(97e-6 + len(told), 100 if change and change.times == 2 else 50)

    told = list[str]()
    monkeypatch.setattr(Script, "measure", measure)
    as_it_is, found = trying.tried(["train.py"], 1.0, None, lambda name: None)
    assert (as_it_is.again, told[-1], told.count("as it is, again")) == (97e-6 + len(told), "as it is, again", 1)
    tried = {each.name: each for each in found}
    assert (tried["batch_size=100"].measured, tried[XLA].measured) == (like(97e-6 + 3, 100), like(97e-6 + 2))
    none = Outcome("batch_size=200", None, "The first batch had 50 rows then, and not 200: they cannot be compared.")
    assert tried["batch_size=200"] == none


@pytest.mark.parametrize("size", [2, np.int64(2), None])
def test_sizes_of_batches_are_multiplied(size: int | None) -> None:
    made = list[dict[str, object]]()
    child._enlarged(X, lambda data, **named: made.append(named), 4, batch_size=size, seed=1)
    assert made == [{"batch_size": 8 if size else None, "seed": 1}]


def said(capsys: pytest.CaptureFixture[str], *arguments: str, **given: object) -> tuple[int, str]:
    flags.FLAGS.mark_as_parsed()
    with flagsaver.flagsaver(**given):
        status = cli.main(["exactloop", "speed", *arguments])
    return status, capsys.readouterr().err


def test_wrong_uses_are_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "train.py").touch()
    script = str(tmp_path / "train.py")
    assert said(capsys, "nowhere.py") == (2, "exactloop speed: There is no script 'nowhere.py'.\n")
    with monkeypatch.context() as patch:
        patch.setattr(flags.FLAGS["seconds"], "present", 1)
        status, told = said(capsys, script, steps=20, seconds=1.0)
    assert (status, "Received: --seconds=1.0 and --steps=20. Leave one of them out." in told) == (2, True)
    monkeypatch.setenv("TF_CONFIG", "{}")
    status, told = said(capsys, script)
    assert (status, "unset TF_CONFIG" in told) == (2, True)


SCRIPT = """
import sys
import numpy as np, tensorflow as tf
import loop
from hooks import Checkpoint, MetricsLog, TensorBoard
from loop import ArrayData, Evaluation, Every, Hook, Loop
assert sys.argv[1:] == ["--name=x"] and __name__ == "__main__"
w = tf.Variable(0.0)
def step(x): return {"loss": w.assign_add(tf.reduce_mean(x))}
data = ArrayData(np.arange(40.0, dtype=np.float32), batch_size=5, seed=1)
class Mine(Hook):
    def on_run_end(self, moment):
        if SAVED: print("x", file=open("mine.csv", "a"))
every = Every(steps=4)
hooks = [Mine(), TensorBoard("runs/tb", every), MetricsLog("runs/log.csv"), Checkpoint("runs/saved", every)]
evaluate = Evaluation(lambda x: {"mean": tf.reduce_mean(x)}, ArrayData(np.ones([9]), batch_size=9))
class MyLoop(Loop):
    def run(self, **totals): return super().run(epochs=2)
    def go(self): return super().run(epochs=2)
made = MyLoop(step, data, state={"w": w}, hooks=hooks, evaluate=evaluate)
if SAVED is False:
    made.dry_run()
result = made.go()
print("trained")
open("after", "w").close()
"""


def files(directory: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file()}


def run(directory: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=directory, env=environment(TMPDIR=str(directory / "temporary")), capture_output=True, text=True,
        check=False, timeout=300,
    )  # fmt: skip


@pytest.mark.more
@pytest.mark.parametrize("saved", [True, pytest.param(False, marks=pytest.mark.long)])
def test_a_script_is_measured_and_nothing_is_left_behind(tmp_path: Path, saved: bool) -> None:
    (tmp_path / "temporary").mkdir()
    (tmp_path / "train.py").write_text(SCRIPT.replace("SAVED", str(saved)))
    if saved:  # it would have nothing left to train
        assert run(tmp_path, sys.executable, "train.py", "--name=x").stdout == "trained\n"
    before = files(tmp_path)
    command = [sys.executable, "-m", "exactloop", "speed", "train.py", "--steps=20"]
    done = run(tmp_path, *command, *(["--json"] if saved else []), "--", "--name=x")
    assert done.returncode == 0, done.stderr
    assert files(tmp_path) == before
    assert [*(tmp_path / "temporary").iterdir()] == []
    names = ["jit_compile=True", "batch_size=10", "batch_size=20", "TF_NUM_INTRAOP_THREADS=1"]
    if saved:
        found = json.loads(done.stdout)
        assert [each["name"] for each in found["tried"]] == names
        assert [each["measured"]["rows"] for each in found["tried"]] == [5, 10, 20, 5]
        assert [each["measured"]["jit_compile"] for each in found["tried"]] == [True, False, False, False]
        assert found["as_it_is"]["hooks"].keys() == {"tensor_board", "metrics_log", "checkpoint"}
        assert found["as_it_is"]["left_out"] == ["mine"]
        assert found["as_it_is"]["again"] > 0
    else:
        assert done.stdout.startswith("train.py: ArrayData, batches of 5 rows, 8 an epoch.\n\nA step takes ")
        assert all(
            f"\n {name} " in done.stdout for name in ("step", "data", "loop", "hooks", "as it is, again", *names)
        )
        assert "\nLeft out, because nobody knows where they write: mine. A Hook that has" in done.stdout
        assert max(map(len, done.stdout.splitlines())) <= 80


WITHOUT = {
    "never runs": ("print('no loop here')", r"ended without calling Loop\.run\(\), so there .*\n[^$]*no loop here\n"),
    "fails": ("1 / 0", r"failed, with status 1, so there .*\n[^$]*ZeroDivisionError: division by zero\n"),
}


@pytest.mark.more
@pytest.mark.parametrize("case", WITHOUT)
def test_a_script_that_trains_nothing_is_told_of(tmp_path: Path, case: str) -> None:
    text, told = WITHOUT[case]
    (tmp_path / "temporary").mkdir()
    (tmp_path / "train.py").write_text(text)
    done = run(tmp_path, sys.executable, "-m", "exactloop", "speed", "train.py")
    assert (done.returncode, done.stdout) == (2, "")
    assert re.search(f"exactloop speed: The script {told}$", done.stderr), done.stderr


LASTING = """
import os, subprocess, time
started = subprocess.Popen(["sleep", "100"])
print(started.pid, file=open("started.part", "w"), flush=True)
os.rename("started.part", "started")
time.sleep(100)
"""


@pytest.mark.more
def test_nothing_is_left_behind_if_the_command_is_killed(tmp_path: Path) -> None:
    (temporary := tmp_path / "temporary").mkdir()
    (tmp_path / "train.py").write_text(LASTING)
    command = [sys.executable, "-m", "exactloop", "speed", "train.py"]
    with subprocess.Popen(command, cwd=tmp_path, env=environment(TMPDIR=str(temporary))) as process:
        _until((tmp_path / "started").exists)
        assert len([*temporary.iterdir()]) == 1
        process.kill()
    started = Path(f"/proc/{int((tmp_path / 'started').read_text())}/cmdline")
    _until(lambda: not [*temporary.iterdir()] and not (started.exists() and started.read_bytes()))  # a zombie has none


def _until(done: Callable[[], bool]) -> None:
    while not done():
        time.sleep(0.05)
