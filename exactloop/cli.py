"""The command `exactloop`: what it is asked for. Without TensorFlow, so that help comes at once."""

import difflib
import itertools
import os
import signal
import sys
import types
from collections.abc import Callable, Mapping, Sequence

from absl import flags

from exactloop import __version__
from exactloop.quiet import quiet

# No docstring, which python -OO leaves out.
USAGE = """The command `exactloop`: looks at checkpoints and runs, and proves that a script can be resumed exactly.

    exactloop ls DIRECTORY              steps, epochs, ages, sizes, metrics, and whether the files have their sizes
    exactloop verify DIRECTORY          hashes all files; exit status 1 if one is not what was committed
    exactloop diff CHECKPOINT CHECKPOINT   which values differ, in bits; exit status 1 if some do
    exactloop show CHECKPOINT           the manifest
    exactloop watch DIRECTORY ...       what runs that go on elsewhere are doing, read from their files
    exactloop average DIRECTORY [--last N] [--out PATH]
                                        writes a checkpoint with the averages of the weights of the last N (5)
    exactloop prove SCRIPT.py [--kills N] [--at STEPS] [--workers N] [--same-machine-twice] [-- ARGUMENTS]
                                        kills the script N times and compares; exit status 1 if anything differs,
                                        3 if nothing was proved
    exactloop launch --workers N [--max-restarts M] [--hosts A:PORT,B:PORT --rank K] SCRIPT.py [-- ARGUMENTS]
                                        starts the script N times, as workers that train one model
    exactloop COMMAND --help            what one of them takes, and says
    exactloop --version

What average writes, by default in DIRECTORY/average, restore(PATH, {"model": model}) and TensorFlow can read. Other
values than weights and statistics of layers, such as those of optimizers, are as in the latest checkpoint.

A CHECKPOINT is DIRECTORY/ckpt-120, or a directory, for its newest. With --json, what is printed is JSON, in which null
stands for NaN, and for the age of what was made later than the clock says it is. The training time, clock/seconds, is
no difference. Exit status 2: what was asked for cannot be done.

A proof runs the script to its end, then again in processes that are killed by SIGKILL and started anew, and compares
batches, logged values, variables, random states and events after each step. Checkpoints and TensorBoard files go to a
temporary directory meanwhile; what the script itself writes, or removes, does not. --at 3,20 kills after these steps as
well; --same-machine-twice kills nothing and runs twice: does the script do the same each time at all?
"""
JSON = flags.DEFINE_bool("json", False, "Print JSON, for machines.")
KILLS = flags.DEFINE_integer("kills", 5, "How many times to kill the script that is proved.", lower_bound=1)
AT = flags.DEFINE_list("at", [], "Steps after which to kill it as well.")
HELP = flags.DEFINE_bool("help", False, "Print what the commands do.", short_name="h")
TWICE = flags.DEFINE_bool("same-machine-twice", False, "Kill nothing, but run the script twice and compare.")

WORKERS = flags.DEFINE_integer("workers", None, "How many processes to start on this machine.", lower_bound=1)
MAX_RESTARTS = flags.DEFINE_integer("max-restarts", 0, "How many times to start all anew.", lower_bound=0)
HOSTS = flags.DEFINE_list("hosts", [], "All machines, each with the first port at which its workers listen.")
RANK = flags.DEFINE_integer("rank", None, "Which of the hosts this machine is, from 0.", lower_bound=0)

LAST = flags.DEFINE_integer("last", 5, "How many of the latest checkpoints to average.", lower_bound=1)
OUT = flags.DEFINE_string("out", "", "The directory to write the average to; by default `average` in that of the run.")
ONCE = flags.DEFINE_bool("once", False, "Print one picture, and end.")
VERSION = flags.DEFINE_bool("version", False, "Print the version.")
AT_ONCE = ("ls", "show", "watch")  # without TensorFlow, if what they read is on this machine
OF = {  # which commands know a flag, of those that not all know
    **dict.fromkeys(("kills", "at", "same-machine-twice"), ("prove",)),
    **dict.fromkeys(("last", "out"), ("average",)),
    "once": ("watch",),
    "workers": ("launch", "prove"),
    **dict.fromkeys(("max-restarts", "hosts", "rank"), ("launch",)),
}
COUNTS = {  # with how many arguments the commands are given
    "ls": range(1, 2),
    "verify": range(1, 2),
    "diff": range(2, 3),
    "show": range(1, 2),
    "watch": range(1, sys.maxsize),
    "average": range(1, 2),
    "prove": range(1, sys.maxsize),
    "launch": range(1, sys.maxsize),
}

HELPS = {
    "ls": """exactloop ls DIRECTORY [--json]

Lists the checkpoints of a run: steps, epochs, ages, sizes, the values that were logged, and whether the files have
their sizes. Values that do not fit are left out; --json has them all. Exit status 1 if a checkpoint is damaged.
""",
    "verify": """exactloop verify DIRECTORY [--json]

Hashes all files of all checkpoints of a run. Exit status 1 if one is not what was committed.
""",
    "diff": """exactloop diff CHECKPOINT CHECKPOINT [--json]

Says which values of two checkpoints differ, in bits; the training time does not count. A CHECKPOINT is
DIRECTORY/ckpt-120, or a directory, for its newest. Exit status 1 if some differ.
""",
    "show": """exactloop show CHECKPOINT [--json]

Prints the manifest of a checkpoint, DIRECTORY/ckpt-120, or a directory, for its newest.
""",
    "watch": """exactloop watch DIRECTORY [DIRECTORY ...] [--once] [--json]

Shows what runs are doing: epoch, step, rate, time left, the age of the latest save, values and their curves. It reads
checkpoints, event files of TensorBoard and files of MetricsLog below each DIRECTORY, locks nothing and writes nothing.
Several runs below one DIRECTORY are shown beside one another, as those of several are. It looks each second, until it
is interrupted; with --once, with --json, and where there is no terminal, once.
""",
    "average": """exactloop average DIRECTORY [--last N] [--out PATH] [--json]

Writes a checkpoint with the averages of the weights of the last N checkpoints (5), by default to DIRECTORY/average.
restore(PATH, {"model": model}) reads it, and so does TensorFlow.
""",
    "prove": """exactloop prove SCRIPT.py [--kills N] [--at STEPS] [--workers N] [--json] [-- ARGUMENTS]
exactloop prove SCRIPT.py --same-machine-twice [--workers N] [--json] [-- ARGUMENTS]

Runs a script to its end, then again in processes that are killed N times (5), and after the STEPS of --at 3,20 as well,
and compares. --same-machine-twice kills nothing and runs twice. With --workers, so many processes train one model, and
in turns one of them is killed, the first one, and all; see `exactloop launch`. What comes after -- are arguments of the
script. Exit status 1 if anything differs, 3 if nothing was proved.
""",
    "launch": """exactloop launch --workers N [--max-restarts M] SCRIPT.py [-- ARGUMENTS]
exactloop launch --hosts A:PORT,B:PORT --rank K [--workers N] [--max-restarts M] SCRIPT.py [-- ARGUMENTS]

Starts a script N times on this machine, as workers that train one model: loop.connect(), its first line, joins them.
What comes after -- are arguments of the script. Each worker has a GPU of its own where there are any, and nothing to
read from its standard input. What worker 0 prints is printed; before each line of worker 3 stands [3].

When one fails, the others are sent SIGTERM, and SIGKILL after 15 seconds; then all are started anew, M times at most
(0). Exit status: that of the first that failed, 128 + N of one that signal N killed. SIGTERM, SIGINT, SIGHUP, SIGUSR1
and SIGUSR2 are passed on to all; a second one of the first three kills at once. No process stays behind, even if this
one is killed.

On several machines, start it on each, with the same --hosts and its own --rank, from 0. --workers is then the number on
each machine (1); they listen at the port that is named and those after it, to whoever reaches them: in a network of
your own only.
""",
}


def main(arguments: Sequence[str]) -> int:
    """Runs one command.

    Args:
        arguments: The name of the program, the command, and what it is given.

    Returns:
        The exit status.
    """
    command, *given = arguments[1:] or [""]
    if HELP.value:
        print(HELPS.get(command, USAGE))
        return 0
    if VERSION.value:
        print(f"exactloop {__version__}")
        return 0
    if len(given) not in COUNTS.get(command, ()):
        print(_wrong(command, given), file=sys.stderr)
        return 2
    if said := _ignored(command):
        print(f"exactloop {command}: {said}\n\n{HELPS[command]}", file=sys.stderr)
        return 2
    try:
        return _commands(command, given)[command](*given)
    except BrokenPipeError:
        raise
    except (OSError, RuntimeError, ValueError, UserWarning) as error:
        print(f"exactloop {command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"exactloop {command}: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT


def _commands(command: str, given: Sequence[str]) -> Mapping[str, Callable[..., int]]:
    """Imports what a command needs. TensorFlow, which takes seconds, is needed for those that read values."""
    if command == "launch":
        from exactloop.launching.command import COMMANDS
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
        _refuse_twice(sys.argv)
    except flags.Error as error:  # absl would exit with 1, which says that something differs
        command = next((each for each in ("prove", "launch") if each in sys.argv), "")
        of_script = f" Arguments of the script come after --, as in: exactloop {command} train.py -- --epochs=3"
        theirs = command and isinstance(error, flags.UnrecognizedFlagError | flags.DuplicateFlagError)
        print(f"exactloop: {error}.{of_script if theirs else ''}", file=sys.stderr)
        sys.exit(2)
    try:
        status = main(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads, such as `head`, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter would say so at its end
        status = 128 + signal.SIGPIPE
    sys.exit(status)


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
