"""What people write by mistake, or know from elsewhere, gets a line that says what to write; and that line works."""

import functools
import inspect
import itertools
import re
import signal
import sys
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from exactloop import prove
from hooks import Checkpoint, EarlyStopping, Preemption, Profile, Progress, TensorBoard, restore
from loop import (
    ArrayData,
    At,
    Evaluation,
    Event,
    Every,
    Hook,
    IndexedData,
    Loop,
    Moment,
    Step,
    StreamData,
    TrainingState,
    digest,
    supervised,
)

X, Y = np.arange(24, dtype=np.float32).reshape(8, 3), np.arange(8, dtype=np.float32)[:, None]
Frame = type("DataFrame", (), {"__module__": "pandas.core.frame"})  # which need not be installed
Column = type("Series", (), {"__module__": "pandas", "__array__": lambda self, *_, **__: np.array([1, "a"], object)})
MSE = keras.losses.MeanSquaredError


def slices() -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices((X, Y))


def batches() -> tf.data.Dataset:
    return slices().batch(4)


def step(batch: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
    return {"loss": tf.reduce_sum(batch[0])}


def of_two(x: tf.Tensor, y: tf.Tensor) -> dict[str, tf.Tensor]:
    return {"loss": tf.reduce_sum(x)}


def generated() -> Iterator[np.ndarray]:
    yield X


def endless() -> Iterator[np.ndarray]:
    while True:
        yield X


def dense() -> keras.Model:
    return keras.Sequential([keras.Input([3]), keras.layers.Dense(1)])


def compiled() -> keras.Model:
    model = dense()
    model.compile("sgd", "mse")
    return model


def loop(**arguments: object) -> Loop:
    return Loop(**{"train_step": step, "data": batches(), "state": {}} | arguments)


def steps(model: object = None, optimizer: object = None, loss: object = MSE(), **more: object) -> tuple[Step, Step]:
    return supervised(model or dense(), optimizer or keras.optimizers.SGD(), loss, **more)


def trained(data: tf.data.Dataset, train_step: object = None) -> None:
    model, optimizer = dense(), keras.optimizers.SGD()
    step = train_step or supervised(model, optimizer, MSE())[0]
    Loop(step, data, state={"model": model, "optimizer": optimizer}).run(steps=1)


GENERATOR = r"A generator goes into StreamData\(tf.data.Dataset.from_generator\(.*resume=.replay.\)"
ARRAYS = r"Arrays go into ArrayData\(\(x, y\), batch_size=32\)"
WHOLE, TRIGGER, TEXT = "needs a whole number", "needs a trigger, as in Every", "needs a str"
EVALUATION = r"Write evaluate=Evaluation\(eval_step, data\)"

MISTAKES: dict[str, tuple[Callable[[], object], type[Exception], str]] = {
    # Loop(evaluate=...)
    "a dataset": (lambda: loop(evaluate=batches()), TypeError, rf"Received: _BatchDataset. {EVALUATION}"),
    "arrays": (lambda: loop(evaluate=(X, Y)), TypeError, r"Evaluation\(eval_step, ArrayData\(\(x, y\), batch_size=32"),
    "one array": (lambda: loop(evaluate=X), TypeError, EVALUATION),
    "a Step": (lambda: loop(evaluate=Step(step)), TypeError, rf"Received: Step. {EVALUATION}"),
    "a function": (lambda: loop(evaluate=step), TypeError, EVALUATION),
    "a model": (lambda: loop(evaluate=dense()), TypeError, rf"Received: Sequential. {EVALUATION}"),
    "a generator": (lambda: loop(evaluate=endless()), TypeError, rf"Received: generator. {EVALUATION}"),
    "data": (lambda: loop(evaluate=ArrayData(X, batch_size=2)), TypeError, rf"Received: ArrayData. {EVALUATION}"),
    "a dict": (lambda: loop(evaluate={"val": 1}), TypeError, r"Write evaluate=\[...\].*name="),
    "the class": (lambda: loop(evaluate=Evaluation), TypeError, "That is the class"),
    "a list of datasets": (lambda: loop(evaluate=[batches()]), TypeError, EVALUATION),
    # Loop(hooks=...)
    "a callback": (lambda: loop(hooks=keras.callbacks.EarlyStopping()), TypeError, r"hooks=\[hook\].*EarlyStopping\("),
    "a backup": (lambda: loop(hooks=[keras.callbacks.BackupAndRestore("x")]), ValueError, r"hooks.Checkpoint\(directory"),
    "a callback's class": (lambda: loop(hooks=[keras.callbacks.CSVLogger]), TypeError, r"Write CSVLogger\(...\)"),
    "one hook": (lambda: loop(hooks=Progress()), TypeError, r"list of hooks, as in hooks=\[hook\]. Received: Progress"),
    "a hook's class": (lambda: loop(hooks=[Progress]), TypeError, r"the class itself.*Write Progress\(...\)"),
    "a function as hook": (lambda: loop(hooks=[print]), TypeError, r"@loop.on\(Event.EPOCH_END\)"),
    "hooks by name": (lambda: loop(hooks={"a": Progress()}), TypeError, "needs a list of hooks"),
    "a text as hooks": (lambda: loop(hooks="progress"), TypeError, "needs a list of hooks"),
    "one hook twice": (lambda: loop(hooks=[h := Progress(), h]), ValueError, "'progress' is there already. Give it once"),
    # Loop(data=...)
    "tuple as data": (lambda: loop(data=(X, Y)), TypeError, ARRAYS),
    "generator as data": (lambda: loop(data=generated()), TypeError, GENERATOR),
    "generator function": (lambda: loop(data=generated), TypeError, GENERATOR),
    "iterator as data": (lambda: loop(data=iter(batches())), TypeError, r"the dataset itself, not iter\(dataset\)"),
    "frame as data": (lambda: loop(data=Frame()), TypeError, r"to_numpy\(dtype='float32'\)"),
    "ragged as data": (lambda: loop(data=tf.ragged.constant([[1], [1, 2]])), TypeError, r"from_tensor_slices\(x\).batch"),
    "path as data": (lambda: loop(data="data.csv"), TypeError, "Received: str"),
    "nothing as data": (lambda: loop(data=None), TypeError, "Received: NoneType"),
    "class as data": (lambda: loop(data=ArrayData), TypeError, r"It is a class: write ArrayData\(...\)"),
    "function of epoch": (lambda: loop(data=lambda epoch: batches()), TypeError, r"goes into StreamData\(function\)"),
    # Loop(train_step=...)
    "data first": (lambda: Loop(batches(), step, state={}), TypeError, "The step comes first, then the data"),
    "two arguments": (lambda: loop(train_step=of_two), TypeError, r"Write def of_two\(batch\): x, y = batch"),
    "compiled model": (lambda: loop(train_step=compiled()), TypeError, r"a compiled model. Write .* keras_steps\(model\)"),
    "class as step": (lambda: loop(train_step=Step), TypeError, "the class Step"),
    "both steps": (lambda: loop(train_step=steps()), TypeError, r"\(Step, Step\). Write train_step, eval_step ="),
    # Loop(state=...)
    "a model as state": (lambda: loop(state=dense()), TypeError, r"\{'model': model, 'optimizer': optimizer\}"),
    "a list as state": (lambda: loop(state=[1, 2]), TypeError, "needs a dict, as in .*Received: list"),
    "key metrics": (lambda: loop(state={"metrics": keras.metrics.Mean()}), ValueError, r"Step\(function, metrics=\{"),
    "name of an optimizer": (lambda: loop(state={"optimizer": "adam"}), TypeError, "cannot be saved. Received: str"),
    "class in state": (lambda: loop(state={"o": keras.optimizers.Adam}), TypeError, "Received: the class Adam"),
    "no state": (lambda: Loop(step, batches()), TypeError, "needs 'state': write state={'model': model"),
    "state by position": (lambda: Loop(step, batches(), {}), TypeError, r"write Loop\(train_step, data, state="),
    # Loop(...)
    "eval_every=5": (lambda: loop(eval_every=5), TypeError, r"as in Every\(steps=5\). Received: 5"),
    "eval_every='epoch'": (lambda: loop(eval_every="epoch"), TypeError, r"as in Every\(epochs=1\)"),
    "exact='no'": (lambda: loop(exact="no"), TypeError, "needs True or False. Received: 'no'"),
    "steps_per_epoch='5'": (lambda: loop(steps_per_epoch="5"), TypeError, f"{WHOLE} or None. Received: '5'"),
    "validation_data": (lambda: loop(validation_data=1), TypeError, r"write .*evaluate=Evaluation\(eval_step, data\)"),
    "callbacks=": (lambda: loop(callbacks=[]), TypeError, r"write .*hooks=\[...\]"),
    "optimizer=": (lambda: loop(optimizer=1, loss=2), TypeError, r"'optimizer': write .*supervised\((.|\n)*'loss'"),
    "a typo": (lambda: loop(evalute=1), TypeError, "no argument 'evalute': write evaluate="),
    "nobody knows": (lambda: loop(qqq=1), TypeError, "no argument 'qqq'; it has train_step, data, state, evaluate"),
    # run
    "run(10)": (lambda: loop().run(10), TypeError, r"Received: 10; write run\(epochs=10\) or run\(steps=1000\)"),
    "run(x, y)": (lambda: loop().run(X, Y), TypeError, r"Received: ndarray; write run\(epochs=10\)"),
    "run(epochs=2.5)": (lambda: loop().run(epochs=2.5), ValueError, r"as in run\(epochs=10\). Received: .*2.5"),
    "run(epochs='3')": (lambda: loop().run(epochs="3"), ValueError, r"as in run\(epochs=10\). Received: .*'3'"),
    "run(validation_data=)": (lambda: loop().run(epochs=1, validation_data=1), TypeError, r"evaluate=Evaluation\("),
    "run(callbacks=)": (lambda: loop().run(epochs=1, callbacks=[]), TypeError, r"write Loop\(..., hooks=\[...\]\)"),
    "run(epoch=3)": (lambda: loop().run(epoch=3), TypeError, "write epochs="),
    "stop(None)": (lambda: loop().stop(None), TypeError, r"stop\(reason\) needs a str.*Received: None"),
    # on, hooks
    "@loop.on": (lambda: loop().on(step), ValueError, "needs one of Event.SETUP, .*Received: function"),
    "batch_end": (lambda: loop().on("batch_end"), ValueError, "needs one of Event.SETUP, .*Received: 'batch_end'"),
    "on of two": (lambda: loop().on([Event.EPOCH_END, "setup"]), ValueError, "needs one of Event.SETUP, .*Received: "),
    "emit of a list": (lambda: loop().hooks.emit([1]), ValueError, r"sends an event that is declared.*Received: \[1\]"),
    "every=100": (lambda: loop().on(Event.STEP_END, every=100)(step), TypeError, r"such as Every\(steps=5\)"),
    "on of no function": (lambda: loop().on(Event.EPOCH_END)(5), TypeError, "decorates a function. Received: 5"),
    "a hook of two words": (lambda: Hook(name="my hook"), ValueError, r"Hook\(name=...\) needs .*'my hook'. Write name='my_hook'"),
    "an umlaut": (lambda: Evaluation(step, batches(), name="prüfung"), ValueError, r"Evaluation\(name=...\) .*'prüfung'"),
    "no name": (lambda: Evaluation(step, batches(), name=""), ValueError, r"Evaluation\(name=...\) .*Received: ''"),
    "reports=None": (lambda: loop(hooks=[type("R", (Hook,), {"reports": None})()]), TypeError, "names in a tuple. .*None"),
    "remove(hook)": (lambda: loop().hooks.remove(Progress()), KeyError, "No hook is named Progress"),
    "hooks['x']": (lambda: loop().hooks["x"], KeyError, "No hook is named 'x'. There are: none"),
    # Step, supervised
    "metrics as list": (lambda: Step(step, metrics=[keras.metrics.Mean()]), TypeError, r"needs a dict.*\[Mean\]"),
    "no function": (lambda: Step(), TypeError, r"needs 'function': write Step\(function\)"),
    "'adam'": (lambda: steps(optimizer="adam"), TypeError, r"'adam'. Write keras.optimizers.get\('adam'\)"),
    "'mse' as optimizer": (lambda: steps(optimizer="mse"), TypeError, r"as in keras.optimizers.Adam\(1e-3\). Received: 'mse'\.$"),
    "Adam": (lambda: steps(optimizer=keras.optimizers.Adam), TypeError, r"the class Adam. Write Adam\(...\)"),
    "'mes'": (lambda: steps(loss="mes"), ValueError, "knows by its name, such as 'mse'. Received: 'mes'"),
    "class of a loss": (lambda: steps(loss=MSE), TypeError, r"the class MeanSquaredError. Write MeanSquaredError"),
    "loss of one": (lambda: steps(loss=lambda y: 0.0), TypeError, r"called as loss\(y, prediction\). Received: <lambda>"),
    "'accuracy'": (lambda: steps(metrics="accuracy"), TypeError, r"\['accuracy'\] or \{'accuracy': metric\}.*: 'accuracy'"),
    "name of no metric": (lambda: steps(metrics={"a": "acurracy"}), ValueError, "such as 'accuracy' or 'mae'. .*'acurracy'"),
    "accumulate=0": (lambda: steps(accumulate=0), ValueError, r"accumulate=...\) must be positive. Received: 0"),
    "accumulate='2'": (lambda: steps(accumulate="2"), TypeError, "needs a whole number. Received: '2'"),
    "class_weight of a name": (lambda: steps(class_weight={"a": 1.0}), ValueError, r"\{0: 1.0, 1: 5.0\}. .*\{'a': 1.0"),
    "class_weight in a list": (lambda: steps(class_weight=[1.0, 5.0]), TypeError, r"dict\(enumerate\(weights\)\)"),
    "class_weight='balanced'": (lambda: steps(class_weight="balanced"), TypeError, r"\{0: 1.0, 1: 5.0\}. .*'balanced'"),
    "a weight of text": (lambda: steps(class_weight={0: "a"}), ValueError, r"\{0: 1.0, 1: 5.0\}. .*\{0: 'a'\}"),
    "a weight of None": (lambda: steps(class_weight={0: None}), ValueError, r"\{0: 1.0, 1: 5.0\}. .*\{0: None\}"),
    "a weight of NaN": (lambda: steps(class_weight={0: np.nan}), ValueError, r"\{0: 1.0, 1: 5.0\}. .*\{0: nan\}"),
    "class of a metric": (lambda: steps(metrics={"a": keras.metrics.Mean}), TypeError, "'a': the class Mean"),
    "a function as model": (lambda: steps(model=step), TypeError, "needs a keras.Model or a layer. Received: function"),
    "clip_norm='1'": (lambda: steps(clip_norm="1"), TypeError, "needs a number or None. Received: '1'"),
    "clip_norm=inf": (lambda: steps(clip_norm=np.inf), ValueError, "positive and finite. Received: inf. .*leave it out"),
    "clip_norm=nan": (lambda: steps(clip_norm=np.nan), ValueError, "positive and finite. Received: nan"),
    "no loss": (lambda: supervised(dense(), keras.optimizers.SGD()), TypeError, "needs 'loss'"),
    # ArrayData
    "ragged": (lambda: ArrayData(tf.ragged.constant([[1], [1, 2]]), batch_size=2), TypeError, r"x.to_tensor\(\)"),
    "sparse": (lambda: ArrayData(tf.sparse.from_dense([[1]]), batch_size=2), TypeError, r"tf.sparse.to_dense\(x\)"),
    "pandas": (lambda: ArrayData(Frame(), batch_size=2), TypeError, r"frame\[columns\].to_numpy\(dtype='float32'\)"),
    "pandas, by name": (lambda: ArrayData(Frame(), batch_size=2), TypeError, r"ArrayData\(dict\(frame\), batch_size=32\)"),
    "a column of pandas": (
        lambda: ArrayData({"a": Column()}, batch_size=2),
        TypeError,
        r"column.to_numpy\(dtype='float32'\).*column.astype\(str\).fillna\(''\)",
    ),
    "a row of pandas": (lambda: IndexedData([Column()], batch_size=1), TypeError, r"Write dict\(row\)"),
    "objects": (lambda: ArrayData(np.array([[1, "a", None]], object), batch_size=1), TypeError, r"x.astype\('float32'\)"),
    "unequal lists": (lambda: ArrayData([[1, 2], [3]], batch_size=2), ValueError, r"np.array\(examples\)"),
    "a million numbers": (lambda: ArrayData([0.5] * 10**6, batch_size=2), ValueError, r"0.5, in a list.*np.array"),
    "labels in a list": (lambda: ArrayData((X, [0] * 8), batch_size=2), ValueError, r"0, in a tuple.*np.array"),
    "unequal arrays": (lambda: ArrayData((X, Y[:3]), batch_size=2), ValueError, r"\(8, 3\), \(3, 1\)"),
    "examples in a list": (lambda: ArrayData([X] * 9 + [Y[:3]], batch_size=2), ValueError, r"\.\.\.\. A list is a nest"),
    "generator": (lambda: ArrayData(generated(), batch_size=2), TypeError, GENERATOR),
    "iterator": (lambda: ArrayData(iter(batches()), batch_size=2), TypeError, "Give the dataset itself"),
    "dataset": (lambda: ArrayData(batches(), batch_size=2), TypeError, "A dataset needs no ArrayData"),
    "no labels": (lambda: ArrayData((X, None), batch_size=2), TypeError, "Received: NoneType. Leave it out"),
    "x, y": (lambda: ArrayData(X, Y, batch_size=2), TypeError, r"write ArrayData\(\(x, y\), batch_size=32\)"),
    "no batch_size": (lambda: ArrayData(X), TypeError, r"needs 'batch_size': write ArrayData\(\(x, y\), batch_size=32\)"),
    "batchsize": (lambda: ArrayData(X, batchsize=2), TypeError, "no argument 'batchsize': write batch_size="),
    "batch_size='2'": (lambda: ArrayData(X, batch_size="2"), TypeError, rf"{WHOLE}. Received: '2' \(str\)"),
    "batch_size=2.0": (lambda: ArrayData(X, batch_size=2.0), TypeError, rf"{WHOLE}. Received: 2.0 \(float\)"),
    "batch_size=None": (lambda: ArrayData(X, batch_size=None), TypeError, f"{WHOLE}. Received: None"),
    "batch_size=True": (lambda: ArrayData(X, batch_size=True), TypeError, f"{WHOLE}. Received: True"),
    "seed='1'": (lambda: ArrayData(X, batch_size=2, seed="1"), TypeError, f"{WHOLE} or None. Received: '1'"),
    "shuffle=1000": (lambda: ArrayData(X, batch_size=2, shuffle=1000), TypeError, "needs True or False. Received: 1000"),
    "a large batch": (
        lambda: ArrayData(X, batch_size=9, drop_remainder=True),
        ValueError,
        "at most the 8 rows.*Write batch_size=8, or leave out drop_remainder",
    ),
    # StreamData
    "stream shuffle": (lambda: StreamData(batches(), shuffle=True), TypeError, r"dataset.shuffle\(1000, seed=1\)"),
    "stream of arrays": (lambda: StreamData((X, Y)), TypeError, ARRAYS),
    "stream of a generator": (lambda: StreamData(generated()), TypeError, GENERATOR),
    "stream of its function": (lambda: StreamData(generated), TypeError, GENERATOR),
    "no epoch": (lambda: StreamData(lambda: batches()), TypeError, "Write lambda epoch: dataset"),
    "resume=True": (lambda: StreamData(batches(), resume=True), ValueError, "must be 'state' or 'replay'"),
    "steps_per_epoch=2.5": (lambda: StreamData(batches(), steps_per_epoch=2.5), TypeError, WHOLE),
    "large batches": (lambda: StreamData(slices().batch(9, drop_remainder=True)), ValueError, "leave out drop_remainder"),
    # Evaluation
    "Evaluation(data)": (lambda: Evaluation(batches()), TypeError, r"needs 'data': write Evaluation\(eval_step, data\)"),
    "Evaluation swapped": (lambda: Evaluation(batches(), step), TypeError, "The step comes first"),
    "Evaluation of arrays": (lambda: Evaluation(step, (X, Y)), TypeError, ARRAYS),
    "Evaluation by position": (lambda: Evaluation(step, X, Y), TypeError, r"write Evaluation\(eval_step, data\)"),
    "Evaluation name": (lambda: Evaluation(step, batches(), name=5), TypeError, TEXT),
    "Evaluation steps": (lambda: Evaluation(step, batches(), steps=True), TypeError, f"{WHOLE} or None. Received: True"),
    # triggers
    "Every(10)": (lambda: Every(10), TypeError, r"Received: 10; write Every\(steps=10\), Every\(epochs=1\)"),
    "Every(steps=0)": (lambda: Every(steps=0), ValueError, "needs a positive number. Received: 0"),
    "Every(steps=2.5)": (lambda: Every(steps=2.5), TypeError, f"{WHOLE} or None. Received: 2.5"),
    "Every(epoch=1)": (lambda: Every(epoch=1), TypeError, "write epochs="),
    "Every(minutes=1)": (lambda: Every(minutes=1), TypeError, r"write seconds=60 \* minutes"),
    "At(list)": (lambda: At([3, 33]), ValueError, r"Received: \[3, 33\]. Write At\(\*steps\)"),
    "At(step=)": (lambda: At(step=3), TypeError, r"write At\(3, 33\)"),
    # Checkpoint
    "ModelCheckpoint's": (
        lambda: Checkpoint(filepath="x", save_best_only=True, monitor="val_loss"),
        TypeError,
        r"'filepath': write Checkpoint\(directory\)(.|\n)*'save_best_only': write best='val_loss', mode='min'",
    ),
    "weights only": (lambda: Checkpoint("x", save_weights_only=True), TypeError, r"restore\(directory, \{'model': model"),
    "no directory": (lambda: Checkpoint(), TypeError, r"needs 'directory': write Checkpoint\(directory\)"),
    "directory=None": (lambda: Checkpoint(None), TypeError, f"{TEXT} or a path. Received: None"),
    "directory=''": (lambda: Checkpoint(""), ValueError, "A directory needs a name"),
    "every=10": (lambda: Checkpoint("x", every=10), TypeError, rf"{TRIGGER}\(steps=10\). Received: 10"),
    "every=Every": (lambda: Checkpoint("x", every=Every), TypeError, rf"{TRIGGER}.*the class Every; write Every\(...\)"),
    "keep='3'": (lambda: Checkpoint("x", keep="3"), TypeError, f"{WHOLE}. Received: '3'"),
    "best=True": (lambda: Checkpoint("x", best=True, mode="min"), TypeError, "True .*; write best='val_loss', mode='min'"),
    "mode alone": (lambda: Checkpoint("x", mode="min"), ValueError, r"mode='min'\) needs best=..., .*best='val_loss'"),
    "keep_best alone": (lambda: Checkpoint("x", keep_best=3), ValueError, r"keep_best=3\) needs best=..."),
    "background='no'": (lambda: Checkpoint("x", background="no"), TypeError, "needs True or False"),
    # other hooks
    "restore_best_weights": (
        lambda: EarlyStopping("val_loss", mode="min", restore_best_weights=True, verbose=1),
        TypeError,
        r"write restore_best='weights'(.|\n)*'verbose': leave it out",
    ),
    "no monitor": (lambda: EarlyStopping(), TypeError, r"write EarlyStopping\('val_loss', mode='min'\)"),
    "a metric": (lambda: EarlyStopping(keras.metrics.Mean(), mode="min"), TypeError, f"{TEXT}. Received: Mean"),
    "patience='5'": (lambda: EarlyStopping("x", mode="min", patience="5"), TypeError, f"{WHOLE}. Received: '5'"),
    "target='1'": (lambda: EarlyStopping("x", mode="min", target="1"), TypeError, "needs a number or None"),
    "log_dir": (lambda: TensorBoard(log_dir="x", histogram_freq=1), TypeError, r"write TensorBoard\(directory\)"),
    "TensorBoard every": (lambda: TensorBoard("x", every=10), TypeError, rf"{TRIGGER}\(steps=10\)"),
    "Progress verbose": (lambda: Progress(verbose=3), ValueError, "must be 0, 1 or 2. Received: 3"),
    "Progress refresh": (lambda: Progress(refresh_rate=3), TypeError, r"'refresh_rate': write every=Every\(steps=10\)"),
    "Progress(10)": (lambda: Progress(10), TypeError, rf"{TRIGGER}\(steps=10\) or None"),
    "console=sys.stderr": (lambda: Progress(console=sys.stderr), TypeError, r"rich.console.Console\(file=sys.stdout\)"),
    "one signal": (lambda: Preemption(signal.SIGTERM), TypeError, r"as in signals=\[signal.SIGTERM\]"),
    "names of signals": (lambda: Preemption(["SIGTERM"]), TypeError, r"as in signals=\[signal.SIGTERM\]"),
    "no signal": (lambda: Preemption([10**4]), ValueError, "needs signals of this system"),
    "Profile first": (lambda: Profile("x", first="1"), TypeError, WHOLE),
    "Profile log_dir": (lambda: Profile(log_dir="x"), TypeError, r"write Profile\(directory\)"),
    # functions
    "restore(model)": (lambda: restore("x", dense()), TypeError, r"needs a dict, as in \{'model': model"),
    "restore(5)": (lambda: restore(5, {"model": dense()}), TypeError, "A directory is a str or a path. Received: int"),
    "prove(loop)": (lambda: prove(loop(), epochs=1), ValueError, "a function at the top level.*Received: Loop"),
    "prove(kills='5')": (lambda: prove(loop, epochs=1, kills="5"), TypeError, "whole numbers, as in kills=5"),
    "prove(at=5)": (lambda: prove(loop, epochs=1, at=5), TypeError, r"whole numbers, as in at=\[7, 130\]"),
    "TrainingState": (lambda: TrainingState(dense()), TypeError, "state needs a dict"),
    # when a step is traced
    "unbatched": (lambda: trained(slices()), ValueError, r"needs batches(.|\n)*float32 \(3,\), float32 \(1,\). Write dataset.b"),
    "unbatched labels": (lambda: trained(slices().map(lambda x, y: (x, y[0]))), ValueError, r"Write dataset.batch\(32\)"),
    "no y": (lambda: trained(tf.data.Dataset.from_tensors(X)), ValueError, r"needs batches(.|\n)*dataset.map"),
}  # fmt: skip
# Of Keras' fit and compile, and of the trainers of Lightning, Hugging Face and Composer.
ELSEWHERE = """
x y batch_size verbose callbacks validation_split validation_data shuffle class_weight sample_weight initial_epoch epochs
validation_steps validation_batch_size validation_freq optimizer loss loss_weights metrics weighted_metrics run_eagerly
steps_per_execution max_epochs max_steps max_time limit_train_batches limit_val_batches overfit_batches fast_dev_run
val_check_interval check_val_every_n_epoch log_every_n_steps enable_checkpointing enable_progress_bar logger profiler
accumulate_grad_batches gradient_clip_val gradient_clip_algorithm precision devices strategy deterministic ckpt_path
detect_anomaly num_sanity_val_steps
num_train_epochs per_device_train_batch_size gradient_accumulation_steps learning_rate max_grad_norm lr_scheduler_type
warmup_steps logging_steps save_steps save_total_limit eval_steps eval_strategy seed fp16 bf16 output_dir report_to
load_best_model_at_end resume_from_checkpoint train_dataset eval_dataset compute_metrics data_collator args
max_duration train_dataloader eval_dataloader optimizers schedulers save_folder save_interval grad_accum train_loader
val_loader min_epochs default_root_dir train_dataloaders val_dataloaders datamodule early_stopping clip_norm num_epochs
"""


@pytest.mark.parametrize("name", ELSEWHERE.split())
def test_each_argument_that_people_bring_has_a_line_of_its_own(name: str) -> None:
    with pytest.raises(TypeError, match=rf"'{name}': (write|leave it out|it belongs|make it)"):
        loop(**{name: 1})


def test_what_is_like_another_argument_is_not_taken_for_it() -> None:
    for name, meant in {
        "save_steps": "Checkpoint",
        "train_loader": "where data is",
        "val_loader": "Evaluation",
    }.items():
        with pytest.raises(TypeError, match=f"'{name}': write .*{meant}"):
            loop(**{name: 1})
        with pytest.raises(TypeError, match=f"'{name}': write .*{meant}"):
            loop().run(**{name: 1})


def test_a_letter_that_is_no_argument_gets_no_advice_of_another() -> None:
    with pytest.raises(TypeError, match="no argument 'e'; it has train_step"):
        loop(e=1)


LATE = {"unbatched", "unbatched labels", "no y"}  # what is raised while a step is traced


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_gets_a_line_that_says_what_to_write(mistake: str) -> None:
    make, error, message = MISTAKES[mistake]
    with pytest.raises(error, match=message) as raised:
        make()
    told = traceback.format_exception(raised.value)
    assert len(str(raised.value)) <= 600 or mistake in LATE
    assert len("".join(told).splitlines()) <= 25 or mistake in LATE
    own = [frame.line for frame in traceback.extract_tb(raised.value.__traceback__) if frame.filename == __file__]
    assert any(line and line != "make()" for line in own)


def test_unbatched_data_of_a_step_of_ones_own_are_named_beside_what_tensorflow_says() -> None:
    model = dense()

    def train_step(batch: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {"loss": tf.reduce_mean(tf.linalg.matmul(batch[0], model.kernel))}

    model.kernel = model.layers[0].kernel
    with pytest.raises(ValueError, match="rank") as raised:
        trained(slices(), train_step)
    (note,) = [note for note in raised.value.__notes__ if "batch" in note]
    assert note.endswith("If that is one example, and not a batch of them, write dataset.batch(32).")
    trained(batches(), train_step)  # as advised


async def awaited(moment: Moment) -> None: ...


async def awaited_often(moment: Moment) -> AsyncIterator[None]:
    yield


def yields(moment: Moment) -> Iterator[None]:
    yield


@pytest.mark.parametrize("function", [awaited, awaited_often, yields, functools.partial(awaited)])
def test_a_function_of_which_a_call_runs_nothing_is_refused(function: Callable[..., object]) -> None:
    with pytest.raises(TypeError, match=r"would never run: .* Write"):
        loop().on(Event.EPOCH_END)(function)
    for method in ("on_epoch_end", "on_steps"):
        with pytest.raises(TypeError, match=rf"Mine\.{method} would never run: .* Write"):
            type("Mine", (Hook,), {method: function})
    loop().on(Event.EPOCH_END)(lambda moment: (each for each in ()))  # runs, and makes what it likes


@pytest.mark.more
def test_datasets_of_later_epochs_have_to_have_the_same_kinds_of_batches() -> None:
    def trained_on(*made: tf.data.Dataset) -> Loop:
        data = StreamData(lambda epoch: made[epoch])
        trained = Loop(lambda x: {"x": tf.reduce_sum(tf.cast(x["x"], tf.float32))}, data, state={})
        trained.run(epochs=2)
        return trained

    def of(values: object) -> tf.data.Dataset:
        return tf.data.Dataset.from_tensor_slices({"x": values})

    one = of(np.ones(4, np.float32))
    with pytest.raises(ValueError, match=r"epoch 2 has int64 \(\), that of the first epoch had float32 \(\)"):
        trained_on(one, of(np.ones(4, np.int64)))
    with pytest.raises(ValueError, match=r"epoch 2 has .*'y'.*, that of the first epoch had .*'x'"):
        trained_on(one, tf.data.Dataset.from_tensor_slices({"y": np.ones(4, np.float32)}))
    for first, then in itertools.permutations([one.batch(2), one.batch(2, drop_remainder=True)]):
        assert trained_on(first, then).step == 4


def test_a_method_whose_first_parameter_is_not_called_self_is_counted_without_it() -> None:
    class This(Hook):
        def __init__(this, rate: float) -> None:  # noqa: N805
            super().__init__()
            this.rate = rate

    with pytest.raises(TypeError, match=r"This\(\.\.\.\) takes 1 argument without a name"):
        This(1.0, 2.0)
    with pytest.raises(TypeError, match=r"This\(\.\.\.\) needs 'rate': write This\(rate\)"):
        This()
    assert This(1.0).rate == This(rate=1.0).rate == 1.0


def test_small_remedies_are_those_of_what_was_written() -> None:
    with pytest.raises(ValueError, match=r"must be at least 1. Received: batch_size=-1\.$"):
        ArrayData(X, batch_size=-1)
    with pytest.raises(ValueError, match=r"at most the 8 rows .* or leave out drop_remainder"):
        ArrayData(X, batch_size=9, drop_remainder=True)
    with pytest.raises(TypeError, match=r"Hooks are added one by one: for hook in hooks: loop.hooks.add\(hook\)"):
        loop().hooks.add([Progress()])
    stopped = loop()
    stopped.on(Event.EPOCH_END)(lambda moment: moment.stop())
    with pytest.raises(TypeError, match=r"stop\(reason\) needs a str, the reason.*Received: None"):
        stopped.run(epochs=1)


def test_a_metric_of_an_evaluation_without_one_is_not_taken_for_that_of_training() -> None:
    hooks, data = [EarlyStopping("val_loss", mode="min", patience=1)], tf.data.Dataset.range(3)
    with pytest.raises(ValueError, match=r"'val_loss', .*Add evaluate=Evaluation\(eval_step, data\) to the Loop\."):
        Loop(lambda x: {"loss": x}, data, state={}, hooks=hooks).run(epochs=1)
    evaluate = Evaluation(lambda x: {"loss": x}, data)
    assert Loop(lambda x: {"loss": x}, data, state={}, hooks=hooks, evaluate=evaluate).run(epochs=1).epoch == 1


def test_an_exception_of_ones_own_is_not_said_to_be_of_unbatched_data() -> None:
    error = ValueError("mine")

    def raises(x: tf.Tensor) -> dict[str, tf.Tensor]:
        raise error

    loop = Loop(raises, tf.data.Dataset.range(3), state={})
    for _ in range(2):
        with pytest.raises(ValueError, match="mine") as raised:
            loop.run(epochs=1)
        assert getattr(raised.value, "__notes__", []) == []


def test_an_error_in_an_evaluation_names_it_and_its_batch() -> None:
    def right(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"x": tf.debugging.check_numerics(tf.math.log(2.0 - tf.cast(x, tf.float32)), "no number")}

    test = Evaluation(right, tf.data.Dataset.range(3), name="test")
    loop = Loop(lambda x: {"x": x}, tf.data.Dataset.range(6), state={}, evaluate=test)
    with pytest.raises(tf.errors.InvalidArgumentError, match="no number") as raised:
        loop.run(epochs=1)
    assert raised.value.__notes__ == ["Raised in evaluation 'test', after its batch 2."]


def test_a_model_that_is_given_as_step_is_told_beside_what_it_returns() -> None:
    with pytest.raises(TypeError, match="must return a dict") as raised:
        loop(train_step=dense(), data=tf.data.Dataset.from_tensors(X)).run(steps=1)
    assert "Write train_step, eval_step = supervised(model, optimizer, loss)" in " ".join(raised.value.__notes__)


@pytest.mark.more
def test_what_is_advised_works(tmp_path: Path) -> None:
    model, optimizer = dense(), keras.optimizers.get("adam")
    train_step, eval_step = supervised(
        *(model, optimizer, keras.losses.MeanSquaredError()),
        metrics={"error": keras.metrics.MeanAbsoluteError()},
    )
    loop = Loop(
        train_step,
        ArrayData((X, Y), batch_size=32),
        state={"model": model, "optimizer": optimizer},
        evaluate=Evaluation(eval_step, ArrayData((X, Y), batch_size=32)),
        hooks=[
            EarlyStopping("val_loss", mode="min", restore_best="weights"),
            Checkpoint(tmp_path / "checkpoints", best="val_loss", mode="min", keep_best=3),
            TensorBoard(tmp_path / "tensorboard"),
            Preemption(signals=[signal.SIGTERM]),
        ],
    )
    assert loop.run(epochs=2).step == 2
    assert restore(tmp_path / "checkpoints", {"model": model}) == 2


@pytest.mark.more
@pytest.mark.parametrize(
    "make",
    [
        lambda: ArrayData(tf.ragged.constant([[1], [1, 2]]).to_tensor(), batch_size=1),
        lambda: tf.data.Dataset.from_tensor_slices(tf.ragged.constant([[1], [1, 2]])).batch(1),
        lambda: ArrayData(tf.sparse.to_dense(tf.sparse.from_dense([[1], [2]])), batch_size=1),
        lambda: ArrayData(np.array([[1, 2], [3, 4]], object).astype("float32"), batch_size=1),
        lambda: ArrayData({"age": np.arange(2), "name": np.array(["a", "b"])}, batch_size=1),
        lambda: ArrayData(np.array([[1, 2], [3, 4]]), batch_size=1),
        lambda: StreamData(
            tf.data.Dataset.from_generator(generated, output_signature=tf.TensorSpec([8, 3])).repeat(2), resume="replay"
        ),
        lambda: StreamData(lambda epoch: tf.data.Dataset.range(2).batch(1)),
        lambda: (
            ArrayData(X[:2], batch_size=2).__copy__() and ArrayData(np.arange(2), batch_size=1, drop_remainder=True)
        ),
    ],
)
def test_data_that_are_advised_are_read(make: Callable[[], object]) -> None:
    data = make()
    assert Loop(lambda batch: {"one": tf.constant(1.0)}, data, state={}).run(steps=2).step == 2


@pytest.mark.more
def test_advised_triggers_and_losses_are_made() -> None:
    assert [At(*[3, 33]).steps, Every(steps=10).count, Every(seconds=60 * 2).count] == [(3, 33), 10, 120]
    model, optimizer = dense(), keras.optimizers.SGD()
    for loss in (keras.losses.BinaryCrossentropy(), lambda y, prediction, weight: tf.reduce_mean(MSE()(y, prediction))):
        train_step, _ = supervised(model, optimizer, loss)
        loop = Loop(train_step, batches(), state={"model": model, "optimizer": optimizer})
        assert np.isfinite(loop.run(steps=1).logs["loss"])


def test_what_is_right_in_another_form_is_taken() -> None:
    right = ArrayData([X, Y], batch_size=np.int32(32), seed=np.int64(-3), shuffle=np.bool_(True))  # a batch of all rows
    loop = Loop(step, right, state={}, hooks=(hook for hook in [Progress()]), evaluate=(), exact=1)
    assert ([hook.name for hook in loop.hooks], right.steps_per_epoch) == (["progress"], 1)
    assert list(Loop(step, batches(), state={}, hooks=None, evaluate=None).hooks) == []
    assert len(list(Loop(step, batches(), state={}, evaluate=(e for e in [Evaluation(step, batches())])).hooks)) == 0
    assert At(np.int64(3)).steps == (3,)
    assert Every(steps=tf.constant(3)).count == 3
    assert EarlyStopping("x", mode="min", min_delta=np.float32(0.5), target=1).best.dtype == tf.float64
    assert Checkpoint(b"here", keep=np.int64(2)).directory == str(Path("here").absolute())
    assert supervised(dense(), keras.optimizers.SGD(), MSE(), clip_norm=1)[0].metrics == {}
    assert digest(np.arange(3)) == digest(tf.range(3, dtype=tf.int64)) == digest(tf.Variable(np.arange(3)))


def test_a_decorated_step_is_taken_by_what_it_is_called_with() -> None:
    @keras.saving.register_keras_serializable()
    def plain(batch: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
        return of_two(*batch)

    plain.__wrapped__ = of_two  # as functools.wraps says of a function that unpacks the batch
    for function in (plain, tf.function(step), Step(step), lambda batch, training=True: step(batch)):
        assert Loop(function, batches(), state={}).run(steps=1).step == 1


def test_hooks_of_ones_own_say_what_they_take_and_take_what_python_takes() -> None:
    class Mine(Hook):
        def __init__(self, rate: float, *names: str, every: int = 3, **more: object) -> None:
            super().__init__()
            self.rate, self.names, self.more = rate, names, more

    class Closed(Hook):
        def __init__(self, rate: float, *, warmup: bool = False) -> None:
            super().__init__()

    mine = Mine("fast", "a", "b", every="x", other=1)  # an annotation of somebody else is no check
    assert (mine.rate, mine.names, mine.more) == ("fast", ("a", "b"), {"other": 1})
    with pytest.raises(TypeError, match=re.escape("Closed(...) has no argument 'warm_up': write warmup=")):
        Closed(1.0, warm_up=True)


def test_what_is_said_of_sample_weights_is_what_to_do() -> None:
    x = np.ones([4, 1], "float32")
    model = keras.Sequential([keras.Input([1]), keras.layers.Dense(1)])
    optimizer = keras.optimizers.SGD()
    with pytest.raises(TypeError, match=re.escape("write ArrayData((x, y, sample_weight), batch_size=32).")):
        supervised(model, optimizer, "mse", sample_weight=x[:, 0])
    step, _ = supervised(model, optimizer, "mse")
    data = ArrayData((x, x, x[:, 0]), batch_size=32)
    assert Loop(step, data, state={"model": model, "optimizer": optimizer}).run(epochs=1).epoch == 1


def test_a_signature_is_what_is_written() -> None:
    assert [*inspect.signature(Every).parameters] == ["steps", "epochs", "seconds"]
    assert [*inspect.signature(Checkpoint).parameters][:3] == ["directory", "every", "keep"]
    assert (
        str(inspect.signature(Loop.run))
        == "(self, *, epochs: int | None = None, steps: int | None = None) -> loop.events.RunResult"
    )
    assert Loop.run.__doc__.startswith("Trains until")


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    for hook in (TensorBoard(file), Checkpoint(file)):
        with pytest.raises(NotADirectoryError, match=re.escape(f"directory. Received: {str(file)!r}, ")):
            loop(hooks=[hook]).run(epochs=1)
