"""What every hook may use, and no hook is.

To say things: `figures.py`, `plain.py`, `progress_line.py`. To decide: `monitor.py` (which of two values is better),
`in_time.py` (when to look at values that come without a halt). State: `numbers.py`, `rates.py`, `texts.py`. Files:
`paths.py`, `places.py` (who writes where), `flushing.py`, and for logs of rows `row_format.py`, `row_file.py` and
`row_hook.py`.

It may import the public names of `loop`.
"""
