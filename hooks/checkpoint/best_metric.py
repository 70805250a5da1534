"""The metric by which the best checkpoints are chosen, and what it was at the step that is to be saved."""

from hooks.shared.monitor import Monitor
from loop import Loop


class BestMetric:
    """What was measured of a metric last, and at which step.

    Args:
        monitor: The metric; None: nobody wants the best.
    """

    def __init__(self, monitor: Monitor | None) -> None:
        self._monitor = monitor
        self._latest: tuple[int, float] | None = None  # not saved: manifests have what it was at each step

    def begin(self, loop: Loop) -> None:
        """Forgets what was measured, also where an exception has cut a round short. Raises what `attach` does."""
        self._latest = None
        if self._monitor:
            self._monitor.attach(loop)

    def take(self, step: int, value: float) -> None:
        """Takes in what it is at a step."""
        self._latest = step, value

    def value(self, step: int) -> float | None:
        """Returns what the metric was at this very step; a stop may have a step settled twice."""
        return self._latest[1] if self._latest and self._latest[0] == step else None

    def said(self, step: int) -> dict[str, str | float]:
        """Returns what the metric was at a step, for its record; nothing if it was not measured there."""
        if self._monitor and (value := self.value(step)) is not None:
            return {"name": self._monitor.name, "mode": self._monitor.mode, "value": value}
        return {}
