"""What may import what, what is public, and what must not be in the source."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import hooks
import loop

ROOT = Path(__file__).parent.parent
FILES = sorted([*ROOT.glob("loop/*.py"), *ROOT.glob("hooks/*.py")])
FORBIDDEN = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "importlib", "runpy"}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__", "import_module", "allow_pickle"}
SHARED = {"hooks.monitor": None, "hooks.checkpoint_store": {"hooks/checkpoint.py"}}  # None: for every hook


def imports(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yields module and name of everything imported, wherever it is; a plain `import` has no name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (("." * node.level + (node.module or ""), alias.name) for alias in node.names)


def misplaced_imports(file: str, source: str) -> list[str]:
    """Returns the imports that a file of `loop` or `hooks` must not have."""
    wrong = []
    for module, name in imports(ast.parse(source)):
        package = module.split(".")[0]
        if package == "":
            allowed = False  # absolute imports only, so that this test sees them
        elif package == "loop":
            allowed = file.startswith("loop/") or (module == "loop" and name in loop.__all__)
        elif package == "hooks":
            users = SHARED.get(module, set())
            allowed = file == "hooks/__init__.py" or (file.startswith("hooks/") and (users is None or file in users))
        else:
            allowed = True
        if not allowed:
            wrong.append(f"{file}: {module} {name}".rstrip())
    return wrong


def unsafe(source: str) -> set[str]:
    """Returns what could run code that was loaded or built at run time."""
    tree = ast.parse(source)
    found = {module for module, _ in imports(tree) if module.split(".")[0] in FORBIDDEN}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            found |= {node.func.id} & FORBIDDEN_CALLS
        elif isinstance(node, ast.Attribute | ast.keyword):
            found |= {str(node.attr if isinstance(node, ast.Attribute) else node.arg)} & (FORBIDDEN | FORBIDDEN_CALLS)
    return found - ({"compile"} if "import re\n" in source else set())


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_loop_knows_no_hook_and_hooks_know_only_the_public_loop(path: Path) -> None:
    assert misplaced_imports(relative(path), path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("loop/chunk.py", "def f():\n    from hooks import Progress"),
        ("loop/chunk.py", "from . import data"),
        ("hooks/progress.py", "from loop.clock import Clock"),
        ("hooks/progress.py", "import loop.clock"),
        ("hooks/progress.py", "from loop import clock"),
        ("hooks/progress.py", "from hooks.tensorboard import EventFile"),
        ("hooks/progress.py", "from hooks.checkpoint_store import Store"),
        ("hooks/progress.py", "import hooks"),
    ],
)
def test_misplaced_import_is_found(file: str, source: str) -> None:
    assert len(misplaced_imports(file, source)) == 1


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_nothing_is_unpickled_evaluated_or_imported_by_name(path: Path) -> None:
    assert unsafe(path.read_text(encoding="utf-8")) == set()


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from marshal import loads",
        "import importlib.util",
        "eval(text)",
        "exec(text)",
        "__import__(name)",
        "np.load(path, allow_pickle=True)",
    ],
)
def test_unsafe_source_is_found(source: str) -> None:
    assert len(unsafe(source)) == 1


def test_public_names_of_loop() -> None:
    assert loop.__all__ == [
        "NEVER",
        "ArrayData",
        "At",
        "Evaluation",
        "Event",
        "Every",
        "Halt",
        "Hook",
        "HookRegistry",
        "Loop",
        "Moment",
        "RunResult",
        "Step",
        "StreamData",
        "TrainingState",
        "Trigger",
        "supervised",
    ]


def test_public_names_of_hooks() -> None:
    assert hooks.__all__ == [
        "Checkpoint",
        "CorruptCheckpoint",
        "EarlyStopping",
        "Preemption",
        "Progress",
        "TensorBoard",
    ]


@pytest.mark.parametrize("package", [loop, hooks], ids=["loop", "hooks"])
def test_public_names_exist_and_are_explained(package: object) -> None:
    undocumented = {name for name in package.__all__ if not getattr(package, name).__doc__}  # type: ignore[attr-defined]
    assert undocumented == set()


def test_run_fits_on_one_screen() -> None:
    (of_loop,) = [
        node
        for node in ast.parse((ROOT / "loop/loop.py").read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and node.name == "Loop"
    ]
    (run,) = [node for node in of_loop.body if isinstance(node, ast.FunctionDef) and node.name == "run"]
    assert run.end_lineno is not None
    assert run.end_lineno - run.lineno <= 50


@pytest.mark.parametrize("package", ["loop", "hooks"])
def test_packages_are_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").is_file()
