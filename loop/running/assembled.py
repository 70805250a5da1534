"""What a program gives a loop, checked, and made into the parts that the loop works with."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import keras
import tensorflow as tf

from loop.data.arrays import ArrayData
from loop.data.blocks import why_not
from loop.data.coerce import Given, as_data, given_back_if_raised
from loop.data.indexed import IndexedData
from loop.data.orders.pool import Pool
from loop.data.source import Data
from loop.engine.clock import Clock
from loop.engine.traced.bound import StopBound
from loop.engine.traced.several import several_of
from loop.errors.instead import instead_of_evaluation
from loop.errors.kinds import shown
from loop.evaluation import Evaluation, check_eval_every
from loop.hook import Hook
from loop.registry import HookRegistry
from loop.running.limits import Limit, first_batches
from loop.running.parts import Parts
from loop.running.schedule import Schedule
from loop.state.gathering import check_given
from loop.state.history import History
from loop.state.position import PositionState
from loop.steps import Step, Values, as_step
from loop.stops import Stops
from loop.tensors import Nest
from loop.triggers import Trigger
from loop.workers.cluster import here


def assembled(
    train_step: Step | Callable[[Nest], Values],
    data: Given,
    state: Mapping[str, object],
    *,
    evaluate: Evaluation | Sequence[Evaluation] | None,
    eval_every: Trigger,
    hooks: Sequence[Hook | keras.callbacks.Callback],
    steps_per_epoch: int | None,
    limit_batches: int | None,
    overfit: int | None,
    jit_compile: bool,
) -> Parts:
    """Returns the parts of a loop; the arguments, and what is raised, are those of `Loop`.

    Nothing is traced or read yet. Each argument is checked before those behind it are looked at.
    """
    step, limit = as_step(train_step), Limit(limit_batches, overfit)
    data = data if overfit is None else first_batches(data, overfit)
    source = as_data(data, steps_per_epoch and limit.of(steps_per_epoch))
    with given_back_if_raised(data):
        if jit_compile:
            _check_compilable(source)
        if isinstance(source, ArrayData | IndexedData):
            source.draw()  # a seed, where none was given: before anything else draws from the process's numbers
        check_given("Loop(state=...)", state)
        check_eval_every("Loop(eval_every=...)", eval_every)
        evaluations = Schedule(_as_evaluations(evaluate, step), eval_every)
        # Rows of all data together: a split that was drawn without a seed is found again among them.
        pool = Pool()
        for each in (source, *(evaluation.data for evaluation in evaluations)):
            each.pool_rows(pool)
        pool.splits.settle()
        registry = HookRegistry(hooks)
        # From `connect()` on; a loop keeps the workers with which it was made.
        workers = here()
        several = several_of(workers, state, source, [each.data for each in evaluations], jit_compile=jit_compile)
        # One for all: alarms of the clock and stops pull in the same bound.
        bound = StopBound(together=several is not None)
        return Parts(
            step=step,
            data=source,
            evaluations=evaluations,
            given=state,
            hooks=registry,
            position=PositionState(),
            clock=Clock(bound.pull_in),
            bound=bound,
            history=History(),
            limit=limit,
            stops=Stops(bound.pull_in, together=several is not None),
            jit_compile=jit_compile,
            workers=workers,
            several=several,
            pool=pool,
        )


def _as_evaluations(evaluate: Evaluation | Sequence[Evaluation] | None, step: Step) -> tuple[Evaluation, ...]:
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


def _check_compilable(data: Data) -> None:
    """Raises `ValueError` if XLA cannot have the data in its program."""
    if why := why_not(data):
        raise ValueError(
            "Loop(jit_compile=True) needs batches of dense numbers, because XLA knows nothing else. Received: "
            f"{type(data).__name__} with {why}, of {data.element_spec}. Make numbers of them in the data, as in "
            "dataset.map(lambda ragged: ragged.to_tensor()); or leave out jit_compile=True."
        )
