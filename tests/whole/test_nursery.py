"""Processes that are forked behave as those that import everything themselves."""

import os
import signal
import subprocess
from pathlib import Path

import nursery
import pytest

ENDS = {  # what a process does, how it ends, and what it says in its last line of errors
    "print('said')": (0, ""),
    "import sys; sys.exit(3)": (3, ""),
    "import sys; sys.exit('no')": (1, "no"),
    "1 / 0": (1, "ZeroDivisionError: division by zero"),
    "raise KeyboardInterrupt": (-signal.SIGINT, "KeyboardInterrupt"),
    "import os; os.kill(os.getpid(), 9)": (-signal.SIGKILL, ""),
    "import threading, time; threading.Thread(target=lambda: [time.sleep(0.1), print('late')]).start()": (0, ""),
    "import atexit, os; atexit.register(os.write, 1, b'at last')": (0, ""),
}


@pytest.mark.parametrize("code", ENDS)
@pytest.mark.parametrize("own", [False, True], ids=["forked", "of its own"])
def test_it_ends_and_says_what_it_would_say(code: str, own: bool) -> None:
    if own:
        with nursery.execute("-c", code, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            said, errors = process.communicate()
        status = process.returncode
    else:
        done = nursery.run("-c", code)
        status, said, errors = done.returncode, done.stdout, done.stderr
    assert (status, errors.splitlines()[-1] if errors else "") == ENDS[code]
    assert said.strip() == next((word for word in ("said", "late", "at last") if word in code), "")
    assert "forking.py" not in errors


def test_a_script_has_its_arguments_directory_environment_and_input(tmp_path: Path) -> None:
    script = tmp_path / "elsewhere" / "script.py"
    script.parent.mkdir()
    (script.parent / "beside.py").write_text("NAME = 'beside'")
    script.write_text("import beside, os, sys\nprint(sys.argv, os.getcwd(), os.environ['A'], input(), beside.NAME)")
    done = nursery.run(script, "one", given="read\n", env={"A": "given"}, cwd=tmp_path)
    assert done.stdout == f"{[str(script), 'one']} {tmp_path} given read beside\n", done.stderr


def test_it_hears_signals_and_is_the_first_of_its_group_if_it_is_to_be() -> None:
    code = "import os, time; print(os.getpid(), os.getpgid(0), flush=True); time.sleep(600)"
    for new, number in ((False, signal.SIGTERM), (True, signal.SIGKILL)):
        with nursery.start("-c", code, stdout=subprocess.PIPE, start_new_session=new) as child:
            assert child.stdout is not None
            pid, group = map(int, child.stdout.readline().split())
            assert (pid, group == pid, child.poll()) == (child.pid, new, None)
            if new:
                os.killpg(group, number)
            else:
                child.send_signal(number)
            assert child.wait() == -number


def test_one_that_does_not_end_in_time_is_ended() -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        nursery.run("-c", "import time; time.sleep(600)", timeout=0.2)


def test_processes_that_follow_one_another_hash_differently() -> None:
    said = [nursery.run("-c", "print(hash('x'))").stdout for _ in range(3)]
    assert said[0] == said[2] != said[1]
