"""What `Loop` and `run` do not have, but others do: Keras, Lightning, Composer, Orbit, Hugging Face's Trainer."""

from loop.errors.calls import BY_POSITION

BATCHES = "ArrayData((x, y), batch_size=32), or dataset.batch(32)"
STEPS = "write train_step, eval_step = supervised(model, optimizer, loss, metrics={...}), and Loop(train_step, ...)"
EVALUATED = "write Loop(..., evaluate=Evaluation(eval_step, data))"
# What to write, in words that go on after a colon, and for which arguments.
_NAMES = {
    STEPS: "model optimizer optimizers loss metrics metric compute_metrics args",
    f"write Loop(train_step, data), where data is {BATCHES}": (
        "x y train_data train_dataset train_dataloader train_dataloaders train_loader train_ds training_data dataset "
        "dataloader loader generator datamodule"
    ),
    f"it belongs to the data: {BATCHES}": (
        "batch_size train_batch_size per_device_train_batch_size device_train_microbatch_size"
    ),
    "it belongs to the data: ArrayData(..., shuffle=True), or dataset.shuffle(1000, seed=1)": "shuffle",
    "it belongs to the data: ArrayData((x, y, sample_weight), batch_size=32)": "sample_weight",
    "it belongs to the data: dataset.map(function, num_parallel_calls=4), or a keras.utils.PyDataset(workers=4)": (
        "workers num_workers dataloader_num_workers use_multiprocessing max_queue_size data_collator"
    ),
    "it belongs to its data: Evaluation(eval_step, ArrayData((x, y), batch_size=32))": (
        "validation_batch_size eval_batch_size per_device_eval_batch_size"
    ),
    "write supervised(..., class_weight={0: 1.0, 1: 5.0})": "class_weight",
    "make it a part of the data": "validation_split",
    "write Loop(..., hooks=[Progress()]), or nothing": "verbose enable_progress_bar progress_bar",
    "leave it out: Checkpoint(directory) goes on where a run was": (
        "initial_epoch ckpt_path resume_from_checkpoint load_path autoresume resume"
    ),
    "leave it out: steps and epochs of a loop are counted from its own first one": "after",
    "leave it out: many steps run in one call anyway": "steps_per_execution steps_per_loop",
    EVALUATED: (
        "validation_data val_data validation val_dataset validation_dataset val_dataloader val_dataloaders val_loader "
        "val_ds eval_data eval_dataset eval_dataloader eval_loader eval_step eval_fn val_step test_step test_data"
    ),
    "write Loop(..., hooks=[...]), of the package hooks": "callbacks callback hook actions",
    "write Loop(..., eval_every=Every(epochs=1))": (
        "validation_freq check_val_every_n_epoch eval_strategy evaluation_strategy"
    ),
    "write Loop(..., eval_every=Every(steps=100))": "val_check_interval eval_interval eval_steps eval_freq",
    "write Evaluation(eval_step, data, steps=10)": "validation_steps limit_val_batches limit_test_batches",
    "write Loop(..., limit_batches=10)": "limit_train_batches",
    "write Loop(..., overfit=1)": "overfit_batches",
    "write loop.dry_run() before loop.run(...)": "fast_dev_run",
    "write loop.run(epochs=10)": "epochs max_epochs num_epochs n_epochs num_train_epochs train_epochs",
    "write loop.run(steps=1000)": "steps max_steps num_steps total_steps train_steps num_train_steps max_iters",
    "write Loop(..., hooks=[TimeBudget(hours=11.5)])": "max_time max_duration",
    "write EarlyStopping(..., start_from_epoch=5)": "min_epochs min_steps",
    "write Loop(..., hooks=[EarlyStopping('val_loss', mode='min', patience=5)])": "early_stopping patience monitor",
    "write Loop(..., hooks=[EarlyStopping('val_loss', mode='min', restore_best='weights')])": (
        "load_best_model_at_end metric_for_best_model greater_is_better"
    ),
    "write Loop(..., hooks=[Checkpoint(directory, Every(steps=500), keep=3)])": (
        "checkpoint_manager enable_checkpointing checkpoint checkpoint_dir ckpt_dir model_dir output_dir save_folder "
        "default_root_dir save_steps save_interval save_strategy save_total_limit save_overwrite"
    ),
    "write Loop(..., hooks=[TensorBoard(directory)])": (
        "logger loggers log_every_n_steps log_dir logging_dir logging_steps logging_strategy report_to tensorboard"
    ),
    "write Loop(..., hooks=[Profile(directory)])": "profiler",
    "write supervised(..., clip_norm=1.0)": (
        "gradient_clip_val gradient_clip_algorithm max_grad_norm grad_clip clip_norm clipnorm global_clipnorm"
    ),
    "write supervised(..., accumulate=4)": "accumulate_grad_batches gradient_accumulation_steps grad_accum accumulate",
    "it belongs to the optimizer, as in keras.optimizers.AdamW(1e-3, weight_decay=0.01); or write Loop(..., hooks=["
    "LearningRate(function, warmup=500)])": (
        "learning_rate lr lr_scheduler lr_scheduler_type scheduler schedulers warmup warmup_steps warmup_ratio "
        "weight_decay"
    ),
    "write Loop(..., hooks=[WeightAverage()])": "ema use_ema",
    "it belongs to supervised(...), as to compile": "loss_weights weighted_metrics",
    "leave it out: the loop compiles the steps": "run_eagerly",
    "write Loop(..., jit_compile=True)": "jit xla compile",
    "write keras.config.set_dtype_policy('mixed_bfloat16') before the model is made": (
        "precision fp16 bf16 mixed_precision amp"
    ),
    "write keras.utils.set_random_seed(1) before the model is made": "seed data_seed",
    "write Loop(..., hooks=[NaNGuard()])": "detect_anomaly",
    "write exactloop launch --workers 4 train.py": (
        "devices device num_nodes strategy accelerator distribute mesh sync_batchnorm use_distributed_sampler"
    ),
    "leave it out: see loop.audit() and loop.dry_run()": "deterministic num_sanity_val_steps",
    "write StreamData(lambda epoch: dataset)": "reload_dataloaders_every_n_epochs",
}
ELSEWHERE = {name: instead for instead, names in _NAMES.items() for name in names.split()}
OF_LOOP = ELSEWHERE | {
    BY_POSITION: "write Loop(train_step, data, state={'model': model, 'optimizer': optimizer})",
    "state": "write state={'model': model, 'optimizer': optimizer}, of what the step changes",
    "data": f"write Loop(train_step, data, state={{...}}), where data is {BATCHES}",
}
OF_RUN = ELSEWHERE | {
    BY_POSITION: "write run(epochs=10) or run(steps=1000)",
    "steps_per_epoch": "write Loop(..., steps_per_epoch=100)",
}
_EVALUATION = (
    "write Loop(..., evaluate=[..., Evaluation(eval_step, ArrayData((x, y), batch_size=32), name='test', every=NEVER)])"
)
OF_EVALUATE = {
    BY_POSITION: _EVALUATION,
    **dict.fromkeys(("x", "data", "dataset", "dataloaders"), _EVALUATION),
    **dict.fromkeys(("verbose", "return_dict", "steps", "batch_size"), "leave it out"),
}
