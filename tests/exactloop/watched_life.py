"""A run that goes on until it is killed, with files of every kind.

PYTHONPATH=. python tests/exactloop/watched_life.py DIRECTORY
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf

from hooks import Checkpoint, MetricsLog, TensorBoard
from loop import ArrayData, At, Every, Loop, Moment


def main(directory: Path) -> None:
    weight = tf.Variable(0.0)
    hooks = [
        TensorBoard(directory / "tensorboard", Every(steps=1)),
        MetricsLog(directory / "log.jsonl", Every(steps=1)),
        Checkpoint(directory / "checkpoints", Every(steps=50), keep=2),
    ]
    data = ArrayData(tf.range(1000.0), batch_size=1, seed=1)
    loop = Loop(lambda x: {"loss": weight.assign_add(1.0)}, data, state={"weight": weight}, hooks=hooks)

    @loop.on("step_end", every=Every(steps=10) | At(1))
    def halt(moment: Moment) -> None:
        pass

    loop.run(epochs=1000)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
