"""What reads ahead in threads of its own, made to read when something is wanted.

Python's and NumPy's streams belong to the process. If Python draws in a pipeline, it must not do so while hooks run,
which may draw, too. So it draws only while the thread that trains waits for it. As these streams are one caller's at a
time in any case, calls in parallel would be no faster.
"""

from collections.abc import Mapping, Sequence

import tensorflow as tf

from loop.exact.graph import named_inputs
from loop.rebuilt.emit import Handler, Scope
from loop.rebuilt.maps import MAPS
from loop.rebuilt.orders import typed


def as_given(options: tf.data.Options) -> tf.data.Options:
    """Returns the options that somebody gave, with every order kept."""
    # Of a stage that is repeated, they are within a function, out of which TensorFlow takes none.
    given = tf.data.Options().merge(options)
    given.deterministic = True
    return given


def nothing_ahead() -> tf.data.Options:
    """Returns options by which TensorFlow puts in nothing that reads ahead: a map and a batch in one stage do."""
    options = tf.data.Options()
    options.autotune.enabled = False
    options.experimental_optimization.inject_prefetch = False
    options.experimental_optimization.map_and_batch_fusion = False
    options.experimental_optimization.map_parallelization = False
    return options


def _prefetch(op: tf.Operation, scope: Scope) -> Sequence[tf.Tensor]:
    return [scope.made[op.inputs[0].name]]


def _batch(op: tf.Operation, scope: Scope) -> Sequence[tf.Tensor]:
    given = {name: scope.made[named_inputs(op, name)[0].name] for name in ("batch_size", "drop_remainder")}
    # A batch in parallel reads ahead as a prefetch does; its elements are the same ones in order.
    return [tf.raw_ops.BatchDatasetV2(input_dataset=scope.made[op.inputs[0].name], **given, **typed(op))]


ALONE: Mapping[str, Handler] = {  # if what they read changes, and Python was seen to draw
    "PrefetchDataset": _prefetch,
    "ParallelBatchDataset": _batch,
    **{kind: handler for kind, handler in MAPS.items() if kind.startswith(("Parallel", "MapAndBatch"))},
}
