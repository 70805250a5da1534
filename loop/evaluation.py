"""Evaluation: one compiled pass over a data set."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import tensorflow as tf

from loop.data.arrays import ArrayData
from loop.data.coerce import Given, as_data
from loop.data.indexed import IndexedData
from loop.data.own_files import OwnFiles
from loop.data.source import Data
from loop.data.stream import StreamData
from loop.engine.chunk import CompiledLoop
from loop.engine.traced.body import Body
from loop.engine.traced.bound import StopBound
from loop.engine.traced.means import Means
from loop.engine.traced.results import Results
from loop.engine.traced.ring import LONGEST
from loop.engine.traced.several import Several
from loop.engine.traced.trace import Trace
from loop.engine.ways.program import traced
from loop.errors.calls import BY_POSITION, explained
from loop.errors.kinds import shown
from loop.errors.later import later
from loop.errors.names import check_name
from loop.errors.tracebacks import add_note
from loop.steps import Step, Values, as_step
from loop.tensors import Nest, put, read, write
from loop.tf_internals import given_up
from loop.triggers import Trigger

TRACED = "What an evaluation reports is there from SETUP on: in a hook's on_setup, or after run() or evaluate()."


@explained(
    {
        BY_POSITION: "write Evaluation(eval_step, data)",
        "data": "write Evaluation(eval_step, data): a step, and the data that it is called with",
        "batch_size": "it belongs to the data: ArrayData((x, y), batch_size=32), or dataset.batch(32)",
        "validation_steps": "write steps=...",
    }
)
class Evaluation(tf.Module):
    """What to evaluate, and on which data. Results are logged as `<name>_<value>`, such as `val_loss`.

    Each evaluation reads the data from the beginning, and begins with the state of training. What it writes of that,
    and every random stream, is put back when it ends; variables of hooks, and the step's own metrics, are left alone.

    Args:
        eval_step: A `Step` or a function from a batch to `{name: scalar}`.
        data: A `tf.data.Dataset`, `ArrayData`, `StreamData`, `IndexedData`, or a `keras.utils.PyDataset`; or
            `StatefulData` of what is begun anew in each pass.
        name: The prefix of the results; not "train".
        steps: The largest number of batches to read; None: all.
        every: When to evaluate; None: as the loop's `eval_every` says. Not by seconds, as that.
        within: Makes the context in which each evaluation is made, such as `WeightAverage.exchanged`, which has the
            model's averages evaluated. However an evaluation ends, the context is left.

    Raises:
        ValueError: If the name is no identifier of ASCII, `steps` is not positive, `every` depends on time, or the data
            differ from one evaluation to the next.
    """

    names: tuple[str, ...] = later(TRACED)
    latest: tf.Variable = later(TRACED)
    means: Means = later(TRACED)
    chunk: CompiledLoop = later(TRACED)
    measured: Results = later(TRACED)

    def __init__(
        self,
        eval_step: Step | Callable[[Nest], Values],
        data: Given,
        *,
        name: str = "val",
        steps: int | None = None,
        every: Trigger | None = None,
        within: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        check_name("Evaluation", name)
        super().__init__(name=name)
        self.step, self._within = as_step(eval_step), within
        if isinstance(within, AbstractContextManager) or not callable(within):
            raise TypeError(
                "Evaluation(within=...) needs what makes a context, and is called for each evaluation, as in "
                f"within=average.exchanged, without (). Received: {shown(within)}."
            )
        if steps is not None and steps < 1:
            raise ValueError(f"Evaluation(steps=...) must be at least 1. Received: {steps!r}.")
        self.every = every if every is None else check_eval_every(f"Evaluation {self.name!r} (every=...)", every)
        if isinstance(data, tf.data.Dataset):
            # Nobody saves it in the middle of an evaluation, so it need not be of a kind that can be saved.
            data = StreamData(data if steps is None else data.take(steps), resume="replay")
        self.data: Data = as_data(data)
        self.data.seen = None  # nobody goes on in the middle of an evaluation
        # Whatever seed the program has left out: each evaluation reads in the same order, in all processes.
        if isinstance(self.data, ArrayData | IndexedData | StreamData | OwnFiles):
            self.data.fix_seed()
        if not self.data.repeats_itself:
            raise ValueError(
                f"Evaluation {self.name!r} needs data that are the same each time, or results would depend on what was "
                "interrupted. Received: one stream without end. Cut it with Evaluation(data, steps=...), where data is "
                "the dataset itself."
            )
        self._limit = steps
        self.index = tf.Variable(0, dtype=tf.int64, trainable=False, name="index")
        self.known = tf.Variable(False, trainable=False, name="known")  # whether `latest` has results
        self.new = tf.Variable(False, trainable=False, name="new")  # and whether nobody has taken them

    def build(self, bound: StopBound, *, jit_compile: bool, several: Several | None = None) -> Trace:
        """Traces the step and the compiled pass; called before a state is restored."""
        # Its own trace, with `training=False`, say; the graph of the pass calls it, as the train loop does.
        trace = traced(self.step, self.data, jit_compile=jit_compile, several=several)
        self.make_results(trace.narrow, trace.wide, trace.results.names)
        self.measured = trace.results
        where = f"in evaluation {self.name!r}, after its batch"
        owner = f"Evaluation {self.name!r}"
        body = Body(trace, self.data, [self.index], self.means, bound, several=several)
        self.chunk = CompiledLoop(body, where=where, owner=owner)
        return trace

    def make_results(self, narrow: tuple[str, ...], wide: tuple[str, ...], measured: tuple[str, ...]) -> None:
        """Makes the variables for the results.

        Args:
            narrow: The names of values that the step returns; see `Means`.
            wide: The names of the others.
            measured: The names of the results of its metrics.
        """
        self.names = tuple(f"{self.name}_{name}" for name in sorted({*narrow, *wide, *measured}))
        # float64, sorted by name: what hooks decide by is what was computed, and is saved with the state.
        self.latest = tf.Variable(tf.zeros([len(self.names)], tf.float64), trainable=False, name="latest")
        self.means = Means(narrow, wide)

    def run(self, abandon: Callable[[], bool], limit: int | None = None) -> bool:
        """Evaluates once, on so many batches at most.

        Returns:
            False, with nothing to show for it, if `abandon` said so after some call.
        """
        with self._within():
            return self._run(abandon, limit)

    def _run(self, abandon: Callable[[], bool], limit: int | None) -> bool:
        try:
            self.data.open(0)
        except Exception as error:
            add_note(error, f"Raised in evaluation {self.name!r}, before its first batch.")
            raise
        write(self.index, 0)
        # Of the step's own metrics; those that training has in common with it are put back by `Purity`.
        self.step.reset()
        limits = [limit for limit in (limit, self._limit, self.data.steps_per_epoch) if limit is not None]
        done, left, more = 0, min(limits, default=LONGEST), True
        while more and left:
            ran = self.chunk(self.data, left)
            if abandon():
                self.data.close()
                return False
            more, done = bool(ran.more), done + int(ran.steps)  # sync: waits for the chunk
            # An unknown length is read in calls as long as the ring of values.
            left = min(limits) - done if limits else LONGEST
        self.data.close()
        # A metric in place of the mean of its name, as in training.
        results = (self.means.result() or {}) | self.measured.logs(ran.results)
        put(self.latest, given_up(np.array([results[name] for name in sorted(results)], np.float64), tf.float64))
        write(self.known, True)
        write(self.new, True)
        return True

    def read(self) -> tuple[int, int | None]:
        """Returns how many batches were read in the latest pass, and how many there are, if that is known."""
        limits = [limit for limit in (self._limit, self.data.steps_per_epoch) if limit is not None]
        return int(self.index), min(limits, default=None)

    def results(self) -> dict[str, float]:
        """Returns the results of the latest evaluation by name; empty before the first."""
        known = bool(read(self.known))  # first: before a run, there is nothing else
        return dict(zip(self.names, read(self.latest).numpy().tolist(), strict=True)) if known else {}

    def take(self) -> dict[str, float]:
        """Returns them if they are of this epoch, or else nothing; called at its end."""
        if not read(self.new):
            return {}
        write(self.new, False)
        return self.results()


def check_eval_every(owner: str, every: Trigger) -> Trigger:
    """Returns when to evaluate. Raises `ValueError` if it depends on time."""
    if every.next_time(0.0) is not None:
        raise ValueError(f"{owner} must be in steps or epochs, equal in every run. Received: {every!r}.")
    return every
