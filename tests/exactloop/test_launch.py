"""`exactloop launch`, with scripts that do not import TensorFlow: what starts, what is seen of it, how it ends."""

import contextlib
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from places import ROOT, environment

from exactloop.launching.devices import devices
from exactloop.launching.places import on_hosts, on_loopback

PATIENCE = 60.0  # seconds, for what takes one at most
CLEAN = {name: value for name, value in environment().items() if name not in ("TF_CONFIG", "SLURM_STEP_NUM_TASKS")}
COMMAND = [sys.executable, "-m", "exactloop", "launch"]
ANSWER = """
import json, os, signal, subprocess, sys, time
rank = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
"""
# Starts a process of its own that no signal but SIGKILL ends, and says what their numbers are.
STUBBORN = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(600)"
with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as child:
    child.stdout.readline()
    print("pids", os.getpid(), child.pid)
    time.sleep(600)
"""


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str], str]:
    def write(text: str) -> str:
        (tmp_path / "train.py").write_text(ANSWER + text)
        return str(tmp_path / "train.py")

    return write


def launch(*arguments: str, **more: str) -> tuple[int, list[str], list[str]]:
    """Returns the exit status, and the lines of standard output and standard error, in the order of the alphabet."""
    done = subprocess.run(
        [*COMMAND, *arguments], env={**CLEAN, **more}, capture_output=True, text=True, timeout=PATIENCE, input="given\n"
    )
    return done.returncode, sorted(done.stdout.splitlines()), sorted(done.stderr.splitlines())


@pytest.fixture
def started() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    processes: list[subprocess.Popen[str]] = []

    def start(*command: str) -> subprocess.Popen[str]:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        processes.append(subprocess.Popen(command, env=CLEAN, **pipes))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def said(process: subprocess.Popen[str], lines: int) -> list[str]:
    """Returns the next lines of its output, as words."""
    assert process.stdout is not None
    return [process.stdout.readline().strip() for _ in range(lines)]


def gone(pids: Sequence[int]) -> bool:
    """Returns whether these processes are over, and waits for that."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and any(map(is_running, pids)):
        time.sleep(0.01)
    return not any(map(is_running, pids))


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def numbers(lines: Sequence[str]) -> list[int]:
    return [int(number) for line in lines for number in line.partition("pids ")[2].split()]


def test_each_worker_knows_who_it_is_and_is_told_apart(script: Callable[[str], str]) -> None:
    path = script(
        'config = json.loads(os.environ["TF_CONFIG"])\n'
        'said = [int(os.environ[name]) for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE")]\n'
        "assert said == [rank, rank, 3]\n"
        'print(json.dumps([config["task"]["type"], rank, len({*config["cluster"]["worker"]}), sys.argv[1:]]))\n'
        'print(repr(sys.stdin.read()), "no end of the line", file=sys.stderr, end="")'
    )
    status, out, err = launch("--workers=3", path, "--", "--workers=7", "a b")
    own = ["worker", 3, ["--workers=7", "a b"]]
    lines = [json.dumps([own[0], rank, *own[1:]]) for rank in range(3)]
    assert (status, out) == (0, sorted([lines[0], f"[1] {lines[1]}", f"[2] {lines[2]}"]))
    assert err == sorted(["'' no end of the line", *(f"[{rank}] '' no end of the line" for rank in (1, 2))])


def test_sets_have_one_order_in_all_workers(script: Callable[[str], str]) -> None:
    """And in all starts, as labels have that are numbered in it; unless the environment says otherwise."""
    path = script('print(hash("a"))')
    status, first, _ = launch("--workers=2", path)
    assert (status, len({line.removeprefix("[1] ") for line in first})) == (0, 1)
    assert launch("--workers=2", path)[1] == first
    assert launch("--workers=2", path, PYTHONHASHSEED="7")[1] != first


def test_lines_are_passed_on_whole(script: Callable[[str], str]) -> None:
    path = script('for i in range(300):\n    os.write(1, b"%d " % rank * 200 + b"\\n")\nos.write(1, b"x" * 200_000)')
    status, out, _ = launch("--workers=3", path)
    assert status == 0
    assert [out.count(f"[{rank}] " + f"{rank} " * 200) for rank in (1, 2)] == [300, 300]
    assert "".join(out).count("x") == 3 * 200_000


def test_nobody_has_to_read(script: Callable[[str], str], started: Callable[..., subprocess.Popen[str]]) -> None:
    path = script('if rank:\n    for i in range(5000):\n        print("x" * 100)')
    process = started(*COMMAND, "--workers=2", path)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(PATIENCE) == 0


def test_what_cannot_be_written_ends_no_training(script: Callable[[str], str], tmp_path: Path) -> None:
    path = script(
        'print("x" * 100, flush=True)\nif rank == 1:\n    time.sleep(600)\n'  # until it is ended with the other one
        'open(sys.argv[1], "a").write("x")\nsys.exit(3)'
    )
    with Path("/dev/full").open("w") as full:
        command = [*COMMAND, "--workers=2", "--max-restarts=1", path, "--", str(tmp_path / "starts")]
        done = subprocess.run(command, env=CLEAN, stdout=full, stderr=full, timeout=PATIENCE)
    assert (done.returncode, (tmp_path / "starts").read_text()) == (3, "xx")


def test_output_that_others_have_set_not_to_block_comes_whole(script: Callable[[str], str]) -> None:
    path = script('for i in range(3000):\n    print("x" * 100)')
    read, written = os.pipe()
    os.set_blocking(written, False)  # of the open pipe itself, and so for whoever has it
    with open(read) as lines:
        process = subprocess.Popen([*COMMAND, "--workers=2", path], env=CLEAN, stdout=written)
        os.close(written)
        count = sum(line.endswith("x" * 100 + "\n") for line in lines)
    assert (process.wait(PATIENCE), count) == (0, 6000)


def test_one_that_fails_ends_all_and_they_are_started_anew(script: Callable[[str], str], tmp_path: Path) -> None:
    path = script(
        "while rank != 1 and os.path.getsize(sys.argv[1]) < 3:\n    time.sleep(0.01)\n"
        "with open(sys.argv[1], 'a') as file:\n    starts = file.write('x' * (rank == 1)) and file.tell()\n"
        "if rank == 1 and starts < 3:\n    sys.exit(3)\n"
        "print('done', rank)"
    )
    (starts := tmp_path / "starts").touch()
    status, out, err = launch("--workers=3", "--max-restarts=1", path, "--", str(starts))
    assert (status, out) == (3, [])
    assert [re.sub(r"\(127.0.0.1:\d+\)", "(...)", line) for line in err] == [
        "exactloop launch: Starting all anew: restart 1 of 1.",
        *["exactloop launch: worker 1 (...) ended with status 3; the others were ended."] * 2,
    ]
    status, out, _ = launch("--workers=3", "--max-restarts=1", path, "--", str(starts))
    assert (status, out) == (0, ["[1] done 1", "[2] done 2", "done 0"])
    assert starts.read_text() == "xxx"


def test_one_that_is_killed_ends_also_who_does_not_listen(
    script: Callable[[str], str], started: Callable[..., subprocess.Popen[str]]
) -> None:
    path = script(STUBBORN)
    code = (
        "import sys; from exactloop.launching.launcher import Launcher; from exactloop.launching.places import *\n"
        "command = [sys.executable, sys.argv[1]]\n"
        "with on_loopback(2) as places: sys.exit(Launcher(command, places, grace=0.5).run())"
    )
    process = started(sys.executable, "-c", code, path)
    own = {line.partition("pids")[0]: numbers([line]) for line in said(process, 2)}
    os.kill(own["[1] "][0], signal.SIGKILL)
    assert process.wait(PATIENCE) == 137
    assert gone([*own[""], *own["[1] "]])
    assert process.stderr is not None
    assert "worker 1 (127.0.0.1:" in (text := process.stderr.read())
    assert "was killed by SIGKILL" in text


def test_what_workers_leave_behind_is_ended(script: Callable[[str], str]) -> None:
    path = script("child = subprocess.Popen(['sleep', '600'])\nprint('pids', child.pid)")
    status, out, _ = launch("--workers=2", path)
    assert status == 0
    assert len(numbers(out)) == 2
    assert gone(numbers(out))


def test_no_process_is_left_when_the_launcher_is_killed(
    script: Callable[[str], str], started: Callable[..., subprocess.Popen[str]]
) -> None:
    process = started(*COMMAND, "--workers=2", script(STUBBORN))
    pids = numbers(said(process, 2))
    assert len(pids) == 4
    assert all(map(is_running, pids))
    process.kill()
    assert gone(pids)


def test_no_worker_is_left_when_its_keeper_and_the_launcher_are_killed(
    script: Callable[[str], str], started: Callable[..., subprocess.Popen[str]]
) -> None:
    """As by `pkill -9 -f launch`: the keeper is a fork of the launcher."""
    process = started(*COMMAND, "--workers=2", script("print('pids', os.getpid(), os.getpgrp())\ntime.sleep(600)"))
    first, keeper, second, same = numbers(said(process, 2))
    assert keeper == same
    os.kill(keeper, signal.SIGKILL)
    assert is_running(first)  # which trains on
    process.kill()
    assert gone([first, second])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_signals_are_passed_on(
    number: signal.Signals, script: Callable[[str], str], started: Callable[..., subprocess.Popen[str]]
) -> None:
    """And whoever ends because of one is not started anew."""
    path = script(
        "def heard(number, frame):\n    print('heard', number)\n    sys.exit(128 + number if rank else 0)\n"
        f"signal.signal({int(number)}, heard)\nprint('ready')\ntime.sleep(600)"
    )
    process = started(*COMMAND, "--workers=2", "--max-restarts=3", path)
    said(process, 2)
    process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE)
    assert sorted(out.splitlines()) == [f"[1] heard {int(number)}", f"heard {int(number)}"]
    assert (process.returncode, err) == (128 + number, "")


def test_a_signal_of_before_is_not_for_those_that_are_started_anew(
    script: Callable[[str], str], started: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    path = script(
        "if os.path.exists(f'{sys.argv[1]}-{rank}'):\n    sys.exit(print('again'))\n"
        "open(f'{sys.argv[1]}-{rank}', 'w').close()\nheard = []\n"
        "signal.signal(signal.SIGUSR1, lambda *_: heard.append(1))\nprint('ready')\n"
        "while not heard or rank == 0:\n    time.sleep(0.01)\nsys.exit(3)"
    )
    process = started(*COMMAND, "--workers=2", "--max-restarts=1", path, "--", str(tmp_path / "begun"))
    said(process, 2)
    process.send_signal(signal.SIGUSR1)
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, sorted(out.splitlines())) == (0, ["[1] again", "again"]), err


def test_who_ends_well_after_a_signal_has_ended_well(
    script: Callable[[str], str], started: Callable[..., subprocess.Popen[str]]
) -> None:
    path = script("signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\nprint('ready')\ntime.sleep(600)")
    process = started(*COMMAND, "--workers=2", path)
    said(process, 2)
    process.terminate()
    assert process.wait(PATIENCE) == 0


def test_a_second_signal_kills(script: Callable[[str], str], started: Callable[..., subprocess.Popen[str]]) -> None:
    path = script(
        "signal.signal(signal.SIGINT, lambda *_: print('not yet'))\nprint('ready')\nwhile True:\n    time.sleep(600)"
    )
    process = started(*COMMAND, "--workers=2", "--max-restarts=3", path)
    said(process, 2)
    process.send_signal(signal.SIGINT)
    assert sorted(said(process, 2)) == ["[1] not yet", "not yet"]
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 137


def test_an_ignored_signal_is_ignored_by_all(
    script: Callable[[str], str], started: Callable[..., subprocess.Popen[str]]
) -> None:
    path = script("print(signal.getsignal(signal.SIGHUP) == signal.SIG_IGN)\ntime.sleep(0 if rank else 600)")
    process = started("sh", "-c", 'trap "" HUP; exec "$@"', "sh", *COMMAND, "--workers=2", path)
    assert sorted(said(process, 2)) == ["True", "[1] True"]
    process.send_signal(signal.SIGHUP)
    process.terminate()
    assert process.wait(PATIENCE) == 143


def test_on_a_terminal_worker_0_has_it_and_ctrl_c_is_passed_on_once(script: Callable[[str], str]) -> None:
    path = script(
        "heard = []\nsignal.signal(signal.SIGINT, lambda *_: heard.append(1))\n"
        "print('terminal' if sys.stdout.isatty() else 'pipe')\n"
        "while not heard:\n    time.sleep(0.01)\ntime.sleep(0.2)\nprint('heard', len(heard))"
    )
    ours, theirs = pty.openpty()
    owned = f"import fcntl, os, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv({COMMAND[0]!r}, {COMMAND!r} + "
    code = f"{owned}['--workers=2', {path!r}])"
    terminal = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    with subprocess.Popen([sys.executable, "-c", code], env=CLEAN, start_new_session=True, **terminal) as process:
        os.close(theirs)
        text = ""
        while not ("terminal" in text and "[1] pipe" in text):
            text += os.read(ours, 1000).decode()
        os.write(ours, b"\x03")
        with contextlib.suppress(OSError):  # so it ends where nobody has the terminal any more
            while more := os.read(ours, 1000):
                text += more.decode()
    os.close(ours)
    assert process.returncode == 0, text
    assert text.count("heard 1") == 2


def test_ports_are_held_for_those_who_ask_for_them_by_number() -> None:
    with on_loopback(8) as places:
        ports = [int(address.rpartition(":")[2]) for address in places.addresses]
        assert len({*ports}) == 8
        for port in ports:
            with socket.socket() as server:  # as gRPC's are
                server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                server.bind(("127.0.0.1", port))
                server.listen()
            with socket.socket() as other, pytest.raises(OSError, match="in use"):
                other.bind(("127.0.0.1", port))


def test_hosts_have_workers_from_their_port_on() -> None:
    with on_hosts(["127.0.0.1:7100", "node-2.local:7200", "[::1]:7300"], 0, 2) as places:
        assert places.addresses == [
            *("127.0.0.1:7100", "127.0.0.1:7101", "node-2.local:7200", "node-2.local:7201", "[::1]:7300", "[::1]:7301")
        ]
        assert places.here == range(0, 2)
    with on_hosts(["node-1:7000", "127.0.0.1:7100"], 1, 1) as places:
        assert places.here == range(1, 2)
        said = dict(places.variables(1))
        assert json.loads(said.pop("TF_CONFIG"))["task"] == {"type": "worker", "index": 1}
        assert said == {"RANK": "1", "LOCAL_RANK": "0", "WORLD_SIZE": "2"}
    with on_hosts(["127.0.0.1:7100", "127.0.0.1:7102"], 1, 2) as places:  # two launchers on one machine
        assert len({*places.addresses}) == 4


def test_two_launchers_on_one_machine_start_all_workers(
    script: Callable[[str], str], started: Callable[..., subprocess.Popen[str]]
) -> None:
    path = script("print(len(json.loads(os.environ['TF_CONFIG'])['cluster']['worker']))")
    with on_loopback(2) as places:
        hosts = f"--hosts={','.join(places.addresses)}"
    both = [started(*COMMAND, hosts, f"--rank={rank}", path) for rank in (0, 1)]
    assert [process.communicate(timeout=PATIENCE)[0] for process in both] == ["2\n", "[1] 2\n"]


def test_each_worker_has_a_gpu_of_its_own() -> None:
    assert devices(2, {"CUDA_VISIBLE_DEVICES": "3, MIG-a,5"}) == [
        {"CUDA_VISIBLE_DEVICES": each} for each in ("3", "MIG-a")
    ]
    for none in ("", "-1"):
        assert devices(2, {"CUDA_VISIBLE_DEVICES": none}) == [{}, {}]
    with pytest.raises(ValueError, match=r"Received: 2 workers for 1 GPU\. Write --workers=1"):
        devices(2, {"CUDA_VISIBLE_DEVICES": "0"})


WRONG = {
    "no number": (["train.py"], {}, "--workers says how many processes to start, as in: exactloop launch --workers=4"),
    "none": (["--workers=0", "train.py"], {}, "flag --workers=0"),
    "no script": (["--workers=2"], {}, "another number of arguments is needed"),
    "another script": (["--workers=2", "trian.py"], {}, "There is no script 'trian.py'."),
    "arguments of the script": (
        ["--workers=2", "train.py", "--epochs=3"],
        {},
        "Unknown command line flag 'epochs'. Arguments of the script come after --, as in: exactloop launch train.py",
    ),
    "twice": (["--workers=2", "train.py", "--workers", "3"], {}, "--workers is given twice. Arguments of the script"),
    "no such host": (["--hosts=127.0.0.1:7000,b:7000", "--rank=2", "train.py"], {}, "from 0 to 1. Received: --rank=2."),
    "no rank": (
        ["--hosts=a:7000,b:7000", "train.py"],
        {},
        "--rank says which of the hosts this machine is, from 0 to 1",
    ),
    "no port": (["--hosts=a,b", "--rank=1", "train.py"], {}, "Received: 'a', for 1 workers."),
    "no such port": (["--hosts=a:65535", "--workers=2", "train.py"], {}, "Received: 'a:65535', for 2 workers."),
    "ports that meet": (["--hosts=a:7000,a:7001", "--rank=0", "--workers=2", "train.py"], {}, "listen at a:7001."),
    "a rank alone": (["--workers=2", "--rank=1", "train.py"], {}, "Received: --rank=1 without --hosts."),
    "in a cluster": (["--workers=2", "train.py"], {"TF_CONFIG": "{}"}, "TF_CONFIG is set. Start the script itself"),
    "by srun": (["--workers=2", "train.py"], {"SLURM_STEP_NUM_TASKS": "4"}, "SLURM runs this command 4 times"),
    "too few GPUs": (["--workers=3", "train.py"], {"CUDA_VISIBLE_DEVICES": "0,1"}, "Write --workers=2, or"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_uses_of_launch_are_refused(name: str, tmp_path: Path) -> None:
    arguments, more, message = WRONG[name]
    (tmp_path / "train.py").write_text("print('started')")
    done = subprocess.run(
        [*COMMAND, *arguments], env={**CLEAN, **more}, capture_output=True, text=True, timeout=PATIENCE, cwd=tmp_path
    )
    assert message in done.stderr
    assert (done.returncode, done.stdout) == (2, "")


def test_a_port_that_is_in_use_is_named() -> None:
    with socket.socket() as server:
        server.bind(("", 0))
        server.listen()
        port = server.getsockname()[1]
        with (
            pytest.raises(OSError, match=rf"Port {port} cannot be used .* Name others in --hosts"),
            on_hosts([f"a:{port}"], 0, 1),
        ):
            pass


def test_the_launcher_is_there_without_tensorflow() -> None:
    code = "import sys, exactloop.launching.command; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=CLEAN, cwd=ROOT, timeout=PATIENCE).returncode == 0


@pytest.mark.more
def test_who_has_ended_well_long_before_others_is_named(script: Callable[[str], str]) -> None:
    """Once: a script that ends before it has joined the others would be waited for in silence."""
    path = script("time.sleep(0 if rank == 1 else 3)")
    soon = "from exactloop.launching import crew; crew.APART = 0.1; from exactloop.cli import run; run()"
    command = [sys.executable, "-c", soon, "launch", "--workers=3", path]
    done = subprocess.run(command, env=CLEAN, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0
    (line,) = done.stderr.splitlines()
    assert line.startswith("exactloop launch: worker 1 (127.0.0.1:")
    assert ") ended with status 0, and others go on. Workers that have called loop.connect() end together:" in line
