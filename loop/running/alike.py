"""Whether all workers run the same program, with the same data and seeds, from the same state."""

import hashlib
import json
import os
import platform
from collections.abc import Callable, Mapping
from typing import TypeAlias

import keras
import numpy as np
import tensorflow as tf

from loop.digest import digest
from loop.hook import Hook
from loop.running.parts import Parts
from loop.state.training_state import TrainingState
from loop.tf_internals import is_op_determinism_enabled
from loop.workers.cluster import Workers

Sections: TypeAlias = Mapping[str, Mapping[str, object]]  # JSON values by section, and by path
MOST = 40  # differences that are listed
REMEDY = (
    "All workers start the same script, with the same arguments, versions and environment. Python's, NumPy's and "
    "Keras' random numbers begin alike in all of them from loop.connect() on, the first line of the script; "
    "numpy.random.default_rng() needs a seed, and tf.random needs tf.random.set_seed(1). "
    "Hooks are given to all workers; those with everywhere=False are called in the first one. What traces a loop, as "
    "audit() does, is called in all of them, in the same order."
)
OF_DATA = (
    "All workers are given the same data, and each trains on its own rows of every batch by itself: leave out what "
    "gives each a part, such as dataset.shard(count, rank) or x[rank::count], and give files the same paths in all."
)


def check_program(parts: Parts, state: TrainingState) -> None:
    """Compares what the workers are about to do, before any hook is told; one exchange, as long as that is the same.

    All that is known by then, so that who has several things to mend hears of them at once.

    Raises:
        ValueError: If it is not, in all of them, with all differences.
    """
    if not parts.workers.are_several:
        return
    versions = {"python": platform.python_version(), "tensorflow": tf.__version__, "keras": keras.__version__}
    # As TensorFlow reads it on import, and what the script may have asked for.
    kernels = {"TF_ENABLE_ONEDNN_OPTS": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1")}
    kernels["op_determinism"] = str(is_op_determinism_enabled())
    _refuse(
        parts,
        "what they run",
        {
            # Another version may have other kernels, and so other bits, and so it is with these.
            "versions": {**versions, "numpy": np.__version__},
            "kernels": kernels,
            "run": {"epochs": parts.stops.epochs, "steps": parts.stops.steps},
            # Those that the first worker alone calls, it alone may have.
            "hooks": {hook.name: type(hook).__name__ for hook in parts.hooks if hook.everywhere},
            # They exchange something in turns.
            "order of": {"hooks": [hook.name for hook in parts.hooks if hook.everywhere]},
            "hook": {f"{hook.name}({name}=...)": said for hook in parts.hooks for name, said in _given(hook).items()},
            "evaluations": parts.evaluations.describe(),
            **state.describe(),
            # By these numbers TensorFlow finds who waits for the same sum: with others, all would wait for ever.
            "sums over workers": {"traced": parts.workers.collective.number},
        },
        # Alone, they are no reason: what was saved may be restored yet.
        besides=lambda: _held(parts, state),
    )


def _given(hook: Hook) -> Mapping[str, object]:
    """Returns with what a hook of this package was made, unless only what the first worker has counts."""
    # One of the program may be given something of each worker, such as its rank.
    ours = type(hook).__module__.partition(".")[0] == "hooks"
    return hook.made_with if ours and hook.everywhere and not hook.saves else {}


def check_alike(parts: Parts, state: TrainingState) -> None:
    """Compares the workers, before they train; one exchange of a number, as long as they are alike.

    Raises:
        ValueError: If they are not, in all of them, with all differences.
    """
    if not parts.workers.are_several:
        return
    _refuse(parts, "what they train", {**_held(parts, state), **state.describe()})


def _held(parts: Parts, state: TrainingState) -> Sections:
    notes = {f"{part} noted": said for part, said in state.notes().items()}
    return {**notes, "value of": _values(parts, state)}


def _refuse(parts: Parts, at: str, sections: Sections, besides: Callable[[], Sections] = dict) -> None:
    """Raises `ValueError` if sections differ, with what differs in them, and besides them."""
    if not (differences := _differences(parts, at, sections, besides)):
        return
    more = [f"and {len(differences) - MOST} more"] if len(differences) > MOST else []
    listed = "\n  ".join([*differences[:MOST], *more])
    remedy = f"{OF_DATA} {REMEDY}" if any(line.startswith("data") for line in differences) else REMEDY
    raise ValueError(f"The workers are not alike, so that they cannot train together:\n  {listed}\n{remedy}")


def _differences(parts: Parts, at: str, sections: Sections, besides: Callable[[], Sections] = dict) -> list[str]:
    """Returns a line for each difference between what the workers call this with."""
    workers = parts.workers
    mine = _texts(sections)
    text = json.dumps(mine, sort_keys=True)
    number = int(hashlib.sha256(text.encode()).hexdigest()[:13], 16)  # a float64 holds it
    # One number tells whether they are alike; the texts, which are long, go over the network only if not.
    if len({*workers.exchange(number, at=at)[:, 0].tolist()}) == 1:
        return []
    # The number of the exchange is the same in all workers, and never comes again.
    key = f"alike/{workers.exchanges}/{{}}"
    workers.put(key.format(workers.rank), {**mine, **_texts(besides())})
    return [line for rank in range(1, workers.count) for line in _between(workers, key, rank)]


def _texts(sections: Sections) -> dict[str, str]:
    """Returns them as texts, so that they are compared, told and hashed alike."""
    return {f"{section} {key}": json.dumps(value) for section, said in sections.items() for key, value in said.items()}


def check_equal(parts: Parts, state: TrainingState) -> None:
    """Compares what the workers hold when they have trained; one exchange of a number, as long as that is the same.

    Raises:
        ValueError: If it is not, in all of them, with the names of all that differs.
    """
    if parts.workers.are_several:
        found = _differences(parts, "what they hold when the run ends", {"value of": _values(parts, state)})
        paths = [line.partition(":")[0] for line in found]
        if names := sorted({path.removeprefix("value of ") for path in paths}):
            raise ValueError(
                f"The workers do not hold the same values when the run ends: {', '.join(names[:MOST])}. "
                f"{parts.workers.why_apart(names)}."
            )


def _between(workers: Workers, key: str, rank: int) -> list[str]:
    first, other = (workers.get(key.format(each)) for each in (0, rank))
    if not isinstance(first, dict) or not isinstance(other, dict):
        return []
    # In the order in which they were compared: versions, which many a difference comes of, stand first.
    paths = [path for path in {**first, **other} if first.get(path) != other.get(path)]
    return [
        f"{path}: {first.get(path, 'missing')!s:.80} in worker 0, "
        f"{other.get(path, 'missing')!s:.80} in {workers.name(rank)}"
        for path in paths
    ]


def _values(parts: Parts, state: TrainingState) -> Mapping[str, str]:
    """Returns the digests of what all workers have to hold, by path."""
    # Without what may differ: hooks of the first worker alone, and the time.
    apart = parts.hooks.apart()
    held = {path: variable for path, variable in state.variables.items() if not path.startswith(apart)}
    in_python = {path: said for path, said in state.in_python().items() if not path.startswith(apart)}
    return {path: digest(variable.read_value()) for path, variable in held.items()} | in_python
