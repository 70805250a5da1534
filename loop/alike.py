"""Whether all workers run the same program, with the same data and seeds, from the same state."""

import hashlib
import json
import platform
from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf

from loop.digest import digest
from loop.parts import Parts
from loop.state.training_state import TrainingState
from loop.workers.cluster import Workers

Said = Mapping[str, str]  # what a worker has, by what it is
MOST = 20  # differences that are listed
REMEDY = (
    "All workers start the same script, with the same arguments and versions. Random numbers begin alike in all of "
    "them from loop.connect() on, in the first line of the script; but numpy.random.default_rng() needs a seed. "
    "Hooks are given to all workers; those with everywhere=False are called in the first one."
)


def check_alike(parts: Parts, state: TrainingState) -> None:
    """Compares the workers, before they train; one exchange of a number, as long as they are alike.

    Raises:
        ValueError: If they are not, in all of them, with all differences.
    """
    workers = parts.workers
    if not workers.are_several:
        return
    mine = _said(parts, state)
    text = json.dumps(mine, sort_keys=True)
    number = int(hashlib.sha256(text.encode()).hexdigest()[:13], 16)  # a float64 holds it
    if len({*workers.exchange(number)[:, 0].tolist()}) == 1:
        return
    key = f"alike/{workers.turn()}/{{}}"
    workers.put(key.format(workers.rank), dict(mine))
    differences = [line for rank in range(1, workers.count) for line in _between(workers, key, rank)]
    more = [f"and {len(differences) - MOST} more"] if len(differences) > MOST else []
    listed = "\n  ".join([*differences[:MOST], *more])
    raise ValueError(f"The workers are not alike, so that they cannot train together:\n  {listed}\n{REMEDY}")


def _between(workers: Workers, key: str, rank: int) -> list[str]:
    first, other = (workers.get(key.format(each)) for each in (0, rank))
    if not isinstance(first, dict) or not isinstance(other, dict):
        return []
    paths = [path for path in sorted({*first, *other}) if first.get(path) != other.get(path)]
    return [
        f"{path}: {first.get(path, 'missing')!s:.80} in worker 0, "
        f"{other.get(path, 'missing')!s:.80} in {workers.name(rank)}"
        for path in paths
    ]


def _said(parts: Parts, state: TrainingState) -> Said:
    apart = parts.hooks.apart()
    versions = {"python": platform.python_version(), "tensorflow": tf.__version__, "keras": keras.__version__}
    values = {
        path: digest(variable.read_value()) for path, variable in state.variables.items() if not path.startswith(apart)
    }
    sections: dict[str, Mapping[str, object]] = {
        "versions": {**versions, "numpy": np.__version__},
        "run": {"epochs": parts.stops.epochs, "steps": parts.stops.steps},
        "hooks": {hook.name: type(hook).__name__ for hook in parts.hooks},
        "notes": state.notes(),
        "value of": values,
        **state.describe(),
    }
    return {f"{section} {key}": json.dumps(value) for section, said in sections.items() for key, value in said.items()}
