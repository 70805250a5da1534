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
from places import TESTS

from exactloop import prove
from exactloop.proof.compare import Reference, Whole
from exactloop.proof.config import ChildConfig, KillPoint
from exactloop.proof.journal import Journal
from exactloop.proof.kill_plan import plan
from exactloop.proof.process import Attempt
from exactloop.proof.proof import Proof, compared
from exactloop.proof.provable import NOT_RESUMED
from exactloop.proof.recorder import Recorder
from exactloop.proof.suspects import suspects
from exactloop.proof.trial import Experiment
from exactloop.proving import prove_script
from hooks import Checkpoint
from hooks.shared.paths import BELOW, path_of, path_to_read
from loop import Every, Loop

SCRIPT = str(TESTS / "proved.py")
Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an uninterrupted run of two epochs of four steps writes down."""
    directory = tmp_path_factory.mktemp("record")
    path = directory / "record.jsonl"
    loop = proved.good_loop()
    for name in ("tensor_board", "checkpoint"):
        loop.hooks.remove(name)
    loop.digest_batches()
    checkpoint = loop.hooks.add(Checkpoint(directory / "checkpoints", Every(steps=3), background=False))
    with path.open("w") as file:
        witness = Recorder(loop, 0, lambda line: print(json.dumps(line), file=file), lambda: [checkpoint])
        loop.hooks.add(witness)
        witness.run(loop.run, epochs=2)
    return path


def lines(record: Path) -> list[dict]:
    return [json.loads(line) for line in record.read_text().splitlines()]


def written(path: Path, life: list[dict]) -> Journal:
    path.write_text("".join(json.dumps(line) + "\n" for line in life))
    return Journal(path)


def told(record: Path, tmp_path: Path, *lives: list[dict], stepwise: bool = True) -> str:
    """Returns the first difference of lives that wrote these lines, the last to its end; empty if there is none."""
    reference, found = Reference(Journal(record)), None
    for number, life in enumerate(lives):
        last = number == len(lives) - 1
        read = written(tmp_path / f"{number}.jsonl", life)
        found = found or reference.compare(read, stepwise=stepwise or not last, last=last)
    return "" if found is None else str(found)


@pytest.mark.more
def test_a_record_has_every_event_in_order(record: Path) -> None:
    per_step = ["step_end", "settled"]
    epoch = ["epoch_begin", *per_step * 3, "step_end", "eval_begin", "eval_end", "epoch_end", "settled"]
    assert [line["event"] for line in lines(record)] == ["begin", *epoch, *epoch, "end"]
    assert len({line["batches"] for line in lines(record) if "batches" in line}) == 8
    assert [line["saved"] for line in lines(record) if "saved" in line][-2:] == [[3, 6, 8], [3, 6, 8]]


def at(record: Path, event: str, step: int) -> int:
    """Returns where the line of an event is."""
    return next(i for i, line in enumerate(lines(record)) if (line["event"], line["step"]) == (event, step))


def resumed(record: Path, step: int) -> list[dict]:
    """Returns the lines of a life that went on from a checkpoint of this step, and was not killed."""
    begin, *rest = lines(record)
    place = {"step": step, "epoch": step // 4, "step_in_epoch": step % 4}
    return [changed(begin, **place), *rest[at(record, "settled", step) :]]


def test_lives_that_go_on_where_the_one_before_was_saved_do_not_differ(record: Path, tmp_path: Path) -> None:
    every = lines(record)
    assert told(record, tmp_path, every) == ""
    assert told(record, tmp_path, every[:10], resumed(record, 3)[:9], resumed(record, 4)) == ""
    assert told(record, tmp_path, every[:-1], resumed(record, 8)) == ""
    # A second call of run() begins where the first one found nothing to do.
    again = resumed(record, 3)
    assert told(record, tmp_path, every[:10], [again[0], changed(every[-1], step=3), *again]) == ""


def changed(line: dict, **parts: object) -> dict:
    return copy.deepcopy(line) | parts


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        (lambda line: changed(line, batches=0), r"step 2 \(epoch 1\), STEP_END: the batch is another one"),
        (
            lambda line: changed(line, logs=line["logs"] | {"loss": (1.0).hex()}),
            r"step 2 \(epoch 1\), STEP_END: loss was \d\.\d+ and is 1",
        ),
        (
            lambda line: changed(line, logs={name: line["logs"][name] for name in line["logs"] if name != "loss"}),
            r"step 2 \(epoch 1\), STEP_END: loss was \d\.\d+ and is absent",
        ),
        (lambda line: changed(line, epoch=1), r"STEP_END: this is step 2 of epoch 2 here"),
        (lambda line: changed(line, event="eval_end"), r"EVAL_END: this event comes instead of STEP_END of step 2"),
    ],
)
def test_what_differs_at_a_step_is_named(
    change: Callable[[dict], dict], difference: str, record: Path, tmp_path: Path
) -> None:
    life, here = lines(record), at(record, "step_end", 2)
    life[here] = change(life[here])
    assert re.fullmatch(f".*{difference}", told(record, tmp_path, life))


def other_hash(line: dict, begin: dict, path: str) -> dict:
    digits = 8 * begin["variables"].index(path)
    return changed(line, state=line["state"][:digits] + "x" * 8 + line["state"][digits + 8 :])


def test_a_variable_and_a_random_state_that_differ_are_named(record: Path, tmp_path: Path) -> None:
    path, every = "optimizer/_iterations", lines(record)
    for event, step, said in [
        ("settled", 6, "step 6 (epoch 2), SETTLED"),
        ("end", 8, "step 8 (epoch 2), the end of run()"),
    ]:
        here, life = at(record, event, step), lines(record)
        life[here] = other_hash(every[here], every[0], path)
        assert told(record, tmp_path, life) == f"{said}: {path} differs"
        life[here] = changed(every[here], host="x")
        assert told(record, tmp_path, every[:6], life) == f"{said}: Python's or NumPy's random state differs"
    life = [changed(every[0], variables=["hooks/late/n", *every[0]["variables"][1:]]), *every[1:]]
    assert told(record, tmp_path, life).endswith(" and 1 more differ")


def test_what_run_returns_is_compared(record: Path, tmp_path: Path) -> None:
    *before, end = lines(record)
    result = end["result"] | {"reason": "enough"}
    assert "the result was {'step': 8" in told(record, tmp_path, [*before, changed(end, result=result)])
    logs = end["logs"] | {"loss": (1.0).hex()}
    assert "the end of run(): loss was" in told(record, tmp_path, [*before, changed(end, logs=logs)])


def test_a_random_state_that_nobody_seeds_is_noted_and_counts_for_nothing(record: Path, tmp_path: Path) -> None:
    life = [changed(line, host="x") if "host" in line else line for line in lines(record)]
    reference = Reference(Journal(record))
    assert reference.compare(written(tmp_path / "0", life), last=True) is None
    assert reference.unseeded == {"host"}


def test_events_that_are_left_out_or_too_many_or_never_reached_are_named(record: Path, tmp_path: Path) -> None:
    begin, *rest, end = lines(record)
    assert "comes instead of STEP_END of step 1" in told(record, tmp_path, [begin, rest[0], *rest[2:], end])
    assert "comes instead of SETTLED of step 1" in told(record, tmp_path, [begin, *rest[:2], *rest[1:], end])
    assert "comes instead of the end" in told(record, tmp_path, [begin, *rest, changed(rest[-1], step=9), end])
    assert "comes instead of EPOCH_BEGIN of step 0" in told(record, tmp_path, [begin, *rest[3:], end])
    skipping = told(record, tmp_path, [begin, *rest[:3]], resumed(record, 2))
    assert skipping == "step 3 (epoch 1), STEP_END: this event comes, but STEP_END of step 2 never did"
    assert told(record, tmp_path, [begin, *rest[:3]], []) == "step 2 (epoch 1), STEP_END: no life came to this event"
    assert "no such loop" in told(record, tmp_path, [begin, changed(rest[0], loop=1)])


def test_a_resumed_life_leaves_out_nothing_at_either_end(record: Path, tmp_path: Path) -> None:
    killed, end = lines(record)[:-1], lines(record)[-1]
    after_2, after_4 = resumed(record, 2), resumed(record, 4)
    early = [*after_2[: at(record, "settled", 3) - at(record, "settled", 2) + 1], changed(end, step=3, step_in_epoch=3)]
    assert told(record, tmp_path, killed, early).endswith("nothing comes after this, instead of STEP_END of step 4")
    nothing = [after_2[0], changed(end, step=2, step_in_epoch=2)]
    assert told(record, tmp_path, killed, nothing).endswith("nothing comes after this, instead of STEP_END of step 3")
    no_epoch = [after_4[0], *after_4[2:]]
    assert "comes instead of EPOCH_BEGIN of step 4" in told(record, tmp_path, killed, no_epoch)
    no_step = [after_2[0], *after_2[3:]]
    assert "comes instead of STEP_END of step 3" in told(record, tmp_path, killed, no_step)
    assert told(record, tmp_path, killed, after_2[:-1]).endswith("SETTLED: the run never ended")


def test_what_a_stop_has_left_to_be_done_comes_first(record: Path, tmp_path: Path) -> None:
    begin, *rest = resumed(record, 3)
    pending = [changed(begin, pending="eval_begin", step=4, step_in_epoch=4), *rest[1:]]
    assert told(record, tmp_path, lines(record)[:-1], pending) == ""
    pending[0] = changed(begin, pending="epoch_end", step=4, step_in_epoch=4)
    assert "EVAL_BEGIN: this event comes instead of EPOCH_END" in told(record, tmp_path, lines(record)[:-1], pending)


def test_a_step_may_settle_twice(record: Path, tmp_path: Path) -> None:
    every, last = lines(record), at(record, "settled", 8)
    twice = tmp_path / "twice.jsonl"
    written(twice, [*every[: last + 1], *every[last:]])
    assert told(twice, tmp_path, lines(twice)) == ""
    assert told(twice, tmp_path, every[:last], resumed(record, 4)).endswith("instead of SETTLED of step 8")


def test_a_life_that_stops_only_where_hooks_want_it_is_compared_where_it_does(record: Path, tmp_path: Path) -> None:
    every = lines(record)
    few = [
        line
        for line in every
        if line["event"] != "step_end" and (line["event"], line["step"] % 4 > 1) != ("settled", True)
    ]
    assert told(record, tmp_path, few, stepwise=False) == ""
    assert "comes instead of STEP_END of step 1" in told(record, tmp_path, few)
    here = next(i for i, line in enumerate(few) if line["event"] == "settled" and line["step"] == 4)
    few[here] = other_hash(few[here], every[0], "optimizer/_iterations")
    assert "step 4 (epoch 1), SETTLED: optimizer/_iterations differs" in told(record, tmp_path, few, stepwise=False)
    del few[here - 1]
    assert "instead of EPOCH_END of step 4" in told(record, tmp_path, few, stepwise=False)


def test_a_line_that_a_kill_cut_off_does_not_count(record: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.jsonl"
    cut.write_text(record.read_text()[:-40])
    assert Journal(cut).lines == Journal(record).lines[:-1]


def test_kills_are_planned_in_each_kind_of_place_and_where_they_are_asked_for(record: Path) -> None:
    whole = Journal(record)
    for seed in range(20):
        deaths = plan(whole, 6, [5], random.Random(seed))
        assert {"step_end", "epoch_end", "save", "evaluation"} <= {death.event for death in deaths}
        assert KillPoint("step_end", 0, 5) in deaths
        assert len({*deaths}) == 7
        assert [death.step for death in deaths] == sorted(death.step for death in deaths)
        assert {death.step for death in deaths if death.event == "save"} <= {6, 8}
        assert min(death.step for death in plan(whole, 1, [], random.Random(seed))) > 3  # something is saved by then
    assert len(plan(whole, 100, [], random.Random(1))) == 8 + 8 + 3  # after each step, settled or not, and three kinds
    with pytest.raises(ValueError, match=r"The run has steps 1 to 8\. Received a kill after: \[9\]"):
        plan(whole, 1, [3, 9], random.Random(1))


def test_an_evaluation_that_was_abandoned_is_not_killed(record: Path, tmp_path: Path) -> None:
    life = [line for line in lines(record) if line["event"] not in ("eval_end", "epoch_end")]
    assert "evaluation" not in {death.event for death in plan(written(tmp_path / "0", life), 9, [], random.Random(1))}


def test_orders_come_out_as_they_went_in() -> None:
    for death in (None, KillPoint("evaluation", 1, 20, 0.5)):
        config = ChildConfig("record.jsonl", 12, False, death, "module", "make", {"epochs": 3}, ["/there"])
        assert ChildConfig.decode(config.encode()) == config


def test_what_a_program_changes_in_python_is_found() -> None:
    found = suspects(SCRIPT)
    assert [line.split(", at")[0] for line in found] == [
        "the attribute 'times' of Warmer is assigned",
        "the global 'count' is assigned",
    ]
    for line in found:
        number = int(line.rpartition(":")[2])
        assert Path(SCRIPT).read_text().splitlines()[number - 1].strip() in ("count += 1", "self.times += 1")


KEPT_IN_PYTHON = """
import itertools
import numpy as np
state, ticks, history, box = {"n": 0}, itertools.count(), [], [0]
def one(moment): state["n"] += 1
def two(moment): return next(ticks)
def three(moment): history.append(1)
def four(moment): box[0] += 1
def none(moment, given=()):
    own, found = {}, []
    own["n"], x = 1, np.append(found, 1)
    found.append(2)
class Hook:
    def __init__(self): self.fine = 1
    def on_run_begin(self, moment): self.rebuilt = 1
    def on_epoch_end(self, moment):
        self.seen.append(moment.step)
        self.best["x"] = 1
        self.update()
        setattr(self, "k", 1)
    def update(self): self.count = 1
    def never_called(self): self.quiet = 1
"""


def test_whatever_a_program_keeps_in_python_is_suspected(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(KEPT_IN_PYTHON)
    assert [re.sub(r", at .*:", " ", line) for line in suspects(str(program))] == [
        "the outer 'state' is changed 5",
        "the outer 'ticks' is changed 6",
        "the outer 'history' is changed 7",
        "the outer 'box' is changed 8",
        "the attribute 'seen' of Hook is changed 17",
        "the attribute 'best' of Hook is changed 18",
        "an attribute of Hook is assigned 20",
        "the attribute 'count' of Hook is assigned 21",
    ]


def test_what_is_only_read_is_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(BELOW, str(tmp_path))
    assert path_of("/runs/a") == f"{tmp_path}/runs/a"
    assert (path_to_read("/runs/a"), path_to_read("gs://runs/a")) == ("/runs/a", "gs://runs/a")
    (tmp_path / "runs/a").mkdir(parents=True)
    assert path_to_read("/runs/a") == f"{tmp_path}/runs/a"


class Told:
    """A program of which the lives are told in advance: their lines, and how they ended."""

    path, workers = SCRIPT, 1

    def __init__(self, tmp_path: Path, *lives: list[dict], said: str = "", status: int = 0) -> None:
        self._path, self._lives, self._said, self._status = tmp_path, list(lives), said, status

    def live(self, root: Path, where: str, death: KillPoint | None = None, **how: bool) -> Attempt:
        life = [
            line | ({"directories": [f"{root}/{where}/runs/a"]} if line.get("directories") else {})
            for line in self._lives.pop(0)
        ]
        record = written(self._path / "life.jsonl", life)
        return Attempt(-9 if death and self._lives else self._status, (record,), self._said, ("ckpt-3",))

    def proof(self, kills: int = 1) -> Proof:
        return compared(self, kills, [], False, lambda line: None)


def test_a_second_call_of_run_is_not_a_resume(record: Path, tmp_path: Path) -> None:
    every = lines(record)
    begin, end = resumed(record, 4)[0], every[-1]
    first = at(record, "settled", 4)
    twice = [*every[: first + 1], changed(end, step=4, epoch=1), begin, *every[first + 1 :]]
    proof = Told(tmp_path, twice, twice[:-4], twice).proof()
    assert (proof.exact, proof.difference, proof.unproved) == (False, "", NOT_RESUMED)
    assert Told(tmp_path, twice, twice[:-4], resumed(record, 6)).proof().exact


def test_only_the_loop_that_was_killed_counts_as_resumed(record: Path, tmp_path: Path) -> None:
    first, second = lines(record), [changed(line, loop=1) for line in lines(record)]
    third = [changed(line, loop=1) for line in resumed(record, 4)]
    for last, counts in {
        "from nothing": [*resumed(record, 8), *second],
        "from step 4": [*resumed(record, 8), *third],
    }.items():
        trial = Experiment(Told(tmp_path, [*first, *second[:-4]], counts), tmp_path, [KillPoint("step_end", 1, 8)], 1)
        trial.run(Whole([written(tmp_path / "whole", [*first, *second])]), lambda line: None)
        assert (trial.difference, trial.resumed) == (None, last == "from step 4")
        assert trial.kills == ["after step 8 of loop 1; this life had begun at step 0"]


def test_each_loop_needs_a_checkpoint(record: Path, tmp_path: Path) -> None:
    second = [changed(line, loop=1) | {"directories": []} for line in lines(record)]
    proof = Told(tmp_path, [*lines(record), second[0]], status=-9).proof()  # it dies by itself, before it trains
    assert (proof.exact, proof.steps, proof.difference) == (False, 8, "")
    assert str(proof) == (
        "not proved: whenever it is killed, it begins again from nothing, because loop 1, counted from 0, has no "
        "Checkpoint hook. Add one: hooks=[Checkpoint(directory, Every(steps=4))]."
    )


def test_a_run_that_saves_only_its_end_is_not_killed_for_nothing(record: Path, tmp_path: Path) -> None:
    late = [
        line | ({"saved": [8] if line["event"] == "end" else []} if "saved" in line else {}) for line in lines(record)
    ]
    said = []
    proof = compared(Told(tmp_path, late), 5, [], False, said.append)
    assert said == ["Running without interruption."]
    assert "because it saves nothing before its last step, which is step 8" in proof.unproved
    assert proof.unproved.endswith("Save earlier: Checkpoint(directory, Every(steps=4)).")
    one = [line for line in late if line["step"] <= 1 and line["event"] != "end"]
    assert (
        Told(tmp_path, [*one, changed(late[-1], step=1, saved=[1])]).proof().unproved.endswith("Train for more steps.")
    )


def test_a_program_that_runs_no_step_says_why(record: Path, tmp_path: Path) -> None:
    begin, end = resumed(record, 8)[0], lines(record)[-1]
    never = "it never called Loop.run() in the process that was started, or in one that this has forked"
    for life, why in [([], never), ([begin, end], "it was complete when it began, at step 8")]:
        for twice in (False, True):
            proof = compared(Told(tmp_path, life, said="Usage: ..."), 1, [], twice, lambda line: None)
            assert proof.unproved.startswith(f"the program ran no step, because {why}.")
            assert proof.unproved.endswith("It said:\nUsage: ...")


def test_what_is_only_run_twice_needs_no_checkpoint(record: Path, tmp_path: Path) -> None:
    begin, *rest = lines(record)
    life = [begin | {"directories": []}, *(line | ({"saved": []} if "saved" in line else {}) for line in rest)]
    assert compared(Told(tmp_path, life, life), 5, [], True, lambda line: None).exact


def test_a_program_that_takes_nothing_up_is_killed_once(record: Path, tmp_path: Path) -> None:
    life = lines(record)
    said = []
    proof = compared(Told(tmp_path, life, life[:-4], life[:-4], []), 5, [], False, said.append)
    assert (proof.unproved, len(proof.kills)) == (NOT_RESUMED, 1)
    assert str(proof).startswith("not proved: whenever it is killed")


def test_a_kill_comes_after_a_save_wherever_there_is_one(record: Path, tmp_path: Path) -> None:
    late = [line | ({"saved": [7] if line["step"] > 6 else []} if "saved" in line else {}) for line in lines(record)]
    whole = written(tmp_path / "0", late)
    assert {death.step for seed in range(9) for death in plan(whole, 1, [], random.Random(seed))} == {8}


def test_a_failure_that_the_script_swallows_is_one(record: Path, tmp_path: Path) -> None:
    *before, end = lines(record)
    failed = {key: end[key] for key in ("loop", "event", "step", "epoch", "step_in_epoch")}
    failed["error"] = {"kind": "RuntimeError", "message": "broken"}
    with pytest.raises(RuntimeError, match="failed without being killed, with status 0: broken"):
        Told(tmp_path, [*before, failed]).proof()
    proof = Told(tmp_path, [*before, end], before, [*resumed(record, 4)[:3], failed]).proof()
    assert proof.difference.startswith("a life that was started again failed: broken")
    refused = failed | {"error": {"kind": "InexactRun", "message": "draws"}}
    assert Told(tmp_path, [refused]).proof().difference == "the run was refused before its first step.\ndraws"
    proof = Told(tmp_path, [*before, refused], status=3).proof()
    assert proof.difference.startswith("the run was refused at STEP_END of step 8.\ndraws")
    with pytest.raises(RuntimeError, match="with status 3"):
        Told(tmp_path, [*before, end], status=3).proof()


def test_what_else_is_worth_knowing_is_noted(record: Path, tmp_path: Path) -> None:
    begin, *rest = lines(record)
    gone = [
        {"event": "removed", "path": path} for path in ("/runs", "/runs/other", "/runs/a/mine", "/runs/a/ckpt-3.json")
    ]
    proof = Told(tmp_path, [*gone, begin, *rest], [begin, *rest], resumed(record, 6)).proof(kills=100)
    assert proof.notes[0] == "100 kills were asked for, 1 done."
    removed = ("/runs", "/runs/a/ckpt-3.json")
    assert [note.split(". ")[0] for note in proof.notes[1:]] == [f"The program removed {path}" for path in removed]
    assert "\nNote: 100 kills were asked for, 1 done." in str(proof)


def test_what_hooks_keep_and_no_checkpoint_has_is_compared_at_the_end(record: Path, tmp_path: Path) -> None:
    (mine := tmp_path / "fold1.done").touch()
    files = [{"event": "written", "path": str(path)} for path in (mine, tmp_path / "gone")]
    (*whole, end), (*again, _) = lines(record), resumed(record, 6)

    def proof(now: dict, then: dict) -> Proof:
        lives = [*files, *whole, changed(end, **then)], [*whole, end], [*again, changed(end, **now)]
        return Told(tmp_path, *lives).proof()

    python = {"count": "a", "Warmer.times": "b", "hooks/h/get_state of the state": "c", "loss": "d", "same": "e"}
    noted = proof({"python": python}, {"python": dict.fromkeys(python, "e") | {"more": "f"}})
    kept, wrote = noted.notes
    names = "hooks/h/get_state of the state; the attribute 'times' of Warmer is assigned, at .*; the global 'count' is"
    assert re.match(rf"At the end, Python holds other values than without kills: {names} assigned, at", kept)
    assert re.match(r"The program wrote [^,]*fold1\.done by itself\. These files are not compared", wrote)
    assert noted.exact
    found = proof({"unsaved": {"ema:0 of hook 'h'": "a", "b": "b"}}, {"unsaved": {"ema:0 of hook 'h'": "b", "c": "c"}})
    assert "the end of run(): ema:0 of hook 'h', which no checkpoint holds, differs" in found.difference


def test_a_life_that_does_nothing_is_quoted(record: Path, tmp_path: Path) -> None:
    proof = Told(tmp_path, lines(record), lines(record)[:6], [], said="Fold 1 is done.").proof()
    assert "no life came to this event" in proof.difference
    assert "That life ended by itself. It said:\nFold 1 is done." in proof.difference


@pytest.mark.parametrize(
    ("make", "kills"),
    [
        pytest.param(proved.small_loop, 1, id="small"),
        *(pytest.param(proved.slow_loop, kills, marks=pytest.mark.long, id=str(kills)) for kills in (1, 4)),
    ],
)
def test_a_loop_is_proved_to_be_exact_and_leaves_no_files(
    make: Callable[[], Loop], kills: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    proof = prove(make, epochs=2, kills=kills)
    named = f"{kills} kill{'s' if kills > 1 else ''}"
    assert (str(proof), proof.exact) == (f"exact: {named}, 8 steps, 0 differences", True)
    kinds = ("after step", "at the end of an epoch", "inside the evaluation of step", "inside the save of ckpt-")
    for kind in kinds if kills == len(kinds) else ():
        assert any(kind in kill for kill in proof.kills), proof.kills
    assert len(proof.kills) == kills
    assert [*tmp_path.iterdir()] == []


@pytest.mark.more
def test_a_loop_that_counts_in_python_is_not_and_the_counter_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    proof = prove(proved.forgetful_loop, epochs=2, kills=1, at=[7])
    assert not proof.exact, proof
    assert re.search(r"step 8 .*_learning_rate", proof.difference)
    assert "the global 'count' is assigned, at tests/proved.py" in proof.difference


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        (
            "TF_CONFIG",
            '{"cluster": {"worker": ["127.0.0.1:1", "127.0.0.1:2"]}, "task": {"index": 0}}',
            r"TF_CONFIG is set\. A proof starts all workers itself.*and unset TF_CONFIG",
        ),
        ("SLURM_STEP_NUM_TASKS", "4", r"SLURM runs it 4 times\. A proof starts all workers itself.*--ntasks=1"),
    ],
)
def test_a_worker_of_a_cluster_proves_nothing(
    variable: str, value: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "train.py").write_text("import loop\nloop.connect()\n")
    monkeypatch.setenv(variable, value)
    for attempt in (lambda: prove(proved.good_loop, epochs=1), lambda: prove_script(str(tmp_path / "train.py"))):
        with pytest.raises(ValueError, match=said):
            attempt()


def test_what_cannot_be_proved_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a function at the top level of a module"):
        prove(lambda: proved.good_loop(), epochs=1)
    with pytest.raises(ValueError, match="at least one kill"):
        prove(proved.good_loop, epochs=1, kills=0)
    with pytest.raises(ValueError, match=r"Steps count from 1\. Received a kill after: \[0\]"):
        prove(proved.good_loop, epochs=1, at=(step for step in (3, 0)))  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError, match="no script"):
        prove_script(str(tmp_path / "nothing.py"))


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Returns what proves `proved.py` with these arguments; what it leaves behind goes with the test."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        given = [str(Path(sys.executable).with_name("exactloop")), "prove", SCRIPT, *arguments]
        return subprocess.run(given, capture_output=True, text=True, check=False)

    return run


@pytest.mark.more
def test_the_command_says_why_a_run_is_refused(command: Command) -> None:
    done = command("--kills", "1", "--", "refused")
    assert done.returncode == 1
    assert "NOT exact: the run was refused before its first step" in done.stdout
    assert re.search(r"RandomStandardNormal\n    at tests/proved.py:\d+: x \+= 0\.1 \* tf\.raw_ops", done.stdout)


@pytest.mark.more
def test_the_command_says_that_a_script_fails_by_itself(command: Command) -> None:
    done = command("--", "fails")
    assert (done.returncode, "no data today" in done.stderr) == (2, True)


@pytest.mark.long
def test_a_program_of_xla_is_proved(command: Command) -> None:
    done = command("--kills", "2", "--", "XLA")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "exact: 2 kills, 12 steps, 0 differences"), done


DIFFERENCES = {
    "tf.random": r"STEP_END: loss was .*\n.*\n.*RandomStandardNormal, at .*proved\.py:\d+: x \+= 0\.1 \* tf\.raw_ops",
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
def test_each_thing_that_is_in_no_checkpoint_is_named(wrong: str, command: Command) -> None:
    done = command("--kills", "1", "--at", "6,10", "--", *wrong.split())
    assert done.returncode == 1, done
    assert re.search(f"NOT exact: step .*{DIFFERENCES[wrong]}", done.stdout), done.stdout


@pytest.mark.long
@pytest.mark.parametrize("wrong", ["no seed", "time"])
def test_a_script_that_never_does_the_same_is_told_from_one_that_is_not_resumed(wrong: str, command: Command) -> None:
    done = command("--same-machine-twice", "--", *wrong.split())
    assert done.returncode == 1, done
    assert "NOT exact: step" in done.stdout
    assert "the program does not do the same each time" in done.stdout
    assert command("--same-machine-twice", "--", "global", "counter").returncode == 0


@pytest.mark.long
def test_data_that_do_not_come_again_are_named(command: Command) -> None:
    done = command("--kills", "1", "--at", "9,21", "--", "generator")
    assert done.returncode == 1, done
    assert "The training data yield something else when they are read a second time" in done.stdout, done.stdout
