"""Metrics of the evaluation, which are those of the training once more: with the same arguments, or refused."""

import inspect
from collections.abc import Mapping

import keras
import numpy as np

from loop.exact.sketch import sketch
from loop.tf_internals import function_of


def copies(metrics: Mapping[str, keras.Metric]) -> dict[str, keras.Metric]:
    """Returns new metrics with the same arguments, by the same names.

    Raises:
        TypeError: If a metric does not tell its arguments, so that the copy would be another one.
    """
    return {name: _copy(name, metric) for name, metric in metrics.items()}


def _copy(name: str, metric: keras.Metric) -> keras.Metric:
    kind = type(metric)
    if kind is keras.metrics.MeanMetricWrapper:  # its configuration has no functions that Keras cannot find by name
        function, arguments = function_of(metric)
        return kind(function, name=metric.name, dtype=metric.dtype, **arguments)
    cause = None
    try:
        config = _config(metric)
        copy = _made(kind, config)
        # A `from_config` that forgets an argument would measure something else in evaluations, in silence.
        if isinstance(copy, kind) and (_tells_all(kind, config) or _is_same(copy, metric)):
            return copy
    except Exception as error:  # of whatever kind: it is its own code
        cause = error
    raise TypeError(
        f"The evaluation step needs a copy of metric {name!r}, which would lose its arguments. Give {kind.__name__} a "
        "get_config(self) that returns {**super().get_config(), ...} with all arguments of its __init__, or write the "
        "two Steps yourself."
    ) from cause


def _config(metric: keras.Metric) -> dict[str, object]:
    try:
        return metric.get_config()
    except Exception:  # of a function that has no name, say
        return {"name": metric.name, "dtype": metric.dtype}


def _made(kind: type[keras.Metric], config: dict[str, object]) -> keras.Metric:
    try:
        return kind.from_config(config)
    except Exception:  # a subclass of MeanMetricWrapper, say, gives its own function, and so does not take fn
        known = inspect.signature(kind).parameters
        return kind(**{key: value for key, value in config.items() if key in known})


def _tells_all(kind: type[keras.Metric], config: Mapping[str, object]) -> bool:
    """Returns whether each argument is in the configuration; of `**kwargs` nobody knows, but of Keras' own."""
    # Of Keras' own, the configuration is complete.
    if kind.__module__.split(".")[0] == "keras":
        return True
    parameters = inspect.signature(kind).parameters.values()
    return all(each.name in config and each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL) for each in parameters)


def _is_same(copy: keras.Metric, metric: keras.Metric) -> bool:
    """Returns whether two metrics have made the same of their arguments."""
    # What every metric has, such as its name and its variables, tells nothing.
    of_keras = {*vars(keras.Metric())}
    said = [sketch([item for item in vars(each).items() if item[0] not in of_keras]) for each in (copy, metric)]
    return said[0] == said[1] != "" and _when_reset(copy) == _when_reset(metric)


def _when_reset(metric: keras.Metric) -> list[bytes]:
    """Returns the values with which a metric begins. It may be in use: those that it has are put back."""
    # On the host, and copied: what is reset next may share the buffer.
    kept = [np.array(variable) for variable in metric.variables]
    metric.reset_state()
    values = [np.asarray(variable).tobytes() for variable in metric.variables]
    for variable, value in zip(metric.variables, kept, strict=True):
        variable.assign(value)
    return values
