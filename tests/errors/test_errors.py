"""Bad input is refused with what was received, what was expected and what to do."""

import re
from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny import arrays, make_counter, model

from hooks import Checkpoint
from loop import ArrayData, At, Evaluation, Event, Every, Hook, Loop, Moment, Step, StreamData, keras_steps, supervised


def over(step: Callable[[tf.Tensor], object]) -> Loop:
    return Loop(step, tf.data.Dataset.range(3), state={})


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (lambda batch: None, r"must return a dict.*Received: nothing \(is a return missing\?\)"),
        (lambda batch: tf.constant(1.0), r"must return a dict of named scalars.*Received: .*Tensor"),
        (lambda batch: {}, r"must return a dict of named scalars.*Received: {}"),
        (
            lambda batch: {"loss": tf.zeros([2])},
            r"'loss' must be a numeric scalar of shape \[\]. Received: shape \(2,\)",
        ),
        (lambda batch: {"loss": tf.constant("a")}, r"'loss' must be a numeric scalar.*dtype string"),
    ],
)
def test_a_step_must_return_named_scalars(step: Callable[[tf.Tensor], object], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        over(step).run(epochs=1)


class Confusion(keras.Metric):
    """Counts the classes by pairs."""

    def __init__(self, **arguments: object) -> None:
        super().__init__(**arguments)
        self.counts = self.add_weight(shape=[2, 2], initializer="zeros")

    def update_state(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> None:
        self.counts.assign_add(tf.matmul(y_true, y_pred, transpose_a=True))

    def result(self) -> tf.Tensor:
        return self.counts / tf.reduce_sum(self.counts)


class MeanOfConfusion(Confusion):
    def result(self) -> tf.Tensor:
        return keras.ops.mean(super().result())


def measured(metric: keras.Metric, **given: object) -> Loop:
    def step(batch: tf.Tensor) -> dict[str, tf.Tensor]:
        metric.update_state(tf.eye(2), tf.eye(2))
        return {}

    return over(Step(step, metrics={"m": metric}, **given))


def test_a_result_of_a_metric_has_a_number_for_each_class_at_most_and_the_remedy_makes_one_of_it() -> None:
    message = (
        "Step 'step': the result of metric 'm' must be a numeric scalar of shape [], or one for each class, of shape "
        "[classes]. Received: shape (2, 2), dtype float32. Make a metric of it whose result is one: a subclass with "
        "def result(self): return keras.ops.mean(super().result()), say."
    )
    with pytest.raises(TypeError, match=re.escape(message)):
        measured(Confusion()).run(epochs=1)
    assert measured(MeanOfConfusion()).run(epochs=1).logs == {"m": 0.25}


@pytest.mark.parametrize(
    ("metric", "names", "message"),
    [
        (keras.metrics.F1Score, ["a"], r"metric 'm' has results for 2 classes, and class_names has 1: \['a'\]"),
        (
            keras.metrics.BinaryAccuracy,
            ["a", "b"],
            r"'step' has none. Give a metric average=None, or leave class_names",
        ),
        (keras.metrics.F1Score, "ab", r"needs a name for each class, as in \['cat', 'dog'\]. Received: 'ab'"),
        (keras.metrics.F1Score, ["a", "a"], r"needs a name for each class.*Received: \['a', 'a'\]"),
    ],
)
def test_there_is_a_name_for_each_class(metric: Callable[[], keras.Metric], names: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        measured(metric(), class_names=names).run(epochs=1)


def test_a_vector_is_seen_behind_a_metric_of_the_same_name() -> None:
    step = Step(lambda batch: {"x": tf.zeros([2])}, metrics={"x": keras.metrics.Mean()})
    with pytest.raises(TypeError, match=r"Received: shape \(2,\), dtype float32. Reduce it in the step, for instance"):
        over(step).run(epochs=1)


def test_a_step_must_be_a_function_and_metrics_must_be_metrics() -> None:
    with pytest.raises(TypeError, match=r"function from a batch to .*Received: 3"):
        over(3)
    with pytest.raises(TypeError, match=r"keras.metrics.Metric objects by name.*'accuracy'"):
        Step(lambda batch: {"x": batch}, metrics={"accuracy": "accuracy"})


def test_an_optimizer_that_was_forgotten_is_refused() -> None:
    network = model()
    train_step, _ = supervised(network, keras.optimizers.SGD(momentum=0.9), keras.losses.MeanSquaredError())
    data = ArrayData((arrays()[0], np.zeros([50, 3])), batch_size=8)
    with pytest.raises(ValueError, match=r"(?s)changes what no.*dense_kernel_momentum.*state="):
        Loop(train_step, data, state={"model": network}).run(epochs=1)


@pytest.mark.parametrize("value", [3, np.zeros(3), "weights", object()])
def test_state_that_cannot_be_saved_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match=r"state\['mine'\] cannot be saved. Received: \w+. Expected: a Keras model"):
        Loop(lambda batch: {"x": batch}, tf.data.Dataset.range(3), state={"mine": value})


def test_a_key_of_the_loop_is_refused_in_state() -> None:
    with pytest.raises(ValueError, match="cannot use the key 'hooks'"):
        Loop(lambda batch: {"x": batch}, tf.data.Dataset.range(3), state={"hooks": tf.Variable(1)})


def test_two_hooks_cannot_have_one_name() -> None:
    class Noting(Hook):
        pass

    with pytest.raises(ValueError, match=r"already a hook named 'noting' \(Noting\).*name="):
        make_counter([Noting(), Noting()])
    assert [hook.name for hook in make_counter([Noting(), Noting(name="other")]).hooks] == ["noting", "other"]


def test_a_method_that_no_event_calls_is_refused_with_a_suggestion() -> None:
    with pytest.raises(TypeError, match=r"Mine.on_epoch_ended would never be called.*Did you mean on_epoch_end\?"):
        type("Mine", (Hook,), {"on_epoch_ended": lambda self, moment: None})
    with pytest.raises(TypeError, match=r"on_lunch would never be called.*Events call: on_setup"):
        type("Mine", (Hook,), {"on_lunch": lambda self, moment: None})


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("on_eval_start", r"Did you mean on_eval_begin\?"),
        ("on_iteration_end", r"Did you mean on_step_end\?"),
        ("on_batch_begin", r"Did you mean ahead and before_step\?"),
        ("on_save_checkpoint", r"Did you mean get_state\?"),
        ("on_before_optimizer_step", "is written in the train step itself"),
        ("on_test_batch_end", "Nobody is told of the batches of an evaluation"),
        ("on_predict_end", "does nothing of the kind"),
    ],
)
def test_a_method_of_others_gets_the_one_of_here_and_not_one_that_is_spelt_alike(method: str, said: str) -> None:
    with pytest.raises(TypeError, match=rf"Mine.{method} would never be called.*{said}"):
        type("Mine", (Hook,), {method: lambda self, moment: None})


def test_what_lightning_and_composer_call_without_an_on_is_not_left_out_in_silence() -> None:
    of_composer, of_lightning = (lambda self, state, logger: None), (lambda self, trainer, pl_module, stage: None)
    for method, function, said in [
        ("epoch_end", of_composer, r"Did you mean on_epoch_end\?"),
        ("batch_start", of_composer, r"Did you mean ahead and before_step\?"),
        ("after_backward", of_composer, "in the train step itself"),
        ("setup", of_lightning, "Did you mean on_setup"),
        (
            "load_state_dict",
            lambda self, state: None,
            r"gone after a resume. Name .* get_state\(self\) and",
        ),
    ]:
        with pytest.raises(TypeError, match=rf"Mine.{method} would never be called.*{said}"):
            type("Mine", (Hook,), {method: function})

    class Helped(Hook):
        def epoch_end(self, moment: Moment) -> None: ...  # of the program's own

        def state_dict(self) -> dict[str, int]:
            return {"a": 1}

        get_state = state_dict

        def set_state(self, state: object) -> None: ...

    assert Helped().get_state() == {"a": 1}


def test_a_method_without_an_on_that_nobody_calls_is_named_and_a_function_set_on_the_object_is_refused(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loop.run.calls_method", lambda name: name == "before_run")

    class Silent(Hook):
        def epoch_end(self, moment: Moment) -> None: ...

        def fit_end(self, logs: object = None) -> None: ...

        def teardown(self) -> None: ...

        def after_epoch(self) -> None: ...

        def before_run(self) -> None: ...  # which the script calls itself

        def fit_start(self) -> None: ...

        def eval_end(self, moment: Moment) -> None: ...

        def on_eval_end(self, moment: Moment) -> None:
            self.eval_end(moment)

    loop = make_counter([])
    loop.hooks.add(Silent())
    for epochs in (1, 2):
        loop.run(epochs=epochs)
    assert [record.getMessage() for record in caplog.records] == [
        f"Hook 'silent': no event calls {theirs}, nor does another method of it. Did you mean {ours}?"
        for theirs, ours in [
            *(("after_epoch", "on_epoch_end"), ("epoch_end", "on_epoch_end")),
            *(("fit_end", "on_run_end"), ("teardown", "on_run_end")),
        ]
    ]

    class Given(Hook):
        def __init__(self, name: str) -> None:
            super().__init__()
            setattr(self, name, lambda moment: None)

    for name, instead in [("on_epoch_end", "moment"), ("on_setup", "loop, moment")]:
        said = rf"Given.{name} would never be called: it is set on the object.*Write def {name}\(self, {instead}\)"
        with pytest.raises(TypeError, match=said):
            loop.hooks.add(Given(name))
    loop.hooks.add(Given("on_best"))  # of the program's own

    class Calls(Given):
        def on_eval_end(self, moment: Moment) -> None:
            self.on_epoch_end(moment)

    loop.hooks.add(Calls("on_epoch_end"))
    loop.hooks.remove("calls")
    with pytest.raises(TypeError, match="would never be called: it is set on the object"):
        loop.hooks.add(Calls("on_epoch_begin"))


def test_what_is_of_keras_2_and_called_as_in_keras_3_is_said_to_be() -> None:
    model, callback = (type(name, (), {"__module__": f"tf_keras.src.{name}"})() for name in ("Sequential", "History"))
    said = "of tf_keras, not of keras: unset TF_USE_LEGACY_KERAS."
    with pytest.raises(TypeError, match=f"needs a keras.Model or a layer. Received: Sequential {said}"):
        supervised(model, keras.optimizers.SGD(), "mse")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=f"needs a compiled keras.Model. Received: Sequential {said}"):
        keras_steps(model)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=f"Received: a History. It is {said}"):
        make_counter([callback])  # type: ignore[list-item]


def test_a_method_that_the_program_registers_is_called(caplog: pytest.LogCaptureFixture) -> None:
    class Registered(Hook):
        epochs = 0

        def epoch_end(self, moment: Moment) -> None:
            self.epochs += 1

    hook = Registered()
    loop = make_counter([hook])
    loop.on("epoch_end")(hook.epoch_end)
    loop.run(epochs=1)
    assert (hook.epochs, caplog.records) == (1, [])


# What is written by habit is seen when it is defined, and not when the first epoch is over.
def test_methods_and_functions_that_cannot_be_called_with_what_they_are_given_are_refused() -> None:
    for method, function, right in [
        ("on_epoch_end", lambda self, epoch, logs=None: None, r"Received: \(self, epoch, logs=None\)"),
        ("on_epoch_end", lambda self, trainer, pl_module: None, r"Received: \(self, trainer, pl_module\)"),
        ("on_run_end", lambda self: None, r"Received: \(self\). Write \(self, moment\)"),
        ("on_setup", lambda self, loop: None, r".*Write \(self, loop, moment\)"),
        ("on_steps", lambda self, moment: None, r"Write \(self, first_step, values\)"),
    ]:
        with pytest.raises(TypeError, match=rf"Mine.{method} is called with .*{right}"):
            type("Mine", (Hook,), {method: function})
    takes = {"on_epoch_end": lambda self, *moments: None, "on_setup": staticmethod(lambda loop, moment: None)}
    assert type("Mine", (Hook,), {**takes, "on_run_end": lambda self, moment, more=1: None})().name == "mine"
    loop = make_counter()

    def by_habit(epoch: int, logs: object) -> None: ...

    with pytest.raises(TypeError, match=r"A function for epoch_end is .*\(epoch: int, logs: object\).*by_habit\(m"):
        loop.on(Event.EPOCH_END)(by_habit)
    for event, function in {Event.SETUP: lambda moment: None, Event.RUN_END: lambda: None}.items():
        with pytest.raises(TypeError, match=rf"A function for {event} is called with"):
            loop.on(event)(function)
    assert [*loop.hooks] == []


def test_lambdas_and_a_function_for_two_events_have_names_of_their_own() -> None:
    loop, heard = make_counter(), list[str]()
    for i in range(3):
        loop.on(Event.EPOCH_END)(lambda moment, i=i: heard.append(f"{i}"))

    @loop.on(Event.EPOCH_END)
    @loop.on(Event.RUN_END)
    def note(moment: Moment) -> None:
        heard.append(str(moment.event))

    names = ["on_epoch_end", "on_epoch_end_2", "on_epoch_end_3", "note", "note_epoch_end"]
    assert [hook.name for hook in loop.hooks] == names
    with pytest.raises(ValueError, match=r"named 'note'.*take the other out before: loop.hooks.remove\('note'\)"):
        loop.on(Event.RUN_END)(note)
    loop.run(epochs=1)
    assert heard == ["0", "1", "2", "epoch_end", "run_end"]


def test_a_hook_must_be_an_initialised_instance_that_says_when() -> None:
    class Silent(Hook):
        def on_step_end(self, moment: Moment) -> None:
            pass

    class Uninitialised(Hook):
        def __init__(self) -> None:
            self.count = tf.Variable(0)

    for hook, error, message in [
        (Silent, TypeError, "the class itself, not an instance"),
        (print, TypeError, "must be an instance of loop.Hook"),
        (Uninitialised(), TypeError, r"must call super\(\).__init__\(\)"),
        (Silent(), ValueError, "'silent' has on_step_end but does not say for which steps"),
    ]:
        with pytest.raises(error, match=message):
            make_counter([hook])


def test_a_variable_that_a_hook_makes_too_late_is_refused() -> None:
    class Late(Hook):
        def on_setup(self, loop: Loop, moment: Moment) -> None:
            self.count = tf.Variable(0)

    with pytest.raises(RuntimeError, match=r"too late to be restored: hooks/late/count. Make them in __init__"):
        make_counter([Late()]).run(epochs=1)


def test_on_wants_every_for_steps_and_for_nothing_else() -> None:
    loop = make_counter()
    with pytest.raises(ValueError, match=r"on\(step_end\) needs every="):
        loop.on(Event.STEP_END)
    with pytest.raises(ValueError, match=r"on\(epoch_end\) comes unfiltered"):
        loop.on(Event.EPOCH_END, every=Every(steps=3))
    with pytest.raises(KeyError, match=r"No hook is named 'typo'\. There are: none"):
        loop.hooks.remove("typo")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({}, ValueError),
        ({"steps": 1, "epochs": 1}, ValueError),
        ({"steps": 0}, ValueError),
        ({"seconds": -1.0}, ValueError),
        ({"steps": 1.5}, TypeError),
        ({"epochs": True}, TypeError),
    ],
)
def test_every_wants_one_positive_number(arguments: dict, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"Every.*Received: "):
        Every(**arguments)


def test_at_wants_steps_from_one() -> None:
    with pytest.raises(ValueError, match=r"from 1, the first step\. Received: 0, 'a'"):
        At(0, 3, "a")


@pytest.mark.parametrize("arguments", [{}, {"epochs": 0}, {"steps": -3}, {"epochs": 1.5}])
def test_run_wants_to_know_how_long(arguments: dict) -> None:
    with pytest.raises(ValueError, match=re.escape("run() needs epochs=..., steps=... or both")):
        make_counter().run(**arguments)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: ArrayData(np.zeros([0, 3]), batch_size=2), ValueError, "at least one row"),
        (
            lambda: ArrayData((np.zeros(3), np.zeros(4)), batch_size=2),
            ValueError,
            r"equal first dimension.*\(3,\).*\(4,\)",
        ),
        (lambda: ArrayData(np.float32(3), batch_size=2), ValueError, "equal first dimension"),
        (lambda: ArrayData(np.zeros(3), batch_size=0), ValueError, "Received: batch_size=0"),
        (lambda: ArrayData(np.zeros(3), batch_size=4, drop_remainder=True), ValueError, "at most the 3 rows"),
        (lambda: StreamData(tf.data.Dataset.range(0)), ValueError, "a dataset without elements"),
        (lambda: StreamData(tf.data.Dataset.counter()), ValueError, "no steps_per_epoch"),
        (
            lambda: StreamData(tf.data.Dataset.range(3), resume="guess"),
            ValueError,
            "'state' or 'replay'. Received: 'guess'",
        ),
        (lambda: StreamData(tf.data.Dataset.range(3), steps_per_epoch=0), ValueError, "at least 1. Received: 0"),
        (lambda: StreamData(lambda epoch: [1, 2]), TypeError, "a function returning a list"),
        (lambda: StreamData([1, 2]), TypeError, "Received: a list"),
        (
            lambda: Loop(print, (np.zeros(3), np.zeros(3)), state={}),
            TypeError,
            r"Received: tuple. Arrays go into ArrayData",
        ),
        (
            lambda: Loop(print, ArrayData(np.zeros(3), batch_size=1), state={}, steps_per_epoch=2),
            ValueError,
            "ArrayData",
        ),
    ],
)
def test_data_that_cannot_be_used_is_refused(make: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_data_that_turns_out_empty_is_refused() -> None:
    loop = Loop(lambda batch: {"x": batch}, tf.data.Dataset.range(3).filter(lambda x: x > 5), state={})
    with pytest.raises(ValueError, match="The dataset of epoch 1 has no element"):
        loop.run(epochs=1)


def test_evaluations_need_names_of_their_own_and_a_schedule_that_repeats() -> None:
    def evaluation(name: str = "val") -> Evaluation:
        return Evaluation(lambda batch: {"x": batch}, tf.data.Dataset.range(3), name=name)

    arguments = {"train_step": lambda batch: {"x": batch}, "data": tf.data.Dataset.range(3), "state": {}}
    with pytest.raises(ValueError, match=r"Two evaluations cannot have one name. Received: \['val', 'val'\]"):
        Loop(**arguments, evaluate=[evaluation(), evaluation()])
    with pytest.raises(ValueError, match=r"Received: Evaluation\(name='train'\). Write name='train_set'"):
        Loop(**arguments, evaluate=[evaluation(), evaluation("train")])
    Loop(**arguments, evaluate=[evaluation(), evaluation("train_set")])
    with pytest.raises(ValueError, match=r"Loop\(eval_every=...\) must be in steps or epochs.*Every\(seconds=3\)"):
        Loop(**arguments, evaluate=evaluation(), eval_every=Every(seconds=3))
    with pytest.raises(ValueError, match=r"Evaluation\(steps=...\) must be at least 1"):
        Evaluation(lambda batch: {"x": batch}, tf.data.Dataset.range(3), steps=0)
    with pytest.raises(RuntimeError, match="nothing to evaluate"):
        Loop(**arguments).evaluate()


def test_a_loop_cannot_be_run_from_within_itself() -> None:
    loop = make_counter()
    loop.on(Event.EPOCH_END)(lambda moment: loop.run(epochs=1))
    with pytest.raises(RuntimeError, match="This loop is running"):
        loop.run(epochs=1)


def test_clipping_is_refused_where_it_would_be_wrong() -> None:
    loss = keras.losses.MeanSquaredError()
    with pytest.raises(ValueError, match=r"must be positive and finite\. Received: 0"):
        supervised(model(), keras.optimizers.SGD(), loss, clip_norm=0)
    scaling = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD())
    with pytest.raises(ValueError, match="would clip scaled gradients"):
        supervised(model(), scaling, loss, clip_norm=1.0)


def test_data_are_read_by_one_loop_or_evaluation_only() -> None:
    data = ArrayData(np.arange(8), batch_size=2)
    evaluation = Evaluation(lambda batch: {"x": batch[0]}, ArrayData(np.arange(8), batch_size=2))
    with pytest.raises(ValueError, match="read by another loop or evaluation"):
        Evaluation(lambda batch: {"x": batch[0]}, evaluation.data)
    Loop(lambda batch: {"x": batch[0]}, data, state={}, evaluate=evaluation)
    with pytest.raises(ValueError, match="read by another loop or evaluation"):
        Loop(lambda batch: {"x": batch[0]}, data, state={})


def test_a_metric_belongs_to_one_step() -> None:
    step = Step(lambda batch: {"x": batch}, metrics={"mean": keras.metrics.Mean()})
    data = tf.data.Dataset.range(3)
    with pytest.raises(ValueError, match=r"metric objects of its own.*\['mean'\]"):
        Loop(step, data, state={}, evaluate=Evaluation(step, data))


def test_two_values_cannot_be_logged_under_one_name() -> None:
    data = tf.data.Dataset.range(3)
    loop = Loop(lambda batch: {"val_x": batch}, data, state={}, evaluate=Evaluation(lambda batch: {"x": batch}, data))
    with pytest.raises(ValueError, match="Two values would be logged as 'val_x'"):
        loop.run(epochs=1)


@pytest.mark.parametrize("key", ["root", "restore", "save", "optimizer state", 1])
def test_a_key_that_would_hide_a_part_of_the_checkpoint_is_refused(key: object) -> None:
    with pytest.raises(ValueError, match="cannot use the key"):
        Loop(lambda batch: {"x": batch}, tf.data.Dataset.range(3), state={key: tf.Variable(1)})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"state": [1]}, r"Loop\(state=...\) needs a dict.*Received: list"),
        ({"eval_every": 5}, r"needs a trigger, as in Every\(steps=5\). Received: 5"),
        ({"evaluate": [print]}, "needs an Evaluation or several"),
        ({"hooks": [type("Asking", (Hook,), {"every": 5})()]}, r"needs a trigger, such as Every\(steps=5\)"),
    ],
)
def test_an_argument_of_another_kind_is_named(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        Loop(**{"train_step": print, "data": tf.data.Dataset.range(3), "state": {}} | arguments)


@pytest.mark.parametrize("value", [None, [1.0, 2.0], {"x": 1.0}])
def test_a_value_that_is_no_tensor_at_all_is_named(value: object) -> None:
    with pytest.raises(TypeError, match=r"'a' must be a numeric scalar of shape \[\]"):
        over(lambda batch: {"a": value}).run(epochs=1)


def test_integers_of_numpy_are_integers(tmp_path: object) -> None:
    data = ArrayData(np.arange(8), batch_size=np.int64(2), seed=np.int64(4))
    loop = Loop(lambda batch: {"x": batch[0]}, data, state={}, hooks=[Checkpoint(f"{tmp_path}/checkpoints")])
    loop.on(Event.STEP_END, every=Every(steps=np.int64(3)))(lambda moment: None)
    assert loop.run(steps=np.int64(5)).step == 5
    StreamData(tf.data.Dataset.range(3), steps_per_epoch=np.int64(3))
    with pytest.raises(TypeError, match="float"):
        ArrayData(np.arange(8), batch_size=2.0)
    with pytest.raises(ValueError, match=r"run\(\) needs"):
        loop.run(epochs=True)
