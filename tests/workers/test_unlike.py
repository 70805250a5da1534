"""What several workers refuse, with the reason and a remedy."""

from pathlib import Path

import pytest
from cluster import run, running


def said(plan: list[list[str]], tmp_path: Path) -> list[str]:
    with running(plan, 2, tmp_path) as cluster:
        ended = cluster.ended()
    assert [each.code for each in ended] == [1, 1]
    return [each.said for each in ended]


@pytest.mark.long
def test_a_forgotten_average_is_refused_when_it_would_be_saved(tmp_path: Path) -> None:
    chief, other = said([["forgotten", str(tmp_path / "checkpoints")]], tmp_path)
    assert "Differing: Worker 1 does not hold what the first one does, and nothing was saved: weights." in chief
    assert "has failed: Differing: Worker 1 does not hold" in other
    assert list((tmp_path / "checkpoints").glob("ckpt-*")) == []


@pytest.mark.long
def test_a_forgotten_average_is_refused_when_nothing_is_saved(tmp_path: Path) -> None:
    for each in said([["forgotten"]], tmp_path):
        assert "ValueError: The workers do not hold the same values when the run ends: weights. A step has" in each


@pytest.mark.long
def test_workers_that_differ_are_refused_with_all_differences(tmp_path: Path) -> None:
    for each in said([["unlike"]], tmp_path):
        assert "The workers are not alike" in each
        for difference in (
            "value of optimizer/_trainable_variables/0",
            "data seed: 0 in worker 0, 1 in worker 1",
            "data rows: 23",
            "data content",
        ):
            assert difference in each


@pytest.mark.long
def test_a_loop_that_is_traced_in_one_worker_alone_is_no_reason_to_wait_for_ever(tmp_path: Path) -> None:
    for each in said([["audited"]], tmp_path):
        assert "sums over workers traced: " in each
        assert "What traces a loop, as audit() does, is called in all of them" in each


@pytest.mark.long
@pytest.mark.parametrize("what", ["evaluate", "evaluate before", "roll back"])
def test_what_one_worker_alone_does_ends_all_with_what_each_waits_for(what: str, tmp_path: Path) -> None:
    for each in said([["alone", what]], tmp_path):
        assert "The workers have gone different ways, and wait for all others: worker 0 (127.0.0.1" in each
        assert "not everywhere=False" in each


@pytest.mark.long
@pytest.mark.parametrize("rank", [0, 1])
def test_data_that_end_later_in_one_worker_end_all(rank: int, tmp_path: Path) -> None:
    """The one waits in a step for ever, and the others have left the loop."""
    for each in said([["longer", str(rank)]], tmp_path):
        assert f"Workers have not equally many batches: worker {rank} (127.0.0.1:" in each
        assert f"is in a step for which worker {1 - rank} (127.0.0.1:" in each


@pytest.mark.long
@pytest.mark.parametrize(
    ("what", "named", "last"),
    [
        ("source", "data/get_state", 8),
        ("stream", "data/random streams of Python and NumPy", 8),
        ("stages", "data/stages", 28),
    ],
)
def test_data_that_python_makes_otherwise_in_one_worker_are_refused(
    what: str, named: str, last: int, tmp_path: Path
) -> None:
    """What was saved before is as it was: a resumed run would not end as this one would have."""
    chief, other = said([["drifts", what, str(tmp_path / "checkpoints")]], tmp_path)
    assert "Worker 1 does not hold what the first one does, and nothing was saved: " in chief
    assert named in chief
    assert "has failed: Differing: Worker 1 does not hold" in other
    steps = sorted(int(path.stem.removeprefix("ckpt-")) for path in (tmp_path / "checkpoints").glob("ckpt-*.json"))
    assert steps[-1] == last


@pytest.mark.long
def test_a_checkpoint_that_one_of_the_machines_does_not_see_is_named(tmp_path: Path) -> None:
    plan = [["elsewhere", str(tmp_path / "checkpoints"), "6"]]
    run(plan, 2, tmp_path / "first")
    chief, other = said(plan, tmp_path)
    assert "cannot restore ckpt-6 in" in other
    missing = f"{tmp_path / 'checkpoints'}-1"
    said_of_it = f"{missing!r}, which the first worker has restored from there: There is no directory {missing!r}. All"
    assert said_of_it in other
    assert "worker 1 (127.0.0.1" in chief
    assert "has failed: FileNotFoundError: worker 1" in chief
