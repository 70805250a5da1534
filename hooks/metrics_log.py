"""Values in a file of rows, each row once, whatever happens to the run."""

import os
from typing import Literal

from hooks.shared.row_hook import RowHook
from loop import Every, Trigger

# What the loggers of Keras, Lightning and others call these.
PATH = "write MetricsLog('run.csv') or MetricsLog('run.jsonl')"
INSTEAD = {
    **dict.fromkeys(("path", "filename", "save_dir", "directory", "csv_file"), PATH),
    **dict.fromkeys(("separator", "append"), "leave it out: a resumed run goes on in its file"),
    **dict.fromkeys(("flush_logs_every_n_steps", "log_every_n_steps", "steps"), "write every=Every(steps=100)"),
}


class MetricsLog(RowHook, instead=INSTEAD):
    """Writes the values of train steps, evaluations and epochs as rows of a file, for pandas and other programs.

    Each row has its `kind`, `step`, `evaluation` or `epoch`; the true number of train steps; the epoch, from 1, in
    which that step is; and the values, whose names are those of `moment.logs`. The row of an epoch has what was
    evaluated at its end as well. What a row does not have is empty in CSV, and left out of JSON.

    A resumed run cuts its file back to the restored step, without a line that a kill has torn, and goes on. So there is
    each row once, and the file is, byte for byte, that of a run that was not interrupted. A row is in the file before
    its step can be saved. A run that begins anew begins the file anew. Values that are new in the program get columns
    at the end; for that, a CSV file is written anew as a whole.

    Values that steps return come without a halt, some at a time, at the latest after a second. For the running results
    of train metrics, and for other triggers than steps, the compiled loop halts each time.

    What cannot be written, because the disk is full, say, is written as soon as there is room again, as far as memory
    holds it: the latest 10,000 rows. At the end, what is missing is logged.

    Example:
        >>> import os, tempfile, tensorflow as tf
        >>> from hooks import MetricsLog
        >>> from loop import ArrayData, Every, Loop
        >>> weight = tf.Variable(8.0)
        >>> def train_step(x):
        ...     return {"loss": weight.assign_sub(1.0)}
        >>> path = os.path.join(tempfile.mkdtemp(), "run.csv")
        >>> data = ArrayData(tf.range(8.0), batch_size=2)
        >>> loop = Loop(train_step, data, state={"weight": weight}, hooks=[MetricsLog(path, Every(steps=2))])
        >>> result = loop.run(epochs=1)
        >>> with open(path) as file:
        ...     print(file.read())
        kind,step,epoch,loss
        step,2,1,6.0
        step,4,1,4.0
        epoch,4,1,5.5
        <BLANKLINE>

    In pandas, `frame = pandas.read_csv(path)`, or `pandas.read_json(path, lines=True)`; then
    `frame[frame.kind == "epoch"].plot("step", ["loss", "val_loss"])`.

    Args:
        path: The file. Its name ends in `.csv`, or in `.jsonl` for a JSON object a line.
        every: The steps that have a row.
        name: The name of the hook.
        on_error: What becomes of the run if something cannot be written; see `Hook`.

    Raises:
        ValueError: If the name ends otherwise; when a run begins, if the file is there and no log of values.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        every: Trigger = Every(steps=100),
        *,
        name: str | None = None,
        on_error: Literal["raise", "warn", "disable"] | None = None,
    ) -> None:
        super().__init__(path, every, name=name, on_error=on_error)  # here only for its own docstring and `INSTEAD`
