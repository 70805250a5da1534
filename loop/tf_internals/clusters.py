"""Clusters. Public is a strategy that makes one, not what its processes tell one another, or how soon one is missed."""

from collections.abc import Mapping, Sequence

import tensorflow as tf
from tensorflow.compiler.xla.tsl.protobuf.coordination_config_pb2 import CoordinatedJob
from tensorflow.python.eager import context

HEARTBEAT_MS = 8000  # after so long without a sign of life, a worker counts as dead; half of that it may stand still
CAUGHT = "TF_DEFAULT_PREEMPTION_NOTICE_KEY"  # under which TensorFlow tells all processes who was sent SIGTERM


def begin_coordination(cluster: Mapping[str, Sequence[str]]) -> None:
    """Has the strategy that is made next notice within seconds when one of its processes is gone."""
    jobs = [CoordinatedJob(name=name, num_tasks=len(tasks)) for name, tasks in cluster.items()]
    # TensorFlow has it so: the first process of the cluster runs the service by which all are missed.
    leader = f"/job:{'chief' if 'chief' in cluster else 'worker'}/replica:0/task:0"
    context.context().configure_coordination_service(
        "standalone", leader, heartbeat_timeout_in_ms=HEARTBEAT_MS, coordinated_jobs=jobs
    )


def is_in_use() -> bool:
    """Returns whether TensorFlow has looked for its devices, after which it takes no cluster any more."""
    return context.context()._initialized


def set_config_key_value(key: str, value: str) -> None:
    """Writes a text for all processes of a cluster. Raises an `OpError` if the key is there."""
    context.context().set_config_key_value(key, value)


def config_key_value(key: str, timeout: float | None) -> str:
    """Returns such a text, and waits for it; so many seconds at most."""
    # Milliseconds, at least one; 0 is to wait for ever.
    return context.context().get_config_key_value(key, 0 if timeout is None else max(1, int(timeout * 1000)))


def delete_config_key_value(key: str) -> None:
    """Forgets such a text."""
    context.context().delete_config_key_value(key)


def abort_collectives(said: str) -> None:
    """Ends all sums over processes that are under way, and those that come, with an `AbortedError`."""
    context.context().abort_collective_ops(tf.errors.ABORTED, said)
