"""512 workers in one process agree on how far to go, the time, and the end; and one with other values is named."""

import pytest
from many import commit, decisions, on_all

from hooks.checkpoint.errors import Differing

WORKERS = 512


def test_all_of_512_workers_find_the_same_agreed() -> None:
    wishes = {2: {300: "asked by 300", 17: "asked by 17", 511: "asked by 511"}}
    first, *others = on_all(WORKERS, lambda worker: decisions(worker, wishes))
    assert all(other == first for other in others)
    ends, reasons = first[::2], first[1::2]
    assert [end[:2] for end in ends] == [(100, 0.0)] * 4  # the least far of all, and the first one's clock
    assert [end[2] for end in ends] == [None, None, "asked by 17", "asked by 17"]
    assert reasons == [(None, False)] * 2 + [("asked by 17", True)] * 2


def test_of_512_workers_one_with_other_values_is_named_before_the_commit() -> None:
    commit(WORKERS, 3)
    with pytest.raises(Differing, match=r"Worker 300 does not hold .* model/layer_0/kernel\."):
        commit(WORKERS, 3, wrong=300)
