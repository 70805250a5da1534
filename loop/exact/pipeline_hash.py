"""What tells one `tf.data` pipeline from another, the same in every process."""

import hashlib
import os
import weakref
from collections.abc import Collection, Iterable, Iterator, Mapping
from types import MappingProxyType

import tensorflow as tf

from loop.digest import digest, short
from loop.exact.constants import text_in
from loop.exact.files import are_files, in_both_ways, of_files, of_texts
from loop.exact.fingerprint import fingerprint
from loop.exact.graph import uses
from loop.exact.outside import NO_OTHERS, NOTHING, Instead
from loop.exact.pipeline import graph_of, nodes_of, places, stages
from loop.handles import captured
from loop.tensors import NodeDef, text_of
from loop.tf_internals import HINTS, TENSORS, cache_file, functions_of, kind_of, reads_as_usual

CHANGES_NOTHING = ("Prefetch", "Options")  # stages that change nothing of what is yielded
HASHES: "weakref.WeakKeyDictionary[tf.data.Dataset, str]" = weakref.WeakKeyDictionary()  # a stage is never changed


def described(
    dataset: tf.data.Dataset,
    replaced: Mapping[tf.data.Dataset, tf.data.Dataset] = MappingProxyType({}),
    instead: Instead = NOTHING,
) -> list[str]:
    """Returns for each stage its kind and a hash of its arguments, functions, tensors, tables and files.

    A stage that is used again is not said again, only which of them it is. The hashes are as `files.in_both_ways` has
    them.

    Args:
        dataset: The dataset.
        replaced: By stage, another one that stands in its place.
        instead: What functions have in the place of what they have from outside.
    """
    said, numbers = list[str](), dict[int, int]()
    for stage, known in places(dataset):
        if kind_of(stage) not in CHANGES_NOTHING:
            if known:
                said.append(f"{kind_of(stage)} again {numbers[id(stage)]}")
            else:
                numbers[id(stage)] = len(said)  # among those that are said
                said.append(f"{kind_of(stage)} {_hash(replaced.get(stage, stage), instead)}")
    return said


def values_read(dataset: tf.data.Dataset, streams: Collection[int] = ()) -> str:
    """Returns a hash of the variables that the functions of a dataset read; empty if there are none.

    Args:
        dataset: The dataset.
        streams: The keys of those that are of random streams, of which it does not matter what they are now.
    """
    found = []
    for stage in stages(dataset):
        for function in functions_of(stage):
            handles = captured(function.graph)
            for handle, used in uses(function.graph).items():
                if handle in streams:
                    continue
                dtypes = [op.get_attr("dtype") for op in used if op.type in ("ReadVariableOp", "ResourceGather")]
                # Once, however often it is read.
                found += [digest(tf.raw_ops.ReadVariableOp(resource=handles[handle], dtype=d)) for d in dtypes[:1]]
    return short(found) if found else ""


def values_cached(dataset: tf.data.Dataset) -> str:
    """Returns a hash of what is in the files of caches; empty if there are none, or one that is not filled yet.

    The index of such a file has a checksum of each element.
    """
    names = [cache_file(stage).numpy() for stage in stages(dataset) if kind_of(stage) == "Cache"]
    indices = [f"{name.decode(errors='surrogateescape')}.index" for name in names if name]
    if not all(map(tf.io.gfile.exists, indices)):  # one that the run itself is to fill
        return ""
    contents = [hashlib.sha256(tf.io.gfile.GFile(index, "rb").read()).digest() for index in indices]
    return short(contents) if contents else ""


def in_files(tensors: Iterable[tf.Tensor]) -> str:
    """Returns a hash of what is in the files that texts name, in both ways; empty if they name none."""
    found = [texts for tensor in tensors if are_files(texts := _texts(tensor))]
    return in_both_ways(lambda: short([*map(of_files, found)])) if found else ""


def _hash(stage: tf.data.Dataset, instead: Instead) -> str:
    if any(function.graph in instead for function in functions_of(stage)):
        return in_both_ways(lambda: short(list(_describe_stage(stage, instead))))
    if stage not in HASHES:
        HASHES[stage] = in_both_ways(lambda: short(list(_describe_stage(stage, NOTHING))))
    return HASHES[stage]


def _describe_stage(stage: tf.data.Dataset, instead: Instead) -> Iterator[object]:
    """Yields what a stage was made with."""
    yield text_of(stage.element_spec)
    hidden = kind_of(stage) == "Variant"
    for name, value in sorted(vars(stage).items()):
        for part in tf.nest.flatten(value) if name not in HINTS else ():
            if isinstance(part, str) and os.path.isdir(part):
                yield name, _sizes(part)  # a directory of Dataset.save, wherever it is by now
            elif isinstance(part, bool | int | float | str):
                yield name, part
            elif isinstance(part, tf.Tensor) and part.dtype == tf.string:
                # The directory of a cache may be another one at each start.
                yield name, os.path.basename(_texts(part)[0]) if kind_of(stage) == "Cache" else _decode_texts(part)
            elif isinstance(part, tf.Tensor) and part.dtype == tf.variant:
                hidden = hidden or name == TENSORS  # ragged and sparse ones
            elif isinstance(part, tf.Tensor) and part.dtype != tf.resource:
                yield name, digest(part)
    for function in () if _in_one_order(stage) else functions_of(stage):
        others = instead.get(function.graph, NO_OTHERS)
        yield fingerprint(function.graph, function.captured_inputs, others=others)
    if hidden:
        yield from sorted((node.op, _constant(node)) for node in nodes_of(graph_of(stage)))


def _in_one_order(stage: tf.data.Dataset) -> bool:
    """Returns whether it loads elements by a function that is another one on each machine, but out of a single file."""
    if kind_of(stage) != "Load" or not reads_as_usual(stage):
        return False
    directories = [value for value in vars(stage).values() if isinstance(value, str) and os.path.isdir(value)]
    below = [name for directory in directories for _, names, _ in os.walk(directory) for name in names]
    return sum(name.endswith(".shard") for name in below) < 2  # with more, the function says in which order


def _constant(node: NodeDef) -> bytes:
    """Returns the bits of a constant; none of a resource, which has another name in each process."""
    if (texts := text_in(node)) is not None:
        return repr(_decode_texts(texts)).encode()
    tensor = node.attr["value"].tensor
    return tensor.SerializeToString(deterministic=True) if tensor.dtype != tf.resource.as_datatype_enum else b""


def _texts(tensor: tf.Tensor) -> list[str]:
    return [text.decode(errors="surrogateescape") for text in tf.reshape(tensor, [-1]).numpy()]


def _decode_texts(tensor: tf.Tensor) -> object:
    """Returns a digest of texts; if they are names of files, of what is in the files, wherever they are.

    A job may have put them into another directory, and the same name says nothing if somebody has written there anew.
    """
    texts = _texts(tensor)
    return of_files(texts) if are_files(texts) else of_texts(tensor)


def _sizes(directory: str) -> list[int]:
    """Returns the sizes of the files of a directory of `Dataset.save` that hold elements: their names are random."""
    files = [os.path.join(at, name) for at, _, names in os.walk(directory) for name in names]
    return sorted(os.path.getsize(file) for file in files if file.endswith(".snapshot"))
