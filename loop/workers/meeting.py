"""How workers find together before TensorFlow does, which waits for them in one call, in which no signal is heard."""

import contextlib
import json
import logging
import selectors
import socket
import time
from collections.abc import Collection, Iterator, Mapping, Sequence

log = logging.getLogger("exactloop")
PATIENCE = 10.0  # seconds until it is said who is missing, and between that and saying it again
PULSE = 1.0  # seconds between two lines to each who is there, and until somebody is looked for again
GONE = 5.0  # seconds after which somebody counts as gone, of whom nothing is heard meanwhile
LONGEST = 2**20  # bytes of a line; the addresses of a thousand workers are 30 kB
OTHERS = (
    "The workers do not name the same addresses, in the same order: {0} in worker {2}, {1} in the first one. Give all "
    "of them the same list."
)
TWICE = (
    "Another process has come as worker {0} of the same workers, and takes the place of this one. Start one process "
    "for each, with a rank of its own."
)


def meet(rank: int, addresses: Sequence[str]) -> Mapping[int, socket.socket]:
    """Returns, in all workers, when all have called it; logs every so often for whom this one waits.

    Each listens at its address, which is free until TensorFlow's server has it; the others come to the first one.

    Returns:
        The connections of the first one to the others, by rank, or that of another one to the first: to be closed.

    Raises:
        ValueError: If an address has no port.
        OSError: If this one cannot listen there: here, and not in TensorFlow, when the others wait for it in vain.
        RuntimeError: If the workers do not name the same addresses, or two processes say that they are the same worker.
    """
    for address in addresses:
        _place(address)
    missing = Missing(rank, addresses)
    with _listening(rank, addresses[rank]) as listener:
        if rank == 0:
            return FirstWorker(addresses, missing).receive(listener)
        while (host := _visit(rank, addresses, missing)) is None:
            missing.tell([0])
            time.sleep(PULSE / 4)
        return {0: host}


class Missing:
    """Says, every so often, for whom a worker waits."""

    def __init__(self, rank: int, addresses: Sequence[str]) -> None:
        self._rank, self._addresses, self._next = rank, addresses, time.monotonic() + PATIENCE
        self.why = ""  # one looks in vain, behind whom is missing; nothing if it is only not there

    def tell(self, ranks: Collection[int]) -> None:
        """Logs who is missing, unless it is too early to say so, or again."""
        if ranks and time.monotonic() >= self._next:
            self._next = time.monotonic() + PATIENCE
            names = ", ".join(f"worker {each} ({self._addresses[each]})" for each in ranks)
            log.warning("Worker %d of %d waits for %s%s.", self._rank, len(self._addresses), names, self.why)


class FirstWorker:
    """The first worker, to whom the others come.

    Args:
        addresses: Of all.
        missing: Is told who is not there yet.
    """

    def __init__(self, addresses: Sequence[str], missing: Missing) -> None:
        self._addresses, self._missing = [*addresses], missing
        self._guests: dict[int, socket.socket] = {}  # by rank
        self._selector = selectors.DefaultSelector()

    def receive(self, listener: socket.socket) -> Mapping[int, socket.socket]:
        """Waits until all are there at once, and tells them so; returns the connections to them."""
        with contextlib.ExitStack() as opened:
            opened.callback(self._close)
            self._selector.register(listener, selectors.EVENT_READ)
            while missing := self._absent():
                for key, _ in self._selector.select(PULSE):
                    if key.data is None:
                        self._welcome(listener)
                    elif self._guests.get(key.data) is key.fileobj:  # says nothing unasked: it is gone
                        self._forget(key.data)
                self._missing.tell(missing)
                self._say({"missing": self._absent()})
                if not self._absent():
                    self._call_the_roll()
            self._say({"go": True})
            guests, self._guests = self._guests, {}  # not to be closed
            return guests

    def _absent(self) -> list[int]:
        return [rank for rank in range(1, len(self._addresses)) if rank not in self._guests]

    def _welcome(self, listener: socket.socket) -> None:
        """Takes in who has come, if it is one of the workers: anybody may knock at a port."""
        try:
            guest, _ = listener.accept()
        except OSError:  # it has gone again
            return
        guest.settimeout(GONE)
        # Of a machine that is gone without a word, the system says so when a line is not acknowledged for so long.
        guest.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(GONE * 1000))
        said = _heard(guest)
        rank, of = said.get("rank"), said.get("of")
        if of == self._addresses and isinstance(rank, int) and 0 < rank < len(self._addresses):
            if rank in self._guests:
                _told(self._guests[rank], {"refused": TWICE.format(rank)})
                self._forget(rank)
            self._guests[rank] = guest
            self._selector.register(guest, selectors.EVENT_READ, rank)
            return
        if said:
            _told(guest, {"refused": OTHERS.format(of, self._addresses, rank)})
        guest.close()

    def _call_the_roll(self) -> None:
        """Asks each whether it is still there: from here on nobody is waited for but by TensorFlow."""
        self._say({"ready": True})
        for rank, guest in [*self._guests.items()]:
            if not _heard(guest):
                self._forget(rank)

    def _say(self, what: Mapping[str, object]) -> None:
        for rank, guest in [*self._guests.items()]:
            if not _told(guest, what):
                self._forget(rank)

    def _forget(self, rank: int) -> None:
        guest = self._guests.pop(rank)
        self._selector.unregister(guest)
        guest.close()

    def _close(self) -> None:
        for rank in [*self._guests]:
            self._forget(rank)
        self._selector.close()


def _visit(rank: int, addresses: Sequence[str], missing: Missing) -> socket.socket | None:
    """Goes to the first worker, and returns the connection when all have come; None if it is not there any more."""
    with contextlib.suppress(OSError), contextlib.ExitStack() as opened:
        try:
            host = opened.enter_context(socket.create_connection(_place(addresses[0]), GONE))
        except socket.gaierror as error:  # a name that is not known yet, as of a pod that is about to begin; or never
            missing.why = f", whose name this machine does not know: {error.strerror}"
            raise
        missing.why = ""
        _told(host, {"rank": rank, "of": [*addresses]})
        while said := _heard(host):
            if why := said.get("refused"):
                raise RuntimeError(str(why))
            if said.get("go"):
                opened.pop_all()
                return host
            if said.get("ready"):
                _told(host, {"ready": True})
            elif isinstance(absent := said.get("missing"), list):
                missing.tell(absent)
    return None


def _told(to: socket.socket, what: Mapping[str, object]) -> bool:
    """Writes a line; returns whether it was there to be written to."""
    with contextlib.suppress(OSError):
        to.sendall(json.dumps(what).encode() + b"\n")
        return True
    return False


def _heard(from_: socket.socket) -> Mapping[str, object]:
    """Returns what a line says; nothing if none comes in time, or one that is none of ours."""
    line = b""
    with contextlib.suppress(OSError, ValueError):
        # Byte by byte, so that nothing of the next line is taken: it is a handful in the life of a process.
        while len(line) < LONGEST and not line.endswith(b"\n"):
            if not (byte := from_.recv(1)):
                return {}
            line += byte
        said = json.loads(line)
        return said if isinstance(said, dict) else {}
    return {}


def _place(address: str) -> tuple[str, int]:
    name, _, port = address.rpartition(":")
    if not (name and port.isdecimal() and 0 < int(port) < 2**16):
        raise ValueError(f"Workers are named with a port each, as in 'node-1:7000'. Received: {address!r}.")
    return name.strip("[]"), int(port)  # of IPv6, in brackets


@contextlib.contextmanager
def _listening(rank: int, address: str) -> Iterator[socket.socket]:
    """Listens at the port of an address, at all addresses of this machine, as TensorFlow's server will."""
    port = _place(address)[1]
    try:
        try:
            found = socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=1024)
        except (OSError, ValueError):  # of a machine without IPv6
            found = socket.create_server(("", port), backlog=1024)
    except OSError as error:
        raise OSError(
            f"Worker {rank} cannot listen at port {port} of this machine, where the others look for it ({address}): "
            f"{error.strerror}. Give it an address with a port that is free."
        ) from error
    with found:
        yield found
