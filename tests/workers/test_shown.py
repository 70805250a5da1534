"""Hooks that show something, on two workers: in the first one alone, and none waits for what it does there."""

import signal
from collections.abc import Mapping
from pathlib import Path

import pytest
import tensorflow as tf
from cluster import run, running

STEPS = "60"


def curves(directory: Path) -> Mapping[tuple[str, str], list[tuple[int, float]]]:
    """Returns what TensorBoard shows, but for speeds: of a step that is there twice, the later one."""
    found: dict[tuple[str, str], dict[int, float]] = {}
    for path in sorted(directory.glob("*/*tfevents*")):
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            event = tf.compat.v1.Event.FromString(record)
            for value in event.summary.value:
                if value.tag not in ("steps_per_second", "examples_per_second", "configuration"):
                    found.setdefault((path.parent.name, value.tag), {})[event.step] = value.simple_value
    return {name: sorted(points.items()) for name, points in found.items()}


@pytest.mark.long
def test_what_is_shown_of_two_workers_that_were_killed_is_what_is_shown_of_two_that_were_not(tmp_path: Path) -> None:
    for rank, text in ((1, "step 15."), (0, "step 35.")):
        with running([["shown", str(tmp_path / "killed"), STEPS, "", "0.1"]], 2, tmp_path / "lives") as cluster:
            cluster.wait_for(rank, text)
            cluster.kill(rank, signal.SIGKILL)
            assert [each.code for each in cluster.ended()] != [0, 0]
    workers = run([["shown", str(tmp_path / name), STEPS] for name in ("killed", "whole")], 2, tmp_path / "ends")
    assert workers[0] == workers[1]
    killed, whole = workers[0]
    assert (killed["digests"], killed["logs"]) == (whole["digests"], whole["logs"])
    shown = curves(tmp_path / "whole" / "board")
    assert [step for step, _ in shown["train", "loss"]] == [*range(5, int(STEPS) + 1, 5)]
    assert curves(tmp_path / "killed" / "board") == shown
    assert len([*(tmp_path / "whole" / "profile").rglob("*.xplane.pb")]) == 1


@pytest.mark.long
def test_what_one_hook_does_in_the_first_worker_ends_all_and_none_hangs(tmp_path: Path) -> None:
    first, other = run([["shown", str(tmp_path / what), STEPS, what] for what in ("stop", "prune")], 2, tmp_path / "a")
    assert [other[0]["step"], other[0]["reason"]] == [20, "enough"]
    assert first[0]["digests"] == other[0]["digests"]
    assert (first[1], other[1]["step"], other[1]["reason"]) == ({"pruned": 20}, 20, "enough")
    with running([["shown", str(tmp_path / "raise"), STEPS, "raise"]], 2, tmp_path / "b") as cluster:
        failing, waiting = cluster.ended()
    assert (failing.code, waiting.code) == (1, 1)
    assert "ValueError: no more of this" in failing.said
    assert "has failed: ValueError: no more of this" in waiting.said.strip().splitlines()[-1]
