"""Several processes train what one would train: the same numbers as one, and the same bits as one another."""

from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import pytest
import worker_cases
from cluster import run

import loop

CLOSE = 1e-6


def alone(plan: Sequence[Sequence[str]]) -> list[dict]:
    """Returns the results of a plan in this process, which has no cluster."""
    found = []
    for case, *arguments in plan:
        keras.utils.set_random_seed(1)
        found.append(worker_cases.CASES[case](loop.connect(), *arguments))
    return found


def check_equal(workers: Sequence[list[dict]]) -> None:
    """All workers have the same bits, and have seen the same."""
    for each in workers[1:]:
        assert each == workers[0]


def per_step(values: dict[str, list[float]], name: str) -> np.ndarray:
    """Returns values; of sums over steps, which are as far off as all of these together, their means."""
    weight = values[f"{name.removesuffix('sums')}weight"] if name.endswith("means/sums") else [1.0]
    return np.asarray(values[name]) / max(1.0, *weight)


def check_close(found: dict, wanted: dict, close: float = CLOSE) -> None:
    for part in ("steps", "values"):
        assert found[part].keys() == wanted[part].keys()
        for name in wanted[part]:
            values, other = per_step(found[part], name), per_step(wanted[part], name)
            np.testing.assert_allclose(values, other, rtol=close, atol=close, err_msg=name)
    assert found["logs"].keys() == wanted["logs"].keys()
    for name, value in wanted["logs"].items():
        np.testing.assert_allclose(found["logs"][name], value, rtol=close, atol=close, err_msg=name)
    assert (found["step"], found["reason"]) == (wanted["step"], wanted["reason"])


PLANS = {
    "few": [["dense", "21", "4", "14", "0.01"]],
    "more": [
        ["masked", "21", "4", "14"],
        ["padded", "21", "4", "14"],
        ["reduced", "sum_over_batch_size", "21", "4", "14"],
        ["measured", "21", "5", "14"],
        ["across", "dice", "21", "4", "14"],
        ["across", "tversky", "21", "5", "14"],
    ],
}


@pytest.mark.parametrize(
    "plan", [pytest.param(PLANS["few"], id="few"), pytest.param(PLANS["more"], id="more", marks=pytest.mark.more)]
)
def test_two_processes_train_what_one_does(plan: Sequence[Sequence[str]], tmp_path: Path) -> None:
    """With a last batch of one row, of which one of them has none: clipped, with a metric, and evaluated."""
    workers = run(plan, 2, tmp_path)
    check_equal(workers)
    for found, wanted in zip(workers[0], alone(plan), strict=True):
        check_close(found, wanted)


# With last batches that are smaller, of one row, or not. At rates at which one process comes to the same with weights
# that begin a rounding error off; of others see docs/distributed.md.
OF_ALL_KINDS = [
    *(["dense", *sizes, "75", "0.01"] for sizes in (["24", "6"], ["21", "4"])),
    *([kind, "21", "4", "75"] for kind in ("scaled", "masked", "indexed")),
    *(["normalized", count, "16", "75", "0.003"] for count in ("65", "71")),
    *(["reduced", how, "21", "5", "75"] for how in ("sum_over_batch_size", "sum", "mean_with_sample_weight")),
]


@pytest.fixture(scope="module")
def of_one() -> Sequence[dict]:
    return alone(OF_ALL_KINDS)


@pytest.mark.long
def test_one_process_makes_little_of_a_rounding_error(of_one: Sequence[dict], monkeypatch: pytest.MonkeyPatch) -> None:
    """Or it would not tell whether several processes do as one."""
    monkeypatch.setattr(worker_cases.Steps, "nudged", True)
    for found, wanted in zip(alone(OF_ALL_KINDS), of_one, strict=True):
        check_close(found, wanted, CLOSE / 2)


@pytest.mark.long
@pytest.mark.parametrize("count", [2, 3])
def test_75_steps_of_all_kinds(count: int, of_one: Sequence[dict], tmp_path: Path) -> None:
    workers = run(OF_ALL_KINDS, count, tmp_path / "first")
    check_equal(workers)
    for found, wanted in zip(workers[0], of_one, strict=True):
        check_close(found, wanted)
    if count == 2:
        assert run(OF_ALL_KINDS, count, tmp_path / "again") == workers  # to the last bit


@pytest.mark.long
def test_draws_differ_between_workers_and_states_do_not(tmp_path: Path) -> None:
    plan = [["generated", "6"]]
    workers = run(plan, 2, tmp_path)
    check_equal(workers)
    (of_one,) = alone(plan)
    (of_two,) = workers[0]
    assert of_two["steps"]["mean"] == pytest.approx(of_two["steps"]["here"])  # the mean over all rows
    assert of_two["steps"]["mean"] != pytest.approx(of_one["steps"]["mean"])
