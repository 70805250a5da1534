"""A run with many values, of two epochs of 7 steps, for recordings of a terminal.

    PYTHONPATH=. python tests/hooks/progress_life.py [--wait] [VERBOSE]

With `--wait`, each epoch ends with a line `#` and waits for a line.
"""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf

from hooks import EarlyStopping, Progress
from loop import Evaluation, Every, Loop, Moment

Progress._rate = lambda self, moment: "99.9 steps/s"
Progress._time = lambda self, moment, now: "0:00:01"


def main(arguments: list[str]) -> None:
    count = tf.Variable(0.0)

    def train_step(batch: tf.Tensor) -> dict[str, tf.Tensor]:
        value = count.assign_add(1.0)
        return {"loss": value, "mean_absolute_error": value / 3.0, "precision": -value}

    def eval_step(batch: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"loss": -count.read_value(), "precision": count / 7.0}

    data = tf.data.Dataset.range(7).batch(1)
    verbose = [int(each) for each in arguments if each.isdigit()]
    progress = Progress(Every(steps=1), **({"verbose": verbose[0]} if verbose else {}))
    stopping = EarlyStopping("val_loss", mode="min", patience=9)
    evaluate = Evaluation(eval_step, data)
    loop = Loop(train_step, data, state={"count": count}, evaluate=evaluate, hooks=[progress, stopping])

    @loop.on("epoch_end")
    def wait(moment: Moment) -> None:
        if "--wait" in arguments:
            print("#", flush=True)
            sys.stdin.readline()

    loop.run(epochs=2)


if __name__ == "__main__":
    main(sys.argv[1:])
