"""What a run depends on besides its own program: versions, threads, processors."""

import functools
import os
import platform
from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf

from loop.tf_internals import is_op_determinism_enabled

BUILDERS = ("tensorflow", "keras")  # another version of these may build other operations for the same program


def environment() -> dict[str, object]:
    """Returns what may change the bits of a run, in JSON values."""
    threading = tf.config.threading
    cores = len(os.sched_getaffinity(0))  # as many threads as these, if nobody asks for others
    # Of several workers, TensorFlow lists those of all, which have the same names but for the worker before them.
    devices = [*{each.name.rpartition("/")[2]: each.device_type for each in tf.config.list_logical_devices()}.values()]
    return {
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        # 0 stands for as many as there are cores, which is another number on another machine.
        "intra_op_threads": threading.get_intra_op_parallelism_threads() or cores,
        "inter_op_threads": threading.get_inter_op_parallelism_threads() or cores,
        "op_determinism": int(is_op_determinism_enabled()),
        "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1"),  # as TensorFlow reads it on import
        "devices": ", ".join(f"{devices.count(kind)} {kind}" for kind in sorted({*devices})),
        "processor": _processor(),
    }


def later(before: Mapping[str, object]) -> dict[str, object]:
    """Returns what `environment` would, later in a process in which TensorFlow had begun: one thing in it can change.

    To ask for all of it at each save would take as long as to read all variables.
    """
    return {**before, "op_determinism": int(is_op_determinism_enabled())}


def changes(then: Mapping[str, object], now: Mapping[str, object]) -> list[str]:
    """Returns a line for each thing that is not what it was."""
    return [f"{key} was {then[key]} and is {now[key]}" for key in now if key in then and then[key] != now[key]]


@functools.cache
def _processor() -> str:
    """Returns the model of the processor, on which it depends which instructions the libraries choose."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # tens of kB, so it is read once
            models = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    except OSError:
        models = []
    return models[0] if models else platform.machine()
