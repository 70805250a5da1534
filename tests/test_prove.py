"""A program that can be resumed exactly is proved to be, and of one that cannot, the first difference is named."""

import copy
import json
import random
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import proved
import pytest

from hooks import Checkpoint, prove
from hooks.prove import prove_script
from hooks.prove_life import Death, Orders, Witness
from hooks.prove_plan import plan
from hooks.prove_record import Record, Reference
from hooks.prove_suspects import suspects
from loop import Every

SCRIPT = str(Path(proved.__file__))


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an uninterrupted run of two epochs of four steps writes down."""
    directory = tmp_path_factory.mktemp("record")
    path = directory / "record.jsonl"
    loop = proved.good_loop()
    for name in ("tensor_board", "checkpoint"):
        loop.hooks.remove(name)
    loop.digest_batches()
    loop.hooks.add(Checkpoint(directory / "checkpoints", Every(steps=3)))
    with path.open("w") as file:
        loop.hooks.add(Witness(0, file, None))
        loop.run(epochs=2)
    return path


def lines(record: Path) -> list[dict]:
    return [json.loads(line) for line in record.read_text().splitlines()]


def told(record: Path, tmp_path: Path, *lives: list[dict]) -> str:
    """Returns the first difference of lives that wrote these lines; empty if there is none."""
    reference, found = Reference(Record(record)), None
    for number, life in enumerate(lives):
        path = tmp_path / f"{number}.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in life))
        found = found or reference.compare(Record(path))
    found = found or reference.missing()
    return "" if found is None else str(found)


def test_a_record_has_every_event_in_order(record: Path) -> None:
    per_step = ["step_end", "settled"]
    epoch = ["epoch_begin", *per_step * 3, "step_end", "eval_begin", "eval_end", "epoch_end", "settled"]
    assert [line["event"] for line in lines(record)] == ["begin", *epoch, *epoch]
    assert len({line["batches"] for line in lines(record) if "batches" in line}) == 8


def test_lives_that_go_on_where_the_one_before_was_saved_do_not_differ(record: Path, tmp_path: Path) -> None:
    begin, *rest = lines(record)
    assert told(record, tmp_path, lines(record)) == ""
    assert told(record, tmp_path, [begin, *rest[:9]], [begin, *rest[4:12]], [begin, *rest[12:]]) == ""


def changed(line: dict, **parts: object) -> dict:
    return copy.deepcopy(line) | parts


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        (lambda line: changed(line, batches=0), r"step 2 \(epoch 1\), STEP_END: the batch is another one"),
        (
            lambda line: changed(line, logs={"loss": (1.0).hex()}),
            r"step 2 \(epoch 1\), STEP_END: loss was \d\.\d+ and is 1",
        ),
        (lambda line: changed(line, logs={}), r"step 2 \(epoch 1\), STEP_END: loss was \d\.\d+ and is absent"),
        (lambda line: changed(line, epoch=1), r"STEP_END: this is step 2 of epoch 2 here"),
        (lambda line: changed(line, event="eval_end"), r"EVAL_END: this event comes instead of STEP_END of step 2"),
    ],
)
def test_what_differs_at_a_step_is_named(
    change: Callable[[dict], dict], difference: str, record: Path, tmp_path: Path
) -> None:
    begin, *rest = lines(record)
    at = next(i for i, line in enumerate(rest) if (line["event"], line["step"]) == ("step_end", 2))
    life = [begin, *rest[:at], change(rest[at]), *rest[at + 1 :]]
    assert re.fullmatch(f".*{difference}", told(record, tmp_path, life))


def test_a_variable_and_a_random_state_that_differ_are_named(record: Path, tmp_path: Path) -> None:
    begin, *rest = lines(record)
    at = next(i for i, line in enumerate(rest) if line["event"] == "settled")
    path = "optimizer/_iterations"
    digits = 8 * begin["variables"].index(path)
    hashes = rest[at]["state"]
    other = hashes[:digits] + "x" * 8 + hashes[digits + 8 :]
    life = [begin, *rest[:at], changed(rest[at], state=other), *rest[at + 1 :]]
    assert told(record, tmp_path, life) == f"step 1 (epoch 1), SETTLED: {path} differs"
    life = [begin, *rest[:at], changed(rest[at], host="x"), *rest[at + 1 :]]
    assert told(record, tmp_path, life) == "step 1 (epoch 1), SETTLED: Python's or NumPy's random state differs"
    life = [changed(begin, variables=begin["variables"][1:]), *rest]
    assert told(record, tmp_path, life).endswith("the state has other variables than in the uninterrupted run")


def test_events_that_are_left_out_or_too_many_or_never_reached_are_named(record: Path, tmp_path: Path) -> None:
    begin, *rest = lines(record)
    assert "comes instead of STEP_END of step 1" in told(record, tmp_path, [begin, rest[0], *rest[2:]])
    assert "comes instead of SETTLED of step 1" in told(record, tmp_path, [begin, *rest[:2], *rest[1:]])
    assert "comes instead of the end" in told(record, tmp_path, [begin, *rest, changed(rest[-1], step=9)])
    assert "but EPOCH_BEGIN of step 0 never did" in told(record, tmp_path, [begin, *rest[3:]])
    skipping = told(record, tmp_path, [begin, *rest[:3]], [begin, *rest[5:]])
    assert skipping == "step 3 (epoch 1), STEP_END: this event comes, but STEP_END of step 2 never did"
    assert told(record, tmp_path, [begin, *rest[:-1]]) == "step 8 (epoch 3), SETTLED: no life came to this event"


def test_a_line_that_a_kill_cut_off_does_not_count(record: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.jsonl"
    cut.write_text(record.read_text()[:-40])
    assert Record(cut).lines == Record(record).lines[:-1]


def test_kills_are_planned_in_each_kind_of_place_and_where_they_are_asked_for(record: Path) -> None:
    whole = Record(record)
    for seed in range(20):
        deaths = plan(whole, 6, [5], random.Random(seed))
        events = [death.event for death in deaths]
        assert {"step_end", "epoch_end", "save", "evaluation"} <= {*events}
        assert Death("step_end", 0, 5) in deaths
        assert [death.step for death in deaths] == sorted(death.step for death in deaths)
    assert len(plan(whole, 1, [], random.Random(1))) == 1
    with pytest.raises(ValueError, match=r"The run has steps 1 to 8\. Received a kill after: \[9\]"):
        plan(whole, 1, [3, 9], random.Random(1))


def test_orders_come_out_as_they_went_in() -> None:
    for death in (None, Death("evaluation", 1, 20, 0.5)):
        orders = Orders("record.jsonl", death, "make", {"epochs": 3})
        assert Orders.decode(orders.encode()) == orders


def test_what_a_program_changes_in_python_is_found() -> None:
    found = suspects(SCRIPT)
    assert [line.split(", at")[0] for line in found] == [
        "the global 'count' is assigned",
        "the attribute 'times' of Warmer is assigned",
    ]
    for line in found:
        number = int(line.rpartition(":")[2])
        assert Path(SCRIPT).read_text().splitlines()[number - 1].strip() in ("count += 1", "self.times += 1")


def test_a_loop_is_proved_to_be_exact_and_leaves_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    proof = prove(proved.good_loop, epochs=2, kills=4)
    assert (str(proof), proof.exact) == ("exact: 4 kills, 8 steps, 0 differences", True)
    for kind in ("after step", "at the end of an epoch", "the evaluation of step", "save"):
        assert any(kind in kill for kill in proof.kills), proof.kills
    assert [*tmp_path.iterdir()] == []


def test_a_loop_that_counts_in_python_is_not_and_the_counter_is_named() -> None:
    proof = prove(proved.forgetful_loop, epochs=2, kills=1, at=[7])
    assert not proof.exact, proof
    assert re.search(r"step 8 .*_learning_rate", proof.difference)
    assert "the global 'count' is assigned, at tests/proved.py" in proof.difference


def test_what_cannot_be_proved_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a function at the top level of a module"):
        prove(lambda: proved.good_loop(), epochs=1)
    with pytest.raises(ValueError, match="at least one kill"):
        prove(proved.good_loop, epochs=1, kills=0)
    with pytest.raises(FileNotFoundError, match="no script"):
        prove_script(str(tmp_path / "nothing.py"))


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    run = [str(Path(sys.executable).with_name("exactloop")), "prove", SCRIPT, *arguments]
    return subprocess.run(run, capture_output=True, text=True, check=False)


def test_the_command_says_why_a_run_is_refused() -> None:
    done = command("--kills", "1", "--", "refused")
    assert done.returncode == 1
    assert "NOT exact: the run was refused before its first step" in done.stdout
    assert re.search(r"RandomStandardNormal\n    at tests/proved.py:\d+: x \+= 0\.1 \* tf\.random", done.stdout)


def test_the_command_says_that_a_script_fails_by_itself() -> None:
    done = command("--", "fails")
    assert (done.returncode, "no data today" in done.stderr) == (2, True)


DIFFERENCES = {
    "tf.random": r"STEP_END: loss was .*\n.*\n.*RandomStandardNormal, at .*proved\.py:\d+: x \+= 0\.1 \* tf\.random",
    "unsaved variable": r"STEP_END: loss was .*\n.*\n.*hidden:0 .*proved\.py:\d+: loss \+= hidden\.assign_add",
    "unsaved optimizer": r"loss was .*\n.*\n.*adam/.*proved\.py:\d+: optimizer\.apply",
    "unsaved seeds": r"STEP_END: loss was .*\n.*\n.*seed_generator_state:0 .*proved\.py:\d+: x \+= .*seed=seeds",
    "unsaved metric": r"STEP_END: moving was .*\n.*\n.*moving/.*proved\.py:\d+: moving\.update_state",
    "python callback": r"STEP_END: loss was .*\n.*\n.*PyFunc, at .*proved\.py:\d+: x \+= .*tf\.numpy_function",
    "global counter": r"_learning_rate(?s:.)*the global 'count' is assigned, at .*proved\.py:\d+",
    "attribute": r"_learning_rate(?s:.)*the attribute 'times' of Warmer is assigned, at .*proved\.py:\d+",
}


@pytest.mark.long
@pytest.mark.parametrize("wrong", DIFFERENCES)
def test_each_thing_that_is_in_no_checkpoint_is_named(wrong: str) -> None:
    done = command("--kills", "1", "--at", "6,10", "--", *wrong.split())
    assert done.returncode == 1, done
    assert re.search(f"NOT exact: step .*{DIFFERENCES[wrong]}", done.stdout), done.stdout


@pytest.mark.long
@pytest.mark.parametrize("wrong", ["no seed", "time"])
def test_a_script_that_never_does_the_same_is_told_from_one_that_is_not_resumed(wrong: str) -> None:
    done = command("--same-machine-twice", "--", *wrong.split())
    assert done.returncode == 1, done
    assert "NOT exact: step" in done.stdout
    assert "the program does not do the same each time" in done.stdout
    assert command("--same-machine-twice", "--", "global", "counter").returncode == 0


@pytest.mark.long
def test_data_that_do_not_come_again_are_named() -> None:
    done = command("--kills", "1", "--at", "9,21", "--", "generator")
    assert done.returncode == 1, done
    assert "The training data yield something else when they are read a second time" in done.stdout, done.stdout


@pytest.mark.long
def test_the_digits_are_exact() -> None:
    digits = str(Path(SCRIPT).parent.parent / "examples/digits.py")
    proof = prove_script(digits, "--epochs=6", kills=6, at=[50])
    assert proof.exact, proof
    assert len(proof.kills) >= 6
