"""OptunaPruning: trials are pruned as Optuna wants it, and a study that was killed comes to the same."""

import re
import signal
import sys
import types
import warnings
from collections.abc import Sequence
from pathlib import Path

import nursery
import pytest
import tensorflow as tf
from places import TESTS

from hooks import Checkpoint, OptunaPruning
from hooks.screen.best_so_far import BestSoFar
from loop import ArrayData, Evaluation, Hook, Loop, Moment

VALUES = (3.0, 2.0, 1.0, 0.5)


class Trial:
    """What the hook asks of a trial; pruned at a step."""

    def __init__(self, prune_at: int = 0) -> None:
        self.reported: dict[int, float] = {}
        self._prune_at = prune_at

    def report(self, value: float, step: int) -> None:
        if step in self.reported:
            warnings.warn(
                f"The reported value is ignored because this `step` {step} is already reported.", stacklevel=2
            )
        self.reported.setdefault(step, value)

    def should_prune(self) -> bool:
        return max(self.reported) == self._prune_at


def make(trial: Trial, monitor: str = "val_loss", hooks: Sequence[Hook] = ()) -> Loop:
    """Returns a loop of 2 steps an epoch, of which the evaluations go through `VALUES`."""
    index = tf.Variable(-1)

    def train_step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"loss": tf.cast(index.assign_add(1), tf.float32) + 0.0 * tf.reduce_sum(x)}

    def eval_step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"loss": tf.constant(VALUES)[index // 2] + 0.0 * tf.reduce_sum(x)}

    data = [ArrayData(tf.range(4.0), batch_size=2, shuffle=False) for _ in range(2)]
    hooks = [OptunaPruning(trial, monitor), *hooks]
    return Loop(train_step, data[0], state={"index": index}, evaluate=Evaluation(eval_step, data[1]), hooks=hooks)


def test_values_are_reported_and_a_pruned_trial_is_saved_and_raises_again(tmp_path: Path) -> None:
    optuna = pytest.importorskip("optuna")
    trial, last = Trial(prune_at=6), []

    class Settles(Hook):
        def on_settled(self, moment: Moment) -> None:
            last.append((moment.step, moment.last))

    with pytest.raises(optuna.TrialPruned, match="the trial was pruned at step 6"):
        make(trial, hooks=[Checkpoint(tmp_path), Settles()]).run(epochs=4)
    assert (trial.reported, last[-1]) == ({2: 3.0, 4: 2.0, 6: 1.0}, (6, True))
    loop = make(trial, hooks=[Checkpoint(tmp_path)])
    with pytest.raises(optuna.TrialPruned, match="at step 6"):
        loop.run(epochs=4)
    assert (loop.step, loop.state.steps, len(trial.reported)) == (6, {}, 3)


def test_values_of_train_steps_are_reported_at_the_ends_of_epochs_and_again_after_a_kill() -> None:
    pytest.importorskip("optuna")
    trial = Trial()
    for _ in range(2):
        assert make(trial, "loss").run(epochs=2).reason == "2 epochs are complete"
    assert trial.reported == {2: 0.5, 4: 2.5}


def test_an_unknown_metric_and_arguments_of_other_integrations_are_refused() -> None:
    pytest.importorskip("optuna")
    with pytest.raises(ValueError, match="Did you mean 'val_loss'"):
        make(Trial(), "val_los").run(epochs=1)
    with pytest.raises(TypeError, match=re.escape("write OptunaPruning(trial, 'val_loss')")):
        OptunaPruning(Trial(), observation_key="val_loss")


def test_without_optuna_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError, match=re.escape("pip install 'exactloop[optuna]'")):
        OptunaPruning(Trial(), "val_loss")


@pytest.mark.parametrize("direction", ["MAXIMIZE", "MINIMIZE", None])
def test_progress_marks_what_is_best_by_the_direction_of_the_study(
    direction: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", types.SimpleNamespace(TrialPruned=RuntimeError))
    trial = Trial()
    if direction is not None:
        vars(trial)["study"] = types.SimpleNamespace(direction=types.SimpleNamespace(name=direction))
    marks = BestSoFar(make(trial))
    best = [(marks.compare(lambda _, value=value: value), {*marks.names})[1] for value in (1.0, 2.0, 0.5)]
    assert [bool(names) for names in best] == [False, direction == "MAXIMIZE", direction != "MAXIMIZE"]


@pytest.mark.long
@pytest.mark.parametrize("kill", [("2", "4"), ("3", "8")])
def test_a_study_that_is_killed_and_gone_on_with_comes_to_the_same(kill: tuple[str, str], tmp_path: Path) -> None:
    """Of trials whose verdict does not depend on which others are complete by then."""
    optuna = pytest.importorskip("optuna")

    def run(directory: Path, *arguments: str) -> int:
        return nursery.run(TESTS / "hooks/optuna_study.py", directory, *arguments).returncode

    assert run(tmp_path / "whole") == 0
    assert run(tmp_path / "killed", *kill) == -signal.SIGKILL
    assert run(tmp_path / "killed") == 0
    found = []
    for directory in (tmp_path / "whole", tmp_path / "killed"):
        study = optuna.load_study(study_name="study", storage=f"sqlite:///{directory}/study.db")
        done = [trial for trial in study.trials if trial.state.name != "FAIL"]
        found.append({t.user_attrs.get("number", t.number): (t.state.name, t.value, t.params) for t in done})
        assert {state for state, *_ in found[-1].values()} == {"COMPLETE", "PRUNED"}
    assert found[0] == found[1]
