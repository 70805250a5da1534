"""What a checkpoint holds beside variables, in digests: by these, workers tell whether theirs are equal."""

from collections.abc import Mapping

from loop.state.plain import Kept
from loop.state.resumable import Resumable

MADE = ("stages", "seen")  # notes of data: what they are made of in this pass, and a digest of what was read in it


def digests_beside(states: Mapping[str, Kept], data: Resumable | None) -> dict[str, str]:
    """Returns digests by what to call them.

    Args:
        states: What hooks keep in Python, by its path in a checkpoint.
        data: The train data, of which Python may keep something or make the datasets.
    """
    kept = {path.replace("hook_states/", "hooks/", 1): each for path, each in states.items()}
    kept |= {"data": data} if isinstance(data, Kept) else {}
    found = {f"{path}/{name}": said for path, each in kept.items() for name, said in each.digests().items()}
    noted = data.cursor() if data else {}
    return found | {f"data/{name}": str(noted[name]) for name in MADE if name in noted}
