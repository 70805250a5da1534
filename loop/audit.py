"""What a checkpoint would lose, found before the first step."""

from collections.abc import Iterable

import tensorflow as tf


def check_covered(used: Iterable[tf.Variable], covered: Iterable[tf.Variable]) -> None:
    """Raises if a compiled step uses a variable that no checkpoint would hold.

    Args:
        used: The variables that the traced steps use.
        covered: The variables of the training state, and those that are reset before each use.

    Raises:
        ValueError: With the name, shape and dtype of each.
    """
    known = {id(variable) for variable in covered}
    lost = sorted((v for v in used if id(v) not in known), key=lambda variable: variable.name)
    if lost:
        listed = "\n".join(f"  {v.name}  shape {v.shape}, {v.dtype.name}" for v in lost)
        raise ValueError(
            f"The step uses {len(lost)} variable(s) that no checkpoint would hold, so a resume would not be exact:\n"
            f"{listed}\nAdd what they belong to: Loop(..., state={{'model': ..., 'optimizer': ..., ...}}); "
            "metrics that the step updates: Step(function, metrics={...})."
        )
