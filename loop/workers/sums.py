"""What a step adds up over all workers: gradients, and sums over rows."""

from loop.tensors import Nest
from loop.workers.cluster import here


def average(gradients: Nest) -> Nest:
    """Returns the means of tensors over all workers, weighted by how many rows of the batch each has.

    For the gradients of a loss that is a mean over rows, before they are clipped, looked at or applied: a worker sees
    its own rows, and its gradients are those of its own mean. `supervised` and `keras_steps` call it by themselves; a
    step of your own writes

        gradients = average(tape.gradient(loss, variables))

    In one process without a cluster, and outside of a step, it returns what it is given. To call it again with what it
    has returned changes nothing.

    Args:
        gradients: A nest of tensors, equal in structure and shapes in all workers; None stays None.

    Returns:
        The nest, with equal bits in all workers.
    """
    if not here().are_several:
        return gradients
    raise NotImplementedError


def total(x: Nest) -> Nest:
    """Returns the sums of tensors over all workers: what one process would have for all rows of the batch.

    For a loss that is not a mean over rows, such as one with masks or weights: every sum over rows goes through it, and
    the gradients through `average`, as always:

        with tf.GradientTape() as tape:
            loss = total(tf.reduce_sum(mask * each)) / total(tf.reduce_sum(mask))
        gradients = average(tape.gradient(loss, variables))

    Then the loss is the same number in all workers, that of the whole batch. Also for values that a step returns: a
    value is a mean over rows unless it went through here.

    In one process without a cluster, and outside of a step, it returns what it is given.

    Args:
        x: A nest of tensors, equal in structure and shapes in all workers.

    Returns:
        The nest, with equal bits in all workers.
    """
    if not here().are_several:
        return x
    raise NotImplementedError
