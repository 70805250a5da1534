"""A checkpoint of each format that there has been is restored, or refused with the version that wrote it, for ever.

Each directory of `golden` was made by the version of that time, by `make_loop(directory).run(steps=6)` below. A change
of the format or of the fingerprints adds one, made by the last version before it, and changes none.
"""

import gzip
import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from places import ROOT, TESTS

import exactloop
from hooks import Checkpoint, restore
from hooks.checkpoint.record.manifest import FORMAT, PACKAGE, canonical, content, decode
from loop import ArrayData, Every, Loop, TrainingState
from loop.rebuilt import late_rows

GOLDEN = TESTS / "golden"
STREAM = "format-3-stream"  # by `make_stream` below; iterators of pipelines had rows, and have numbers of rows now
FILES = "format-3-files"  # by `make_reader` below, with fingerprint 2, which told files apart by their bytes
DIRECTORIES = ("format-1-early", "format-1", "format-2", "format-3", "format-3-2")  # the last one with fingerprint 2
NOT_SAID = "was written by an earlier exactloop, in format {}, which does not say its fingerprint: not comparable with"


def make_loop(directory: Path | str, **kinds: Any) -> tuple[Loop, tf.Variable]:
    weight = tf.Variable([0.5, -0.25], name="weight")

    def train_step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        loss = tf.reduce_mean(tf.square(x - tf.reduce_sum(weight)))
        weight.assign_sub(0.01 * tf.stack([loss, tf.reduce_mean(x)]))
        return {"loss": loss}

    data = ArrayData(tf.range(8.0).numpy(), batch_size=2, seed=3)
    return Loop(
        train_step, data, state={"weight": weight}, hooks=[Checkpoint(directory, Every(steps=6), keep=1, **kinds)]
    ), weight


def copied(name: str, to: Path) -> Path:
    return Path(shutil.copytree(GOLDEN / name, to / name))


def of_the_program(caught: list[warnings.WarningMessage]) -> list[str]:
    """Returns what was warned of, but for what is of this machine and its libraries."""
    lines = [str(each.message) for each in caught]
    # The second is AutoGraph's on Python 3.13, as setup.cfg has it.
    return [line for line in lines if "The bits of the run may be others" not in line and "___pyct_anno" not in line]


@pytest.fixture(scope="module")
def whole() -> list[bytes]:
    """What the weight is after steps 6 and 8 of a run that was not interrupted."""
    loop, weight = make_loop_without_checkpoints()
    return [(loop.run(steps=steps), weight.numpy().tobytes())[1] for steps in (6, 8)]


def make_loop_without_checkpoints() -> tuple[Loop, tf.Variable]:
    loop, weight = make_loop("unused")
    loop.hooks.remove("checkpoint")
    return loop, weight


def test_there_is_one_of_each_format() -> None:
    formats = [json.loads((GOLDEN / name / "ckpt-6.json").read_bytes())["format"] for name in DIRECTORIES]
    assert {*formats} == {*range(1, FORMAT + 1)}
    assert {path.name for path in GOLDEN.iterdir()} == {*DIRECTORIES, STREAM, FILES, "before-format-1"}
    assert version_of_the_package() == PACKAGE == exactloop.__version__


def version_of_the_package() -> str:
    lines = (ROOT / "setup.cfg").read_text(encoding="utf-8").splitlines()
    return next(line.partition("=")[2].strip() for line in lines if line.startswith("version"))


@pytest.mark.parametrize("name", DIRECTORIES)
def test_its_values_are_restored(name: str, whole: list[bytes]) -> None:
    weight = tf.Variable([0.0, 0.0])
    assert restore(GOLDEN / name, {"weight": weight}) == 6
    assert weight.numpy().tobytes() == whole[0]


@pytest.mark.parametrize("name", DIRECTORIES)
def test_a_run_goes_on_with_it_and_says_what_cannot_be_compared(name: str, whole: list[bytes], tmp_path: Path) -> None:
    loop, weight = make_loop(copied(name, tmp_path))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loop.run(steps=8)
    written = int(name.split("-")[1])
    said = of_the_program(caught)
    if written < 3:
        assert len(said) == 1
        assert NOT_SAID.format(written) in said[0]
        assert f"fingerprint {TrainingState.fingerprint} of exactloop {PACKAGE}. All values are restored" in said[0]
    elif (fingerprint := written_with(name)) not in TrainingState.comparable:
        assert len(said) == 1
        assert f"was written by exactloop 0.1.0, fingerprint {fingerprint}: not comparable with" in said[0]
    elif same_libraries(name):
        assert said == []
    assert weight.numpy().tobytes() == whole[1]


def written_with(name: str) -> int:
    return json.loads((GOLDEN / name / "ckpt-6.json").read_bytes())["writer"]["fingerprint"]


def same_libraries(name: str) -> bool:
    made = json.loads((GOLDEN / name / "ckpt-6.json").read_bytes())["made"]
    return made["tensorflow"] == tf.__version__


def make_stream(directory: Path | str) -> tuple[Loop, tf.Variable]:
    keras.utils.set_random_seed(1)
    weight = tf.Variable(tf.zeros([16]), name="weight")

    def train_step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        weight.assign(0.5 * weight + tf.reduce_sum(x * tf.constant([[1.0], [3.0]]), axis=0))
        return {"loss": weight[0]}

    rows = tf.data.Dataset.from_tensor_slices(tf.reshape(tf.range(128.0), [8, 16])).shuffle(8).batch(2)
    hooks = [Checkpoint(directory, Every(steps=6), keep=1)]
    return Loop(train_step, rows.repeat(), state={"weight": weight}, steps_per_epoch=4, hooks=hooks), weight


@pytest.mark.parametrize("least", [0, late_rows.LEAST])
def test_a_pipeline_of_which_the_iterator_was_another_one_goes_on_with_the_same_batches(
    least: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(late_rows, "LEAST", least)
    whole, expected = make_stream(tmp_path / "whole")
    whole.run(steps=12)
    loop, weight = make_stream(copied(STREAM, tmp_path))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loop.run(steps=12)
    assert of_the_program(caught) == []
    # As with the version that has saved it.
    assert weight.numpy().tolist() == expected.numpy().tolist()
    assert weight.numpy()[:2].tolist() == [298.46875, 306.466796875]


def make_reader(directory: Path) -> tuple[Loop, tf.Variable]:
    keras.utils.set_random_seed(1)
    weight = tf.Variable(0.0, name="weight")

    def train_step(batch: tuple[tf.Tensor, ...]) -> dict[str, tf.Tensor]:
        weight.assign(0.5 * weight + tf.add_n([tf.reduce_sum(tf.cast(x, tf.float32)) for x in batch]))
        return {"loss": weight}

    def load(path: bytes) -> np.ndarray:
        return np.load(path.decode())["numbers"]

    parse = {"x": tf.io.FixedLenFeature([], tf.int64)}
    rows = tf.data.TFRecordDataset(str(directory / "data/rows.tfrecord"))
    rows = rows.map(lambda r: tf.io.parse_single_example(r, parse)["x"])
    texts = tf.data.TextLineDataset(str(directory / "data/lines.txt.gz"), compression_type="GZIP")
    arrays = tf.data.Dataset.from_tensor_slices([str(directory / "data/numbers.npz")])
    arrays = arrays.map(lambda p: tf.ensure_shape(tf.numpy_function(load, [p], tf.int64), [16])).unbatch()
    batches = tf.data.Dataset.zip((rows, texts.map(tf.strings.to_number), arrays)).shuffle(8, seed=1).batch(2)
    hooks = [Checkpoint(directory, Every(steps=6), keep=1)]
    return Loop(train_step, batches, state={"weight": weight}, hooks=hooks), weight


def write_anew(directory: Path, last: int = 15) -> None:
    """Writes the same with other bytes; and, if it is asked to, with another last row."""
    rows = [*range(15), last]
    with tf.io.TFRecordWriter(str(directory / "rows.tfrecord")) as writer:
        for i in rows:
            numbers = {name: tf.train.Int64List(value=[i * (1 + ord(name))]) for name in "xyz"}
            found = tf.train.Features(feature={name: tf.train.Feature(int64_list=x) for name, x in numbers.items()})
            parts = [tf.train.Features(feature={name: found.feature[name]}).SerializeToString() for name in "zyx"]
            writer.write(bytes([10, sum(map(len, parts))]) + b"".join(parts))
    lines = "".join(f"{i * i}\n" for i in rows).encode()
    (directory / "lines.txt.gz").write_bytes(gzip.compress(lines, mtime=2))


@pytest.mark.skipif(not same_libraries(FILES), reason="other libraries trace the same functions otherwise")
def test_files_are_compared_by_their_bytes_if_a_checkpoint_knows_only_these(tmp_path: Path) -> None:
    whole, expected = make_reader(copied(FILES, tmp_path / "whole"))
    whole.hooks.remove("checkpoint")
    whole.run(steps=8)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        write_anew((directory := copied(FILES, tmp_path / "anew")) / "data")
        with pytest.raises(ValueError, match="has other arguments, functions or source data now in: TensorSlice"):
            make_reader(directory)[0].run(steps=7)
        make_reader(directory := copied(FILES, tmp_path / "cut"))[0].run(steps=7)
        write_anew(directory / "data")
        loop, weight = make_reader(directory)
        loop.run(steps=8)
        assert weight.numpy() == expected.numpy()
        write_anew(directory / "data", 13)
        with pytest.raises(ValueError, match="has other arguments, functions or source data now in: TensorSlice"):
            make_reader(directory)[0].run(steps=9)
    assert of_the_program(caught) == []


def edited(directory: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    path = directory / "ckpt-6.json"
    said = json.loads(json.dumps(content(decode(path.read_bytes()))))
    edit(said)
    path.write_bytes(canonical(said))


def test_another_fingerprint_is_named_and_nothing_is_compared_with_it(whole: list[bytes], tmp_path: Path) -> None:
    def of_another(said: dict[str, Any]) -> None:
        said["writer"] = {"exactloop": "9.8.7", "fingerprint": 99}
        said["description"]["steps"]["train"]["operations"]["Placeholder"] = 17
        said["description"]["data"]["content"] = "0" * 16
        said["digests"] = ["0" * 16] * len(said["digests"])

    edited(directory := copied("format-3", tmp_path), of_another)
    loop, weight = make_loop(directory)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loop.run(steps=8)
    (said,) = of_the_program(caught)
    assert (
        f"written by exactloop 9.8.7, fingerprint 99: not comparable with fingerprint {TrainingState.fingerprint} of"
        in said
    )
    assert weight.numpy().tobytes() == whole[1]
    other = tf.Variable([0.0, 0.0])
    assert restore(directory, {"weight": other}) == 8


def test_what_needs_no_fingerprint_is_compared_with_any(tmp_path: Path) -> None:
    def of_another(said: dict[str, Any]) -> None:
        said["writer"] = {"exactloop": "9.8.7", "fingerprint": 99}
        said["description"]["data"]["batch_size"] = 4

    edited(directory := copied("format-3", tmp_path), of_another)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ValueError, match=r"written by exactloop 9\.8\.7, fingerprint 99, does not fit") as raised:
            make_loop(directory)[0].run(steps=8)
    assert "data: batch_size was 4 in the checkpoint and is 2 now" in str(raised.value)
    assert "Placeholder" not in str(raised.value)


def test_with_its_own_fingerprint_another_step_is_refused_as_ever(tmp_path: Path) -> None:
    edited(
        directory := copied("format-3-2", tmp_path),
        lambda said: said["description"]["steps"]["train"]["operations"].update(Placeholder=17),
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if same_libraries("format-3-2"):
            with pytest.raises(ValueError, match="has other operations now: -17 Placeholder"):
                make_loop(directory)[0].run(steps=8)
    assert of_the_program(caught) == []


@pytest.mark.parametrize(
    ("name", "edit", "said"),
    [
        ("before-format-1", None, "an early version wrote it, in a form from before format 1 that no later one reads"),
        (
            "format-3",
            lambda said: said.update(format=FORMAT + 1, writer={"exactloop": "7.0.0", "fingerprint": 9}),
            f"a later version wrote it, exactloop 7.0.0, in format {FORMAT + 1}; {FORMAT} is read here",
        ),
    ],
)
def test_what_cannot_be_read_names_who_wrote_it(
    name: str, edit: Callable[[dict[str, Any]], object] | None, said: str, tmp_path: Path
) -> None:
    directory = copied(name, tmp_path)
    if edit:
        edited(directory, edit)
    for act in (
        lambda: restore(directory, {"weight": tf.Variable([0.0, 0.0])}),
        lambda: make_loop(directory)[0].run(steps=8),
    ):
        with pytest.raises(RuntimeError) as raised:
            act()
        assert f"ckpt-6.json: {said}" in str(raised.value)
        assert "Use that version, or another directory." in str(raised.value)
