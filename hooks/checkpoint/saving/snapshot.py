"""The training state as it is at one instant, to be written while training goes on."""

from collections.abc import Callable, Mapping, Sequence

import keras
import tensorflow as tf

from loop import TrainingState
from loop.tf_internals import (
    Tensors,
    Trackable,
    save_under_name_of,
    saved_tensors,
    saves_in_old_way,
    saves_tensors,
)

NO_VALUES = (tf.variant, tf.resource)


class StandIn(Trackable):
    """Stands in for an object of the state's object graph: the same children under the same names."""

    def __init__(self) -> None:
        self.children: dict[str, Trackable] = {}

    def _trackable_children(self, save_type: str = "checkpoint", **kwargs: object) -> Mapping[str, Trackable]:
        return self.children


class Leaf(StandIn):
    """Stands in for an object that has values to save.

    Args:
        read: Returns the present values, by the names under which TensorFlow saves them.
    """

    def __init__(self, read: Callable[[], Tensors]) -> None:
        super().__init__()
        self.read, self.held = read, dict[str, tf.Tensor]()

    def _serialize_to_tensors(self) -> Tensors:
        return self.held


class Snapshot:
    """A copy of a state's object graph whose leaves hold values, to be saved as TensorFlow saves such a graph.

    What is saved of it is restored into the state itself. Holding a variable copies nothing: its buffer is shared until
    the variable is updated, and only then does that update make a new one. So the memory of the state is needed twice
    while a snapshot is held.

    Attributes:
        root: What to save.
        leaves: Those in it that hold values.
        values: The values of all variables by path, since `take`.
        others: What stands in for what each of the other workers has for itself, by rank.

    Args:
        state: The state. All variables have to be there.

    Raises:
        TypeError: If an object in it has no way of saving that can be held.
    """

    def __init__(self, state: TrainingState) -> None:
        self._state, self.leaves = state, list[Leaf]()
        self._paths = {id(variable): path for path, variable in state.variables.items()}
        self.values: Mapping[str, tf.Tensor] = {}
        view = tf.train.TrackableView(state.root)
        top = {name: child for name, child in view.children(state.root).items() if name != "save_counter"}
        made: dict[int, StandIn] = {}  # by the id of what each stands in for, which the state holds
        self.root = StandIn()
        self.root.children = {name: self._copy(child, made) for name, child in top.items()}
        # As in a `tf.train.Checkpoint`, which numbers what it saves by this; here that is the step.
        counter = Leaf(lambda: {"VARIABLE_VALUE": self.values["position/step"]})
        self.root.children["save_counter"] = counter
        self.leaves.append(counter)
        queue = list(top.values())
        for node in queue:  # grows while it is read
            for name, child in view.children(node).items():
                if id(child) not in made:
                    queue.append(child)
                made[id(node)].children[name] = self._copy(child, made)

        self.others = {rank: Leaf(dict) for rank in _others(state)}
        self.leaves += self.others.values()
        for rank, leaf in self.others.items():
            # Beside the chief's own: a resume with as many workers finds each its own there.
            self.root.children["data"].children[str(rank)] = leaf

    def hold(self, others: Mapping[int, Tensors]) -> None:
        """Holds what the others have for themselves, by their ranks, as they have told it."""
        for rank, leaf in self.others.items():
            leaf.held = others[rank]

    def take(self) -> None:
        """Holds all values as they are now. A hundred variables take 0.3 ms, whatever their size.

        What is copied is what the iterator of a dataset has buffered, and what is in tables.
        """
        self.values = self._state.values()
        for leaf in self.leaves:
            leaf.held = leaf.read()

    def drop(self) -> None:
        """Lets go of the values."""
        self.values = {}
        for leaf in self.leaves:
            leaf.held = {}  # or the memory of the state would be taken twice until the next save

    def _copy(self, node: Trackable, made: dict[int, StandIn]) -> StandIn:
        if id(node) not in made:
            made[id(node)] = self._made(node)
        return made[id(node)]

    def _made(self, node: Trackable) -> StandIn:
        leaf = None
        if isinstance(node, tf.Variable | keras.Variable):
            path = self._paths.get(id(node.value if isinstance(node, keras.Variable) else node), "")
            if not path:
                raise RuntimeError(f"Variable {node.name!r} was made in on_setup, too late to be restored.")
            if node.dtype in NO_VALUES:
                raise TypeError(
                    f"{path} is a variable of dtype {node.dtype.name}, and no file can hold its value. Keep what that "
                    "is made of in the state, as numbers or texts, and make it anew in the step."
                )
            leaf = Leaf(lambda: {"VARIABLE_VALUE": self.values[path]})
        elif saves_tensors(node):
            leaf = Leaf(lambda: _own(saved_tensors(node)))
        elif saves_in_old_way(node):
            raise TypeError(
                f"{type(node).__name__} in the training state saves itself in an old way, which cannot be held. "
                "Keep what it holds in a tf.Variable."
            )
        if leaf is None:
            return StandIn()
        save_under_name_of(leaf, node)
        self.leaves.append(leaf)
        return leaf


def _others(state: TrainingState) -> Sequence[int]:
    apart = state.apart
    return [] if apart is None else [rank for rank in range(apart.count) if rank != apart.rank]


def _own(tensors: Tensors) -> Tensors:
    """Returns copies: what a dense table exports is the memory that it goes on writing to."""
    return {name: x if x.dtype == tf.variant else tf.raw_ops.DeepCopy(x=x) for name, x in tensors.items()}
