"""Up to 512 workers in one process agree on how far to go, when, and on the end; who holds other values is named."""

import pytest
from many import commit, decisions, on_all

from hooks.checkpoint.errors import Differing

COUNTS = pytest.mark.parametrize("count", [64, pytest.param(512, marks=pytest.mark.long)])


@COUNTS
def test_all_of_many_workers_find_the_same_agreed(count: int) -> None:
    wishes = {2: {30: "asked by 30", 17: "asked by 17", count - 1: "asked by the last"}}
    first, *others = on_all(count, lambda worker: decisions(worker, wishes))
    assert all(other == first for other in others)
    ends, reasons = first[::2], first[1::2]
    assert [end[:2] for end in ends] == [(100, 0.0)] * 4  # the least far of all, and the first one's clock
    assert [end[2] for end in ends] == [None, None, "asked by 17", "asked by 17"]
    assert reasons == [(None, False)] * 2 + [("asked by 17", True)] * 2


@COUNTS
def test_of_many_workers_one_with_other_values_is_named_before_the_commit(count: int) -> None:
    commit(count, 3)
    with pytest.raises(Differing, match=r"Worker 50 does not hold .* model/layer_0/kernel\."):
        commit(count, 3, wrong=50)
