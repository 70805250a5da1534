"""TensorFlow's list of checkpoints, which is written for others: nothing depends on it."""

import errno
from pathlib import Path

import pytest
import tensorflow as tf
from storage import EVERY_1, EVERY_2, Disk, counting_loop, files, steps_in

from hooks import Checkpoint
from loop import Event, Moment


def test_tensorflows_state_file_that_cannot_be_written_is_no_failure(disk: Disk, tmp_path: Path) -> None:
    loop = counting_loop(Checkpoint(tmp_path, EVERY_2, keep=9))
    loop.on(Event.RUN_BEGIN)(disk.watch)
    loop.run(steps=2)
    disk.fail(
        errno.ENOSPC,
        lambda index: index == disk.operations.index("state file") if "state file" in disk.operations else False,
    )
    loop.run(steps=4)
    assert "state file" in disk.operations
    assert "checkpoint.tmp" not in files(tmp_path)
    assert steps_in(tmp_path) == [2, 4]


def test_it_does_not_grow_with_the_number_of_saves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save, listed = tf.train.CheckpointManager.save, list[list[str]]()

    def spied(manager: tf.train.CheckpointManager, checkpoint_number: int) -> str:
        saved = save(manager, checkpoint_number)
        listed.append([Path(path).name for path in manager.checkpoints])
        return saved

    monkeypatch.setattr(tf.train.CheckpointManager, "save", spied)
    counting_loop(Checkpoint(tmp_path, EVERY_1, keep=1)).run(steps=4)
    assert listed == [["ckpt-1"], ["ckpt-2"], ["ckpt-3"], ["ckpt-4"]]  # the store adds what else is there


@pytest.mark.parametrize("content", [b"", b"\xff", b'model_checkpoint_path: "nowhere"'])
def test_a_save_is_not_kept_from_by_a_list_that_somebody_has_damaged(content: bytes, tmp_path: Path) -> None:
    loop = counting_loop(Checkpoint(tmp_path, EVERY_1, keep=2))

    @loop.on(Event.STEP_END, every=EVERY_1)
    def damage(moment: Moment) -> None:
        (tmp_path / "checkpoint").write_bytes(content)

    loop.run(steps=3)
    assert steps_in(tmp_path) == [2, 3]
    assert tf.train.get_checkpoint_state(tmp_path).all_model_checkpoint_paths == [
        f"{tmp_path}/ckpt-2",
        f"{tmp_path}/ckpt-3",
    ]
