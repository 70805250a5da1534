"""The standard descriptors, which nothing else may get by chance."""

import os


def occupy() -> None:
    """Opens those of 0, 1 and 2 that are closed, on what swallows everything, as daemons do.

    A program may be started with some closed (`<&-`, `>&-`), or close them. The next file that anybody opens, such as
    TensorFlow a checkpoint, would become standard output, and what is printed would be written into it.
    """
    for number in range(3):
        try:
            os.get_inheritable(number)  # the cheapest question
        except OSError:
            _open(number)


def _open(number: int) -> None:
    try:
        # The lowest that is free, as POSIX has it: those below `number` are open by now.
        got = os.open(os.devnull, os.O_RDWR)
    except OSError:  # where there is no /dev: what reads or writes there fails, as before
        got = os.open(os.sep, os.O_RDONLY)
    if got == number:
        os.set_inheritable(got, True)  # for children it is the same
    else:  # another thread was faster
        os.close(got)
