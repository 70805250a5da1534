"""One run, seen from outside: its files, each of which is read on where that was left."""

from exactloop.watching.events import EventReader
from exactloop.watching.found import found
from exactloop.watching.rows import RowReader
from exactloop.watching.saves import Saves
from exactloop.watching.status import Status, status


class WatchedRun:
    """The files of a run, read on each time one looks.

    Args:
        directory: Where they are.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._saves, self._values = dict[str, Saves](), dict[str, EventReader | RowReader]()

    def look(self) -> Status | None:
        """Returns what is known now; None if there is nothing of a run."""
        there, values = found(self._directory), self._values
        # Kept from look to look, so each reads only what is new; what is gone is forgotten.
        self._saves = {path: self._saves.get(path) or Saves(path) for path in there.saves}
        # In the order of their names, which is that of the sessions: later ones overwrite points of earlier ones.
        of_events = {path: values.get(path) or EventReader(path) for path in sorted(there.events)}
        self._values = of_events | {path: values.get(path) or RowReader(path) for path in there.rows}
        # One file that cannot be read must not hide the others.
        wrong = [_read(each) for each in (*self._saves.values(), *self._values.values())]
        wrong += [each.wrong for each in self._saves.values()]
        manifests = [manifest for each in self._saves.values() for manifest in each.manifests]
        series = [each.series for each in self._values.values()]
        if not self._saves and not any(each.points or each.means or each.times for each in series):
            return None
        return status(
            self._directory,
            series,
            sorted(manifests, key=lambda manifest: manifest.record.order),
            holders=[each.holder() for each in self._saves.values()],
            changed=max((each.changed for each in self._values.values()), default=0.0),
            wrong=[said for said in wrong if said],
        )


def _read(reader: Saves | EventReader | RowReader) -> str:
    try:
        reader.read()
    except FileNotFoundError:  # it was there a moment ago
        return ""
    except OSError as error:
        return str(error)
    return ""
