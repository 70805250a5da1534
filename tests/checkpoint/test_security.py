"""Loading a checkpoint runs nothing, and reaches nothing but the checkpoint."""

import json
import os
import tempfile
from pathlib import Path

import nursery
import pytest
from places import ROOT, TESTS

LINKS = os.path.join(tempfile.gettempdir(), "exactloop-")
# A life that restores, in a process that has done so before, so that what is imported late is there; what the
# interpreter reports of it is printed.
SCRIPT = """
import json, os, sys
sys.path[:0] = [{tests!r}, {tests!r} + "/crash", {root!r}]
import tensorflow as tf
from pathlib import Path
from trainer import Trainer
import hooks.checkpoint.hook
from loop import Hook

events, listening = [], [False]

def listen(event, arguments):
    if listening[0] and event not in ("builtins.id", "object.__getattr__", "sys._getframe"):
        events.append([event, [str(argument) for argument in arguments]])

class Listener(Hook):
    def on_setup(self, loop, moment):
        listening[0] = True

    def on_run_begin(self, moment):
        listening[0] = False

trainer, directory = Trainer(), Path({directory!r})
trainer.live(directory, steps=4)
trainer.live(directory, steps=4)
sys.addaudithook(listen)
life = trainer.live(directory, Listener(), steps=4)
print(json.dumps([life.begun, events]))
"""
RUNS = {"exec", "compile", "import", "marshal.loads", "pickle.find_class", "ctypes.dlopen", "os.system", "os.exec"} | {
    "os.posix_spawn", "os.spawn", "os.fork", "subprocess.Popen", "code.__new__"
}  # fmt: skip


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[str, list[str]]]]:
    """The directory, and what happened in it while a life was set up."""
    directory = tmp_path_factory.mktemp("run")
    script = SCRIPT.format(tests=str(TESTS), root=str(ROOT), directory=str(directory))
    done = nursery.run("-c", script)
    print(done.stderr[-2000:])
    assert done.returncode == 0
    begun, events = json.loads(done.stdout)
    assert begun == 4
    return directory, [(event, arguments) for event, arguments in events]


def test_nothing_is_run_or_imported(events: tuple[Path, list[tuple[str, list[str]]]]) -> None:
    assert [event for event in events[1] if event[0] in RUNS or event[0].startswith("socket.conn")] == []


def test_nothing_is_opened_outside_the_directory(events: tuple[Path, list[tuple[str, list[str]]]]) -> None:
    directory, happened = events
    opened = [arguments[0] for event, arguments in happened if event == "open"]
    # By descriptor, relative to the directory's; a plain name leads nowhere else.
    assert {f"ckpt-4{ending}" for ending in (".json", ".index", ".data-00000-of-00001")} <= {*opened}
    known = {".", ".lock", "checkpoint.tmp", *(path.name for path in directory.iterdir())}
    outside = [path for path in opened if path not in known and not path.isdigit()]
    temporary = (LINKS, "/proc/self/fd/")
    assert [path for path in outside if path != str(directory) and not path.startswith(temporary)] == []


def test_nothing_is_removed_or_renamed_but_what_is_ours(events: tuple[Path, list[tuple[str, list[str]]]]) -> None:
    removed = [arguments for event, arguments in events[1] if event in ("os.remove", "os.rmdir", "shutil.rmtree")]
    # The links by which TensorFlow reads, with their directory; and what it would be told by is written anew.
    ours = {"checkpoint.tmp", "ckpt-4.index", "ckpt-4.data-00000-of-00001"}
    assert [path for path, *_ in removed if path not in ours and not path.startswith(LINKS)] == []
    assert {arguments[0] for event, arguments in events[1] if event == "os.rename"} == {"checkpoint.tmp"}
    left = {path.name for path in events[0].iterdir()}
    assert {f"ckpt-4{ending}" for ending in (".json", ".index", ".data-00000-of-00001")} <= left
