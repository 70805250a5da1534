"""Which variables come of random numbers is told by the text of a program."""

import ast
from collections.abc import Iterator

import pytest

from loop.exact import drawn_names as module
from loop.exact.assigned import BY_TENSORFLOW
from loop.exact.drawn_names import OF_PYTHON, drawn_arguments, drawn_names, drawn_themselves, reads_drawn
from loop.exact.drawn_shapes import drawn_shapes


@pytest.fixture(autouse=True)
def _read_anew() -> Iterator[None]:
    forget()
    yield
    forget()


def forget() -> None:
    for each in (drawn_names, drawn_arguments, drawn_themselves, module._leads_to, module._modules):
        each.cache_clear()


def found(monkeypatch: pytest.MonkeyPatch, **texts: str) -> set[str]:
    trees = {name: ast.parse(text) for name, text in texts.items()}
    monkeypatch.setattr(module, "parsed", lambda: trees)
    return {name.name for name in drawn_names()}


@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        ("x = np.random.normal(size=9)\nmean = x.mean()\nscale = 0.5", {"x", "mean"}),
        ("rng = np.random.default_rng()\na, (b, *c) = rng.normal(size=3), [rng.random(), 1]", {"rng", "a", "b", "c"}),
        ("from random import choice as pick\nsize = pick([3, 4])\nother = min(3, 4)", {"pick", "size"}),
        ("import numpy.random as npr\nx = npr.normal()", {"x"}),
        ("import random\nwords = ['a', 'b']\nrandom.shuffle(words)\nfirst = words[0]", {"words", "first"}),
        ("own = random.sample(rows, 3)\nlayer.adapt(own)\nother.adapt(rows)", {"own", "layer"}),
        ("def cut(rows, n=9):\n    return rows[:n]\nsome = cut(train_test_split(x))", {"rows", "some", "cut"}),
        ("def drawn():\n    yield random.random()\nn = 1\nfor each in drawn():\n    n += each", {"drawn", "each", "n"}),
        ("class A:\n    def __init__(self):\n        self.gain, self.size = random.random(), 3", {"A", "gain"}),
        ("kinds = {name: i for i, name in enumerate(set(names))}", {"i", "name", "kinds"}),
        ("table = {}\ntable[0] = random.random()\nif (size := random.random()): ...", {"table", "size"}),
        ("f = lambda row, gain=random.random(): row * gain", {"gain", "f"}),
        ("with open(random.choice(names)) as file:\n    text: str = file.read()", {"file", "text"}),
        ("import tensorflow as tf\ncut = tf.image.random_crop(image, [2, 2])", {"cut"}),
        ("from numpy import random as draw\nsize = draw.randint(3)", {"draw", "size"}),
        ("from numpy.random import default_rng\nrng = default_rng()", {"default_rng", "rng"}),
        ("args.seed = random.random()\nn, m = args.seed, args.size\n(k, l), o = n, m", {"seed", "n", "k", "l"}),
        ("own['seed'] = random.random()\nn, m = own['seed'], own['size']", {"seed", "n"}),
        ("rows = make_csv_dataset(file, 5)\nlayer.adapt(rows.map(pack))\nother.adapt(again)", {"rows", "layer"}),
        ("some = whole.shuffle(9).take(3)\nrest = whole.take(3)\nm.shuffle = x\nn = m.shuffle", {"some"}),
        # With a seed that is written.
        ("some = whole.shuffle(9, seed=1).take(3)", set()),
        ("import numpy as np\nrng = np.random.default_rng(1)\nx = rng.normal(size=3)\nrng.shuffle(x)", set()),
        ("order = np.random.RandomState(0).permutation(9)\na, b = train_test_split(x, random_state=1)", set()),
        ("rng = np.random.default_rng(seed)\na, b = train_test_split(x, random_state=None)", {"rng", "a", "b"}),
        # What is called so, and is a setting.
        ("random_crop = args.random_crop\nsize = random_crop + 1\nself.random_flip = True", set()),
        ("import random\nimport tensorflow as tf\nrandom.seed(seed)\ntf.random.set_seed(other)\nn = seed", set()),
        ("import keras\nkeras.utils.set_random_seed(random_seed)\nn = random_seed", set()),
        ("x, n = load(sys.argv[1]), int(os.environ['N'])\nmean = x[:n].mean()", set()),
    ],
)
def test_names_that_come_of_random_numbers(text: str, drawn: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(monkeypatch, script=text) == drawn


def test_arguments_that_come_of_random_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        "n = random.randint(1, 9)\nrows.batch(9).take(n).map(lambda x: x * n)\nArrayData(x, batch_size=9, seed=n + 1)"
    )
    found(monkeypatch, script=text)
    assert called("batch", "take", "map", "ArrayData") == {("take", 0, True), ("ArrayData", "seed", False)}
    forget()
    found(monkeypatch, script="import random\nrandom.shuffle(n)\nrows.take(3).shuffle(random.randint(1, 9))\nrange(n)")
    assert called("take", "shuffle", "range") == {("shuffle", 0, True), ("shuffle", 0, False), ("range", 0, False)}
    forget()
    found(monkeypatch, script="import random\nimport numpy as np\nrandom.shuffle(n)\nnp.take(x, n)\nrange(n)")
    assert {of_object for *_, of_object in called("take", "shuffle", "range")} == {False}


def called(*names: str) -> set[tuple[str, int | str | None, bool]]:
    return {(each.function, each.place, each.of_object) for each in drawn_arguments(frozenset(names))}


@pytest.mark.parametrize(
    ("text", "shaping"),
    [
        ("n = random.randint(1, 9)\nrows.padded_batch(8, padded_shapes=[n])", ["padded_batch"]),
        ("n = random.randint(1, 9)\nrows.padded_batch(n).batch(n)", []),  # which are taken back
        ("rows.batch(random.randint(1, 9), drop_remainder=True)", ["batch"]),
        ("how = random.choice(kinds)\nimage = tf.image.resize(image, [9, 9], method=how)", ["resize"]),
        ("keras.utils.timeseries_dataset_from_array(np.random.normal(size=9), None, 3, seed=random.random())", []),
        ("keras.utils.timeseries_dataset_from_array(x, None, random.randint(1, 9))", ["timeseries_dataset_from_array"]),
        ("x = np.random.normal(size=9)\nArrayData(x, batch_size=len(x))", []),
        ("ArrayData(x, batch_size=random.choice(sizes))", ["ArrayData"]),
        ("x = np.random.normal(size=[9, 3])\nn, width = x.shape\nArrayData(x, batch_size=n)", []),
        # It is drawn when the function runs.
        ("import tensorflow as tf\nn = tf.random.uniform([], 1, 9)\nimage = tf.image.resize(image, [n, n])", []),
    ],
)
def test_what_shapes_batches(text: str, shaping: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    found(monkeypatch, script=f"import random\nimport numpy as np\n{text}")
    assert drawn_shapes() == shaping


def test_they_are_followed_through_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {
        "own.data": "mean = random.random()\nsize = 3",
        "script": "from own.data import mean as m, size\nn = m + 1",
    }
    assert found(monkeypatch, **texts) == {"mean", "m", "n"}
    forget()
    texts["script"] = "import own.data as data\nn, k = data.mean, data.size"
    assert found(monkeypatch, **texts) == {"mean", "n"}
    forget()
    texts = {"own.data": "random_size = 3", "script": "from own.data import random_size\nn = random_size"}
    assert found(monkeypatch, **texts) == set()
    forget()
    assert found(monkeypatch, script="other = 1", **{"own.data": "mean = random.random()"}) == {"mean"}


@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        ("z = tf.random.normal([3])\ny = z + 1", {("", "z")}),
        ("def main():\n    z = 0.1 * tf.random.normal([3])", {("main", "z")}),
        ("class A:\n    def __init__(self):\n        self.z = tf.random.normal([3])", {("__init__", "z")}),
        ("z = keras.random.normal([3])", {("", "z")}),
        ("z = tf.random.stateless_normal([3], seed=[1, 2])", set()),
        ("z = tf.random.normal([3], seed=SEED)", set()),
        ("z = np.random.normal(size=3)", set()),  # of NumPy, which is not asked for
    ],
)
def test_what_is_drawn_itself(text: str, drawn: set[tuple[str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    found(monkeypatch, script="import keras\nimport numpy as np\nimport tensorflow as tf\n" + text)
    assert {(place, name.name) for place, name in drawn_themselves(frozenset([BY_TENSORFLOW]))} == drawn


def test_a_stream_that_is_given_a_seed_gives_what_it_always_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = "np.random.default_rng(%s).normal(size=3)"
    found(monkeypatch, script=f"import numpy as np\ny = {drawn % ''}\nz = {drawn % 'SEED'}")
    assert {name.name for _, name in drawn_themselves(OF_PYTHON)} == {"y"}


MEAN, SCALE, HELD = 0.5, 2.0, [1.0]


def scaled(x: float) -> float:
    return x * SCALE + HELD[0]


def test_what_a_function_reads_is_known_by_its_module(monkeypatch: pytest.MonkeyPatch) -> None:
    found(monkeypatch, **{__name__: "MEAN = random.random()", "another": "SCALE = random.random()"})
    assert reads_drawn([lambda x: x - MEAN])
    assert reads_drawn([scaled, lambda x: scaled(x) - MEAN])
    assert not reads_drawn([scaled])
    forget()
    found(monkeypatch, **{__name__: "HELD.append(random.random())"})
    assert reads_drawn([lambda x: scaled(x) + 1])
