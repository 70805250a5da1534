"""What a manifest says of the state that is saved, and of the run."""

import time
from collections.abc import Mapping
from typing import Any

from hooks.checkpoint.record.environment import environment, later
from hooks.checkpoint.record.limit import refuse_if_too_large
from hooks.checkpoint.record.manifest import FORMAT, Manifest, Record, canonical, content
from hooks.checkpoint.record.shape import LARGEST
from loop import Loop, Moment


class Contents:
    """What the manifests of a run say.

    Args:
        loop: The loop, in `on_setup` or later.
    """

    def __init__(self, loop: Loop) -> None:
        self._loop, self._state, self._environment = loop, loop.state, environment()
        self.describe()

    def describe(self) -> None:
        """Describes the state as it is from here on."""
        self._description = self._state.describe()

    def record(self, best: Mapping[str, str | float]) -> Record:
        """Returns what the next checkpoint is one of.

        Args:
            best: What it is to say of the metric that is watched.
        """
        step, epoch, step_in_epoch = self._state.position.place()
        seconds, pending = self._state.seconds, self._state.position.is_pending  # sync: reads one scalar
        return Record(step, pending, epoch, step_in_epoch, seconds, best)

    def parts(self, moment: Moment) -> dict[str, Any]:
        """Returns what a manifest says besides."""
        if self._description["steps"] is not self._state.steps:  # traced since
            self.describe()
        notes, made = self._state.notes(), {"time": time.time(), **later(self._environment), **self._totals()}
        of_steps = {"names": self._state.names, "sketches": self._state.sketches}
        result = {**of_steps, "logs": self._state.logs(), "last": moment.last}
        logs = dict(moment.logs)
        return {"notes": notes, "description": self._description, "logs": logs, "made": made, "result": result}

    def _totals(self) -> dict[str, int]:
        """Returns where this run is to end, as far as that is known: for people."""
        totals = {"total_steps": self._loop.total_steps, "total_epochs": self._loop.total_epochs}
        return {name: total for name, total in totals.items() if total is not None and total < LARGEST}

    def refuse_what_no_manifest_holds(self, moment: Moment, best: Mapping[str, str | float]) -> None:
        """Raises now what encoding a manifest would raise at the first save."""
        variables = len(self._state.variables)
        digests = ("0" * 16,) * variables  # as long as those that there will be
        manifest = Manifest(self.record(best), {}, digests=digests, format=FORMAT, **self.parts(moment))
        refuse_if_too_large(len(canonical(content(manifest))), variables)
