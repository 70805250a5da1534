"""The files that start a script on a cluster, as far as they can be looked at without one."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from places import ROOT

from exactloop.launching.places import HOST
from loop.workers.slurm import of_slurm

SLURM, KUBERNETES = (ROOT / "examples/cluster" / name for name in ("slurm.sh", "kubernetes.yaml"))


@pytest.mark.parametrize(
    ("statuses", "ended", "starts", "requeued"),
    [
        ([0], 0, 1, False),
        ([143], 143, 1, True),
        ([1, 0], 0, 2, False),
        ([1, 143], 143, 2, True),
        ([1, 9, 7], 7, 3, False),
    ],
)
def test_a_job_of_slurm_starts_anew_or_goes_back_into_the_queue(
    statuses: list[int], ended: int, starts: int, requeued: bool, tmp_path: Path
) -> None:
    bodies = {
        "srun": f'echo "$@" >> {tmp_path}/starts; set -- {" ".join(map(str, statuses))}; '
        f"shift $(($(wc -l < {tmp_path}/starts) - 1)); exit $1",
        "scontrol": f'echo "$@" > {tmp_path}/requeued',
    }
    for name, body in bodies.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "17", "RUN_DIR": "/runs/a"}
    done = subprocess.run(["bash", str(SLURM)], env=environment, stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == ended
    started = (tmp_path / "starts").read_text().splitlines()
    assert started == ["--kill-on-bad-exit=1 python examples/distributed.py --run_dir=/runs/a"] * starts
    assert (ROOT / started[0].split()[2]).is_file()
    assert (tmp_path / "requeued").exists() == requeued
    assert not requeued or (tmp_path / "requeued").read_text() == "requeue 17\n"


@pytest.mark.parametrize(
    ("seen", "own", "sees"),
    [
        pytest.param("for i in 0 1 2 3; do echo GPU $i: H; done", "1", 1, id="all of the machine's"),
        pytest.param("echo GPU 0: H", "unset", 1, id="each its own"),  # by --gpus-per-task=1
        pytest.param("echo no driver; exit 9", "unset", 0, id="no driver"),
        pytest.param("", "unset", 0, id="none"),
    ],
)
def test_a_job_of_slurm_has_processes_which_find_one_another_whatever_gpus_they_see(
    seen: str, own: str, sees: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = dict(re.findall(r"^#SBATCH --([a-z-]+)=(\S+)$", SLURM.read_text(), re.MULTILINE))
    nodes, tasks = int(asked["nodes"]), int(asked["ntasks-per-node"])
    assert tasks == int(asked["gpus-per-node"])
    assert asked["signal"].startswith("TERM@")
    said = {
        "SLURM_STEP_NODELIST": f"node[01-{nodes:02}]",
        "SLURM_STEP_NUM_TASKS": str(nodes * tasks),
        "SLURM_STEP_TASKS_PER_NODE": f"{tasks}(x{nodes})",
        "SLURM_PROCID": "5",
    }
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "unset")  # and put back, whatever is written there
    if seen:
        (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{seen}\n")
        (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    resolver = of_slurm()
    assert resolver is not None
    addresses = resolver.cluster_spec().as_dict()["worker"]
    assert addresses == [f"node0{node}:{8888 + task}" for node in range(1, nodes + 1) for task in range(tasks)]
    assert (resolver.task_type, resolver.task_id) == ("worker", 5)
    assert resolver.num_accelerators() == {"GPU": sees}  # of this process; TensorFlow's strategy believes it
    assert os.environ["CUDA_VISIBLE_DEVICES"] == own


def test_the_pods_of_kubernetes_are_the_hosts_that_are_launched() -> None:
    text = KUBERNETES.read_text()
    (name,) = {*re.findall(r"^  name: (\S+)$", text, re.MULTILINE)}  # of the service and the job
    for key in ("job-name", "subdomain"):
        assert re.findall(rf"^ +{key}: (\S+)$", text, re.MULTILINE) == [name]
    (hosts,) = re.findall(r"--hosts=(\S+)", text)
    (pods,) = {*re.findall(r"^  (?:completions|parallelism): (\d+)$", text, re.MULTILINE)}
    (port,) = {*re.findall(r"(?:containerPort|- port): (\d+)$", text, re.MULTILINE)}
    assert hosts.split(",") == [f"{name}-{i}.{name}:{port}" for i in range(int(pods))]
    assert all(HOST.fullmatch(host) for host in hosts.split(","))
    assert "--rank=$JOB_COMPLETION_INDEX" in text
    (script,) = re.findall(r"(\S+\.py) --", text)
    assert (ROOT / script).is_file()
    (mounted,) = re.findall(r"mountPath: (\S+)$", text, re.MULTILINE)
    assert f"--run_dir={mounted}/" in text
