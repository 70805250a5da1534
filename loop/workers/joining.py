"""How a process joins the others: by what its environment says of them."""

import atexit
import contextlib
import functools
import json
import logging
import os
import random
import signal
import sys
import threading
from collections.abc import Collection, Iterator, Mapping
from types import TracebackType

import numpy as np
import tensorflow as tf
from numpy.random.mtrand import get_bit_generator

from loop.errors.kinds import shown
from loop.tf_internals import CAUGHT, begin_coordination, config_key_value, is_in_use
from loop.workers.cluster import MEMBERS, Workers, become, here
from loop.workers.failures import TASK, FailureWatch
from loop.workers.meeting import meet
from loop.workers.slurm import of_slurm, tasks
from loop.workers.starting import watched
from loop.workers.store import OfCluster
from loop.workers.tf_config import of_tf_config

log = logging.getLogger("exactloop")
JOINED = "EXACTLOOP_JOINED"  # in the environment of a worker and of what it starts: its process and its address
SAID_WITHIN = 3.0  # seconds in which TensorFlow says what it has caught: it looks once in a second
ELSE = (
    "Every process trains, and the first one also saves: write TF_CONFIG with one list of addresses, under 'worker', "
    "or start the script with `exactloop launch --workers N script.py`, which does."
)

TWICE = "Each worker has an address of its own. Received: {0}, where {1!r} stands twice. Give each another port."
IN_USE = (
    "connect() is called before TensorFlow has computed anything, and TensorFlow has been used in this process: a "
    "tensor, a variable or a model was made, or its devices were listed. Write loop.connect() in the first line of "
    "the script, behind `import loop`."
)
SECOND = (
    "loop.connect() has joined the workers of this process, and nothing else of a strategy is used: a second cluster "
    "would stand in the place of the first. Leave out tf.distribute.MultiWorkerMirroredStrategy and its scope()."
)
DIVIDED = (
    "Each process trains on one device. Received: a {0} that tf.config.set_logical_device_configuration has divided "
    "into {1}. Leave that call out, and start one process for each device: exactloop launch --workers {1} script.py"
)
NOT_JOINED = (
    "TF_CONFIG names {} workers, of which this process is one, and it has not joined the others: each would train a "
    "model of its own. Write loop.connect() in the first line of the script. Or, if it is to train alone, take "
    "TF_CONFIG out of its environment."
)


def connect(resolver: tf.distribute.cluster_resolver.ClusterResolver | None = None) -> Workers:
    """Joins the processes that train one model together: the first line of a script, before any model is made.

    The same script is started once for each device. Which processes there are is read from `TF_CONFIG`, as
    `exactloop launch` and Kubeflow set it, or from SLURM; without any of that nothing is done, and the script runs in
    one process as it would without this line. Waits for the others, and logs for whom. A process that a worker starts,
    such as one of a pool, is no worker, and runs alone.

    Each process then trains on its own rows of every batch, and holds all of the state: after every step, all have the
    same bits. Python's, NumPy's and Keras' random numbers begin alike in all of them; what `tf.random` draws before the
    loop is made needs a seed. With `keras.utils.set_random_seed(1)`, before this line or after it, runs are repeatable.

    Args:
        resolver: Who is there, if that is to be found out in another way: with its `task_type` and `task_id` set.

    Returns:
        This process: its `rank`, from 0, and how many there are, `count`.

    Raises:
        RuntimeError: If TensorFlow has been used before, or a strategy is in use.
        ValueError: If the cluster has parameter servers or evaluators, or is not told as it should be; or if this
            process has more than one device.
    """
    if here().are_several:
        return here()
    resolver = resolver or of_tf_config() or of_slurm()
    if resolver is None:
        return here()
    rank, addresses = _members(resolver)
    if len(addresses) < 2 or _is_of_worker(addresses):
        return here()
    if tf.distribute.has_strategy():
        raise RuntimeError("connect() is called outside of any strategy.scope(), as the first line of a script.")
    if is_in_use():
        raise RuntimeError(IN_USE)
    _check_undivided()
    # Written and read only when the cluster is there: the first worker has the store.
    store = OfCluster()
    chiefs = len(resolver.cluster_spec().as_dict().get(MEMBERS[0], []))
    workers = Workers(rank, addresses, store, chiefs=chiefs)
    # Here, and not in TensorFlow's call below, in which no thread of Python runs and no signal is heard.
    others = meet(rank, addresses)
    names = [workers.name(each) for each in range(len(addresses))]
    with watched(rank, names, others), _usual_sigterm(workers):
        begin_coordination(resolver.cluster_spec().as_dict())
        strategy = tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)
    # Of the strategy nothing else is used: it has started the cluster.
    devices = strategy.num_replicas_in_sync // workers.count
    if devices != 1:
        raise ValueError(
            f"Each process trains on one device. Received: a process that sees {devices}. Start one process for each "
            "device, as `exactloop launch` does, with CUDA_VISIBLE_DEVICES set to its number."
        )
    workers.failures = store.failures = FailureWatch(workers)
    _refuse_another()
    # From here on loops are of several workers; those that were made before are of one.
    become(workers)
    os.environ[JOINED] = f"{os.getpid()} {addresses[rank]}"
    # At the end of the process: who is done early waits there, so that the store is there for the others.
    atexit.register(workers.failures.leave)
    _told(workers.failures)
    share_seed(workers)
    log.info("This is %s of %d.", workers.name(rank), workers.count)
    return workers


@contextlib.contextmanager
def _usual_sigterm(workers: Workers) -> Iterator[None]:
    """Has SIGTERM do afterwards what it did before: TensorFlow catches it, for coordinated saves, and does nothing.

    One that has come meanwhile, within the second that it takes, is sent again.
    """
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if before is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)
    # In a thread, because TensorFlow says only a second later that it has caught one.
    threading.Thread(target=_send_again, args=[workers], daemon=True, name="sigterm").start()


def _send_again(workers: Workers) -> None:
    """Sends this process the SIGTERM that TensorFlow says it has caught."""
    with contextlib.suppress(tf.errors.OpError):  # nobody was sent one
        caught = TASK.findall(config_key_value(CAUGHT, SAID_WITHIN))
        if workers.rank in [workers.rank_of(kind, int(number)) for kind, number in caught]:
            os.kill(os.getpid(), signal.SIGTERM)


def _told(failures: FailureWatch) -> None:
    """Has the others be told of an exception that ends this script, wherever it is raised."""
    usual = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        failures.tell(error)
        usual(kind, error, trace)

    # Around the one there is: debuggers and loggers put theirs here, too.
    sys.excepthook = hook


def check_joined() -> None:
    """Sees to it that a process which trains alone is not one of several that were to train together.

    Raises:
        RuntimeError: If `TF_CONFIG` says so. What SLURM starts may be meant to be apart: that is a warning.
    """
    with contextlib.suppress(ValueError, TypeError, AttributeError):  # it is written for somebody else, then
        config = json.loads(os.environ.get("TF_CONFIG", "{}"))
        addresses = [address for kind in MEMBERS for address in config.get("cluster", {}).get(kind, [])]
        is_one = config.get("task", {}).get("type") in MEMBERS and not _is_of_worker(addresses)
        if len(addresses) > 1 and is_one:
            raise RuntimeError(NOT_JOINED.format(len(addresses)))
    if (count := tasks()) > 1:
        _warn_of_tasks(count)


def _is_of_worker(addresses: Collection[str]) -> bool:
    """Returns whether one of these workers has started this process, as one of a pool that runs the script's first
    lines again: it has its environment, and is no worker."""
    process, _, address = os.environ.get(JOINED, "").partition(" ")
    return process != str(os.getpid()) and address in addresses


@functools.cache
def _warn_of_tasks(count: int) -> None:
    log.warning(
        "SLURM has started this script %d times, and this process trains alone. If they are to train one model, write "
        "loop.connect() in the first line of the script; if not, each needs a directory of its own.",
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
    if twice := [each for each in addresses if addresses.count(each) > 1]:
        raise ValueError(TWICE.format(shown([*addresses]), twice[0]))
    kind, number = resolver.task_type, resolver.task_id  # of SLURM, known from here on
    if kind not in tasks or number is None or not 0 <= number < len(tasks[kind]):
        task = {"type": kind, "index": number}
        raise ValueError(f"This process is none of its cluster's: task {shown(task)} of {shown(dict(tasks))}. {ELSE}")
    return (number if kind == MEMBERS[0] else number + len(tasks.get(MEMBERS[0], []))), addresses


def _check_undivided() -> None:
    """Sees to it that the process has not made several devices of one, among which TensorFlow would not choose.

    Raises:
        ValueError: If it has.
    """
    for device in tf.config.get_visible_devices():
        parts = tf.config.get_logical_device_configuration(device)  # None unless it was called
        if parts and len(parts) > 1:
            raise ValueError(DIVIDED.format(device.device_type, len(parts)))


def _refuse_another() -> None:
    """Has whoever makes another such strategy be told that it is not needed.

    Here, and not when a loop is made: to make a variable in its scope hangs, once in a few times.
    """

    def refused(*args: object, **named: object) -> None:
        raise RuntimeError(SECOND)

    tf.distribute.MultiWorkerMirroredStrategy.__init__ = refused


def share_seed(workers: Workers) -> None:
    """Lets Python's and NumPy's random numbers begin alike in all workers: as they stand in the chief, if its program
    has seeded them before, as by `keras.utils.set_random_seed`; else from a seed that it draws.

    Whatever has no seed of its own begins with these: Keras' layers and generators, the orders of data. TensorFlow's
    global seed is left alone: it counts as set by the program, and would be another one when this is started again.
    """
    if workers.is_chief:
        if isinstance(get_bit_generator().seed_seq, np.random.SeedSequence):  # entropy: nobody has seeded it
            # 31 bits, which NumPy takes for a seed; of the system, and of no stream that the program has set.
            seed = random.SystemRandom().getrandbits(31)
            random.seed(seed)
            np.random.seed(seed)
        kind, keys, *rest = np.random.get_state(legacy=True)
        workers.put("streams", json.dumps([random.getstate(), [kind, np.asarray(keys).tolist(), *rest]]))
    (version, words, gauss), (kind, keys, *rest) = json.loads(str(workers.get("streams")))
    np.random.seed(0)  # so that what began with entropy here counts as seeded, as it does in the chief
    random.setstate((version, tuple(words), gauss))
    np.random.set_state((kind, np.array(keys, np.uint32), *rest))
