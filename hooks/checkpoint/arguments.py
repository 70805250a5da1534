"""What `Checkpoint(...)` may be given, and what to write instead of what others call it."""

BEST = "write best='val_loss', mode='min'"
# What Keras, Orbit, Lightning and `tf.train.CheckpointManager` call it; none of these is an argument here.
INSTEAD = {
    **dict.fromkeys(("directory", "filepath", "path", "dirpath", "backup_dir"), "write Checkpoint(directory)"),
    **dict.fromkeys(("best", "monitor", "save_best_only", "metric"), BEST),
    "save_weights_only": "leave it out: restore(directory, {'model': model}) reads the weights alone",
    "save_freq": "write every=Every(steps=100) or every=Every(epochs=1)",
    **dict.fromkeys(("period", "every_n_epochs"), "write every=Every(epochs=1)"),
    **dict.fromkeys(("every_n_train_steps", "steps"), "write every=Every(steps=100)"),
    **dict.fromkeys(("max_to_keep", "keep_last"), "write keep=3"),
    "keep_checkpoint_every_n_hours": "write keep_every=Every(seconds=3600)",
    "save_top_k": f"{BEST}, keep_best=3",
    "save_last": "leave it out: the latest are kept, as many as keep=... says",
    "delete_checkpoint": "leave it out: a finished run can be gone on with",
    "verbose": "leave it out: what is saved and restored is logged by logging.getLogger('exactloop')",
}


def check_counts(**given: int) -> None:
    """Raises `ValueError` for a number below 1."""
    for argument, count in given.items():
        if count < 1:  # of the latest, too: with none, a kill would leave nothing
            raise ValueError(f"Checkpoint({argument}=...) must be at least 1. Received: {count!r}.")


def check_best(best: str | None, mode: str | None, keep_best: int) -> None:
    """Raises `ValueError` if something is said of the best ones, and not by which metric."""
    if best is None and (mode is not None or keep_best != 1):
        given = f"mode={mode!r}" if mode is not None else f"keep_best={keep_best!r}"
        raise ValueError(f"Checkpoint({given}) needs best=..., the metric that it is about, as in best='val_loss'.")
