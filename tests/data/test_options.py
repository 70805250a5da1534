"""Whatever options a pipeline has, it is resumed, and what they say holds for each pass."""

from collections.abc import Iterator

import pytest
import tensorflow as tf
from pipelines.options import OPTIONS, option

from loop.rebuilt.pipeline import ByPass

Dataset = tf.data.Dataset
FOR_ORDER = ("deterministic", "experimental_deterministic", "experimental_slack")  # each pass has an order of its own


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
    options = ByPass(dataset).of(1, 0).options()
    assert (options.deterministic, options.experimental_slack) == (True, False)
