"""Whatever options a pipeline has, it is resumed, and what they say holds for each pass."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import tensorflow as tf
from pipelines.options import OPTIONS, option

from loop.data.pipelines.iterators import begun, state_of
from loop.rebuilt.pipeline import ByPass
from loop.tf_internals import restore_iterator

Dataset = tf.data.Dataset
FOR_ORDER = ("deterministic", "experimental_deterministic")  # each pass has an order of its own


def names(options: object, above: str = "") -> Iterator[str]:
    for name in sorted(vars(type(options))):
        if isinstance(vars(type(options))[name], property):
            value = getattr(options, name)
            if type(value).__name__.endswith("Options"):
                yield from names(value, f"{above}{name}.")
            else:
                yield f"{above}{name}"


@pytest.mark.filterwarnings("ignore:.*deprecated")
def test_each_option_that_tensorflow_has_is_tried() -> None:
    twice = {"experimental_threading.max_intra_op_parallelism"}  # another name of what is tried
    assert {*names(tf.data.Options())} - twice == {*OPTIONS}


def value_of(options: object, name: str) -> object:
    for each in name.split("."):
        options = getattr(options, each)
    return options


@pytest.mark.parametrize("name", [name for name in OPTIONS if name not in FOR_ORDER])
def test_an_option_below_what_is_repeated_holds_for_each_pass(name: str) -> None:
    dataset = option(name, OPTIONS[name], Dataset.range(4).shuffle(4)).repeat(2).batch(2)
    assert value_of(dataset.options(), name) == OPTIONS[name]
    assert value_of(ByPass(dataset).of(1, 0).options(), name) == OPTIONS[name]


@pytest.mark.parametrize("name", FOR_ORDER)
def test_each_pass_has_its_order_whatever_the_options_allow(name: str) -> None:
    dataset = option(name, OPTIONS[name], Dataset.range(4).shuffle(4)).repeat(2).batch(2)
    assert ByPass(dataset).of(1, 0).options().deterministic is True


@pytest.mark.parametrize("name", ["experimental_symbolic_checkpoint", "experimental_slack"])
def test_an_iterator_is_saved_and_goes_on_though_its_options_are_against_it(name: str, tmp_path: Path) -> None:
    for number in range(2):
        (tmp_path / str(number)).write_text("a\nb\nc\n")
    lines = tf.data.TextLineDataset([str(tmp_path / "0"), str(tmp_path / "1")], num_parallel_reads=2).prefetch(1)
    iterator, again = (begun(option(name, True, lines)) for _ in range(2))
    first = next(iterator)
    restore_iterator(again, state_of(iterator))
    assert [first, *again] == list(lines.as_numpy_iterator())
