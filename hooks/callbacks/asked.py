"""Whether a callback has asked for the end of the run, in what is saved."""

from collections.abc import Mapping

import tensorflow as tf

from hooks.shared.texts import in_bytes, text_in

WAITS = "waits"  # the fourth line of what is saved, or none


class Asked:
    """Which callback has asked for the end, and whether a step that has begun is to be made before it.

    Args:
        saved: A variable, the bytes of a text: a callback, what it was made with, the reason, and maybe `WAITS`.
        settings: What each callback is made with now. What others have asked for does not count.
    """

    def __init__(self, saved: tf.Variable, settings: Mapping[str, str]) -> None:
        self._saved, self._settings = saved, settings

    @property
    def reason(self) -> str:
        """Why a callback asks for the end; empty if none does."""
        return self._said()[2]

    @property
    def waits(self) -> bool:
        """Whether a step is to be made before the end."""
        return self._said()[3] == WAITS

    def by(self, key: str, *, waits: bool) -> None:
        """Notes which callback asks, if none has."""
        if not self.reason:  # the first one counts: `RunResult.reason` names it
            self._say(key, self._settings[key], f"{key} has set model.stop_training", *([WAITS] if waits else []))

    def waits_no_more(self) -> None:
        if self.waits:
            self._say(*self._said()[:3])

    def _said(self) -> tuple[str, str, str, str]:
        said: list[str] = text_in(self._saved).split("\n")
        # sync: reads a few bytes. Fewer lines than four are filled up: so what earlier versions saved is read as well.
        key, settings, reason, waits, *_ = [*said, "", "", "", ""]
        return (key, settings, reason, waits) if self._settings.get(key) == settings else ("", "", "", "")

    def _say(self, *said: str) -> None:
        self._saved.assign(in_bytes("\n".join(said)))
