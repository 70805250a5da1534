"""A directory that is read-only, removed, moved or replaced, before a run and in its midst."""

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from storage import (
    EVERY_2,
    Bits,
    begins,
    bits,
    counting_loop,
    failure_of,
    files,
    happens,
    make_loop,
    names,
    not_saved,
    warned,
)

from hooks import Checkpoint
from hooks.checkpoint.disk.directory import open_files
from loop import At, Event, Moment


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


@pytest.mark.more
def test_a_directory_that_is_removed_under_way_is_made_again(
    whole: dict[int, Bits], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory = tmp_path / "above" / "run"
    hook = Checkpoint(directory, EVERY_2, background=False)
    loop = happens(make_loop(hook), 3, lambda: shutil.rmtree(directory.parent, ignore_errors=True))

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

    monkeypatch.setattr("hooks.checkpoint.disk.local.os.mkdir", overtaken)
    with contextlib.closing(open_files(tmp_path / "new")) as opened:
        assert opened.names() == []


def test_where_only_this_directory_can_be_written_to_a_run_is_resumed(
    whole: dict[int, Bits], saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(saved / "none"))
    loop = make_loop(Checkpoint(saved, EVERY_2))
    began, there = begins(loop), {path.name for path in saved.iterdir()}
    loop.run(steps=7)
    assert (began, bits(loop)) == ([whole[6]], whole[7])
    assert {name for name in {path.name for path in saved.iterdir()} - there if "-7." not in name} == set()
