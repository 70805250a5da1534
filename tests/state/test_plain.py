"""States of things in Python, as they are saved."""

import numpy as np
import pytest

from loop.state.plain import Encoded, Kept, decoded

VALUES = [
    None,
    [True, 1, -(2**80), 0.1, float("inf"), "ä\0", ["", []], {}],
    (1, (2, [3, (4,)])),
    {"a": {"b": b"\0\xff"}, "c": b""},
    {1: "one", None: 2, 0.5: (1,), "\0": 3},
    {True: 4},
    {"\0": "bytes", "size": 3},
    np.arange(6, dtype="int16").reshape(2, 3)[:, ::-1],
    [np.zeros([0, 3]), np.array("abc"), np.array([b"a", b"bcd"]), np.float32(1.5), np.array(1 + 2j), np.bool_(True)],
    {"when": np.datetime64("2020-01-01"), "bits": np.array([np.nan, -0.0]).view("uint64")},
    np.random.default_rng(3).bit_generator.state,
    np.random.RandomState(3).get_state(),
    {np.int64(3): "a", np.str_("b"): [1], 4: np.int64(5)},
]


def same(one: object, other: object) -> bool:
    if isinstance(one, np.ndarray | np.generic):
        arrays = np.asarray(one), np.asarray(other)
        return type(one) is type(other) and arrays[0].dtype == arrays[1].dtype and np.array_equal(*arrays)
    if isinstance(one, dict):
        return list(map(repr, one)) == list(map(repr, other)) and all(same(one[k], other[k]) for k in one)  # type: ignore[call-overload,index]
    if isinstance(one, list | tuple):
        return (
            type(one) is type(other)
            and len(one) == len(other)  # type: ignore[arg-type]
            and all(same(a, b) for a, b in zip(one, other, strict=True))  # type: ignore[call-overload]
        )
    return type(one) is type(other) and one == other


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_a_value_comes_back_as_it_was(value: object) -> None:
    encoded = Encoded(value, "it")
    assert same(value, encoded.decoded())
    assert same(value, decoded(encoded.text, encoded.data))


def test_what_is_held_is_a_copy() -> None:
    array, inner = np.zeros(3), [1]
    got: list[object] = []
    kept = Kept(lambda: [array, inner], got.append, "it")
    back = kept.capture()
    array += 1
    inner.append(2)
    back()
    back()
    assert [[a.tolist(), b] for a, b in got] == [[[0, 0, 0], [1]]] * 2
    got[0][0][0] = 5
    assert got[1][0][0] == 0


class Own:
    pass


class Measured(np.ndarray):
    """Numbers with a unit, say."""


def around() -> list[object]:
    """Returns a list that holds itself."""
    held: list[object] = [()]
    held.append(held)
    return held


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (Own(), "Received: Own"),
        ([1, {"a": Own()}], r"at state\[1\]\['a'\]: Own"),
        ({"a": np.array([Own()])}, "an array of object"),
        ({(1, 2): 3}, "a key of state"),
        ({"a": np.ma.array([1.0, 2.0], mask=[False, True])}, r"at state\['a'\]: MaskedArray. Write \(value.data"),
        (np.zeros(3).view(Measured), r"Received: Measured, a class of arrays. Write np.asarray\(value\)"),
        ([1, 1 << 20_000], r"a whole number of more than 4300 digits. Write hex\(value\), and int\(text, 16\)"),
        (around(), "Received: what is nested too deep, or holds itself"),
        (np.random.default_rng(1), "bit_generator.state"),
        ({1, 2}, "Received: set"),
    ],
)
def test_what_would_have_to_be_pickled_is_refused_with_its_place(value: object, said: str) -> None:
    with pytest.raises(TypeError, match=f"The state of it is saved as JSON values.*{said}"):
        Encoded(value, "it")


def test_what_was_not_encoded_here_is_not_decoded() -> None:
    for text, data in (("{", b""), ("1", b"a"), ('{"\\u0000": "array", "dtype": "O", "shape": [1]}', b"12345678")):
        with pytest.raises(ValueError, match=r"no state that was saved|Expecting"):
            decoded(text, np.frombuffer(data, np.uint8))


def test_what_a_refusal_says_comes_back_as_it_was() -> None:
    masked, large = np.ma.array([1.0, 2.0], mask=[False, True]), -(1 << 20_000)
    state = Encoded({"masked": (masked.data, np.ma.getmaskarray(masked)), "large": hex(large)}, "it").decoded()
    again = np.ma.MaskedArray(*state["masked"])
    assert (again.data.tolist(), again.mask.tolist()) == (masked.data.tolist(), masked.mask.tolist())
    assert int(state["large"], 16) == large
