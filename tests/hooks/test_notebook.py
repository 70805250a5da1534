"""A notebook that is executed by a real kernel: what its cells show in the end."""

import re
from typing import Any

import pytest
from places import environment

CELL = """
import os
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import tensorflow as tf
from hooks import EarlyStopping, Progress
from loop import ArrayData, Evaluation, Every, Loop

weight = tf.Variable(9.0)
data = ArrayData(tf.range(7.0), batch_size=1, seed=1)
loop = Loop(
    lambda x: {"loss": weight.assign_sub(1.0)},
    data,
    state={"weight": weight},
    evaluate=Evaluation(lambda x: {"loss": weight * 2.0}, ArrayData(tf.range(2.0), batch_size=2)),
    hooks=[Progress(Every(steps=1)), EarlyStopping("val_loss", mode="min", patience=9)],
)
result = loop.run(epochs=2)
"""
MORE = "print(loop.run(epochs=3).reason)"


def shown(cell: dict[str, Any]) -> list[str]:
    """Returns the texts that a cell shows, in their order."""
    outputs = cell["outputs"]
    return [each["text"] if each["output_type"] == "stream" else each["data"]["text/plain"] for each in outputs]


@pytest.mark.long
def test_a_notebook_has_a_bar_that_changes_in_its_place_and_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    for name in ("CI", "TERM", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in (CELL, MORE)])
    nbclient.NotebookClient(book, timeout=300, kernel_name="python3").execute()
    for cell, step in zip(book.cells, (14, 21), strict=True):
        text = re.sub(r"\d+\.\d steps/s", "?", "\n".join(shown(cell)))
        bars = [line for line in text.splitlines() if "━" in line]
        assert len(bars) == 1
        assert bars[0].startswith(f"epoch {step // 7}/{step // 7} ━")
        assert f"{step}/{step} ? 0:00:00" in bars[0]
        assert f"val_loss {2 * (9 - step)}{'*' if step == 14 else ''}" in bars[0]  # the best of several
        lines = [line.split("  ")[0] for line in text.splitlines() if line.startswith(("epoch", "Going"))]
        assert f"epoch {step // 7}, step {step} of {step}" in lines
        assert "tracing" not in bars[0]
        assert {each["output_type"] for each in cell["outputs"]} <= {"display_data", "stream"}
    assert "3 epochs are complete" in "".join(shown(book.cells[1]))
