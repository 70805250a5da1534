"""A script that several processes run: python trainer.py case file."""

import json
import sys

import loop

WORKERS = loop.connect()

import cases  # noqa: E402
import keras  # noqa: E402

case, *arguments, file = sys.argv[1:]
keras.utils.set_random_seed(1)
result = cases.CASES[case](WORKERS, *arguments)
with open(file, "w") as out:
    json.dump(result, out)
