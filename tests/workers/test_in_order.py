"""Sums of several workers on accelerators: in one order everywhere, and of graphs that are gone when they are."""

import gc
import weakref

import pytest
import tensorflow as tf

from loop.workers.collective import Collective


def test_sums_on_accelerators_wait_for_one_another_and_keep_no_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind=None: [kind])
    collective, graph = Collective(2), tf.function(lambda: None).get_concrete_function().graph
    with graph.as_default():
        collective.sum([tf.zeros([3]), tf.zeros([4], tf.float64)])
    first, second = (op for op in graph.get_operations() if op.type == "CollectiveGatherV2")
    assert {before for given in second.inputs for before in given.op.control_inputs} == {first}
    gone = weakref.ref(graph)
    del graph, first, second
    gc.collect()
    assert gone() is None
