"""What the command is given besides its arguments, and which commands take what."""

import sys

from absl import flags

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
SECONDS = flags.DEFINE_float("seconds", 3.0, "For how long each thing is measured.", lower_bound=0.01)
STEPS = flags.DEFINE_integer("steps", None, "For how many steps instead.", lower_bound=10)
ONCE = flags.DEFINE_bool("once", False, "Print one picture, and end.")
VERSION = flags.DEFINE_bool("version", False, "Print the version.")
AT_ONCE = ("ls", "show", "watch")  # without TensorFlow, if what they read is on this machine
OF = {  # which commands know a flag, of those that not all know
    **dict.fromkeys(("kills", "at", "same-machine-twice"), ("prove",)),
    **dict.fromkeys(("seconds", "steps"), ("speed",)),
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
    "speed": range(1, sys.maxsize),
}
