"""What several tests of checkpoints begin with."""

import shutil
from pathlib import Path

import pytest
from storage import EVERY_2, Bits, Disk, by_step, make_loop

from hooks import Checkpoint


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    """Whatever a Checkpoint writes, it writes to this one."""
    disk = Disk()
    monkeypatch.setattr("hooks.checkpoint.hook.open_files", disk.open)
    return disk


@pytest.fixture(scope="session")
def whole() -> dict[int, Bits]:
    """The state of an uninterrupted run without checkpoints, by step."""
    return by_step(make_loop(), 10)


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run that was saved after steps 2, 4 and 6; 4 has the least loss."""
    directory = tmp_path_factory.mktemp("original")
    loop = make_loop(Checkpoint(directory, EVERY_2))
    loop.run(steps=6)
    return directory


@pytest.fixture
def saved(original: Path, tmp_path: Path) -> Path:
    """A copy of it to play with."""
    return Path(shutil.copytree(original, tmp_path / "saved"))
