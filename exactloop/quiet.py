"""TensorFlow's start without what it says about itself."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator

LEVEL, SILENT = "TF_CPP_MIN_LOG_LEVEL", "3"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps imports off standard error, unless the user has set that TensorFlow is to say something.

    Its first lines are written before anything can be set, so the file descriptor leads elsewhere meanwhile. What was
    written is shown if an exception comes out. The environment is left as it was, for scripts that are started.
    """
    before = os.environ.get(LEVEL, SILENT)
    if before != SILENT:  # with that it says some lines nevertheless
        yield
        return
    with tempfile.TemporaryFile() as elsewhere:
        kept = os.dup(2)
        os.dup2(elsewhere.fileno(), 2)  # what C++ writes goes there, too; a file never blocks it
        known = LEVEL in os.environ
        os.environ[LEVEL] = SILENT
        try:
            yield
        except BaseException:
            os.dup2(kept, 2)
            elsewhere.seek(0)
            sys.stderr.write(elsewhere.read().decode(errors="replace"))
            raise
        finally:
            if not known:
                del os.environ[LEVEL]
            os.dup2(kept, 2)
            os.close(kept)
