"""A script that several processes run: python worker.py '[["case", "argument"], ...]' file."""

import json
import sys

import loop

WORKERS = loop.connect()

import file_cases  # noqa: E402
import hostile_cases  # noqa: E402
import keras  # noqa: E402
import worker_cases  # noqa: E402

CASES = worker_cases.CASES | file_cases.CASES | hostile_cases.CASES
plan, file = sys.argv[1:]
results = []
for case, *arguments in json.loads(plan):
    print(f"case {case}.", flush=True)
    keras.utils.set_random_seed(1)
    results.append(CASES[case](WORKERS, *arguments))
with open(file.replace("{rank}", str(WORKERS.rank)), "w") as out:
    json.dump(results, out)
