"""Which values are the best of a run so far, of those that its hooks watch."""

from collections.abc import Callable

from hooks.shared.monitor import Monitor
from loop import Loop


class BestSoFar:
    """Marks a value that is better than all before it in this run.

    Attributes:
        watched: The names of the values of which a hook says what is better.
        names: Those whose latest value is the best.

    Args:
        loop: The loop, for the monitors of its hooks.
    """

    def __init__(self, loop: Loop) -> None:
        # Hooks need not know of this: their monitors are found among their attributes.
        found = [value for hook in loop.hooks for value in vars(hook).values() if isinstance(value, Monitor)]
        self._monitors = {monitor.name: monitor for monitor in found}
        self.watched, self.names = [*self._monitors], set[str]()
        self._best: dict[str, float] = {}

    def compare(self, value_of: Callable[[Monitor], float | None]) -> None:
        """Takes in new values: of each monitor, what this returns of it; None: there is none."""
        for name, monitor in self._monitors.items():
            if (value := value_of(monitor)) is not None:
                best = self._best.get(name, value)
                # Any difference counts here; `min_delta` is for those that decide something.
                better = value < best if monitor.mode == "min" else value > best
                self.names.discard(name)
                if better:
                    self.names.add(name)
                if better or (name not in self._best and value == value):
                    self._best[name] = value
