"""The examples in the docstrings of hooks run, and print what they say they print."""

import doctest
from collections.abc import Callable

import keras
import pytest

import hooks

EXAMPLES = [name for name in hooks.__all__ if ">>>" in (getattr(hooks, name).__doc__ or "")]


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_example_of_a_hook_runs(name: str) -> None:
    if name == "OptunaPruning":
        pytest.importorskip("optuna")
    keras.utils.set_random_seed(1)
    (example,) = doctest.DocTestFinder(recurse=False).find(getattr(hooks, name), name, module=hooks, globs={})
    said: list[str] = []
    write: Callable[[str], object] = said.append
    failed, tried = doctest.DocTestRunner().run(example, out=write)
    assert (failed, tried > 3) == (0, True), "".join(said)
