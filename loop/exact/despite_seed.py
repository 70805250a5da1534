"""What a program draws whatever seed its process has, as its text says: before that is set, or of other streams."""

import ast
import re
from collections.abc import Collection

SPLITS = {"train_test_split", "split_dataset", "KFold", "StratifiedKFold", "ShuffleSplit"}  # draw, by other names
# What has a stream of its own, which comes of the system if nothing is given; and what comes of that in any case.
STREAMS = ("default_rng", "Random", "RandomState", "SeedSequence", "PCG64", "PCG64DXSM", "Philox", "MT19937", "SFC64")
UNSEEDED = re.compile(
    rf"\b({'|'.join(STREAMS)})\(\s*\)|\b(SystemRandom|urandom|from_non_deterministic_state)\(".encode()
)
# NumPy's stream, which is not seeded by seeding those of Python and TensorFlow.
OF_NUMPY = re.compile(rf"\b(np|numpy)\.random\.(?!(?:seed|{'|'.join(STREAMS)})\b)\w+\(".encode())
NUMPY_SEED = re.compile(rb"\b(np|numpy)\.random\.seed\(|\bset_random_seed\(")
SEEDING = {"set_random_seed", "set_seed", "seed"}
SEEDED = {"seed", "random_state"}  # arguments with which something draws the same in each process


def draws_despite_seed(text: bytes) -> bool:
    """Returns whether the text of a file has anything of the kind."""
    if UNSEEDED.search(text):
        return True
    if b"set_seed(" in text and OF_NUMPY.search(text) and not NUMPY_SEED.search(text):
        return True
    return b"seed(" in text and _draws_before_seed(nodes_of(text))


def nodes_of(text: bytes) -> list[ast.AST]:
    """Returns all that a text consists of; nothing, if it is of another version of Python, or no text."""
    try:
        return [*ast.walk(ast.parse(text))]
    except (SyntaxError, ValueError, RecursionError):
        return []


def path_of(node: ast.AST) -> list[str]:
    """Returns the names in something like `np.random.normal(3)[0]`, from the last one to the first; that is empty if it
    begins with no name.
    """
    found = list[str]()
    while True:  # a chain may be longer than Python recurses
        match node:
            case ast.Attribute(value=above, attr=name):
                node = above
                found.append(name)
            case ast.Call(func=above) | ast.Subscript(value=above):
                node = above
            case _:
                return [*found, node.id if isinstance(node, ast.Name) else ""]


def _draws_before_seed(nodes: list[ast.AST]) -> bool:
    """Returns whether something is drawn by a statement that comes before one that sets a seed."""
    functions = {node.name: _calls(node) for node in nodes if isinstance(node, ast.FunctionDef)}
    drawing = {*SPLITS, *(name for name, calls in functions.items() if any(_draws(call, SPLITS) for call in calls))}
    seeding = {*SEEDING, *(name for name, calls in functions.items() if any(path_of(c)[0] in SEEDING for c in calls))}
    for body in (node.body for node in nodes if isinstance(node, ast.Module | ast.FunctionDef)):
        done = [_calls(each) for each in body if not isinstance(each, ast.FunctionDef | ast.ClassDef)]
        seeds = [any(path_of(call)[0] in seeding for call in calls) for calls in done]
        if any(seeds) and any(_draws(call, drawing) for calls in done[: seeds.index(True)] for call in calls):
            return True
    return False


def _draws(call: ast.Call, functions: Collection[str]) -> bool:
    """Returns whether a call draws of the process's streams, as `np.random.normal()` does, or calls such a function."""
    name, *above = path_of(call)
    if name in SEEDING or any(each.arg in SEEDED for each in call.keywords):
        return False
    return name in functions or ("random" in above and not {*STREAMS} & {name, *above})


def _calls(node: ast.AST) -> list[ast.Call]:
    return [each for each in ast.walk(node) if isinstance(each, ast.Call)]
