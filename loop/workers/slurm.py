"""What SLURM says of the processes that it has started."""

import os
import re
import shutil
import subprocess

import tensorflow as tf

COUNT = "SLURM_STEP_NUM_TASKS"  # set by srun in each of the tasks that it starts


def tasks() -> int:
    """Returns how many processes SLURM has started, of which this is one; 1 if it is none of them."""
    # In a job of one task, both are set, too.
    return int(os.environ.get(COUNT) or 1) if "SLURM_PROCID" in os.environ else 1


def of_slurm() -> tf.distribute.cluster_resolver.ClusterResolver | None:
    """Returns who is there; None if SLURM has not started several processes.

    Where a process sees a GPU for each one on its machine, or more, it is given its own by `CUDA_VISIBLE_DEVICES`.
    """
    resolvers = tf.distribute.cluster_resolver
    if (count := tasks()) < 2:
        return None
    gpus, by_machine = _gpus(), os.environ.get("SLURM_STEP_TASKS_PER_NODE", "1")  # such as 4(x2),3
    if gpus >= max(map(int, re.findall(r"\b\d+", by_machine))):
        return resolvers.SlurmClusterResolver(gpus_per_node=gpus)
    # There are none, or each process sees the one that is its own, as with --gpus-per-task=1. TensorFlow would divide
    # them among the processes, which is 0 for each, and fail of that: so it is asked for the addresses alone.
    told = resolvers.SlurmClusterResolver(gpus_per_node=count, gpus_per_task=1, auto_set_gpu=False)
    addresses = told.cluster_spec()
    kind, number = told.get_task_info()
    return resolvers.SimpleClusterResolver(
        addresses, task_type=kind, task_id=number, num_accelerators={"GPU": gpus}, rpc_layer="grpc"
    )


def _gpus() -> int:
    """Returns how many GPUs this process sees. TensorFlow, asked for that, could not join a cluster any more."""
    if not shutil.which("nvidia-smi"):
        return 0
    listed = subprocess.run(["nvidia-smi", "--list-gpus"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return len(re.findall(r"^GPU \d+:", listed.stdout, re.MULTILINE)) if listed.returncode == 0 else 0
