"""What is logged of a step's metrics: a number each, or one for each class."""

from collections.abc import Mapping, Sequence

import tensorflow as tf

from loop.errors.kinds import shown
from loop.steps import Step
from loop.tf_internals import call_flat, converted


class Results:
    """The results of a step's metrics, and the names under which they are logged.

    A result of shape `[classes]` is logged as `f1/0`, `f1/1`, or with the step's `class_names` in place of the numbers;
    one that is a dict as `f1/<key>`. One of shape `[1]` is a number, as in `fit`.

    Attributes:
        names: The names of all that is logged, in the order of the metrics.

    Args:
        step: The step, traced, so that its metrics are built.
        traced: What `results_of` returned in its trace: scalars and vectors, as are checked here.

    Raises:
        TypeError: If a result is neither a scalar nor a vector of a known length, or not numeric.
        ValueError: If the `class_names` are not as many as a vector has components, or there is none; if two results
            would have one name.
    """

    def __init__(self, step: Step, traced: Mapping[str, tf.Tensor]) -> None:
        # By result: what its components are called, () of a scalar.
        self._classes = {name: _classes(step, name, tensor) for name, tensor in traced.items()}
        if step.class_names and not any(self._classes.values()):
            raise ValueError(
                f"Step(class_names=...) is for metrics with a result for each class, and {step.__name__!r} has none. "
                "Give a metric average=None, or leave class_names out."
            )
        self.names = tuple(name for each, classes in self._classes.items() for name in _names(each, classes))
        _check_once(step, self.names)  # once more: of classes, names come about that no metric has
        compiled = tf.function(lambda: results_of(step), autograph=False)
        self._compiled = compiled.get_concrete_function() if step.metrics else None

    def now(self) -> dict[str, tf.Tensor]:
        """Returns the results. Traced into the compiled loop."""
        return self._compiled() if self._compiled else {}

    def read(self) -> dict[str, float]:
        """Returns them by the names under which they are logged; outside of a graph, with the bits of one."""
        return self.logs(call_flat(self._compiled, []) if self._compiled else {})

    def logs(self, results: Mapping[str, tf.Tensor]) -> dict[str, float]:
        """Returns results by the names under which they are logged."""
        logs = dict[str, float]()
        for name, classes in self._classes.items():
            value = results[name].numpy()  # sync: reads one scalar, or one vector
            logs |= zip(_names(name, classes), value.tolist() if classes else [float(value.item())], strict=True)
        return logs


def results_of(step: Step) -> dict[str, tf.Tensor]:
    """Returns the results of a step's metrics, with an entry for each item of one that is a dict."""
    found = list[tuple[str, tf.Tensor]]()
    for name, metric in step.metrics.items():
        result = converted(metric.result)()
        of_keys = isinstance(result, Mapping)
        found += [(f"{name}/{key}", value) for key, value in result.items()] if of_keys else [(name, result)]
    _check_once(step, [name for name, _ in found])  # or the dict would keep one of the two, in silence
    return dict(found)


def measured(step: Step, logs: Mapping[str, float], prefix: str = "") -> tuple[str, ...]:
    """Returns which names in `logs` are results of a step's metrics, without their prefix, where nothing is traced."""
    names = [name.removeprefix(prefix) for name in logs if name.startswith(prefix)]
    return tuple(name for name in names if any(name == each or name.startswith(f"{each}/") for each in step.metrics))


def _check_once(step: Step, names: Sequence[str]) -> None:
    twice = [name for i, name in enumerate(names) if name in names[:i]]
    if twice:
        raise ValueError(
            f"Step {step.__name__!r} would log two results of its metrics as {twice[0]!r}: results for classes, and "
            f"those that are dicts, are logged as '<metric>/<class>'. Give one of the metrics another name."
        )


def _names(name: str, classes: Sequence[str]) -> list[str]:
    return [f"{name}/{each}" for each in classes] or [name]


def _classes(step: Step, name: str, result: object) -> tuple[str, ...]:
    """Returns what to call the components of a result; nothing if it is a scalar."""
    if isinstance(result, tf.Tensor) and (result.dtype.is_floating or result.dtype.is_integer or result.dtype.is_bool):
        if result.shape.rank == 0:
            return ()
        if result.shape.rank == 1 and result.shape[0]:
            return _called(step, name, result.shape[0])
    received = f"shape {result.shape}, dtype {result.dtype.name}" if isinstance(result, tf.Tensor) else shown(result)
    raise TypeError(
        f"Step {step.__name__!r}: the result of metric {name!r} must be a numeric scalar of shape [], or one for each "
        f"class, of shape [classes]. Received: {received}. Make a metric of it whose result is one: a subclass with "
        "def result(self): return keras.ops.mean(super().result()), say."
    )


def _called(step: Step, name: str, count: int) -> tuple[str, ...]:
    if step.class_names and len(step.class_names) != count:
        raise ValueError(
            f"Step {step.__name__!r}: metric {name!r} has results for {count} classes, and class_names has "
            f"{len(step.class_names)}: {shown(list(step.class_names))}. Give a name for each class, in their order."
        )
    return step.class_names or tuple(map(str, range(count if count > 1 else 0)))
