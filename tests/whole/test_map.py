"""The map of the packages is true, and so are the other documents: the files, classes and methods that they name."""

import ast
import re
from pathlib import Path

from places import ROOT
from test_structure import FLOORS, SOURCES, floor

MAP = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
ROOMS = {file: ast.get_docstring(ast.parse(source)) or "" for file, source in SOURCES.items() if "__init__" in file}
PAGES = [ROOT / "README.md", ROOT / "BUILD.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXTS = {page.name: page.read_text(encoding="utf-8") for page in PAGES} | ROOMS
YOURS = ("train.py",)  # what a script of the reader's is called
FILES = {f"/{path.relative_to(ROOT).as_posix()}" for path in ROOT.glob("*/**/*.py")}
FILE = re.compile(r"[A-Za-z_][A-Za-z_/]*\.py\b")
PART = re.compile(r"`([A-Z][A-Za-z]*)\.([a-z_]+)")
NAME = re.compile(r"`([A-Za-z_]+)(?:\(\))?`")
THEIRS = ("MultiWorkerMirroredStrategy",)


def parts() -> dict[str, set[str]]:
    """Returns the names that each class defines or sets on itself, and those of what it inherits from."""
    own, bases = dict[str, set[str]](), dict[str, list[str]]()
    for node in (node for source in SOURCES.values() for node in ast.parse(source).body):
        if isinstance(node, ast.ClassDef):
            within = list(ast.walk(node))
            found = own.setdefault(node.name, set())
            found |= {each.name for each in within if isinstance(each, ast.FunctionDef)}
            found |= {each.attr for each in within if isinstance(each, ast.Attribute)}
            found |= {ast.unparse(each.target) for each in within if isinstance(each, ast.AnnAssign)}
            bases[node.name] = [ast.unparse(base) for base in node.bases]
    return {name: found.union(*(own.get(base, set()) for base in bases[name])) for name, found in own.items()}


def defined() -> set[str]:
    """Returns the names of all that the packages define, whatever it is, and their own."""
    nodes = [node for source in SOURCES.values() for node in ast.walk(ast.parse(source))]
    found = {node.name for node in nodes if isinstance(node, ast.ClassDef | ast.FunctionDef)}
    found |= {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return found | {file.split("/")[0] for file in SOURCES}


def missing_names(text: str, known: set[str]) -> list[str]:
    return [name for name in NAME.findall(text) if name not in known and name not in THEIRS]


def missing_files(text: str) -> list[str]:
    theirs = (file for file in FILE.findall(text) if file not in YOURS)
    return [file for file in theirs if not any(each.endswith(f"/{file}") for each in FILES)]


def missing_parts(text: str, known: dict[str, set[str]]) -> list[str]:
    return [f"{name}.{part}" for name, part in PART.findall(text) if part not in known.get(name, set())]


def of_others(missing: str, known: dict[str, set[str]]) -> bool:
    """Returns whether a class is none of these packages, such as `threading.Thread`."""
    return missing.split(".")[0] not in known


def test_every_file_that_is_named_is_there() -> None:
    assert {file: missing for file, text in TEXTS.items() if (missing := missing_files(text))} == {}
    assert missing_files("`hooks/chekpoint.py`, `run.py`, `engine/run.py`") == ["hooks/chekpoint.py", "engine/run.py"]


def test_every_class_and_method_that_is_named_is_there() -> None:
    known = parts()
    missing = {file: missing_parts(text, known) for file, text in TEXTS.items()}
    assert {file: names for file, names in missing.items() if names and file in ("architecture.md", *ROOMS)} == {}
    assert [name for names in missing.values() for name in names if not of_others(name, known)] == []
    assert missing_parts("`Loop.run()`, `Loop.state`, `Fed.more`, `Loop.trian`", known) == ["Loop.trian"]


def test_each_room_names_the_files_in_it() -> None:
    rooms = {file.removesuffix("/__init__.py"): words for file, words in ROOMS.items()}
    missing = [
        file
        for file in SOURCES
        for room, _, name in [file.removesuffix(".py").rpartition("/")]
        if not name.startswith("__") and room != "hooks" and not re.search(rf"\b{name}\b", rooms[room])
    ]
    assert missing == []


def test_every_name_on_the_map_is_there() -> None:
    known = defined()
    assert missing_names(MAP, known) == []
    assert missing_names("`Checkpoint`, `connect()`, `EPOCH_END`, `hooks`, `Chekpoint`", known) == ["Chekpoint"]


def test_the_floors_on_the_map_are_those_that_are_held() -> None:
    (drawn,) = [block for block in re.findall(r"```text\n(.*?)```", MAP, re.DOTALL) if "engine/\ndata/\n" in block]
    rooms = [Path(word).stem for word in drawn.split()]
    floors = [floor(f"loop.{room}") for room in rooms]
    assert floors == sorted(floors, reverse=True)
    assert sorted(rooms) == sorted(name for names in FLOORS for name in names)
