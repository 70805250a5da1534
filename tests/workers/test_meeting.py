"""Workers find together before TensorFlow is asked for them, and say for whom they wait."""

import logging
import socket
import threading
from collections.abc import Callable, Iterator, Sequence

import pytest
from cluster import free_ports

from loop.workers import meeting
from loop.workers.meeting import meet

PATIENCE = 60.0  # seconds


class Coming(threading.Thread):
    """A worker that meets the others, and how that has ended.

    Args:
        rank: Its number.
        addresses: Of all, as it knows them.
        elsewhere: Whether it is on another machine than that of its address, whose port may be in use then.
    """

    def __init__(self, rank: int, addresses: Sequence[str], *, elsewhere: bool = False) -> None:
        super().__init__(daemon=True)
        self.rank, self.addresses, self.ended, self._elsewhere = rank, [*addresses], "", elsewhere
        self.start()

    def run(self) -> None:
        try:
            if self._elsewhere:
                host = meeting._visit(self.rank, self.addresses, meeting.Missing(self.rank, self.addresses))
                met = {} if host is None else {0: host}
            else:
                met = meet(self.rank, self.addresses)
            for each in met.values():
                each.close()
            self.ended = "met"
        except Exception as error:
            self.ended = f"{type(error).__name__}: {error}"

    def waits(self) -> bool:
        return not self.ended


def all_met(*workers: Coming) -> bool:
    for each in workers:
        each.join(PATIENCE)
    return [each.ended for each in workers] == ["met"] * len(workers)


@pytest.fixture
def addresses() -> list[str]:
    return [f"127.0.0.1:{port}" for port in free_ports(3)]


@pytest.fixture
def waited(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Waits until somebody has said something."""
    for name, seconds in (("PATIENCE", 0.0), ("PULSE", 0.05), ("GONE", 0.5)):
        monkeypatch.setattr(meeting, name, seconds)
    caplog.set_level(logging.WARNING, "exactloop")

    def wait(text: str) -> None:
        for _ in range(int(PATIENCE / 0.02)):
            if any(text in each for each in caplog.messages):
                return
            threading.Event().wait(0.02)
        raise AssertionError(f"{text!r} is not in {caplog.messages}")

    return wait


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_whoever_comes_last_is_waited_for_and_named(
    order: Sequence[int], addresses: list[str], waited: Callable[[str], None]
) -> None:
    *early, last = order
    workers = [Coming(rank, addresses) for rank in early]
    for each in early:
        waited(f"Worker {each} of 3 waits for worker {last} ({addresses[last]}).")
    assert all(each.waits() for each in workers)
    assert all_met(*workers, Coming(last, addresses))


def test_who_goes_again_is_waited_for_again(addresses: list[str], waited: Callable[[str], None]) -> None:
    host, late = Coming(0, addresses), Coming(2, addresses)
    waited("Worker 0 of 3 waits for worker 1 (")
    with socket.create_connection(meeting._place(addresses[0])) as short:
        assert meeting._told(short, {"rank": 1, "of": addresses})
        while meeting._heard(short) != {"ready": True}:
            pass
    waited("Worker 0 of 3 waits for worker 1 (")
    assert host.waits()
    assert late.waits()
    assert all_met(host, late, Coming(1, addresses))


KNOCKS = {
    "nothing": b"",
    "a browser": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "gRPC": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00",
    "JSON": b'[1, 2]\n{"rank": 1}\n',
    "a rank that is none": b'{"rank": [1], "of": null}\n',
}


def test_strangers_that_knock_at_the_port_keep_nobody_from_coming(
    addresses: list[str], waited: Callable[[str], None]
) -> None:
    host, other = Coming(0, addresses), Coming(1, addresses)
    waited("Worker 1 of 3 waits for worker 2")
    for said in KNOCKS.values():
        with socket.create_connection(meeting._place(addresses[0])) as stranger:
            stranger.sendall(said)
    with socket.create_connection(meeting._place(addresses[0])):  # stays, and says nothing
        assert all_met(host, other, Coming(2, addresses))


@pytest.fixture
def stranger(addresses: list[str]) -> Iterator[threading.Event]:
    """Somebody else at the address of the first worker, who answers as gRPC does, until it is told to leave."""
    leave = threading.Event()
    with socket.create_server(meeting._place(addresses[0])) as server:
        server.settimeout(0.05)

        def answer() -> None:
            while not leave.is_set():
                try:
                    guest, _ = server.accept()
                except TimeoutError:
                    continue
                with guest:
                    guest.sendall(b"\x00\x00\x18\x04\x00\x00\x00\x00\x00\n")
            server.close()

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield leave
        leave.set()
        thread.join()


def test_somebody_else_at_the_address_of_the_first_one_is_not_taken_for_it(
    addresses: list[str], stranger: threading.Event, waited: Callable[[str], None]
) -> None:
    """As the server of the workers before, which are yet to end."""
    others = [Coming(1, addresses), Coming(2, addresses)]
    waited("Worker 1 of 3 waits for worker 0")
    here = Coming(0, addresses)
    here.join(PATIENCE)
    port = addresses[0].partition(":")[2]
    assert here.ended.startswith(f"OSError: Worker 0 cannot listen at port {port} of this machine")
    assert here.ended.endswith("Give it an address with a port that is free.")
    assert all(each.waits() for each in others)
    stranger.set()
    while (again := Coming(0, addresses)).join(0.5) or "cannot listen" in again.ended:
        pass
    assert all_met(again, *others)


def test_who_finds_its_port_in_use_says_so_before_anybody_waits_for_it(addresses: list[str]) -> None:
    with socket.create_server(meeting._place(addresses[1])):
        other = Coming(1, addresses)
        other.join(PATIENCE)
    assert other.ended.startswith("OSError: Worker 1 cannot listen at port")


def test_a_name_that_is_not_known_yet_is_said_to_be_so(
    waited: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    usual, known = socket.getaddrinfo, threading.Event()

    def look_up(name: str, *arguments: int) -> list:
        if name == "pod-0" and not known.is_set():
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return usual("127.0.0.1", *arguments)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    addresses = [f"{name}:{port}" for name, port in zip(("pod-0", "pod-1"), free_ports(2), strict=True)]
    other = Coming(1, addresses)
    waited(f"2 waits for worker 0 ({addresses[0]}), whose name this machine does not know: Name or service not known.")
    known.set()
    assert all_met(other, Coming(0, addresses))


@pytest.mark.parametrize("address", ["node-1", ":7000", "node-1:", "node-1:http", "node-1:0", "node-1:70000"])
def test_an_address_without_a_port_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match=f"as in 'node-1:7000'. Received: '{address}'"):
        meet(0, ["127.0.0.1:7000", address])


def test_two_that_say_they_are_the_same_and_lists_that_differ_are_refused(
    addresses: list[str], waited: Callable[[str], None]
) -> None:
    host, first = Coming(0, addresses), Coming(1, addresses)
    waited("Worker 1 of 3 waits for worker 2")
    wrong = Coming(2, [addresses[0], addresses[2], addresses[1]], elsewhere=True)
    wrong.join(PATIENCE)
    assert wrong.ended.startswith("RuntimeError: The workers do not name the same addresses, in the same order: ['127")
    second = Coming(1, addresses, elsewhere=True)
    first.join(PATIENCE)
    assert first.ended.startswith("RuntimeError: Another process has come as worker 1 of the same workers")
    assert all_met(host, second, Coming(2, addresses))
