"""Scripts that nobody has in mind who writes an example, on several workers: as on one; killed; by other numbers."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import hostile_cases
import keras
import numpy as np
import pytest
from cluster import run
from places import TESTS, environment

import loop

STEPS, CLOSE, PATIENCE = "20", 2e-6, 1500.0
CASES = (*hostile_cases.CASES,)
COUNTS = pytest.mark.parametrize("count", [2, 3])
SCRIPT = str(TESTS / "workers" / "worker.py")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, dict]:
    """What comes of each case in one process."""
    where, found = tmp_path_factory.mktemp("alone"), {}
    for name in CASES:
        keras.utils.set_random_seed(1)
        found[name] = hostile_cases.CASES[name](loop.connect(), str(where / name), STEPS)
    return found


def check_close(found: Mapping[str, Mapping], wanted: Mapping[str, Mapping], *, steps: bool = True) -> None:
    for name, mine in wanted.items():
        for part in ("values", *(["steps"] if steps else [])):
            assert found[name][part].keys() == mine[part].keys()
            for path, values in mine[part].items():
                np.testing.assert_allclose(found[name][part][path], values, rtol=CLOSE, atol=CLOSE, err_msg=name + path)
        assert found[name]["logs"] == pytest.approx(mine["logs"], rel=CLOSE, abs=CLOSE), name
        assert (found[name]["step"], found[name]["reason"]) == (mine["step"], mine["reason"])


@pytest.mark.long
@COUNTS
def test_hostile_scripts_train_what_one_process_does(count: int, alone: Mapping[str, dict], tmp_path: Path) -> None:
    workers = run([[name, str(tmp_path / name), STEPS] for name in CASES], count, tmp_path)
    for each in workers[1:]:
        assert each == workers[0]
    found = dict(zip(CASES, workers[0], strict=True))
    check_close(found, alone)
    np.testing.assert_allclose(found["searched"]["also"][0], alone["searched"]["also"][0], rtol=CLOSE, atol=CLOSE)


@pytest.mark.long
@pytest.mark.parametrize("part", range(3))
@COUNTS
def test_hostile_scripts_that_are_killed_end_with_the_same_bits(count: int, part: int, tmp_path: Path) -> None:
    """Each once, by a signal that it hears or none, at one worker after the other."""
    names = CASES[part::3]
    plan = [[name, str(tmp_path / "killed" / name), STEPS, f"{i % count}-{8 + i}-9"] for i, name in enumerate(names)]
    launch = [sys.executable, "-m", "exactloop", "launch", f"--workers={count}", f"--max-restarts={len(names)}", SCRIPT]
    launched = subprocess.run(
        [*launch, "--", json.dumps(plan), str(tmp_path / "result-{rank}")],
        env=environment(TF_CPP_MIN_LOG_LEVEL="2"), capture_output=True, text=True, timeout=PATIENCE, cwd=tmp_path,
    )  # fmt: skip
    assert launched.returncode == 0, launched.stderr
    assert launched.stderr.count("Starting all anew") == len(names)
    found = [json.loads((tmp_path / f"result-{rank}").read_text()) for rank in range(count)]
    whole = run([[name, str(tmp_path / "whole" / name), STEPS] for name in names], count, tmp_path / "once")
    for rank in range(count):
        for name, mine, other in zip(names, found[rank], whole[0], strict=True):
            assert mine["digests"] == other["digests"], name
            assert mine["history"] == other["history"], name


@pytest.mark.long
def test_hostile_scripts_go_on_on_other_numbers_of_workers(alone: Mapping[str, dict], tmp_path: Path) -> None:
    for count, steps in ((2, "7"), (1, "13"), (3, STEPS)):
        workers = run([[name, str(tmp_path / name), steps] for name in CASES], count, tmp_path / str(count))
        assert all(each == workers[0] for each in workers)
    check_close(dict(zip(CASES, workers[0], strict=True)), alone, steps=False)
