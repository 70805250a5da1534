"""What is known before anything is traced: whether anything is left to run, and the state where nothing is."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol, TypeAlias

import numpy as np
import tensorflow as tf

from loop.data.arrays import ArrayData
from loop.data.indexed import IndexedData
from loop.engine.traced.means import Means
from loop.engine.traced.results import measured
from loop.evaluation import Evaluation
from loop.exact.drawn_names import drawn_arguments
from loop.exact.text import program_text
from loop.hook import Hook
from loop.running.parts import Parts
from loop.state.derived import Derived, listed
from loop.state.differences import Description
from loop.state.rows_in_memory import TEXT, RowsInMemory
from loop.state.settled import is_settled
from loop.state.training_state import TrainingState
from loop.state.variables import said_of
from loop.steps import Step
from loop.stops import Stops
from loop.tensors import read

log = logging.getLogger("exactloop")
ADAPTED = (
    "%s other values in this process than when the run began, which goes on with those that it began with. If they "
    "come of what was drawn, or shuffled, without a seed, as by adapt, that is right. If the data were edited, start "
    "afresh in another directory."
)
ROUNDED = (
    "%s other values in this process than when the run began, which differ in their last digits alone, as where adapt "
    "reads rows in the order in which threads have them. The run goes on with those that it began with."
)
ROUNDING = 1e-5  # of the largest value of a layer: what sums of float32 differ by in another order
Names: TypeAlias = Sequence[Sequence[str]]  # of the values of a step: those that float32 holds, and the others


class Saved(Protocol):
    """What would be restored, as far as that is known before.

    Attributes:
        step: Train steps completed.
        epoch: Epochs completed.
        pending: Whether anything was still to be done there.
        last: Whether a run ended there.
        description: What `TrainingState.describe` said.
        names: The names of the values that each step returned, as in `TrainingState.names`.
        sketches: What told the steps from others, as in `TrainingState.sketches`.
        logs: What `RunResult.logs` was, or would have been.
        notes: What `TrainingState.notes` had of the data.
    """

    step: int
    epoch: int
    pending: bool
    last: bool
    description: Description
    names: Mapping[str, Names]
    sketches: Mapping[str, str]
    logs: Mapping[str, float]
    notes: Mapping[str, int]

    def values(self, variables: Mapping[str, tf.Variable]) -> Mapping[str, tf.Tensor]:
        """Returns what was saved of some variables of the state, by path; nothing if it cannot be read."""
        ...

    def rows(self) -> Mapping[str, tf.Tensor]:
        """Returns the rows in memory that were kept with it; nothing if there are none."""
        ...


class Untraced:
    """The state of a loop that has nothing left to run, gathered without a trace.

    Attributes:
        state: The state, to be restored in `SETUP`. If the loop is traced after all, it grows.
        train_names: What `Loop.train_names` would be.

    Args:
        saved: What will be restored.
        step: The train step.
        evaluations: The evaluations. Their variables are made.
        gather: Gathers the state with these means of the train step.
        reported: The names that hooks announce.
    """

    def __init__(
        self,
        saved: Saved,
        step: Step,
        evaluations: Iterable[Evaluation],
        gather: Callable[[Means], TrainingState],
        reported: Sequence[str],
    ) -> None:
        self._gather, self._means = gather, Means(*map(tuple, saved.names["train"]))
        for evaluation in evaluations:
            narrow, wide = saved.names[evaluation.name]
            results = measured(evaluation.step, saved.logs, f"{evaluation.name}_")
            evaluation.make_results(tuple(narrow), tuple(wide), results)
        self.train_names: tuple[str, ...] = tuple(
            sorted({*measured(step, saved.logs), *(name for names in saved.names["train"] for name in names)})
        )
        known = {*self.train_names, *reported, *(name for evaluation in evaluations for name in evaluation.names)}
        self._logs = {name: value for name, value in saved.logs.items() if name in known}
        self.state = self._gathered()

    def begin_again(self) -> TrainingState:
        """Gathers the state for another run, because hooks may have been added."""
        unchecked = self.state.unchecked
        self.state = self._gathered()
        self.state.unchecked = unchecked
        return self.state

    def _gathered(self) -> TrainingState:
        state = self._gather(self._means)
        # Those that were saved: results that are computed without a trace may have other bits.
        state.logs = lambda: self._logs
        return state


def saved_by(parts: Parts) -> Saved | None:
    """Returns what would be restored; None if that is nothing, or, of several workers, the first one alone knows."""
    return None if parts.several else next((found for hook in parts.hooks if (found := hook.saved_place())), None)


def recall_counts(parts: Parts, saved: Saved) -> None:
    """Lets data have as many rows as when the run began, if a program without a seed has chosen more or fewer now.

    Before anything is traced, because what is traced knows how many there are.
    """
    by_name = {"": parts.data, **{f"{name}/": data for name, data in parts.evaluated.items()}}
    then = saved.description["data"]
    others = {
        name: data
        for name, data in by_name.items()
        if isinstance(data, ArrayData | IndexedData)
        and then.get(f"{name}rows", then.get(f"{name}items", data.count)) != data.count
    }
    if others:
        rows = RowsInMemory(parts.data, parts.evaluated)
        for name, cursor, earlier in rows.earlier(saved.notes, saved.rows, sure=True):
            if name in others:
                others[name].recall_count(cursor, earlier)


def recall_derived(parts: Parts, saved: Saved) -> None:
    """Lets layers derive what they did when the run began, if chance has adapted them otherwise now.

    That is, if a program without a seed has, or if rows were added up in another order. Before anything is traced,
    because what is traced has that as constants.
    """
    if not (deriving := {id(variable) for variable in Derived(parts.given).variables()}):
        return
    state, then = parts.gather(Means((), ())), saved.description["variables"]
    now = {path: variable for path, variable in state.variables.items() if id(variable) in deriving}
    if any(then.get(path) != said_of(variable) for path, variable in now.items()):
        return  # which is refused
    values = saved.values(now)
    names = values and state.derived.other_with({id(now[path]): value for path, value in values.items()})
    if names and (told := ROUNDED if _are_rounded(now, values) else ADAPTED if _are_drawn(saved) else ""):
        for path, value in values.items():
            now[path].assign(value)
        state.derived.again()
        log.warning(told, listed(names))


def _are_drawn(saved: Saved) -> bool:
    """Returns whether what layers were adapted to may be drawn or shuffled without a seed. It takes its time."""
    text = program_text()
    if text.number != saved.notes.get(TEXT) or is_settled():
        return False
    return bool(text.draws or drawn_arguments(frozenset(["adapt"])))


def _are_rounded(now: Mapping[str, tf.Variable], then: Mapping[str, tf.Tensor]) -> bool:
    """Returns whether variables of layers have their earlier values, but for the last digits."""
    layers: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for path, variable in now.items():
        layers.setdefault(path.rpartition("/")[0], []).append((read(variable), then[path].numpy()))
    for pairs in layers.values():
        within = ROUNDING * max((np.abs(was).max(initial=0) for _, was in pairs if was.dtype.kind == "f"), default=0)
        for own, was in pairs:
            if not (np.allclose(own, was, 0, within) if was.dtype.kind == "f" else np.array_equal(own, was)):
                return False
    return True


def untraced(
    parts: Parts, saved: Saved | None, gather: Callable[[Means], TrainingState], stops: Stops
) -> Untraced | None:
    """Returns the state of a loop that has nothing left to run when it is restored; None if something may be left.

    Also None if it does not fit as far as that can be compared, or has variables that only a trace makes.

    Args:
        parts: What the loop is made of.
        saved: What will be restored; None if nothing will, as far as is known.
        gather: Gathers the state with given means of the train step.
        stops: What the run is asked to reach.
    """
    step, evaluations, hooks = parts.step, parts.evaluations, parts.hooks
    if saved is None or saved.pending or not {"train", *(each.name for each in evaluations)} <= saved.names.keys():
        return None  # or the names of what is logged come of a trace only
    # The totals alone, from the manifest: no file with values is opened for it.
    complete = stops.reached(saved.step, saved.epoch)
    deciding = [hook for hook in hooks if type(hook).reason_to_end is not Hook.reason_to_end]
    if not complete and not (saved.last and deciding):  # a run that was killed goes on
        return None
    # Makes variables of evaluations; if this comes to nothing, the trace makes others in their place.
    gathered = Untraced(saved, step, evaluations, gather, hooks.reports.names)
    other = gathered.state.differences(saved.description)
    # A hash of each step's Python: an empty one says that nobody can tell.
    changed = [name for name, own in gathered.state.sketches.items() if not own or own != saved.sketches[name]]
    if any(other) or changed:  # what that means is seen when it is traced
        return None
    return gathered if complete or _will_end(deciding, saved, gathered.state) else None


def why_over(hooks: Iterable[Hook]) -> str:
    """Returns why the run is over, if the state of one of the hooks says so; else nothing."""
    return next((reason for hook in hooks if (reason := hook.reason_to_end())), "")


def _will_end(deciding: Sequence[Hook], saved: Saved, state: TrainingState) -> bool:
    """Returns whether one of the hooks will say, when its variables are restored, that the run is over."""
    below = tuple(f"hooks/{hook.name}/" for hook in deciding)
    variables = {path: variable for path, variable in state.variables.items() if path.startswith(below)}
    # The values themselves; nothing is copied until they are assigned.
    before = {path: read(variable) for path, variable in variables.items()}
    try:
        for path, value in saved.values(variables).items():
            variables[path].assign(value)
        return why_over(deciding) != ""
    finally:
        for path, value in before.items():
            variables[path].assign(value)
