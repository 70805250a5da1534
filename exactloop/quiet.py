"""TensorFlow's start without what it says about itself."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator

LEVEL = "TF_CPP_MIN_LOG_LEVEL"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps imports off standard error, unless the user has set how much TensorFlow is to say.

    Its first lines are written before anything can be set, so the file descriptor leads elsewhere meanwhile. What was
    written is shown if an exception comes out. The environment is left as it was, for scripts that are started.
    """
    if LEVEL in os.environ:
        yield
        return
    with tempfile.TemporaryFile() as elsewhere:
        kept = os.dup(2)
        os.dup2(elsewhere.fileno(), 2)  # what C++ writes goes there, too; a file never blocks it
        os.environ[LEVEL] = "3"
        try:
            yield
        except BaseException:
            os.dup2(kept, 2)
            elsewhere.seek(0)
            sys.stderr.write(elsewhere.read().decode(errors="replace"))
            raise
        finally:
            os.environ.pop(LEVEL, None)
            os.dup2(kept, 2)
            os.close(kept)
