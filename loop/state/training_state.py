"""Everything a resumed run needs, under one root that TensorFlow can save."""

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

import keras
import tensorflow as tf

from loop.comparable import COMPARABLE, FINGERPRINT, as_with
from loop.errors.readonly import ReadOnly
from loop.handles import Resource, keys
from loop.state.beside import digests_beside
from loop.state.captured import StateValues
from loop.state.derived import Derived
from loop.state.differences import Differences, differences, unhashed
from loop.state.gathering import check_given, extra, resources_below, trackable, walk
from loop.state.overridden import Overridden
from loop.state.plain import Kept
from loop.state.position import Position, PositionState
from loop.state.randomness import global_seed, host
from loop.state.randomness import put_back as put_host_back
from loop.state.resumable import OTHER_PIPELINE, Apart, Resumable, Unlike
from loop.state.rows_in_memory import RowsInMemory
from loop.state.settings import Setting, replaced, settings_changed
from loop.state.trainable import trainable_flags, with_trainable
from loop.state.variables import flat, flat_by_path, said_of
from loop.state.weights import has_weights, not_weights
from loop.tensors import put, raw
from loop.tf_internals import op_seeds, put_op_seeds, read_variables

Kind = TypeVar("Kind")
GENERATORS = keras.random.SeedGenerator | tf.random.Generator


class TrainingState:
    """The training state: what the user gave, and what the loop adds to it.

    Build it when every layer, slot and metric exists. Paths are those of TensorFlow's object graph, so
    `tf.train.Checkpoint(model=model).restore(path)` finds a model in a checkpoint of `root`.

    Attributes:
        fingerprint: The version of the hashes in what is described and saved; those of two versions say nothing.
        comparable: Those that can be described as well, within `as_with(version)`.
        root: A `tf.train.Checkpoint` of all of it.
        variables: Every variable of it by path, each once; read-only.
        position: Where the run stands.
        steps: What tells each step function from another one, by name; nothing before they are traced.
        limits: What limits the data, as `describe` says it.
        sketches: What is known of that before, by name; see `sketch`.
        names: The names of the values that each step returns, those that float32 holds and the others, once traced.
        logs: Returns the means of the epoch so far and the results of the latest evaluation, as soon as all is traced.
        unchecked: What compares the rest of a restored checkpoint, to be called with this when all is traced.
        passed: Returns whether more is complete at a place than the run is asked for, so that it trains nothing.
        check: Raises if Python has changed since all was traced, so that this must not be saved.
        settings: What the program has set, by the path of the variable that holds it.
        derived: What layers derive from their variables.
        apart: What this worker has for itself; None if it has nothing.
        goes_by: Returns the variables by which the data are made.
        rows: The rows in memory that the data are made of.
        before_reading: What writes into variables what hooks keep elsewhere, by their names.

    Args:
        given: The user's `state=`.
        own: What the loop adds, by name.
        position: Where the run stands; None if there is no run, for scripts that only want weights.
        data: The train data; None if there is no run.
        evaluated: The data of evaluations, by their names.
        derived: Of what was given; None if nothing was traced.

    Raises:
        TypeError: If a value of `given` has no state that can be saved.
        ValueError: If a key of `given` is one of the loop's own.
    """

    fingerprint, comparable, as_with = FINGERPRINT, COMPARABLE, staticmethod(as_with)

    def __init__(
        self,
        given: Mapping[str, object],
        own: Mapping[str, object] | None = None,
        *,
        position: PositionState | None = None,
        data: Resumable | None = None,
        evaluated: Mapping[str, Resumable] | None = None,
        derived: Derived | None = None,
    ) -> None:
        check_given("state", given)
        self._given, self.position = dict(given), position or PositionState()
        self._data, self._evaluated = data, evaluated or {}
        self.rows = RowsInMemory(data, self._evaluated)
        self.steps: dict[str, object] = {}
        self.settings: Mapping[str, Setting] = {}
        self.limits: Mapping[str, int] = {}
        self.apart: Apart | None = None
        self.goes_by: Callable[[], Iterable[tf.Variable]] = tuple
        self.sketches: dict[str, str] = {}
        self.names: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {}
        self.logs: Callable[[], dict[str, float]] = dict
        self.unchecked: list[Callable[[TrainingState], None]] = []
        self.before_reading: dict[str, Callable[[], None]] = {}
        self.passed: Callable[[int, int, int], bool] = lambda step, epoch, step_in_epoch: False
        self.check: Callable[[], None] = lambda: None  # there is no trace yet that could be out of date
        self.root = tf.train.Checkpoint(**{key: trackable(value, key) for key, value in given.items()})
        self.root.extra = extra(given, self.root)
        for name, part in {"position": self.position, **({"data": data} if data else {}), **(own or {})}.items():
            setattr(self.root, name, part)
        self.variables: dict[str, tf.Variable] = ReadOnly(walk(self.root))  # what is made later: see `late`
        self._kept = {path: each for path, each in flat_by_path(own or {}) if isinstance(each, Kept)}
        self.derived = derived or Derived(given)
        self._overridden = Overridden(self.derived)

    @property
    def seconds(self) -> float:
        """The training time up to the latest halt, over all the runs that the training was cut into."""
        return float(self.variables["clock/seconds"])

    def given(self) -> dict[str, tf.Variable]:
        """Returns the variables of everything that was given, by path."""
        return {p: v for p, v in self.variables.items() if p.removeprefix("extra/").split("/", 1)[0] in self._given}

    def weights(self) -> dict[str, tf.Variable]:
        """Returns the weights of models, layers and modules, by path: no optimizer slots, metrics, random states."""
        others = not_weights(self._given)
        return {path: v for path, v in self.given().items() if id(v) not in others}

    def objects(self, kind: type[Kind]) -> dict[str, Kind]:
        """Returns the objects of a kind in what was given, also in lists and dicts, by path."""
        return {path: part for path, part in flat_by_path(self._given) if isinstance(part, kind)}

    def values(self, *, as_written: bool = False) -> dict[str, tf.Tensor]:
        """Returns the present values, by path. Costs no copy: a variable that is updated later leaves them alone."""
        for write in () if as_written else self.before_reading.values():
            write()
        return dict(zip(self.variables, read_variables([*self.variables.values()]), strict=True))

    def capture(self, *, as_written: bool = False) -> StateValues:
        """Returns all that `rollback` puts back, at no cost of memory; `as_written`, without `before_reading`."""
        values = self.values(as_written=as_written)
        return StateValues(values, host(), [kept.capture() for kept in self._kept.values()], op_seeds())

    def rollback(self, held: StateValues) -> None:
        """Assigns what `capture` returned."""
        with self.restoring():  # who is impatient may interrupt this, too
            for path, value in held.values.items():
                put(self.variables[path], value)
            for back in held.others:
                back()
            put_host_back(held.host)  # last, because a hook may draw while it takes a state over
            put_op_seeds(held.seeds)

    def override(self, values: Mapping[str, tf.Tensor]) -> None:
        """Puts values, by path, in the place of the present ones until the next run, which goes on from those."""
        self._overridden.override(values, self.variables, self.derived)

    def revert(self) -> None:
        """Ends what `override` began."""
        self._overridden.revert(self.variables, self.derived)

    def grow(self, traced: "TrainingState", held: StateValues) -> None:
        """Becomes another state, which was gathered when more of it was there, with the values held of this one."""
        # In place, and not another object: hooks have had this one in their `on_setup`.
        mine = {"unchecked": self.unchecked, "settings": self.settings, "before_reading": self.before_reading}
        vars(self).update(vars(traced), _overridden=self._overridden, **mine)
        now = self.variables  # of `traced`, by now
        values = {p: v for p, v in held.values.items() if p in now and v.shape.is_compatible_with(now[p].shape)}
        self.rollback(held._replace(values=values))

    def in_python(self) -> dict[str, str]:
        """Returns digests of what is saved beside `variables`; see `digests_beside`."""
        return digests_beside(self._kept, self._data)

    def notes(self) -> dict[str, dict[str, int]]:
        """Returns what has to be known before an iterator can be restored, in JSON values."""
        drawn = {f"{name}/{key}": n for name, data in self._evaluated.items() for key, n in data.drawn().items()}
        of_data = self._data.cursor() | drawn | self.rows.cursor() if self._data else {}
        return {"place": self.position.place()._asdict(), "data": of_data}

    def describe(self) -> dict[str, dict[str, object]]:
        """Returns what has to be the same when this state is restored, in JSON values."""
        described = {name: data.describe() for name, data in self._evaluated.items()}
        evaluated = {f"{name}/{key}": value for name, said in described.items() for key, value in said.items()}
        return {
            "state": {key: type(value).__name__ for key, value in self._given.items()},
            "variables": {path: said_of(variable) for path, variable in self.variables.items()},
            "data": (self._data.describe() if self._data else {}) | evaluated | {**self.limits},
            "steps": self.steps,
            "seed": {"tf.random.set_seed": global_seed()},
            "settings": {path: setting.said for path, setting in self.settings.items()},
            "trainable": trainable_flags(self._given, self.variables),
        }

    def differences(self, saved: Mapping[str, Mapping[str, object]], *, hashes: bool = True) -> Differences:
        """Returns how a saved `describe` differs from the present one.

        Args:
            saved: What it returned.
            hashes: Whether the hashes in it are of the same version; else they are not compared.
        """
        now = self.describe()
        saved = saved if hashes else unhashed(saved, now)
        found = differences(saved, now, settings=settings_changed(self.settings, saved.get("settings", {})))
        return with_trainable(found, self._given, self.variables, saved, now)

    def set_again(self, paths: Iterable[str]) -> None:
        """Assigns what the program has set to these variables, in the place of what was restored."""
        for path in paths:
            self.variables[path].assign(self.settings[path].value)

    @functools.cached_property
    def handles(self) -> set[int]:
        """The keys of all variables, tables and iterators that a checkpoint holds; see `loop.handles`."""
        return keys(self.variables.values()) | resources_below(self.root).keys()

    def resources(self) -> dict[int, Resource]:
        """Returns the tables and iterators of everything that was given, by their keys."""
        return {key: each for name in self._given for key, each in resources_below(getattr(self.root, name)).items()}

    def streams(self) -> list[tf.Variable]:
        """Returns the states of random streams that Python may draw from as well as a step."""
        mine = [variable for path, variable in self.variables.items() if path.startswith("random/")]
        return [*mine, *(raw(each.state) for each in flat(self._given) if isinstance(each, GENERATORS))]

    def late(self) -> list[str]:
        """Returns the paths of variables that were made after this state was gathered."""
        return [path for path in walk(self.root) if path not in self.variables]

    @contextlib.contextmanager
    def unless_raised(self) -> Iterator[None]:
        """If anything is raised within, puts variables, data and random states back to what they are now."""
        with contextlib.ExitStack() as raised:
            raised.callback(self._going_back())
            yield
            raised.pop_all()

    @contextlib.contextmanager
    def put_back_after(self) -> Iterator[None]:
        """Puts variables, data and random states back to what they are now, whatever is done within."""
        with contextlib.ExitStack() as left:
            left.callback(self._going_back())
            yield

    @contextlib.contextmanager
    def restoring(self) -> Iterator[None]:
        """Has the state be torn until all within is done, and for good if that raises: nobody trains on it."""
        torn, self.position.torn = self.position.torn, True
        yield
        self.position.torn = torn

    def _going_back(self) -> Callable[[], None]:
        held, torn = self.capture(), self.position.torn  # tensors share the buffers: no copy
        mark = self._data.mark() if self._data else lambda: None

        def back() -> None:
            mark()
            self.rollback(held)
            self.position.torn = torn

        return back

    def of_data(self) -> list[str]:
        """Returns the paths of the variables by which the data are made: what was saved of them is needed by `seek`."""
        wanted = {id(variable) for variable in self.goes_by()}
        return [path for path, variable in self.variables.items() if id(variable) in wanted]

    def seek(self, notes: Mapping[str, Mapping[str, int]]) -> list[str]:
        """Goes to the place in the data where a run was when it took these notes; to be done before `restore`.

        Returns:
            A line for everything in which the data are seen not to be what they were.
        """
        self.position.torn = True
        return self._data.seek(Position(**notes["place"]), notes["data"]) if self._data else []

    def take_over(self, path: str) -> None:
        """Restores what was given, for scripts, whose programs have not set what they read here."""
        before = {name: v.read_value() for name, v in self.given().items() if v.shape.rank in (0, 1)}
        self.root.restore(path).expect_partial()
        self.derived.again()
        for name, value in before.items():
            replaced(self.variables[name], value)

    def keys_of_weights(self) -> list[str]:
        """Returns the names under which layers and modules were given."""
        return [key for key, value in self._given.items() if has_weights(value)]

    def restore(self, path: str) -> None:
        """Takes over a checkpoint of an equal state. Compare with `differences`, and `seek`, before: this one assigns.

        Raises:
            ValueError: If TensorFlow cannot restore an iterator, because the pipeline has other stages or options.
        """
        self.position.torn = True
        try:
            self.root.restore(path).expect_partial()  # a hook that is gone has left something in it
        except Unlike:  # already says what is other
            raise
        except Exception as error:  # of files that somebody has written so, TensorFlow raises anything
            raise ValueError(OTHER_PIPELINE.format(path, error)) from error
        # Only now: who raises above leaves the state torn.
        self.position.restored()

    def condemn(self, why: str) -> None:
        """Says, in the course of a round, that the state must not be saved, nor trained on until it is restored.

        No hook that saves is called at the end of the round. The next run restores it, or is refused.
        """
        self.position.condemned = why
