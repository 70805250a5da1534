"""Who has asked for the end of a run, alone and as one of several workers."""

import pytest
import tensorflow as tf

from loop import ArrayData, At, Event, Every, Halt, Hook, Loop, Moment, Trigger
from loop.stops import Stops, Wish


def asked(stops: Stops) -> tuple[str | None, bool, bool]:
    """Returns the reason, and how soon, when all workers have agreed on what this one wants."""
    if (wish := stops.wish()) is not None:
        stops.take(wish.reason, wish, at_once=wish.at_once, ends_epoch=wish.ends_epoch)
    return stops.reason, stops.at_once, stops.ends_epoch


def make(together: bool) -> Stops:
    return Stops(lambda: None, together=together)


@pytest.mark.parametrize("together", [False, True])
def test_the_first_reason_is_the_one_that_counts(together: bool) -> None:
    stops = make(together)
    stops.after_round("patience", end_epoch=True)
    stops.now("SIGTERM")
    stops.after_round("late")
    assert asked(stops) == ("patience", True, True)


@pytest.mark.parametrize("together", [False, True])
def test_a_round_that_is_undone_takes_with_it_what_its_hooks_asked_for(together: bool) -> None:
    stops = make(together)
    stops.after_round("patience", end_epoch=True)
    stops.forget_round()
    assert asked(stops) == (None, False, False)
    stops.now("SIGTERM")
    stops.after_round("patience", end_epoch=True)
    stops.forget_round()
    assert asked(stops) == ("SIGTERM", True, False)


def test_what_is_asked_for_while_the_workers_exchange_waits_for_the_next_exchange() -> None:
    stops = make(together=True)
    told = stops.wish()
    stops.now("SIGTERM")  # by another thread
    stops.take("enough", told, at_once=False)
    assert (stops.reason, stops.at_once, stops.wish()) == ("enough", False, Wish("SIGTERM", at_once=True))
    assert asked(stops) == ("enough", True, False)
    told = stops.wish()
    stops.after_round("more", end_epoch=True)
    stops.take("enough", told, at_once=False)
    assert stops.wish() == Wish("more", at_once=False, ends_epoch=True)


def test_an_epoch_that_is_to_end_ends_with_a_step_that_is_skipped_too() -> None:
    class Ends(Hook):
        every = Every(steps=1)

        def __init__(self) -> None:
            super().__init__()
            self.heard: list[tuple[str, int, int]] = []

        def skips(self) -> list[int]:
            return [1]

        def hear(self, moment: Moment) -> None:
            self.heard.append((str(moment.event), moment.step, moment.epoch))
            if moment.event == Event.EPOCH_BEGIN:
                moment.stop("enough", end_epoch=True)

        on_epoch_begin = on_step_end = on_epoch_end = on_settled = hear

    count = tf.Variable(0.0, name="count")
    ends = Ends()
    data = tf.data.Dataset.range(4).batch(1)
    loop = Loop(lambda batch: {"n": count.assign_add(1.0)}, data, state={"count": count}, hooks=[ends])
    assert loop.run(epochs=2).epoch == 1
    assert ends.heard == [("epoch_begin", 0, 0), ("epoch_end", 1, 1), ("settled", 1, 1)]


@pytest.mark.parametrize("back", [0, 5])
def test_a_trigger_that_returns_no_later_step_is_named(back: int) -> None:
    class Stuck(At):
        def next_after(self, step: int) -> int:
            return step - back

    class Waits(Hook):
        every = Stuck(1)

        def on_step_end(self, moment: Moment) -> None:
            pass

    count = tf.Variable(0.0, name="count")
    data = tf.data.Dataset.range(4).batch(1)
    loop = Loop(lambda batch: {"n": count.assign_add(1.0)}, data, state={"count": count}, hooks=[Waits()])
    with pytest.raises(ValueError, match=rf"of hook 'waits' .* Received: next_after\(0\) == {-back}, of At\(1\)"):
        loop.run(steps=2)


class Odd(Trigger):
    """Fires at each odd step."""

    def next_after(self, step: int) -> int:
        return step + 1 + step % 2

    def next_time(self, seconds: float) -> None:
        return None

    def due(self, halt: Halt) -> bool:
        return halt.step % 2 == 1


class WithoutOr:
    """The same, with the three methods alone."""

    def __init__(self) -> None:
        odd = Odd()
        self.next_after, self.next_time, self.due = odd.next_after, odd.next_time, odd.due


@pytest.mark.more
@pytest.mark.parametrize(
    ("every", "steps"),
    [
        (Odd(), [1, 3, 5]),
        (WithoutOr(), [1, 3, 5]),
        (Odd() | At(4), [1, 3, 4, 5]),
        (At(4) | Odd(), [1, 3, 4, 5]),
        (Odd() | At(4) | Every(steps=6), [1, 3, 4, 5, 6]),
    ],
)
def test_a_trigger_of_ones_own_says_when_also_joined_with_others(every: Trigger, steps: list[int]) -> None:
    heard = list[int]()
    count = tf.Variable(0.0, name="count")
    data = tf.data.Dataset.range(8).batch(1)
    loop = Loop(lambda batch: {"n": count.assign_add(1.0)}, data, state={"count": count})
    loop.on(Event.STEP_END, every=every)(lambda moment: heard.append(moment.step))
    loop.run(steps=6)
    assert heard == steps


def test_where_a_run_will_end_is_known_also_behind_an_epoch_that_was_ended_early() -> None:
    weight, found = tf.Variable(0.0), list[tuple[int | None, int | None]]()
    data = ArrayData(tf.range(4.0), batch_size=1)
    loop = Loop(lambda x: {"weight": weight.assign_add(x[0])}, data, state={"weight": weight})
    loop.on("step_end", every=At(2))(lambda moment: moment.stop("enough", end_epoch=True))
    loop.on("run_begin")(lambda moment: found.append((loop.total_steps, loop.total_epochs)))
    loop.run(epochs=3)
    assert loop.run(epochs=3).step == 10
    loop.run(steps=12)
    assert found == [(12, 3), (10, 3), (12, 4)]
