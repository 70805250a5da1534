"""Pipelines that keep what they have read: in memory, in a file, in a snapshot."""

from pathlib import Path

from pipelines.cases import BATCH, ROWS, UNFILLED, Dataset, Source, pipeline, rows


@pipeline("cache in memory")
def _(files: Path) -> Source:
    return rows().cache().batch(BATCH)


@pipeline("cache in memory, endless", steps=3)
def _(files: Path) -> Source:
    return rows().cache().repeat().batch(BATCH)


@pipeline("cache before shuffle")
def _(files: Path) -> Source:
    return rows().cache().shuffle(ROWS, seed=1).batch(BATCH)


@pipeline("cache before shuffle, endless", steps=3)
def _(files: Path) -> Source:
    return rows().cache().shuffle(ROWS).batch(BATCH)


@pipeline("cache after shuffle")
def _(files: Path) -> Source:
    return rows().shuffle(ROWS, seed=1).cache().batch(BATCH)


@pipeline("cache after a shuffle that is the same each time")
def _(files: Path) -> Source:
    return rows().shuffle(ROWS, seed=1, reshuffle_each_iteration=False).cache().batch(BATCH)


@pipeline("cache in a file", UNFILLED)
def _(files: Path) -> Source:
    return rows().cache(str(files / "cache")).batch(BATCH)


@pipeline("cache in a file, before shuffle", UNFILLED)
def _(files: Path) -> Source:
    return rows().cache(str(files / "cache")).shuffle(ROWS, seed=1).batch(BATCH)


def filled(files: Path) -> Dataset:
    cached = rows().cache(str(files / "cache"))
    for _ in cached:
        pass
    return cached


@pipeline("cache in a file that is filled before")
def _(files: Path) -> Source:
    return filled(files).batch(BATCH)


@pipeline("cache in a file that is filled before, then shuffle")
def _(files: Path) -> Source:
    return filled(files).shuffle(ROWS, seed=1).batch(BATCH)


@pipeline("cache in a file that is filled before, replayed", resume="replay")
def _(files: Path) -> Source:
    return filled(files).batch(BATCH)


@pipeline("save and load")
def _(files: Path) -> Source:
    if not (files / "saved").exists():
        rows().save(str(files / "saved"))
    return Dataset.load(str(files / "saved")).batch(BATCH)


@pipeline("snapshot", r"write a snapshot.*save\(\), and load\(\)")
def _(files: Path) -> Source:
    return rows().snapshot(str(files / "snapshot")).batch(BATCH)
