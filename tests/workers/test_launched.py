"""`exactloop launch` starts all anew whenever one of them is killed, in the midst of whatever it does."""

import json
import subprocess
import sys
from pathlib import Path

import file_cases
import pytest
from cluster import run
from places import TESTS, environment

PLACES = ("meet", "start", "connect", "save", "restore", "evaluate")
STEPS, PATIENCE = "30", 1500.0


@pytest.mark.long
@pytest.mark.parametrize("victim", [0, 1])
@pytest.mark.parametrize("kind", ["dying", "dying_filed"])
def test_one_is_killed_within_anything_and_all_end_with_the_same_bits(kind: str, victim: int, tmp_path: Path) -> None:
    """At each place once; SIGKILL from within, so that it is there and nowhere else."""
    files = [file_cases.write(tmp_path / "files")] if kind == "dying_filed" else []
    places = [*PLACES, *(["parcel"] if files else [])]
    plan = json.dumps([[kind, str(tmp_path / "killed"), STEPS, *files]])
    script = str(TESTS / "workers" / "dying.py")
    launch = [sys.executable, "-m", "exactloop", "launch", "--workers=2", f"--max-restarts={len(places)}", script]
    launched = subprocess.run(
        [*launch, "--", str(tmp_path), str(victim), ",".join(places), plan, str(tmp_path / "result-{rank}")],
        env=environment(TF_CPP_MIN_LOG_LEVEL="2"), capture_output=True, text=True, timeout=PATIENCE, cwd=tmp_path,
    )  # fmt: skip
    assert launched.returncode == 0, launched.stderr
    assert {path.name for path in tmp_path.glob("died-*")} == {f"died-{place}" for place in places}
    assert launched.stderr.count("Starting all anew") == len(places)
    results = [json.loads((tmp_path / f"result-{rank}").read_text()) for rank in (0, 1)]
    assert results[0] == results[1]
    whole = run([[kind, str(tmp_path / "whole"), STEPS, *files]], 2, tmp_path / "once")
    assert results[0][0]["digests"] == whole[0][0]["digests"]
