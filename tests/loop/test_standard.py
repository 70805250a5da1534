"""Programs that are started with standard descriptors closed, or close them.

    PYTHONPATH=.:tests python tests/loop/test_standard.py DIRECTORY

is a process in which each subset of them is closed before a run, or in its midst; it writes down what they were.
"""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pytest
import tensorflow as tf
from places import environment

from hooks import Checkpoint, Preemption, TensorBoard, restore
from loop import ArrayData, Event, Every, Loop, Moment

SUBSETS = [closed for count in range(4) for closed in itertools.combinations(range(3), count)]


def counting_loop(directory: Path, *, save: bool = True) -> Loop:
    """Returns a loop after whose n-th step there is n."""
    count = tf.Variable(0.0, name="count")
    hooks = [
        TensorBoard(directory / "tensorboard", Every(steps=1)),
        Checkpoint(directory, Every(steps=2), keep=9, background=False),
    ]
    data = ArrayData(tf.range(8), batch_size=1, seed=1)
    step = lambda x: {"loss": count.assign_add(1.0)}  # noqa: E731 (traced with its loop)
    return Loop(step, data, state={"count": count}, hooks=[*hooks, Preemption()] if save else [])


def targets() -> list[str | None]:
    """Returns what each of the three is; None: closed."""
    paths = [f"/proc/self/fd/{number}" for number in range(3)]
    return [os.readlink(path) if os.path.lexists(path) else None for path in paths]


def print_astray(moment: Moment) -> None:
    for number in (1, 2):
        os.write(number, b"astray")


def main(directory: Path) -> None:
    """Each subset is closed before a run of the loop, and another time in its midst; all are closed before anything."""
    loop = counting_loop(directory)
    seen: dict[str, list[list[str | None]]] = {}

    @loop.on(Event.STEP_END, every=Every(steps=1))
    def close(moment: Moment) -> None:
        if moment.step % 4 == 3:
            for number in SUBSETS[moment.step // 4 % 8]:
                os.close(number)

    def look(moment: Moment) -> None:
        seen.setdefault(str(moment.event), []).append(targets())
        if moment.event != Event.SETTLED:  # where they may be closed, just now
            print_astray(moment)

    loop.on(Event.SETUP)(lambda loop, moment: look(moment))
    for event in (Event.RUN_BEGIN, Event.SETTLED, Event.RUN_END):
        loop.on(event)(lambda moment: look(moment))
    for number, closed in enumerate(SUBSETS):
        for each in closed:
            os.close(each)
        loop.run(steps=4 * number + 4)
    (directory / "seen").write_text(json.dumps(seen))


@pytest.mark.more
@pytest.mark.parametrize("closed", [(0, 1, 2), *(pytest.param(each, marks=pytest.mark.long) for each in SUBSETS[:-1])])
def test_what_is_closed_at_the_start_or_later_never_becomes_a_file_of_ours(
    closed: tuple[int, ...], tmp_path: Path
) -> None:
    shell = " ".join(["exec", '"$@"', *(f"{number}>&-" for number in closed)])
    command = ["sh", "-c", shell, "sh", sys.executable, __file__, str(tmp_path)]
    done = subprocess.run(command, env=environment(), capture_output=True, stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 0, done.stderr
    seen = json.loads((tmp_path / "seen").read_text())
    assert {event: len(times) for event, times in seen.items() if event != "settled"} == dict.fromkeys(
        ("setup", "run_begin", "run_end"), len(SUBSETS)
    )
    given = set() if len(closed) == 3 else set(seen["setup"][0])  # what has not been closed yet
    assert {t for times in seen.values() for time in times for t in time} - given <= {"/dev/null", None}
    left = {t for event in ("setup", "run_begin", "run_end") for time in seen[event] for t in time}
    assert None not in left
    assert (b"astray" in done.stdout, b"astray" in done.stderr) == (1 not in closed, 2 not in closed)
    count = tf.Variable(0.0)
    assert [restore(tmp_path, {"count": count}, which=step) for step in (24, 32)] == [24, 32]
    assert float(count) == 32.0
    assert not any(b"astray" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_those_that_are_open_stay_what_they_are_and_children_get_those_that_were_closed(tmp_path: Path) -> None:
    """In a fork, because pytest's own must stay."""
    if pid := os.fork():
        assert os.waitpid(pid, 0)[1] == 0
        return
    from loop import standard

    read, write = os.pipe()
    os.dup2(write, 1)
    os.close(0)
    os.close(2)
    standard.occupy()
    found = targets() == ["/dev/null", os.readlink(f"/proc/self/fd/{write}"), "/dev/null"]
    says = "import os; os.write(2, b'x'); print(os.read(0, 1))"
    subprocess.run([sys.executable, "-c", says], check=False)
    os._exit(0 if found and os.read(read, 20) == b"b''\n" else 1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
