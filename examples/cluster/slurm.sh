#!/bin/bash
# Trains on two machines with four GPUs each: one process for each GPU, started by srun. connect(), the first line of the
# script, finds the others from what SLURM says. Submit it with: sbatch examples/cluster/slurm.sh
#SBATCH --job-name=digits
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --time=12:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append

# Two minutes before the time is over, and when the job is preempted, SLURM sends SIGTERM: Preemption saves, and the
# script ends with status 143. Then the job is put into the queue again, and goes on from there. If something fails, a
# machine or a process, all is started anew in this job, three times at most.
for attempt in 1 2 3; do
    srun --kill-on-bad-exit=1 python examples/distributed.py --run_dir="${RUN_DIR:-runs/distributed}"
    status=$?
    case $status in
    0) exit 0 ;;
    143)
        scontrol requeue "$SLURM_JOB_ID"
        exit 143
        ;;
    esac
    echo "Attempt $attempt ended with status $status." >&2
done
exit $status
