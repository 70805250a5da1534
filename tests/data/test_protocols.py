"""Every source has what the loop wants of one. mypy cannot see it: what TensorFlow's classes have, it does not know."""

import inspect

import pytest

from loop.data.arrays import ArrayData
from loop.data.indexed import IndexedData
from loop.data.own_files import OwnFiles
from loop.data.source import Data
from loop.data.stateful import StatefulData
from loop.data.stream import StreamData

WANTED = {
    name: member
    for protocol in Data.__mro__
    if protocol.__module__.startswith("loop.")
    for name, member in vars(protocol).items()
    if inspect.isfunction(member) and not name.startswith("_")
}


@pytest.mark.parametrize("source", [ArrayData, IndexedData, OwnFiles, StatefulData, StreamData])
def test_a_source_can_be_called_as_the_loop_calls_it(source: type) -> None:
    text = "".join(inspect.getsource(each) for each in source.__mro__ if each.__module__.startswith("loop."))
    for name, member in WANTED.items():
        if f"self.{name} = " not in text:  # else it is made for each source, out of another one's
            of_source = inspect.signature(getattr(source, name)).parameters
            assert of_source.keys() == inspect.signature(member).parameters.keys(), name
    assert len(WANTED) > 15
