"""Where the workers of a cluster listen, and which of them are on this machine."""

import contextlib
import json
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

LOOPBACK = "127.0.0.1"
# IPv6 in brackets, or its last number would be taken for the port.
HOST = re.compile(r"(?P<name>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):(?P<port>[0-9]{1,5})")
HIGHEST = 65535


class Cluster(NamedTuple):
    """Who trains together.

    Attributes:
        addresses: Of all workers, by rank.
        here: The ranks of those on this machine.
    """

    addresses: Sequence[str]
    here: range

    def variables(self, rank: int) -> Mapping[str, str]:
        """Returns what the environment says to one of them of who it is."""
        task = {"type": "worker", "index": rank}
        # As `tf.distribute` reads it: all of them are workers, of which the first one is the chief.
        config = json.dumps({"cluster": {"worker": list(self.addresses)}, "task": task})
        # And as `torchrun` says it: without, a script that asks for its RANK would take each of them for the first one.
        numbers = {"RANK": rank, "LOCAL_RANK": rank - self.here.start, "WORLD_SIZE": len(self.addresses)}
        return {"TF_CONFIG": config, **{name: str(number) for name, number in numbers.items()}}

    def name(self, rank: int) -> str:
        """Returns what to call one of them."""
        return f"worker {rank} ({self.addresses[rank]})"


@contextlib.contextmanager
def on_loopback(workers: int) -> Iterator[Cluster]:
    """Gives so many workers of this machine a free port each, and keeps these ports for them.

    A port that is only looked up may be gone when it is needed. Those that are held here are given to nobody else who
    asks for any, nor to outgoing connections; but as long as nobody listens here, a server that is asked for that very
    port gets it, as TensorFlow's does, because both say SO_REUSEADDR.
    """
    with contextlib.ExitStack() as held:
        # All at once: ports that were given one by one and let go might be the same.
        sockets = [held.enter_context(_held(0)) for _ in range(workers)]
        yield Cluster([f"{LOOPBACK}:{each.getsockname()[1]}" for each in sockets], range(workers))


@contextlib.contextmanager
def on_hosts(hosts: Sequence[str], machine: int, workers: int) -> Iterator[Cluster]:
    """Gives each of some machines so many workers, at the ports from the one that is named on.

    Args:
        hosts: Of each machine the name and the first port, as in `node-1:7000`.
        machine: Which of them is this one.
        workers: How many there are on each.

    Raises:
        ValueError: If the hosts are not written like that, or there is no such machine.
        OSError: If a port is in use on this machine.
    """
    # The same list on each machine, so ranks are the same everywhere.
    addresses = [address for host in hosts for address in _addresses(host, workers)]
    if twice := sorted({address for address in addresses if addresses.count(address) > 1}):
        raise ValueError(
            f"Two workers would listen at {twice[0]}. Name each machine once in --hosts, and say with --workers how "
            f"many there are on each. Received: --hosts={','.join(hosts)} --workers={workers}."
        )
    if not 0 <= machine < len(hosts):
        raise ValueError(
            f"--rank says which of the {len(hosts)} hosts this machine is, from 0 to {len(hosts) - 1}. "
            f"Received: --rank={machine}."
        )
    here = range(machine * workers, (machine + 1) * workers)
    with contextlib.ExitStack() as held:
        for rank in here:  # only those of this machine; the others are held there
            held.enter_context(_held(int(addresses[rank].rpartition(":")[2])))
        yield Cluster(addresses, here)


def _addresses(host: str, workers: int) -> list[str]:
    match = HOST.fullmatch(host)
    if not match or not 0 < int(match["port"]) <= HIGHEST + 1 - workers:
        raise ValueError(
            "--hosts names machines with a port each, as in --hosts node-1:7000,node-2:7000. The workers of a machine "
            f"listen at this port and those after it, up to {HIGHEST}. Received: {host!r}, for {workers} workers."
        )
    return [f"{match['name']}:{int(match['port']) + i}" for i in range(workers)]


@contextlib.contextmanager
def _held(port: int) -> Iterator[socket.socket]:
    """Holds a port, 0 for any that is free, without listening at it."""
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            held.bind(("", port))
        except OSError as error:
            why = error.strerror
            raise OSError(f"Port {port} cannot be used on this machine: {why}. Name others in --hosts.") from error
        yield held
