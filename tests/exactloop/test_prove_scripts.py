"""Scripts as people write them, proved by the command: those that are exact, and those in which a proof was blind."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from places import environment

EXACTLOOP = str(Path(sys.executable).with_name("exactloop"))
Prove = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def prove(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Prove:
    """Returns what proves a script of these lines, in a temporary directory in which nothing else is."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    monkeypatch.chdir(tmp_path)

    def run(text: str, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        Path("script.py").write_text(text)
        command = [EXACTLOOP, "prove", "script.py", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, input=given)

    return run


AWKWARD = """
import pathlib, subprocess, sys, threading
import keras, proved
from hooks import Checkpoint, restore
from loop import Every
from sibling import EPOCHS
first = [keras.Sequential([keras.Input([6]), keras.layers.Dense(1)]) for _ in range(2)]
restore("pretrained", {"model": first[0]})
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600) # child-of-a-life"])
loop = proved.make_loop()

@loop.on("epoch_end")
def witness(moment): pass

threading.Thread(target=loop.run, kwargs={"epochs": int(input()) * EPOCHS}).start()
"""
PRETRAINED = """
import keras, numpy as np
from hooks import Checkpoint
from loop import ArrayData, Loop
model = keras.Sequential([keras.Input([6]), keras.layers.Dense(1)])
data = ArrayData(np.ones([2, 1]), batch_size=2, seed=1)
Loop(lambda batch: {"x": batch[0][0]}, data, state={"model": model}, hooks=[Checkpoint("pretrained")]).run(epochs=1)
"""


def processes(text: str) -> list[str]:
    """Returns those that have this text in their command line."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            found += [process.name] if text.encode() in (process / "cmdline").read_bytes() else []
        except OSError:
            continue  # it has ended just now
    return found


@pytest.mark.long
def test_a_script_with_a_pipe_a_child_a_thread_a_warm_start_and_a_link_is_proved(prove: Prove, tmp_path: Path) -> None:
    Path("elsewhere").mkdir()
    Path("elsewhere/sibling.py").write_text("EPOCHS = 1")
    Path("elsewhere/real.py").write_text(AWKWARD)
    Path("script.py").symlink_to("elsewhere/real.py")
    subprocess.run([sys.executable, "-c", PRETRAINED], check=True)
    done = prove(AWKWARD, "--kills", "1", given="2\n")
    assert re.search("exact: 1 kill, 8 steps, 0 differences\n$", done.stdout), done
    assert (done.returncode, processes("child-of-a-life"), [*Path("temporary").glob("exactloop-*")]) == (0, [], [])


@pytest.mark.more
def test_a_proof_that_is_ended_takes_everything_with_it(prove: Prove) -> None:
    prove("import time; time.sleep(600)", "--kills=few")  # writes the script
    with subprocess.Popen([EXACTLOOP, "prove", "script.py", "--", "of-a-proof-that-is-ended"]) as process:
        while not [*Path("temporary").glob("*/*.jsonl")] or len(processes("of-a-proof-that-is-ended")) < 2:
            time.sleep(0.1)
        time.sleep(1)
        process.send_signal(signal.SIGTERM)
    assert process.returncode == 128 + signal.SIGTERM
    assert (processes("of-a-proof-that-is-ended"), [*Path("temporary").glob("exactloop-*")]) == ([], [])


@pytest.mark.more
def test_a_function_in_a_package_is_proved_though_it_is_wrapped(prove: Prove, tmp_path: Path) -> None:
    Path("package").mkdir()
    Path("package/__init__.py").touch()
    Path("package/wrapper.py").write_text(
        "import functools\ndef logged(f):\n    @functools.wraps(f)\n    def inner(): return f()\n    return inner\n"
    )
    Path("package/mine.py").write_text(
        "import proved\nfrom .wrapper import logged\n@logged\ndef make_loop(): return proved.make_loop()\n"
    )
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from package.mine import make_loop"
    code += "; from exactloop import prove; print(prove(make_loop, epochs=2, kills=1))"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "exact: 1 kill, 8 steps, 0 differences\n", done


FORKED = """
import multiprocessing

def train():
    import proved
    proved.make_loop().run(epochs=2)

if __name__ == "__main__":
    child = multiprocessing.get_context("fork").Process(target=train)
    child.start()
    child.join()
"""


@pytest.mark.long
def test_a_loop_in_a_process_that_the_script_forks_is_proved(prove: Prove) -> None:
    done = prove(FORKED, "--kills", "1")
    assert done.stdout.endswith("exact: 1 kill, 8 steps, 0 differences\n"), done


UNPROVED = """
import proved, sys
loop = proved.make_loop()
loop.hooks.remove("checkpoint")
if sys.argv[1:]:
    loop.hooks.add(proved.Checkpoint("mine", proved.Every(steps=int(sys.argv[1]))))
loop.run(steps=int(sys.argv[2]) if sys.argv[1:] else 10**9)
"""


@pytest.mark.long
def test_what_cannot_be_proved_is_said_before_it_trains_and_each_remedy_works(prove: Prove) -> None:
    done = prove(UNPROVED)  # or else it would train for months
    assert done.returncode == 3, done
    assert "not proved: whenever it is killed, it begins again from nothing, because the loop has no" in done.stdout
    assert "hooks=[Checkpoint(directory, Every(steps=20))]" in done.stdout
    done = prove(UNPROVED, "--json", "--kills=1", "--", "20", "4")
    assert (done.returncode, json.loads(done.stdout)["exact"], json.loads(done.stdout)["kills"]) == (3, False, []), done
    assert "Checkpoint(directory, Every(steps=2))" in json.loads(done.stdout)["unproved"]
    done = prove(UNPROVED, "--kills=1", "--", "2", "4")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "exact: 1 kill, 4 steps, 0 differences"), done


WRONG = {
    "best weights put back at the end": (
        """
class Best(proved.Hook):
    best = None

    def on_epoch_end(self, moment):
        self.best = self.best or [variable.numpy() for variable in loop.state.weights().values()]

    def on_run_end(self, moment):
        for variable, best in zip(loop.state.weights().values(), self.best):
            variable.assign(best)

loop.hooks.add(Best())
""",
        r"step 12 .*the end of run\(\): .* differ(?s:.)*the attribute 'best' of Best",
    ),
    "an average that only a hook has": (
        """
average = []

@loop.on("epoch_end")
def update(moment):
    average.extend([] if average else [proved.tf.Variable(0.0)])
    average[0].assign_add(moment.logs["loss"])
""",
        r"the end of run\(\): Variable:0 of hook 'update', which no checkpoint holds, differs",
    ),
    "values that are changed when all is trained": (
        """
import sys
counted = []

@loop.on("epoch_end")
def count(moment):
    counted.append(moment.epoch)

loop.run(epochs=3)
kernel = next(iter(loop.state.weights().values()))
kernel.assign(kernel * len(counted))
sys.exit()
""",
        r"step 12 .*the end of the program: model/.* differs(?s:.)*the outer 'counted' is changed",
    ),
    "chunks that are counted": (
        """
class Counter(proved.Hook):
    def __init__(self):
        super().__init__()
        self.count = proved.tf.Variable(0)

    def on_steps(self, first_step, values):
        self.count.assign_add(1)

loop.hooks.add(Counter())
""",
        r"SETTLED: hooks/counter/count differs\n.*\n.*does a hook count its calls",
    ),
    "random numbers by a counter": (
        """
history = []

@loop.on("epoch_end")
def draw(moment):
    history.append(1)
    if len(history) == 1:
        proved.random.random()
""",
        r"SETTLED: Python's or NumPy's random state differs(?s:.)*the outer 'history' is changed",
    ),
    "another directory each time": (
        """
import tempfile
loop.hooks.remove("checkpoint")
loop.hooks.add(proved.Checkpoint(tempfile.mkdtemp(), proved.Every(steps=3)))
loop.run(steps=5)
""",
        r"not proved: whenever it is killed, .* because it does not take up what it had saved\. Give",
    ),
    "an earlier run removed": (
        """
import pathlib, shutil
pathlib.Path("mine").mkdir(exist_ok=True)
shutil.rmtree("mine")
loop.hooks.remove("checkpoint")
loop.hooks.add(proved.Checkpoint("mine/checkpoints", proved.Every(steps=3)))
""",
        r"exact: 2 kills, 12 steps, 0 differences\nNote: The program removed /.*/mine\. Only what hooks write",
    ),
}


@pytest.mark.long
@pytest.mark.parametrize("wrong", WRONG)
def test_what_a_proof_could_be_blind_to_is_seen(wrong: str, prove: Prove) -> None:
    text, said = WRONG[wrong]
    done = prove(
        f"import proved\nloop = proved.make_loop()\n{text}\nloop.run(epochs=3)\n", "--kills", "1", "--at", "10"
    )
    assert re.search(said, done.stdout + done.stderr), done
