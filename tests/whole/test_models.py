"""Everything that state is: whatever a network, an optimizer or a step keeps, a resumed run has it again.

    PYTHONPATH=.:tests python tests/whole/test_models.py DIRECTORY NAME KILL [KILL ...]

runs one of the models in a process to its end, and in processes that are killed by SIGKILL after these steps; prints a
line for each thing in which they differ.
"""

import json
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import nursery
import pytest
import tensorflow as tf
from models import ALL_STEPS, EPOCHS, MODELS, Diary, Parts, bits, make_loop

from hooks import Checkpoint
from loop import NEVER, At, Every, InexactRun, Loop, Moment, Trigger

SEEDS = r"(multi_head_attention/)?seed_generator(_\d)?/seed_generator_state:0  shape \(2,\), int64"
LOST = {  # what TensorFlow's own checkpoint of networks, optimizers and variables does not hold
    "dropout": SEEDS,
    "lists and dicts": rf"blocks/moving_(mean|variance):0  shape \(4,\), float32|{SEEDS}",
    "generator": r"StateVar:0  shape \(3,\), int64",
    "metric": r"mean/(total|count):0  shape \(\), float32",
    "second source": "an iterator",
    "table": "a lookup table",
}
MORE = dict.fromkeys(
    ["dropout with a seed", "noise", "augmentation", "lstm", "attention", "built late", "layer with a stream"], SEEDS
)
MORE |= {"seed generator": SEEDS, "module": r"Variable:0  shape .*, float32"}


class Trained:
    """A run that was saved after each step, and other runs that go on from what it saved."""

    def __init__(
        self, directory: Path, parts: Callable[[], Parts], *, every: Trigger = Every(steps=1), exact: bool = True
    ) -> None:
        self._saved, self._cut = directory / "saved", directory / "cut"
        self._parts, self._exact = parts, exact
        diary = Diary()
        loop = self._loop(diary)
        loop.hooks.add(Checkpoint(self._saved, every, keep=99, background=False))
        loop.run(epochs=EPOCHS)
        self._noted, self._bits = diary.noted, bits(loop)

    def resumed(self, *steps: int) -> list[str]:
        """Goes on from each of these steps with a loop that is made anew, and then is used for all of them.

        So whatever a checkpoint does not hold is left over from another run.

        Returns:
            A line for each thing that is other than in the run that was not interrupted.
        """
        diary = Diary()
        loop = self._loop(diary)
        return [line for step in steps for line in self._from(step, loop, diary)]

    def _from(self, step: int, loop: Loop, diary: Diary) -> list[str]:
        shutil.rmtree(self._cut, ignore_errors=True)
        self._cut.mkdir()
        for file in self._saved.glob(f"ckpt-{step}.*"):
            (self._cut / file.name).hardlink_to(file)
        diary.noted = {}
        checkpoint = Checkpoint(self._cut, NEVER, resume="must", background=False)
        loop.hooks.add(checkpoint)
        loop.run(epochs=EPOCHS)
        loop.hooks.remove(checkpoint.name)
        expected = {key: value for key, value in self._noted.items() if key[0] > step}
        wrong = sorted(map(str, {key for key, _ in {*expected.items()} ^ {*diary.noted.items()}}))
        wrong += [path for path, value in bits(loop).items() if value != self._bits[path]]
        return [f"resumed from {step}: {', '.join(wrong)}"] if wrong else []

    def _loop(self, diary: Diary) -> Loop:
        return make_loop(self._parts, [diary], exact=self._exact)


@pytest.mark.parametrize("name", MODELS)
def test_a_resumed_run_has_the_same_values_results_and_state(name: str, tmp_path: Path) -> None:
    assert Trained(tmp_path, MODELS[name], every=At(3, 8, 14, 19)).resumed(3, 8, 14, 19) == []


@pytest.mark.long
@pytest.mark.parametrize("name", MODELS)
def test_a_run_resumed_from_any_step_has_the_same_values_results_and_state(name: str, tmp_path: Path) -> None:
    assert Trained(tmp_path, MODELS[name]).resumed(*range(1, ALL_STEPS + 1)) == []


def plain(parts: Callable[[], Parts]) -> Callable[[], Parts]:
    """Returns the same with only the variables that `tf.train.Checkpoint` would find in its networks and optimizers."""

    def made() -> Parts:
        given = parts()
        kinds = (keras.Model, keras.optimizers.Optimizer, tf.Variable, dict, list)
        state = {key: value for key, value in given.state.items() if isinstance(value, kinds)}
        if "model" in state and not state["model"].built:
            state["model"](tf.zeros([1, *given.shape]))
            state["optimizer"].build(state["model"].trainable_variables)
        checkpoint = tf.train.Checkpoint(**state)
        found = tf.train.TrackableView(checkpoint).descendants()
        return given._replace(state={"plain": [v for v in found if isinstance(v, tf.Variable | keras.Variable)]})

    return made


@pytest.mark.parametrize("name", [*LOST, *(pytest.param(name, marks=pytest.mark.long) for name in MORE)])
def test_what_a_plain_checkpoint_would_lose_is_named_before_the_first_step_and_is_really_missed(
    name: str, tmp_path: Path
) -> None:
    with pytest.raises(InexactRun) as error:
        Trained(tmp_path, plain(MODELS[name]))
    assert not (tmp_path / "saved").exists()
    owners = "The train step|Evaluation 'val'"
    pattern = rf"({owners}) changes what no checkpoint would hold: ({(LOST | MORE)[name]})"
    assert [finding.what for finding in error.value.findings if not re.fullmatch(pattern, finding.what)] == []
    inexact = Trained(tmp_path, plain(MODELS[name]), every=At(10), exact=False)
    assert "resumed from 10: (11, 'step', " in inexact.resumed(10)[0]


@pytest.mark.more
def test_a_plain_checkpoint_of_what_has_no_other_state_is_enough(tmp_path: Path) -> None:
    assert Trained(tmp_path, plain(MODELS["batch normalisation"]), every=At(10)).resumed(10) == []


@pytest.mark.more
def test_what_only_a_hook_changes_is_named_at_the_end_of_the_epoch_and_is_really_missed(tmp_path: Path) -> None:
    def forgetful() -> Parts:
        parts = MODELS["changed by a hook"]()
        return parts._replace(state={key: value for key, value in parts.state.items() if key != "factor"})

    with pytest.raises(InexactRun, match="A hook, or another thread, has changed what no checkpoint holds: factor:0"):
        Trained(tmp_path / "exact", forgetful, every=At(10))
    inexact = Trained(tmp_path / "inexact", forgetful, every=At(10), exact=False)
    assert "(11, 'step', 'drawn')" in inexact.resumed(10)[0]


class Killed(Diary):
    """Writes down what it has noted and kills the process after a step, before that is saved."""

    every = Every(steps=1)

    def __init__(self, file: Path, step: int) -> None:
        super().__init__()
        self._file, self._step = file, step

    def on_settled(self, moment: Moment) -> None:
        if moment.step == self._step:
            self.write()
            os.kill(os.getpid(), signal.SIGKILL)

    def on_step_end(self, moment: Moment) -> None:
        pass  # so that each step is settled

    def write(self) -> None:
        self._file.write_text(json.dumps([[*key, value] for key, value in self.noted.items()]))


def live(directory: Path, name: str, kill: int, life: int) -> int:
    """One life, in a process of its own. Returns its exit status; negative for the signal that ended it."""
    pid = os.fork()
    if pid == 0:
        try:
            tf.config.experimental.enable_op_determinism()
            diary = Killed(directory / f"noted-{life}.json", kill)
            checkpoint = Checkpoint(directory / "checkpoints", Every(steps=2), keep=2)
            loop = make_loop(MODELS[name], [diary, checkpoint])
            loop.run(epochs=EPOCHS)
            diary.write()
            state = {path: value.hex() for path, value in bits(loop).items()}
            (directory / "ended.json").write_text(json.dumps(state))
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def lives(directory: Path, name: str, kills: list[int]) -> tuple[list[int], set[tuple], dict[str, str]]:
    """Returns how the lives ended, all that they noted, and the state at the end of the last."""
    directory.mkdir(parents=True)
    statuses = [live(directory, name, kill, life) for life, kill in enumerate([*kills, -1])]
    noted = {tuple(entry) for file in directory.glob("noted-*.json") for entry in json.loads(file.read_text())}
    return statuses, noted, json.loads((directory / "ended.json").read_text())


def main(root: Path, name: str, kills: list[int]) -> None:
    # The process that forks never runs an operation of TensorFlow, so that those that are forked can.
    whole, killed = lives(root / "whole", name, []), lives(root / "killed", name, kills)
    if (whole[0], killed[0]) != ([0], [*[-signal.SIGKILL] * len(kills), 0]):
        print(f"The lives ended with {whole[0]} and {killed[0]}.")
    for entry in sorted(whole[1] ^ killed[1]):
        print(*entry)
    for path, value in whole[2].items():
        if killed[2][path] != value:
            print(path)


@pytest.mark.long
@pytest.mark.parametrize("name", MODELS)
def test_processes_that_are_killed_by_sigkill_end_with_the_same_values_results_and_state(
    name: str, tmp_path: Path
) -> None:
    done = nursery.run(__file__, tmp_path / "lives", name, "5", "14", "18")
    print(done.stderr[-3000:])  # shown if the test fails
    assert (done.returncode, done.stdout) == (0, "")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], [int(kill) for kill in sys.argv[3:]])
