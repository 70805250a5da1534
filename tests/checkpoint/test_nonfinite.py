"""Values that are not finite are not saved, unless they are wanted."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from storage import EVERY_2, INF, NAN, Bits, begins, bits, counting_loop, files, make_loop, names, rows, warned

from hooks import Checkpoint
from loop import ArrayData, Loop


@pytest.mark.parametrize("poison", [NAN, -INF])
def test_a_state_that_is_not_finite_ends_the_run_and_is_not_saved(
    poison: float, whole: dict[int, Bits], tmp_path: Path
) -> None:
    loop = make_loop(Checkpoint(tmp_path, EVERY_2), poison=poison, at=4)
    with pytest.raises(FloatingPointError) as error:
        loop.run(steps=6)
    assert str(error.value) == (
        "The state after step 4 has values that are NaN or infinite, and was not saved: "
        "model/_functional/_operations/1/_kernel (1), optimizer/_variables/2 (1). The one of step 2 is as it was. "
        "Checkpoint(save_nonfinite=True) would save it. "
        "NaNGuard(weights=True) ends the run at the step, and names its rows."
    )
    assert files(tmp_path).keys() == names(2)
    again = make_loop(Checkpoint(tmp_path, EVERY_2, resume_changed="warn"))
    begun = begins(again)
    with pytest.warns(UserWarning, match="The run goes on with other numbers: the 'train' step has other constants"):
        again.run(steps=6)
    assert (begun, bits(again)) == ([whole[2]], whole[6])


def test_with_warn_a_state_that_is_not_finite_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    counting_loop(Checkpoint(tmp_path, EVERY_2, keep=9, on_error="warn"), at=4).run(steps=8)
    assert files(tmp_path).keys() == names(2, 6, 8)
    assert warned(caplog) == [
        "The state after step 4 has values that are NaN or infinite, and was not saved: right (2048). "
        "The one of step 2 is as it was. Checkpoint(save_nonfinite=True) would save it. "
        "NaNGuard(weights=True) ends the run at the step, and names its rows."
    ]


def test_with_warn_a_last_state_that_is_not_finite_raises(tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match=r"after step 4 .*: right \(2048\)\. The one of step 2 is as it was"):
        counting_loop(Checkpoint(tmp_path, EVERY_2, on_error="warn"), at=4).run(steps=4)
    assert files(tmp_path).keys() == names(2)


def test_a_first_state_that_is_not_finite_says_that_there_is_none_before(tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match=r"after step 2 .*: right \(2048\)\. There is none before it\."):
        counting_loop(Checkpoint(tmp_path, EVERY_2), at=2).run(steps=4)
    assert files(tmp_path) == {}


def test_a_state_that_is_not_finite_can_be_saved_and_resumed(tmp_path: Path) -> None:
    def make() -> Loop:
        return counting_loop(Checkpoint(tmp_path, EVERY_2, save_nonfinite=True), poison=INF, at=4)

    first = make()
    first.run(steps=4)
    assert np.isinf(first.state.variables["right"].numpy()).sum() == 2**11
    again = make()
    begun = begins(again)
    again.run(steps=5)
    assert begun == [bits(first)]


def test_a_complex_value_that_is_not_finite_is_not_saved(tmp_path: Path) -> None:
    value = tf.Variable(tf.complex(NAN, 0.0))
    loop = Loop(
        lambda x: {"loss": tf.math.real(value.assign(value))},
        ArrayData(rows(), batch_size=1, seed=3),
        state={"value": value},
        hooks=[Checkpoint(tmp_path)],
    )
    with pytest.raises(FloatingPointError, match=r"value \(1\)"):
        loop.run(steps=1)


def test_what_is_only_logged_need_not_be_finite(tmp_path: Path) -> None:
    def make() -> Loop:
        total = tf.Variable(0.0, name="total")
        return Loop(
            lambda x: {"loss": total.assign_add(1.0) * NAN, "other": total * INF},
            ArrayData(rows(), batch_size=1, seed=3),
            state={"total": total},
            hooks=[Checkpoint(tmp_path, EVERY_2, best="loss", mode="min")],
        )

    make().run(steps=4)
    assert files(tmp_path).keys() == names(2, 4)
    loop = make()
    result = loop.run(steps=6)
    assert (int(loop.state.variables["total"]), np.isnan(result.logs["loss"])) == (6, True)
