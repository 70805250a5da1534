"""Every program of README.md and of docs/ runs, and prints what these say it prints; what they link to is there."""

import itertools
import re
import sys
import types
from pathlib import Path
from typing import NamedTuple

import pytest
from places import ROOT

from loop import Event

TEXTS = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
}
LINK = re.compile(r"\]\((?!https?:)([^)#]*)(#[^)]*)?\)")
FENCE = re.compile(r"^```(\w+)\n(.*?)^```\n", re.M | re.S)
CONTINUES = "# Continues the program above.\n"


class Block(NamedTuple):
    """A program, the line of README.md on which it starts, and what it prints; None if README.md does not say."""

    code: str
    line: int
    output: str | None


def blocks(text: str) -> list[Block]:
    """Returns the programs of a document, each with the output that follows it under the same heading."""
    fences, found = list(FENCE.finditer(text)), []
    for fence, following in itertools.zip_longest(fences, fences[1:]):
        if fence[1] == "python":
            same_section = following is not None and "\n#" not in text[fence.end() : following.start()]
            output = following[2] if same_section and following[1] == "text" else None
            found.append(Block(fence[2], text.count("\n", 0, fence.start(2)), output))
    return found


def stories(text: str) -> list[list[Block]]:
    """Returns the programs, each with those that continue it."""
    found: list[list[Block]] = []
    for block in blocks(text):
        if block.code.startswith(CONTINUES):
            found[-1].append(block)
        else:
            found.append([block])
    return found


@pytest.mark.parametrize(
    "story",
    [
        pytest.param(story, id=f"{name}, line {story[0].line}", marks=[] if name == "README.md" else [pytest.mark.more])
        for name, text in TEXTS.items()
        for story in stories(text)
    ],
)
def test_program_prints_what_the_readme_says(
    story: list[Block], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    module = types.ModuleType("readme")
    monkeypatch.setitem(sys.modules, "readme", module)
    for block in story:
        # A file and a module, because AutoGraph reads the source; and lines counted as in README.md, for tracebacks.
        path = tmp_path / f"readme_{block.line}.py"
        path.write_text("\n" * block.line + block.code, encoding="utf-8")
        exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), vars(module))
        printed = capsys.readouterr().out
        assert block.output is None or printed == block.output


def test_no_program_of_the_readme_is_left_out() -> None:
    for text in TEXTS.values():
        assert len(blocks(text)) == text.count("```python")
        assert [block.line for block in blocks(text) if block.output is None] == []
    assert len(blocks(TEXTS["README.md"])) > 2


def anchors(text: str) -> set[str]:
    """Returns what links to the headings of a document end with."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", text), re.M)
    return {f"#{re.sub('[^a-z0-9 _-]', '', each.lower()).replace(' ', '-')}" for each in headings}


@pytest.mark.parametrize("name", [*TEXTS, "BUILD.md", "CHANGELOG.md"])
def test_what_a_document_links_to_is_there(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    for path, anchor in LINK.findall(FENCE.sub("", text)):
        target = (ROOT / name).parent / path if path else ROOT / name
        assert target.exists(), path
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), path + anchor


def test_table_of_events_is_complete_and_in_order() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \| `(on_\w+)\(", TEXTS["docs/events.md"], re.M)
    assert rows == [(event.name, f"on_{event}") for event in Event]
