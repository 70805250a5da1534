"""Whether somebody else has started several of this process. Without TensorFlow."""

import os

TASKS = "SLURM_STEP_NUM_TASKS"  # set by srun in each of the tasks that it starts


def refuse_in_cluster(why: str) -> None:
    """Raises `ValueError` where a script that is started from here would join a cluster.

    Args:
        why: What is done instead, in a sentence, and what to write.
    """
    if os.environ.get("TF_CONFIG"):
        raise ValueError(f"This process is one of a cluster: TF_CONFIG is set. {why}, and unset TF_CONFIG.")
    if (count := int(os.environ.get(TASKS) or 1)) > 1:
        raise ValueError(f"This process is one of a cluster: SLURM runs it {count} times. {why}, with srun --ntasks=1.")
