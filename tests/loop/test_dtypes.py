"""Values of every dtype that TensorFlow can hold in a variable, in states, logs and arrays."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from hooks import Checkpoint, EarlyStopping, restore
from hooks.checkpoint.differences import differences
from loop import ArrayData, Every, Hook, Loop, Moment
from loop.digest import digest, sampled

NUMBERS = [
    "bfloat16",
    "float16",
    "float32",
    "float64",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "bool",
]
NARROW = ["int4", "uint4", "float8_e4m3fn", "float8_e5m2"]
COMPLEX = ["complex64", "complex128"]
QUANTIZED = {"qint8": tf.int8, "quint8": tf.uint8, "qint32": tf.int32}


def newest() -> list[str]:
    """Returns the dtypes of newer versions of TensorFlow, which fewer operations know."""
    found = []
    for name in ("float4_e2m1fn", "int2", "uint2"):
        try:
            found.append(tf.as_dtype(name).name)
        except TypeError:  # an older version
            continue
    return found


def values(first: int) -> dict[str, tf.Tensor]:
    """Returns values of all dtypes by their names, others for another `first`, 0 or 1."""
    found = {}
    for name in [*NUMBERS, *NARROW, *COMPLEX, *newest()]:
        found[name] = tf.constant(np.array([first, 0, 1], tf.as_dtype(name).as_numpy_dtype))
    found |= {name: tf.bitcast(tf.constant([first, 0, 1], of), name) for name, of in QUANTIZED.items()}
    return {**found, "string": tf.constant([["", "a"][first], "b"]), "empty": tf.constant(np.empty([0, 2], "float32"))}


class Turns(Hook):
    """Gives the variables other values after the second step, which is the best."""

    def __init__(self, variables: dict[str, tf.Variable]) -> None:
        super().__init__()
        self._variables = variables

    def on_settled(self, moment: Moment) -> None:
        for name, value in values(int(moment.step == 2)).items():
            self._variables[name].assign(value)


def make(directory: Path, *, turns: bool = True) -> tuple[Loop, dict[str, tf.Variable]]:
    held = {name: tf.Variable(value, trainable=False) for name, value in values(0).items()}
    count = tf.Variable(0)
    stopping = EarlyStopping("worth", mode="max", patience=9, restore_best="state")
    hooks: list[Hook] = [Checkpoint(directory, Every(steps=1), keep=9)]
    loop = Loop(
        lambda batch: {"worth": -tf.abs(count.assign_add(1) - 2)},
        ArrayData(np.arange(4), batch_size=4),
        state={"held": held, "count": count},
        hooks=[*([Turns(held)] if turns else []), stopping, *hooks],
    )
    return loop, held


def digests(held: dict[str, tf.Variable] | dict[str, tf.Tensor]) -> dict[str, str]:
    return {name: digest(tf.convert_to_tensor(value)) for name, value in held.items()}


def test_values_of_all_dtypes_are_saved_restored_and_compared(tmp_path: Path) -> None:
    make(tmp_path)[0].run(steps=2)
    loop, held = make(tmp_path, turns=False)
    loop.run(steps=3)
    assert digests(held) == digests(values(0))  # those of the best step, before they turned
    for step in (1, 2, 3):
        assert restore(tmp_path, {"held": held}, which=step) == step
        assert digests(held) == digests(values(int(step > 1)))
    found = {each.name: each for each in differences(f"{tmp_path}/ckpt-1", f"{tmp_path}/ckpt-2")[1]}
    kinds = {f"held/{name}" for name in values(0) if name != "empty"}
    assert {name: each.count for name, each in found.items() if name in kinds} == dict.fromkeys(kinds, 1)
    largest = {name: each.largest for name, each in found.items() if name in kinds - {"held/string"}}
    assert largest == dict.fromkeys(kinds - {"held/string"}, 1.0)


def test_numbers_of_all_dtypes_are_logged() -> None:
    names = [*NUMBERS, *NARROW]
    held = {name: tf.Variable(np.array(1, tf.as_dtype(name).as_numpy_dtype), trainable=False) for name in names}
    loop = Loop(
        lambda batch: {name: variable.read_value() for name, variable in held.items()},
        ArrayData(np.arange(2), batch_size=1),
        state={"held": held},
    )
    assert loop.run(steps=2).logs == dict.fromkeys(sorted(names), 1.0)


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("complex64", r"Return tf.math.real\(value\) and tf.math.imag\(value\) under names of their own"),
        ("qint8", "Compute a number or a bool of it in the step"),
        ("string", "Compute a number or a bool of it in the step"),
    ],
)
def test_what_is_no_number_is_not_logged_and_the_remedy_is_for_its_dtype(name: str, remedy: str) -> None:
    value = tf.Variable(values(1)[name], trainable=False)
    loop = Loop(lambda batch: {"value": value[0]}, ArrayData(np.arange(2), batch_size=1), state={"value": value})
    with pytest.raises(TypeError, match=rf"Received: shape \(\), dtype {name}. {remedy}"):
        loop.run(steps=1)


def test_parts_of_a_complex_number_are_logged_as_the_remedy_says() -> None:
    value = tf.Variable(1 + 2j, trainable=False)
    loop = Loop(
        lambda batch: {"real": tf.math.real(value), "imag": tf.math.imag(value)},
        ArrayData(np.arange(2), batch_size=1),
        state={"value": value},
    )
    assert loop.run(steps=1).logs == {"imag": 2.0, "real": 1.0}


def test_values_that_are_not_finite_are_found_in_all_dtypes_that_have_some(tmp_path: Path) -> None:
    names = ["bfloat16", "float16", "float32", "float64", "float8_e4m3fn", "float8_e5m2", *COMPLEX]
    held = {
        name: tf.Variable(np.array([1, np.nan], tf.as_dtype(name).as_numpy_dtype), trainable=False) for name in names
    }
    held["large"] = tf.Variable(np.array([448, 448], tf.as_dtype("float8_e4m3fn").as_numpy_dtype), trainable=False)
    count = tf.Variable(0)
    loop = Loop(
        lambda batch: {"count": count.assign_add(1)},
        ArrayData(np.arange(2), batch_size=1),
        state={"held": held, "count": count},
        hooks=[Checkpoint(tmp_path)],
    )
    found = ", ".join(rf"held/{name} \(1\)" for name in names)
    with pytest.raises(FloatingPointError, match=rf"and was not saved: {found}\. "):
        loop.run(steps=1)


@pytest.mark.parametrize(("name", "as_what"), [("int4", "int8"), ("float8_e5m2", "float16")])
def test_arrays_of_a_dtype_whose_rows_cannot_be_gathered_are_refused(name: str, as_what: str) -> None:
    array = np.array([1, 2, 3], tf.as_dtype(name).as_numpy_dtype)
    with pytest.raises(TypeError, match=f"Received: an array of {name}. Give it as {as_what}"):
        ArrayData((array, array), batch_size=1)
    loop = Loop(  # as it says
        lambda batch: {"one": tf.cast(batch, name)}, ArrayData(array.astype(as_what), batch_size=3), state={}
    )
    with pytest.raises(TypeError):
        loop.run(steps=1)


@pytest.mark.parametrize("name", [*NARROW, "bool", "complex64", "qint8", "string"])
def test_batches_of_all_dtypes_are_told_apart(name: str) -> None:
    assert int(sampled(values(0)[name])) != int(sampled(values(1)[name]))
