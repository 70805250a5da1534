"""Batches that are handed to the compiled loop as they are: what a `Batches` of these is in the graph."""

import abc

import tensorflow as tf

from loop.tensors import Nest


class AtHand(abc.ABC):
    """Has one batch at a time, in `ahead`. Whether another one comes is not known in the graph: it reads nothing.

    Attributes:
        element_spec: What a batch is like.
    """

    element_spec: Nest

    def dataset(self) -> None:
        return None

    def feed_spec(self) -> tuple[Nest, Nest]:
        return (), self.element_spec

    def more(self, ahead: Nest) -> tf.Tensor:
        return tf.constant(True)  # in Python, that is known before

    def batch(self, source: Nest, ahead: Nest) -> Nest:
        return ahead

    def advance(self, source: Nest, ahead: Nest, index: tf.Tensor) -> Nest:
        return ahead
