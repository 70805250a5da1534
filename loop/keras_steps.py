"""The steps of a compiled Keras model, as `fit` and `evaluate` run them."""

import logging
from collections.abc import Callable, Mapping

import keras
import tensorflow as tf

from loop.errors.calls import explained
from loop.errors.elsewhere import ELSEWHERE
from loop.errors.keras_arguments import check_ema, warn_of_methods
from loop.errors.kinds import shown
from loop.steps import Step, Values
from loop.supervision.model_metrics import ModelMetrics
from loop.tensors import Nest, unconverted
from loop.tf_internals import is_built
from loop.workers.sums import now_traced

log = logging.getLogger("exactloop")
LATEST = (
    "The %s of model %r returns what is no result of a metric: %s. As in fit, the value of an epoch, or of an "
    "evaluation, is that of its last batch. For the mean, update a keras.metrics.Mean with it, an attribute of the "
    "model, and return its result()."
)
AROUND_STEPS = ("fit", "evaluate", "make_train_function", "make_test_function")
OWN = "keras_steps(model) runs train_step and test_step of model %r, and calls none of what it has around them: %s."
IN_ONE_CALL = "steps_per_execution=%d of model %r has no effect: all steps up to the next halt run in one call anyway."


@explained(
    ELSEWHERE
    | {
        **dict.fromkeys(("optimizer", "loss", "metrics"), "write model.compile(optimizer, loss, metrics=[...])"),
        **dict.fromkeys(("epochs", "steps_per_epoch"), "write loop.run(epochs=10) and Loop(..., steps_per_epoch=100)"),
        **dict.fromkeys(
            ("validation_data", "validation_split"), "write Loop(..., evaluate=Evaluation(eval_step, data))"
        ),
        "sample_weight": "write ArrayData((x, y, sample_weight), batch_size=32)",
        "class_weight": "write ArrayData((x, y, np.array([1.0, 5.0])[y]), batch_size=32), with the weights of classes",
    }
)
def keras_steps(model: keras.Model) -> tuple[Step, Step]:
    """Returns the train step and the evaluation step of a compiled model: its own `train_step` and `test_step`.

    What they return is what `fit` logs: the results of metrics so far, and of anything else the latest value. The names
    are those of Keras; a result that is a vector is logged as `name/0`, `name/1` and so on. `jit_compile` is honoured.
    The metrics of the model are reset at the beginning of each epoch, saved in mid-epoch, and what an evaluation writes
    to them is put back.

    Args:
        model: A compiled model, which is all that `state=` needs: `state={"model": model}` has the optimizers that are
            attributes of it, too.

    Raises:
        TypeError: If it is no `keras.Model`.
        ValueError: If it is not compiled, or to be run eagerly.
    """
    _check(model)
    # A `train_step` of the program's own may use several optimizers, and build them in its own way.
    if keras.Model.train_step is type(model).train_step and is_built(model) and not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)  # or the first trace would build it, and so be done twice
    metrics = ModelMetrics(model)
    # Called in the graph of a step on several workers, when what their metrics hold is added up.
    metrics.results = lambda: _flat(model.get_metrics_result())
    return _step(model, metrics, "train_step"), _step(model, metrics, "test_step")


def _check(model: keras.Model) -> None:
    if not isinstance(model, keras.Model):
        instead = f" Write {model.__name__}(...), and compile it." if isinstance(model, type) else ""
        raise TypeError(f"keras_steps(model) needs a compiled keras.Model. Received: {shown(model)}.{instead}")
    if not model.compiled:
        raise ValueError(
            f"keras_steps(model) runs the steps of a compiled model. Received: {model.name!r}, which is not compiled. "
            "Write model.compile(optimizer='adam', loss='mse'), say, before it; a compile of its own has to call "
            "super().compile()."
        )
    if model.run_eagerly:
        raise ValueError(
            f"keras_steps(model) compiles the steps, so their Python runs once. Received: {model.name!r}, compiled "
            "with run_eagerly=True. Write model.run_eagerly = False before it."
        )
    if model.steps_per_execution != 1:
        log.warning(IN_ONE_CALL, model.steps_per_execution, model.name)
    warn_of_methods(model, AROUND_STEPS, OWN)
    if isinstance(model.optimizer, keras.optimizers.Optimizer):
        check_ema(model.optimizer)


def _step(model: keras.Model, metrics: ModelMetrics, name: str) -> Step:
    def function(batch: Nest) -> Values:
        def called(batch: Nest) -> Values:
            values = getattr(model, name)(batch)
            if not isinstance(values, Mapping):
                return values  # to be refused
            flat = _flat(values)
            # `fit` shows their latest values, too, and says nothing.
            if others := metrics.others(flat):
                log.warning(LATEST, name, model.name, ", ".join(others))
            return flat

        jit_compile = model.jit_compile and not now_traced()  # XLA has no sums over several workers
        once: Callable[[Nest], Values] = (
            tf.function(called, autograph=False, jit_compile=True) if jit_compile else called
        )
        return once(batch)

    function.__name__ = name
    step = Step(unconverted(function))  # as in Keras
    step.of_model = metrics
    return step


def _flat(values: Mapping[str, object]) -> dict[str, tf.Tensor]:
    """Returns scalars by name: of results that are mappings, as Keras logs them, and of vectors."""
    found: dict[str, tf.Tensor] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value)
            continue
        tensor = tf.convert_to_tensor(value)
        # Of an unknown length, there would be no names; it is refused where the values are checked.
        if tensor.shape == [1]:
            tensor = tf.reshape(tensor, [])
        several = tensor.shape.rank == 1 and tensor.shape[0] is not None
        found |= {f"{name}/{i}": each for i, each in enumerate(tf.unstack(tensor))} if several else {name: tensor}
    return found
