"""What the command says of itself: constants, and no docstrings, which python -OO leaves out."""

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
    exactloop speed SCRIPT.py [--seconds S] [-- ARGUMENTS]
                                        how fast it trains, and what would make it faster
    exactloop COMMAND --help            what one of them takes, and says
    exactloop --version

A CHECKPOINT is DIRECTORY/ckpt-120, or a directory, for its newest. With --json, what is printed is JSON, in which null
stands for NaN, and for the age of what was made later than the clock says it is. Exit status 2: what was asked for
cannot be done.
"""

HELPS = {
    "ls": """exactloop ls DIRECTORY [--json]

Lists the checkpoints of a run: steps, epochs, ages, sizes, the values that were logged, and whether the files have
their sizes. Of a directory above several runs, those of all of them. On a terminal, what does not fit is left out; in a
pipe, each checkpoint has a line with all of it, and so has --json. Exit status 1 if a checkpoint is damaged.
""",
    "verify": """exactloop verify DIRECTORY [--json]

Hashes all files of all checkpoints of a run, or of all runs below a directory. Exit status 1 if one is not what was
committed.
""",
    "diff": """exactloop diff CHECKPOINT CHECKPOINT [--json]

Says which values of two checkpoints differ, in bits. The training time does not count, nor what a pipeline of tf.data
has read ahead, which depends on speed. A CHECKPOINT is DIRECTORY/ckpt-120, or a directory, for its newest. Exit status
1 if some differ.
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
restore(PATH, {"model": model}) reads it, and so does TensorFlow. Other values than weights and statistics of layers,
such as those of optimizers, are as in the latest checkpoint.
""",
    "prove": """exactloop prove SCRIPT.py [--kills N] [--at STEPS] [--workers N] [--json] [-- ARGUMENTS]
exactloop prove SCRIPT.py --same-machine-twice [--workers N] [--json] [-- ARGUMENTS]

Runs a script to its end, then again in processes that are killed by SIGKILL and started anew, N times (5) and after the
STEPS of --at 3,20 as well; and compares batches, logged values, variables, random states and events after each step.
Checkpoints and TensorBoard files go to a temporary directory meanwhile; what the script itself writes, or removes, does
not. --same-machine-twice kills nothing and runs twice: does the script do the same each time at all? With --workers, so
many processes train one model, and in turns one of them is killed, the first one, and all; see `exactloop launch`. What
comes after -- are arguments of the script. Exit status 1 if anything differs, 3 if nothing was proved.
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
    "speed": """exactloop speed SCRIPT.py [--seconds S | --steps N] [--json] [-- ARGUMENTS]

Runs a script up to its first Loop.run(), and measures the loop instead of training it: what a step goes into, and how
long steps take with and without XLA, with batches of 2 and 4 times the size (of ArrayData and IndexedData), and with
one thread for each operation. Each is done in a process of its own, for S seconds (3) or N steps, from the state that
the script makes; checkpoints are neither read nor written. What hooks write goes to a temporary directory that is
removed; callbacks of Keras, and hooks of one's own that do not override before_dry_run, are left out. What the script
does after run() is not done; what it writes before that is its own affair. What comes after -- are arguments of the
script. Exit status 2 if there is nothing to measure.
""",
}
