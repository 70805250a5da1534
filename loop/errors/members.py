"""What is said of an attribute that a class does not have, but others have it: what to write instead."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NoReturn, TypeVar

from loop.errors.tracebacks import in_user_lines

C = TypeVar("C", bound=type)
_NAMES = {
    "write loop.run(epochs=10)": "fit train learn start train_model fit_generator train_on_batch fit_one_cycle",
    "write train_step, eval_step = supervised(model, optimizer, loss), and Loop(train_step, ...)": "compile",
    "write loop.evaluate()": "test validate val validation test_on_batch evaluate_generator",
    "write model.predict(x), as ever": "predict predict_on_batch predict_generator",
    "write model.save('model.keras'), as ever, or Loop(..., hooks=[Export(directory)])": "save save_model export",
    "write model.save_weights('model.weights.h5'), as ever": "save_weights",
    "write model.summary(), as ever": "summary",
    "write Loop(..., hooks=[Checkpoint(directory)]), which saves, and goes on where the run was": (
        "save_checkpoint load_checkpoint restore load resume save_state load_state state_dict load_state_dict "
        "restore_checkpoint"
    ),
    "write hooks.restore(directory, {'model': model}), or model.load_weights(path), as ever": "load_weights load_model",
    "write loop.hooks.add(hook), or @loop.on('epoch_end')": (
        "add_event_handler add_callback add_callbacks add_hook add_hooks register register_hook use callback "
        "callbacks callback_list"
    ),
    "the program has it: a loop is given it in state={...}": "model optimizer lightning_module module net network",
    "loop.optimizers has them": "lr learning_rate lr_schedulers",
    "write loop.step": "global_step current_step iteration iterations num_batches batch",
    "write loop.epoch, which counts those that are complete": "current_epoch epochs_trained initial_epoch",
    "write loop.total_epochs": "max_epochs num_epochs epochs",
    "write loop.total_steps": "max_steps num_steps steps",
    "write loop.steps_per_epoch": "num_training_batches epoch_length",
    "write loop.stop('why')": "should_stop stop_training terminate should_terminate interrupt",
    "write RunResult.logs, as in result = loop.run(...), or moment.logs of a hook": (
        "logs callback_metrics logged_metrics progress_bar_metrics metrics_names state_metrics"
    ),
}
# What others read while a run is under way, or before it, and nobody would read here.
ENDING = dict.fromkeys(("should_stop", "stop_training", "should_terminate"), "write loop.stop('why')")
SET_ON_LOOP = ENDING | {
    **dict.fromkeys(("epochs", "max_epochs"), "write loop.run(epochs=10)"),
    **dict.fromkeys(("steps", "max_steps"), "write loop.run(steps=1000)"),
    **dict.fromkeys(("callbacks", "callback", "hooks"), "write loop.hooks.add(hook)"),
    **dict.fromkeys(("lr", "learning_rate"), "write optimizer.learning_rate = 0.1, of the optimizer in state={...}"),
}
OF_HOOKS = {
    **dict.fromkeys(("append", "insert", "push", "register", "attach"), "write loop.hooks.add(hook)"),
    "extend": "write for hook in hooks: loop.hooks.add(hook)",
    **dict.fromkeys(("pop", "clear", "detach"), "write loop.hooks.remove(name)"),
    **dict.fromkeys(("get", "index"), "write loop.hooks[name]"),
    **dict.fromkeys(("keys", "names"), "write [hook.name for hook in loop.hooks]"),
    **dict.fromkeys(("values", "callbacks", "hooks"), "write list(loop.hooks)"),
    **dict.fromkeys(("has_event_handler", "items"), "write [hook.name for hook in loop.hooks]"),
}
SET_ON_MOMENT = dict.fromkeys(ENDING, "write moment.stop('why')")
NEVER_SET: Mapping[str, str] = MappingProxyType({})
OF_LOOP = {name: instead for instead, names in _NAMES.items() for name in names.split()}
NOT_GIVEN = "give it to the hook, as in Mine(model), with self.model = model in its __init__"
OF_HOOK = {
    **dict.fromkeys(("model", "optimizer", "pl_module", "module", "net"), NOT_GIVEN),
    **dict.fromkeys(("trainer", "params", "loop"), "write def on_setup(self, loop, moment): self.loop = loop"),
    **dict.fromkeys(("log", "log_dict"), "write reports = ('probe',) in the class, and moment.report(probe=0.5)"),
    **dict.fromkeys(("stop_training", "should_stop"), "write moment.stop('why')"),
    **dict.fromkeys(("best_model_path", "best_model_score", "last_model_path", "latest_checkpoint", "best_k_models"),
                    "write hooks.restore(directory, {'model': model}, which='best'), or exactloop show directory"),
    **dict.fromkeys(("save", "restore", "restore_or_initialize", "load", "load_checkpoint", "save_checkpoint"),
                    "a Checkpoint saves by its every=..., and goes on where the run was, by itself; for weights alone, "
                    "hooks.restore(directory, {'model': model})"),
    "stopped_epoch": "RunResult.epoch says when the run ended, and RunResult.reason why",
    "best_epoch": "write hook.best_step, of EarlyStopping",
    "best_weights": "write restore_best='weights', which puts them into the model at the end of the run",
    **dict.fromkeys(("add_scalar", "add_scalars", "writer", "experiment"),
                    "write reports = ('probe',) in the class of a hook, and moment.report(probe=0.5)"),
    **dict.fromkeys(("validation_data", "history"), "write def on_setup(self, loop, moment): self.loop = loop, and "
                    "loop.history or loop.evaluate()"),
}  # fmt: skip
OF_MOMENT = {
    **dict.fromkeys(("stop_training", "should_stop", "should_terminate", "terminate"), "write moment.stop('why')"),
    **dict.fromkeys(("log", "log_dict", "log_metrics"), "write reports = ('probe',) in the class of the hook, and "
                    "moment.report(probe=0.5)"),
    **dict.fromkeys(("metrics", "values", "output", "outputs", "loss"), "write moment.logs['loss']"),
    **dict.fromkeys(("global_step", "iteration", "iterations", "batch"), "write moment.step, or moment.step_in_epoch"),
    "current_epoch": "write moment.epoch, which counts those that are complete",
    **dict.fromkeys(("learning_rate", "lr"), "write moment.logs['learning_rate']"),
    **dict.fromkeys(("model", "optimizer", "loop", "trainer", "state"), "write def on_setup(self, loop, moment): "
                    "self.loop = loop; what is in state={...}, the program gives to the hook"),
}  # fmt: skip


def explaining_members(
    instead: Mapping[str, str], never_set: Mapping[str, str] = MappingProxyType({})
) -> Callable[[C], C]:
    """Decorates a class so that a wrong attribute says what to write.

    Args:
        instead: What to do, in words that go on after a colon, by the names of attributes that there are not.
        never_set: The same for names of which setting one is an error, because nobody would read it.
    """

    def decorate(decorated: C) -> C:
        def missing(self: object, name: str) -> object:
            # What TensorFlow asks each object for comes here as well, some microseconds each time that one is set.
            if name not in instead or any(name in vars(each) for each in type(self).__mro__):
                return object.__getattribute__(self, name)  # raises, also what a property has raised, as without this
            return tell(self, name)

        @in_user_lines
        def tell(self: object, name: str) -> NoReturn:
            said = f"{type(self).__name__!r} object has no attribute {name!r}: {instead[name]}."
            raise AttributeError(said, name=name)  # without the object, or Python adds what it takes to be meant

        @in_user_lines
        def set_member(self: object, name: str, value: object) -> None:
            if name in never_set:
                raise AttributeError(f"Nobody would read {name!r} of a {type(self).__name__}: {never_set[name]}.")
            set_as_before(self, name, value)

        # Assigned, and not written in the class, so that type checkers go on refusing what is not there.
        decorated.__getattr__ = missing  # type: ignore[attr-defined]
        set_as_before = vars(decorated).get("__setattr__", object.__setattr__)
        if never_set:
            decorated.__setattr__ = set_member  # type: ignore[method-assign, assignment]
        return decorated

    return decorate
