"""Manifests of earlier formats are read; nothing but what was written in a format is taken for one of it."""

import copy
import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest

from hooks.checkpoint.record.manifest import FORMAT, Manifest, Record, canonical, content, decode, encode, peek

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


def of_format_2() -> dict[str, Any]:
    said = copy.deepcopy(content(MANIFEST)) | {"format": 2}
    del said["writer"]
    return said


def of_format_1() -> dict[str, Any]:
    said = of_format_2() | {"format": 1}
    for part in ("settings", "trainable"):
        del said["description"][part]
    return said


def test_what_is_written_is_read() -> None:
    assert decode(encode(MANIFEST)) == MANIFEST
    assert content(MANIFEST)["format"] == FORMAT


@pytest.mark.parametrize(("written", "said", "parts"), [(1, of_format_1, PARTS[:5]), (2, of_format_2, PARTS)])
def test_a_manifest_of_an_earlier_format_is_read_and_stays_one(
    written: int, said: Callable[[], dict[str, Any]], parts: tuple[str, ...]
) -> None:
    raw = canonical(said())
    read = decode(raw)
    assert (read.format, read.record, tuple(read.description)) == (written, MANIFEST.record, parts)
    assert (encode(read), read.writer, peek(raw, len(raw))) == (raw, {}, None)


def test_the_head_of_a_manifest_is_read_alone_and_is_whole_or_not_believed() -> None:
    raw = encode(MANIFEST)
    end = raw.index(b'"notes"')
    assert peek(raw[:end], len(raw)) == peek(raw, len(raw)) == (MANIFEST.record, MANIFEST.files)
    for at in range(end):
        for other in (raw[at] ^ 1, 0, 255):
            damaged = raw[:at] + bytes([other]) + raw[at + 1 :]
            assert peek(damaged, len(raw)) is None
        assert peek(raw[:at], len(raw)) is None
    assert peek(raw, len(raw) - 1) is None


@pytest.mark.parametrize(
    "edit",
    [
        lambda c: c.update(best={"name": "loss"}),
        lambda c: c.update(step=True),
        lambda c: c["files"].update({"ckpt-4.index": [7]}),
        lambda c: c.update(more=1),
    ],
)
def test_a_head_of_the_right_hash_and_other_kinds_of_values_is_not_believed(edit: Callable[[Any], object]) -> None:
    raw = edited(copy.deepcopy(content(MANIFEST)), edit)
    read = peek(raw, len(raw))
    assert read is None or read == (MANIFEST.record, MANIFEST.files)  # what comes after it is not looked at
    with pytest.raises(ValueError, match="a manifest with other"):
        decode(raw)


def test_a_head_of_the_right_hash_with_a_key_twice_is_not_believed() -> None:
    head, _, rest = encode(MANIFEST).partition(b',"head"')
    twice = head.replace(b'"step":4', b'"step":9,"step":4')
    length = int(rest[2 : rest.index(b",")])
    seal = hashlib.sha256(b"%d %s" % (length, twice)).hexdigest().encode()
    raw = twice + b',"head":[%d,"%s"' % (length, seal) + rest[rest.index(b"]") :]
    assert peek(raw, len(raw)) is None


def test_a_form_from_before_format_1_is_said_to_be_one() -> None:
    with pytest.raises(RuntimeError, match="an early version wrote it, in a form from before format 1"):
        decode(json.dumps(content(MANIFEST), indent=1).encode())


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
        (of_format_1, lambda c: c["description"].update(steps=[]), ValueError),
        (of_format_2, lambda c: c["description"].pop("steps"), ValueError),
        (of_format_2, lambda c: c.update(writer={"exactloop": "0.1.0", "fingerprint": 1}), ValueError),
        (lambda: content(MANIFEST), lambda c: c.pop("writer"), ValueError),
        (lambda: content(MANIFEST), lambda c: c["writer"].update(fingerprint="1"), ValueError),
        (lambda: content(MANIFEST), lambda c: c.update(result={}), ValueError),
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
