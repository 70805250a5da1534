"""What one thread has something of theirs mean, no other thread sees."""

import threading
from collections.abc import Callable
from types import SimpleNamespace

from loop.tf_internals import Attribute


class Theirs:
    """Somebody's class."""

    def said(self, text: str) -> str:
        return f"their {text}"


def louder(usual: Callable[[Theirs, str], str]) -> Callable[[Theirs, str], str]:
    return lambda self, text: usual(self, text) + "!"


def heard_elsewhere() -> str:
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(Theirs().said("word")))
    thread.start()
    thread.join()
    return found[0]


def test_a_method_is_another_one_in_one_thread_and_is_put_back() -> None:
    place, usual = Attribute(Theirs, "said"), Theirs.said
    with place.filled(louder):
        assert Theirs().said("word") == "their word!"
        assert heard_elsewhere() == "their word"
        with place.filled(louder):
            assert Theirs().said("word") == "their word!!"
        assert Theirs().said("word") == "their word!"
    assert Theirs.said is usual


def test_threads_that_come_and_go_in_any_order_leave_what_is_theirs() -> None:
    module = SimpleNamespace(said=lambda: "theirs")
    place, usual = Attribute(module, "said"), module.said
    entered, leave, found = threading.Event(), threading.Event(), list[str]()

    def other() -> None:
        with place.filled(lambda usual: lambda: "the other's"):
            entered.set()
            leave.wait(60)
            found.append(module.said())

    thread = threading.Thread(target=other)
    with place.filled(lambda usual: lambda: "mine"):
        thread.start()
        entered.wait(60)
        assert module.said() == "mine"
    assert module.said() == "theirs"
    leave.set()
    thread.join()
    assert found == ["the other's"]
    assert module.said is usual
