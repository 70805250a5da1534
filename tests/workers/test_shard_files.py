"""Several processes, each of which reads files of its own: every row once, and the same bits after any kill."""

import random
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import file_cases
import numpy as np
import pytest
import tensorflow as tf
from cluster import run, running
from file_cases import ROWS

from hooks import restore

STEPS, EVERY = 20, 3
LONG = [("drawn", 0, 8), ("endless", 1, 9), ("even", 0, 13), ("by epoch", 1, 14), ("plain", 0, 7)]
KINDS = ("rows", "even", "drawn", "endless", "by epoch", "plain")


def in_steps(workers: Sequence[dict]) -> list[tuple[list[int], ...]]:
    """Returns the rows that each worker has trained, step by step."""
    return list(zip(*(worker["written"] for worker in workers), strict=True))


def passes(workers: Sequence[dict]) -> list[list[list[int]]]:
    """Returns the rows that each worker has trained in each pass over all files, of the passes that are complete."""
    found: list[list[list[int]]] = [[[] for _ in workers]]
    for of_all in in_steps(workers):
        if sum(map(len, found[-1])) == ROWS:
            found.append([[] for _ in workers])
        for rows, own in zip(found[-1], of_all, strict=True):
            rows += own
    return [each for each in found if sum(map(len, each)) == ROWS]


def check_equal(workers: Sequence[dict]) -> None:
    """All workers have the same bits, and have seen the same."""
    first = {**workers[0], "written": None}
    assert [{**each, "written": None} for each in workers] == [first] * len(workers)


def as_one(workers: Sequence[dict]) -> np.ndarray:
    """Returns what one process computes of the rows of all workers in each step."""
    weights, velocity = np.zeros([2, 1]), np.zeros([2, 1])
    for of_all in in_steps(workers):
        numbers = np.array([number for own in of_all for number in own], np.float64)
        x = np.sin(np.stack([numbers, 2 * numbers], 1))
        gradient = 2 * x.T @ (x @ weights - numbers[:, np.newaxis] / ROWS) / len(numbers)
        velocity = 0.9 * velocity - 0.1 * gradient
        weights = weights + velocity
    return weights.ravel()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> str:
    return file_cases.write(tmp_path_factory.mktemp("data") / "files")


@pytest.mark.more
@pytest.mark.parametrize("count", [2, pytest.param(3, marks=pytest.mark.long)])
def test_each_row_is_seen_once_in_a_pass_by_one_worker(count: int, files: str, tmp_path: Path) -> None:
    plan = [["filed", kind, files, str(tmp_path / kind), str(STEPS)] for kind in KINDS]
    of_kinds = [list(each) for each in zip(*run(plan, count, tmp_path), strict=True)]
    for kind, workers in zip(KINDS, of_kinds, strict=True):
        check_equal(workers)
        assert workers[0]["step"] == STEPS
        assert workers[0]["steps"]["rows"] == [sum(map(len, each)) for each in in_steps(workers)]
        if kind not in ("even", "endless"):  # of these, a pass does not end with an epoch, or leaves something out
            complete = passes(workers)
            assert len(complete) > 1
            for each in complete:
                assert sorted(row for own in each for row in own) == list(range(ROWS))
            assert (complete[0] == complete[1]) == (kind == "plain")
    rows = of_kinds[0]
    np.testing.assert_allclose(rows[0]["weights"], as_one(rows), rtol=1e-4, atol=1e-5)
    endless = [[row for step in worker["written"] for row in step] for worker in of_kinds[KINDS.index("endless")]]
    assert not {*endless[0][: ROWS // count // 2]} & {*endless[1][: ROWS // count // 2]}


def check_goes_on(plan: list[str], files: str, tmp_path: Path) -> None:
    """A run that was cut short ends with the bits of one that was not, in all workers, which see the same rows."""
    before = [len(Path(f"{plan[3]}-rows-{rank}").read_text().splitlines()) for rank in range(2)]
    whole = [*plan[:3], str(tmp_path / "whole"), *plan[4:6]]
    again, wholes = zip(*run([plan[:6], whole], 2, tmp_path / "again"), strict=True)
    check_equal(again)
    check_equal(wholes)
    left = len(again[0]["steps"]["loss"])
    assert 0 < left < STEPS
    for resumed, other, count in zip(again, wholes, before, strict=True):
        assert resumed["digests"] == other["digests"]
        assert resumed["written"][count:] == other["written"][-left:]
        assert {name: column[-left:] for name, column in other["steps"].items()} == resumed["steps"]


@pytest.mark.more
@pytest.mark.parametrize(
    ("kind", "victim", "at"),
    [
        ("rows", 1, 11),  # where one of them has read all of its files
        *(pytest.param(*case, marks=pytest.mark.long) for case in LONG),
    ],
)
def test_a_worker_is_killed_in_mid_epoch(kind: str, victim: int, at: int, files: str, tmp_path: Path) -> None:
    plan = ["filed", kind, files, str(tmp_path / "saved"), str(STEPS), str(EVERY)]
    with running([[*plan, "0.2"]], 2, tmp_path / "killed") as cluster:
        cluster.wait_for(victim, f"step {at}.")
        cluster.kill(victim)
        ended = cluster.ended()
    assert ended[victim].code == -signal.SIGKILL
    assert ended[1 - victim].code == 1
    assert list((tmp_path / "saved").glob("ckpt-*.json"))
    check_goes_on(plan, files, tmp_path)


@pytest.mark.long
def test_however_often_workers_are_killed_they_end_with_the_same_bits(files: str, tmp_path: Path) -> None:
    """One, the first one, or both; by a signal that they hear, or none; while they start, restore, train and save."""
    plan, rng = ["filed", "drawn", files, str(tmp_path / "saved"), "200", str(EVERY)], random.Random(1)
    for _ in range(8):
        with running([[*plan, "0.1"]], 2, tmp_path / "lives") as cluster:
            cluster.wait_for(rng.randrange(2), rng.choice(["case filed.", "step ", "step "]))
            time.sleep(rng.random() * 2)
            for rank in rng.choice([[0], [1], [0, 1]]):
                cluster.kill(rank, rng.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM]))
            cluster.ended()
    whole = [*plan[:3], str(tmp_path / "whole"), *plan[4:]]
    workers = run([plan, whole], 2, tmp_path / "last")
    for again, once in workers:
        assert again["digests"] == once["digests"]
        assert again["written"][-6:] == once["written"][-6:]
    check_equal([again for again, _ in workers])


@pytest.mark.long
def test_a_signal_at_one_saves_where_all_are(files: str, tmp_path: Path) -> None:
    plan = ["filed", "rows", files, str(tmp_path / "saved"), str(STEPS), "1000"]
    with running([[*plan, "0.2"]], 2, tmp_path / "signal") as cluster:
        cluster.wait_for(1, "step 7.")
        cluster.kill(1, signal.SIGTERM)
        ended = cluster.ended()
    assert [each.code for each in ended] == [143, 143]
    (saved,) = (tmp_path / "saved").glob("ckpt-*.json")
    assert 7 <= int(saved.stem.removeprefix("ckpt-")) < STEPS
    check_goes_on(plan, files, tmp_path)


@pytest.mark.long
def test_another_number_of_workers_is_refused(files: str, tmp_path: Path) -> None:
    """And what was saved stays as it was."""
    saved = tmp_path / "saved"
    plan = ["filed", "rows", files, str(saved), "6", "3"]
    first = run([plan], 2, tmp_path / "first")
    before = sorted(path.name for path in saved.iterdir())
    for count, shard, what in [
        (3, "files", "to be restored by 3"),
        (1, "files", "where one iterator reads all files: by one process"),
        (2, "", "or without shard='files'"),
    ]:
        with running([[*plan[:4], "9", "3", "0", shard]], count, tmp_path / f"of-{count}") as cluster:
            ended = cluster.ended()
        assert [each.code for each in ended] == [1] * count
        assert "The checkpoint was saved by 2 workers, each with files of its own" in ended[0].said
        assert what in ended[0].said
        assert "exactloop launch --workers 2" in ended[0].said
    assert sorted(path.name for path in saved.iterdir()) == before
    weights = tf.Variable(tf.zeros([2, 1]))
    assert restore(saved, {"weights": weights}) == 6  # scripts take weights from it, as from any other
    assert weights.numpy().ravel().tolist() == pytest.approx(first[0][0]["weights"])


@pytest.mark.long
def test_what_one_iterator_has_read_is_not_divided(files: str, tmp_path: Path) -> None:
    plan = ["filed", "rows", files, str(tmp_path / "saved")]
    run([[*plan, "6", "3", "0", ""]], 2, tmp_path / "first")
    with running([[*plan, "9", "3", "0", "files"]], 2, tmp_path / "second") as cluster:
        ended = cluster.ended()
    assert [each.code for each in ended] == [1, 1]
    assert "is to be restored by 2 workers, each with files of its own" in ended[0].said
    run([[*plan, "9", "3", "0", ""]], 2, tmp_path / "third")


@pytest.mark.long
def test_evaluations_rollbacks_and_rehearsals(files: str, tmp_path: Path) -> None:
    plans = [["looked_at", files, str(tmp_path / what), str(STEPS), what] for what in ("all", "back", "rehearse")]
    first, second = run([*plans, ["refused", files]], 2, tmp_path / "run")
    assert first == second
    *looked, refused = first
    for each in looked:
        assert each["digests"] == looked[0]["digests"]
        assert each["logs"]["val_number"] == pytest.approx((ROWS - 1) / 2)
    numbers, files_of_none = refused["said"]
    assert "needs batches of which all parts have rows" in numbers
    assert "needs a file for each of the 2 workers. Received: 1" in files_of_none
