"""What can be given to a loop, and what is said of anything else."""

from collections.abc import Mapping, Sequence

import numpy as np

from loop.evaluation import Evaluation
from loop.steps import Step
from loop.triggers import Trigger


def check_state(state: Mapping[str, object]) -> Mapping[str, object]:
    """Returns `state`. Raises `TypeError` if it is no mapping; `TrainingState` looks into it."""
    if not isinstance(state, Mapping):
        raise TypeError(f"Loop(state=...) needs a dict, as in {{'model': model}}. Received: {type(state).__name__}.")
    return state


def as_evaluations(evaluate: Evaluation | Sequence[Evaluation] | None, step: Step) -> tuple[Evaluation, ...]:
    """Returns the evaluations.

    Args:
        evaluate: One, several or none.
        step: The train step.

    Raises:
        TypeError: If one is something else.
        ValueError: If two have one name, or one updates a metric of the train step.
    """
    evaluations = (evaluate,) if isinstance(evaluate, Evaluation) else tuple(evaluate or ())
    for evaluation in evaluations:
        if not isinstance(evaluation, Evaluation):
            raise TypeError(f"Loop(evaluate=...) needs an Evaluation or several. Received: {evaluation!r}.")
    names = [evaluation.name for evaluation in evaluations]
    if len(set(names)) != len(names):
        raise ValueError(f"Two evaluations cannot have one name. Received: {names}. Give one of them name='...'.")
    mine = {id(metric): name for name, metric in step.metrics.items()}
    shared = [mine[id(m)] for e in evaluations for m in e.step.metrics.values() if id(m) in mine]
    if shared:
        raise ValueError(f"An evaluation needs metric objects of its own. Received the train step's: {shared}.")
    return evaluations


def check_eval_every(eval_every: Trigger) -> Trigger:
    """Returns `eval_every`. Raises `TypeError` if it is no trigger, `ValueError` if it depends on time."""
    if not isinstance(eval_every, Trigger):
        raise TypeError(f"Loop(eval_every=...) needs a trigger, as in Every(steps=5). Received: {eval_every!r}.")
    if eval_every.next_time(0.0) is not None:
        raise ValueError(f"eval_every must be in steps or epochs, equal in every run. Received: {eval_every!r}.")
    return eval_every


def check_totals(epochs: int | None, steps: int | None) -> tuple[int | None, int | None]:
    """Returns the totals of `run()`. Raises `ValueError` if neither is given or one is not a positive whole number."""
    given = {"epochs": epochs, "steps": steps}
    whole = [isinstance(n, int | np.integer) and not isinstance(n, bool) for n in given.values() if n is not None]
    wrong = not all(whole) or any(count is not None and count < 1 for count in given.values())
    if wrong or given == {"epochs": None, "steps": None}:
        raise ValueError(f"run() needs epochs=..., steps=... or both, positive whole numbers. Received: {given}.")
    return None if epochs is None else int(epochs), None if steps is None else int(steps)
