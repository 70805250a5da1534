"""Killed anywhere and started again, a run ends with the same bits as if it had never been killed."""

from pathlib import Path

import nursery
import pytest
from places import TESTS
from tiny import DATA

EVERY_STEP = [f"step_end:{step}" for step in range(1, 22)]
END_OF_EPOCH = [f"{event}:14" for event in ("eval_begin", "eval_end", "epoch_end", "settled")]
ELSEWHERE = [f"{event}:7" for event in ("eval_begin", "eval_end", "epoch_end", "settled")] + ["settled:2", "settled:21"]
AROUND_EPOCHS = [f"step_end:{step}" for step in (1, 7)]


def differences(directory: Path, data: str, kills: list[str]) -> list[str]:
    lives = nursery.run(TESTS / "lives.py", directory, data, *kills)
    print(lives.stderr[-3000:])  # shown if the test fails
    assert lives.returncode == 0
    return lives.stdout.splitlines()


@pytest.mark.parametrize(
    "kills", [["step_end:8"], ["eval_end:14"], AROUND_EPOCHS + END_OF_EPOCH], ids=["in mid epoch", "at its end", "all"]
)
def test_arrays_killed_around_the_ends_of_epochs_end_with_the_same_bits(tmp_path: Path, kills: list[str]) -> None:
    assert differences(tmp_path / "lives", "arrays", kills) == []


@pytest.mark.long
@pytest.mark.parametrize("data", DATA)
def test_any_data_killed_at_every_step_end_with_the_same_bits(tmp_path: Path, data: str) -> None:
    assert differences(tmp_path / "lives", data, EVERY_STEP + END_OF_EPOCH + ELSEWHERE) == []


@pytest.mark.more
def test_each_kind_of_state_would_be_missed(tmp_path: Path) -> None:
    """The control: a second life that forgets one variable ends otherwise, and it is noticed in the right place."""
    forgotten = {
        "extra/model/6": "steps.jsonl",  # the seed of the dropout layer
        "optimizer/_variables/2": "steps.jsonl",  # gradients accumulated so far
        "model/_functional/_operations/2/moving_mean": "events.jsonl",  # of the batch normalisation
        "metrics/accuracy/0": "events.jsonl",
        "means/sums": "events.jsonl",
    }
    # After 11 steps, and so resumed after 10, two gradients of three are accumulated, and an epoch is under way.
    told = differences(tmp_path / "lives", "arrays", [f"step_end:11:{path}" for path in forgotten])
    expected = {f"arrays, killed at step_end:11:{path}: {file} differs" for path, file in forgotten.items()}
    assert expected - {*told} == set()


@pytest.mark.more
@pytest.mark.parametrize("data", sorted({*DATA} - {"arrays"}))
def test_other_data_killed_in_mid_epoch_and_at_its_end_end_with_the_same_bits(tmp_path: Path, data: str) -> None:
    assert differences(tmp_path / "lives", data, ["step_end:10", "epoch_end:14"]) == []


@pytest.mark.more
@pytest.mark.parametrize("data", ["arrays", pytest.param("unknown length", marks=pytest.mark.long)])
def test_a_program_of_xla_killed_in_mid_epoch_and_at_its_end_ends_with_the_same_bits(tmp_path: Path, data: str) -> None:
    assert differences(tmp_path / "lives", f"{data}, XLA", ["step_end:10", "epoch_end:14"]) == []
