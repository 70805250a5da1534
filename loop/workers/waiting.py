"""Says for whom a worker waits while the others are yet to come."""

import contextlib
import logging
import socket
import threading
from collections.abc import Iterator, Sequence

log = logging.getLogger("exactloop")
PATIENCE = 10.0  # seconds until it is said, and between that and saying it again


@contextlib.contextmanager
def named_while_missing(rank: int, addresses: Sequence[str]) -> Iterator[None]:
    """Logs, every so often while in it, which workers are not there: those at whose addresses nobody listens."""
    over = threading.Event()

    def look() -> None:
        while not over.wait(PATIENCE):
            # By trying their ports: TensorFlow says nothing of who is missing before it gives up.
            missing = [i for i, address in enumerate(addresses) if i != rank and not _listens(address)]
            if missing and not over.is_set():
                names = ", ".join(f"worker {i} ({addresses[i]})" for i in missing)
                log.warning("Worker %d of %d waits for %s.", rank, len(addresses), names)

    # Of its own, because the main thread waits in TensorFlow; daemon, or a process could not end while it waits.
    threading.Thread(target=look, daemon=True, name="missing").start()
    try:
        yield
    finally:
        over.set()


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=1.0):
            return True
    except (OSError, ValueError):
        return False
