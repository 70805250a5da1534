"""What can be given to a loop, and what is said of anything else."""

from collections.abc import Iterable, Mapping, Sequence

import tensorflow as tf

from loop.data.blocks import why_not
from loop.data.source import Data
from loop.errors.instead import instead_of_evaluation
from loop.errors.kinds import is_whole, shown
from loop.evaluation import Evaluation
from loop.steps import Step


def as_evaluations(evaluate: Evaluation | Sequence[Evaluation] | None, step: Step) -> tuple[Evaluation, ...]:
    """Returns the evaluations.

    Args:
        evaluate: One, several or none.
        step: The train step.

    Raises:
        TypeError: If one is something else.
        ValueError: If two have one name, or one that of the train step, or one updates a metric of that.
    """
    evaluations: tuple[Evaluation, ...] = ()
    for evaluation in _each(evaluate):  # one by one: what is no sequence may have no end
        if not isinstance(evaluation, Evaluation):
            received = f"Received: {shown(evaluate)}. {instead_of_evaluation(evaluate)}"
            raise TypeError(f"Loop(evaluate=...) needs an Evaluation or several. {received}")
        evaluations += (evaluation,)
    names = [evaluation.name for evaluation in evaluations]
    if "train" in names:  # under which the loop and its checkpoints have what they know of the train step
        raise ValueError(
            "An evaluation needs another name than that of the train step. Received: Evaluation(name='train'). Write "
            "name='train_set', say."
        )
    if len(set(names)) != len(names):
        raise ValueError(f"Two evaluations cannot have one name. Received: {names}. Give one of them name='...'.")
    # An evaluation in mid-epoch would add its rows to the results of the epoch.
    mine = {id(metric): name for name, metric in step.metrics.items() if name not in step.shared}
    shared = [mine[id(m)] for e in evaluations for m in e.step.metrics.values() if id(m) in mine]
    if shared:
        raise ValueError(f"An evaluation needs metric objects of its own. Received the train step's: {shared}.")
    return evaluations


def _each(evaluate: object) -> Iterable[object]:
    # False, as in `evaluate=validate and Evaluation(...)`.
    if evaluate is None or evaluate is False:
        return ()
    several = isinstance(evaluate, Iterable) and not isinstance(evaluate, tf.data.Dataset | tf.Tensor | Mapping | str)
    return evaluate if isinstance(evaluate, Iterable) and several else (evaluate,)


def check_compilable(data: Data) -> None:
    """Raises `ValueError` if XLA cannot have the data in its program."""
    if why := why_not(data):
        raise ValueError(
            "Loop(jit_compile=True) needs batches of dense numbers, because XLA knows nothing else. Received: "
            f"{type(data).__name__} with {why}, of {data.element_spec}. Make numbers of them in the data, as in "
            "dataset.map(lambda ragged: ragged.to_tensor()); or leave out jit_compile=True."
        )


def check_totals(epochs: int | None, steps: int | None) -> tuple[int | None, int | None]:
    """Returns the totals of `run()`. Raises `ValueError` if neither is given or one is not a positive whole number."""
    given = {"epochs": epochs, "steps": steps}
    # Not 0 either, which would be no run.
    counts = [count for count in given.values() if count is not None]
    if not counts or not all(is_whole(count) and count > 0 for count in counts):
        wanted = "run() needs epochs=..., steps=... or both, positive whole numbers, as in run(epochs=10)"
        raise ValueError(f"{wanted}. Received: {shown(given)}.")
    return None if epochs is None else int(epochs), None if steps is None else int(steps)
