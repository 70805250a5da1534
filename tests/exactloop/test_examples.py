"""The examples: each is run, killed and resumed, proved exact, and comes to what its docstring says."""

import re
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest
from places import ROOT, environment

from exactloop.launching.places import on_loopback
from exactloop.proving import prove_script


class Example(NamedTuple):
    """An example.

    Attributes:
        small: The arguments of a short run.
        at: A step at which that is killed.
        printed: What a whole run prints, with the figure in a group.
        least: What the figure is at least; if negative, the most that it is.
        claim: Where the docstring says so.
    """

    small: str
    at: int
    printed: str = ""
    least: float = 0.0
    claim: str = ""


EXAMPLES = {
    "digits": Example("--epochs=2", 15),
    "simclr": Example(
        "--epochs=2",
        15,
        r"tell (\d+)\.\d+% of the others after 440 steps: 40 epochs are complete",
        84,
        "After 40 epochs it tells more than 84 % of them",
    ),
    "dqn": Example(
        "--steps=300",
        150,
        r"kept up for (\d+) moves on average: 4000 steps are complete",
        120,
        "the pole is kept up for\nmore than 120 moves",
    ),
    "from_keras": Example(
        "--epochs=2",
        15,
        r"the values of 8 epochs differ by (\d\.\d+) at most",
        -0.0001,
        "no value of any epoch differs by more than 0.0001",
    ),
    "distributed": Example(  # by one process here
        "--epochs=2",
        15,
        r"Validation accuracy (\d+)\.\d+% after 460 steps: 20 epochs are complete",
        98,
        "After 20 epochs\nmore than 98 % of the scans that it was not trained on are told right",
    ),
    "gpt": Example(
        "--steps=60",
        55,
        r"ema_loss (\d\.\d+); bigrams 2\.4\d after 600 steps",
        -2.1,
        "it needs less than\n2.1 nats for a byte",
    ),
    "gan": Example(
        "--epochs=11",
        95,
        r"as near as (\d\.\d+) after 1350 steps: 150 epochs are complete",
        -0.7,
        "After 150 epochs it has been below 0.7.",
    ),
}


IN_MORE = ("digits", "from_keras", "distributed")  # the others take long


@pytest.mark.more
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long) if name not in IN_MORE else name for name in EXAMPLES]
)
def test_an_example_is_exact(name: str) -> None:
    example = EXAMPLES[name]
    proof = prove_script(str(ROOT / f"examples/{name}.py"), example.small, kills=2, at=[example.at])
    assert proof.exact, proof
    assert len(proof.kills) >= 2


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name, example in EXAMPLES.items() if example.claim])
def test_an_example_comes_to_what_it_says(name: str, tmp_path: Path) -> None:
    script, example = ROOT / f"examples/{name}.py", EXAMPLES[name]
    command = [sys.executable, str(script), f"--run_dir={tmp_path}"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
    told = re.search(example.printed, done.stdout)
    assert told, done
    assert float(told[1]) * (-1 if example.least < 0 else 1) >= example.least
    assert example.claim in script.read_text(encoding="utf-8")


@pytest.mark.long
def test_two_workers_of_which_one_is_killed_end_with_the_bits_of_two_that_are_not(tmp_path: Path) -> None:
    said = []
    for name, more in {"whole": [], "killed": ["--kill_after=60"]}.items():
        command = [sys.executable, "-m", "exactloop", "launch", "--workers=2", "--max-restarts=1"]
        command += [str(ROOT / "examples/distributed.py"), "--", f"--run_dir={tmp_path / name}", "--epochs=3", *more]
        done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done
        assert ("Starting all anew: restart 1 of 1." in done.stderr) == (name == "killed")
        said += re.findall(r"after 69 steps: 3 epochs are complete\. Weights ([0-9a-f]{16})\.", done.stdout)
    assert len(said) == 2, said
    assert said[0] == said[1]


@pytest.mark.long
def test_a_signal_at_the_launcher_saves_what_all_workers_have(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "exactloop", "launch", "--workers=2", "--max-restarts=1"]
    command += [str(ROOT / "examples/distributed.py"), "--", f"--run_dir={tmp_path}", "--epochs=1000"]
    with subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while not (line := process.stderr.readline()).startswith("epoch "):
            assert line, process.wait()
        process.terminate()
        said = process.communicate(timeout=300)[1]
    assert process.returncode == 143, said
    assert "Starting all anew" not in said
    steps = [int(path.stem.removeprefix("ckpt-")) for path in tmp_path.glob("checkpoints/ckpt-*.json")]
    assert max(steps) >= 23  # the first line is shown after an epoch


@pytest.mark.long
def test_on_two_machines_one_that_comes_back_is_waited_for(tmp_path: Path) -> None:
    """Each machine has a launcher; here both are on this one, and one is killed and started again."""
    with on_loopback(2) as places:
        hosts = f"--hosts={','.join(places.addresses)}"
    command = [sys.executable, "-m", "exactloop", "launch", hosts, "--max-restarts=2"]
    script = [str(ROOT / "examples/distributed.py"), "--", f"--run_dir={tmp_path}", "--epochs=8"]

    def start(rank: int) -> subprocess.Popen[str]:
        return subprocess.Popen([*command, f"--rank={rank}", *script], env=environment(), stdout=out, stderr=err)

    with (tmp_path / "out").open("w") as out, (tmp_path / "err").open("w") as err:
        launchers = [start(0), start(1)]
        try:
            while "epoch 2" not in (tmp_path / "err").read_text():
                assert [each.poll() for each in launchers] == [None, None], (tmp_path / "err").read_text()
                time.sleep(0.1)
            launchers[1].kill()
            while "Starting all anew: restart 1 of 2." not in (tmp_path / "err").read_text():
                assert launchers[0].poll() is None, (tmp_path / "err").read_text()
                time.sleep(0.1)
            launchers.append(start(1))
            assert [each.wait(300) for each in (launchers[0], launchers[2])] == [0, 0], (tmp_path / "err").read_text()
        finally:
            for each in launchers:
                each.kill()
                each.wait()
    assert "after 184 steps: 8 epochs are complete" in (tmp_path / "out").read_text()
