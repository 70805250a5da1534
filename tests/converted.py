"""What AutoGraph has made of functions, for processes that are forked: to make it takes most of a short life.

A life that has come to its end tells what it has converted; the process that forks converts that itself, which runs no
operation, and each life that is forked from then on finds it. They trace and compile everything themselves as before.
"""

import marshal
import sys
import types

from tensorflow.python.autograph.core import converter
from tensorflow.python.autograph.impl import api

KEPT: set[types.CodeType] = set()  # AutoGraph holds them weakly


def told() -> bytes:
    """Returns all that this process has converted: code and the options for it."""
    found = []
    for code, kinds in api._TRANSPILER._cache._cache.items():
        for options in kinds:
            *flags, features = options.as_tuple()
            found.append((code, flags, sorted(feature.name for feature in features)))
    return marshal.dumps(found)


def convert(told: bytes) -> None:
    """Converts what another process has converted; what is in no module that is here is left out."""
    modules = {getattr(module, "__file__", None): module for module in [*sys.modules.values()]}
    for code, flags, names in marshal.loads(told):  # noqa: S302 -- from a process of ours
        module = modules.get(code.co_filename)
        if module is None or not isinstance(code, types.CodeType):
            continue
        cells = tuple(types.CellType() for _ in code.co_freevars)
        function = types.FunctionType(code, vars(module), code.co_name, None, cells)
        features = [converter.Feature[name] for name in names]
        options = converter.ConversionOptions(*flags, optional_features=features)
        KEPT.add(code)
        api._TRANSPILER.transform(function, converter.ProgramContext(options=options))
