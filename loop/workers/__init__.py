"""Several processes that train one model: each takes its rows of every batch, and has all of the state.

Read in this order: joining, slurm, tf_config, meeting, starting and cluster (who is there), store (what they tell one
another), collective (how they add up), rows (who trains on what), sums and losses (what a step adds up), together (what
a step leaves), failures (who has gone) and waits (who waits elsewhere).

It may import what stands below it: `tf_internals`, `errors`, `tensors.py`.
"""
