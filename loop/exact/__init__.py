"""Would a resumed run end with the same bits? Three questions, answered on what was traced.

Is everything in a checkpoint (`step_audit.py`, `pipeline_audit.py`, `stage_audit.py`)? Is it the same program
(`fingerprint.py` on `program.py` and `labels.py`, `pipeline_hash.py` on `files.py`, which asks `file_contents.py`,
`records.py` and `tar.py` on `bytes_of.py`, `outside.py` on `constants.py`, `sketch.py`, `text.py`, `despite_seed.py`,
`draws_in_python.py`, `drawn_names.py` on `assigned.py`, `drawn_shapes.py`, `given.py`, `set_order.py`)? Has Python
changed since (`traced.py`, `watched.py`, `reach.py`, `compared.py`; `holders.py` has the words)? `graph.py`,
`pipeline.py` and `tables.py` read what was traced, and `origins.py` says what a tensor comes of. It may import `errors`
and what stands beside the rooms at the bottom: `tensors.py`, `digest.py`, `comparable.py`.
"""
