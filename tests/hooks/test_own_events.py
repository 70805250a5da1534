"""Events of one's own."""

from types import SimpleNamespace

import pytest
import tensorflow as tf

from loop import Event, Every, Hook, Loop, Moment
from loop.listeners import calls


class Gan(Hook):
    """Sends an event after each second step."""

    events = ("generator_updated",)
    every = Every(steps=2)

    def on_setup(self, loop: Loop, moment: Moment) -> None:
        self.loop = loop

    def on_step_end(self, moment: Moment) -> None:
        self.loop.hooks.emit("generator_updated", fid=tf.constant(moment.step / 2))


class Notes(Hook):
    """Listens to it."""

    events = ("generator_updated",)
    every = Every(steps=1)

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[object] = []

    def on_generator_updated(self, moment: Moment) -> None:
        self.seen.append((moment.event, moment.step, dict(moment.logs)))

    def on_step_end(self, moment: Moment) -> None:
        self.seen.append(moment.step)


def make(*hooks: Hook) -> Loop:
    count = tf.Variable(0.0, name="count")
    data = tf.data.Dataset.range(4).batch(1)
    return Loop(lambda batch: {"n": count.assign_add(1.0)}, data, state={"count": count}, hooks=hooks)


def test_who_listens_is_told_at_once_in_order() -> None:
    notes = Notes()
    loop = make(Gan(), notes)
    late: list[int] = []

    @loop.on("generator_updated")
    def stop(moment: Moment) -> None:
        late.append(moment.step)
        if moment.step == 4:
            moment.stop("enough")

    assert loop.run(epochs=9).reason == "enough"
    assert notes.seen == [
        1,
        ("generator_updated", 2, {"fid": 1.0}),
        2,
        3,
        ("generator_updated", 4, {"fid": 2.0}),
        4,
    ]
    assert late == [2, 4]


def test_what_a_listener_raises_comes_out_with_its_name() -> None:
    loop = make(Gan())

    @loop.on("generator_updated")
    def fails(moment: Moment) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as raised:
        loop.run(epochs=1)
    assert raised.value.__notes__[:2] == [
        "Raised by hook 'fails' in on_generator_updated.",
        "Raised by hook 'gan' in on_step_end.",
    ]


def test_an_event_is_declared_and_sent_by_hooks() -> None:
    loop = make()
    with pytest.raises(ValueError, match=r"declared first: loop.hooks.declare\('sampled'\)"):
        loop.on("sampled")
    loop.hooks.declare("sampled")
    steps: list[int] = []
    loop.on("sampled")(lambda moment: steps.append(moment.step))
    loop.on(Event.EPOCH_END)(lambda moment: loop.hooks.emit("sampled"))
    with pytest.raises(RuntimeError, match=r"emit\('sampled'\) is for hooks, while they are called"):
        loop.hooks.emit("sampled")
    loop.run(epochs=2)
    assert steps == [4, 8]
    with pytest.raises(ValueError, match=r"Received: 'smapled'. Declared: 'sampled'"):
        loop.hooks.emit("smapled")
    with pytest.raises(ValueError, match=r"emit\(event\) sends an event that is declared"):
        loop.hooks.emit(Event.STEP_END)


@pytest.mark.parametrize("event", ["step_end", "steps", "report", "on", "a b", "", 3])
def test_a_name_is_not_one_of_the_loops(event: object) -> None:
    wrong = event != "on"
    if wrong:
        with pytest.raises(ValueError, match=r"needs a name that on_... can be put before"):
            make().hooks.declare(event)
    else:
        make().hooks.declare(event)


def test_a_method_for_an_event_that_the_class_does_not_name_is_refused() -> None:
    with pytest.raises(
        TypeError, match=r"on_generator_update would never be called.*Did you mean on_generator_updated"
    ):
        type("Typo", (Hook,), {"events": ("generator_updated",), "on_generator_update": lambda self, moment: None})
    with pytest.raises(TypeError, match=r"Text.events needs a tuple of names, as in \('a',\)"):
        type("Text", (Hook,), {"events": "a"})


def test_who_listens_without_declaring_is_told_what_to_write() -> None:
    def listener(**more: object) -> type[Hook]:
        return type("Listener", (Hook,), {"on_probed": lambda self, moment: None, **more})

    with pytest.raises(TypeError, match=r"on_probed would never.*own, write events = \('probed',\) in the class, too"):
        listener()
    assert listener(events=("probed",)).events == ("probed",)


@pytest.mark.parametrize("method", ["ahead", "before_step"])
def test_what_is_done_before_a_step_needs_its_numbers(method: str) -> None:
    with pytest.raises(TypeError, match="Half defines one of ahead and before_step"):
        type("Half", (Hook,), {method: lambda self, *given: None})


def test_the_time_of_who_listens_is_not_that_of_who_sends_too(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(calls, "time", SimpleNamespace(perf_counter=lambda: now[0]))

    class Sends(Hook):
        events = ("ping", "pong")
        every = Every(steps=1)

        def on_setup(self, loop: Loop, moment: Moment) -> None:
            self.loop = loop

        def on_step_end(self, moment: Moment) -> None:
            now[0] += 1.0
            self.loop.hooks.emit("ping")
            self.loop.hooks.emit("ping")

    class Between(Hook):
        events = ("ping", "pong")

        def on_setup(self, loop: Loop, moment: Moment) -> None:
            self.loop = loop

        def on_ping(self, moment: Moment) -> None:
            now[0] += 10.0
            self.loop.hooks.emit("pong")

    class Last(Hook):
        events = ("ping", "pong")

        def on_pong(self, moment: Moment) -> None:
            now[0] += 100.0
            if moment.step == 2:
                raise ValueError("enough")

    loop = make(Sends(), Between(), Last(on_error="warn"))
    loop.run(steps=2)
    assert loop.hooks.seconds == {"sends": 2.0, "between": 40.0, "last": 400.0}


def test_a_function_may_have_any_name_that_python_takes() -> None:
    loop, seen = make(), list[int]()
    loop.hooks.declare("größe")

    @loop.on(Event.EPOCH_END)
    def zähle(moment: Moment) -> None:
        seen.append(moment.step)
        loop.hooks.emit("größe")

    loop.on("größe")(lambda moment: seen.append(-moment.step))
    loop.run(epochs=1)
    assert seen == [4, -4]
    assert [hook.name for hook in loop.hooks] == ["on_epoch_end", "on_event"]
