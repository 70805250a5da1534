"""Types of TensorFlow that have no short public name."""

from typing import Any, TypeAlias

import tensorflow as tf

Nest: TypeAlias = tf.types.experimental.TensorLike  # and tuples, lists and mappings of them, as in tf.nest
FuncGraph: TypeAlias = tf.Graph  # what tf.function traces: with `inputs`, `captures` and `variables` besides
Trackable: Any = tf.__internal__.tracking.Trackable  # the base class of what a checkpoint can save
