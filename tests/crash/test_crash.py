"""The crash laboratory: wherever a run is cut off, nothing is lost or wrongly believed, and planted bugs are caught.

What is tried is in the other files here: `protocol` on a disk in memory, `operations` on a real training, `damage` on
real files. `bugs` has the mistakes.
"""

import shutil
from pathlib import Path

import operations
import protocol
import pytest
import tensorflow as tf
from bugs import BUGS, Laboratory
from damage import DATA, INDEX, MANIFEST, found
from planting import Bug, planted
from trainer import Trainer, array_data, stream_data

from hooks.checkpoint.commits.store import Store
from hooks.checkpoint.disk.directory import open_files
from loop.state.rows_in_memory import RowsInMemory

# At least so many different states have to be looked at in each scenario, or the laboratory is not what it was.
STATES = {
    "first save": 60,
    "next save": 150,
    "save and prune": 500,
    "same step again": 15,
    "rows beside it": 300,
    "stop in mid-round": 350,
    **{f"save that fails at operation {number}": 150 for number in range(17)},
    "clean-up at the start": 100,
    "set an old one aside": 80,
    "set aside": 150,
}
CHECKS = (
    "flushes",
    "locks",
    "damage",
    "errors",
    "going back",
    "storage",
    "signals",
    pytest.param("rolling back", marks=pytest.mark.long),
)  # the others have tests of their own


@pytest.fixture(scope="module")
def laboratory() -> Laboratory:
    return Laboratory()


@pytest.fixture(scope="module")
def trainers() -> dict[str, Trainer]:
    return {"arrays": Trainer(array_data), "stream": Trainer(stream_data), "rows": Trainer(array_data)}


@pytest.mark.parametrize("scenario", protocol.SCENARIOS)
def test_a_kill_or_a_power_failure_at_any_instant_leaves_the_old_or_the_new(scenario: str) -> None:
    witness = protocol.Witness(scenario)
    assert witness.wrong == []
    assert witness.states >= STATES[scenario]


@pytest.mark.parametrize("data", ["arrays", "stream", "rows"])
@pytest.mark.parametrize("scenario", operations.SCENARIOS)
def test_a_training_killed_at_any_operation_ends_with_the_same_bits(
    scenario: str, data: str, trainers: dict[str, Trainer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if data == "rows":  # as in a process without a seed, which keeps them
        monkeypatch.setattr(RowsInMemory, "_may_be_drawn", True)
    assert list(operations.operations(trainers[data], tmp_path, (scenario,))) == []
    assert bool([*tmp_path.glob("*/*.rows")]) == (data == "rows")


@pytest.mark.more
@pytest.mark.parametrize("check", CHECKS)
def test_nothing_is_wrong(check: str, laboratory: Laboratory, tmp_path: Path) -> None:
    assert list(laboratory.checks[check](tmp_path)) == []


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_is_caught(bug: Bug, laboratory: Laboratory, tmp_path: Path) -> None:
    with planted(bug):
        assert laboratory.caught(tmp_path) is not None


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with real checkpoints of steps 4 and 6, of four numbers."""
    directory = tmp_path_factory.mktemp("small")
    store = Store(open_files(directory))
    for step in (4, 6):
        tensorflow = tf.train.Checkpoint(weights=tf.Variable([1.5, 2.5, -1.0, float(step)]))
        protocol.commit(store, step, tensorflow=tensorflow.write)
    store.files.close()
    return directory


@pytest.fixture(scope="module")
def full(trainers: dict[str, Trainer], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run that was saved after steps 2, 4 and 6, with random states and all."""
    directory = tmp_path_factory.mktemp("full")
    trainers["arrays"].live(directory, steps=6)
    return directory


@pytest.mark.parametrize("name", [DATA, INDEX, MANIFEST])
@pytest.mark.parametrize(
    ("which", "every"),
    [("small", 7), pytest.param("small", 1, marks=pytest.mark.more), pytest.param("full", 1, marks=pytest.mark.crash)],
)
def test_every_byte_and_every_length_of_a_file_matters(
    which: str, every: int, name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Flips one bit of each byte, a different one from byte to byte, sets it to 00 and FF, and cuts the file there."""
    directory = Path(shutil.copytree(request.getfixturevalue(which), tmp_path / which))
    path, overlooked = directory / name, []
    whole = path.read_bytes()
    for at, byte in [*enumerate(whole)][::every]:
        others = {byte ^ 1 << at % 8, 0x00, 0xFF} - {byte}
        for damaged in [whole[:at], *(whole[:at] + bytes([other]) + whole[at + 1 :] for other in sorted(others))]:
            path.write_bytes(damaged)
            stem, reported = found(directory)
            if stem != "ckpt-4" or [each.file for each in reported] != [str(path)]:
                overlooked.append((at, stem, reported))
    assert overlooked == []
