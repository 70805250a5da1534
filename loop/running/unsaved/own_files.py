"""The files that hooks of the program write to by themselves, and no resume cuts back; or read weights from."""

import contextlib
import csv
import dis
import gc
import io
import itertools
import types
from collections.abc import Iterable, Iterator

import tensorflow as tf

from loop.exact.reach import Reach, codes, is_of_program
from loop.hook import Hook
from loop.running.unsaved.used import of_program

READS = (
    "Hook %r reads weights from a file in the course of the run, in %s. After a kill, the file may be of a later step "
    "than the checkpoint that the run goes on from, and training goes on otherwise. Keep them in memory: what a "
    "callback sets on itself, as in self.best = self.model.get_weights(), is saved, and so are variables that __init__ "
    "of a hook makes. EarlyStopping(..., restore_best='weights') puts the best ones back."
)
REMOVES = (
    "Hook %r removes files in %s. After a kill, steps are done again, and files that they remove are gone already, "
    "which is an error then. Write pathlib.Path(path).unlink(missing_ok=True)."
)
SAVES = (
    "Hook %r saves weights to a file as a run begins, in %s. A run that goes on from a checkpoint would save there "
    "what was restored. Keep them in memory: what a callback sets on itself, as in self.first = "
    "self.model.get_weights(), is saved, and so are variables that __init__ of a hook makes."
)
LOOKING = {"exists", "isfile", "is_file", "isdir", "is_dir", "listdir", "glob", "missing_ok", "ignore_errors"}
AT_BEGIN = {"on_setup", "on_run_begin", "on_train_begin"}  # of Keras, too
AT_END = {"on_run_end", "on_train_end"}
OPENING = {"open", "to_csv"}
APPENDING = {"".join(mode) for kind in ("a", "ab", "at", "a+", "ab+", "at+") for mode in itertools.permutations(kind)}
# What writes a file as a whole, in each worker the same one: h5py refuses that, and others leave what is torn.
WHOLE = {"save", "save_weights", "savez", "savez_compressed", "savetxt", "savefig", "imsave", "dump"}
WHOLE |= {"write_text", "write_bytes", "to_csv", "to_json", "to_parquet", "to_pickle"}
WHO = {"rank", "is_chief"}  # of a worker
WRITER = type(csv.writer(io.StringIO()))
# Where a statement, or the call of it that opens something, ends.
ENDS = {"POP_TOP", "BEFORE_WITH", "LOAD_SPECIAL", "RETURN_VALUE"}
WRITES = (
    "Hook %r writes to %s, which no resume cuts back: what it has written of steps that are done again will be there "
    "twice, or, if each start opens it with 'w', what was there before is gone. For values, there is hooks.MetricsLog. "
    "Or, in a hook of your own, let __init__ open it with 'a', on_run_begin call os.truncate(path, 0) unless "
    "moment.resumed, flush each row, let get_state(self) return os.path.getsize(path), and set_state(self, state) call "
    "os.truncate(path, state)."
)
SUMMARIES = (
    "Hook %r writes tf.summary through a writer of its own, whose file no resume cuts back: after a kill, points are "
    "there twice. Write `with tensorboard.summaries():`, with the hook TensorBoard, in the place of `with "
    "writer.as_default():`."
)


def of_own_files(hook: str, reach: Reach) -> Iterator[str]:
    """Yields what to say of a hook that writes to files of its own.

    These are the files that are open now and that it reaches; if there is none, those that its program appends to.

    Args:
        hook: The name of the hook.
        reach: What is reached from it, and from the functions that are called in its name.
    """
    reached = [*reach.held()]
    if any(isinstance(each, tf.summary.SummaryWriter) for each in reached):
        yield SUMMARIES % hook
    files = {_called(file) for each in reached for file in _files_of(each) if _is_open(file)}
    programs = (function for function in reach.functions if is_of_program(function))
    appended = (f"a file that {each.__qualname__} opens with 'a'" for each in programs if _appends(each.__code__))
    if "truncate" in reach.read:  # it looks after them
        return
    if names := sorted(files) or sorted({*appended}):
        yield WRITES % (hook, ", ".join(names))


def writes_in_all(reach: Reach, *, to_own_files: bool) -> bool:
    """Returns whether a hook writes files without a look at which of several workers it is called in.

    Args:
        reach: As above.
        to_own_files: Whether that has said something.
    """
    programs = [function.__code__ for function in reach.functions if is_of_program(function)]
    named = {name for program in programs for code in codes(program) for name in code.co_names}
    return not named & WHO and (to_own_files or bool(named & WHOLE))


def of_files_needed(hook: Hook) -> Iterator[str]:
    """Yields what to say of a hook that goes by files in the course of a run, or begins it by saving weights."""
    called = [*hook.handlers().values(), *hook.functions_called()]
    named = {f"on_{event}": handler for event, handler in hook.handlers().items()}  # that of a function has any name
    heard = [(name, f) for name, each in named.items() for f in _programs([each])]
    heard += [(function.__name__, function) for function in _programs(hook.functions_called())]
    classes = [type(hook), *(each for each in called if isinstance(each, type))]
    begins = [function for name, function in heard if name in AT_BEGIN]
    between = [function for name, function in heard if name not in AT_BEGIN | AT_END]
    for told, functions, found in ((SAVES, begins, _saves), (READS, between, _reads), (REMOVES, between, _removes)):
        # With the classes, of which those methods count that are named.
        reached = Reach([*functions, *classes]).functions if functions else []
        within = {each.__qualname__: codes(each.__code__) for each in reached if is_of_program(each)}
        if names := sorted(name for name, each in within.items() if any(map(found, each))):
            yield told % (hook.name, ", ".join(names))


def _programs(functions: Iterable[object]) -> list[types.FunctionType]:
    return [function for function, _ in of_program({"": functions}).get("", [])]


def _saves(code: types.CodeType) -> bool:
    return "save_weights" in code.co_names


def _reads(code: types.CodeType) -> bool:
    return bool({"load_weights", "load_model"} & {*code.co_names})


def _removes(code: types.CodeType) -> bool:
    """Returns whether a program removes files, and looks neither whether they are there nor what is raised."""
    listed = [instruction.argval for instruction in dis.get_instructions(code)]
    removes = {"unlink", "rmtree"} & {*code.co_names} or any(
        of in ("os", "gfile") and name == "remove" for of, name in itertools.pairwise(listed)
    )
    named = {name for each in code.co_consts if isinstance(each, tuple) for name in each} | {*code.co_names}
    return bool(removes) and not LOOKING & named and not code.co_exceptiontable


def _files_of(value: object) -> Iterator[io.IOBase]:
    if isinstance(value, io.IOBase):
        yield value
    elif isinstance(value, csv.DictWriter):
        yield from _files_of(value.writer)
    elif isinstance(value, WRITER):  # which holds the method that it writes by, and tells nobody
        yield from (owner for each in gc.get_referents(value) if isinstance(owner := _owner(each), io.IOBase))


def _owner(method: object) -> object:
    return method.__self__ if isinstance(method, types.BuiltinMethodType) else None


def _called(file: io.IOBase) -> str:
    return repr(getattr(file, "name", None))


def _is_open(file: io.IOBase) -> bool:
    """Returns whether something is a file on the disk, and open to be written to."""
    # What is in memory has no name; pipes, and what a process has from the beginning, have a number for one, or a low
    # number; a notebook's have none.
    with contextlib.suppress(OSError, ValueError):
        named = isinstance(getattr(file, "name", None), str)
        return named and not file.closed and file.writable() and file.fileno() > 2 and not file.isatty()
    return False


def _appends(code: types.CodeType) -> bool:
    """Returns whether a program has a call such as `open(path, "a")`."""
    return any(_appends_itself(each) for each in codes(code))


def _appends_itself(code: types.CodeType) -> bool:
    within = False
    for instruction, following in itertools.pairwise(dis.get_instructions(code)):
        if instruction.opname.startswith("STORE_") or instruction.opname in ENDS:
            within = False
        elif instruction.argval in OPENING:
            within = True
        elif within and instruction.opname == "LOAD_CONST" and instruction.argval in APPENDING:
            within = following.opname.startswith("BINARY")  # it is a key, as in `logs["a"]`
            if not within:
                return True
    return False
