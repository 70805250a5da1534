"""Checkpoint on storage that cannot do everything, or fails now and then: each call of the system in turn, and others.

What is saved is never lost for it, errors name the file, and the next run goes on.
"""

import contextlib
import errno
import fcntl
import os
import shutil
import subprocess
import tempfile
import types
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import pytest
import tensorflow as tf

from hooks import Checkpoint, restore
from hooks.checkpoint.disk import durable, local, lock
from hooks.checkpoint.disk.directory import open_files
from hooks.checkpoint.saving.bundle import Bundle
from hooks.shared import flushing
from loop import ArrayData, At, Event, Every, Loop, Moment

KEPT = {"every": Every(steps=2), "keep": 2, "background": False}


class Counter:
    """A loop after whose n-th step there is n, and which can begin anew as another process would."""

    def __init__(self) -> None:
        keras.utils.set_random_seed(1)  # which each test does
        self.count = tf.Variable(0.0, name="count")
        data = ArrayData(tf.range(8), batch_size=1, seed=1)
        self.loop = Loop(lambda x: {"loss": self.count.assign_add(1.0)}, data, state={"count": self.count})
        self.begun = list[int]()
        self.loop.run(steps=1)
        self.loop.on(Event.RUN_BEGIN)(lambda moment: self.begun.append(moment.step))

    def run(self, directory: str | Path, steps: int, **kinds: object) -> None:
        """Runs to a step from what is in the directory; the count has to be that of the steps."""
        for variable in self.loop.state.variables.values():
            variable.assign(tf.zeros([length or 0 for length in variable.shape], variable.dtype))
        self.loop.state.position.torn = False
        self.loop.hooks.add(Checkpoint(directory, **KEPT | kinds))
        try:
            self.loop.run(steps=steps)
        finally:
            self.loop.hooks.remove("checkpoint")
        assert (self.loop.step, float(self.count)) == (steps, steps)


@pytest.fixture(scope="module")
def counter() -> Counter:
    return Counter()


@pytest.fixture(scope="module")
def base(counter: Counter, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with checkpoints of steps 2 and 4."""
    directory = tmp_path_factory.mktemp("base")
    counter.run(directory, 4)
    return directory


def steps_in(directory: Path) -> list[int]:
    return sorted(int(path.stem.split("-")[1]) for path in directory.glob("ckpt-*.json"))


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if (each.name, each.levelname) == ("exactloop", "WARNING")]


# Each call of the system.


class System(types.ModuleType):
    """The module `os`, of which calls may fail.

    Attributes:
        calls: Their names, in order.
        fails: What a call raises, by its number; None: nothing.
    """

    path = os.path
    LEFT_ALONE = ("getpid", "strerror", "fsencode", "register_at_fork", "stat_result", "urandom")

    def __init__(self) -> None:
        super().__init__("os")
        self.calls = list[str]()
        self.fails: Callable[[int], int | None] = lambda number: None

    def __getattr__(self, name: str) -> object:
        value = getattr(os, name)
        if not callable(value) or name in self.LEFT_ALONE:
            return value

        def call(*args: object, **kwargs: object) -> object:
            self.calls.append(name)
            number = self.fails(len(self.calls) - 1)
            if number is not None:
                if name == "close":  # it is closed nevertheless
                    value(*args, **kwargs)
                raise OSError(number, os.strerror(number))
            return value(*args, **kwargs)

        return call


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> System:
    system = System()
    for module in (durable, flushing, local, lock):
        monkeypatch.setattr(module, "os", system)
    return system


def calls_fail(number: int, apart: int, counter: Counter, base: Path, system: System, work: Path) -> None:
    """Lets each call (or some of them, so many apart) of a resumed run fail, once and from there on."""
    counter.run(shutil.copytree(base, work / "all"), 8)
    calls = list(system.calls)
    assert {"open", "fsync", "rename", "listdir", "unlink", "stat", "fstat", "ftruncate", "pwrite"} <= set(calls)
    unnamed, set_aside, lost = [], [], []
    for index, name in list(enumerate(calls))[::apart]:
        for for_good in (False, True):
            directory, system.calls = Path(shutil.copytree(base, work / f"{index}-{for_good}")), []
            system.fails = lambda now, index=index, for_good=for_good: (
                number if now == index or (for_good and now > index) else None
            )
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                try:
                    counter.run(directory, 8)
                except (OSError, UserWarning) as error:
                    if str(directory) not in str(error) and "/exactloop-" not in str(error):  # links to what is read
                        unnamed.append((index, name, for_good, str(error)))
            system.fails = lambda now: None
            there = max(steps_in(directory))
            counter.run(directory, 10)
            if counter.begun[-1] < max(4, there):
                lost.append((index, name, for_good))
            if told or list(directory.glob("set-aside*")):
                set_aside.append((index, name, for_good, [str(each.message) for each in told]))
            assert steps_in(directory) == [8, 10]
    assert (unnamed, set_aside, lost) == ([], [], [])


@pytest.mark.more
def test_calls_that_fail_lose_nothing(counter: Counter, base: Path, system: System, tmp_path: Path) -> None:
    calls_fail(errno.EIO, 47, counter, base, system, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize(
    "number",
    [errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ESTALE, errno.EMFILE, errno.ENOMEM],
    ids=errno.errorcode.get,
)
def test_each_call_that_fails_loses_nothing(
    number: int, counter: Counter, base: Path, system: System, tmp_path: Path
) -> None:
    calls_fail(number, 1, counter, base, system, tmp_path)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ESTALE, errno.EIO], ids=errno.errorcode.get)
def test_what_cannot_be_read_now_is_no_reason_to_take_an_older_one(
    number: int, counter: Counter, base: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Only what the disk says is damaged, however often it is asked."""
    directory, opened = Path(shutil.copytree(base, tmp_path / "run")), os.open

    def refuse(path: str, *args: int, **kwargs: int) -> int:
        if path == "ckpt-4.index":
            raise OSError(number, os.strerror(number))
        return opened(path, *args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", refuse)
        if number == errno.EIO:
            with pytest.warns(
                UserWarning, match=r"ckpt-4.index: cannot be read: Input/output error\. The one of step 2"
            ):
                assert restore(directory, {"count": tf.Variable(0.0)}) == 2
            return
        with pytest.raises(OSError, match=os.strerror(number)) as error:
            counter.run(directory, 8)
        assert str(directory / "ckpt-4.index") in str(error.value)
    counter.run(directory, 5)
    assert (counter.begun[-1], steps_in(directory)) == (4, [4, 5])


# What a file system cannot do.


@pytest.mark.more
@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, 0], ids=errno.errorcode.get)
def test_without_locks_a_run_goes_on_and_of_two_the_first_ends(
    number: int, counter: Counter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def flock(descriptor: int, operation: int) -> None:
        if number:  # else the lock holds on this machine only, and the other trainer is on another one
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    counter.run(tmp_path, 4)
    said = f"{str(tmp_path)!r} is on a file system without locks ({os.strerror(number)}): nobody is "
    assert [line[: len(said)] for line in warned(caplog)] == ([said] if number else [])
    others = []

    @counter.loop.on(Event.STEP_END, every=At(5))
    def come(moment: Moment) -> None:
        others.append(open_files(tmp_path))
        others[0].lock()

    try:
        with pytest.raises(OSError, match=rf"another trainer by now \(pid {os.getpid()} on "):
            counter.run(tmp_path, 8)
    finally:
        counter.loop.hooks.remove("come")
    others[0].close()
    assert steps_in(tmp_path) == [2, 4]  # nothing of the first one
    counter.run(tmp_path, 6)
    assert counter.begun[-1] == 4


def test_a_lock_that_fails_otherwise_is_refused(counter: Counter, tmp_path: Path, system: System) -> None:
    system.fails = lambda number: errno.EIO if system.calls[-1] == "pwrite" else None
    with pytest.raises(OSError, match=f"cannot be written to {str(tmp_path)!r}: Input/output error"):
        counter.run(tmp_path, 4)


@pytest.mark.parametrize(
    ("number", "of_directories", "goes_on"),
    [
        (errno.EINVAL, True, True),
        (errno.EACCES, True, True),
        (errno.EINVAL, False, True),
        (errno.EIO, True, False),
        (errno.EACCES, False, False),
    ],
)
def test_what_cannot_be_flushed_is_said_once_and_what_fails_to_be_is_an_error(
    number: int,
    of_directories: bool,
    goes_on: bool,
    counter: Counter,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fsync(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}") == of_directories:
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fsync)
    if goes_on:
        counter.run(tmp_path, 4)
        assert warned(caplog) == [
            f"{str(tmp_path)!r} is on a file system that flushes nothing: a power failure may lose the latest "
            "checkpoints."
        ]
    else:
        with pytest.raises(OSError, match=os.strerror(number)):
            counter.run(tmp_path, 4)


@contextlib.contextmanager
def mounted(kind: str) -> Iterator[Path]:
    """Yields a directory on another file system; skips where none can be mounted."""
    root = Path(tempfile.mkdtemp(dir="/dev/shm" if kind == "shm" else None))
    parts = {name: root / name for name in ("lower", "upper", "work", "there")}
    options = {
        "tmpfs": ["-t", "tmpfs", "tmpfs"],
        "overlay": ["-t", "overlay", "overlay", "-o", "lowerdir={lower},upperdir={upper},workdir={work}"],
        "bind": ["--bind", "{lower}"],
    }
    mounts = [[root, *options["tmpfs"]]] if kind == "overlay" else []
    mounts += [[parts["there"], *options[kind]]] if kind != "shm" else []
    done = list[Path]()
    try:
        for place, *how in mounts:
            for part in parts.values():
                part.mkdir(exist_ok=True)
            command = [
                "mount",
                *(each.format(**parts) for each in how[:3]),
                str(place),
                *(each.format(**parts) for each in how[3:]),
            ]
            if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode != 0:
                pytest.skip("nothing can be mounted here")
            done.append(place)
        for part in parts.values():
            part.mkdir(exist_ok=True)
        yield parts["there"]
    finally:
        for place in reversed(done):
            subprocess.run(["umount", str(place)], check=True)
        shutil.rmtree(root)


@pytest.mark.parametrize("kind", ["shm", "tmpfs", "overlay", "bind"])
def test_other_file_systems(kind: str, counter: Counter, caplog: pytest.LogCaptureFixture) -> None:
    with mounted(kind) as there:
        for steps in (3, 4, 9):
            counter.run(there / "run", steps)
        assert (counter.begun[-2:], steps_in(there / "run")) == ([3, 4], [8, 9])
    assert warned(caplog) == []


def test_of_an_overlay_the_checkpoints_below_are_gone_on_from_and_left_alone(counter: Counter) -> None:
    with mounted("overlay") as there:
        lower = there.parent / "lower"
        subprocess.run(["umount", str(there)], check=True)
        counter.run(lower / "run", 4)
        before = {path.name: path.read_bytes() for path in (lower / "run").iterdir()}
        options = f"lowerdir={lower},upperdir={there.parent / 'upper'},workdir={there.parent / 'work'}"
        subprocess.run(["mount", "-t", "overlay", "overlay", str(there), "-o", options], check=True)
        counter.run(there / "run", 9)
        assert (counter.begun[-1], steps_in(there / "run")) == (4, [8, 9])
        assert {path.name: path.read_bytes() for path in (lower / "run").iterdir()} == before


def test_a_handle_that_got_stale_is_opened_anew(
    counter: Counter, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, status, stale = Path(shutil.copytree(base, tmp_path / "run")), os.fstat, [True]

    def fstat(descriptor: int) -> os.stat_result:
        if stale and os.readlink(f"/proc/self/fd/{descriptor}") == str(directory) and counter.loop.step == 6:
            stale.clear()
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return status(descriptor)

    monkeypatch.setattr(os, "fstat", fstat)
    counter.run(directory, 8)
    assert (stale, steps_in(directory)) == ([], [6, 8])


# Links.


def contents(directory: Path) -> dict[str, bytes]:
    files = (path for path in directory.iterdir() if path.is_file() and path.name != ".lock")
    return {path.name: path.read_bytes() for path in files}


@pytest.mark.parametrize("at", ["between saves", "within a save"])
def test_a_copy_by_hard_links_stays_what_it_is(
    at: str, counter: Counter, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, copy = Path(shutil.copytree(base, tmp_path / "run")), tmp_path / "copy"
    before = dict[str, bytes]()

    def back_up(*args: object) -> None:
        if not copy.exists():
            shutil.copytree(directory, copy, copy_function=os.link)
            before.update(contents(copy))

    write = Bundle.write

    def watched(bundle: Bundle, prefix: str) -> None:
        back_up()
        write(bundle, prefix)

    if at == "between saves":
        back_up()
    else:
        monkeypatch.setattr(Bundle, "write", watched)
    counter.run(directory, 12)
    assert contents(copy) == before
    whole = contents(directory)
    counter.run(copy, 7)
    assert (counter.begun[-1], contents(directory)) == (4, whole)


def test_a_copy_by_hard_links_can_be_trained_while_the_original_is(
    counter: Counter, base: Path, tmp_path: Path
) -> None:
    directory, copy = Path(shutil.copytree(base, tmp_path / "run")), tmp_path / "copy"
    with contextlib.closing(open_files(directory)) as held:
        held.lock()
        shutil.copytree(directory, copy, copy_function=os.link)
        counter.run(copy, 6)
        assert counter.begun[-1] == 4
        with pytest.raises(RuntimeError, match="is being written by another trainer"):
            counter.run(directory, 6)
        assert not held.ensure()
    counter.run(directory, 5)


def test_a_link_to_where_nothing_is_is_refused_with_a_remedy_that_works(counter: Counter, tmp_path: Path) -> None:
    link, target = tmp_path / "run", tmp_path / "scratch" / "run"
    link.symlink_to(target)
    for directory in (link, link / "below"):
        with pytest.raises(NotADirectoryError) as error:
            counter.run(directory, 2)
        assert str(error.value) == (
            f"Checkpoints need a directory. Received: {str(directory)!r}, which is, or is below, a link to "
            f"{str(target)!r}, where nothing is. Make that directory, or remove the link."
        )
    target.mkdir(parents=True)
    counter.run(link, 2)
    assert steps_in(target) == [2]


def test_a_link_that_leads_elsewhere_between_two_lives_or_in_one(counter: Counter, tmp_path: Path) -> None:
    link, first, second = tmp_path / "run", tmp_path / "first", tmp_path / "second"
    for directory in (first, second):
        directory.mkdir()

    def retarget(to: Path) -> None:
        link.unlink(missing_ok=True)
        link.symlink_to(to)

    retarget(first)
    counter.run(link, 4)
    retarget(second)
    counter.run(link, 6)
    assert (counter.begun[-1], steps_in(first), steps_in(second)) == (0, [2, 4], [4, 6])
    retarget(first)
    counter.loop.on(Event.STEP_END, every=At(5))(lambda moment: retarget(second))
    reason = f"{str(link)!r} is not the directory any more that this run began in: {str(first)!r}"
    with pytest.raises(OSError, match="was not saved") as error:
        counter.run(link, 8)
    counter.loop.hooks.remove("on_step_end")
    assert (reason in str(error.value), steps_in(first), steps_in(second)) == (True, [2, 4], [4, 6])


# Long names.


def deep(directory: Path, size: int) -> Path:
    """Returns a path of so many bytes below a directory."""
    missing = size - len(str(directory))
    parts = ["d" * 199] * (missing // 200 - 1)
    parts += (
        ["e" * (missing - 200 * len(parts) - 1)]
        if missing - 200 * len(parts) <= 256
        else ["e" * 199, "f" * (missing - 200 * len(parts) - 201)]
    )
    path = Path(directory, *parts)
    assert len(str(path)) == size
    return path


@pytest.mark.parametrize("size", [4000, 4090])
def test_a_directory_with_a_name_of_4000_characters(size: int, counter: Counter, tmp_path: Path) -> None:
    """TensorFlow never gets to see it."""
    directory = deep(tmp_path, size)
    for steps in (4, 8):
        counter.run(directory, steps)
    assert (counter.begun[-1], restore(directory, {"count": tf.Variable(0.0)})) == (4, 8)


@pytest.mark.parametrize("name", ["too long", "too long a part"])
def test_a_name_that_is_too_long_is_refused_at_the_start(name: str, counter: Counter, tmp_path: Path) -> None:
    directory = deep(tmp_path, 4096) if name == "too long" else tmp_path / ("x" * 256)
    with pytest.raises(OSError, match=r"A path can have 4,095 bytes here, and each name in it 255\. Give .* shorter"):
        counter.run(directory, 2)
    assert counter.loop.step == 0


# Addresses.


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """A directory in TensorFlow's file system in memory."""
    address = f"ram://{str(tmp_path).strip('/').replace('/', '-')}"
    yield address
    if tf.io.gfile.isdir(address):
        tf.io.gfile.rmtree(address)


def steps_at(address: str, listing: Callable[[str], list[str]] = tf.io.gfile.listdir) -> list[int]:
    return sorted(int(name[5:-5]) for name in listing(address) if name.startswith("ckpt-") and name.endswith(".json"))


class Late:
    """Listings that are some listings behind: they miss what is new, and have what is gone."""

    def __init__(self, by: int) -> None:
        self._by, self._past, self._listdir = by, dict[str, list[list[str]]](), tf.io.gfile.listdir

    def __call__(self, address: str) -> list[str]:
        past = self._past.setdefault(address, [])
        past.append(self._listdir(address))
        return past[max(0, len(past) - 1 - self._by)]


@pytest.mark.parametrize("by", [1, 4, 1000])
def test_a_service_that_lists_late_loses_nothing(
    by: int, counter: Counter, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing = tf.io.gfile.listdir
    monkeypatch.setattr(tf.io.gfile, "listdir", Late(by))
    for steps in (3, 4, 9, 10):
        counter.run(address, steps)
    assert counter.begun[-3:] == [3, 4, 9]
    if by < 1000:  # else what is to be removed is never listed
        assert steps_at(address, listing) == [9, 10]
    assert not any("set-aside" in name for name in listing(address))
    count = tf.Variable(0.0)
    assert (restore(address, {"count": count}), float(count)) == (10, 10.0)


AWAY = {
    "unavailable": tf.errors.UnavailableError(None, None, "try again"),
    "deadline": tf.errors.DeadlineExceededError(None, None, "took too long"),
    "internal": tf.errors.InternalError(None, None, "broken"),
}
GFILE = ["makedirs", "listdir", "exists", "rename", "remove", "stat", "isdir"]


@pytest.mark.long
@pytest.mark.parametrize("error", AWAY)
@pytest.mark.parametrize("for_good", [False, True])
def test_a_service_that_fails_loses_nothing(
    error: str, for_good: bool, counter: Counter, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each operation of each kind that a resumed run does fails, in turn."""
    said = list[str]()
    counter.run(f"{address}/base", 4)
    for name in GFILE:
        times, operation, call = 0, getattr(tf.io.gfile, name), list[int]()
        while times == 0 or times < min(len(call), 9):
            directory = f"{address}/{name}-{times}"
            tf.io.gfile.makedirs(directory)
            for file in tf.io.gfile.listdir(f"{address}/base"):
                tf.io.gfile.copy(f"{address}/base/{file}", f"{directory}/{file}")
            call.clear()

            def fails(*args: object, name: str = name, times: int = times, **kwargs: object) -> object:
                call.append(1)  # noqa: B023 (called in this turn only)
                if len(call) == times + 1 or (for_good and len(call) > times):  # noqa: B023
                    if name == "isdir":  # which does not raise
                        return False
                    raise AWAY[error]
                return operation(*args, **kwargs)  # noqa: B023

            with monkeypatch.context() as patched:
                patched.setattr(tf.io.gfile, name, fails)
                try:
                    counter.run(directory, 8)
                except (OSError, UserWarning) as raised:
                    said.append(str(raised))
            counter.run(directory, 10)
            assert counter.begun[-1] >= 4
            assert steps_at(directory) == [8, 10]
            assert not any("set-aside" in file for file in tf.io.gfile.listdir(directory))
            times += 1
    assert [line for line in said if address not in line] == []


@pytest.mark.parametrize("times", [1, 9])
def test_an_index_that_cannot_be_read_now_is_no_damage(
    times: int, counter: Counter, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, left, opened = Path(shutil.copytree(base, tmp_path / "run")), [times], tf.io.gfile.GFile

    def away(path: str, mode: str) -> tf.io.gfile.GFile:
        if path.endswith("ckpt-4.index") and left[0]:
            left[0] -= 1
            raise tf.errors.UnavailableError(None, None, "503, try again")
        return opened(path, mode)

    monkeypatch.setattr(tf.io.gfile, "GFile", away)
    with pytest.raises(OSError, match="503, try again") if times > 1 else contextlib.nullcontext():
        counter.run(directory, 5)
    assert steps_in(directory)[-1] == (4 if times > 1 else 5)
    assert list(directory.glob("set-aside-*")) == []
