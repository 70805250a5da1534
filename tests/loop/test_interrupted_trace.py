"""A trace that is interrupted, as in a notebook, is made anew by the next run of the same loop."""

from pathlib import Path

import pytest
import tiny

from hooks import Checkpoint
from loop.exact import step_audit
from loop.running.compiled import Compiled


@pytest.mark.parametrize("where", ["in it", "behind it"])
def test_a_loop_that_was_interrupted_while_it_was_traced_runs(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tiny.make_counter()
    whole.run(epochs=1)
    loop = tiny.make_counter([Checkpoint(tmp_path)])

    def interrupted(*given: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        if where == "in it":
            patched.setattr(step_audit.TraceAudit, "__init__", interrupted)
        else:
            patched.setattr(Compiled, "state", interrupted)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                loop.run(epochs=1)
    assert loop.run(epochs=1).epoch == 1
    assert tiny.bits(loop) == tiny.bits(whole)
