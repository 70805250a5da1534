"""What may be given as state, and under which paths it is saved."""

import re
from collections.abc import Mapping

import pytest
import tensorflow as tf

from loop.state.training_state import TrainingState


def variable() -> tf.Variable:
    return tf.Variable(1.0)


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({1: variable(), "1": variable()}, "m/1"),
        ({"of": [{None: variable(), "a": variable(), "None": variable()}]}, "m/of/0/None"),
        ({"a/b": variable(), "a": {"b": variable()}}, "m/a/b"),
    ],
)
def test_two_things_that_would_be_saved_as_one_are_refused(given: Mapping[object, object], path: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"both be saved as {path!r}")):
        TrainingState({"m": given})


def test_with_other_keys_both_are_saved() -> None:
    state = TrainingState({"m": {1: variable(), "2": variable(), "c/b": variable(), "a": {"b": variable()}}})
    assert [path for path in state.variables if path.startswith("m/")] == ["m/1", "m/2", "m/c/b", "m/a/b"]
