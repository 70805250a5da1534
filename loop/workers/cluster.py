"""Who is there: this process and its peers."""

import atexit
import contextlib
import functools
import json
import logging
import os
import random
import shutil
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from types import TracebackType

import keras
import numpy as np
import tensorflow as tf

from loop.errors.kinds import shown
from loop.tf_internals import begin_coordination
from loop.workers.collective import Collective
from loop.workers.failures import Failures
from loop.workers.store import InProcess, OfCluster, Store, Value
from loop.workers.waiting import named_while_missing

log = logging.getLogger("exactloop")
MEMBERS = ("chief", "worker")  # the tasks of a cluster that train
ELSE = (
    "Every process trains, and the first one also saves: write TF_CONFIG with one list of addresses, under 'worker', "
    "or start the script with `exactloop launch --workers N script.py`, which does."
)


class Workers:
    """This process and its peers. Each holds the whole state, and trains on its own rows of every batch.

    Attributes:
        rank: The number of this process, from 0, which is the chief: who saves, and writes what people read.
        count: How many there are.
        addresses: Where they are, by rank; empty of one process without a cluster.
        collective: Adds up over all of them.

    Args:
        rank: As above.
        addresses: As above.
        store: What they tell one another.
        chiefs: How many of them the cluster calls so, rather than workers: 0 or 1.
    """

    def __init__(
        self, rank: int = 0, addresses: tuple[str, ...] = (), store: Store | None = None, *, chiefs: int = 0
    ) -> None:
        self._chiefs = chiefs
        self.rank, self.count, self.addresses = rank, max(1, len(addresses)), addresses
        self.collective = Collective(rank, self.count)
        self._store = InProcess() if store is None else store
        self._keys = 0
        self.failures: Failures | None = None  # of one process, there are none to watch

    @property
    def are_several(self) -> bool:
        """Whether this process has peers."""
        return self.count > 1

    @property
    def is_chief(self) -> bool:
        """Whether this is the process that saves."""
        return self.rank == 0

    def exchange(self, *numbers: float) -> np.ndarray:
        """Returns what each worker has called this with: float64 `[count, numbers]`. Waits for all of them."""
        return self.collective.exchange(*numbers)

    @contextlib.contextmanager
    def needed(self) -> Iterator[None]:
        """While in it, all workers are: whoever leaves, or raises anything here, ends the others too."""
        if self.failures is None:
            yield
            return
        before, self.failures.running = self.failures.running, True  # also within another one, as in a hook
        try:
            yield
        except BaseException as error:
            self.failed(error)
            raise
        finally:
            self.failures.running = before

    def failed(self, error: BaseException) -> BaseException:
        """Tells the others that this worker fails; returns what to raise: who else has failed, if it comes of that."""
        if self.failures is None:
            return error
        error = self.failures.explained(error)
        self.failures.tell(error)
        return error

    def new_key(self, what: str) -> str:
        """Returns a key that was never used. All workers have to ask for the same ones in the same order."""
        self._keys += 1
        return f"{what}/{self._keys}"

    def put(self, key: str, value: Value) -> bool:
        """Tells all others something; returns False if somebody has said something under that key before."""
        return self._store.put(key, value)

    def get(self, key: str, timeout: float | None = None) -> Value:
        """Returns what somebody says under a key, and waits for it; so many seconds at most.

        Raises:
            TimeoutError: If nobody does in time.
        """
        return self._store.get(key, timeout)

    def listen(self, key: str, timeout: float) -> Value:
        """Returns what somebody says under a key, as `get` does, whatever is known of the others meanwhile."""
        return self._store.listen(key, timeout)

    def remove(self, key: str) -> None:
        """Forgets what was said under a key."""
        self._store.remove(key)

    def rank_of(self, kind: str, number: int) -> int:
        """Returns the rank of a task of the cluster."""
        return number + (self._chiefs if kind == MEMBERS[1] else 0)

    def name(self, rank: int) -> str:
        """Returns what to call a worker in messages."""
        return f"worker {rank} ({self.addresses[rank]})" if self.addresses else f"worker {rank}"


_here = [Workers()]


def here() -> Workers:
    """Returns this process among the workers; it is alone unless `connect` has found a cluster."""
    return _here[0]


def connect(resolver: tf.distribute.cluster_resolver.ClusterResolver | None = None) -> Workers:
    """Joins the processes that train one model together: the first line of a script, before any model is made.

    The same script is started once for each device. Which processes there are is read from `TF_CONFIG`, as
    `exactloop launch` and Kubeflow set it, or from SLURM; without any of that nothing is done, and the script runs in
    one process as it would without this line. Waits for the others, and logs for whom.

    Each process then trains on its own rows of every batch, and holds all of the state: after every step, all have the
    same bits. Python's, NumPy's, TensorFlow's and Keras' random numbers begin alike in all of them; set a seed after
    this line, and runs are repeatable.

    Args:
        resolver: Who is there, if that is to be found out in another way: with its `task_type` and `task_id` set.

    Returns:
        This process: its `rank`, from 0, and how many there are, `count`.

    Raises:
        RuntimeError: If TensorFlow has been used before, or a strategy is in use.
        ValueError: If the cluster has parameter servers or evaluators; or if this process has more than one device.
    """
    if here().are_several:
        return here()
    resolver = resolver or _found()
    if resolver is None:
        return here()
    rank, addresses = _members(resolver)
    if len(addresses) < 2:
        return here()
    if tf.distribute.has_strategy():
        raise RuntimeError("connect() is called outside of any strategy.scope(), as the first line of a script.")
    store = OfCluster()
    chiefs = len(resolver.cluster_spec().as_dict().get(MEMBERS[0], []))
    workers = Workers(rank, addresses, store, chiefs=chiefs)
    with named_while_missing(workers.rank, addresses), _usual_sigterm():
        begin_coordination(resolver.cluster_spec().as_dict())
        strategy = tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)
    devices = strategy.num_replicas_in_sync // workers.count
    if devices != 1:
        raise ValueError(
            f"Each process trains on one device. Received: a process that sees {devices}. Start one process for each "
            "device, as `exactloop launch` does, with CUDA_VISIBLE_DEVICES set to its number."
        )
    workers.failures = store.failures = Failures(workers)
    _here[0] = workers
    atexit.register(workers.failures.leave)
    _told(workers.failures)
    _share_seed(workers)
    log.info("This is %s of %d.", workers.name(rank), workers.count)
    return workers


@contextlib.contextmanager
def _usual_sigterm() -> Iterator[None]:
    """Has SIGTERM do afterwards what it did before: TensorFlow catches it, for coordinated saves, and does nothing."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if before is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def _told(failures: Failures) -> None:
    """Has the others be told of an exception that ends this script, wherever it is raised."""
    usual = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        failures.tell(error)
        usual(kind, error, trace)

    sys.excepthook = hook


def _found() -> tf.distribute.cluster_resolver.ClusterResolver | None:
    """Returns what the environment says of a cluster; None if that is nothing."""
    if os.environ.get("TF_CONFIG"):
        return tf.distribute.cluster_resolver.TFConfigClusterResolver()
    if "SLURM_PROCID" in os.environ and int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        gpus = None if shutil.which("nvidia-smi") else 0
        return tf.distribute.cluster_resolver.SlurmClusterResolver(gpus_per_node=gpus)
    return None


@functools.cache
def say_if_alone() -> None:
    """Warns, once, if this process is one of several by its environment, and has not joined the others."""
    with contextlib.suppress(ValueError, TypeError, AttributeError):
        tasks = json.loads(os.environ.get("TF_CONFIG", "{}")).get("cluster", {})
        count = sum(len(tasks.get(kind, [])) for kind in MEMBERS)
        if count > 1:
            log.warning(
                "TF_CONFIG names %d workers, and this process trains alone: write loop.connect() in the first line of "
                "the script.",
                count,
            )


def _members(resolver: tf.distribute.cluster_resolver.ClusterResolver) -> tuple[int, tuple[str, ...]]:
    """Returns the rank of this process, and the addresses of all. Raises `ValueError` if not all of them train."""
    tasks: Mapping[str, list[str]] = resolver.cluster_spec().as_dict()
    if others := {*tasks} - {*MEMBERS}:
        raise ValueError(f"A cluster has workers alone. Received: {shown(sorted(others))}. {ELSE}")
    addresses = tuple(address for kind in MEMBERS for address in tasks.get(kind, []))
    if not addresses:
        return 0, ()
    kind, number = resolver.task_type, resolver.task_id  # of SLURM, known from here on
    if kind not in tasks or number is None or not 0 <= number < len(tasks[kind]):
        task = {"type": kind, "index": number}
        raise ValueError(f"This process is none of its cluster's: task {shown(task)} of {shown(dict(tasks))}. {ELSE}")
    return (number if kind == MEMBERS[0] else number + len(tasks.get(MEMBERS[0], []))), addresses


def _share_seed(workers: Workers) -> None:
    """Lets all random numbers begin alike in all workers, from a seed that the chief draws."""
    if workers.is_chief:
        workers.put("seed", random.SystemRandom().getrandbits(31))
    seed = workers.get("seed")
    keras.utils.set_random_seed(int(seed) if isinstance(seed, int) else 0)
