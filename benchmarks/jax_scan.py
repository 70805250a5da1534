"""The tiny networks in JAX: an epoch is one `lax.scan` over batches gathered from arrays, with Adam of optax.

    python benchmarks/jax_scan.py '{"rows": 64000, "width": 16, "hidden": [64, 64], "batch": 32, "epochs": 4}'

A process of its own, which `loops.py` starts: it trains the epochs each time that a line comes in, and answers
with one. It knows nothing of TensorFlow.
"""

import itertools
import json
import sys

import jax
import numpy as np
import optax


def main(task: dict) -> None:
    """Trains as often as it is asked to."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=[task["rows"], task["width"]]).astype(np.float32)
    y = np.sin(x.sum(axis=1, keepdims=True)).astype(np.float32)
    x, y = jax.device_put(x), jax.device_put(y)
    widths = [task["width"], *task["hidden"], 1]
    weights = [
        (rng.normal(size=[n, m]).astype(np.float32) * np.sqrt(2 / n), np.zeros([m], np.float32))
        for n, m in itertools.pairwise(widths)
    ]
    adam, steps = optax.adam(1e-3), task["rows"] // task["batch"]

    def loss_of(weights: list, rows: jax.Array) -> jax.Array:
        hidden = x[rows]
        for kernel, bias in weights[:-1]:
            hidden = jax.nn.relu(hidden @ kernel + bias)
        kernel, bias = weights[-1]
        return ((hidden @ kernel + bias - y[rows]) ** 2).mean()

    def step(state: tuple, rows: jax.Array) -> tuple[tuple, jax.Array]:
        weights, slots = state
        loss, gradients = jax.value_and_grad(loss_of)(weights, rows)
        updates, slots = adam.update(gradients, slots, weights)
        return (optax.apply_updates(weights, updates), slots), loss

    @jax.jit
    def epoch(state: tuple, key: jax.Array) -> tuple[tuple, jax.Array]:
        order = jax.random.permutation(key, task["rows"])[: steps * task["batch"]]
        return jax.lax.scan(step, state, order.reshape(steps, task["batch"]))

    state, number = (jax.device_put(weights), adam.init(weights)), 0
    for _ in sys.stdin:
        for _ in range(task["epochs"]):
            state, losses = epoch(state, jax.random.key(number))
            number += 1
        print(float(losses[-1]), flush=True)  # waits for it


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
