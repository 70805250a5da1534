"""TensorFlow's own file of what has been saved, which is kept up for others."""

import contextlib
import re
from collections.abc import Sequence

from hooks.checkpoint.disk.files import Files

LISTED = 10  # how many of the latest TensorFlow is told of: a list of all would take longer and longer to write
STATE, STATE_OURS = "checkpoint", re.compile(r"checkpoint\.tmp(?:[0-9a-f]{32})?")


def tell_tensorflow(files: Files, stems: Sequence[str]) -> None:
    """Writes the state file. Nothing here depends on it, so a full disk is no reason to fail.

    Args:
        files: The directory.
        stems: The checkpoints there are, the oldest first.
    """
    # Relative names, so that the directory may be moved.
    stems = stems[-LISTED:]
    lines = [f'model_checkpoint_path: "{stem}"' for stem in stems[-1:]]
    lines += [f'all_model_checkpoint_paths: "{stem}"' for stem in stems]
    try:
        if stems:
            # Renamed into place, or others might read half a list. Not flushed: nothing depends on it.
            files.write(f"{STATE}.tmp", "\n".join([*lines, ""]).encode())
            files.rename(f"{STATE}.tmp", STATE)
        else:
            files.remove(STATE)
    except IsADirectoryError:
        raise  # TensorFlow could not write it either
    except OSError:
        with contextlib.suppress(OSError):
            files.remove(f"{STATE}.tmp")
