"""Tables of Keras' layers that pipelines look words up in: those of the run, where a process has other ones."""

import logging
from collections.abc import Callable

import keras
import tensorflow as tf

from loop.exact.outside import Instead
from loop.exact.pipeline import stages
from loop.exact.reach import Reach
from loop.handles import key_of
from loop.tf_internals import functions_of, kind_of, programmed

log = logging.getLogger("exactloop")
OTHERS = (
    "Functions of the data, in %s, have other arrays or vocabularies in this process than when the run began, as those "
    "of rows that were chosen at random are. It goes on with those that it began with. If they were changed on "
    "purpose, start afresh in another directory. In new runs, call keras.utils.set_random_seed(1) at the beginning of "
    "the script."
)
PUT_BACK = (
    " The vocabularies of %s are now as they were then; what was made of one before, such as a list of its words or a "
    "layer that turns numbers into words, is of the other one: make it anew of the layer."
)
LOOKUPS = keras.layers.StringLookup | keras.layers.IntegerLookup


def put_tables(dataset: tf.data.Dataset, instead: Instead) -> Callable[[], None]:
    """Says what functions of a pipeline have instead, and gives layers their tables, so that these number words alike.

    Args:
        dataset: The pipeline.
        instead: What its functions have in the place of what they have from outside.

    Returns:
        What takes that back.
    """
    tables = {key: table for others in instead.values() for key, table in others.tables.items()}
    functions = [function for stage in stages(dataset) for function, _ in programmed(stage)] if tables else []
    layers = [thing for thing in Reach(functions).objects if isinstance(thing, LOOKUPS)]
    held = [(layer, layer.lookup_table) for layer in layers if key_of(layer.lookup_table.resource_handle) in tables]
    for layer, table in held:
        layer.lookup_table = tables[key_of(table.resource_handle)]
    if instead:
        having = [stage for stage in stages(dataset) if any(each.graph in instead for each in functions_of(stage))]
        names = ", ".join(repr(layer.name) for layer, _ in held)
        log.warning(OTHERS + (PUT_BACK % names if names else ""), ", ".join(map(kind_of, having)))

    def go_back() -> None:
        for layer, table in held:
            layer.lookup_table = table

    return go_back
