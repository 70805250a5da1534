"""Whatever a manifest says, and whatever names are in a directory, the command lists and shows it, or says why not."""

import contextlib
import io
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import tensorflow as tf
from absl import flags
from absl.testing import flagsaver
from fuzz import MANY, SEED, TEXTS, altered, damaged, sealed, survives

from exactloop import cli
from hooks import Checkpoint
from hooks.checkpoint.record.manifest import content, decode
from loop import ArrayData, Every, Loop

COMMANDS = ("ls", "show", "watch")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run that was saved after two steps."""
    directory, count = tmp_path_factory.mktemp("run"), tf.Variable(0.0)
    step = lambda x: {"count": count.assign_add(tf.reduce_sum(x))}  # noqa: E731 (traced with its loop)
    hooks = [Checkpoint(directory, Every(steps=1), best="count", mode="max")]
    Loop(step, ArrayData(tf.range(5.0), batch_size=2, seed=1), state={"count": count}, hooks=hooks).run(steps=2)
    return directory


def printed(command: str, path: Path, *, as_json: bool) -> tuple[int, str, str]:
    """Returns the exit status of a command, and what it has printed."""
    flags.FLAGS.mark_as_parsed()
    out, err = io.StringIO(), io.StringIO()
    with flagsaver.flagsaver(json=as_json), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = cli.main(["exactloop", command, str(path)])
    return status, out.getvalue(), err.getvalue()


def seen(command: str, path: Path, raw: bytes) -> object:
    """Has a command look at what is there; returns what it has printed, None if it says why it cannot."""
    as_json = len(raw) % 2 == 0
    status, out, err = printed(command, path, as_json=as_json)
    assert (status in (0, 1), bool(out), bool(err)) in ((True, True, False), (False, False, True)), (status, out, err)
    assert all(line.isprintable() for line in (out + err).splitlines())
    out.encode()  # whatever is in it, it can be written
    if status == 2:
        assert err.startswith(f"exactloop {command}: ")
        return None
    return json.loads(out) if as_json else out


def of_bytes(whole: Path) -> tuple[str, Callable[[random.Random], bytes]]:
    raw = (whole / "ckpt-2.json").read_bytes()
    return "ckpt-2.json", lambda rng: damaged(rng, raw)


def of_values(whole: Path) -> tuple[str, Callable[[random.Random], bytes]]:
    said = json.loads(json.dumps(content(decode((whole / "ckpt-2.json").read_bytes()))))
    return "ckpt-2.json", lambda rng: sealed(altered(rng, said))


@pytest.mark.parametrize("count", MANY)
@pytest.mark.parametrize("kind", [of_values, of_bytes])
@pytest.mark.parametrize("command", COMMANDS)
def test_manifests_are_listed_or_it_is_said_why_not(
    command: str,
    kind: Callable[[Path], tuple[str, Callable[[random.Random], bytes]]],
    count: int,
    whole: Path,
    tmp_path: Path,
) -> None:
    directory = shutil.copytree(whole, tmp_path / "run")
    for other in directory.glob("ckpt-1*"):
        other.unlink()
    name, make = kind(whole)

    def read(raw: bytes) -> object:
        (directory / name).write_bytes(raw)
        return seen(command, directory, raw)

    assert survives(count, SEED, make, read, spare=2**23) <= count


@pytest.mark.parametrize("command", COMMANDS)
def test_what_a_later_version_calls_itself_is_no_order_to_the_terminal(
    command: str, whole: Path, tmp_path: Path
) -> None:
    directory = shutil.copytree(whole, tmp_path / "run")
    said = json.loads((directory / "ckpt-2.json").read_bytes())
    later = {**content(decode((whole / "ckpt-2.json").read_bytes())), "format": 10**9}
    for name in ("\ud800", "\x1b[2J"):
        (directory / "ckpt-2.json").write_bytes(sealed({**later, "writer": {**said["writer"], "exactloop": name}}))
        status, out, err = printed(command, directory, as_json=False)
        assert name.encode("unicode_escape").decode() in out + err, (status, out, err)
        assert all(line.isprintable() for line in (out + err).splitlines())


@pytest.mark.parametrize("count", [20, pytest.param(2000, marks=pytest.mark.long)])
@pytest.mark.parametrize("command", COMMANDS)
def test_directories_with_whatever_names_are_listed_or_it_is_said_why_not(
    command: str, count: int, whole: Path, tmp_path: Path
) -> None:
    rng = random.Random(f"{SEED}, {command}")
    manifest, step = (whole / "ckpt-2.json").read_bytes(), "9" * 400
    steps = ["-1", "00", "0", "2", "٣", "1e9", str(2**63), str(10**200), "", " 2", "2 ", "2\n", "x", "2.5", step[:240]]
    for number in range(count):
        directory = tmp_path / str(number)
        directory.mkdir()
        for _ in range(rng.randrange(1, 6)):
            ending = rng.choice([".json", ".index", ".data-00000-of-00001", ".json.tmp", ".rows", ".csv", "", ".lock"])
            name = f"{rng.choice(['ckpt', 'pending', 'CKPT', ''])}-{rng.choice(steps)}{ending}"
            if rng.random() < 0.1:
                name = rng.choice(
                    [each for each in TEXTS if each.isascii() and "/" not in each and "\0" not in each and each]
                )
            path = directory / name[:250]
            with contextlib.suppress(FileExistsError, IsADirectoryError, NotADirectoryError):
                match rng.randrange(6):
                    case 0:
                        path.mkdir()
                    case 1:
                        path.symlink_to(
                            rng.choice([path.name, "nowhere", "/dev/zero", ".", str(whole / "ckpt-2.json")])
                        )
                    case 2:
                        path.touch()
                    case _:
                        path.write_bytes(manifest)
        seen(command, directory, bytes(number % 2))
        if name.startswith(("ckpt-", "pending-")):
            seen("show", directory / name.partition(".")[0], b"")
