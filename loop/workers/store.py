"""What workers tell one another in texts: a store of keys and values, which any thread may use."""

import contextlib
import json
import threading
from collections.abc import Callable
from typing import Protocol

import tensorflow as tf

from loop.tf_internals import config_key_value, delete_config_key_value, set_config_key_value

Value = None | bool | int | float | str | list["Value"] | dict[str, "Value"]


class Store(Protocol):
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

    def remove(self, key: str) -> None:
        """Forgets a key, if it is there."""
        ...


class InProcess:
    """A store for one process, and for the threads in it."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}
        self._changed = threading.Condition()

    def put(self, key: str, value: Value) -> bool:
        with self._changed:
            if key in self._values:
                return False
            self._values[key] = json.dumps(value)
            self._changed.notify_all()
            return True

    def get(self, key: str, timeout: float | None = None) -> Value:
        with self._changed:
            if not self._changed.wait_for(lambda: key in self._values, timeout):
                raise TimeoutError(f"Nothing was written under {key!r} within {timeout:g} s.")
            return json.loads(self._values[key])

    def remove(self, key: str) -> None:
        with self._changed:
            self._values.pop(key, None)


class OfCluster:
    """The store of TensorFlow's coordination service, which the first worker runs.

    Args:
        explained: Returns what to raise instead of an error of TensorFlow's: that a worker has failed, say.
    """

    def __init__(self, explained: Callable[[tf.errors.OpError], Exception]) -> None:
        self._explained = explained

    def put(self, key: str, value: Value) -> bool:
        try:
            set_config_key_value(key, json.dumps(value))
        except tf.errors.AlreadyExistsError:
            return False
        except tf.errors.OpError as error:
            raise self._explained(error) from error
        return True

    def get(self, key: str, timeout: float | None = None) -> Value:
        try:
            return json.loads(config_key_value(key, timeout))
        except tf.errors.DeadlineExceededError as error:
            raise TimeoutError(f"Nothing was written under {key!r} within {timeout:g} s.") from error
        except tf.errors.OpError as error:
            raise self._explained(error) from error

    def remove(self, key: str) -> None:
        with contextlib.suppress(tf.errors.OpError):
            delete_config_key_value(key)
