"""One life of a program that is proved: runs it as if it had been started itself, with a recorder in each of its loops.

    python -c "from exactloop.proof.child import main; main()" PROGRAM [ARGUMENTS]

What to write to, and where to die, is in the environment: see `ChildConfig`.
"""

import functools
import json
import os
import pkgutil
import random
import sys
import types
from collections.abc import Callable, Sequence
from weakref import WeakKeyDictionary

import numpy as np

from exactloop import script
from exactloop.proof.config import VARIABLE, ChildConfig
from exactloop.proof.disk import listen
from exactloop.proof.recorder import Recorder, Saving, die
from hooks.checkpoint.hook import Checkpoint
from loop import Loop, RunResult

Write = Callable[[dict[str, object]], None]


def main() -> None:
    """Lives."""
    # Taken out, or a process that the script starts would write into this life's record.
    config = ChildConfig.decode(os.environ.pop(VARIABLE))
    program = script.begin(config.parent)
    # Never closed: a thread may train on when the script is over. A line is written at once, or not at all.
    descriptor = os.open(config.record, os.O_WRONLY | os.O_APPEND)
    leave = watch_loops(config, program, lambda line: (os.write(descriptor, f"{json.dumps(line)}\n".encode()), None)[1])
    # Before the program, so a seed of its own counts.
    if config.entropy is not None:
        random.seed(config.entropy)
        np.random.seed(config.entropy % 2**32)
    if config.function:
        sys.path[:] = config.path  # of the process that asked, so the function is found by the same name
        _maker(config, program)().run(**config.totals)
    else:
        try:
            script.run(program)
        finally:  # a script may end by `sys.exit()`
            leave()


def _maker(config: ChildConfig, program: str) -> Callable[[], Loop]:
    """Returns the function that makes the loop."""
    if config.module:
        try:
            return pkgutil.resolve_name(f"{config.module}:{config.function}")
        except ModuleNotFoundError as error:
            if not f"{config.module}.".startswith(f"{error.name}."):
                raise
            # pytest may have given the file a name by which nobody else can import it.
    return script.names_in(program)[config.function]


def watch_loops(config: ChildConfig, program: str, write: Write) -> Callable[[], None]:
    """Puts a recorder into each loop that is made from now on, and listens to what is done to the disk.

    A run is watched whichever way it is called: by a method of a subclass, say, or by `Loop.run(loop)`.

    Returns:
        What is to be called when the program is over.
    """
    recorders, of = list[Recorder](), WeakKeyDictionary[Loop, Recorder]()
    usual = Loop.run

    def watch(loop: Loop) -> None:
        loop.digest_batches()  # in the graph, so that it is known what each step was trained on
        recorder = Recorder(
            loop,
            len(recorders),
            write,
            functools.partial(_savers, loop),
            stepwise=config.stepwise,
            death=config.death,
            in_vain=config.in_vain,
            sources=functools.partial(_sources, program),
        )
        recorders.append(recorder)
        loop.hooks.add(recorder)  # comes after the loop's own, and saves as they do: it sees the state that is saved
        of[loop] = recorder

    def run(loop: Loop, *given: object, **totals: int) -> RunResult:
        return of[loop].run(functools.partial(usual, loop, *given), **totals)

    def committing(step: int, directory: str) -> None:
        death = config.death
        if death is None or death.event != "save" or step < death.step:
            return
        # By the loop that is to die: another one may save at that step as well.
        if any(recorder.saves_in(directory) for recorder in recorders[death.loop : death.loop + 1]):
            die()

    Loop.run = functools.wraps(usual)(run)  # type: ignore[assignment, method-assign]
    Loop.on_created.append(watch)
    listen(
        committing,
        lambda path: write({"event": "removed", "path": path}),
        lambda path: write({"event": "written", "path": path}),
    )

    def leave() -> None:
        for recorder in recorders:
            recorder.leave()

    return leave


def _savers(loop: Loop) -> Sequence[Saving]:
    # When a run begins: hooks may be added until then.
    return [hook for hook in loop.hooks if isinstance(hook, Checkpoint)]


def _sources(program: str) -> list[str]:
    """Returns the files of the program that are imported: those below its directory, but no packages of others."""
    below, root = os.path.dirname(os.path.realpath(program)), os.path.abspath(f"{__file__}/../../..")
    not_its = tuple(os.path.join(root, name, "") for name in ("loop", "hooks", "exactloop"))
    modules = [module for module in list(sys.modules.values()) if isinstance(module, types.ModuleType)]
    paths = {str(vars(module).get("__file__")) for module in modules}  # getattr would load what is lazy
    mine = {path for path in paths if path.startswith(f"{below}{os.sep}") and path.endswith(".py")}
    theirs = {path for path in mine if path.startswith(not_its) or "site-packages" in path}
    return sorted(mine - theirs | {os.path.realpath(program)})
