"""The command `exactloop`: what it prints, for people and for machines, and its exit status."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl import flags
from absl.testing import flagsaver
from rich.cells import cell_len

import exactloop
from exactloop import cli, commands, helps, looking, options, printing
from hooks import Checkpoint
from hooks.checkpoint.differences import Difference, differences
from loop import ArrayData, Evaluation, Every, Loop, supervised

ENDINGS = (".data-00000-of-00001", ".index", ".json")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run that was saved after steps 2, 4 and 6, at the ends of epochs."""
    directory = tmp_path_factory.mktemp("original")
    keras.utils.set_random_seed(1)
    model, optimizer = keras.Sequential([keras.Input([2]), keras.layers.Dense(1)]), keras.optimizers.SGD(0.01)
    step, evaluation = supervised(model, optimizer, keras.losses.MeanSquaredError())
    x = np.arange(8.0, dtype=np.float32).reshape(4, 2)
    hook = Checkpoint(directory, Every(steps=2), best="val_loss", mode="max")
    Loop(
        step,
        ArrayData((x, x[:, :1]), batch_size=2, seed=1),
        state={"model": model, "optimizer": optimizer},
        evaluate=Evaluation(evaluation, ArrayData((x, x[:, :1]), batch_size=4)),
        hooks=[hook],
    ).run(steps=6)
    return directory


@pytest.fixture
def saved(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "saved"))


@pytest.fixture(autouse=True)
def parsed() -> None:
    flags.FLAGS.mark_as_parsed()


def as_json(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, object]:
    """Returns the exit status of a command, and what it printed with --json."""
    with flagsaver.flagsaver(json=True):
        status = cli.main(["exactloop", *map(str, arguments)])
    return status, json.loads(capsys.readouterr().out)


def test_ls_lists_what_is_there(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, rows = as_json(capsys, "ls", saved)
    assert status == 0
    assert [(row["checkpoint"], row["step"], row["epoch"], row["files"]) for row in rows] == [
        ("ckpt-2", 2, 1, "sizes right"),
        ("ckpt-4", 4, 2, "sizes right"),
        ("ckpt-6", 6, 3, "sizes right"),
    ]
    losses = [row["logs"]["val_loss"] for row in rows]
    assert [row["best"] for row in rows] == [loss == max(losses) for loss in losses]
    assert [row["bytes"] for row in rows] == [
        sum((saved / f"{row['checkpoint']}{ending}").stat().st_size for ending in ENDINGS[:2]) for row in rows
    ]
    assert all({"learning_rate", "loss", "val_loss"} == set(row["logs"]) and row["age"] > 0 for row in rows)


def test_ls_of_a_directory_above_several_runs_lists_them_all(
    saved: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = saved.parent / "other" / "checkpoints"
    shutil.copytree(saved, other)
    shutil.copytree(saved, other / "average")  # which is no run
    monkeypatch.chdir(saved.parent)
    status, rows = as_json(capsys, "ls", ".")
    assert (status, [row["checkpoint"] for row in rows]) == (
        0,
        [*(f"other/checkpoints/ckpt-{step}" for step in (2, 4, 6)), *(f"saved/ckpt-{step}" for step in (2, 4, 6))],
    )
    assert as_json(capsys, "show", rows[1]["checkpoint"])[1]["step"] == 4  # these are names for other commands
    (saved / "ckpt-4.index").unlink()
    assert cli.main(["exactloop", "verify", str(saved.parent)]) == 1
    assert "6 checkpoints in 2 directories, 1 damaged." in capsys.readouterr().out


def test_verify_finds_what_ls_does_not_look_for(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert as_json(capsys, "verify", saved)[0] == 0
    data = saved / "ckpt-4.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:-1] + b"?")
    os.truncate(saved / "ckpt-2.json", 99)
    status, rows = as_json(capsys, "ls", saved)
    assert (status, [row["files"] for row in rows][1:]) == (1, ["sizes right", "sizes right"])
    status, rows = as_json(capsys, "verify", saved)
    assert status == 1
    assert rows[0]["files"].startswith("ckpt-2.json not a manifest")
    assert [row["files"] for row in rows][1:] == [
        "ckpt-4.data-00000-of-00001 its SHA-256 is not the one in the manifest",
        "whole",
    ]
    assert cli.main(["exactloop", "verify", str(saved)]) == 1
    assert "3 checkpoints, 2 damaged." in capsys.readouterr().out


def test_diff_tells_large_integers_apart(tmp_path: Path) -> None:
    large = tf.Variable(2**60, dtype=tf.int64)
    data = ArrayData(np.zeros(2), batch_size=1)
    step = lambda batch: {"odd": tf.cast(large.assign_add(1) % 2, tf.float32)}  # noqa: E731
    Loop(step, data, state={"large": large}, hooks=[Checkpoint(tmp_path, Every(steps=1))]).run(steps=2)
    _, found = differences(str(tmp_path / "ckpt-1"), str(tmp_path / "ckpt-2"))
    assert Difference("large", "values", 1, 1.0) in found


def test_diff_names_the_values_that_differ(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert as_json(capsys, "diff", saved, saved / "ckpt-6") == (0, {"values": 22, "differences": []})
    status, said = as_json(capsys, "diff", saved / "ckpt-4", saved)
    assert status == 1
    found = {row["name"]: (row["what"], row["count"], row["largest"]) for row in said["differences"]}
    assert found["position/step"] == ("values", 1, 2.0)
    assert found["position/epoch"] == ("values", 1, 1.0)
    weights = sorted(found[name][:2] for name in found if name.startswith("model/"))
    assert weights == [("values", 1), ("values", 2)]  # bias and kernel
    assert not [name for name in found if name.startswith(("random/", "save_counter"))]  # nothing was drawn
    assert cli.main(["exactloop", "diff", str(saved / "ckpt-4"), str(saved)]) == 1
    printed = capsys.readouterr().out
    assert re.search(r"position/step +values +1 +2 +$", printed, re.M)
    assert printed.endswith(f"{len(found)} of 22 values differ.\n")


def test_show_prints_the_manifest(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, said = as_json(capsys, "show", saved / "ckpt-4")
    content = json.loads((saved / "ckpt-4.json").read_bytes())
    del content["sha256"], content["head"]  # which are of the file
    assert (status, said) == (0, content)
    assert cli.main(["exactloop", "show", str(saved)]) == 0
    assert json.loads(capsys.readouterr().out)["step"] == 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ls", "nowhere"], "exactloop ls: There is no directory '/"),
        (["ls", "empty"], "exactloop ls: There is no checkpoint in 'empty', nor below it.\n"),
        (["ls", "begun"], "exactloop ls: There is no checkpoint in 'begun', nor below it. A run has begun there, "),
        (["ls", "file"], "exactloop ls: Checkpoints need a directory. Received: '/"),
        (["show", "."], "exactloop show: There is no checkpoint in '.' itself. Below it, there are in: ./saved. Write "
                        "exactloop show ./saved\n"),
        (["show", "file"], "exactloop show: It needs a checkpoint, or a directory. Received a file. Write "
                           "exactloop show .\n"),
        (["show", "saved/ckpt-4.json"], "exactloop show: It needs a checkpoint, or a directory. Received a file of "
                                        "ckpt-4. Write exactloop show saved/ckpt-4\n"),
        (["show", "nowhere/ckpt-3"], "exactloop show: There is no checkpoint, and no directory, 'nowhere/ckpt-3'.\n"),
        (["diff", "saved", "empty"], "exactloop diff: There is no checkpoint in 'empty', nor below it.\n"),
        (["diff", "saved", "."], "exactloop diff: There is no checkpoint in '.' itself. Below it, there are in: ./sav"),
        (["ls", ""], "exactloop ls: A directory needs a name. Received: an empty one."),
        (["average", "."], "exactloop average: There is no checkpoint in '.' itself. Below it, there are in: ./sav"),
        (["show", "saved/ckpt-3"], "exactloop show: There is no checkpoint 'saved/ckpt-3'. There are: ckpt-2, "),
        (["diff", "saved"], "exactloop diff: another number of arguments is needed. Received: 'saved'.\n\nexactloop"),
        (["verify", "empty"], "exactloop verify: There is no checkpoint in 'empty', nor below it."),
        (["prove", __file__, "--at=0"], "exactloop prove: Steps count from 1. Received a kill after: [0]."),
        (["list", "saved"], "exactloop: there is no command 'list'. Did you mean 'ls'? There are: ls, verify"),
        (["shw", "saved"], "exactloop: there is no command 'shw'. Did you mean 'show'? There are: ls, "),
        ([], "The command `exactloop`: looks at checkpoints and runs, and"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_said(
    arguments: list[str],
    message: str,
    saved: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(saved.parent)
    Path("file").touch()
    for name in ("empty", "begun"):
        Path(name).mkdir()
    Path("begun/.lock").touch()
    at = [argument.removeprefix("--at=") for argument in arguments if argument.startswith("--at=")]
    with flagsaver.flagsaver(at=at):
        assert cli.main(["exactloop", *(a for a in arguments if not a.startswith("--"))]) == 2
    assert capsys.readouterr().err.startswith(message)


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["prove", "train.py", "--epochs=3"], 2, "after --, as in: exactloop prove train.py -- --epochs=3"),
        (["prove", "train.py", "--kills=few"], 2, "flag --kills=few: invalid literal"),
        (["ls", "--bogus"], 2, "exactloop: Unknown command line flag 'bogus'."),
        (["ls", "there", "--kills=3"], 2, "exactloop ls: it takes no --kills; that is for: prove.\n\nexactloop ls DIR"),
        (["prove", "train.py", "--once"], 2, "exactloop prove: it takes no --once; that is for: watch."),
        (["watch", "--help"], 0, "exactloop watch DIRECTORY [DIRECTORY ...] [--once]"),
        (["--help"], 0, "exactloop prove SCRIPT.py"),
        (["diff", "--help"], 0, "exactloop diff CHECKPOINT CHECKPOINT [--json]\n\nSays which values"),
        (["--version"], 0, f"exactloop {exactloop.__version__}"),
        (["ls", "nowhere"], 2, "exactloop ls: There is no directory "),
    ],
)
def test_the_exit_status_tells_what_cannot_be_done_from_what_differs(
    arguments: list[str],
    status: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["exactloop", *arguments])
    monkeypatch.setattr(signal, "signal", lambda number, handler: None)
    with flagsaver.flagsaver(), pytest.raises(SystemExit) as end:
        cli.run()
    assert end.value.code == status
    printed = capsys.readouterr()
    assert said in (printed.err if status else printed.out)


def test_an_interrupted_command_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(directory: str) -> int:
        raise KeyboardInterrupt

    monkeypatch.setitem(looking.COMMANDS, "ls", interrupted)
    assert cli.main(["exactloop", "ls", "here"]) == 130
    assert capsys.readouterr().err == "exactloop ls: interrupted\n"


def test_each_command_has_its_help() -> None:
    assert {*helps.HELPS} == {*options.COUNTS} == {*commands.COMMANDS, "launch", "speed"}
    assert {*options.AT_ONCE} == {*looking.COMMANDS}
    assert [command for command in options.COUNTS if f"    exactloop {command} " not in helps.USAGE] == []
    assert max(map(len, "\n".join([helps.USAGE, *helps.HELPS.values()]).splitlines())) <= 120


def test_a_list_fits_into_80_columns_whatever_is_logged(
    saved: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("COLUMNS", "CI", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    names = ["loss", "val_loss", "a_very_long_name_of_a_metric_that_nobody_would_give_to_one", "x", "名前"]
    logs = dict.fromkeys(names, 0.123456)
    row = {"checkpoint": "ckpt-1234567", "step": 1234567, "epoch": 1234, "age": 7200.0, "bytes": 10**9}
    row |= {"best": True, "logs": logs, "files": "sizes right"}
    monkeypatch.setenv("FORCE_COLOR", "1")
    for width in COLUMNS:
        monkeypatch.setenv("COLUMNS", str(width))
        printing.report([], [row, row], "2 checkpoints, 0 damaged.")
        lines = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()
        assert max(cell_len(line.rstrip()) for line in lines) <= width
        # Columns go as a whole, and what is left is whole.
        assert next(line.split() for line in lines if "checkpoint" in line) == COLUMNS[width]
        assert sum(line.split()[:1] == ["ckpt-1234567"] for line in lines) == 2
        assert sum(line.split()[:2] == ["ckpt-1234567", "1234567"] for line in lines) == 2 * (width >= 80)
        assert any("val_loss 0.1235" in line for line in lines) == (width == 200)


COLUMNS = {
    20: ["checkpoint", "es"],  # and what else there is room for, broken
    40: ["checkpoint", "best", "files"],
    60: ["checkpoint", "age", "best", "logs", "files"],
    80: ["checkpoint", "step", "epoch", "age", "best", "logs", "files"],
    200: ["checkpoint", "step", "epoch", "age", "bytes", "best", "logs", "files"],
}


@pytest.mark.parametrize("terminal", [False, True])
def test_a_table_has_names_as_they_are_and_no_orders_to_the_terminal(
    terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1" if terminal else "")
    monkeypatch.setenv("COLUMNS", "200")
    names = {"[red]x": "[red]x", "loss[0]": "loss[0]", "[/]": "[/]", ":smile:": ":smile:", "a\nb\tc": "a b c"}
    names |= {"x\x1b[2J": r"x\x1b[2J", "y\u202e": r"y\u202e", "\x9b2J": r"\x9b2J", "名前🙂": "名前🙂"}
    row = {"checkpoint": "[b]/ckpt-1", "logs": dict.fromkeys(names, 0.5), "files": "it has [red]\x1b[2J\nin it"}
    printing.report([], [row], "1 checkpoint, 1 damaged.")
    out = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    (line,) = [line for line in out.splitlines() if "ckpt-1" in line]
    assert line.split("  ") == [
        " [b]/ckpt-1",
        *(f"{name} 0.5" for name in names.values()),
        r"it has [red]\x1b[2J in it ",
    ]


def test_a_list_in_a_pipe_has_a_line_for_each_checkpoint(saved: Path) -> None:
    logs = {f"metric_{i}": 1.0 for i in range(40)}
    row = {"checkpoint": "ckpt-1", "step": 1, "logs": logs, "files": "sizes right"}
    command = "import sys; from absl import flags; from exactloop import printing; flags.FLAGS(['x']);"
    command += f"printing.report([], [{row}, {row}], '2 checkpoints, 0 damaged.')"
    given = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "FORCE_COLOR")}
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=False, env=given)
    assert sum("metric_39 1" in line and "sizes right" in line for line in done.stdout.splitlines()) == 2, done.stderr


@pytest.mark.long
def test_the_command_says_nothing_of_tensorflow(saved: Path) -> None:
    given = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    command = [sys.executable, "-m", "exactloop"]
    for arguments in (["ls", saved], ["verify", saved], ["diff", saved, saved], ["show", saved]):
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False, env=given)
        assert (done.returncode, done.stderr) == (0, "")


def test_two_runs_do_not_differ_by_the_time_they_took(tmp_path: Path) -> None:
    loop = Loop(lambda batch: {"x": tf.reduce_sum(batch)}, ArrayData(np.ones([4, 1]), batch_size=2, seed=1), state={})
    loop.hooks.add(Checkpoint(tmp_path / "a"))
    loop.run(epochs=1)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    loop.run(epochs=2)
    names = {difference.name for difference in differences(str(tmp_path / "a"), str(tmp_path / "b"))[1]}
    assert "position/step" in names
    assert "clock/seconds" not in names


def test_two_runs_do_not_differ_by_what_their_pipelines_have_read_ahead(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        rows = tf.data.Dataset.range(8).shuffle(8, seed=1).batch(2).prefetch(2 if name == "a" else 1)
        weight = tf.Variable(0.0)
        step = lambda batch: {"weight": weight.assign_add(tf.reduce_sum(tf.cast(batch, tf.float32)))}  # noqa: B023, E731
        Loop(step, rows, state={"weight": weight}, hooks=[Checkpoint(tmp_path / name)]).run(steps=3)
    status, said = as_json(capsys, "diff", tmp_path / "a", tmp_path / "b")
    assert (status, said["differences"]) == (0, [])


def test_json_has_no_nan(saved: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "differences", lambda first, second: (1, [Difference("name", "values", 1)]))
    with flagsaver.flagsaver(json=True):
        assert cli.main(["exactloop", "diff", str(saved), str(saved)]) == 1
    assert '"largest": null' in capsys.readouterr().out


def test_the_command_is_installed_and_changes_nothing(saved: Path) -> None:
    before = {path.name: path.read_bytes() for path in saved.iterdir()}
    command = Path(sys.executable).with_name("exactloop")
    done = subprocess.run([command, "verify", saved, "--json"], capture_output=True, text=True, check=False)
    assert (done.returncode, [row["step"] for row in json.loads(done.stdout)]) == (0, [2, 4, 6])
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before


@pytest.mark.parametrize("path", ["saved/ckpt-4", "saved/ckpt-4.index", "saved/ckpt-4.json"])
def test_who_gives_one_checkpoint_where_a_directory_is_needed_is_told_so(
    path: str, saved: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(saved.parent)
    assert cli.main(["exactloop", "verify", path]) == 2
    told = f"ckpt-4 is a checkpoint in {str(saved)!r}: give that directory; for this one, restore(..., which=4)."
    assert told in capsys.readouterr().err
