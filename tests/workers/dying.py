"""A worker that kills itself in certain places, in each once: python dying.py DIRECTORY VICTIM PLACE,... PLAN FILE."""

import itertools
import json
import os
import runpy
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import worker_cases

import hooks.checkpoint.workers.followers as followers
import loop.workers.joining as joining
from hooks.checkpoint.commits.store import Store

directory, victim, named, plan, file = sys.argv[1:]
places = named.split(",")
IS_VICTIM = json.loads(os.environ["TF_CONFIG"])["task"]["index"] == int(victim)


def dying(function: Callable, place: str, when: Callable[..., bool] = lambda *args: True) -> Callable:
    """Returns a function that does what another one does, and kills this process before that if it is its turn."""

    def died(*args: object, **kwargs: object) -> object:
        left = [each for each in places if not (Path(directory) / f"died-{each}").exists()]
        if IS_VICTIM and left[:1] == [place] and when(*args):
            (Path(directory) / f"died-{place}").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)

    return died


joining.meet = dying(joining.meet, "meet")  # the others wait for it to come
joining.begin_coordination = dying(joining.begin_coordination, "start")  # TensorFlow waits for it
joining.share_seed = dying(joining.share_seed, "connect")  # the others wait for its seed, or have just got it
Store.pin = dying(Store.pin, "restore")
worker_cases.Items.__getitem__ = dying(
    worker_cases.Items.__getitem__, "evaluate", lambda items, number: items.is_evaluated and number >= 4
)
saves, parcels = itertools.count(1), itertools.count(1)
if int(victim) == 0:  # all files of TensorFlow's are there, and the manifest is not
    commit = Store.commit

    def dying_commit(self: Store, record: object, write: Callable, manifest: Callable) -> None:
        commit(self, record, write, dying(manifest, "save", lambda files: next(saves) > 3))

    Store.commit = dying_commit
    # It is about to hear of what the other one has for itself.
    followers.heard = dying(followers.heard, "parcel", lambda *args: next(parcels) > 1)
else:  # it is about to say what it holds, for which the first one waits
    followers._held = dying(followers._held, "save", lambda *args: next(saves) > 3)
    followers.packed = dying(followers.packed, "parcel", lambda *args: next(parcels) > 1)
sys.argv = ["worker.py", plan, file]
runpy.run_path(str(Path(__file__).with_name("worker.py")), run_name="__main__")
