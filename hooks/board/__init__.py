"""What `tensorboard.py` writes, and how.

`event_file.py` is a file with each point once, whatever happens; `event_cut.py` cuts from one what a restored run does
again. `summaries.py` are pictures, texts and histograms; `drawings.py` is what is shown every so often and at the
start; `recorded.py` takes what `tf.summary` writes.

It may import `shared`.
"""
