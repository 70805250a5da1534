"""What a hook is given cannot be changed under the others' hands; what it makes of it is its own."""

import copy
import json
import pickle
from collections.abc import Callable, Mapping

import numpy as np
import pytest
import tensorflow as tf

from loop import ArrayData, Event, Every, Hook, Loop, Moment

WRITES: dict[str, Callable[[dict[str, float]], object]] = {
    "[]": lambda logs: logs.__setitem__("loss", 0.5),
    "del": lambda logs: logs.__delitem__("loss"),
    "|=": lambda logs: logs.__ior__({"loss": 0.5}),
    "update": lambda logs: logs.update(loss=0.5),
    "setdefault": lambda logs: logs.setdefault("new", 0.5),
    "pop": lambda logs: logs.pop("loss"),
    "popitem": lambda logs: logs.popitem(),
    "clear": lambda logs: logs.clear(),
}


def make_loop(*hooks: Hook) -> Loop:
    weight = tf.Variable(0.0)
    data = ArrayData(tf.range(6.0), batch_size=2, shuffle=False)
    return Loop(lambda x: {"loss": weight.assign_add(tf.reduce_mean(x))}, data, state={"weight": weight}, hooks=hooks)


@pytest.mark.more
@pytest.mark.parametrize("event", [Event.STEP_END, Event.EPOCH_END, Event.SETTLED, Event.RUN_END])
def test_writing_to_logs_raises_and_changes_nothing(event: Event) -> None:
    loop, told = make_loop(), []

    def write(moment: Moment) -> None:
        before = dict(moment.logs)
        for write in WRITES.values():
            with pytest.raises(TypeError, match=r"read-only.*Change a copy of it, as in logs = dict\(moment.logs\)"):
                write(moment.logs)
        told.append((before, moment.logs))

    loop.on(event, **({"every": Every(steps=1)} if event is Event.STEP_END else {}))(write)
    assert loop.run(steps=3).logs == {"loss": 11 / 3}
    assert told
    assert [(before, after) for before, after in told if before != after] == []


def test_logs_are_a_dict_to_whoever_reads_or_copies_them() -> None:
    seen = []

    def read(moment: Moment) -> None:
        logs = moment.logs
        copies = [dict(logs), logs.copy(), copy.copy(logs), copy.deepcopy(logs)]
        copies += [pickle.loads(pickle.dumps(logs))]  # noqa: S301
        copies += [logs | {}, {} | logs, {**logs}, json.loads(json.dumps(logs))]
        seen.extend(copies)
        assert [each for each in copies if type(each) is not dict] == []
        copies[0]["mine"] = 1.0

    loop = make_loop()
    loop.on(Event.STEP_END, every=Every(steps=1))(read)
    loop.run(steps=1)
    assert seen == [{"loss": 0.5, "mine": 1.0}] + [{"loss": 0.5}] * 8


def test_what_rebuilds_a_nest_makes_plain_dictionaries_of_logs() -> None:
    made = []

    def read(moment: Moment) -> None:
        made.append(tf.nest.map_structure(lambda value: value + 1, moment.logs))
        made.append(tf.function(lambda logs: tf.nest.map_structure(lambda value: value * 2, logs))(moment.logs))
        with pytest.raises(TypeError, match="read-only"):
            moment.logs["loss"] = 0.0

    loop = make_loop()
    loop.on(Event.STEP_END, every=Every(steps=1))(read)
    empty = []
    loop.on(Event.EPOCH_BEGIN)(lambda moment: empty.append(moment.logs))
    loop.run(steps=1)
    assert [{name: float(value) for name, value in each.items()} for each in made] == [{"loss": 1.5}, {"loss": 1.0}]
    made[0]["mine"] = 1.0
    with pytest.raises(TypeError, match="read-only"):
        empty[0]["loss"] = 0.0


def test_values_of_steps_are_read_only() -> None:
    class Writer(Hook):
        def on_steps(self, first_step: int, values: Mapping[str, np.ndarray]) -> None:
            with pytest.raises(ValueError, match="read-only"):
                values["loss"][0] = 9.0
            with pytest.raises(ValueError, match="read-only"):
                values["loss"] *= 2
            with pytest.raises(TypeError, match="read-only"):
                values["loss"] = np.zeros(1)
            np.copy(values["loss"])[0] = 9.0

    class Reader(Hook):
        def on_steps(self, first_step: int, values: Mapping[str, np.ndarray]) -> None:
            read.extend(values["loss"].tolist())

    read: list[float] = []
    make_loop(Writer(), Reader()).run(steps=3)
    assert read == [0.5, 3.0, 7.5]


def test_what_a_loop_hands_out_is_read_only_or_a_copy() -> None:
    loop = make_loop()
    result = loop.run(steps=3)
    with pytest.raises(TypeError, match="read-only"):
        loop.state.variables.clear()
    loop.spent["mine"] = loop.hooks.seconds["mine"] = loop.evaluation_names["mine"] = 1.0
    assert "mine" not in {**loop.spent, **loop.hooks.seconds, **loop.evaluation_names}
    result.logs["accuracy"] = 1.0  # nobody else has it
    assert loop.run(steps=3).logs == {"loss": result.logs["loss"]}
    assert copy.deepcopy(result) == result
