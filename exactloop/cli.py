"""The command `exactloop`: what it is asked for. Without TensorFlow, so that help comes at once."""

import difflib
import io
import itertools
import os
import signal
import sys
import types
from collections.abc import Callable, Mapping, Sequence

from absl import flags

from exactloop import __version__
from exactloop.helps import HELPS, USAGE
from exactloop.options import AT_ONCE, COUNTS, HELP, OF, VERSION
from exactloop.quiet import quiet
from hooks.shared.plain import escaped


def main(arguments: Sequence[str]) -> int:
    """Runs one command.

    Args:
        arguments: The name of the program, the command, and what it is given.

    Returns:
        The exit status.
    """
    command, *given = arguments[1:] or [""]
    if HELP.value:  # before anything is said of wrong arguments
        print(HELPS.get(command, USAGE))
        return 0
    if VERSION.value:
        print(f"exactloop {__version__}")
        return 0
    if len(given) not in COUNTS.get(command, ()):
        _say(_wrong(command, given))
        return 2
    if said := _ignored(command):
        _say(f"exactloop {command}: {said}\n\n{HELPS[command]}")
        return 2
    try:
        return _commands(command, given)[command](*given)
    except BrokenPipeError:  # an OSError, but no message: nobody reads
        raise
    # What tools raise on purpose, in sentences. Anything else is a fault here, and shows its traceback.
    except (OSError, RuntimeError, ValueError, UserWarning) as error:
        _say(f"exactloop {command}: {error}")
        return 2
    except KeyboardInterrupt:
        _say(f"exactloop {command}: interrupted")
        return 128 + signal.SIGINT


def _commands(command: str, given: Sequence[str]) -> Mapping[str, Callable[..., int]]:
    """Imports what a command needs. TensorFlow, which takes seconds, is needed for those that read values."""
    # Before TensorFlow: the launcher forks, which is safe only while there is one thread.
    if command == "launch":
        from exactloop.launching.command import COMMANDS
    elif command == "speed":
        from exactloop.speed.command import COMMANDS
    elif command in AT_ONCE and not any("://" in each for each in given):
        from exactloop.looking import COMMANDS
    else:
        with quiet():
            from exactloop.commands import COMMANDS
    return COMMANDS


def _ignored(command: str) -> str:
    """Returns what is wrong with flags that a command does not know; nothing, if nothing is."""
    wrong = [name for name, known in OF.items() if command not in known and flags.FLAGS[name].present]
    return f"it takes no --{wrong[0]}; that is for: {', '.join(OF[wrong[0]])}." if wrong else ""


def _wrong(command: str, given: Sequence[str]) -> str:
    """Returns what is wrong with a command, and what to write."""
    if not command:
        return USAGE
    if command in HELPS:
        received = f"Received: {', '.join(map(repr, given)) or 'none'}"
        return f"exactloop {command}: another number of arguments is needed. {received}.\n\n{HELPS[command]}"
    # A misspelling, or a name with something behind it, as in `shows`.
    close = difflib.get_close_matches(command, COUNTS, n=1) or [close for close in COUNTS if command.startswith(close)]
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f"exactloop: there is no command {command!r}.{hint} There are: {', '.join(COUNTS)}.\n\n{USAGE}"


def run() -> None:
    """The entry point of the command."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup has it
            signal.signal(number, _end)
    flags.FLAGS.set_gnu_getopt(True)  # --json may stand anywhere
    try:
        arguments = flags.FLAGS(sys.argv)
        _refuse_twice(sys.argv)  # absl takes the last of two, without a word
    except flags.Error as error:  # absl would exit with 1, which says that something differs
        command = next((each for each in ("prove", "launch", "speed") if each in sys.argv), "")
        of_script = f" Arguments of the script come after --, as in: exactloop {command} train.py -- --epochs=3"
        theirs = command and isinstance(error, flags.UnrecognizedFlagError | flags.DuplicateFlagError)
        _say(f"exactloop: {error}.{of_script if theirs else ''}")
        sys.exit(2)
    if isinstance(sys.stdout, io.TextIOWrapper):  # None, if it was closed
        sys.stdout.reconfigure(errors="backslashreplace")  # names of any letters, on any terminal
    try:
        status = main(arguments)
        if sys.stdout:
            sys.stdout.flush()
    except BrokenPipeError:  # whoever reads, such as `head`, has enough
        status = _left(128 + signal.SIGPIPE)
    except OSError as error:  # of a full disk; of what else a command cannot do, `main` knows
        _say(f"exactloop: what it prints cannot be written: {error.strerror}.")
        status = _left(2)
    sys.exit(status)


def _left(status: int) -> int:
    """Leaves what was not written: the interpreter would try again at its end, and have an exit status of its own."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status


def _say(what: str) -> None:
    if sys.stderr:  # else `print` would take standard output
        print(escaped(what), file=sys.stderr)  # names, and what is read in files, are no orders to the terminal


def _refuse_twice(given: Sequence[str]) -> None:
    """Raises if a flag is there twice: the second one may be meant for the script, which would not get it."""
    own = [*itertools.takewhile(lambda argument: argument != "--", given)]
    names = [argument.lstrip("-").partition("=")[0] for argument in own if argument.startswith("--")]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise flags.DuplicateFlagError(f"--{twice[0]} is given twice")


def _end(number: int, frame: types.FrameType | None) -> None:
    """Ends the command by an exception, so that what it has started and made goes with it."""
    signal.signal(number, signal.SIG_IGN)  # a second one must not cut that short
    sys.exit(128 + number)
