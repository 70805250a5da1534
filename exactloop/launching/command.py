"""`exactloop launch`: what it is asked for, and that that makes sense."""

import os
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager

from exactloop.launching.launcher import Launcher
from exactloop.launching.places import Cluster, on_hosts, on_loopback
from exactloop.options import HOSTS, MAX_RESTARTS, RANK, WORKERS
from exactloop.script import TASKS


def launch(script: str, *arguments: str) -> int:
    """Runs a script on several workers; returns the exit status."""
    if not os.path.isfile(script):
        raise FileNotFoundError(f"There is no script {script!r}.")
    # Before any port is held or process started.
    _refuse_to_be_one_of_several(os.environ)
    # Ports are held until all restarts are over: each start needs the same ones.
    with _places() as places:
        return Launcher([sys.executable, script, *arguments], places, restarts=MAX_RESTARTS.value).run()


def _places() -> AbstractContextManager[Cluster]:
    if not HOSTS.value:
        if WORKERS.value is None:
            raise ValueError("--workers says how many processes to start, as in: exactloop launch --workers=4 train.py")
        if RANK.value is not None:
            raise ValueError(
                "--rank says which of several machines this one is. Name them, as in --hosts=node-1:7000,node-2:7000. "
                f"Received: --rank={RANK.value} without --hosts."
            )
        return on_loopback(WORKERS.value)
    if RANK.value is None and len(HOSTS.value) > 1:
        raise ValueError(
            f"--rank says which of the hosts this machine is, from 0 to {len(HOSTS.value) - 1}: start the command on "
            f"each of them with its own. Received: --hosts={','.join(HOSTS.value)} without --rank."
        )
    return on_hosts(HOSTS.value, RANK.value or 0, WORKERS.value or 1)


def _refuse_to_be_one_of_several(environment: Mapping[str, str]) -> None:
    """Raises where somebody else starts the workers: each of them would train a model of its own."""
    if environment.get("TF_CONFIG"):
        raise ValueError(
            "This process is one of a cluster already: TF_CONFIG is set. Start the script itself, with connect() as "
            "its first line, or unset TF_CONFIG."
        )
    # With --hosts, one task on each machine is what is wanted.
    if int(environment.get(TASKS) or 1) > 1 and not HOSTS.value:
        raise ValueError(
            f"SLURM runs this command {environment[TASKS]} times, and each would train a model of its own. Start the "
            "script itself with srun: connect(), as its first line, finds the others. Or start this command once for "
            "each machine, with --hosts and --rank=$SLURM_NODEID."
        )


COMMANDS = {"launch": launch}
