"""What workers tell one another in texts: a store of keys and values, which any thread may use."""

import contextlib
import json
import threading
import time
from typing import TYPE_CHECKING, Protocol

import tensorflow as tf

from loop.tf_internals import config_key_value, delete_config_key_value, set_config_key_value

if TYPE_CHECKING:
    from loop.workers.failures import FailureWatch

SLICE = 1.0  # seconds for which something is waited for before looking whether somebody has failed
Value = None | bool | int | float | str | list["Value"] | dict[str, "Value"]


class CommonStore(Protocol):
    """A store that all workers have in common. A key is written once."""

    def put(self, key: str, value: Value) -> bool:
        """Writes a value; returns False, and leaves all as it is, if the key is there already."""
        ...

    def get(self, key: str, timeout: float | None = None) -> Value:
        """Returns a value, and waits for it first; so many seconds at most.

        Raises:
            TimeoutError: If it does not come in time.
        """
        ...

    def listen(self, key: str, timeout: float) -> Value:
        """Returns a value, as `get` does, whatever is known of the others meanwhile."""
        ...

    def remove(self, key: str) -> None:
        """Forgets a key, if it is there."""
        ...


class WorkerFailed(RuntimeError):
    """Another worker has failed, so that none can go on."""


class InProcess:
    """A store for one process, and for the threads in it."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}
        self._changed = threading.Condition()

    def put(self, key: str, value: Value) -> bool:
        with self._changed:
            if key in self._values:
                return False
            # As text, as in a cluster: what JSON does not hold fails in one process, too.
            self._values[key] = json.dumps(value)
            self._changed.notify_all()
            return True

    def get(self, key: str, timeout: float | None = None) -> Value:
        with self._changed:
            if not self._changed.wait_for(lambda: key in self._values, timeout):
                raise TimeoutError(f"Nothing was written under {key!r} within {timeout:g} s.")
            return json.loads(self._values[key])

    def listen(self, key: str, timeout: float) -> Value:
        return self.get(key, timeout)

    def remove(self, key: str) -> None:
        with self._changed:
            self._values.pop(key, None)


class OfCluster:
    """The store of TensorFlow's coordination service, which the first worker runs.

    Attributes:
        failures: Who watches the workers, from when somebody does.
    """

    def __init__(self) -> None:
        self.failures: FailureWatch | None = None

    def put(self, key: str, value: Value) -> bool:
        try:
            set_config_key_value(key, json.dumps(value))
        except tf.errors.AlreadyExistsError:
            return False
        return True

    def get(self, key: str, timeout: float | None = None) -> Value:
        # Monotonic: a clock that is set meanwhile neither ends the wait nor makes it longer.
        end = None if timeout is None else time.monotonic() + timeout
        while end is None or time.monotonic() < end:
            # In slices, because a wait in TensorFlow cannot be ended: between two it looks who has failed.
            left = SLICE if end is None else min(SLICE, max(0.001, end - time.monotonic()))
            with contextlib.suppress(TimeoutError):
                return self.listen(key, left)
            # Who is at its end says nothing more. A wait that ends by itself may be the one for all to be at theirs.
            if self.failures is not None and (said := self.failures.said or (end is None and self.failures.left())):
                raise WorkerFailed(said)
        raise TimeoutError(f"Nothing was written under {key!r} within {timeout:g} s.")

    def listen(self, key: str, timeout: float) -> Value:
        try:
            return json.loads(config_key_value(key, timeout))
        except tf.errors.DeadlineExceededError as error:
            raise TimeoutError(f"Nothing was written under {key!r} within {timeout:g} s.") from error

    def remove(self, key: str) -> None:
        # What is gone already, or with the first worker, need not be removed.
        with contextlib.suppress(tf.errors.OpError):
            delete_config_key_value(key)
