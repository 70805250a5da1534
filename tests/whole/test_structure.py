"""What may import what, what is public, and what must not be in the source."""

import ast
import re
from collections.abc import Iterator

import pytest
import tensorflow as tf
from places import ROOT
from samples import ONE_IN

import exactloop
import hooks
import loop
from loop import tf_internals

SOURCES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for package in ("loop", "hooks", "exactloop")
    for path in sorted(ROOT.glob(f"{package}/**/*.py"))
}
EXPLAINS = ("loop.errors.calls", "BY_POSITION", "explained")  # for functions; classes of hooks have it by `instead=`
DOORS = ("hooks/__init__.py", "hooks/public.py")
OF_ONE = {  # files beside the hook that they are for
    **dict.fromkeys(("hooks.signals", "hooks.grace"), "hooks/preemption.py"),
    "hooks.bounds": "hooks/nan_guard.py",
    "hooks.exports": "hooks/export.py",
    "hooks.averaged": "hooks/weight_average.py",
}
ROOMS = {  # of one hook each
    "board": "hooks/tensorboard.py",
    "callbacks": "hooks/keras_callbacks.py",
    "checkpoint": "",  # it is in its room
    "screen": "hooks/progress.py",
}
WRAPS = ("loop/registry.py", "KerasCallbacks")  # what is given as a hook may be a callback, whatever is imported
FLOORS = (  # of `loop`, from the ground up: a file imports what is on its own floor, or below
    (
        "errors",
        "comparable",
        "digest",
        "findings",
        "handles",
        "logs",
        "numbered",
        "standard",
        "tensors",
        "tf_internals",
    ),
    ("workers",),
    ("listeners", "events", "hook", "registry", "triggers"),
    ("exact",),
    ("keras_steps", "steps", "supervised", "supervision"),
    ("state",),
    ("rebuilt",),
    ("data",),
    ("engine",),
    ("evaluation",),
    ("running", "stops"),
    ("run", "rounds"),
    ("loop",),
)
WITHIN = {  # rooms within a room, by what they may import; what stands beside them may import all
    "loop/engine": {"traced": "", "ways": "traced"},
    "loop/running": {"unsaved": ""},
    "loop/data": {"objects": "", "orders": "", "python": "objects", "pipelines": "objects orders"},
    "hooks/checkpoint": {
        "record": "",
        "disk": "record",
        "commits": "disk record",
        "resuming": "commits disk record",
        "saving": "commits disk record",
        "workers": "resuming saving commits disk record",
    },
}
INTERNALS = "loop/tf_internals/"  # all of the three packages may import it, and nothing else may go around it
PRIVATE = ("tensorflow.python", "tensorflow.core", "tensorflow.compiler", "keras.src")
OF_THEM = ("tensorflow.", "keras.")
PATHS = {f"{of}.{part}" for of, part in (module.split(".") for module in PRIVATE)} | {"tf.python", "tf.core"}
UNDERSCORE = re.compile("_[A-Za-z][A-Za-z0-9_]*")
NOT_THEIRS = {  # by file: of Python, of objects of our own, of files
    "exactloop/speed/child.py": {"_exit"},
    "hooks/checkpoint/hook.py": {"_is_running", "_let_go"},
    "hooks/shared/row_hook.py": {"_replace"},
    "hooks/checkpoint/resuming/resume.py": {"_asdict"},
    "hooks/checkpoint/disk/stems.py": {"_temp"},
    "hooks/signals.py": {"_HANDLER"},
    "loop/errors/later.py": {"_Later"},
    "loop/errors/tracebacks.py": {"_getframe"},
    "loop/data/stateful.py": {"_replace"},
    "loop/exact/traced.py": {"_replace"},
    "loop/rebuilt/maps.py": {"_other_arguments"},
    "loop/workers/failures.py": {"_exit"},
    "loop/rebuilt/orders.py": {"_replace"},
    "loop/state/training_state.py": {"_asdict", "_replace"},
}
UNSAFE = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "allow_pickle"} | {
    "eval", "exec", "__import__", "importlib", "import_module", "runpy"
}  # fmt: skip


def imports(source: str) -> Iterator[tuple[str, str]]:
    """Yields module and name of everything imported, wherever it is; a plain `import` has no name."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (("." * node.level + (node.module or ""), alias.name) for alias in node.names)


def allowed(file: str, module: str, name: str) -> bool:
    """Returns whether a file of the three packages may import this."""
    here, package = file.split("/")[0], module.split(".")[0]
    if package == "exactloop":
        return here == "exactloop"
    if package == "hooks":
        if here != "hooks":
            return here == "exactloop" or (file, name) == WRAPS
        if module == "hooks.checkpoint" or file in DOORS:
            return file in DOORS
        for_all = module.startswith("hooks.shared.")
        if file.startswith("hooks/shared/") or for_all:
            return for_all
        room = f"{module}.".split(".")[1]
        inner = file in (ROOMS.get(room),) or file.startswith(f"hooks/{room}/")
        return (room in ROOMS and inner) or OF_ONE.get(module) == file
    if package == "loop":
        explains = module == EXPLAINS[0] and name in EXPLAINS[1:]
        public = module == "loop" and name in loop.__all__
        return here == "loop" or public or explains or module == "loop.tf_internals"
    return package != ""  # nothing relative: it would not be seen here


def misplaced(file: str, source: str) -> list[str]:
    return [f"{file}: {module} {name}" for module, name in imports(source) if not allowed(file, module, name)]


def floor(module: str) -> int:
    """Returns the floor of a module of `loop`, such as `loop.exact.graph`."""
    (found,) = [number for number, names in enumerate(FLOORS) if module.split(".")[1] in names]
    return found


def upwards(file: str, source: str) -> list[str]:
    """Returns what a file of `loop` imports from above, other than for its types."""
    tree = ast.parse(source)
    for_types = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    skipped = {module for node in for_types for module, _ in imports(ast.unparse(node))}
    here = floor(file.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
    modules = [f"loop.{name}" if module == "loop" else module for module, name in imports(source)]
    ours = [module for module in modules if module.startswith("loop.") and module not in skipped]
    return [f"{file}: {module}" for module in ours if floor(module) > here]


def out_of_rooms(file: str, source: str) -> list[str]:
    """Returns what a file in a room within a room imports from beside it, and may not."""
    outer, _, room = file.rpartition("/")[0].rpartition("/")
    if room not in WITHIN.get(outer, {}):
        return []
    may, prefix = {room, *WITHIN[outer][room].split()}, f"{outer}/".replace("/", ".")
    ours = [f"{module}.{name}" for module, name in imports(source) if f"{module}.".startswith(prefix)]
    return [f"{file}: {each}" for each in ours if each.removeprefix(prefix).split(".")[0] not in may]


def private(source: str) -> set[str]:
    """Returns what is, or may be, private in TensorFlow and Keras: what has one underscore, and is not of `self`."""
    found = set[str]()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            modules = names if isinstance(node, ast.Import) else [f"{node.module}.{name}" for name in names]
            found |= {name for name in modules if f"{name}.".startswith(tuple(f"{each}." for each in PRIVATE))}
            found |= {name for name in modules if name.startswith(OF_THEM) and "._" in name}
        elif isinstance(node, ast.Attribute):
            of_self = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            whole = ast.unparse(node)
            if (UNDERSCORE.fullmatch(node.attr) and not of_self) or node.attr == "__internal__" or whole in PATHS:
                found.add(whole if whole in PATHS else node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and UNDERSCORE.fullmatch(node.value):
            found.add(node.value)  # as in getattr, attrgetter, vars(...)[...]
    return found


def keys_of_handles(source: str) -> set[str]:
    """Returns where the id of a handle is taken."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call) and node.args]
    ids = [call for call in calls if "id" in (ast.unparse(call.func), ast.unparse(call.args[0]))]
    return {
        ast.unparse(call)
        for call in ids
        if any(part.attr.endswith("handle") for part in ast.walk(call) if isinstance(part, ast.Attribute))
    }


def unsafe(source: str) -> set[str]:
    """Returns what could run code that was loaded, or put together at run time."""
    nodes = list(ast.walk(ast.parse(source)))
    words = {word.split(".")[0] for imported in imports(source) for word in imported}
    words |= {node.id for node in nodes if isinstance(node, ast.Name)}
    words |= {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    words |= {str(node.arg) for node in nodes if isinstance(node, ast.keyword)}
    return words & UNSAFE


def words_for_the_state(source: str) -> set[str]:
    """Returns what is taken of the state by a path, or is set in it, for which it has a word."""
    nodes = [*ast.walk(ast.parse(source))]
    texts = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    written = {node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)}
    return {text for text in texts if text.startswith(("clock/", "position/"))} | (written & {"torn", "condemned"})


def test_loop_knows_no_hook_and_hooks_know_only_the_public_loop() -> None:
    assert [line for file, source in SOURCES.items() for line in misplaced(file, source)] == []


def test_misplaced_imports_are_found() -> None:
    for file, source in [
        ("loop/chunk.py", "def f():\n    from hooks import Progress"),
        ("loop/chunk.py", "from . import data"),
        ("hooks/progress.py", "from loop.engine.clock import Clock"),
        ("hooks/progress.py", "from loop import clock"),
        ("hooks/progress.py", "import loop.engine.clock"),
        ("hooks/progress.py", "from loop.handles import key"),
        ("hooks/progress.py", "import hooks"),
        ("hooks/progress.py", "from exactloop import prove"),
        ("loop/engine/chunk.py", "from exactloop import prove"),
        ("exactloop/proving.py", "from loop.engine.clock import Clock"),
        ("hooks/progress.py", "from hooks import Checkpoint"),
        ("hooks/progress.py", "from hooks.board.event_file import EventFile"),
        ("hooks/progress.py", "from hooks.checkpoint.commits.store import Store"),
        ("hooks/progress.py", "from hooks.checkpoint.saving.snapshot import Snapshot"),
        ("hooks/progress.py", "from hooks.checkpoint.hook import Checkpoint"),
        ("hooks/checkpoint/commits/store.py", "from hooks import Checkpoint"),
        ("loop/chunk.py", "from hooks.shared.monitor import Monitor"),
    ]:
        assert len(misplaced(file, source)) == 1, source


def test_within_loop_imports_go_downwards() -> None:
    inside = {
        file: source for file, source in SOURCES.items() if file.startswith("loop/") and file != "loop/__init__.py"
    }
    assert [line for file, source in inside.items() for line in upwards(file, source)] == []
    for file, source in [
        ("loop/exact/graph.py", "from loop.state.position import Position"),
        ("loop/state/position.py", "from loop.data.source import Data"),
        ("loop/errors/kinds.py", "def f():\n    from loop.exact import graph"),
        ("loop/engine/chunk.py", "from loop import rounds"),
    ]:
        assert len(upwards(file, source)) == 1, source


def test_rooms_within_a_room_import_what_is_below_them() -> None:
    assert [line for file, source in SOURCES.items() for line in out_of_rooms(file, source)] == []
    assert {file.rsplit("/", 1)[0] for file in SOURCES if file.startswith((*WITHIN,))} == {
        *WITHIN,
        *(f"{outer}/{room}" for outer, rooms in WITHIN.items() for room in rooms),
    }
    for file, source in [
        ("loop/data/python/items.py", "from loop.data.pipelines.written import Written"),
        ("loop/data/objects/slots.py", "from loop.data import source"),
        ("loop/data/orders/pool.py", "import loop.data.stream"),
        ("hooks/checkpoint/disk/local.py", "from hooks.checkpoint.commits import store"),
    ]:
        assert len(out_of_rooms(file, source)) == 1, source


def test_what_is_private_in_tensorflow_and_keras_stands_in_one_room() -> None:
    found = {file: private(source) for file, source in SOURCES.items() if not file.startswith(INTERNALS)}
    assert {file: names for file, names in found.items() if names} == NOT_THEIRS


def test_private_names_are_found() -> None:
    for source in [
        "import keras.src.random.seed_generator",
        "from keras.src.random import seed_generator",
        "from keras import src",
        "def f():\n    from tensorflow.python.framework import ops",
        "from tensorflow import python",
        "from tensorflow.core.framework.graph_pb2 import GraphDef",
        "from tensorflow.python.ops import resource_variable_ops as ops",
        "from tensorflow._api.v2 import data",
        "keras.src.backend.floatx()",
        "tensorflow.python.framework.ops.Tensor",
        "tf.__internal__.tracking.Trackable",
        "layer._flatten_layers()",
        "self.layer._flatten_layers()",
        "layers[0]._trainable = False",
        "type(self)._serialize_to_tensors(self)",
        "super()._trainable_variables",
        "getattr(dataset, '_inputs')()",
        "vars(dataset).get('_seed')",
        "operator.attrgetter('_trainable')",
    ]:
        assert private(source), source
    for source in [
        "import tensorflow as tf\nfrom tensorflow import keras\ntf.compat.v1.GraphDef",
        "from keras import ops, layers",
        "self._data.cursor()",
        "cls._made",
        "self.__dict__",
        "_, first = pair",
        "__all__ = ['Loop']",
        "def _serialize_to_tensors(self): pass",
        "names = '_temp and more', '_'",
    ]:
        assert private(source) == set(), source


def test_everything_private_is_used_and_explained() -> None:
    top = [node for file, source in SOURCES.items() if file.startswith(INTERNALS) for node in ast.parse(source).body]
    functions = [node for node in top if isinstance(node, ast.FunctionDef)]
    defined = {function.name for function in functions}
    defined |= {
        alias.asname for node in top if isinstance(node, ast.ImportFrom) for alias in node.names if alias.asname
    }
    targets = [target for node in top if isinstance(node, ast.Assign) for target in node.targets]
    targets += [node.target for node in top if isinstance(node, ast.AnnAssign)]
    defined |= {ast.unparse(target) for target in targets}
    theirs = {pair for source in SOURCES.values() for pair in imports(source)}
    used = {name for module, name in theirs if module.startswith("loop.tf_internals")}
    names = [node for node in ast.walk(ast.Module(top, [])) if isinstance(node, ast.Name)]
    used |= {name.id for name in names if isinstance(name.ctx, ast.Load)}
    assert len(functions) > 20
    assert {name for name in defined if not name.startswith("_")} <= vars(tf_internals).keys()
    assert defined - used == set()
    assert [function.name for function in functions if not ast.get_docstring(function)] == []


def test_classes_override_nothing_private_but_how_they_are_saved() -> None:
    """Of the base classes from TensorFlow that there are: a name that is there by chance would break them."""
    theirs = {name for base in (tf_internals.Trackable, tf.Module) for name in dir(base) if UNDERSCORE.fullmatch(name)}
    defined = {
        file: {node.name for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)} & theirs
        for file, source in SOURCES.items()
    }
    assert {file: names for file, names in defined.items() if names} == {
        "hooks/checkpoint/saving/snapshot.py": {"_serialize_to_tensors", "_trackable_children"},
        "loop/data/own_files.py": {"_restore_from_tensors", "_serialize_to_tensors"},
        "loop/data/stream.py": {"_restore_from_tensors", "_serialize_to_tensors"},
        "loop/state/plain.py": {"_restore_from_tensors", "_serialize_to_tensors"},
    }


def test_ids_of_handles_are_taken_in_one_file() -> None:
    found = {file: keys_of_handles(source) for file, source in SOURCES.items() if keys_of_handles(source)}
    assert found == {}
    for source in ["{id(raw(v).handle)}", "id(node.resource_handle)", "map(id, [v.handle for v in variables])"]:
        assert keys_of_handles(source), source
    assert keys_of_handles("id(variable), variable.handle, map(id, variables), key(variable.handle)") == set()


def test_hooks_and_tools_ask_the_state_in_its_own_words() -> None:
    """`seconds`, `position`, `restoring()` and `condemn()`; what has to leave values out has to name them."""
    files = {file: source for file, source in SOURCES.items() if not file.startswith("loop/")}
    found = {file: words_for_the_state(source) for file, source in files.items()}
    assert {file: words for file, words in found.items() if words} == {
        "exactloop/proof/recorder.py": {"clock/seconds", "position/seen/digest"},
        "hooks/checkpoint/differences.py": {"clock/seconds"},
        "hooks/checkpoint/saving/snapshot.py": {"position/step"},
    }
    for source in ["state.position.torn = True", "float(state.variables['clock/seconds'])", "self.condemned = why"]:
        assert words_for_the_state(source), source
    assert words_for_the_state("if state.position.torn: print('the clock/seconds')") == set()


def test_no_two_classes_have_one_name() -> None:
    names = [
        node.name
        for source in SOURCES.values()
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ClassDef)
    ]
    assert [name for name in {*names} if names.count(name) > 1] == []


def test_nothing_is_unpickled_evaluated_or_imported_by_name() -> None:
    found = {file: unsafe(source) for file, source in SOURCES.items() if unsafe(source)}
    assert found == {"exactloop/script.py": {"runpy"}}  # it runs the script that it is given


def test_nothing_goes_through_what_dies_of_two_gigabytes() -> None:
    """They do not raise where a value is larger, but end the process."""
    dies = {"serialize_tensor", "make_tensor_proto", "serialize_many_sparse", "encode_proto"}
    names = {
        file: {node.attr for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute)}
        for file, source in SOURCES.items()
    }
    assert {file: found & dies for file, found in names.items() if found & dies} == {}


def test_unsafe_sources_are_found() -> None:
    for source in [
        "import pickle",
        "from marshal import loads",
        "import importlib.util",
        "from importlib import import_module as load",
        "run = eval",
        "exec(text)",
        "__import__(name)",
        "builtins.exec(text)",
        "np.load(path, allow_pickle=True)",
    ]:
        assert unsafe(source), source


def test_public_names_are_those_agreed_on() -> None:
    assert loop.__all__ == [
        "NEVER",
        "ArrayData",
        "At",
        "Evaluation",
        "Event",
        "Every",
        "Finding",
        "Halt",
        "Hook",
        "HookRegistry",
        "IndexedData",
        "InexactRun",
        "Loop",
        "Moment",
        "RunResult",
        "StatefulData",
        "Step",
        "StreamData",
        "TrainingState",
        "Trigger",
        "average",
        "connect",
        "digest",
        "keras_steps",
        "supervised",
        "total",
    ]
    assert hooks.__all__ == [
        "Checkpoint",
        "CorruptCheckpoint",
        "EarlyStopping",
        "Export",
        "KerasCallbacks",
        "LearningRate",
        "MetricsLog",
        "NaNGuard",
        "OptunaPruning",
        "Preemption",
        "Profile",
        "Progress",
        "ReduceLROnPlateau",
        "TensorBoard",
        "TimeBudget",
        "Tracker",
        "WeightAverage",
        "restore",
    ]
    assert exactloop.__all__ == ["Proof", "find_batch_size", "find_learning_rate", "prove"]


def test_what_has_moved_says_where_to() -> None:
    for name in ("Proof", "prove"):
        with pytest.raises(ImportError, match=f"write from exactloop import {name}"):
            getattr(hooks, name)


def test_public_names_exist_and_have_a_docstring() -> None:
    public = [getattr(package, name) for package in (loop, hooks, exactloop) for name in package.__all__]
    assert [thing for thing in public if not thing.__doc__] == []


def test_run_fits_on_one_screen() -> None:
    (run,) = [
        node
        for of_module in ast.parse(SOURCES["loop/loop.py"]).body
        if isinstance(of_module, ast.ClassDef) and of_module.name == "Loop"
        for node in of_module.body
        if isinstance(node, ast.FunctionDef) and node.name == "run"
    ]
    assert run.end_lineno is not None
    assert run.end_lineno - run.lineno <= 50


def test_packages_are_typed() -> None:
    assert all((ROOT / package / "py.typed").is_file() for package in ("loop", "hooks", "exactloop"))


def test_samples_are_taken_of_tests_that_there_are() -> None:
    sources = [path.read_text(encoding="utf-8") for path in ROOT.glob("tests/**/test_*.py")]
    assert [name for name in ONE_IN if not any(f"def {name}(" in source for source in sources)] == []
