"""Manifests of earlier formats are read; nothing but what was written in a format is taken for one of it."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from hooks.checkpoint_manifest import FORMAT, Manifest, Record, canonical, content, decode, encode

PARTS = ("state", "variables", "data", "steps", "seed", "settings", "trainable")
MANIFEST = Manifest(
    Record(4, False, 1, 1, 0.5),
    {"ckpt-4.index": (7, "0" * 64)},
    {"place": {"step": 4, "epoch": 1, "step_in_epoch": 1}, "data": {"seed": 3}},
    {part: {} for part in PARTS},
    (),
    {"loss": 0.25},
    {"time": 1.0},
)


def of_format_1() -> dict[str, Any]:
    said = copy.deepcopy(content(MANIFEST)) | {"format": 1}
    for part in ("settings", "trainable"):
        del said["description"][part]
    return said


def test_what_is_written_is_read() -> None:
    assert decode(encode(MANIFEST)) == MANIFEST
    assert content(MANIFEST)["format"] == FORMAT


def test_a_manifest_of_format_1_is_read_and_stays_one() -> None:
    raw = canonical(of_format_1())
    read = decode(raw)
    assert (read.format, read.record, set(read.description)) == (1, MANIFEST.record, set(PARTS[:5]))
    assert encode(read) == raw


def edited(said: dict[str, Any], edit: Callable[[dict[str, Any]], object]) -> bytes:
    edit(said)
    return canonical(said)


@pytest.mark.parametrize(
    ("said", "edit", "raised"),
    [
        (of_format_1, lambda c: c["description"].update(settings={}), ValueError),
        (of_format_1, lambda c: c.update(format=True), ValueError),
        (of_format_1, lambda c: c.update(format=1.0), ValueError),
        (lambda: content(MANIFEST), lambda c: c["description"].pop("settings"), ValueError),
        (lambda: content(MANIFEST), lambda c: c["description"].update(settings={"rate": None}), ValueError),
        (lambda: content(MANIFEST), lambda c: c["description"].update(settings={"rate": True}), ValueError),
        (lambda: content(MANIFEST), lambda c: c.update(format=FORMAT + 1), RuntimeError),
        (lambda: content(MANIFEST), lambda c: c.update(format=0), RuntimeError),
        (lambda: content(MANIFEST), lambda c: c.update(format=None), RuntimeError),
        (lambda: content(MANIFEST), lambda c: c.update(format=[2]), RuntimeError),
    ],
)
def test_what_no_format_has_is_refused(
    said: Callable[[], dict[str, Any]], edit: Callable[[dict[str, Any]], object], raised: type[Exception]
) -> None:
    raw = edited(copy.deepcopy(said()), edit)
    with pytest.raises(raised, match="a later version wrote it" if raised is RuntimeError else "a manifest with other"):
        decode(raw)
