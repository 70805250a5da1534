"""The training loop."""

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import ClassVar, NoReturn, TypeVar

import keras

from loop import standard
from loop.data.coerce import Given
from loop.data.own_files import OwnFiles
from loop.digest import BatchDigest
from loop.errors import members
from loop.errors.calls import explained
from loop.errors.elsewhere import OF_EVALUATE, OF_LOOP, OF_RUN
from loop.errors.members import explaining_members
from loop.errors.tracebacks import in_user_lines
from loop.evaluation import Evaluation
from loop.events import Event, RunResult
from loop.findings import Finding
from loop.hook import Hook
from loop.run import Run
from loop.running.alone import Alone
from loop.running.assembled import assembled
from loop.running.dry_run import leaving_nothing
from loop.running.facts import Facts
from loop.running.making import Making
from loop.running.rehearsal import Rehearsal, loop_on_one_batch
from loop.running.turns import Turns
from loop.steps import Step, Values
from loop.stops import RollBack, check_totals
from loop.tensors import Nest
from loop.triggers import NEVER, Every, Trigger

Function = TypeVar("Function", bound=Callable[..., object])


@explaining_members(members.OF_LOOP, never_set=members.SET_ON_LOOP)
@explained(OF_LOOP)
class Loop(Facts):
    """A training loop that runs as one compiled function from one wanted step to the next.

    Attributes:
        on_created: Functions that are called with each new loop, for tools that watch all loops of a process.

    Args:
        train_step: A `Step`, or a function from a batch to `{name: scalar}`.
        data: `ArrayData`, `StreamData`, `IndexedData`, `StatefulData`, a batched `tf.data.Dataset`, or a
            `keras.utils.PyDataset`.
        state: What the step changes, by name: Keras models, layers, optimizers, metrics, `SeedGenerator`s;
            `tf.Module`s, `tf.Variable`s, `tf.random.Generator`s; lists and dicts of them.
        evaluate: One `Evaluation`, or several with different names.
        eval_every: When to evaluate what has no `every` of its own; not by seconds, because results, and what hooks
            make of them, are state.
        hooks: The hooks, in the order in which they are called; callbacks of Keras may be among them.
        steps_per_epoch: For a bare dataset: after how many batches an epoch ends; see `StreamData`.
        limit_batches: To try a program: the largest number of batches in an epoch, and in an evaluation. The next epoch
            begins anew.
        overfit: To see whether a model can learn at all: trains on the first so many batches, the same in each epoch,
            and evaluates as many. Of `ArrayData`, not shuffled; or a `tf.data.Dataset`, kept in memory.
        jit_compile: Whether to compile the whole loop, and evaluations, into one program of XLA each: on a CPU several
            times as fast for small networks and recurrent ones, and slower with convolutions. Batches are dense
            tensors of numbers; has other bits than without.
        exact: Whether to refuse to run what could not be resumed exactly, with a list of all reasons; or else to log
            the list. See `audit`.

    Raises:
        TypeError, ValueError: If an argument cannot be used; the message says what would do.
    """

    on_created: ClassVar[list[Callable[["Loop"], None]]] = []

    def __init__(
        self,
        train_step: Step | Callable[[Nest], Values],
        data: Given,
        *,
        state: Mapping[str, object],
        evaluate: Evaluation | Sequence[Evaluation] | None = None,
        eval_every: Trigger = Every(epochs=1),
        hooks: Sequence[Hook | keras.callbacks.Callback] = (),
        steps_per_epoch: int | None = None,
        limit_batches: int | None = None,
        overfit: int | None = None,
        jit_compile: bool = False,
        exact: bool = True,
    ) -> None:
        # Nothing is traced yet: hooks may still be added.
        parts = assembled(
            train_step,
            data,
            state,
            evaluate=evaluate,
            eval_every=eval_every,
            hooks=hooks,
            steps_per_epoch=steps_per_epoch,
            limit_batches=limit_batches,
            overfit=overfit,
            jit_compile=jit_compile,
        )
        super().__init__(parts, Making(parts, exact=exact))
        self._exact = exact
        self._alone = Alone()
        self._turns = Turns(parts.step)
        self._run: Run | None = None  # the latest; a dry run is forgotten
        self._under_way = False
        # Last: `exactloop prove` sees loops of scripts that it does not know, and each has to be whole by then.
        for created in self.on_created:
            created(self)

    @explained(OF_RUN, kinds=False)
    def run(self, *, epochs: int | None = None, steps: int | None = None) -> RunResult:
        """Trains until that many epochs or steps are completed in all, whichever comes first, or somebody stops it.

        The totals count from the very first start, so a script that is finished and started again does nothing.

        Raises:
            ValueError: If neither is given or one is not positive.
            InexactRun: With `exact`, if `audit` finds anything.
            RuntimeError: If this loop is running, or an earlier run failed and nothing restored its state; or if layers
                were frozen or unfrozen, or anything else in Python was changed, that is compiled into the steps.
        """
        totals = check_totals(epochs, steps)
        with self._alone.taken("This loop is running. A hook, or another thread, cannot run it at the same time."):
            try:
                self._under_way = True
                standard.occupy()
                self._parts.stops.begin(*totals)  # before hooks are entered: a stop that comes while they are counts
                second = self._run is not None and not self._run.idle
                run = self._run = Run(self, self._parts, self._making, exact=self._exact, is_second=second)
                with contextlib.ExitStack() as around, self.workers.needed(), self._turns.taken():
                    around.enter_context(self.hooks.calls.around(self))  # and left when the others need nobody any more
                    return run.through()
            finally:
                self._under_way = False

    @explained({"reason": "write loop.stop('why')"}, kinds=False)
    def stop(self, reason: str) -> None:
        """Ends the run after the step in progress; may be called from any thread.

        An evaluation is abandoned, or not begun, and made up for when the run is resumed.
        """
        self._parts.stops.now(reason)

    def roll_back(self, why: str, *, latest: int | None = None) -> NoReturn:
        """Has the run go on from the newest state that was saved, as if it had been killed and started again.

        To be called by a hook in `on_step_end`, `on_eval_end` or `on_epoch_end`, where it raises what the loop waits
        for, which is no `Exception`. Hooks hear `RUN_END`, with that as `moment.error`, and then `SETUP`; what they
        know of the steps that are undone goes with their state.

        Args:
            why: What to say if there is nothing to go on from, or the hook cannot be called here.
            latest: The last step that the state may be of; None: any.
        """
        # Raised in another thread, it would not reach the run, which would go on, condemned, and save nothing.
        if not self._parts.position.torn or not self._alone.is_mine:
            raise RuntimeError(
                f"A run is rolled back by a hook, in on_step_end, on_eval_end or on_epoch_end. Asked for: {why}."
            )
        # Also for a hook that catches what is raised: the round then goes on, and must not be saved.
        self.state.condemn(why)
        self._parts.position.latest = latest
        raise RollBack(why)

    @in_user_lines
    def on(
        self, event: Event | str, every: Trigger = NEVER, *, reports: Sequence[str] = ()
    ) -> Callable[[Function], Function]:
        """Decorates a function that is called at each such event; see `HookRegistry.on`."""
        return self.hooks.on(event, every, reports=reports)

    @property
    def running(self) -> bool:
        """Whether `run` is under way, in whatever thread."""
        return self._under_way

    @property
    def finished(self) -> str:
        """From `RUN_BEGIN` on: why nothing is left to do of what `run()` was asked for; empty if something is."""
        return self._run.finished if self._run else ""

    @property
    def spent(self) -> dict[str, float]:
        """The seconds of the latest run, so far, by what they went into; see `RunResult`. Empty before the first."""
        return self._run.spent.with_rest(self.hooks.seconds) if self._run else {}

    @explained(OF_EVALUATE)
    def evaluate(self) -> dict[str, float]:
        """Evaluates now and returns the results: no events, and no effect on any state.

        Raises:
            RuntimeError: If there is no evaluation, or the loop is running in another thread; or if something was
                changed in Python that is compiled into an evaluation.
        """
        elsewhere = "This loop is running in another thread. Evaluate in a hook, or when it has ended."
        # A hook has it, or whoever is between the steps of a rehearsal.
        with contextlib.nullcontext() if self._alone.is_mine else self._alone.taken(elsewhere):
            if not self._parts.evaluations:
                raise RuntimeError("There is nothing to evaluate: this loop was made without evaluate=Evaluation(...).")
            self._making.build()
            self.state.derived.check()
            # A layer that was frozen since the trace would be evaluated as it was.
            self._built.check(self.state, evaluating=True, at_length=True)
            self._making.caught_up.tell_evaluated(self.step)
            held = self.state.capture()  # metrics, results and random streams are state: nobody is to see this
            try:
                with self.workers.needed():
                    for evaluation in self._parts.evaluations:
                        # Not even for a stop: whoever asked for results gets all of them.
                        self._built.evaluate(evaluation, abandon=lambda: False)
                return self._built.evaluated()
            finally:
                self.state.rollback(held)

    @contextlib.contextmanager
    def rehearse(self) -> Iterator[Rehearsal]:
        """Trains as `Rehearsal.train` is asked to, from the present state, and leaves no trace of that.

        No hook is called, nothing is evaluated, and the present epoch is read from its beginning. When it is left, all
        variables, random states and the place in the data are put back, bit for bit. Between calls of `train`,
        variables of the state may be assigned. Only what Python does by itself, as in a function of the data or in a
        step, is not undone.

        Raises:
            RuntimeError: If the loop is running.
        """
        with self._alone.taken("This loop is running. Rehearse before a run or after it."):
            # Without the parts of hooks, which need what they have from `around_run` on.
            self._making.build_alone()
            self._built.check(self.state, at_length=True)
            # Whatever is raised here in one of several workers, the others wait in a step for it.
            with self.workers.needed(), self.state.put_back_after():
                # The compiled loop counts on from here; what it was is put back with the rest.
                self._parts.position.step_in_epoch.assign(0)
                self._built.reset()
                chunk, epoch = self._built.chunk, self._parts.position.place().epoch
                again = functools.partial(loop_on_one_batch, self._parts, self._built.trace)
                yield Rehearsal(chunk, self._parts.data, epoch, again)

    @in_user_lines
    def dry_run(self) -> RunResult:
        """Trains one step and evaluates one batch, with all hooks and every event, and puts everything back.

        To be called before `run()`, to see within seconds whether all of a program works. Every `on_step_end` and every
        evaluation is due, checkpoints are saved, and what hooks write goes to a directory that is removed; callbacks of
        Keras, which write elsewhere, are left out, and so is what there is to resume. Files that a hook of your own
        writes stay, unless it overrides `before_dry_run`.

        Returns:
            The result of that step.

        Raises:
            RuntimeError: If something was trained or restored, or a run is under way.
            InexactRun: As `run()` raises it.
        """
        if self._alone.is_taken or self._making.begun or self.step:
            raise RuntimeError("A dry run is for the beginning, before run(). Make the loop anew, and begin with it.")
        self._making.build()
        with leaving_nothing(lambda: self.state, self.hooks, self._parts.data.mark), self._parts.limit.dry():
            try:
                return self.run(steps=1)
            finally:
                self._making.begun = False
                self._run = None

    @in_user_lines
    def audit(self) -> list[Finding]:
        """Returns what would keep a run from being resumed exactly, as far as it can be seen in what was traced.

        That is: what the steps change and no checkpoint would hold; random numbers from streams that cannot be saved;
        calls of Python; data that do not come again in the same order. What hooks keep in Python cannot be seen.
        """
        self._making.build()
        return self._built.audit(self.state)

    def digest_batches(self) -> None:
        """Makes a digest of the batches of the current pass a part of the state, `position/seen/digest`.

        For tools that compare runs; to be called before the loop is first run or audited.
        """
        data = self._parts.data
        data.seen = data.seen or (data.digested() if isinstance(data, OwnFiles) else BatchDigest())
        if self._parts.several:  # each worker reads the whole batch now, because the digest is of that
            self._parts.several.read_apart(self._parts.data)
