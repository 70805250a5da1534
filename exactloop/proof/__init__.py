"""How a proof is made: run, kill, run again, compare.

Read `proof.py`, which does it, with `trial.py` (killed again and again) and `provable.py` (if it could be proved); then
`kill_plan.py` (where to kill), `config.py` (what parent and child agree on), `process.py` and
`child.py` (the two sides), `recorder.py`, `disk.py` and `journal.py` (what is noted), `compare.py`, and `cause.py` with
`suspects.py` (what a difference is likely to come from) and `notes.py` (what else is worth knowing). It may import
`hooks` and `loop`.
"""
