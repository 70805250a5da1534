"""The metrics of supervised learning, by the names under which they are logged."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import keras

from loop.errors.keras_arguments import check_metric, metric_named
from loop.errors.kinds import shown
from loop.supervision.outputs import Output, alone, check_names, is_several, outputs, part
from loop.tensors import Nest, unconverted
from loop.tf_internals import converted, function_of, metric_of

Metric: TypeAlias = keras.Metric | Callable[..., Nest] | str
Given: TypeAlias = Mapping[str, Metric | Sequence[Metric]] | Sequence[Metric | Sequence[Metric] | None]
AS_IN = "needs a dict or a list, as in ['accuracy'] or {'accuracy': metric}"


class Accuracy(keras.Metric):
    """What Keras takes for the name "accuracy": binary, categorical or sparse, by the shapes of the first labels."""

    _direction = "up"  # by which callbacks know what is better

    def __init__(self, name: str = "accuracy", dtype: object = None) -> None:
        super().__init__(name=name, dtype=dtype)
        self.made: keras.Metric | None = None

    @unconverted
    def update_state(self, y_true: Nest, y_pred: Nest, sample_weight: Nest = None) -> None:
        # In the first trace, of the train step or of the evaluation: only then are the shapes known.
        if self.made is None:
            self.made = metric_of("accuracy", y_true, y_pred)
        self.made.update_state(y_true, y_pred, sample_weight)

    def result(self) -> Nest:
        # Before that nobody has measured anything.
        return self.made.result() if self.made else 0.0

    def reset_state(self) -> None:
        if self.made:
            self.made.reset_state()


class Measure(NamedTuple):
    """A metric, and the name of the output that it is of; None: of all there is."""

    metric: keras.Metric
    output: str | None


def measures(argument: str, given: Given | None, names: Sequence[str], taken: Sequence[str] = ()) -> dict[str, Measure]:
    """Returns metrics by the names under which they are logged.

    Args:
        argument: What the argument is called.
        given: What was given: metrics, names of Keras' and functions; by name, in a list, or by output.
        names: The names of the outputs, if there are several.
        taken: The names of other metrics, before which Keras writes `weighted_`.

    Raises:
        TypeError: If something is no metric.
        ValueError: If an output is not there.
    """
    if given is None:
        return {}
    if not is_several(given):
        raise TypeError(f"supervised({argument}=...) {AS_IN}. Received: {shown(given)}.")
    found: dict[str, Measure] = {}
    if len(names) < 2 and isinstance(given, Mapping) and len(given) == 1 and is_several(*given.values()):
        (given,) = given.values()  # of the one output there is
    # By outputs, and not by names of metrics: if all its names are those of outputs, or it has lists or texts.
    by_output = (
        names
        and isinstance(given, Mapping)
        and ({*given} <= {*names} or any(is_several(each) or isinstance(each, str) for each in given.values()))
    )
    if isinstance(given, Mapping) and not by_output:
        return {name: Measure(_made(argument, each, name), None) for name, each in given.items()}
    if names and (len(names) > 1 or isinstance(given, Mapping)):
        check_names(given, names, f"{argument}")
        every = [Output(name) for name in names]
        of_outputs = [each for each in every if not isinstance(given, Mapping) or each.name in given]
        listed = {each.name: part(given, each, every, "a metric, or a list of them,") for each in of_outputs}
    else:
        listed = {"": given}
    for output, several in listed.items():
        for each in _flat(several):
            name = _name(each)
            prefix, known = f"{output}_" if len(names) > 1 else "", {*found, *taken}
            own = f"{prefix}weighted_{name}" if f"{prefix}{name}" in taken else f"{prefix}{name}"
            # Names that are there already are counted up: `mae_1`.
            again = sum(one == own or (one.startswith(f"{own}_") and one[len(own) + 1 :].isdigit()) for one in found)
            own = f"{own}_{again}" if own in known else own
            found[own] = Measure(_made(argument, each, name), output or None)
    return found


def update(found: Mapping[str, Measure], names: Sequence[str], y: Nest, prediction: Nest, *weights: Nest) -> None:
    """Updates metrics with what belongs to their outputs; with sample weights, if these are given."""
    given = [(y, "labels"), (prediction, "a value"), *((each, "weights") for each in weights)]
    of = outputs(prediction, names) if is_several(prediction) else []
    for name, each in found.items():
        if each.output is None and len(of) > 1 and _is_of_one(each.metric):
            raise ValueError(
                f"supervised(...) has the metric {name!r}, which is of one output, and the model returns {len(of)}, of "
                "names that are not known before. Give losses and metrics by output: in lists in their order, as in "
                "loss=['mse', 'mse'], metrics=[['mae'], []], or in dicts by name."
            )
        own = of if each.output is None and len(of) == 1 else [one for one in of if one.name == each.output]
        # What is one for all outputs, such as sample weights in a tensor, is handed to each metric as it is.
        parts = [part(one, own[0], of, what) if own and is_several(one) else one for one, what in given]
        parts = parts if of or not _is_of_one(each.metric) else [alone(one) for one in parts]
        converted(each.metric.update_state)(*parts)


def _is_of_one(metric: keras.Metric) -> bool:
    """Returns whether a metric is one of Keras' own, which would take several outputs for one tensor."""
    # A function of the program's own may want all outputs.
    own = function_of(metric)[0] if type(metric) is keras.metrics.MeanMetricWrapper else type(metric)
    return isinstance(metric, Accuracy) or str(getattr(own, "__module__", "")).split(".")[0] == "keras"


def _flat(several: object) -> list[object]:
    if several is None:
        return []
    return [one for each in several for one in _flat(each)] if isinstance(several, list | tuple) else [several]


def _name(given: object) -> str:
    if isinstance(given, str):
        return given
    return given.name if isinstance(given, keras.Metric) else getattr(given, "__name__", type(given).__name__)


def _made(argument: str, given: object, name: str) -> keras.Metric:
    """Returns a metric, of the name that it is logged by if it has to be made."""
    if isinstance(given, keras.Metric):
        return given
    check_metric(argument, name, given)
    if isinstance(given, str):
        # Keras tells by shapes which accuracy that is, and only in `compile`.
        if given.lower() in ("accuracy", "acc"):
            return Accuracy(name)
        given = metric_named(argument, given)
        if isinstance(given, keras.Metric):
            return given
    return keras.metrics.MeanMetricWrapper(given, name=name)
