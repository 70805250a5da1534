"""A script that several processes run: python trainer.py '[["case", "argument"], ...]' file."""

import json
import sys

import loop

WORKERS = loop.connect()

import cases  # noqa: E402
import keras  # noqa: E402

plan, file = sys.argv[1:]
results = []
for case, *arguments in json.loads(plan):
    print(f"case {case}.", flush=True)
    keras.utils.set_random_seed(1)
    results.append(cases.CASES[case](WORKERS, *arguments))
with open(file, "w") as out:
    json.dump(results, out)
