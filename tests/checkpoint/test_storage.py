"""Checkpoint when the disk, the directory or another process does not play along, and what a script may take from it.

    python tests/checkpoint/test_storage.py DIRECTORY LIFE

is one life of a process of its own: `limited`, `reader`, `holder` or `race`; see `LIVES`.
"""

import contextlib
import errno
import json
import multiprocessing
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import types
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import pytest
import tensorflow as tf
from places import environment

from hooks import Checkpoint, CorruptCheckpoint, restore
from hooks.checkpoint.files import Files, Measure
from hooks.checkpoint.local import LocalFiles
from hooks.checkpoint.remote import RemoteFiles
from hooks.checkpoint.restore import open_files
from hooks.checkpoint.saver import Saver
from hooks.checkpoint.store import Pin, Store
from loop import NEVER, ArrayData, At, Event, Every, Hook, Loop, Moment, StreamData, Trigger

EVERY_1, EVERY_2 = Every(steps=1), Every(steps=2)
PATIENCE = 60.0  # seconds after which a test that would wait for ever fails instead; no test waits that long
OF_TENSORFLOW = (".index", ".data-00000-of-00001")
NAN, INF = float("nan"), float("inf")
Bits = dict[str, bytes]


def fit_a_line(model: keras.Model, x: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean((model(x) - 3.0) ** 2)


def rows() -> np.ndarray:
    return np.arange(1.0, 9.0, dtype=np.float32)[:, None]


def shuffled() -> StreamData:
    """Returns the rows by way of a buffer that holds some of them, in another order each epoch."""
    return StreamData(tf.data.Dataset.from_tensor_slices(rows()).shuffle(5, seed=3).batch(1))


def dense() -> keras.Model:
    return keras.Sequential([keras.Input([1]), keras.layers.Dense(1)])


def make_loop(
    *hooks: Hook,
    data: StreamData | None = None,
    poison: float = 0.0,
    at: int = 0,
    wait: Callable[[], None] | None = None,
) -> Loop:
    """Returns a loop that fits a line to eight rows, one a step, with momentum.

    Args:
        poison: What to add to the gradient of the kernel in step `at`.
        wait: Called in step 3, out of the middle of the compiled loop.
    """
    keras.utils.set_random_seed(1)
    model, optimizer = dense(), keras.optimizers.SGD(0.01, momentum=0.9)

    def train_step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        with tf.GradientTape() as tape:
            loss = fit_a_line(model, x)
        kernel, bias = tape.gradient(loss, model.trainable_variables)
        number = optimizer.iterations + 1
        optimizer.apply([kernel + (poison if number == at else 0.0), bias], model.trainable_variables)
        if wait is not None and number == 3:
            tf.numpy_function(wait, [], [])
        return {"loss": loss}

    data = ArrayData(rows(), batch_size=1, seed=3) if data is None else data
    exact = wait is None  # which is a function of Python
    return Loop(train_step, data, state={"model": model, "optimizer": optimizer}, hooks=hooks, exact=exact)


def counting_loop(*hooks: Hook, poison: float = NAN, at: int = 0) -> Loop:
    """Returns a loop after whose n-th step all there is is n, but `poison` in half of `right` after step `at`."""
    keras.utils.set_random_seed(1)
    left, right = (tf.Variable(tf.zeros([2**12]), name=name) for name in ("left", "right"))

    def train_step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        n = left.assign_add(tf.ones_like(left))
        where = (tf.range(2**12) < 2**11) & (n == float(at))
        right.assign(tf.where(where, poison, n))
        return {"loss": right[0]}

    return Loop(train_step, ArrayData(rows(), batch_size=1, seed=3), state={"left": left, "right": right}, hooks=hooks)


def bits(loop: Loop) -> Bits:
    """Returns the training state as bytes by path, without hooks and the wall time that was spent."""
    own = ("clock/", "hooks/")
    return {path: v.numpy().tobytes() for path, v in loop.state.variables.items() if not path.startswith(own)}


def by_step(loop: Loop, steps: int) -> dict[int, Bits]:
    """Runs a loop in one go and returns the state after each step."""
    at: dict[int, Bits] = {}

    @loop.on(Event.STEP_END, every=EVERY_1)
    def settle(moment: Moment) -> None:
        pass

    @loop.on(Event.SETTLED)
    def note(moment: Moment) -> None:
        at[moment.step] = bits(loop)

    loop.run(steps=steps)
    return at


def begins(loop: Loop) -> list[Bits]:
    """Returns a list that gets the state with which each run of the loop begins."""
    found: list[Bits] = []

    @loop.on(Event.RUN_BEGIN)
    def note_where_it_begins(moment: Moment) -> None:
        found.append(bits(loop))

    return found


def failure_of(loop: Loop, steps: int) -> OSError | None:
    """Returns what ends a run."""
    try:
        loop.run(steps=steps)
    except OSError as error:
        return error
    return None


def files(directory: Path) -> dict[str, bytes]:
    """Returns the content of every file, whatever the depth, but the lock's."""
    paths = [path for path in directory.rglob("*") if path.is_file() and path.name != ".lock"]
    return {str(path.relative_to(directory)): path.read_bytes() for path in paths}


def names(*steps: int) -> set[str]:
    """Returns the names of the files that there are when these steps are saved."""
    of_steps = {f"ckpt-{step}{ending}" for step in steps for ending in (*OF_TENSORFLOW, ".json")}
    return of_steps | ({"checkpoint"} if steps else set())


def steps_in(directory: Path) -> list[int]:
    """Returns the steps of the committed checkpoints."""
    return sorted(int(path.stem.removeprefix("ckpt-")) for path in directory.glob("ckpt-*.json"))


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("checkpoint")]


def not_saved(directory: Path, step: int, reason: str, before: int | None = None) -> str:
    """Returns a pattern for the message of a save that failed, where one was saved before it, or none was."""
    full = "No space" in reason or "too large" in reason
    space = r"It needs about [1-9][\d,]* bytes; [\d,]+ are free\. " if full else ""
    is_there = rf"The one of step {before} is as it was\." if before else r"There is none before it\."
    return (
        rf"The checkpoint of step {step} was not saved in {re.escape(repr(str(directory)))}: {reason}( \([^ ]+\))?\. "
        rf"{space}{is_there} "
        r"With Checkpoint\(on_error='warn'\), training would go on(\n|$)"
    )


class Disk:
    """A local disk that does something else before each operation of a run that changes anything.

    Attributes:
        instead: Called with number and kind of each such operation, as in `(0, "write")`; what it raises is what the
            operation raises. "save" stands for the beginning of a save.
        operations: The kinds of those of the present run, from `RUN_BEGIN` on.
        saves: How many saves of the present run have begun.
        before: What was in the directory when the latest began.
    """

    def __init__(self) -> None:
        self.instead: Callable[[int, str], None] = lambda index, kind: None
        self.watch(None)

    def watch(self, moment: Moment | None) -> None:
        self.operations: list[str] = []
        self.saves, self.before, self._watched = 0, dict[str, bytes](), moment is not None

    def open(self, directory: str, *, make: bool = True) -> Files:
        self._watched = False
        return Watched(self, directory, make)

    def begin(self, directory: Path) -> None:
        self.saves, self.before = self.saves + 1, files(directory)
        self.instead(len(self.operations), "save")

    def operate(self, kind: str, name: str) -> None:
        if self._watched:
            kind = "state file" if name.startswith("checkpoint") else kind  # TensorFlow's, on which nothing depends
            self.operations.append(kind)
            self.instead(len(self.operations) - 1, kind)

    def fail(self, number: int, when: Callable[[int], bool]) -> None:
        """Lets operations fail with this error, by their number."""

        def instead(index: int, kind: str) -> None:
            if kind != "save" and when(index):
                raise OSError(number, os.strerror(number))

        self.instead = instead

    def heal(self) -> None:
        self.instead = lambda index, kind: None


class Watched(LocalFiles):
    """The files of a disk on which something may happen."""

    def __init__(self, disk: Disk, directory: str, make: bool) -> None:
        super().__init__(directory, make=make)
        self._disk = disk

    def ensure(self) -> bool:
        self._disk.begin(Path(self.where))
        return super().ensure()

    def write(self, name: str, content: bytes) -> None:
        try:
            self._disk.operate("write", name)
        except OSError:
            super().write(name, content[: len(content) // 2])  # as far as it got
            raise
        super().write(name, content)

    def sync(self, name: str = ".") -> None:
        self._disk.operate(f"sync {'directory' if name == '.' else 'manifest' if '.json' in name else 'data'}", name)
        super().sync(name)

    def rename(self, name: str, to: str) -> None:
        self._disk.operate("rename", name)
        super().rename(name, to)

    def remove(self, name: str) -> None:
        self._disk.operate("remove", name)
        super().remove(name)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    """Whatever a Checkpoint writes, it writes to this one."""
    disk = Disk()
    monkeypatch.setattr("hooks.checkpoint.hook.open_files", disk.open)
    return disk


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Is set as soon as the main thread waits for a save."""
    event, wait = threading.Event(), Saver.wait

    def told(self: Saver) -> None:
        event.set()
        wait(self)

    monkeypatch.setattr(Saver, "wait", told)
    return event


def await_(event: threading.Event) -> None:
    if not event.wait(PATIENCE):
        raise AssertionError("what a thread waits for never came")


@pytest.fixture(scope="module")
def whole() -> dict[int, Bits]:
    """The state of an uninterrupted run without checkpoints, by step."""
    return by_step(make_loop(), 10)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run that was saved after steps 2, 4 and 6; 4 has the least loss."""
    directory = tmp_path_factory.mktemp("original")
    loop = make_loop(Checkpoint(directory, EVERY_2))
    loop.run(steps=6)
    return directory


@pytest.fixture
def saved(original: Path, tmp_path: Path) -> Path:
    """A copy of it to play with."""
    return Path(shutil.copytree(original, tmp_path / "saved"))


@contextlib.contextmanager
def life(directory: Path, kind: str) -> Iterator[subprocess.Popen[str]]:
    """Runs a life in a process of its own."""
    command = [sys.executable, __file__, str(directory), kind]
    with subprocess.Popen(
        command, env=environment(), text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            yield process
        finally:
            process.kill()


# A disk that is full, or broken.


@pytest.mark.parametrize(
    ("number", "for_good"), [(errno.ENOSPC, False), (errno.EIO, True)], ids=["full once", "broken from there on"]
)
def test_the_previous_checkpoint_is_intact_when_the_disk_fails_at_any_operation(
    number: int, for_good: bool, whole: dict[int, Bits], disk: Disk, tmp_path: Path
) -> None:
    # One loop for all of it: compiling it anew for each operation would take half a minute.
    loop, start = make_loop(), []
    loop.on(Event.SETUP)(lambda loop, moment: start.append(loop.state.hold()))
    loop.on(Event.RUN_BEGIN)(disk.watch)
    begun = begins(loop)

    def run(directory: Path, steps: int, *, afresh: bool) -> None:
        if afresh and start:
            loop.state.put_back(start[0])
        loop.hooks.add(Checkpoint(directory, EVERY_2, keep=1))
        try:
            loop.run(steps=steps)
        finally:
            loop.hooks.remove("checkpoint")

    run(tmp_path / "base", 2, afresh=True)
    shutil.copytree(tmp_path / "base", tmp_path / "all")
    run(tmp_path / "all", 6, afresh=True)
    kinds = disk.operations
    assert (begun[-1], bits(loop), files(tmp_path / "all").keys()) == (whole[2], whole[6], names(6))
    assert set(kinds) == {"write", "sync data", "sync directory", "sync manifest", "rename", "remove", "state file"}

    outcomes, reason = set(), os.strerror(number)
    for index in (index for index, kind in enumerate(kinds) if kind != "state file"):
        directory = Path(shutil.copytree(tmp_path / "base", tmp_path / str(index)))
        disk.fail(number, lambda now, index=index: now >= index if for_good else now == index)
        with pytest.raises(OSError, match=reason) as error:
            run(directory, 6, afresh=True)
        step, message, left = 2 + 2 * disk.saves, str(error.value), files(directory)
        assert error.value.errno == number
        if committed := "is saved, but" in message:
            start_of = rf"Step {step} is saved, but no older one was removed in {re.escape(repr(str(directory)))}: "
            assert re.search(rf"{start_of}{reason}\.( It needs about [1-9][\d,]* bytes; [\d,]+ are free\.)?$", message)
            mark = f"ckpt-{step - 2}.json.tmp"
            assert names(step) <= left.keys() <= names(step, step - 2) | {"checkpoint.tmp", mark}
        else:
            assert re.search(not_saved(directory, step, reason, step - 2), message), message
            if for_good:  # nor can what is left be removed, or TensorFlow's own file be put right
                assert {name: left.get(name) for name in names(step - 2) - {"checkpoint"}} == {
                    name: content for name, content in disk.before.items() if name != "checkpoint"
                }
            else:
                assert left == disk.before
        disk.heal()
        run(directory, 8, afresh=False)
        # On a disk that is broken for good, what was committed in the last moment cannot be taken back.
        went_back = next(2 * n for n in range(1, 4) if begun[-1] == whole[2 * n])
        outcomes.add((committed, went_back - step))
        assert (bits(loop), files(directory).keys()) == (whole[8], names(8))
    assert outcomes == {(False, -2), (True, 0)} | ({(False, 0)} if for_good else set())


@pytest.fixture
def small() -> Iterator[Path]:
    """A disk of 256 KiB."""
    directory = Path(tempfile.mkdtemp())
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(directory)]
    try:
        if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode != 0:
            pytest.skip("nothing can be mounted here")
        yield directory
        subprocess.run(["umount", str(directory)], check=True)
    finally:
        directory.rmdir()


PAGE = 4096


def fill(disk: Path, pages: int) -> None:
    """Fills a disk up, but for some pages."""
    filler = disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(bytes(PAGE)):
            pass
    os.truncate(filler, filler.stat().st_size - pages * PAGE)


def test_the_previous_checkpoint_is_intact_on_a_real_disk_with_too_little_room(
    whole: dict[int, Bits], small: Path
) -> None:
    directory = small / "run"
    loop = make_loop(Checkpoint(directory, EVERY_2))
    loop.run(steps=2)
    before, begun, told = files(directory), begins(loop), list[OSError]()

    @loop.on(Event.RUN_BEGIN)
    def leave_some_room(moment: Moment) -> None:
        fill(small, len(told) + 1)

    while len(told) < 18:
        failure = failure_of(loop, 4)
        if steps_in(directory) == [2, 4]:
            break
        assert failure is not None
        assert re.search(not_saved(directory, 4, ".*No space left on device", 2), str(failure))
        assert files(directory) == before
        told.append(failure)
    # The data take several pages, then come the index, the manifest, and what is kept up for TensorFlow.
    assert 4 < len(told) < 18
    assert {failure.errno for failure in told} == {errno.ENOSPC}
    assert begun == [whole[2]] * (len(told) + 1)

    (small / "filler").unlink()
    again = make_loop(Checkpoint(directory, EVERY_2))
    begun = begins(again)
    again.run(steps=6)
    assert (begun, bits(again), files(directory).keys()) == ([whole[4]], whole[6], names(2, 4, 6))


def test_nothing_is_left_behind_on_a_real_disk_without_any_room(small: Path) -> None:
    directory = small / "run"
    loop = counting_loop(Checkpoint(directory, EVERY_2))
    loop.run(steps=2)
    before = files(directory)
    loop.on(Event.RUN_BEGIN)(lambda moment: fill(small, 0))
    with pytest.raises(OSError, match="No space left on device"):
        loop.run(steps=4)
    assert files(directory) == before


def test_a_run_that_begins_on_a_full_disk_says_where(small: Path) -> None:
    directory = small / "run"
    loop = counting_loop(Checkpoint(directory, EVERY_2))
    loop.run(steps=2)
    fill(small, 0)
    with pytest.raises(OSError, match="No space left on device") as error:
        loop.run(steps=4)
    assert str(directory) in str(error.value)


def test_tensorflows_state_file_that_cannot_be_written_is_no_failure(disk: Disk, tmp_path: Path) -> None:
    loop = counting_loop(Checkpoint(tmp_path, EVERY_2, keep=9))
    loop.on(Event.RUN_BEGIN)(disk.watch)
    loop.run(steps=2)
    disk.fail(
        errno.ENOSPC,
        lambda index: index == disk.operations.index("state file") if "state file" in disk.operations else False,
    )
    loop.run(steps=4)
    assert "state file" in disk.operations
    assert "checkpoint.tmp" not in files(tmp_path)
    assert steps_in(tmp_path) == [2, 4]


def test_a_disk_that_does_not_even_say_how_much_is_free_does_not_hide_what_failed(
    disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(descriptor: int) -> os.statvfs_result:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fstatvfs", broken)
    loop = counting_loop(Checkpoint(tmp_path, EVERY_2))
    loop.on(Event.RUN_BEGIN)(disk.watch)
    disk.fail(errno.EIO, lambda index: True)
    with pytest.raises(OSError, match="The checkpoint of step 2 was not saved"):
        loop.run(steps=2)


def test_a_first_save_that_fails_leaves_nothing_and_a_new_loop_begins_anew(
    whole: dict[int, Bits], disk: Disk, tmp_path: Path
) -> None:
    loop = make_loop(Checkpoint(tmp_path, EVERY_2))
    loop.on(Event.RUN_BEGIN)(disk.watch)
    disk.fail(errno.EIO, lambda index: index == 0)
    with pytest.raises(OSError, match=not_saved(tmp_path, 2, "Input/output error")):
        loop.run(steps=4)
    assert files(tmp_path) == {}
    disk.heal()
    again = make_loop(Checkpoint(tmp_path, EVERY_2))
    again.run(steps=4)
    assert bits(again) == whole[4]


# on_error.


def failing(disk: Disk, loop: Loop, *saves: int) -> Loop:
    """Lets the saves of each run that have these numbers fail, as soon as they begin to flush what they wrote."""
    loop.on(Event.RUN_BEGIN)(disk.watch)

    def instead(index: int, kind: str) -> None:
        if kind == "sync data" and disk.saves in saves:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    disk.instead = instead
    return loop


@pytest.mark.parametrize("background", [True, False])
def test_with_warn_a_run_goes_on_and_logs_each_save_that_failed_once(
    background: bool, whole: dict[int, Bits], disk: Disk, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hook = Checkpoint(tmp_path, EVERY_2, keep=9, on_error="warn", background=background)
    loop = failing(disk, make_loop(hook), 2, 4)
    loop.run(steps=10)
    assert (bits(loop), files(tmp_path).keys()) == (whole[10], names(2, 6, 10))
    told = [(4, "The one of step 2 is as it was."), (8, "The one of step 6 is as it was.")]
    assert [re.sub(r"[\d,]+ (?=bytes|are free)", "", message) for message in warned(caplog)] == [
        f"[Errno 28] The checkpoint of step {step} was not saved in {str(tmp_path)!r}: No space left on device. "
        f"It needs about bytes; are free. {before} With Checkpoint(on_error='warn'), training would go on"
        for step, before in told
    ]


@pytest.mark.parametrize(("on_error", "background"), [("raise", True), ("warn", True), ("warn", False)])
def test_the_last_save_raises_whatever_on_error_says(
    on_error: str, background: bool, disk: Disk, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hook = Checkpoint(tmp_path, EVERY_2, on_error=on_error, background=background)
    loop = failing(disk, counting_loop(hook), 2)
    with pytest.raises(OSError, match=not_saved(tmp_path, 4, "No space left on device", 2)):
        loop.run(steps=4)
    assert (files(tmp_path).keys(), warned(caplog), threads()) == (names(2), [], [])


def test_the_last_save_raises_with_warn_where_the_one_before_failed_too(
    disk: Disk, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    loop = failing(disk, counting_loop(Checkpoint(tmp_path, EVERY_2, on_error="warn")), 1, 2)
    with pytest.raises(OSError, match=not_saved(tmp_path, 4, "No space left on device")):
        loop.run(steps=4)
    assert [message[:49] for message in warned(caplog)] == ["[Errno 28] The checkpoint of step 2 was not saved"]
    assert files(tmp_path) == {}


def test_a_save_that_fails_ends_the_run_after_the_step_in_progress(
    whole: dict[int, Bits], disk: Disk, tmp_path: Path
) -> None:
    stopped = threading.Event()
    loop = failing(disk, make_loop(Checkpoint(tmp_path, At(1, 2)), wait=lambda: await_(stopped)), 2)
    stop = loop.stop

    def told(reason: str) -> None:
        stop(reason)
        stopped.set()

    loop.stop = told
    with pytest.raises(OSError, match=r"The checkpoint of step 2 was not saved .* The one of step 1 is as it was"):
        loop.run(steps=10**6)
    assert (loop.step, bits(loop), files(tmp_path).keys()) == (3, whole[3], names(1, 3))


def test_a_script_whose_last_save_exceeds_the_limit_on_file_sizes_ends_with_an_error(
    whole: dict[int, Bits], tmp_path: Path
) -> None:
    with life(tmp_path, "limited") as process:
        _, printed = process.communicate()
    assert process.returncode == 1
    (last,) = [line for line in printed.splitlines() if line.startswith("OSError")]
    assert re.search(not_saved(tmp_path, 4, ".*File too large", 2), last)
    assert files(tmp_path).keys() == names(2)
    loop = make_loop(Checkpoint(tmp_path, EVERY_2))
    begun = begins(loop)
    loop.run(steps=4)
    assert (begun, bits(loop)) == ([whole[2]], whole[4])


# A directory to which something happens.


@pytest.fixture
def read_only() -> Iterator[Path]:
    """A directory in which nothing can be written: for root, which can write everywhere, as somebody else."""
    directory = Path(tempfile.mkdtemp())  # pytest's own are closed to others
    directory.chmod(0o555)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    yield directory
    os.seteuid(user)
    directory.chmod(0o755)
    shutil.rmtree(directory)


@pytest.mark.parametrize("on_error", ["raise", "warn"])
def test_a_directory_that_is_read_only_is_refused_before_the_first_step(on_error: str, read_only: Path) -> None:
    for directory in (read_only, read_only / "new"):
        loop = counting_loop(Checkpoint(directory, on_error=on_error))
        with pytest.raises(PermissionError) as error:
            loop.run(steps=1)
        assert str(error.value) == (
            f"Checkpoints cannot be written to {str(directory)!r}: Permission denied. "
            "Give a directory that this process may write to."
        )
        assert loop.step == 0
    assert list(read_only.iterdir()) == []


def happens(loop: Loop, at: int, what: Callable[[], object]) -> Loop:
    """Lets something happen to the directory after a step, when no save is in flight."""
    loop.on(Event.STEP_END, every=At(at))(lambda moment: what())
    return loop


def test_a_directory_that_is_removed_under_way_is_made_again(
    whole: dict[int, Bits], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory = tmp_path / "above" / "run"
    hook = Checkpoint(directory, EVERY_2, background=False)
    loop = happens(make_loop(hook), 3, lambda: shutil.rmtree(directory.parent))

    @loop.on(Event.STEP_END, every=At(5))
    def intrude(moment: Moment) -> None:
        with pytest.raises(RuntimeError, match=rf"another trainer \(pid {os.getpid()} on "):  # locked once more
            open_files(directory).lock()

    loop.run(steps=8)  # far enough to prune, which must not look for the one that is gone
    assert (bits(loop), files(directory).keys()) == (whole[8], names(4, 6, 8))
    assert warned(caplog) == [f"{str(directory)!r} was removed while this run was under way. It is made again."]
    again = make_loop(Checkpoint(directory, resume="must"))
    again.run(steps=9)
    assert bits(again) == whole[9]


@pytest.mark.parametrize("on_error", ["raise", "warn"])
def test_a_directory_that_is_replaced_by_a_file_is_an_error(
    on_error: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory = tmp_path / "run"
    loop = counting_loop(Checkpoint(directory, EVERY_2, background=False, on_error=on_error))

    def replace() -> None:
        shutil.rmtree(directory)
        directory.write_text("mine")

    reason = f"Checkpoints need a directory. Received: {str(directory)!r}, which is, or is below, a file"
    with pytest.raises(OSError, match=re.escape(reason)) as error:
        happens(loop, 3, replace).run(steps=6)
    step = 4 if on_error == "raise" else 6
    assert f"The checkpoint of step {step} was not saved in {str(directory)!r}: {reason}" in str(error.value)
    assert directory.read_text() == "mine"
    assert len([message for message in warned(caplog) if "was not saved" in message]) == (on_error == "warn")


@pytest.mark.parametrize("replaced", [False, True], ids=["nothing in its place", "another one in its place"])
def test_a_directory_that_is_moved_under_way_is_an_error_and_intact(
    replaced: bool, whole: dict[int, Bits], tmp_path: Path
) -> None:
    directory, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    loop = make_loop(Checkpoint(directory, EVERY_2, background=False))
    begun = begins(loop)

    def move() -> None:
        directory.rename(elsewhere)
        if replaced:
            directory.mkdir()
            (directory / "notes.txt").write_text("mine")

    reason = f"{str(directory)!r} is not the directory any more that this run began in: {str(elsewhere)!r}"
    with pytest.raises(OSError, match=not_saved(directory, 4, re.escape(reason), 2)):
        happens(loop, 3, move).run(steps=6)
    assert files(elsewhere).keys() == names(2)
    assert files(tmp_path).keys() - {f"elsewhere/{name}" for name in names(2)} == (
        {"run/notes.txt"} if replaced else set()
    )
    again = make_loop(Checkpoint(elsewhere, resume="must"))
    begun = begins(again)
    again.run(steps=4)
    assert (begun, bits(again)) == ([whole[2]], whole[4])


def test_a_directory_that_is_moved_and_moved_back_is_written_to_again(
    whole: dict[int, Bits], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    loop = make_loop(Checkpoint(directory, EVERY_2, background=False, on_error="warn"))

    @loop.on(Event.STEP_END, every=At(3))
    def move(moment: Moment) -> None:
        directory.rename(elsewhere)

    @loop.on(Event.STEP_END, every=At(5))
    def move_back(moment: Moment) -> None:
        elsewhere.rename(directory)

    loop.run(steps=6)
    assert (bits(loop), files(directory).keys()) == (whole[6], names(2, 6))
    assert [message[:49] for message in warned(caplog)] == ["[Errno 5] The checkpoint of step 4 was not saved "]


def replace_by(directory: Path, other: Path) -> Callable[[], None]:
    def replace() -> None:
        shutil.rmtree(directory)
        shutil.copytree(other, directory)

    return replace


def test_a_directory_that_is_replaced_by_one_with_other_checkpoints_is_an_error(original: Path, tmp_path: Path) -> None:
    directory = tmp_path / "run"
    loop = counting_loop(Checkpoint(directory, EVERY_2, background=False))
    reason = f"{str(directory)!r} was replaced by a directory with other checkpoints"
    with pytest.raises(OSError, match=re.escape(reason)):
        happens(loop, 3, replace_by(directory, original)).run(steps=6)
    assert files(directory) == files(original)


def test_a_directory_with_other_checkpoints_is_left_alone_by_later_saves_too(original: Path, tmp_path: Path) -> None:
    directory = tmp_path / "run"
    loop = counting_loop(Checkpoint(directory, EVERY_2, background=False, on_error="warn"))
    failure_of(happens(loop, 3, replace_by(directory, original)), 8)
    assert files(directory) == files(original)


def test_a_checkpoint_that_a_user_removes_under_way_is_no_error(whole: dict[int, Bits], tmp_path: Path) -> None:
    loop = make_loop(Checkpoint(tmp_path, EVERY_2, keep=1, background=False))

    def remove() -> None:
        for name in names(2) - {"checkpoint"}:
            (tmp_path / name).unlink()

    happens(loop, 3, remove).run(steps=6)
    assert (bits(loop), files(tmp_path).keys()) == (whole[6], names(6))


def test_a_directory_that_another_process_makes_at_the_same_moment_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mkdir = os.mkdir

    def overtaken(path: str) -> None:
        mkdir(path)
        mkdir(path)

    monkeypatch.setattr("hooks.checkpoint.local.os.mkdir", overtaken)
    with contextlib.closing(open_files(tmp_path / "new")) as opened:
        assert opened.names() == []


# What happens while a save is in flight.


@pytest.mark.parametrize(
    ("held_at", "data"),
    [("save", None), ("save", shuffled), ("write", shuffled)],
    ids=["arrays", "shuffled dataset", "shuffled dataset, held before its manifest"],
)
def test_training_goes_on_and_a_checkpoint_is_of_the_step_at_which_it_was_asked_for(
    held_at: str, data: Callable[[], StreamData] | None, disk: Disk, tmp_path: Path
) -> None:
    def make(*hooks: Hook) -> Loop:
        return make_loop(*hooks, data=data() if data else None)

    uninterrupted, released, held = by_step(make(), 8), threading.Event(), []

    def instead(index: int, kind: str) -> None:
        if disk.saves == 1 and kind == held_at and not held:
            held.append(kind)
            await_(released)

    disk.instead = instead
    loop = make(Checkpoint(tmp_path / "run", At(2)))
    loop.on(Event.RUN_BEGIN)(disk.watch)
    there: list[list[int]] = []

    @loop.on(Event.STEP_END, every=At(5))
    def release(moment: Moment) -> None:
        there.append(steps_in(tmp_path / "run"))
        released.set()

    loop.run(steps=6)
    assert (held, there, bits(loop)) == ([held_at], [[]], uninterrupted[6])
    assert steps_in(tmp_path / "run") == [2, 6]

    (tmp_path / "then").mkdir()
    for name in names(2) - {"checkpoint"}:  # as if the process had been killed before the last save
        shutil.copy(tmp_path / "run" / name, tmp_path / "then")
    again = make(Checkpoint(tmp_path / "then"))
    begun = begins(again)
    again.run(steps=8)
    assert (begun, bits(again)) == ([uninterrupted[2]], uninterrupted[8])


def hold_until(disk: Disk, loop: Loop, event: threading.Event) -> Loop:
    """Holds the first save of a run before it writes anything, until something happens."""

    def instead(index: int, kind: str) -> None:
        if (disk.saves, kind) == (1, "save"):
            await_(event)

    loop.on(Event.RUN_BEGIN)(disk.watch)
    disk.instead = instead
    return loop


def test_a_second_save_waits_for_the_first(
    whole: dict[int, Bits], disk: Disk, waiting: threading.Event, tmp_path: Path
) -> None:
    loop = hold_until(disk, make_loop(Checkpoint(tmp_path, At(2, 4))), waiting)
    settled: list[tuple[int, list[int]]] = []

    class After(Hook):
        saves = True

        def on_settled(self, moment: Moment) -> None:
            settled.append((moment.step, steps_in(tmp_path)))

    loop.hooks.add(After())
    loop.on(Event.STEP_END, every=At(3))(lambda moment: settled.append((3, steps_in(tmp_path))))
    loop.run(steps=6)
    # If the state were taken again before the first save is done, that one would be of step 4.
    assert settled[:2] == [(2, []), (3, [])]
    assert dict(settled)[4][:1] == [2]
    assert dict(settled)[6] == [2, 4, 6]
    model = dense()
    found = {}
    for step in (2, 4, 6):
        restore(tmp_path, {"model": model}, which=step)
        found[step] = sorted(variable.numpy().tobytes() for variable in model.variables)
    assert found == {
        step: sorted(value for path, value in whole[step].items() if path.startswith("model/")) for step in found
    }


@pytest.mark.parametrize("steps", [2, 3])
def test_no_run_ends_before_its_last_save_is_there(
    steps: int, disk: Disk, waiting: threading.Event, tmp_path: Path
) -> None:
    loop = hold_until(disk, counting_loop(Checkpoint(tmp_path, At(2))), waiting)
    loop.run(steps=steps)
    assert (steps_in(tmp_path), threads()) == (sorted({2, steps}), [])


@pytest.mark.parametrize("raised", [ArithmeticError, KeyboardInterrupt])
def test_an_exception_waits_for_the_save_in_flight(
    raised: type[BaseException], whole: dict[int, Bits], disk: Disk, waiting: threading.Event, tmp_path: Path
) -> None:
    loop = hold_until(disk, make_loop(Checkpoint(tmp_path, At(2))), waiting)
    seen: list[tuple[list[int], list[str]]] = []

    @loop.on(Event.STEP_END, every=At(3))
    def fail(moment: Moment) -> None:
        seen.append((steps_in(tmp_path), threads()))
        raise raised("in step 3")

    with pytest.raises(raised, match="in step 3"):
        loop.run(steps=6)
    assert seen == [([], ["checkpoint"])]  # else this test would show nothing
    assert (files(tmp_path).keys(), threads()) == (names(2), [])
    disk.heal()
    again = make_loop(Checkpoint(tmp_path, resume="must"))
    begun = begins(again)
    again.run(steps=6)
    assert (begun, bits(again)) == ([whole[2]], whole[6])


@pytest.mark.parametrize("on_error", ["raise", "warn"])
def test_an_exception_is_not_hidden_by_a_save_in_flight_that_fails(
    on_error: str, disk: Disk, waiting: threading.Event, tmp_path: Path
) -> None:
    loop = counting_loop(Checkpoint(tmp_path, At(2), on_error=on_error))
    loop.on(Event.RUN_BEGIN)(disk.watch)

    def instead(index: int, kind: str) -> None:
        if kind == "sync data":
            await_(waiting)
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    disk.instead = instead

    @loop.on(Event.STEP_END, every=At(3))
    def fail(moment: Moment) -> None:
        raise ArithmeticError("in step 3")

    with pytest.raises(ArithmeticError, match="in step 3") as error:
        loop.run(steps=6)
    (note,) = [note for note in error.value.__notes__ if "The checkpoint of step 2 was not saved" in note]
    assert note.startswith("Then OSError(5, ")
    assert (files(tmp_path), threads()) == ({}, [])


@pytest.mark.parametrize("background", [False, True])
def test_only_in_the_foreground_a_save_is_complete_before_training_goes_on(
    background: bool, disk: Disk, tmp_path: Path
) -> None:
    loop, seen_it = counting_loop(Checkpoint(tmp_path, At(2), background=background)), threading.Event()
    seen: list[list[int]] = []

    class After(Hook):
        saves = True

        def on_settled(self, moment: Moment) -> None:
            seen.append(steps_in(tmp_path))
            seen_it.set()

    loop.hooks.add(After())
    if background:
        hold_until(disk, loop, seen_it)
    loop.run(steps=3)
    assert seen == [[] if background else [2], [2, 3]]


# TensorFlow's list of checkpoints.


def test_it_does_not_grow_with_the_number_of_saves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save, listed = tf.train.CheckpointManager.save, list[list[str]]()

    def spied(manager: tf.train.CheckpointManager, checkpoint_number: int) -> str:
        saved = save(manager, checkpoint_number)
        listed.append([Path(path).name for path in manager.checkpoints])
        return saved

    monkeypatch.setattr(tf.train.CheckpointManager, "save", spied)
    counting_loop(Checkpoint(tmp_path, EVERY_1, keep=1)).run(steps=4)
    assert listed == [["ckpt-1"], ["ckpt-2"], ["ckpt-3"], ["ckpt-4"]]  # the store adds what else is there


@pytest.mark.parametrize("content", [b"", b"\xff", b'model_checkpoint_path: "nowhere"'])
def test_a_save_is_not_kept_from_by_a_list_that_somebody_has_damaged(content: bytes, tmp_path: Path) -> None:
    loop = counting_loop(Checkpoint(tmp_path, EVERY_1, keep=2))

    @loop.on(Event.STEP_END, every=EVERY_1)
    def damage(moment: Moment) -> None:
        (tmp_path / "checkpoint").write_bytes(content)

    loop.run(steps=3)
    assert steps_in(tmp_path) == [2, 3]
    assert tf.train.get_checkpoint_state(tmp_path).all_model_checkpoint_paths == [
        f"{tmp_path}/ckpt-2",
        f"{tmp_path}/ckpt-3",
    ]


# Values that are not finite.


@pytest.mark.parametrize("poison", [NAN, -INF])
def test_a_state_that_is_not_finite_ends_the_run_and_is_not_saved(
    poison: float, whole: dict[int, Bits], tmp_path: Path
) -> None:
    loop = make_loop(Checkpoint(tmp_path, EVERY_2), poison=poison, at=4)
    with pytest.raises(FloatingPointError) as error:
        loop.run(steps=6)
    assert str(error.value) == (
        "The state after step 4 has values that are NaN or infinite, and was not saved: "
        "model/_functional/_operations/1/_kernel (1), optimizer/_variables/2 (1). The one of step 2 is as it was. "
        "Checkpoint(save_nonfinite=True) would save it."
    )
    assert files(tmp_path).keys() == names(2)
    again = make_loop(Checkpoint(tmp_path, EVERY_2, resume_changed="warn"))
    begun = begins(again)
    with pytest.warns(UserWarning, match="The run goes on with other numbers: the 'train' step has other constants"):
        again.run(steps=6)
    assert (begun, bits(again)) == ([whole[2]], whole[6])


def test_with_warn_a_state_that_is_not_finite_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    counting_loop(Checkpoint(tmp_path, EVERY_2, keep=9, on_error="warn"), at=4).run(steps=8)
    assert files(tmp_path).keys() == names(2, 6, 8)
    assert warned(caplog) == [
        "The state after step 4 has values that are NaN or infinite, and was not saved: right (2048). "
        "The one of step 2 is as it was. Checkpoint(save_nonfinite=True) would save it."
    ]


def test_with_warn_a_last_state_that_is_not_finite_raises(tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match=r"after step 4 .*: right \(2048\)\. The one of step 2 is as it was"):
        counting_loop(Checkpoint(tmp_path, EVERY_2, on_error="warn"), at=4).run(steps=4)
    assert files(tmp_path).keys() == names(2)


def test_a_first_state_that_is_not_finite_says_that_there_is_none_before(tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match=r"after step 2 .*: right \(2048\)\. There is none before it\."):
        counting_loop(Checkpoint(tmp_path, EVERY_2), at=2).run(steps=4)
    assert files(tmp_path) == {}


def test_a_state_that_is_not_finite_can_be_saved_and_resumed(tmp_path: Path) -> None:
    def make() -> Loop:
        return counting_loop(Checkpoint(tmp_path, EVERY_2, save_nonfinite=True), poison=INF, at=4)

    first = make()
    first.run(steps=4)
    assert np.isinf(first.state.variables["right"].numpy()).sum() == 2**11
    again = make()
    begun = begins(again)
    again.run(steps=5)
    assert begun == [bits(first)]


def test_a_complex_value_that_is_not_finite_is_not_saved(tmp_path: Path) -> None:
    value = tf.Variable(tf.complex(NAN, 0.0))
    loop = Loop(
        lambda x: {"loss": tf.math.real(value.assign(value))},
        ArrayData(rows(), batch_size=1, seed=3),
        state={"value": value},
        hooks=[Checkpoint(tmp_path)],
    )
    with pytest.raises(FloatingPointError, match=r"value \(1\)"):
        loop.run(steps=1)


def test_what_is_only_logged_need_not_be_finite(tmp_path: Path) -> None:
    def make() -> Loop:
        total = tf.Variable(0.0, name="total")
        return Loop(
            lambda x: {"loss": total.assign_add(1.0) * NAN, "other": total * INF},
            ArrayData(rows(), batch_size=1, seed=3),
            state={"total": total},
            hooks=[Checkpoint(tmp_path, EVERY_2, best="loss", mode="min")],
        )

    make().run(steps=4)
    assert files(tmp_path).keys() == names(2, 4)
    loop = make()
    result = loop.run(steps=6)
    assert (int(loop.state.variables["total"]), np.isnan(result.logs["loss"])) == (6, True)


# Checkpoints that are kept for good.


@pytest.mark.parametrize(
    ("keep_every", "kept"),
    [
        (NEVER, [9]),
        (Every(steps=4), [4, 8, 9]),
        (Every(epochs=1), [8, 9]),
        (At(3, 5), [3, 9]),  # 5 is never saved: this does not make anything be saved
        (Every(steps=4) | At(6), [4, 6, 8, 9]),
    ],
    ids=repr,
)
def test_some_are_kept_for_good(keep_every: Trigger, kept: list[int], tmp_path: Path) -> None:
    counting_loop(Checkpoint(tmp_path, EVERY_2 | At(3), keep=1, keep_every=keep_every)).run(steps=9)
    assert files(tmp_path).keys() == names(*kept)


def test_epochs_are_kept_for_good_by_their_number(tmp_path: Path) -> None:
    counting_loop(Checkpoint(tmp_path, keep=1, keep_every=Every(epochs=2))).run(epochs=5)
    assert files(tmp_path).keys() == names(16, 32, 40)


def test_what_is_kept_for_good_stays_so_when_a_run_is_resumed(tmp_path: Path) -> None:
    for steps in (3, 5, 9):
        counting_loop(Checkpoint(tmp_path, EVERY_1, keep=1, keep_every=Every(steps=4))).run(steps=steps)
    assert files(tmp_path).keys() == names(4, 8, 9)


def test_the_first_in_each_interval_of_training_time_is_kept_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Every step takes 10 seconds, and 1000 more pass between two runs, which are none of training.
    now = [0.0]
    monkeypatch.setattr("loop.engine.clock.time", types.SimpleNamespace(monotonic=lambda: now[0]))
    kept = []
    for steps in (5, 12):
        loop = counting_loop(Checkpoint(tmp_path, EVERY_1, keep=1, keep_every=Every(seconds=35)))

        @loop.on(Event.STEP_END, every=EVERY_1)
        def tick(moment: Moment) -> None:
            now[0] += 10

        loop.run(steps=steps)
        kept.append(steps_in(tmp_path))
        now[0] += 1000
    # The grid is at 35, 70 and 105 seconds.
    assert kept == [[4, 5], [4, 7, 11, 12]]


def test_the_latest_the_best_and_those_for_good_are_kept_together(tmp_path: Path) -> None:
    total = tf.Variable(0, dtype=tf.int32, name="total")
    losses = tf.constant([5.0, 4.0, 1.0, 3.0, 2.0, 6.0, 7.0, 8.0, 9.0, 9.5])
    loop = Loop(
        lambda x: {"loss": losses[total.assign_add(1) - 1]},
        ArrayData(rows()[:1], batch_size=1, seed=3),
        state={"total": total},
        hooks=[Checkpoint(tmp_path, EVERY_1, keep=2, best="loss", mode="min", keep_best=2, keep_every=Every(steps=4))],
    )
    loop.run(epochs=10)
    assert files(tmp_path).keys() == names(3, 5, 4, 8, 9, 10)  # best: 3, 5; for good: 4, 8; latest: 9, 10


@pytest.mark.parametrize("wrong", [4, 4.0, "4", None])
def test_what_is_kept_for_good_is_said_by_a_trigger(wrong: object, tmp_path: Path) -> None:
    message = rf"^Checkpoint\(keep_every=...\) needs a trigger, as in Every\(steps=(4|5000)\). Received: {wrong!r}"
    with pytest.raises(TypeError, match=message):
        Checkpoint(tmp_path, keep_every=wrong)


# An address of another file system.


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """A directory in TensorFlow's file system in memory, in which there is nothing yet."""
    address = f"ram://{str(tmp_path).strip('/').replace('/', '-')}"
    yield address
    if tf.io.gfile.isdir(address):
        tf.io.gfile.rmtree(address)


def at_address(address: str) -> set[str]:
    return {name.rstrip("/") for name in tf.io.gfile.listdir(address)}


def overwrite(path: str, content: bytes) -> None:
    with tf.io.gfile.GFile(path, "wb") as file:
        file.write(content)


def content_of(path: str) -> bytes:
    with tf.io.gfile.GFile(path, "rb") as file:
        return file.read()


def test_a_run_is_resumed_from_an_address(whole: dict[int, Bits], address: str) -> None:
    for steps in (3, 4, 9):
        loop = make_loop(Checkpoint(f"{address}/run/", EVERY_2, keep=2))
        begun = begins(loop)
        loop.run(steps=steps)
        assert bits(loop) == whole[steps]
        assert not begun or steps == 3 or begun == [whole[{4: 3, 9: 4}[steps]]]
    assert at_address(f"{address}/run") == names(8, 9)


def test_all_rules_of_what_stays_hold_at_an_address(address: str) -> None:
    counting_loop(Checkpoint(address, EVERY_1, keep=1, keep_every=Every(steps=4), best="loss", mode="min")).run(
        epochs=2
    )
    assert at_address(address) == names(4, 8, 12, 16)


@pytest.mark.parametrize(
    ("damage", "ending"),
    [
        ("flipped", ".index"),
        ("flipped", ".json"),
        ("cut", ".data-00000-of-00001"),
        ("gone", ".data-00000-of-00001"),
        ("gone", ".json"),
    ],
)
def test_a_damaged_checkpoint_at_an_address_is_set_aside_and_the_one_before_used(
    damage: str, ending: str, whole: dict[int, Bits], original: Path, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    for name, content in files(original).items():
        tf.io.gfile.makedirs(address)
        overwrite(f"{address}/{name}", content)
    path = f"{address}/ckpt-6{ending}"
    content = bytearray(content_of(path))
    content[len(content) // 2] ^= 1
    tf.io.gfile.remove(path)
    if damage != "gone":
        overwrite(path, bytes(content) if damage == "flipped" else bytes(content[: len(content) // 2]))
    loop = make_loop(Checkpoint(address, NEVER))
    begun = begins(loop)
    with pytest.warns(CorruptCheckpoint) as told:
        loop.run(steps=7)
    assert [(each.message.file, each.message.instead) for each in told] == [
        (path, "The one of step 4 is used instead.")
    ]
    assert (begun, bits(loop)) == ([whole[4]], whole[7])
    assert at_address(address) == names(2, 4, 7) | {"set-aside-1"}
    assert warned(caplog) == [f"Set aside in {address}/set-aside-1: ckpt-6."]
    left = names(6) - {"checkpoint"} - ({f"ckpt-6{ending}"} if damage == "gone" else set())
    assert at_address(f"{address}/set-aside-1") == left


def test_what_a_crash_left_at_an_address_is_removed_and_what_is_not_ours_is_not(
    whole: dict[int, Bits], address: str
) -> None:
    make_loop(Checkpoint(address, EVERY_2)).run(steps=4)
    for name in ("ckpt-9.index", "ckpt-9.data-00000-of-00001", "ckpt-9.json.tmp", "ckpt-4.json.tmp", "notes.txt"):
        overwrite(f"{address}/{name}", b"half")
    tf.io.gfile.makedirs(f"{address}/ckpt-9_temp")
    overwrite(f"{address}/ckpt-9_temp/part-00000-of-00001.index", b"half")
    loop = make_loop(Checkpoint(address, NEVER, resume="must"))
    loop.run(steps=6)
    assert bits(loop) == whole[6]
    assert at_address(address) == names(2, 4, 6) | {"notes.txt"}


def test_an_address_that_is_removed_under_way_is_made_again(whole: dict[int, Bits], address: str) -> None:
    loop = make_loop(Checkpoint(address, EVERY_2, background=False))
    happens(loop, 3, lambda: tf.io.gfile.rmtree(address)).run(steps=8)
    assert (bits(loop), at_address(address)) == (whole[8], names(4, 6, 8))


def test_a_model_is_restored_from_an_address(whole: dict[int, Bits], address: str) -> None:
    make_loop(Checkpoint(address, EVERY_2)).run(steps=4)
    model = dense()
    assert restore(address, {"model": model}) == 4
    assert weights(model) == weights_in(whole[4])


def test_a_reader_at_an_address_does_not_mind_a_trainer_that_removes_what_it_reads(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting_loop(Checkpoint(address, EVERY_2)).run(steps=4)
    pinned, times = RemoteFiles.pinned, []

    @contextlib.contextmanager
    def overtaken(self: RemoteFiles, files: Mapping[str, Measure]) -> Iterator[str]:
        with pinned(self, files) as directory:
            times.append(1)
            if len(times) == 1:  # a trainer prunes just now
                for name in (".json", *OF_TENSORFLOW):
                    tf.io.gfile.remove(f"{address}/ckpt-4{name}")
            yield directory

    monkeypatch.setattr(RemoteFiles, "pinned", overtaken)
    assert restore(address, {"left": tf.Variable(tf.zeros([2**12]))}) == 2


def test_an_address_that_is_missing_is_refused_like_a_directory(address: str) -> None:
    with pytest.raises(FileNotFoundError, match=re.escape(address)):
        restore(address, {"left": tf.Variable(tf.zeros([2**12]))})


def test_an_address_of_a_file_is_no_directory(address: str) -> None:
    tf.io.gfile.makedirs(address)
    overwrite(f"{address}/file", b"mine")
    with pytest.raises(NotADirectoryError, match=re.escape(f"{address}/file")):
        counting_loop(Checkpoint(f"{address}/file")).run(steps=1)


# What a script takes from a checkpoint.


def weights(model: keras.Model) -> list[bytes]:
    return sorted(variable.numpy().tobytes() for variable in model.variables)


def weights_in(state: Bits) -> list[bytes]:
    return sorted(value for path, value in state.items() if path.startswith("model/"))


def test_a_model_alone_is_restored(whole: dict[int, Bits], saved: Path) -> None:
    before, model = files(saved), dense()
    found = [(restore(saved, {"model": model}, which=which), weights(model)) for which in (2, "latest", 4)]
    assert found == [(step, weights_in(whole[step])) for step in (2, 6, 4)]
    assert (restore(str(saved), {"model": model}), weights(model)) == (6, weights_in(whole[6]))
    assert files(saved) == before


def test_a_model_and_its_optimizer_are_restored(whole: dict[int, Bits], saved: Path) -> None:
    model, optimizer = dense(), keras.optimizers.SGD(0.5, momentum=0.9)
    optimizer.build(model.trainable_variables)
    assert restore(saved, {"model": model, "optimizer": optimizer}, which=4) == 4
    mine = sorted(v.numpy().tobytes() for v in [*model.variables, *optimizer.variables])
    assert mine == sorted(v for path, v in whole[4].items() if path.startswith(("model/", "optimizer/")))


def test_the_best_is_restored(tmp_path: Path) -> None:
    for mode, best in (("min", 8), ("max", 24)):
        counting_loop(Checkpoint(tmp_path / mode, best="loss", mode=mode, keep=9)).run(epochs=3)
        left = tf.Variable(tf.zeros([2**12]))
        assert restore(tmp_path / mode, {"left": left}, which="best") == best
        assert left.numpy().tolist() == [best] * 2**12


def test_there_is_no_best_where_none_was_watched(saved: Path) -> None:
    message = f"No checkpoint 'best' is in {str(saved)!r}. There are: ckpt-2, ckpt-4, ckpt-6."
    with pytest.raises(FileNotFoundError, match=re.escape(message)):
        restore(saved, {"model": dense()}, which="best")


def test_a_step_that_is_missing_is_refused_with_those_there_are(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    model = dense()
    before = weights(model)
    for directory, which, there in [
        (saved, 5, "ckpt-2, ckpt-4, ckpt-6"),
        (saved, -2, "ckpt-2, ckpt-4, ckpt-6"),
        (tmp_path / "empty", "latest", "none"),
    ]:
        message = f"No checkpoint {which!r} is in {str(directory)!r}. There are: {there}."
        with pytest.raises(FileNotFoundError, match=f"^{re.escape(message)}$"):
            restore(directory, {"model": model}, which=which)
    assert weights(model) == before


def test_a_directory_that_is_missing_is_refused_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=re.escape(str(tmp_path / "new"))):
        restore(tmp_path / "new", {"model": dense()})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrong", ["newest", "6", "ckpt-6", True, 6.0, None])
def test_what_names_no_checkpoint_is_refused(wrong: object, saved: Path) -> None:
    message = f"restore(which=...) must be 'latest', 'best' or a step. Received: {wrong!r}."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        restore(saved, {"model": dense()}, which=wrong)


def test_another_model_is_refused_with_all_differences_and_nothing_is_assigned(saved: Path) -> None:
    models = {
        "wider": keras.Sequential([keras.Input([1]), keras.layers.Dense(2)]),
        "deeper": keras.Sequential([keras.Input([1]), keras.layers.Dense(1), keras.layers.Dense(1)]),
    }
    layer = "model/_functional/_operations"
    lines = {
        "wider": [
            f"{layer}/1/_kernel: [1, 1, 'float32'] in the checkpoint, [1, 2, 'float32'] now",
            f"{layer}/1/bias: [1, 'float32'] in the checkpoint, [2, 'float32'] now",
        ],
        "deeper": [
            f"{layer}/2/_kernel: missing in the checkpoint, [1, 1, 'float32'] now",
            f"{layer}/2/bias: missing in the checkpoint, [1, 'float32'] now",
        ],
    }
    before = {kind: weights(model) for kind, model in models.items()}
    told = {}
    for kind, model in models.items():
        with pytest.raises(ValueError, match=r"ckpt-6 in .* does not fit\. Nothing was restored") as error:
            restore(saved, {"model": model})
        told[kind] = [line.strip() for line in str(error.value).splitlines()[1:-1]]
    assert told == lines
    assert {kind: weights(model) for kind, model in models.items()} == before


def test_what_the_checkpoint_does_not_have_is_refused(saved: Path) -> None:
    variable = tf.Variable(7.0)
    with pytest.raises(ValueError, match="Nothing was restored") as error:
        restore(saved, {"model": dense(), "ema": variable})
    assert str(error.value).splitlines()[1:-1] == ["  ema: missing in the checkpoint, ['float32'] now"]
    assert float(variable) == 7.0


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize("ending", [*OF_TENSORFLOW, ".json"])
def test_of_damaged_checkpoints_the_one_before_is_restored_with_a_warning(
    ending: str, whole: dict[int, Bits], saved: Path
) -> None:
    cut(saved / f"ckpt-6{ending}")
    before, model = files(saved), dense()
    with pytest.warns(CorruptCheckpoint) as told:
        assert restore(saved, {"model": model}) == 4
    assert weights(model) == weights_in(whole[4])
    assert [(each.message.file, each.message.instead) for each in told] == [
        (str(saved / f"ckpt-6{ending}"), "The one of step 4 is used instead.")
    ]
    assert files(saved) == before  # setting it aside is for the one that trains


def test_a_damaged_step_is_an_error_where_just_this_one_is_wanted(saved: Path) -> None:
    cut(saved / "ckpt-6.index")
    model = dense()
    before = weights(model)
    with pytest.raises(CorruptCheckpoint, match=re.escape(str(saved / "ckpt-6.index"))):
        restore(saved, {"model": model}, which=6)
    assert weights(model) == before


@pytest.mark.parametrize(
    "ending",
    [
        *OF_TENSORFLOW,
        ".json",
    ],
)
def test_of_damaged_best_ones_the_next_best_is_restored_with_a_warning(ending: str, tmp_path: Path) -> None:
    counting_loop(Checkpoint(tmp_path, best="loss", mode="min", keep=9)).run(epochs=3)
    cut(tmp_path / f"ckpt-8{ending}")
    with pytest.warns(CorruptCheckpoint, match=rf"ckpt-8{ending}: .*The one of step 16 is used instead"):
        assert restore(tmp_path, {"left": tf.Variable(tf.zeros([2**12]))}, which="best") == 16


def test_if_all_are_damaged_nothing_is_restored(saved: Path) -> None:
    for step in (2, 4, 6):
        cut(saved / f"ckpt-{step}.index")
    model = dense()
    before = weights(model)
    with pytest.raises(CorruptCheckpoint, match=r"(?s)no checkpoint is whole.*ckpt-6.*ckpt-4.*ckpt-2"):
        restore(saved, {"model": model})
    assert weights(model) == before


def counted(directory: Path) -> tuple[int, float]:
    """Returns the step that a reader restores as the latest, and the count that is in it."""
    left, right = (tf.Variable(tf.zeros([2**12]), name=name) for name in ("left", "right"))
    step = restore(directory, {"left": left, "right": right})
    return step, float(right[0])


def test_a_reader_from_whom_the_latest_is_removed_takes_a_newer_one_and_no_older_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, pin = counting_loop(Checkpoint(tmp_path, EVERY_1, keep=1, keep_every=At(1))), Store.pin
    loop.run(steps=3)
    asked: list[str] = []

    def after_a_step(self: Store, stem: str) -> Pin:
        asked.append(stem)
        if len(asked) == 1:
            loop.run(steps=4)  # removes the one that the reader has just chosen
        return pin(self, stem)

    monkeypatch.setattr(Store, "pin", after_a_step)
    assert (counted(tmp_path), asked) == ((4, 4.0), ["ckpt-3", "ckpt-4"])


@pytest.mark.parametrize("missing", ["ckpt-", "ckpt-3"], ids=["all", "the latest"])
@pytest.mark.parametrize("listing", range(4))
def test_a_listing_that_misses_what_is_there_is_not_believed(
    missing: str, listing: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting_loop(Checkpoint(tmp_path, EVERY_1, keep=1, keep_every=At(1))).run(steps=3)
    names, listed = LocalFiles.names, list[list[str]]()

    def some(self: LocalFiles) -> list[str]:
        listed.append(names(self))
        return [name for name in listed[-1] if len(listed) != listing + 1 or not name.startswith(missing)]

    monkeypatch.setattr(LocalFiles, "names", some)
    assert counted(tmp_path) == (3, 3.0)
    assert len(listed) > listing or listing == 3  # else nothing was kept from it


def test_a_reader_that_restores_all_the_time_never_sees_half_a_checkpoint(tmp_path: Path) -> None:
    loop = counting_loop(Checkpoint(tmp_path, EVERY_1, keep=1))
    loop.run(steps=1)
    with life(tmp_path, "reader") as process:

        @loop.on(Event.STEP_END, every=EVERY_1)
        def look(moment: Moment) -> None:
            if process.poll() is not None:
                moment.stop("enough was read")

        loop.run(steps=10**6)
        printed, errors = process.communicate()
    assert (process.returncode, printed) == (0, "200 and more were whole\n"), errors


# Who may write.


def test_a_fork_does_not_keep_the_lock_of_a_process_that_was_killed(tmp_path: Path) -> None:
    with life(tmp_path, "holder") as process:
        fork = int(process.stdout.readline())
        try:
            with pytest.raises(RuntimeError, match=rf"\(pid {process.pid} on "):
                open_files(tmp_path).lock()
            process.send_signal(signal.SIGKILL)
            process.wait()
            os.kill(fork, 0)  # it is alive
            with contextlib.closing(open_files(tmp_path)) as opened:
                opened.lock()
        finally:
            os.kill(fork, signal.SIGKILL)


def test_of_two_processes_that_lock_at_the_same_moment_exactly_one_wins_and_the_other_says_who(tmp_path: Path) -> None:
    with life(tmp_path, "race") as process:
        printed, _ = process.communicate()
    rounds = [json.loads(line) for line in printed.splitlines()]
    assert (process.returncode, len(rounds)) == (0, 20)
    for number, results in enumerate(rounds):
        winners = [pid for pid, message in results if message is None]
        messages = [message for _, message in results if message is not None]
        assert len(winners) == len(messages) == 1, results
        start = f"{str(tmp_path / str(number))!r} is being written by another trainer "
        assert messages[0].startswith(f"{start}(pid {winners[0]} on {socket.gethostname()} since "), messages


# The lives of processes of their own.


def limited(directory: Path) -> None:
    """A run whose last save is in the background, and too large for what this process may write."""
    loop = make_loop(Checkpoint(directory, EVERY_2))
    loop.run(steps=2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, resource.RLIM_INFINITY))
    loop.run(steps=4)


def reader(directory: Path) -> None:
    """Restores 200 times, and from at least three different steps, however slow the trainer is."""
    warnings.simplefilter("error", CorruptCheckpoint)
    left, right = (tf.Variable(tf.zeros([2**12])) for _ in range(2))
    times, seen = 0, set[int]()
    while times < 200 or len(seen) < 3:
        step = restore(directory, {"left": left, "right": right})
        found = {*left.numpy().tolist(), *right.numpy().tolist()}
        if found != {float(step)}:
            sys.exit(f"half of step {step}: {found}")
        times += 1
        seen.add(step)
    print("200 and more were whole")


def holder(directory: Path) -> None:
    """Locks a directory and has a fork that lives on; says the fork's pid."""
    open_files(directory).lock()
    pid = os.fork()
    if pid:
        print(pid, flush=True)
    signal.pause()


def race(directory: Path) -> None:
    """Twenty times, two forks lock a directory at the same moment; says who they are and what they were told.

    TensorFlow is imported once, and the parent never runs an operation, so its forks can.
    """
    context = multiprocessing.get_context("fork")
    for number in range(20):
        barrier, results, told = context.Barrier(2), context.SimpleQueue(), context.Event()
        forks = [
            context.Process(target=contend, args=(directory / str(number), barrier.wait, results.put, told.wait))
            for _ in range(2)
        ]
        for fork in forks:
            fork.start()
        print(json.dumps([results.get() for _ in forks]))
        told.set()
        for fork in forks:
            fork.join()


def contend(
    directory: Path, meet: Callable[[], object], tell: Callable[[object], object], stay: Callable[[], object]
) -> None:
    directory.mkdir(exist_ok=True)
    opened, message = open_files(directory), None
    meet()
    try:
        opened.lock()
    except RuntimeError as error:
        message = str(error)
    tell((os.getpid(), message))
    stay()


LIVES: dict[str, Callable[[Path], None]] = {"limited": limited, "reader": reader, "holder": holder, "race": race}

if __name__ == "__main__":
    tf.config.experimental.enable_op_determinism()
    LIVES[sys.argv[2]](Path(sys.argv[1]))
