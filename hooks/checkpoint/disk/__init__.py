"""What checkpoints ask of the place where their files are, and who may write there.

`files.py` is the protocol, `local.py` and `remote.py` have it, `directory.py` says which one it is. Beside them:
`lock.py` and `durable.py` (of this machine), `stems.py` (names), `state_file.py` (TensorFlow's own list), `errors.py`
(whether a file is damaged, or only out of reach).

It may import `record`.
"""
