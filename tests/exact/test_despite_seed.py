"""What a program draws whatever seed its process has is told by its text."""

import pytest

from loop.exact.despite_seed import draws_despite_seed

SEED = "keras.utils.set_random_seed(1)\n"


@pytest.mark.parametrize(
    ("text", "draws"),
    [
        (f"{SEED}x = np.random.normal(size=9)", False),
        (f"x = np.random.normal(size=9)\n{SEED}", True),
        (f"{SEED}rng = np.random.default_rng()", True),
        (f"{SEED}rng, other = np.random.default_rng(3), random.Random(4)", False),
        (f"{SEED}own = random.Random( )", True),
        (f"{SEED}own = random.SystemRandom().sample(rows, 9)", True),
        (f"{SEED}noise = np.frombuffer(os.urandom(48), dtype='uint32')", True),
        (f"one, other = train_test_split(x)\n{SEED}", True),
        (f"one, other = train_test_split(x, random_state=3)\n{SEED}", False),
        (f"rng = np.random.default_rng(3)\nx = np.random.RandomState(4).normal(size=9)\n{SEED}", False),
        ("import random\nrandom.seed(1)\nnp.random.seed(1)\ntf.random.set_seed(1)", False),
        (f"def rows():\n    return np.random.permutation(9)\nx = rows()\n{SEED}", True),
        (f"def rows():\n    return np.random.permutation(9)\n{SEED}x = rows()", False),
        (f"def main():\n    x = random.sample(rows, 9)\n    {SEED}main()", True),
        (
            f"def seeded(seed):\n    random.seed(seed)\nseeded(3)\nx = random.random()\n{SEED}",
            False,
        ),
        ("random.seed(1)\ntf.random.set_seed(1)\nx = np.random.normal(size=9)", True),
        ("random.seed(1)\ntf.random.set_seed(1)\nrng = np.random.default_rng(3)", False),
        ("x = np.random.normal(size=9)", False),  # that the process has no seed is known without it
        (f"RANDOM_SIZE = len(random_names)\n{SEED}", False),
        ("this is no program, with np.random.seed(", False),
    ],
)
def test_what_comes_before_the_seed_or_of_other_streams_is_found(text: str, draws: bool) -> None:
    assert draws_despite_seed(text.encode()) == draws
