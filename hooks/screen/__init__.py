"""What `progress.py` shows, and when.

`progress_bar.py` draws a line again and again, on a terminal as its last one (`last_line.py`), above which others write
(`beside.py`); `pace.py` is how fast a run is, `best_so_far.py` marks values, and `ticker.py` looks at what takes long
while the loop is in it.

It may import `shared`.
"""
