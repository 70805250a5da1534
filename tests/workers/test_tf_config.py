"""What `TF_CONFIG` says that is no cluster is refused at once, with what it should be."""

import contextlib
import json
from types import SimpleNamespace

import pytest
import tensorflow as tf

import loop
from loop.workers import joining

BOTH = {"worker": ["127.0.0.1:7000", "127.0.0.1:7001"]}
FIRST = {"type": "worker", "index": 0}
WRONG = {
    "no JSON": ("{worker", "is not JSON: Expecting property name"),
    "a list": ("[]", "is no object of JSON"),
    "nothing": ("null", "is no object of JSON"),
    "a number": ("3", "is no object of JSON"),
    "a cluster that is a list": ({"cluster": ["a:1", "b:2"], "task": FIRST}, "no object of lists of addresses"),
    "workers in a text": ({"cluster": {"worker": "a:1,b:2"}, "task": FIRST}, "no object of lists of addresses"),
    "ports alone": ({"cluster": {"worker": [7000, 7001]}, "task": FIRST}, "no object of lists of addresses"),
    "no task": ({"cluster": BOTH}, "does not say which task this process is"),
    "a task that is a list": ({"cluster": BOTH, "task": []}, "does not say which task this process is"),
    "no index": ({"cluster": BOTH, "task": {"type": "worker"}}, "does not say which task this process is"),
    "an index that is a word": ({"cluster": BOTH, "task": {**FIRST, "index": "first"}}, "is no whole number from 0"),
    "an index of nothing": ({"cluster": BOTH, "task": {**FIRST, "index": None}}, "is no whole number from 0"),
    "an index below 0": ({"cluster": BOTH, "task": {**FIRST, "index": -1}}, "is no whole number from 0"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_cluster_is_refused(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config, wrong = WRONG[case]
    monkeypatch.setenv("TF_CONFIG", config if isinstance(config, str) else json.dumps(config))
    with pytest.raises(ValueError, match=f"^TF_CONFIG .*{wrong}.* Received: .* Expected: JSON such as") as raised:
        loop.connect()
    # What it advises is right.
    start = str(raised.value).index("such as ") + len("such as ")
    assert json.JSONDecoder().raw_decode(str(raised.value)[start:])[0].keys() == {"cluster", "task"}


@pytest.mark.parametrize(
    "config", ["", "{}", json.dumps({"task": FIRST}), json.dumps({"cluster": {"worker": ["a:1"]}, "task": FIRST})]
)
def test_what_names_no_other_process_is_no_cluster(config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CONFIG", config)
    assert loop.connect().count == 1


def test_an_address_that_stands_twice_is_refused() -> None:
    same = {"chief": ["a:1"], "worker": ["b:1", "a:1"]}
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec(same), task_type="chief", task_id=0
    )
    with pytest.raises(ValueError, match=r"of its own. Received: .*, where 'a:1' stands twice. Give each another port"):
        joining._members(resolver)


@pytest.mark.parametrize("kind", ["ps", "evaluator"])
def test_a_cluster_in_which_some_do_not_train_is_refused(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": {**BOTH, kind: ["127.0.0.1:7002"]}, "task": FIRST}))
    with pytest.raises(ValueError, match=rf"has workers alone. Received: \['{kind}'\].*exactloop launch"):
        loop.connect()


def test_a_process_that_sees_several_devices_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": BOTH, "task": FIRST}))
    monkeypatch.setattr(joining, "is_in_use", lambda: False)
    monkeypatch.setattr(joining, "meet", lambda rank, addresses: {})
    monkeypatch.setattr(joining, "begin_coordination", lambda tasks: None)
    for name in ("watched", "_usual_sigterm"):
        monkeypatch.setattr(joining, name, lambda *given: contextlib.nullcontext())
    strategy = SimpleNamespace(num_replicas_in_sync=8)
    monkeypatch.setattr(tf.distribute, "MultiWorkerMirroredStrategy", lambda cluster_resolver: strategy)
    with pytest.raises(ValueError, match=r"one device. Received: a process that sees 4. .* CUDA_VISIBLE_DEVICES"):
        loop.connect()


def test_a_device_that_was_divided_is_refused_before_anybody_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": BOTH, "task": FIRST}))
    monkeypatch.setattr(joining, "is_in_use", lambda: False)
    # As set_logical_device_configuration would leave it, which is too late in the process of a test.
    parts = [tf.config.LogicalDeviceConfiguration()] * 2
    monkeypatch.setattr(tf.config, "get_logical_device_configuration", lambda device: parts)
    monkeypatch.setattr(joining, "meet", lambda rank, addresses: pytest.fail("waits for the others"))
    with pytest.raises(ValueError, match=r"one device. Received: a CPU that .* divided into 2. Leave that call out"):
        loop.connect()
