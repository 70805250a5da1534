"""Everything that state is: whatever a network, an optimizer or a step keeps, a resumed run has it again."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from models import ALL_STEPS, EPOCHS, MODELS, Diary, Parts, bits, make_loop

from hooks import Checkpoint
from loop import NEVER, Every, Loop


class Trained:
    """A run that was saved after each step, and other runs that go on from what it saved."""

    def __init__(self, directory: Path, parts: Callable[[], Parts], *, exact: bool = True) -> None:
        self._saved, self._cut = directory / "saved", directory / "cut"
        self._parts, self._exact = parts, exact
        diary = Diary()
        loop = self._loop(diary)
        loop.hooks.add(Checkpoint(self._saved, Every(steps=1), keep=99, background=False))
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
    assert Trained(tmp_path, MODELS[name]).resumed(3, 8, 14, 19) == []


@pytest.mark.long
@pytest.mark.parametrize("name", MODELS)
def test_a_run_resumed_from_any_step_has_the_same_values_results_and_state(name: str, tmp_path: Path) -> None:
    assert Trained(tmp_path, MODELS[name]).resumed(*range(1, ALL_STEPS + 1)) == []
