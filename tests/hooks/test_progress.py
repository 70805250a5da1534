"""What a run shows of itself, in a log and on a terminal."""

import contextlib
import errno
import io
import itertools
import logging
import os
import re
import sys
import time
import types
from collections.abc import Callable, Iterator

import pytest
import rich.console
import tensorflow as tf
from places import TESTS, environment
from rich.cells import cell_len
from screen import recorded, seen

from hooks import Progress
from hooks.screen.progress_bar import bar
from hooks.shared.progress_line import ProgressLine, fitting, said_of
from loop import NEVER, At, Evaluation, Every, Hook, Loop, Moment, StreamData, Trigger

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
BAR_OR_TIME = re.compile(r"[━─]+|[-\d]:[-\d]{2}:[-\d]{2}")
RATE = re.compile(r"\d+\.\d steps/s")
CPP = re.compile(r"[IWE]\d{4} \d\d:\d\d:")
SPENT = re.compile(r"(\d+\.\d) s: (.*)\n\Z")


@pytest.fixture(autouse=True)
def able_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("CI", raising=False)


def console(*, terminal: bool) -> rich.console.Console:
    """Returns one whose clock goes on fast, so that nothing is left out."""
    time = itertools.count(0.0, 15.0).__next__
    return rich.console.Console(file=io.StringIO(), force_terminal=terminal, width=100, get_time=time)


def written(console: rich.console.Console) -> str:
    """Returns all that was written, with `?` for the rates, and without what the time went into."""
    assert isinstance(console.file, io.StringIO)
    return re.sub(r"\d+\.\d s: .*\n", "", RATE.sub("?", console.file.getvalue()))


def last_frame(console: rich.console.Console) -> list[str]:
    """Returns the words that a bar ended with, without the bar itself and the times."""
    frame = [line for line in seen(written(console), 100) if line][-1]
    return [word for word in frame.split() if not BAR_OR_TIME.fullmatch(word)]


def batches() -> tf.data.Dataset:
    """Returns 7 batches of one row."""
    return tf.data.Dataset.range(7).batch(1)


def counting_loop(
    *hooks: Hook,
    data: tf.data.Dataset | StreamData | None = None,
    name: str = "loss",
    eval_every: Trigger = Every(epochs=1),
) -> Loop:
    """Returns a loop of 7 steps an epoch whose loss is the number of steps, and whose evaluation gives that too."""
    count = tf.Variable(0.0)

    def train_step(batch: tf.Tensor) -> dict[str, tf.Tensor]:
        return {name: count.assign_add(1.0)}

    def eval_step(batch: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"count": count.read_value()}

    evaluate = Evaluation(eval_step, batches())
    return Loop(
        train_step, data or batches(), state={"count": count}, evaluate=evaluate, eval_every=eval_every, hooks=hooks
    )


class Text(io.TextIOWrapper):
    """A file, or a terminal."""

    terminal = False

    def isatty(self) -> bool:
        return self.terminal


class Accident(Hook):
    """Raises in SETUP, or after one step."""

    def __init__(self, every: Trigger, *, in_setup: bool) -> None:
        super().__init__()
        self.every, self._in_setup = every, in_setup

    def on_setup(self, loop: Loop, moment: Moment) -> None:
        if self._in_setup:
            raise ConnectionError("an accident")

    def on_step_end(self, moment: Moment) -> None:
        raise ConnectionError("an accident")


def test_a_log_gets_a_line_for_each_step_wanted_and_each_epoch() -> None:
    log = console(terminal=False)
    counting_loop(Progress(Every(steps=3), console=log)).run(epochs=2)
    assert written(log) == (
        "step 3 of 14  loss 3  (?)\n"
        "step 6 of 14  loss 6  (?)\n"
        "epoch 1, step 7 of 14  loss 4  val_count 7  (?)\n"
        "step 9 of 14  loss 9  (?)\n"
        "step 12 of 14  loss 12  (?)\n"
        "epoch 2, step 14 of 14  loss 11  val_count 14  (?)\n"
    )


def test_an_evaluation_stands_in_a_line_of_its_own_step() -> None:
    log = console(terminal=False)
    loop = counting_loop(Progress(At(5), console=log), eval_every=Every(steps=5))
    loop.run(steps=6)
    loop.run(steps=15)
    assert written(log) == (
        "step 5 of 6  loss 5  (?)\n"
        "step 5 of 6  val_count 5  (?)\n"
        "Going on from step 6, epoch 1.\n"
        "epoch 1, step 7 of 15  loss 4  (?)\n"
        "step 10 of 15  val_count 10  (?)\n"
        "epoch 2, step 14 of 15  loss 11  (?)\n"
        "step 15 of 15  val_count 15  (?)\n"
    )


def test_a_run_that_goes_on_says_from_where() -> None:
    log = console(terminal=False)
    loop = counting_loop(Progress(At(9), console=log))
    loop.run(steps=8)
    loop.run(steps=10)
    assert written(log) == (
        "epoch 1, step 7 of 8  loss 4  val_count 7  (?)\nGoing on from step 8, epoch 2.\nstep 9 of 10  loss 9  (?)\n"
    )


def test_a_log_of_data_of_unknown_length_names_no_total() -> None:
    log = console(terminal=False)
    data = StreamData(batches().filter(lambda row: True))
    counting_loop(Progress(At(5), console=log), data=data).run(epochs=1)
    assert written(log) == "step 5  loss 5  (?)\nepoch 1, step 7  loss 4  val_count 7  (?)\n"


@pytest.mark.parametrize("name", ["loss[a]", "loss[/a]", "loss:smile:", "l" + 100 * "o" + "ss"])
def test_a_log_has_names_as_they_are(name: str) -> None:
    log = console(terminal=False)
    counting_loop(Progress(At(5), console=log), name=name).run(steps=6)
    assert written(log) == f"step 5 of 6  {name} 5  (?)\n"


@pytest.mark.parametrize("name", ["loss[a]", "loss[/a]", "loss:smile:"])
def test_a_bar_has_names_as_they_are(name: str) -> None:
    screen = console(terminal=True)
    counting_loop(Progress(At(5), console=screen), name=name).run(steps=6)
    assert last_frame(screen) == ["epoch", "1/1", "6/6", "?", name, "6"]


def test_no_name_is_an_order_to_the_terminal() -> None:
    name = "x\x1b[2J\u202e\a\n名前🙂"
    assert said_of(name, 4.0) == "x\\x1b[2J\\u202e\\x07 名前🙂 4"
    assert ProgressLine("1/1", 3, 7, values={name: 4.0}).text(80).plain.endswith(f" 3/7  {said_of(name, 4.0)}")


def test_prints_of_a_program_go_where_it_sends_them(monkeypatch: pytest.MonkeyPatch) -> None:
    out, shown = Text(io.BytesIO()), Text(io.BytesIO(), encoding="utf-8")
    shown.terminal = True
    monkeypatch.setattr(sys, "stdout", out)  # python train.py > out.txt
    monkeypatch.setattr(sys, "stderr", shown)
    loop = counting_loop(Progress(At(3)))
    loop.on("epoch_end")(lambda moment: print("an epoch", file=(sys.stdout, sys.stderr)[moment.epoch - 1]))
    loop.run(epochs=2)
    out.flush()
    assert out.buffer.getvalue() == b"an epoch\n"  # type: ignore[attr-defined]
    lines = seen(shown.buffer.getvalue().decode(), 80)  # type: ignore[attr-defined]
    begun = [re.split("[,:━ ] *", line, maxsplit=2)[:2] for line in lines if line]
    spent = next(i for i, words in enumerate(begun) if words[1:] == ["s"])  # which may take two lines
    assert begun[spent - 3 : spent] == [
        ["epoch", "2"],
        ["an", "epoch"],
        ["epoch", "2/2"],
    ]
    assert sys.stderr is shown


def test_a_file_is_no_terminal_though_colours_are_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    file = Text(io.BytesIO())
    monkeypatch.setattr(sys, "stderr", file)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert not bar(rich.console.Console(stderr=True), ProgressLine()).live
    file.terminal = True
    assert bar(rich.console.Console(stderr=True), ProgressLine()).live


def test_a_terminal_without_unicode_has_a_bar_of_other_signs() -> None:
    shown = Text(io.BytesIO(), encoding="ascii", write_through=True)
    screen = rich.console.Console(file=shown, force_terminal=True, width=40)
    bar(screen, ProgressLine("1/1", 6, 9, values={"loss": 1.0, "b" * 30: 2.0})).draw()
    assert seen(shown.buffer.getvalue().decode(), 40) == ["epoch 1/1 #####--- 6/9  loss 1  ."]  # type: ignore[attr-defined]


def test_a_bar_ends_at_the_total() -> None:
    screen = console(terminal=True)
    counting_loop(Progress(Every(steps=2), console=screen)).run(epochs=2)
    assert last_frame(screen) == ["epoch", "2/2", "14/14", "?", "loss", "11", "val_count", "14"]
    assert [line for line in seen(written(screen), 100) if " of " in line] == [
        "epoch 1, step 7 of 14  loss 4  val_count 7  (?)",
        "epoch 2, step 14 of 14  loss 11  val_count 14  (?)",
    ]


def test_a_bar_does_not_lag_behind_the_lines_above_it() -> None:
    screen = console(terminal=True)
    counting_loop(Progress(At(3), console=screen), eval_every=At(5, 7)).run(epochs=2)
    pairs = re.findall(r"step (\d+) of 14[^\n]*\n[^\n]*?(\d+)/14", CONTROL.sub("", written(screen)))
    assert pairs == [("5", "5"), ("7", "7"), ("14", "14")]


def test_a_bar_of_a_run_that_goes_on_begins_where_it_is() -> None:
    screen = console(terminal=True)
    loop = counting_loop(Progress(At(3), console=screen))
    loop.run(steps=8)
    assert last_frame(screen) == ["epoch", "2/2", "8/8", "?", "loss", "8", "val_count", "7"]
    loop.run(steps=10)
    frames = re.findall(r"Going on from step 8, epoch 2|\d+/(?:8|10)\b", CONTROL.sub("", written(screen)))
    assert [frame for before, frame in zip([None, *frames], frames, strict=False) if frame != before] == [
        "0/8",
        "3/8",
        "7/8",
        "8/8",
        "Going on from step 8, epoch 2",
        "8/10",
        "10/10",
    ]


def test_a_bar_of_data_of_unknown_length_counts_without_a_total() -> None:
    screen = console(terminal=True)
    data = StreamData(batches().filter(lambda row: True))
    counting_loop(Progress(At(5), console=screen), data=data).run(epochs=1)
    assert last_frame(screen) == ["epoch", "1/1", "7/?", "?", "loss", "4", "val_count", "7"]


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("order", [lambda *hooks: hooks, lambda *hooks: hooks[::-1]], ids=["before", "after"])
def test_an_error_in_the_setup_of_another_hook_is_all_that_is_raised(
    terminal: bool, order: Callable[..., tuple[Hook, ...]]
) -> None:
    shown = console(terminal=terminal)
    loop = counting_loop(*order(Progress(console=shown), Accident(At(5), in_setup=True)))
    with pytest.raises(ConnectionError, match="an accident") as raised:
        loop.run(epochs=1)
    assert raised.value.__notes__ == ["Raised by hook 'accident' in on_setup."]
    assert "".join(seen(written(shown), 100)) == ""


def test_a_bar_that_an_error_ends_has_its_line_and_never_hides_the_cursor() -> None:
    screen = console(terminal=True)
    with pytest.raises(ConnectionError, match="an accident") as raised:
        counting_loop(Progress(At(3), console=screen), Accident(At(5), in_setup=False)).run(epochs=1)
    assert raised.value.__notes__ == ["Raised by hook 'accident' in on_step_end."]
    assert last_frame(screen) == ["epoch", "1/1", "5/7", "?", "loss", "3"]
    # Or a run that is killed would leave a terminal without one.
    assert "\x1b[?25l" not in written(screen)
    assert seen(written(screen), 100)[-2:] != [""]
    assert written(screen).endswith("\n")


@pytest.mark.more
@pytest.mark.parametrize("terminal", [False, True])
def test_the_last_line_says_what_the_time_went_into(terminal: bool) -> None:
    class Slow(Hook):
        def on_epoch_end(self, moment: Moment) -> None:
            time.sleep(0.3)

    shown = console(terminal=terminal)
    result = counting_loop(Progress(console=shown), Slow()).run(epochs=2)
    assert isinstance(shown.file, io.StringIO)
    total, said = SPENT.search(shown.file.getvalue()).groups()
    shares = {what: int(share) / 100 for what, share in re.findall(r"(\w+) (\d+)%", said)}
    assert {"slow", "steps"} <= {*shares} <= {*result.spent}
    assert list(shares.values()) == sorted(shares.values(), reverse=True)
    assert sum(shares.values()) <= 1.02
    rounded = 0.05 + 0.005 * (float(total) + 0.05)
    assert abs(shares["slow"] * float(total) - result.spent["slow"]) <= rounded


@pytest.mark.parametrize(("terminal", "seconds"), [(True, 0.5), (False, 30.0)])
def test_a_terminal_is_brought_up_to_date_more_often_than_a_log(terminal: bool, seconds: float) -> None:
    assert repr(Progress(console=console(terminal=terminal)).every) == f"Every(seconds={seconds})"


RECORDED = {
    "80 columns": ([80], [], {}),
    "200 columns": ([200], [], {}),
    "dumb": ([80], [], {"TERM": "dumb"}),
    "CI": ([80], [], {"CI": "true"}),
    "no colour": ([80], [], {"NO_COLOR": "1"}),
    "verbose=0": ([80], ["0"], {}),
    "verbose=2": ([80], ["2"], {}),
}
LINES = [
    "epoch 1, step 7 of 14  loss 4  mean_absolute_error 1.333  precision -4  val_loss -7  val_precision 1  (?)",
    "epoch 2, step 14 of 14  loss 11  mean_absolute_error 3.667  precision -11  val_loss -14*  val_precision 2  (?)",
]
STEPS = [
    f"step {step} of 14  loss {step}  mean_absolute_error {step / 3:.4g}  precision -{step}  (?)".replace(".000", "")
    for step in range(1, 15)
]
IN_LOG = [*STEPS[:7], LINES[0], *STEPS[7:], LINES[1]]
BARS = {
    80: "epoch 2/2 ━━━━━━━━━━━━━━ 14/14 ? 0:00:01  loss 11  val_loss -14*  …",
    200: "epoch 2/2 ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━ 14/14 ? 0:00:01  loss 11  mean_absolute_error 3.667  "
    "precision -11  val_loss -14*  val_precision 2",
}


def shown_at(widths: list[int], arguments: list[str], more: dict[str, str]) -> tuple[str, list[str]]:
    """Returns all that a run writes to a terminal, and what is to be seen of it in the end, unfolded."""
    given = {name: value for name, value in environment().items() if name not in ("CI", "NO_COLOR", "FORCE_COLOR")}
    command = [sys.executable, str(TESTS / "hooks/progress_life.py"), *arguments]
    status, written = recorded(command, given | {"TERM": "xterm"} | more, widths)
    assert status == 0, written
    text = "\n".join(seen(written, 10_000))
    lines = re.sub(r"\d+\.\d s: .*", "", RATE.sub("?", text)).splitlines()
    # Without what TensorFlow's C++ logs at its start, which depends on the machine.
    return written, [line for line in lines if line and not CPP.match(line) and "absl::" not in line]


@pytest.mark.long
def test_a_terminal_shows_what_fits() -> None:
    written, lines = shown_at([80], [], {})
    assert lines == [*LINES, BARS[80]]
    assert "tracing …" in written
    assert "\x1b[?25l" not in written  # the cursor is never hidden


@pytest.mark.long
@pytest.mark.parametrize("case", RECORDED)
def test_a_terminal_shows_a_bar_where_it_can_be_drawn_and_lines_elsewhere(case: str) -> None:
    widths, arguments, more = RECORDED[case]
    written, lines = shown_at(widths, arguments, more)
    expected = {
        "80 columns": [*LINES, BARS[80]],
        "no colour": [*LINES, BARS[80]],
        "200 columns": [*LINES, BARS[200]],
        "dumb": IN_LOG,
        "CI": IN_LOG,
        "verbose=0": [],
        "verbose=2": LINES,
    }
    assert lines == expected[case]
    assert ("\x1b[" in written) == ("columns" in case or "colour" in case)
    assert bool(re.search(r"\x1b\[[0-9;]*[39]\d", written)) == ("columns" in case)  # colours


@pytest.mark.long
def test_a_terminal_that_is_made_narrower_gets_frames_that_fit() -> None:
    written, _ = shown_at([200, 80, 50], ["--wait"], {})
    parts = [CONTROL.sub("", part) for part in written.split("#")]
    longest = [max(len(frame) for frame in re.findall(r"epoch \d/2 [^\r\n]*", part)) for part in parts]
    assert longest[0] <= 200
    assert longest[1] <= 200  # what was there is drawn again above
    frames = re.findall(r"epoch 2/2 [^\r\n]*", parts[1]) + re.findall(r"epoch 2/2 [^\r\n]*", parts[2])
    assert max(map(len, frames)) <= 80
    assert RATE.sub("?", frames[-1].rstrip()) == "epoch 2/2 ━━━━━━ 14/14 ? 0:00:01"  # 43 of 50 columns


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        (100, "loss 0.25  a_metric_with_a_name 12345  val_loss 0.5*  x nan"),
        (57, "loss 0.25  a_metric_with_a_name 12345  val_loss 0.5*  …"),
        (40, "loss 0.25  val_loss 0.5*  …"),
        (20, "val_loss 0.5*  …"),
        (9, ""),
    ],
)
def test_values_are_left_out_whole_and_those_that_are_watched_last(width: int, expected: str) -> None:
    values = {"loss": 0.25, "a_metric_with_a_name": 12345.0, "val_loss": 0.5, "x": float("nan")}
    assert fitting(values, width, first=["val_loss"], best=["val_loss"]) == expected


@pytest.mark.parametrize(
    ("values", "width", "expected"),
    [
        ({"a_long_name_of_one": 1.0, "b": 2.0}, 12, "b 2  …"),
        ({"a_long_name_of_one": 1.0, "a_long_name_of_two": 2.0}, 20, "a_long_…_of_one 1  …"),
        ({"a_long_name_of_one": 1.0, "a_long_name_of_two": 2.0}, 9, ""),
        ({"名前名前名前名前名前": 1.0}, 16, "名前…名前 1  …"),
    ],
)
def test_where_the_first_name_is_too_long_another_is_shown_or_a_part_of_it(
    values: dict[str, float], width: int, expected: str
) -> None:
    assert fitting(values, width) == expected
    assert cell_len(expected) <= width


def test_a_line_fits_and_keeps_its_numbers_in_their_places() -> None:
    names, widths = ("loss", "名前", "a\nb", "é" * 99), (10, 20, 30, 40, 60, 80, 120, 300)
    for width, total, name in itertools.product(widths, (None, 3, 1_000_000), names):
        line = ProgressLine("3/10", 3, total, "12.5 steps/s", "0:01:02", "", {name: 1.0, "b": 2.0})
        console = rich.console.Console(file=io.StringIO(), width=width)
        console.print(line.text(width))
        (shown,) = console.file.getvalue().splitlines()
        assert cell_len(shown) <= width
        if width >= 60:
            assert f"3/{total or '?'} 12.5 steps/s 0:01:02" in shown
            assert ("━" in shown or "─" in shown) == (total is not None)


def test_a_line_without_values_is_one() -> None:
    assert ProgressLine("1", 3).text(20).plain == "epoch 1 3/?"


@pytest.mark.long
def test_an_evaluation_that_takes_long_says_how_far_it_is() -> None:
    screen = console(terminal=True)
    assert isinstance(screen.file, io.StringIO)
    file, evaluating = screen.file, list[bool]()

    def slow() -> Iterator[int]:
        for i in range(7):
            deadline = time.monotonic() + 60
            while (
                i == 5
                and evaluating
                and not re.search(r"evaluating \d/7", file.getvalue())
                and time.monotonic() < deadline
            ):
                time.sleep(0.05)
            yield i

    count = tf.Variable(0.0)
    data = tf.data.Dataset.from_generator(slow, output_signature=tf.TensorSpec([], tf.int64)).batch(1).take(7)
    options = tf.data.Options()
    options.autotune.enabled = False
    data = data.apply(tf.data.experimental.assert_cardinality(7)).with_options(options)
    evaluate = Evaluation(lambda batch: {"count": count.read_value()}, data)
    loop = Loop(
        lambda batch: {"loss": count.assign_add(1.0)},
        batches(),
        state={"count": count},
        evaluate=evaluate,
        hooks=[Progress(console=screen)],
    )
    loop.on("eval_begin")(lambda moment: evaluating.append(True))  # and not when the data are looked at before
    loop.run(epochs=1)
    assert re.findall(r"evaluating (\d)/7", file.getvalue())
    assert last_frame(screen) == ["epoch", "1/1", "7/7", "?", "loss", "4", "val_count", "7"]


@pytest.mark.more
def test_fast_epochs_do_not_print_hundreds_of_lines() -> None:
    for terminal in (False, True):
        clock = itertools.count(0.0, 0.001).__next__  # no time at all
        shown = rich.console.Console(file=io.StringIO(), force_terminal=terminal, width=100, get_time=clock)
        counting_loop(Progress(console=shown), eval_every=NEVER).run(epochs=30)
        lines = [line for line in seen(written(shown), 100) if " of 210 " in line]
        assert 2 <= len(lines) < 9
        assert [line.split("  ")[0] for line in (lines[0], lines[-1])] == [
            "epoch 1, step 7 of 210",
            "epoch 30, step 210 of 210",
        ]


def test_lines_come_for_the_epochs_that_are_wanted_and_for_the_last() -> None:
    log = console(terminal=False)
    counting_loop(Progress(Every(epochs=2), console=log)).run(epochs=5)
    assert [line.split(",")[0] for line in written(log).splitlines()] == ["epoch 2", "epoch 4", "epoch 5"]
    log = console(terminal=False)
    counting_loop(Progress(Every(epochs=2) | At(3), console=log)).run(epochs=3)
    assert [line.split("  ")[0] for line in written(log).splitlines()] == [
        "step 3 of 21",
        "step 14 of 21",
        "epoch 2, step 14 of 21",
        "epoch 3, step 21 of 21",
    ]


def test_the_rate_is_that_of_the_last_seconds_of_training_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    spent = {"steps": 0.0, "evaluation": 0.0}
    monkeypatch.setattr(Loop, "spent", property(lambda loop: spent))
    log = console(terminal=False)
    loop = counting_loop(Progress(Every(steps=1), console=log), eval_every=Every(steps=100))

    @loop.on("epoch_begin")
    def slow(moment: Moment) -> None:
        spent["evaluation"] += 1000.0

    class Clock(Hook):
        def on_steps(self, first_step: int, values: object) -> None:
            spent["steps"] += 2.0 if first_step <= 7 else 1.0

    loop.hooks.add(Clock())
    loop.run(epochs=3)
    assert isinstance(log.file, io.StringIO)
    rates = re.findall(r"step (\d+) of 21.*\((.*) steps/s\)", log.file.getvalue())
    assert dict(rates)["7"] == "0.5"
    assert dict(rates)["21"] == "1.0"


class Notebook:
    """What IPython shows: the latest of each output."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def display(self, data: dict[str, str], *, raw: bool, display_id: bool) -> "Notebook":
        assert raw
        assert display_id
        self.shown.append(data["text/plain"])
        return self

    def update(self, data: dict[str, str], *, raw: bool) -> None:
        assert raw
        self.shown[-1] = data["text/plain"]


def test_a_notebook_has_one_line_that_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = Notebook()
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    module = types.ModuleType("IPython.display")
    module.display = notebook.display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    screen = console(terminal=False)
    screen.is_jupyter = True
    monkeypatch.setattr(screen, "out", lambda line, highlight: None)
    counting_loop(Progress(console=screen)).run(epochs=2)
    (line,) = notebook.shown
    words = [word for word in RATE.sub("?", line).split() if not BAR_OR_TIME.fullmatch(word)]
    assert words == ["epoch", "2/2", "14/14", "?", "loss", "11", "val_count", "14"]


def closed() -> Text:
    file = Text(open(os.devnull, "wb"))  # noqa: SIM115
    file.close()
    return file


def without_a_reader() -> Text:
    read, write = os.pipe()
    os.close(read)
    return Text(open(write, "wb"), line_buffering=True)


class Gone(io.StringIO):
    """What is not there any more."""

    terminal = False

    def write(self, text: str) -> int:
        raise OSError(errno.EIO, "Input/output error")

    def isatty(self) -> bool:
        return self.terminal


UNWRITABLE: dict[str, Callable[[], Text | Gone]] = {
    "closed": closed,
    "full": lambda: Text(open("/dev/full", "wb"), line_buffering=True),  # noqa: SIM115
    "without a reader": without_a_reader,
    "gone": Gone,
}


DEFAULT = [("standard error", "closed", False), ("standard error", "without a reader", True)]
PLACES = [
    pytest.param(*place, marks=[] if place in DEFAULT else pytest.mark.long)
    for place in itertools.product(["mine", "standard error"], UNWRITABLE, [False, True])
]


@pytest.mark.parametrize(("whose", "kind", "terminal"), PLACES)
def test_a_run_whose_progress_cannot_be_written_goes_on_and_says_so_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, whose: str, kind: str, terminal: bool
) -> None:
    file, out = UNWRITABLE[kind](), io.StringIO()
    file.terminal = terminal
    monkeypatch.setattr(sys, "stdout", out)
    if whose == "mine":
        screen = rich.console.Console(file=file, force_terminal=terminal, width=100)
    else:
        monkeypatch.setattr(sys, "stderr", file)
        screen = None
    progress = Progress(At(3, 5), console=screen)
    loop = counting_loop(progress)
    loop.on("epoch_end")(lambda moment: print("an epoch"))
    assert loop.run(epochs=2).step == 14
    (said,) = [record.message for record in caplog.records]
    assert "Hook 'progress' failed in on_run_begin: " in said or (not terminal and "in on_step_end: " in said)
    assert (sys.stdout, out.getvalue()) == (out, "an epoch\n" * 2)  # what the program prints does not go through a bar
    assert progress._console._buffer == []  # and nothing grows
    with contextlib.suppress(OSError, ValueError):
        file.close()


def test_a_log_that_can_be_written_again_is_written() -> None:
    class Full(io.StringIO):
        full = True

        def write(self, text: str) -> int:
            if self.full:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(text)

    file = Full()
    loop = counting_loop(Progress(At(3, 5), console=rich.console.Console(file=file, width=100)))

    @loop.on("step_end", every=At(4))
    def empty(moment: Moment) -> None:
        file.full = False

    loop.run(epochs=1)
    assert [line.split("  ")[0] for line in file.getvalue().splitlines()][:2] == ["step 5 of 7", "epoch 1, step 7 of 7"]


def test_a_run_that_is_to_end_where_its_progress_cannot_be_written_does() -> None:
    loop = counting_loop(Progress(At(3), console=rich.console.Console(file=closed()), on_error="raise"))
    with pytest.raises(ValueError, match="closed file") as caught:
        loop.run(epochs=1)
    assert "Raised by hook 'progress' in on_step_end." in caught.value.__notes__


def test_a_warning_that_cannot_be_written_ends_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    handler = logging.StreamHandler(closed())
    logger = logging.getLogger("exactloop")
    logger.addHandler(handler)
    monkeypatch.setattr(sys, "stderr", closed())
    try:
        assert counting_loop(Progress(At(3))).run(epochs=1).step == 7
    finally:
        logger.removeHandler(handler)
