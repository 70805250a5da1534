"""Several processes that train one model: each takes its rows of every batch, and has all of the state.

Read in this order: cluster (who is there), store (what they tell one another), sums (what they add up), step.
"""
