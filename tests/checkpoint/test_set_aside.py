"""What is set aside does not grow for ever, and nothing that is worth keeping goes without a word."""

import contextlib
import functools
import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import tensorflow as tf

from hooks import Checkpoint
from hooks.checkpoint.commits.aside import KEPT, MOST
from hooks.checkpoint.commits.store import Store
from hooks.checkpoint.disk.directory import open_files
from loop import ArrayData, Every, Hook, Loop

ENDINGS = ("json", "index", "data-00000-of-00001")


def make_loop(*hooks: Hook) -> Loop:
    weight = tf.Variable(1.0, name="weight")
    return Loop(
        lambda x: {"loss": weight.assign_add(tf.reduce_mean(x))},
        ArrayData(tf.range(8.0).numpy(), batch_size=1, seed=3),
        state={"weight": weight},
        hooks=hooks,
    )


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a checkpoint after each of 20 steps."""
    directory = tmp_path_factory.mktemp("saved")
    make_loop(Checkpoint(directory, Every(steps=1), keep=99)).run(steps=20)
    return directory


class Lives:
    """One directory, and what its trainings find and leave there, of files that were saved before."""

    def __init__(self, saved: Path, directory: Path) -> None:
        self._saved, self.directory = saved, directory

    def live(self, *save: int, aside: tuple[int, ...] = ()) -> None:
        """Sets aside, as a start does, then saves."""
        with contextlib.closing(open_files(self.directory)) as files:
            store = Store(files)
            store.load()
            store.set_aside([f"ckpt-{step}" for step in aside])
        for step in save:
            for ending in ENDINGS:
                os.link(self._saved / f"ckpt-{step}.{ending}", self.directory / f"ckpt-{step}.{ending}")

    def aside(self) -> dict[str, list[str]]:
        found = sorted(self.directory.glob("set-aside-*"), key=lambda path: int(path.name[10:]))
        return {path.name: sorted({each.stem for each in path.iterdir()}) for path in found}


@pytest.fixture
def lives(saved: Path, tmp_path: Path) -> Lives:
    return Lives(saved, tmp_path / "lives")


def test_the_latest_stay_and_what_is_overtaken_goes_and_is_said(lives: Lives, caplog: pytest.LogCaptureFixture) -> None:
    lives.live(1, 2)
    for step in range(2, 18):
        lives.live(step, step + 1, aside=(step,))  # the one that is ahead, each time
        assert len(lives.aside()) == min(step - 1, KEPT)
    assert lives.aside() == {f"set-aside-{step - 1}": [f"ckpt-{step}"] for step in range(15, 18)}
    removed = [record.getMessage() for record in caplog.records if "Removed" in record.getMessage()]
    assert len(removed) == 13
    assert removed[0] == (
        f"Removed {lives.directory}/set-aside-1, set aside long ago, with: ckpt-2. "
        f"The latest {KEPT} directories of what is set aside stay."
    )
    assert all(record.levelno == logging.WARNING for record in caplog.records)


def test_what_is_newer_than_all_that_is_there_stays_until_there_are_too_many(lives: Lives) -> None:
    lives.live(1, 19, 20)
    lives.live(2, aside=(19, 20))  # by resume="never", say: a training that went further
    for step in range(2, 9):
        lives.live(step, step + 1, aside=(step,))
    assert lives.aside() == {
        "set-aside-1": ["ckpt-19", "ckpt-20"],
        **{f"set-aside-{step}": [f"ckpt-{step}"] for step in range(6, 9)},
    }


def test_a_crash_that_comes_again_and_again_leaves_a_few_of_one_step(lives: Lives) -> None:
    lives.live(1, 2)
    for _ in range(9):
        lives.live(2, aside=(2,))
    assert lives.aside() == {f"set-aside-{number}": ["ckpt-2"] for number in (7, 8, 9)}


def test_there_are_never_more_than_so_many(lives: Lives, caplog: pytest.LogCaptureFixture) -> None:
    lives.live(1, *range(2, 21))
    for step in range(20, 5, -1):
        lives.live(aside=(step,))  # each is newer than all that is there
    assert len(lives.aside()) == MOST
    assert f"Removed {lives.directory}/set-aside-1, set aside long ago, with: ckpt-20." in caplog.text


def test_what_else_is_there_is_left_alone(lives: Lives, tmp_path: Path) -> None:
    lives.live(1, 2)
    (lives.directory / "set-aside-5").mkdir()
    (lives.directory / "set-aside-5" / "notes.txt").write_text("mine")
    (lives.directory / "set-aside-6").write_text("a file")
    (tmp_path / "elsewhere").mkdir()
    (lives.directory / "set-aside-7").symlink_to(tmp_path / "elsewhere")
    (lives.directory / "set-aside-best").mkdir()
    for step in range(2, 9):
        lives.live(step, step + 1, aside=(step,))
    there = {path.name for path in lives.directory.glob("set-aside-*")}
    assert there == {
        "set-aside-5",
        "set-aside-6",
        "set-aside-7",
        "set-aside-best",
        *(f"set-aside-{n}" for n in (12, 13, 14)),
    }
    assert (lives.directory / "set-aside-5" / "notes.txt").read_text() == "mine"
    assert (tmp_path / "elsewhere").is_dir()


@pytest.mark.parametrize("at", range(5))  # the manifest, the two other files, the directory; nothing
def test_a_kill_while_something_is_dropped_leaves_it_to_the_next_start(at: int, lives: Lives) -> None:
    lives.live(1, 2)
    for step in range(2, 6):
        lives.live(step, step + 1, aside=(step,))
    lives.live()  # from here on, nothing else is removed at a start
    pid = os.fork()  # no operation of TensorFlow's is run in it
    if pid == 0:
        left, unlink, rmdir = [at], os.unlink, os.rmdir

        def dying(remove: Callable[..., None], *args: object, **kinds: object) -> None:
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            remove(*args, **kinds)

        os.unlink, os.rmdir = functools.partial(dying, unlink), functools.partial(dying, rmdir)
        lives.live(aside=(6,))
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == (signal.SIGKILL if at < 4 else 0)
    assert len(lives.aside()) == (KEPT + 1 if at < 4 else KEPT)
    lives.live(6, 7)
    lives.live(aside=(7,))
    assert lives.aside() == {f"set-aside-{step - 1}": [f"ckpt-{step}"] for step in range(5, 8)}
    with contextlib.closing(open_files(lives.directory)) as files:
        store = Store(files)
        assert (store.load(), [record.step for record in store.records()]) == ([], [*range(1, 7)])
