"""A study of Optuna in an SQLite file, which can be killed and gone on with.

PYTHONPATH=. python tests/hooks/optuna_study.py DIRECTORY [KILL_IN_TRIAL KILL_AT_STEP]
"""

import os
import signal
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import optuna
import tensorflow as tf

from hooks import Checkpoint, OptunaPruning
from loop import ArrayData, Evaluation, Every, Hook, Loop, Moment

STARTS = (4.0, 3.0, 5.0, 1.0, 3.5)
RUNNING, FAIL = optuna.trial.TrialState.RUNNING, optuna.trial.TrialState.FAIL


class Killer(Hook):
    every = Every(steps=1)

    def __init__(self, at: int) -> None:
        super().__init__()
        self._at = at

    def kill(self, moment: Moment) -> None:
        if moment.step == self._at:
            os.kill(os.getpid(), signal.SIGKILL)

    on_epoch_end = kill


def main(directory: Path, kill: tuple[int, int]) -> None:
    def objective(trial: optuna.Trial) -> float:
        number = trial.user_attrs.get("number", trial.number)
        weight = tf.Variable(trial.suggest_float("start", 0.0, 9.0))

        def train_step(x: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"loss": weight.assign_sub(0.1 * weight + 0.0 * tf.reduce_sum(x))}

        data = [ArrayData(tf.range(4.0), batch_size=2, shuffle=False) for _ in range(2)]
        hooks: list[Hook] = [OptunaPruning(trial, "val_weight"), Checkpoint(directory / str(number), Every(steps=3))]
        if number == kill[0]:
            hooks.insert(1, Killer(kill[1]))
        evaluate = Evaluation(lambda x: {"weight": weight + 0.0 * tf.reduce_sum(x)}, data[1])
        return (
            Loop(train_step, data[0], state={"weight": weight}, evaluate=evaluate, hooks=hooks)
            .run(epochs=4)
            .logs["val_weight"]
        )

    directory.mkdir(exist_ok=True)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=1, n_warmup_steps=4)
    storage = f"sqlite:///{directory}/study.db"
    study = optuna.create_study(study_name="study", storage=storage, pruner=pruner, load_if_exists=True)
    if not study.trials:
        for start in STARTS:
            study.enqueue_trial({"start": start})
    for killed in study.get_trials(states=[RUNNING]):
        number = killed.user_attrs.get("number", killed.number)
        study.enqueue_trial(killed.params, user_attrs={"number": number})
        study.tell(killed.number, state=FAIL)
    while waiting := study.get_trials(states=[optuna.trial.TrialState.WAITING]):
        study.optimize(objective, n_trials=len(waiting))


if __name__ == "__main__":
    main(Path(sys.argv[1]), (int(sys.argv[2]), int(sys.argv[3])) if len(sys.argv) > 2 else (-1, 0))
