"""Errors. TensorFlow translates the lines of tracebacks in ways of its own, which do not fit together with ours."""

from collections.abc import Mapping
from typing import TypeAlias

import tensorflow as tf
from tensorflow.python.autograph.impl.api import _TRANSPILER
from tensorflow.python.autograph.pyct.origin_info import LineLocation, OriginInfo

SourceMaps: TypeAlias = Mapping[str, Mapping[LineLocation, OriginInfo]]


def source_maps() -> SourceMaps:
    """Returns for each file that AutoGraph has written where its lines come from."""
    # Copied: another thread may have AutoGraph convert something meanwhile.
    converted = [factory for of_code in list(_TRANSPILER._cache._cache.values()) for factory in list(of_code.values())]
    return {factory.module.__file__: factory.source_map for factory in converted}


def origin(maps: SourceMaps, file: str, number: int) -> OriginInfo | None:
    """Returns what a line of such a file was; None if that is not known."""
    return maps.get(file, {}).get(LineLocation(file, number))


def set_message(error: tf.errors.OpError, message: str) -> None:
    """Gives an error another message: `error.message` is for reading only."""
    error._message = message
