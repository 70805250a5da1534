"""Commands that answer at once: they do not import TensorFlow, which takes seconds."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from places import TESTS, environment

import exactloop
import hooks
import hooks.checkpoint
import loop

SAVED = TESTS / "golden" / "format-3"
HEAVY = ("tensorflow", "keras", "numpy", "loop", "IPython", "pandas", "grpc")
AT_ONCE = {
    "help": ["--help"],
    "version": ["--version"],
    "help of one": ["ls", "--help"],
    "no command": ["list"],
    "ls": ["ls", str(SAVED)],
    "show": ["show", str(SAVED)],
    "show one": ["show", str(SAVED / "ckpt-6")],
    "watch": ["watch", str(SAVED), "--once"],
    "nothing there": ["ls", "nowhere"],
}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the command, and has each module that is imported be told on standard error."""
    command = [sys.executable, "-X", "importtime", "-m", "exactloop", *arguments]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize("name", [*AT_ONCE])
def test_a_command_that_only_looks_imports_no_tensorflow(name: str) -> None:
    done = run(*AT_ONCE[name])
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    imported = {line.rsplit("|", 1)[1].strip() for line in lines}
    assert "exactloop.cli" in imported
    assert {module for module in imported if module.split(".")[0] in HEAVY} == set()
    assert done.returncode == (2 if name in ("no command", "nothing there") else 0)
    if name in ("ls", "show", "show one", "watch"):
        assert "6" in done.stdout
        assert [line for line in done.stderr.splitlines() if not line.startswith("import time:")] == []


@pytest.mark.more
def test_what_a_package_offers_is_imported_when_it_is_asked_for() -> None:
    script = (
        "import sys, hooks, hooks.checkpoint, exactloop\n"
        "assert 'tensorflow' not in sys.modules\n"
        "assert {*hooks.__all__} <= {*dir(hooks)}\n"
        "assert 'tensorflow' not in sys.modules\n"
        "try:\n    hooks.Chekpoint\nexcept AttributeError as error:\n    print(error)\n"
        "from hooks import *\n"
        "from hooks.board import event_file\n"
        "assert Checkpoint is hooks.Checkpoint is hooks.checkpoint.Checkpoint is hooks.checkpoint.hook.Checkpoint\n"
        "assert hooks.restore is hooks.checkpoint.restore and Checkpoint.__module__ == 'hooks.checkpoint.hook'\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment(), capture_output=True, text=True, check=False, timeout=120
    )
    assert (done.returncode, done.stdout) == (0, "module 'hooks' has no attribute 'Chekpoint'\n"), done.stderr


def test_help_has_the_hooks(capsys: pytest.CaptureFixture[str]) -> None:
    help(hooks)
    said = capsys.readouterr().out
    assert [name for name in hooks.__all__ if f"class {name}(" not in said and f"{name}(" not in said] == []
    for package in (hooks, hooks.checkpoint, loop, exactloop):
        assert [name for name in package.__all__ if name not in dir(package)] == []
        with pytest.raises(AttributeError):
            _ = package.no_such_thing


def test_the_version_is_one() -> None:
    text = (Path(exactloop.__file__).parents[1] / "setup.cfg").read_text(encoding="utf-8")
    assert f"version = {loop.__version__}\n" in text
    assert exactloop.__version__ == loop.__version__


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["--help"], 128 + signal.SIGPIPE),
        (["show", str(SAVED), "--json"], 128 + signal.SIGPIPE),
        (["ls", str(SAVED)], 128 + signal.SIGPIPE),
        (["watch", "--once", str(SAVED)], 128 + signal.SIGPIPE),
    ],
)
def test_whoever_reads_only_the_first_lines_is_told_of_no_error(arguments: list[str], status: int) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "exactloop", *arguments]
    done = subprocess.run(
        command, env=environment(), stdout=writing, stderr=subprocess.PIPE, text=True, check=False, timeout=120
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (status, "")


NO_ROOM = "No space left on device"


@pytest.mark.parametrize(
    ("command", "status", "said"),
    [
        ("ls $1 >&-", 0, ""),
        ("ls $1 >/dev/full", 2, f"exactloop ls: [Errno 28] {NO_ROOM}\n"),
        ("ls --help >/dev/full", 2, f"exactloop: what it prints cannot be written: {NO_ROOM}.\n"),
        ("ls nowhere 2>&-", 2, ""),
    ],
)
def test_where_nothing_can_be_written_there_is_an_exit_status_and_no_traceback(
    command: str, status: int, said: str
) -> None:
    run = ["sh", "-c", f'"$0" -m exactloop {command}', sys.executable, str(SAVED)]
    done = subprocess.run(run, env=environment(), capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr, done.stdout) == (status, said, "")


def test_a_terminal_without_unicode_shows_what_it_can() -> None:
    given = {**environment(), "PYTHONIOENCODING": "ascii"}
    for arguments in (["ls", str(SAVED)], ["show", str(SAVED)], ["watch", "--once", str(SAVED)]):
        command = [sys.executable, "-m", "exactloop", *arguments]
        done = subprocess.run(command, env=given, capture_output=True, text=True, check=False, timeout=120)
        assert (done.returncode, done.stderr) == (0, "")
