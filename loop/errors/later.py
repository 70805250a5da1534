"""Attributes that are there later than their object."""

from typing import Any


class NotYet(RuntimeError, AttributeError):
    """What was asked for is not there yet. An `AttributeError` too, so that `hasattr` answers as of any object."""


class _Later:
    """What a class has in the place of an attribute that its instances set later; then it costs nothing."""

    def __init__(self, when: str) -> None:
        self._when = when

    def __get__(self, instance: object, owner: type) -> "_Later":
        # Asked of the class itself, as documentation tools do.
        if instance is None:
            return self
        # An instance that has set it never comes here: what is in its `__dict__` goes first.
        raise NotYet(self._when)


def later(when: str) -> Any:
    """Returns what to declare such an attribute with; read too early, it raises `NotYet`, which says when it will be.

    Args:
        when: What is said.
    """
    return _Later(when)
