"""What an evaluation writes of the training state, and how that is put back."""

from collections.abc import Callable, Collection

import tensorflow as tf

from loop.exact.graph import is_of_keras, line
from loop.exact.step_audit import TraceAudit
from loop.findings import Finding
from loop.handles import by_key
from loop.state.randomness import host
from loop.state.randomness import put_back as put_host_back
from loop.state.training_state import TrainingState
from loop.tensors import put, read

Table = tf.lookup.experimental.MutableHashTable | tf.lookup.experimental.DenseHashTable
OF_ITS_OWN = ("evaluations/", "hooks/")  # what is kept of evaluations, and what hooks keep
ITERATOR = (
    "Give the evaluation all that it reads: Evaluation(step, dataset), several together with tf.data.Dataset.zip; or "
    "make the dataset in the step."
)
KEEP = (
    "A metric belongs into Step(function, metrics={...}); what is to last from one evaluation to the next, into a "
    "tf.Variable of a hook."
)


class Purity:
    """Puts back, after a pass, what an evaluation writes of the training state, and every random stream.

    So training has the same bits with evaluations and without, and each evaluation begins with the state of training.
    What is put back is what the traced pass may change, and, if Python makes its data, streams that this may draw from:
    0.1 ms for these; for most evaluations of arrays there is nothing.

    Attributes:
        findings: What cannot be put back.
        losses: A line for each thing, other than what Keras keeps in layers and random streams, that is put back.

    Args:
        audited: The traced pass.
        owner: What to call it.
        state: The training state.
        own: The keys of what belongs to the evaluation itself.
        quiet: The keys of what is put back without a line in `losses`, and whether the pass changes it or not: metrics
            that are reset before it.
        in_python: Whether a pass may run Python.
    """

    def __init__(
        self,
        audited: TraceAudit,
        owner: str,
        state: TrainingState,
        own: Collection[int],
        *,
        quiet: Collection[int] = (),
        in_python: bool,
    ) -> None:
        changed = {handle: op for handle, op in audited.changed().items() if handle not in own}
        streams = by_key(state.streams())
        # What evaluations and hooks keep is to last.
        trained = by_key(v for path, v in state.variables.items() if not path.startswith(OF_ITS_OWN))
        resources = {handle: node for handle, node in state.resources().items() if handle in changed}
        written = {handle: variable for handle, variable in trained.items() if handle in changed or handle in quiet}
        self._variables, self._in_python = list(((streams if in_python else {}) | written).values()), in_python
        self._tables = [node for node in resources.values() if isinstance(node, Table)]
        what = f"{owner} reads on in what is given as state"
        self.findings = [
            Finding(f"{what}: {type(node).__name__}", line(changed[handle]), ITERATOR)
            for handle, node in resources.items()
            if not isinstance(node, Table)
        ]
        names = {handle: variable.name for handle, variable in written.items() if handle not in {*streams, *quiet}}
        names |= {handle: "a lookup table" for handle, node in resources.items() if isinstance(node, Table)}
        by = {handle: changed[handle] for handle in names if not is_of_keras(changed[handle])}
        self.losses = [f"{names[handle]}, at {line(op)}" for handle, op in by.items()]

    def capture(self) -> Callable[[], None]:
        """Holds the present values, at no cost of memory, and returns what puts them back."""
        values = [(variable, read(variable)) for variable in self._variables]
        # A copy, because what a dense table exports is the memory that it goes on writing to.
        tables = [(table, [tf.raw_ops.DeepCopy(x=x) for x in table.export()]) for table in self._tables]
        before = host() if self._in_python else None

        def back() -> None:
            for variable, value in values:
                put(variable, value)
            # An import puts all of it in the place of all that is there: keys that the pass has added are gone.
            for table, (keys, found) in tables:
                tf.raw_ops.LookupTableImportV2(table_handle=table.resource_handle, keys=keys, values=found)
            if before is not None and host() != before:  # few evaluations draw; to look takes 50 us
                put_host_back(before)

        return back
