"""The text of a program, by which the next process tells whether somebody has changed it."""

import sys
import types
from pathlib import Path

import pytest

from loop.exact import given, text
from loop.exact.text import Text, hashes, program_text


@pytest.fixture
def main(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """Another script, which is nothing yet."""
    main = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    monkeypatch.setattr(text, "program_text", program_text.__wrapped__)
    return main


def script(main: types.ModuleType, directory: Path, content: str) -> Text:
    directory.mkdir(exist_ok=True)
    main.__file__ = str(directory / "train.py")
    Path(main.__file__).write_text(content)
    return text.program_text()


def test_the_text_is_the_same_wherever_it_is(main: types.ModuleType, tmp_path: Path) -> None:
    first = script(main, tmp_path / "a", "x = np.random.normal()")
    assert first.number
    assert first.draws
    assert script(main, tmp_path / "b", "x = np.random.normal()") == first
    other = script(main, tmp_path / "b", "x = np.ones(3)  # another")
    assert other.number != first.number


@pytest.mark.more
def test_what_the_program_imports_belongs_to_it_and_libraries_do_not(
    main: types.ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = script(main, tmp_path, "import rows")
    module = types.ModuleType("rows")
    monkeypatch.setitem(sys.modules, "rows", module)
    for name, belongs in (("rows.py", True), ("site-packages/rows.py", False), ("rows.so", False)):
        module.__file__ = str(tmp_path / name)
        Path(module.__file__).parent.mkdir(exist_ok=True)
        Path(module.__file__).write_text("rows = 1")
        assert (text.program_text() != alone) == belongs
    module.__file__ = str(tmp_path / "removed.py")
    assert text.program_text().number


@pytest.mark.parametrize("beside", [True, False], ids=["beside the script", "elsewhere"])
def test_what_pip_has_put_into_a_directory_of_its_own_is_no_part_of_the_program(
    main: types.ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, beside: bool
) -> None:
    alone = script(main, tmp_path, "import frames, rows")
    target = tmp_path if beside else tmp_path / "target"
    info = target / "frames-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: frames\nVersion: 1.0\n")
    (info / "RECORD").write_text("frames/__init__.py,,\nframes-1.0.dist-info/RECORD,,\n")
    (target / "train.egg-info").mkdir()  # of what is being edited
    (target / "train.egg-info" / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: train\nVersion: 1.0\n")
    (target / "train.egg-info" / "SOURCES.txt").write_text("rows.py\n")
    monkeypatch.syspath_prepend(str(target))
    for name, belongs in (("frames/__init__", False), ("rows", True)):
        module = types.ModuleType(name.partition("/")[0])
        monkeypatch.setitem(sys.modules, module.__name__, module)
        module.__file__ = str(target / f"{name}.py")
        Path(module.__file__).parent.mkdir(exist_ok=True)
        Path(module.__file__).write_text("rows = 1")
        assert (text.program_text() != alone) == belongs


def test_of_a_notebook_it_is_that_of_its_cells_and_of_what_was_typed_nobody_knows(main: types.ModuleType) -> None:
    assert text.program_text() == Text(0, draws=False)
    main.In = ["", "x = np.random.normal()"]
    one = text.program_text()
    main.In = ["", "x = np.random.normal()", "x += 1"]
    two = text.program_text()
    assert 0 < one.number != two.number > 0
    assert one.draws


def test_what_the_program_names_is_found_in_its_text_and_arguments(
    main: types.ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert given.names_number(1_234_567)  # nobody knows
    script(main, tmp_path, "seed = 1_234_567")
    monkeypatch.setattr(sys, "argv", ["train.py", "--seed=7654321"])
    monkeypatch.setenv("SEED", "2345678")
    asked = (1_234_567, 7_654_321, 2_345_678, 7_777_776 + 1)  # or it would be named here
    assert [given.names_number(seed) for seed in asked] == [True, True, True, False]


def test_what_the_program_calls_is_found_in_its_text(main: types.ModuleType, tmp_path: Path) -> None:
    script(main, tmp_path, "hook = Mine()\nhook.before_run()\n(hook\n    .teardown ())\nafter_run()")
    names = ("before_run", "teardown", "after_run")
    assert [text.calls_method(name) for name in names] == [True, True, False]


@pytest.mark.parametrize(
    ("line", "is_given"),
    [
        ("settings = json.load(open('settings.json'))", True),
        ("FILE = pathlib.Path('settings.json')\nsettings = json.loads(FILE.read_text())", True),
        ("rows = load('settings.csv')", False),
        ("json.dump(found, open('settings.json', 'w'))", False),
        ("FILE = 'settings.json'\nwith open(FILE, 'w') as file:\n    file.write(found)", False),
    ],
)
def test_what_is_in_a_file_of_settings_is_given(
    line: str, is_given: bool, main: types.ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("settings.json", "settings.csv"):
        (tmp_path / name).write_text('{"size": 123456, "rates": [0.25, 1e-3], "name": "large"}')
    script(main, tmp_path, line)
    monkeypatch.setattr(sys, "argv", ["train.py"])
    assert [given.is_given(value) for value in (123_456, 0.001, "large", [0.25])] == [is_given] * 4
    assert not given.is_given(123_457)
    monkeypatch.setattr(sys, "argv", ["train.py", f"--config={tmp_path}/settings.json"])
    assert given.is_given(123_456)


@pytest.mark.more
def test_a_number_is_set_if_it_is_given_or_stands_in_a_text_that_was_edited(
    main: types.ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", "--seed=77777"])
    monkeypatch.setenv("_".join(["NOT", "NAMED"]), str(48_611_735 + 1))
    assert not given.is_set(66_666, same_program=False)  # nobody knows the text
    script(main, tmp_path, "rows.shuffle(9, seed=66_666)\nother = 1999991")
    asked = (77_777, 66_666, 48_611_735 + 1, 73_461_108 + 1)  # or they would be named here
    assert [given.is_set(seed, same_program=False) for seed in asked] == [True, True, False, False]
    assert [given.is_set(seed, same_program=True) for seed in asked] == [True, False, False, False]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("rows = [hash(word) % 100 for word in words]", ["hash(word), in __main__"]),
        ("class Word:\n    def __hash__(self):\n        return hash(self.text)", []),
        ("print('hash(word)', md5.hash(word))", []),
    ],
)
def test_what_is_hashed_is_found(
    main: types.ModuleType, tmp_path: Path, text: str, found: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    script(main, tmp_path, text)
    monkeypatch.setitem(sys.modules, "__mp_main__", main)  # as `multiprocessing` does
    assert [each for each in hashes() if "_main__" in each] == found
