"""The metrics that layers have and update by themselves when they are called."""

from collections.abc import Collection

import keras

from loop.tf_internals import flatten_layers, own_metrics


def metrics_of_layers(model: keras.Model, taken: Collection[str]) -> dict[str, keras.Metric]:
    """Returns the metrics of a model and of all that is in it, by the names under which they are logged.

    Those that a model with steps of its own has as attributes are left out: its `train_step` updates them, which nobody
    calls. Those that a layer only makes when it is first called are not there yet.

    Args:
        model: The model, or a layer.
        taken: The names of other values. A name that is there is counted up: `active_1`.
    """
    layers = [each for each in flatten_layers(model) if not _has_step(each)]
    own = {id(metric) for layer in layers for metric in own_metrics(layer)}
    found: dict[str, keras.Metric] = {}
    # Of a layer, also where it is a compiled model: without what measures its loss. In the order of the layers.
    for metric in keras.Layer.metrics.fget(model):
        if id(metric) in own and not any(metric is other for other in found.values()):
            names = [metric.name, *(f"{metric.name}_{i}" for i in range(1, len(found) + len(taken) + 1))]
            found[next(name for name in names if name not in {*found, *taken})] = metric
    return found


def _has_step(layer: keras.Layer) -> bool:
    return isinstance(layer, keras.Model) and type(layer).train_step is not keras.Model.train_step
