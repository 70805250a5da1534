"""What would be gained by what, in sentences."""

from collections.abc import Iterator, Sequence

from exactloop.speed.config import Measured
from exactloop.speed.trying import Outcome

GAIN, LOSS = 1.1, 0.95  # what is between them is no difference: measurements differ by as much
BUSY = 1.25  # where the same differs by as much, something else goes on
MUCH = {"data": 0.2, "hooks": 0.1}  # shares of a step
OTHERWISE = "The bits are others, so a checkpoint of the one is not taken up by the other."
DATA = {
    "ArrayData": "Larger batches take fewer of them.",
    "IndexedData": "If all of it fits into memory, ArrayData has nothing to wait for; or give it more workers=.",
    "StatefulData": "Batches are made one by one between steps; IndexedData, or a tf.data pipeline, reads ahead.",
}
PIPELINE = (
    "If all of it fits into memory, ArrayData has nothing to wait for; or end the pipeline with "
    ".prefetch(tf.data.AUTOTUNE), and give its maps num_parallel_calls=tf.data.AUTOTUNE."
)


def gained(as_it_is: Measured, tried: Measured) -> float:
    """Returns how many times as many rows a second it is."""
    return tried.rows / tried.compiled / (as_it_is.rows / as_it_is.middle)


def advice(as_it_is: Measured, tried: Sequence[Outcome]) -> list[str]:
    """Returns what to do, and what not."""
    return [*_of_noise(as_it_is), *_of_parts(as_it_is), *(line for each in tried if (line := _of(as_it_is, each)))]


def _of_noise(as_it_is: Measured) -> Iterator[str]:
    # Said first: nothing that follows is worth more than the noise allows.
    if as_it_is.spread > BUSY:
        first, last = micro(as_it_is.compiled), micro(as_it_is.again or 0.0)
        yield (
            f"The machine is busy with something else: as it is, a step took {first} us at first, {last} us in the "
            "end. Measure again when it is not, or for longer, as with --seconds=10."
        )


def _of_parts(as_it_is: Measured) -> Iterator[str]:
    parts = as_it_is.parts
    # Of what was measured by parts, which need not add up to what a run took.
    shares = {name: seconds / (sum(parts.values()) or 1.0) for name, seconds in parts.items()}
    if shares["data"] >= MUCH["data"]:
        yield f"{shares['data']:.0%} of a step go into its batch. {DATA.get(as_it_is.data, PIPELINE)}"
    if shares["hooks"] >= MUCH["hooks"]:
        most = max(as_it_is.hooks, key=as_it_is.hooks.__getitem__)  # the slowest one alone is named
        yield (
            f"{shares['hooks']:.0%} of a step go into hooks, most of it into {most!r}. Have it called for fewer steps, "
            "as in every=Every(steps=1000)."
        )


def _of(as_it_is: Measured, tried: Outcome) -> str:
    if tried.measured is None:
        return f"{tried.name} cannot be had. {tried.error}"
    times = gained(as_it_is, tried.measured)  # by rows, as batches may have another size
    if tried.name.startswith("jit_compile"):
        return _of_xla(tried, times, as_it_is)
    if times < max(GAIN, as_it_is.spread):  # a gain within the noise is none
        return ""
    if tried.name.startswith("batch_size"):
        return (
            f"{tried.name}: {_times(times)} as many rows a second. It is another training, with fewer steps an epoch."
        )
    return f"{tried.name} in the environment: {_times(times)} as fast. Sums may be added up in another order."


def _of_xla(tried: Outcome, times: float, as_it_is: Measured) -> str:
    if times >= max(GAIN, as_it_is.spread):
        return f"{tried.name}: {_times(times)} as fast. {OTHERWISE}"
    if times > min(LOSS, 1 / as_it_is.spread):
        return f"{tried.name} makes no difference." if as_it_is.spread < GAIN else ""  # else nobody knows
    convolves = as_it_is.convolves and as_it_is.on_cpu
    why = ", because XLA is slow at convolutions on a CPU" if convolves and tried.name.endswith("True") else ""
    leave = "leave it off" if tried.name.endswith("True") else "leave it on"
    return f"{tried.name}: {_times(1 / times)} as slow{why}: {leave}."


def _times(times: float) -> str:
    return f"{times:.0f} times" if times >= 10 else f"{times:.1f} times"


def micro(seconds: float) -> str:
    """Returns microseconds, to be read by people."""
    found = seconds * 1e6
    return f"{found:,.0f}" if found >= 10 else f"{found:.2g}"
