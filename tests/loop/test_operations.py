"""Many variables are read by one operation, as each is by its own."""

from collections.abc import Callable

import pytest
import tensorflow as tf
import tiny

from loop import digest
from loop.tf_internals import read_variables, scalar

KINDS = [tf.bool, tf.int8, tf.int32, tf.uint64, tf.float16, tf.bfloat16, tf.float64, tf.complex64]
ROWS = [3, 17]


def dense(variable: tf.Variable) -> None:
    variable.assign_add(tf.ones_like(variable))


def strided(variable: tf.Variable) -> None:
    variable[3:5].assign(variable[3:5] + 1.0)


def scattered(variable: tf.Variable) -> None:
    variable.scatter_add(tf.IndexedSlices(tf.ones([2, 64]), ROWS))


def updated(variable: tf.Variable) -> None:
    variable.scatter_nd_update([[row] for row in ROWS], tf.gather(variable, ROWS) + 1.0)


def sparse(variable: tf.Variable) -> None:
    slot, grad = tf.Variable(tf.ones_like(variable)), tf.ones([2, 64])
    tf.raw_ops.ResourceSparseApplyKerasMomentum(
        var=variable.handle, accum=slot.handle, lr=-0.1, momentum=0.9, grad=grad, indices=ROWS
    )


def test_values_are_those_that_each_variable_has() -> None:
    variables = [tf.Variable(tf.cast([[0, 1], [1, 0]], kind)) for kind in KINDS]
    variables += [tf.Variable(["text", ""]), tf.Variable(tf.zeros([0], tf.int64), shape=[None]), tf.Variable(1.5)]
    variables[-2].assign([1, 2, 3])
    values = read_variables([*variables, variables[0]])
    assert [value.dtype for value in values] == [each.dtype for each in [*variables, variables[0]]]
    assert [digest(value) for value in values] == [digest(each.read_value()) for each in [*variables, variables[0]]]
    assert read_variables([]) == []


@pytest.mark.parametrize("update", [dense, strided, scattered, updated, sparse])
def test_later_updates_leave_them_alone_whether_they_copy_or_write_in_place(
    update: Callable[[tf.Variable], None],
) -> None:
    variables = [tf.Variable(tf.ones([100, 64])) for _ in range(2)]
    update(variables[0])  # from here on, what writes in place does so without asking who else has the memory
    before = [digest(variable.read_value()) for variable in variables]
    held = read_variables(variables)
    for variable in variables:
        update(variable)
        update(variable)
    assert [digest(value) for value in held] == before
    assert all(digest(each.read_value()) != was for each, was in zip(variables, before, strict=True))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("in_graph", [False, True], ids=["eager", "in a graph"])
def test_a_number_is_the_tensor_that_tensorflow_makes_of_it(kind: tf.DType, in_graph: bool) -> None:
    def made() -> tuple[tf.Tensor, tf.Tensor]:
        return scalar(1.0, kind), tf.cast(tf.constant(1), kind)

    mine, theirs = tf.function(made)() if in_graph else made()
    assert (mine.dtype, mine.shape, mine.device) == (theirs.dtype, theirs.shape, theirs.device)
    assert digest(mine) == digest(theirs)


def test_numbers_that_are_made_are_not_kept_and_do_not_change_with_each_other() -> None:
    variable = tf.Variable(0, dtype=tf.int64)
    numbers = [scalar(i, tf.int64) for i in range(1000)]
    tf.raw_ops.AssignVariableOp(resource=variable.handle, value=numbers[7])
    variable.assign_add(1)  # a variable writes in place where nobody else has the memory
    assert [int(number) for number in numbers] == [*range(1000)]
    assert int(variable) == 8


def test_a_tape_around_a_run_watches_nothing_of_its_steps() -> None:
    loop = tiny.make_counter()
    loop.audit()
    with tf.GradientTape() as tape:
        loop.run(epochs=1)
    assert tape.watched_variables() == ()
