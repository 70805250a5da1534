"""What `TF_CONFIG` says of the processes that train together."""

import json
import os

import tensorflow as tf

from loop.errors.kinds import shown

EXAMPLE = '{"cluster": {"worker": ["node-1:7000", "node-2:7000"]}, "task": {"type": "worker", "index": 0}}'
WRONG = (
    "TF_CONFIG {0}. Received: {1}. Expected: JSON such as {2}, with another index for each process. `exactloop launch "
    "--workers N script.py` sets it; a script that is to train alone is started without it."
)


def of_tf_config() -> tf.distribute.cluster_resolver.ClusterResolver | None:
    """Returns who is there; None if the variable is not set.

    Raises:
        ValueError: If it is not what TensorFlow reads, which would say so in words of its own, or take it for nothing.
    """
    text = os.environ.get("TF_CONFIG")
    if not text:
        return None
    if wrong := _wrong(text):
        raise ValueError(WRONG.format(wrong, shown(text), EXAMPLE))
    return tf.distribute.cluster_resolver.TFConfigClusterResolver()


def _wrong(text: str) -> str | None:
    """Returns what is wrong with it, in words."""
    try:
        config = json.loads(text)
    except ValueError as error:
        return f"is not JSON: {error}"
    if not isinstance(config, dict):
        return "is no object of JSON"
    cluster, task = config.get("cluster", {}), config.get("task", {})
    # TensorFlow reads objects, too, in which addresses have numbers: nobody writes them, and a rank would be unclear.
    if not isinstance(cluster, dict) or not all(map(_is_list_of_texts, cluster.values())):
        return "has a cluster that is no object of lists of addresses"
    # A cluster of nobody else needs no task.
    if sum(map(len, cluster.values())) > 1:
        if not isinstance(task, dict) or "type" not in task or "index" not in task:
            return "does not say which task this process is"
        if not str(task["index"]).isdecimal():
            return "has an index of this process that is no whole number from 0"
    return None


def _is_list_of_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)
