"""What a worker tells the first one of a save, by the store of texts that all have in common."""

import base64
import contextlib
import hashlib
import threading
from collections.abc import Callable, Iterator
from typing import Protocol, TypeAlias

import tensorflow as tf

Value: TypeAlias = bool | int | float | str | list["Value"] | dict[str, "Value"] | None
PIECE = 2**20  # bytes of what is told in one text


class Telling(Protocol):
    """What workers tell one another by."""

    def put(self, key: str, value: Value) -> bool: ...

    def get(self, key: str, timeout: float | None = None) -> Value: ...

    def remove(self, key: str) -> None: ...


class Told:
    """Texts that are told in a thread, until they are taken back.

    Args:
        workers: To whom.
        key: Under which the first worker finds why these could not be made, if that is so: a text by itself.
        texts: Yields them, with their keys; the last one's is this.
        do: Has something done in a thread; raises `RuntimeError` if there can be none.
    """

    def __init__(
        self,
        workers: Telling,
        key: str,
        texts: Callable[[], Iterator[tuple[str, Value]]],
        do: Callable[[Callable[[], None]], None],
    ) -> None:
        self._workers, self._key, self._keys, self._over = workers, key, list[str](), threading.Event()
        try:
            do(lambda: self._tell(texts))
        except RuntimeError:  # no thread can be made: here, then, and whoever is second finds it done
            self._tell(texts)

    def take_back(self) -> None:
        """Forgets them, whether the first worker has heard them or not."""
        self._over.wait()
        for key in self._keys:
            self._workers.remove(key)

    def _tell(self, texts: Callable[[], Iterator[tuple[str, Value]]]) -> None:
        if self._over.is_set():
            return
        try:
            for key, value in texts():
                self._put(key, value)
        except Exception as error:  # raised by the first worker, which saves nothing without them, as its own
            self._put(self._key, f"{type(error).__name__}: {error}")
        finally:
            self._over.set()

    def _put(self, key: str, value: Value) -> None:
        # Before it is put: what is taken back while it is under way must not be left behind.
        self._keys.append(key)
        with contextlib.suppress(tf.errors.OpError):  # nobody hears anything any more
            self._workers.put(key, value)


def said(key: str, raw: bytes) -> Iterator[tuple[str, Value]]:
    """Yields bytes as texts, with the keys under which `heard` finds them, below this one."""
    pieces = range(0, len(raw), PIECE)
    for number, begin in enumerate(pieces):
        yield f"{key}/{number}", base64.b64encode(raw[begin : begin + PIECE]).decode()
    # Last: who finds it finds all pieces.
    yield f"{key}/whole", {"pieces": len(pieces), "sha256": hashlib.sha256(raw).hexdigest()}


def heard(workers: Telling, key: str, patience: float) -> bytes:
    """Returns the bytes that another worker has said below a key.

    Args:
        workers: By whom.
        key: The key.
        patience: Seconds to wait for each of its texts.

    Raises:
        RuntimeError: If they are not what it has said.
    """
    whole = workers.get(f"{key}/whole", patience)
    if not isinstance(whole, dict):
        raise RuntimeError(f"What another worker says under {key!r} is not what it should be: {whole!r:.80}.")
    pieces = [str(workers.get(f"{key}/{number}", patience)) for number in range(int(str(whole["pieces"])))]
    raw = b"".join(map(base64.b64decode, pieces))  # texts alone can be told, so a third is added on the way
    if hashlib.sha256(raw).hexdigest() != whole["sha256"]:
        raise RuntimeError(f"What another worker has said under {key!r} has come to harm on its way.")
    return raw
