"""What can be given to a loop, and what is said of anything else."""

from collections.abc import Iterable, Mapping, Sequence

import tensorflow as tf

from loop.data.blocks import why_not
from loop.data.source import Data
from loop.errors.calls import BY_POSITION
from loop.errors.instead import instead_of_evaluation
from loop.errors.kinds import is_whole, shown
from loop.evaluation import Evaluation
from loop.state.gathering import check_given
from loop.steps import Step

# What `Loop` and `run` do not have, but others do: `fit` and `compile` of Keras, Lightning's Trainer, Orbit.
BATCHES = "ArrayData((x, y), batch_size=32), or dataset.batch(32)"
STEPS = "write train_step, eval_step = supervised(model, optimizer, loss, metrics={...}), and Loop(train_step, ...)"
ELSEWHERE = {
    **dict.fromkeys(("model", "optimizer", "loss", "metrics"), STEPS),
    **dict.fromkeys(("x", "y", "train_data"), f"write Loop(train_step, data), where data is {BATCHES}"),
    "batch_size": f"it belongs to the data: {BATCHES}",
    "shuffle": "it belongs to the data: ArrayData(..., shuffle=True), or dataset.shuffle(1000, seed=1)",
    "sample_weight": "it belongs to the data: ArrayData((x, y, sample_weight), batch_size=32)",
    "class_weight": "write supervised(..., class_weight={0: 1.0, 1: 5.0})",
    "validation_split": "make it a part of the data",
    **dict.fromkeys(("verbose", "enable_progress_bar"), "write Loop(..., hooks=[Progress()]), or nothing"),
    **dict.fromkeys(("initial_epoch", "ckpt_path"), "leave it out: Checkpoint(directory) goes on where a run was"),
    **dict.fromkeys(("steps_per_execution", "steps_per_loop"), "leave it out: many steps run in one call anyway"),
    **dict.fromkeys(("validation_data", "val_data"), "write Loop(..., evaluate=Evaluation(eval_step, data))"),
    **dict.fromkeys(("callbacks", "hook", "actions"), "write Loop(..., hooks=[...]), of the package hooks"),
    **dict.fromkeys(("validation_freq", "check_val_every_n_epoch"), "write Loop(..., eval_every=Every(epochs=1))"),
    **dict.fromkeys(("val_check_interval", "eval_interval"), "write Loop(..., eval_every=Every(steps=100))"),
    **dict.fromkeys(("validation_steps", "limit_val_batches"), "write Evaluation(eval_step, data, steps=10)"),
    "validation_batch_size": "it belongs to its data: Evaluation(eval_step, ArrayData((x, y), batch_size=32))",
    "limit_train_batches": "write Loop(..., limit_batches=10)",
    "overfit_batches": "write Loop(..., overfit=1)",
    "fast_dev_run": "write loop.dry_run() before loop.run(...)",
    **dict.fromkeys(("epochs", "max_epochs"), "write loop.run(epochs=10)"),
    **dict.fromkeys(("steps", "max_steps"), "write loop.run(steps=1000)"),
    "max_time": "write Loop(..., hooks=[TimeBudget(hours=11.5)])",
    **dict.fromkeys(("checkpoint_manager", "enable_checkpointing"), "write Loop(..., hooks=[Checkpoint(directory)])"),
    **dict.fromkeys(("logger", "log_every_n_steps"), "write Loop(..., hooks=[TensorBoard(directory)])"),
    "profiler": "write Loop(..., hooks=[Profile(directory)])",
    **dict.fromkeys(("gradient_clip_val", "gradient_clip_algorithm"), "write supervised(..., clip_norm=1.0)"),
    "accumulate_grad_batches": "write supervised(..., accumulate=4)",
    **dict.fromkeys(("loss_weights", "weighted_metrics"), "it belongs to supervised(...), as to compile"),
    "run_eagerly": "leave it out: the loop compiles the steps",
    "precision": "write keras.config.set_dtype_policy('mixed_bfloat16') before the model is made",
    "detect_anomaly": "write Loop(..., hooks=[NaNGuard()])",
    **dict.fromkeys(("devices", "num_nodes", "strategy"), "write exactloop launch --workers 4 train.py"),
    **dict.fromkeys(("deterministic", "num_sanity_val_steps"), "leave it out: see loop.audit() and loop.dry_run()"),
}
OF_LOOP = ELSEWHERE | {
    BY_POSITION: "write Loop(train_step, data, state={'model': model, 'optimizer': optimizer})",
    "state": "write state={'model': model, 'optimizer': optimizer}, of what the step changes",
    "data": f"write Loop(train_step, data, state={{...}}), where data is {BATCHES}",
}
OF_RUN = ELSEWHERE | {
    BY_POSITION: "write run(epochs=10) or run(steps=1000)",
    "steps_per_epoch": "write Loop(..., steps_per_epoch=100)",
}


def check_state(state: Mapping[str, object]) -> Mapping[str, object]:
    """Returns `state`. Raises `TypeError` if it is no mapping, or `ValueError` for a name that cannot be used."""
    check_given("Loop(state=...)", state)
    return state


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
    mine = {id(metric): name for name, metric in step.metrics.items()}
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
