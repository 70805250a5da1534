"""Hooks of all kinds on two workers, killed: the same bits, the same values and the same files as without a kill."""

import signal
from collections.abc import Mapping
from pathlib import Path

import pytest
from cluster import run, running

STEPS = "60"
KILLS = ((1, signal.SIGKILL, "step 15."), (0, signal.SIGTERM, "step 30."), (0, signal.SIGKILL, "step 45."))
FILES = {
    "ours": ["values.jsonl", "sent.jsonl", "tracked.jsonl", "tracked.jsonl.sent", "exports/*"],
    "keras": ["values.csv", "best.weights.h5"],
}


@pytest.mark.long
@pytest.mark.parametrize("kind", FILES)
def test_hooks_together_on_workers_that_are_killed(kind: str, tmp_path: Path) -> None:
    plan = [["crowded", str(tmp_path / "killed"), kind, STEPS, "0.1"]]
    for rank, number, text in KILLS:
        with running(plan, 2, tmp_path / "lives") as cluster:
            cluster.wait_for(rank, text)
            cluster.kill(rank, number)
            assert [each.code for each in cluster.ended()] != [0, 0]
    workers = run([["crowded", str(tmp_path / name), kind, STEPS] for name in ("killed", "whole")], 2, tmp_path)
    assert workers[0] == workers[1]
    killed, whole = workers[0]
    for part in ("digests", "values", "logs", "reason", "step", "evaluated", "history"):
        assert killed[part] == whole[part]
    assert whole["step"] == int(STEPS)
    written = files(tmp_path / "whole", kind)
    assert len(written) >= len(FILES[kind])
    assert files(tmp_path / "killed", kind) == written


def files(directory: Path, kind: str) -> Mapping[str, bytes]:
    found = {path for pattern in FILES[kind] for path in directory.glob(pattern)}
    return {str(path.relative_to(directory)): path.read_bytes() for path in sorted(found)}
