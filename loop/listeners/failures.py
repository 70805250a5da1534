"""What becomes of exceptions out of hooks: which do not end a run, and which of several comes out."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Final

from loop.errors.kinds import shown
from loop.hook import Hook, has_state
from loop.logs import LOGGER

RAISE, WARN, DISABLE = ON_ERROR = ("raise", "warn", "disable")
GOES_ON: Final = {
    WARN: "Training goes on, and the hook is called again; what it has left out is missing, unless it catches up.",
    DISABLE: "Training goes on, and the hook is not called again before this run ends.",
}


def check_on_error(hook: Hook) -> None:
    """Raises `ValueError` if `on_error` is none that this hook can have."""
    if hook.on_error not in ON_ERROR:
        known = ", ".join(map(repr, ON_ERROR))
        raise ValueError(f"Hook {hook.name!r} needs an on_error of {known}. Received: {shown(hook.on_error)}.")
    # What it has reported is written by `moment.report`, and not by code of its own.
    reported = hook.last_reported.variables if hook.last_reported else ()
    has_variables = len(hook.variables) > len(reported)
    if hook.on_error != RAISE and (hook.saves or has_variables or has_state(hook)):
        kept = "variables" if has_variables else "a state"
        why = "saves the state" if hook.saves else f"has {kept}, which an error may leave half-changed"
        raise ValueError(f"Hook {hook.name!r} {why}. Received: on_error={hook.on_error!r}. Write on_error='raise'.")


class Tolerance:
    """Knows which hooks of a run have failed, and says so once of each."""

    def __init__(self) -> None:
        self._failed: dict[str, str] = {}  # by the name of a hook: what its on_error was

    def is_off(self, name: str) -> bool:
        """Returns whether a hook is to be called no more."""
        return self._failed.get(name) == DISABLE

    def takes(self, hook: Hook, method: str, error: BaseException) -> bool:
        """Returns whether the run goes on without what a method of a hook would have done."""
        # No SystemExit or KeyboardInterrupt: these are of who wants the process to end.
        if hook.on_error == RAISE or method == "on_setup" or not isinstance(error, Exception):
            return False
        # Once in a run: a hook of each step would fill the log.
        if hook.name not in self._failed:
            LOGGER.warning(
                "Hook %r failed in %s: %s. %s To end the run instead: on_error='raise'.",
                hook.name, method, _told(error), GOES_ON[hook.on_error]
            )  # fmt: skip
        self._failed[hook.name] = hook.on_error
        return True


class Failures:
    """What was raised in turn: the first comes out, and the others are told in its notes."""

    def __init__(self) -> None:
        self.raised: list[BaseException] = []

    def __bool__(self) -> bool:
        return bool(self.raised)

    @contextlib.contextmanager
    def kept(self, *kinds: type[BaseException]) -> Iterator[None]:
        """Keeps what is raised within, if it is of one of these kinds."""
        try:
            yield
        except kinds as error:
            self.raised.append(error)

    def come_out(self) -> None:
        """Raises the first, if there is one; first of all what is no `Exception`: somebody wants the end."""
        if self.raised:
            raise with_notes(sorted(self.raised, key=lambda error: isinstance(error, Exception)))


def with_notes(raised: Sequence[BaseException]) -> BaseException:
    """Returns the first of several exceptions, with the others as notes."""
    for also in raised[1:]:
        with contextlib.suppress(Exception):  # if it cannot be shown or takes no notes, the first comes out as it is
            raised[0].add_note(f"Then {also!r}: {' '.join(getattr(also, '__notes__', ()))}")
    return raised[0]


def _told(error: Exception) -> str:
    with contextlib.suppress(Exception):
        return f"{type(error).__name__}: {error}".rstrip(".")
    return type(error).__name__
