"""A training that is killed again and again, at random instants of every phase, and started again each time.

    python tests/crash/kills.py [KILLS] [SEED]

It is killed by SIGKILL, or interrupted twice by SIGINT. Prints a table of the kills by phase, and a line for everything
that is other than in a run that was not killed: the value of a step (in any life, also where it was done again), an
event with its logs, a variable at the end. Exit status 1 if there is such a line.

TensorFlow is imported once, AutoGraph converts each function once, and every life is a fork, which makes everything
else anew. Two trainings run side by side, one of a network from arrays and one of a few variables from a shuffled
dataset. Now and then a bit of the newest checkpoint is flipped between two lives.
"""

import collections
import contextlib
import gc
import hashlib
import json
import mmap
import multiprocessing.pool
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path[:0] = [str(Path(__file__).parents[number]) for number in (2, 1, 0)]

import converted
import keras
import numpy as np
import tensorflow as tf
from watched import Watched

import hooks
import hooks.checkpoint.hook
import hooks.public  # or each life imports it
from loop import ArrayData, Evaluation, Every, Hook, Loop, Moment, Step, supervised

STEPS, ROWS, BATCH = 60, 30, 4  # 8 steps an epoch, the last one of two rows
PHASES = (
    "starting",
    "tidying up",
    "restoring",
    "training",
    "evaluating",
    "taking the snapshot",
    "TensorFlow writes",
    "flushing the files",
    "writing the manifest",
    "committing it",
    "pruning",
    "setting aside",
    "saving after SIGTERM",
    "ending",
    "interrupted twice",
)
TWICE = PHASES[-1]  # by SIGINT, in any of those that need nothing special; what is left then ends by itself
ANYWHERE = [phase for phase in PHASES if phase not in (TWICE, "setting aside", "saving after SIGTERM")]
MAIN, WRITER, WANTED, STOPPING = range(4)  # what the bytes of the shared memory mean
PATIENCE = 60  # seconds; none takes that long to end
SLOW = 0.004  # seconds, at most, for which a life dwells at each point of the phase in which it is to be killed


class Phases:
    """Where a life is, in memory that it shares with the one who kills it."""

    def __init__(self) -> None:
        self._bytes = mmap.mmap(-1, 4)

    def reset(self, wanted: str) -> None:
        self._bytes[:] = bytes([0, 0, PHASES.index(wanted), 0])

    def enter(self, phase: str, who: int = MAIN) -> None:
        """In a life: says where it is. In the phase that is wanted, it stays for a moment."""
        after_sigterm = self._bytes[STOPPING] and who == WRITER and phase != "starting"
        self._bytes[who] = PHASES.index("saving after SIGTERM" if after_sigterm else phase)
        if self._bytes[who] == self._bytes[WANTED]:
            time.sleep(random.SystemRandom().uniform(0, SLOW))  # Python's own stream is part of the training

    def stop(self) -> None:
        self._bytes[STOPPING] = 1

    def now(self) -> set[str]:
        return {PHASES[self._bytes[who]] for who in (MAIN, WRITER)}

    def last(self) -> str:
        """Returns where a life was: where it was to be killed, or else what the writer did, if it did something."""
        wanted = PHASES[self._bytes[WANTED]]
        # With a busy disk, the writer writes while all else is done, and nothing else would ever be counted.
        return wanted if wanted in self.now() else PHASES[self._bytes[WRITER] or self._bytes[MAIN]]


class Marker(Hook):
    """Says in which phase the training is. One stands before `Checkpoint`, and one after it."""

    saves = True  # so that they enclose it at SETTLED, too

    def __init__(self, phases: Phases, *, before: bool) -> None:
        super().__init__(name="before" if before else "after")
        self._phases, self._before = phases, before

    def on_setup(self, loop: Loop, moment: Moment) -> None:
        self._phases.enter("restoring" if self._before else "training")

    def on_eval_begin(self, moment: Moment) -> None:
        self._phases.enter("evaluating")

    def on_eval_end(self, moment: Moment) -> None:
        self._phases.enter("training")

    def on_settled(self, moment: Moment) -> None:
        self._phases.enter("taking the snapshot" if self._before else "ending" if moment.last else "training")


class Log(Hook):
    """Writes a line for each step and each event, by one call of the system, so that a kill leaves whole lines."""

    every = Every(steps=5)

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def write(self, *values: object) -> None:
        os.write(self._file, f"{json.dumps(values)}\n".encode())

    def on_steps(self, first_step: int, values: Mapping[str, np.ndarray]) -> None:
        for i in range(len(values["loss"])):
            self.write("step", first_step + i, {name: of[i].tobytes().hex() for name, of in sorted(values.items())})

    def record(self, moment: Moment) -> None:
        logs = {name: float(value).hex() for name, value in sorted(moment.logs.items())}
        self.write(moment.event, moment.step, [moment.epoch, moment.step_in_epoch, logs, random.random()])

    on_epoch_begin = on_step_end = on_eval_begin = on_eval_end = on_epoch_end = record


Functions = tuple[Callable[..., dict[str, tf.Tensor]], Callable[..., dict[str, tf.Tensor]], dict[str, object]]


def network() -> Functions:
    """Returns the steps and the state of a network with dropout, momentum and gradients accumulated over two steps."""
    layers = [keras.layers.Dense(4, activation="relu"), keras.layers.Dropout(0.3), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input([3]), *layers])
    optimizer = keras.optimizers.SGD(0.05, momentum=0.9, gradient_accumulation_steps=2)
    return (
        *supervised(model, optimizer, keras.losses.MeanSquaredError()),
        {"model": model, "optimizer": optimizer},
    )


def variables() -> Functions:
    """Returns the steps and the state of weights with noise and momentum: a third of what a network takes to trace."""
    weight, speed = (tf.Variable(tf.zeros([3, 1]), name=name) for name in ("weight", "speed"))
    noise = tf.random.Generator.from_seed(1)

    def fit(batch: tuple[tf.Tensor, ...]) -> dict[str, tf.Tensor]:
        x, y = batch
        error = x @ weight - y
        slope = tf.matmul(x, error, transpose_a=True) / tf.cast(tf.shape(x)[0], tf.float32)
        weight.assign_add(speed.assign(0.9 * speed - 0.05 * slope + noise.normal([3, 1], stddev=0.01)))
        return {"loss": tf.reduce_mean(error**2)}

    def validate(batch: tuple[tf.Tensor, ...]) -> dict[str, tf.Tensor]:
        x, y = batch
        return {"loss": tf.reduce_mean((x @ weight - y) ** 2)}

    return fit, validate, {"weight": weight, "speed": speed, "noise": noise}


def make_loop(name: str, *others: Hook) -> Loop:
    """Returns the loop of one of the trainings."""
    keras.utils.set_random_seed(1)
    make, data = TRAININGS[name]
    fit, validate, state = make()

    def train_step(batch: tuple[tf.Tensor, ...]) -> dict[str, tf.Tensor]:
        x, y, row = batch
        weights = tf.range(1.0, tf.cast(tf.shape(row)[0], tf.float32) + 1.0)
        return {**fit((x, y)), "rows": tf.reduce_sum(tf.cast(row, tf.float32) * weights)}  # which, and in what order

    x, y, _ = arrays()
    return Loop(
        Step(train_step),
        data(),
        state=state,
        evaluate=Evaluation(validate, ArrayData((x, y), batch_size=10, shuffle=False)),
        hooks=others,
    )


def arrays() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns features, float32 [30, 3], targets, float32 [30, 1], and the numbers of the rows, int64 [30]."""
    x = np.random.default_rng(5).normal(size=[ROWS, 3]).astype(np.float32)
    return x, x.sum(axis=1, keepdims=True), np.arange(ROWS)


def of_arrays() -> ArrayData:
    return ArrayData(arrays(), batch_size=BATCH, seed=3)


def of_dataset() -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices(arrays()).shuffle(ROWS, seed=3).batch(BATCH).prefetch(2)


TRAININGS: dict[str, tuple[Callable[[], Functions], Callable[[], ArrayData | tf.data.Dataset]]] = {
    "arrays": (network, of_arrays),
    "dataset": (variables, of_dataset),
}


def live(directory: Path, data: str, phases: Phases) -> None:
    """One life: trains to the end, or until it is killed."""
    open_files, setting_up, phase = hooks.checkpoint.hook.open_files, [True], ["starting"]

    def watch(operation: str, name: str, when: str) -> None:
        if setting_up[0]:
            aside = operation == "make" or (name.startswith(("set-aside", "ckpt", "pending")) and operation == "rename")
            phases.enter("setting aside" if aside else "tidying up")
            return
        marks = name.endswith(".json.tmp")
        if operation == "ensure":  # and until the first of its files is flushed
            phase[0] = "TensorFlow writes"
        elif operation == "sync" and name != "." and not marks:
            phase[0] = "flushing the files"
        elif operation == "write" and marks and phase[0] == "flushing the files":
            phase[0] = "writing the manifest"
        elif operation == "rename" and marks:
            phase[0] = "committing it"
        elif phase[0] == "committing it" and operation in ("write", "remove", "rename"):
            phase[0] = "pruning"
        phases.enter(phase[0], WRITER)
        if operation == "rename" and name.startswith("checkpoint.tmp") and when == "after":
            phases.enter("starting", WRITER)  # TensorFlow is told last

    class Begun(Hook):
        saves = True

        def on_setup(self, loop: Loop, moment: Moment) -> None:
            setting_up[0] = False

    hooks.checkpoint.hook.open_files = lambda path, *, make=True: Watched(open_files(path, make=make), watch)
    log = Log(directory / "log.jsonl")
    loop = make_loop(
        data,
        log,
        hooks.EarlyStopping("val_loss", mode="min", patience=99),
        Marker(phases, before=True),
        hooks.Checkpoint(directory / "checkpoints", Every(steps=3), keep=2),
        Begun(),
        Marker(phases, before=False),
        hooks.Preemption(),
    )
    loop.run(steps=STEPS)
    phases.enter("ending")
    variables = {path: v for path, v in loop.state.variables.items() if path != "clock/seconds"}
    bits = {path: hashlib.sha256(tf.io.serialize_tensor(v).numpy()).hexdigest() for path, v in variables.items()}
    log.write("end", loop.step, bits)
    (directory / "converted").write_bytes(converted.told())


def fork(directory: Path, data: str, phases: Phases) -> int:
    """Begins a life and returns its process."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have had it ignored
            with (directory / "errors.txt").open("a") as errors:
                os.dup2(errors.fileno(), 2)
            live(directory, data, phases)
            status = 0
        except SystemExit as ended:
            status = ended.code
        except BaseException:
            sys.excepthook(*sys.exc_info())
        os._exit(status)
    return pid


def kill(pid: int, phases: Phases, wanted: str, rng: random.Random, *, twice: bool) -> bool:
    """Kills a process at some instant of a phase, or interrupts it twice. Returns False if it ended first."""
    sigterm = wanted == "saving after SIGTERM"
    give_up, waiting_for = time.monotonic() + 20, "training" if sigterm else wanted
    while time.monotonic() < give_up:
        if os.waitpid(pid, os.WNOHANG)[0]:
            return False
        if waiting_for in phases.now():
            if waiting_for == "training":
                time.sleep(rng.uniform(0, 0.1))
            if waiting_for == wanted:
                break
            waiting_for = wanted
            phases.stop()
            os.kill(pid, signal.SIGTERM)
        time.sleep(0.0002)
    time.sleep(rng.uniform(0, 0.4 if wanted == "starting" else SLOW))
    return interrupt(pid, rng) if twice else end(pid, signal.SIGKILL)


def end(pid: int, number: int) -> bool:
    os.kill(pid, number)
    os.waitpid(pid, 0)
    return True


def interrupt(pid: int, rng: random.Random) -> bool:
    """Sends SIGINT twice, as who is impatient does. Returns True; raises if it goes on."""
    give_up = time.monotonic() + PATIENCE
    for pause in (rng.uniform(0, 2 * SLOW), 0.0):
        os.kill(pid, signal.SIGINT)  # nobody has waited for it yet, so it is still its number
        time.sleep(pause)
    while time.monotonic() < give_up:
        if os.waitpid(pid, os.WNOHANG)[0]:
            return True
        time.sleep(0.0002)
    end(pid, signal.SIGKILL)
    raise RuntimeError(f"A life still went on {PATIENCE} seconds after it was interrupted twice.")


def rot(directory: Path, rng: random.Random) -> bool:
    """Flips a bit of the newest checkpoint, if there is another one; returns whether there is."""
    manifests = sorted(directory.glob("checkpoints/ckpt-*.json"), key=lambda path: int(path.stem[5:]))
    if len(manifests) > 1:
        path = next(directory.glob(f"checkpoints/{manifests[-1].stem}.data*"))
        content = bytearray(path.read_bytes())
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(content)
    return len(manifests) > 1


def lines(directory: Path) -> list[tuple[tuple[str, int], object]]:
    """Returns what was logged: (event, step) and what belongs to it."""
    logged = (directory / "log.jsonl").read_text().splitlines() if (directory / "log.jsonl").exists() else []
    return [((event, step), what) for event, step, what in map(json.loads, logged)]


class Campaign:
    """Kills one training until enough kills have been counted.

    Attributes:
        kills: How many there were, by phase and data.
        differences: What was other than in the uninterrupted run.
    """

    def __init__(self, root: Path, seed: int) -> None:
        self.kills: collections.Counter[tuple[str, str]] = collections.Counter()
        self.runs: collections.Counter[str] = collections.Counter()
        self.differences: list[str] = []
        self._root, self._seed = root, seed

    def prepare(self, data: str) -> None:
        """Trains without an interruption."""
        whole, phases = self._root / data / "whole", Phases()
        whole.mkdir(parents=True)
        phases.reset("starting")
        if os.waitpid(fork(whole, data, phases), 0)[1]:
            raise RuntimeError(f"The uninterrupted run failed: {(whole / 'errors.txt').read_text()[-3000:]}")
        converted.convert((whole / "converted").read_bytes())

    def wage(self, data: str, kills: int) -> None:
        rng, phases = random.Random(f"{self._seed} {data}"), Phases()
        reference = dict(lines(self._root / data / "whole"))
        while sum(count for (_, of), count in self.kills.items() if of == data) < kills:
            directory = self._root / data / f"run-{self.runs[data]}"
            directory.mkdir()
            self._run(directory, data, phases, rng)
            found = lines(directory)
            wrong = [f"{data}, {directory.name}: {key} differs" for key, what in found if reference.get(key) != what]
            wrong += [f"{data}, {directory.name}: {key} is missing" for key in reference.keys() - dict(found).keys()]
            if wrong:
                self.differences += wrong
            else:
                shutil.rmtree(directory)

    def _run(self, directory: Path, data: str, phases: Phases, rng: random.Random) -> None:
        """One training from its beginning to its end, which is killed about a dozen times."""
        for _ in range(12):
            least = sorted(PHASES, key=lambda phase: (self.kills[phase, data], rng.random()))
            wanted = least[0]
            if (wanted == "setting aside" or rng.random() < 0.03) and not rot(directory, rng):
                wanted = next(phase for phase in least if phase != "setting aside")  # there is nothing yet to set aside
            aim = rng.choice(ANYWHERE) if wanted == TWICE else wanted
            phases.reset(aim)
            pid = fork(directory, data, phases)
            if kill(pid, phases, aim, rng, twice=wanted == TWICE):
                self.kills[TWICE if wanted == TWICE else phases.last(), data] += 1
            elif ("end", STEPS) in dict(lines(directory)):
                break
        phases.reset("starting")
        if status := os.waitstatus_to_exitcode(os.waitpid(fork(directory, data, phases), 0)[1]):
            errors = (directory / "errors.txt").read_text()[-2000:]
            self.differences.append(f"{data}, {directory.name}: the last life ended with status {status}: {errors}")
        self.runs[data] += 1


def table(campaign: Campaign) -> str:
    rows = [f"{'killed while':26}" + "".join(f"{data:>10}" for data in TRAININGS)]
    rows += [f"{phase:26}" + "".join(f"{campaign.kills[phase, data]:10}" for data in TRAININGS) for phase in PHASES]
    total = [sum(campaign.kills[phase, data] for phase in PHASES) for data in TRAININGS]
    rows.append(f"{'together':26}" + "".join(f"{count:10}" for count in total))
    return "\n".join(rows)


def main(kills: int, seed: int) -> int:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as root:
        campaign, began = Campaign(Path(root), seed), time.monotonic()
        for data in TRAININGS:  # one after the other: nothing is forked while something is converted
            campaign.prepare(data)
        gc.collect()
        gc.freeze()  # or each collection of a life would copy all pages that it has of this process
        # Lives are forked by threads; the process itself never runs an operation, so its children can.
        with contextlib.closing(multiprocessing.pool.ThreadPool(len(TRAININGS))) as pool:
            waged = pool.map_async(lambda data: campaign.wage(data, -(-kills // len(TRAININGS))), TRAININGS)
            with contextlib.suppress(KeyboardInterrupt):  # then what there is until now is told
                waged.get()
        print(table(campaign))
        runs, seconds = sum(campaign.runs.values()), time.monotonic() - began
        print(f"{runs} trainings, each {STEPS} steps, in {seconds:.0f} s; seed {seed}.")
        print(f"Other than without kills: {len(campaign.differences)}", *campaign.differences, sep="\n", flush=True)
        return bool(campaign.differences)


if __name__ == "__main__":
    arguments = [int(argument) for argument in sys.argv[1:]]
    sys.exit(main(*[*arguments, *[1000, random.SystemRandom().randrange(10**6)][len(arguments) :]]))
