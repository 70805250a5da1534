"""What calls Python in a pipeline: what it draws from Python's and NumPy's own streams depends on the pass."""

import functools
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from loop.exact.graph import named_inputs
from loop.rebuilt.calls import function
from loop.rebuilt.emit import AS_IT_IS, Emitter, Handler, Scope
from loop.rebuilt.orders import flat, variant
from loop.rebuilt.seeds import number_of
from loop.state.randomness import seeded
from loop.tensors import unconverted
from loop.tf_internals import generator_dataset, python_function

STATELESS = "PyFuncStateless"  # told to be so; it may draw nevertheless
OPEN = 2**16  # generators that are read in turns; nobody reads as many at once
NEXT = "next_func"  # the attribute of a generator that has the function for its next element


class Seeded:
    """A function, called with Python's and NumPy's streams begun anew for each call.

    Args:
        called: The function.
        counted: Whether several calls have the same seed, as those of one generator do, and are told apart by how many
            there were; its first argument is then which generator it is.
        drew: Called whenever it has drawn anything.
    """

    def __init__(self, called: Callable[..., object], drew: Callable[[], object], *, counted: bool) -> None:
        self._called, self._drew, self._counted = called, drew, counted
        self._calls: dict[int, int] = {}  # by generator, the one that was called last at the end

    def __call__(self, seed: np.ndarray | tf.Tensor, *arguments: object) -> object:
        # A generator's step has no number of its element in the graph, so its calls are counted here.
        number = self._number(arguments) if self._counted else 0
        with seeded(number_of(*map(int, np.asarray(seed)), number)) as has_drawn:
            # One call at a time in the whole process, as the streams belong to that: see `seeded`.
            found = self._called(*arguments)
            if has_drawn():
                self._drew()
            return found

    def _number(self, arguments: Sequence[object]) -> int:
        which = int(np.asarray(arguments[0]))
        number = self._calls[which] = self._calls.pop(which, 0) + 1
        if len(self._calls) > OPEN:  # each pass has generators of its own
            del self._calls[next(iter(self._calls))]
        return number


def _python(op: tf.Operation, scope: Scope) -> Sequence[tf.Tensor]:
    scope.emitter.changes["Python's random numbers: of the seed, the pass and the element"] += 1
    called, eager = python_function(op.get_attr("token").decode())
    plain = functools.partial(tf.numpy_function, stateful=op.type != STATELESS)
    # `py_function` hands over tensors, `numpy_function` arrays.
    call = tf.py_function if eager else plain
    results = call(
        Seeded(called, scope.emitter.python_draws.set, counted=NEXT in scope.at.place),
        [scope.at.drawn(), *scope.inputs(op)],
        [output.dtype for output in op.outputs],
    )
    return [results] if isinstance(results, tf.Tensor) else list(results or ())


def _generator(op: tf.Operation, scope: Scope) -> Sequence[tf.Tensor]:
    """Makes a generator of which each step has streams of its own; that it begins and ends draws nothing."""

    def part(name: str, others: str, emitter: Emitter) -> Callable[..., tuple[tf.Tensor, ...]]:
        body, given = function(op, name), [scope.made[tensor.name] for tensor in named_inputs(op, others)]
        return unconverted(lambda *state: tuple(emitter.call(body, [*state, *given], scope.at.at(name))))

    parts = [
        part("init_func", "init_func_other_args", AS_IT_IS),
        part(NEXT, "next_func_other_args", scope.emitter),
        part("finalize_func", "finalize_func_other_args", AS_IT_IS),
    ]
    return variant(generator_dataset(parts, flat(op)))


CALLS = ("PyFunc", "EagerPyFunc", STATELESS)
PYTHON: Mapping[str, Handler] = {**dict.fromkeys(CALLS, _python), "GeneratorDataset": _generator}
