"""Where checkpoints are: on a disk of this machine, or at an address."""

import os

from hooks.checkpoint.disk.files import Files
from hooks.checkpoint.disk.local import LocalFiles
from hooks.shared.paths import is_remote


def open_files(directory: str | os.PathLike[str], *, make: bool = True) -> Files:
    """Opens a directory of checkpoints.

    Args:
        directory: A path, or an address such as `gs://...`; not one that is yet to be put elsewhere.
        make: Whether to make it if it is missing.

    Raises:
        FileNotFoundError: If it is missing, and not to be made.
        NotADirectoryError: If it is a file, or below one.
        PermissionError: If it cannot be made.
    """
    path = os.fsdecode(directory)
    # Absolute from here on: the program may change its working directory before the next save.
    if not is_remote(path):
        return LocalFiles(os.path.abspath(path), make=make)
    from hooks.checkpoint.disk.remote import RemoteFiles  # here, because TensorFlow comes with it

    return RemoteFiles(path, make=make)
