"""Learns to balance a pole on a cart by deep Q-learning: environment and replay buffer in NumPy, the network in Keras.

    python examples/dqn.py --run_dir runs/dqn

A step plays one move with the policy as it is, then trains on moves of the past. At the end, the pole is kept up for
more than 120 moves on average over the last 10 games, of at most 200; by moves at random, it is 20. Kill it when you
like and start it again: it goes on with the same game, buffer and random numbers, and ends with the same bits.
"""

import logging
import os
import shutil

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags
from absl import logging as absl_logging

from hooks import Checkpoint, Preemption, Progress
from loop import Event, Every, Loop, Moment, StatefulData

RUN_DIR = flags.DEFINE_string("run_dir", "runs/dqn", "Where checkpoints go.")
STEPS = flags.DEFINE_integer("steps", 4_000, "Moves to play, and steps to train, in all.", lower_bound=1)
SEED = flags.DEFINE_integer("seed", 1, "Seed of weights, games and moves.")
FRESH = flags.DEFINE_bool("fresh", False, "Remove what an earlier run left in run_dir.")

BUFFER, BATCH, GAMMA, LONGEST = 20_000, 64, 0.99, 200


class CartPole:
    """The equations of Barto, Sutton and Anderson. A state is position, speed, angle and its speed: float64 [4]."""

    def reset(self) -> np.ndarray:
        """Begins a game."""
        self.moves, self.state = 0, np.random.uniform(-0.05, 0.05, 4)
        return self.state

    def move(self, action: int) -> tuple[np.ndarray, float, bool]:
        """Pushes the cart to the left or right. Returns the state, the reward, and whether the pole has fallen."""
        x, dx, angle, turn = self.state
        sine, cosine = np.sin(angle), np.cos(angle)
        pull = ((10.0 if action else -10.0) + 0.05 * turn**2 * sine) / 1.1
        turning = (9.8 * sine - cosine * pull) / (0.5 * (4 / 3 - 0.1 * cosine**2 / 1.1))
        ddx = pull - 0.05 * turning * cosine / 1.1
        self.state = np.array([x, dx, angle, turn]) + 0.02 * np.array([dx, ddx, turn, turning])
        self.moves += 1
        fallen = abs(self.state[0]) > 2.4 or abs(self.state[2]) > 12 * np.pi / 180
        return self.state, 1.0, fallen


class Replay:
    """Plays a move for each batch, keeps the last ones, and yields some of them: all of it is in its state.

    Args:
        q: The network that is trained: states to the value of each action, float32 [n, 2].
    """

    def __init__(self, q: keras.Model) -> None:
        self.q, self.game = tf.function(q), CartPole()
        self.game.reset()
        self.played, self.returns = 0, [0.0]
        self.states, self.next_states = np.zeros([2, BUFFER, 4], np.float32)
        self.actions, self.rewards = np.zeros([BUFFER], np.int32), np.zeros([BUFFER], np.float32)
        self.fallen = np.zeros([BUFFER], np.float32)

    def __iter__(self) -> "Replay":
        return self

    def __next__(self) -> tuple[np.ndarray, ...]:
        for _ in range(BATCH if self.played == 0 else 1):
            self.play()
        rows = np.random.randint(min(self.played, BUFFER), size=BATCH)
        return tuple(a[rows] for a in (self.states, self.actions, self.rewards, self.next_states, self.fallen))

    def play(self) -> None:
        """Plays one move: at random with a probability that falls with each move, else what seems best."""
        state, place = self.game.state, self.played % BUFFER
        if np.random.random() < max(0.02, 1 - self.played / 1_500):
            action = np.random.randint(2)
        else:
            action = int(np.argmax(self.q(tf.constant(state[None], tf.float32))[0]))
        after, reward, fallen = self.game.move(action)
        self.states[place], self.actions[place], self.rewards[place] = state, action, reward
        self.next_states[place], self.fallen[place] = after, fallen
        self.played += 1
        if fallen or self.game.moves == LONGEST:
            self.returns = [*self.returns[-9:], float(self.game.moves)]
            self.game.reset()

    def get_state(self) -> dict[str, object]:
        """Returns all that the next batches depend on, but the weights and NumPy's random state, which are saved."""
        own = {name: value for name, value in vars(self).items() if name not in ("q", "game")}
        return {**own, "game": vars(self.game)}

    def set_state(self, state: dict[str, object]) -> None:
        """Goes on from there."""
        vars(self.game).update(state.pop("game"))
        vars(self).update(state)


def build() -> keras.Model:
    """Returns a network: states, float32 [n, 4], to the value of each action, float32 [n, 2]."""
    layers = [keras.layers.Dense(64, activation="relu"), keras.layers.Dense(64, activation="relu")]
    return keras.Sequential([keras.Input([4]), *layers, keras.layers.Dense(2)])


def main(_: list[str]) -> None:
    """Trains, or goes on training, and prints how long the pole was kept up."""
    absl_logging.set_verbosity(absl_logging.WARNING)  # TensorFlow's; the loop has a logger of its own
    logging.getLogger("exactloop").setLevel(logging.INFO)
    if FRESH.value:
        shutil.rmtree(RUN_DIR.value, ignore_errors=True)
    keras.utils.set_random_seed(SEED.value)  # NumPy's, too, by which games and moves are drawn
    q, target, optimizer = build(), build(), keras.optimizers.Adam(5e-4)
    target.set_weights(q.get_weights())
    optimizer.build(q.trainable_variables)
    replay = Replay(q)

    def train_step(batch: tuple[tf.Tensor, ...]) -> dict[str, tf.Tensor]:
        states, actions, rewards, next_states, fallen = batch
        best = tf.argmax(q(next_states), axis=1, output_type=tf.int32)
        future = tf.gather(target(next_states), best, batch_dims=1)  # double Q-learning
        wanted = rewards + GAMMA * (1 - fallen) * future
        with tf.GradientTape() as tape:
            value = tf.gather(q(states), actions, batch_dims=1)
            loss = tf.reduce_mean(keras.losses.huber(wanted[:, None], value[:, None]))
        optimizer.apply(tape.gradient(loss, q.trainable_variables), q.trainable_variables)
        for slow, fast in zip(target.variables, q.variables, strict=True):
            slow.assign(slow + 0.005 * (fast - slow))
        return {"loss": loss, "value": tf.reduce_mean(value)}

    loop = Loop(
        train_step,
        StatefulData(replay, steps_per_epoch=500),
        state={"q": q, "target": target, "optimizer": optimizer},
        hooks=[Progress(), Checkpoint(f"{RUN_DIR.value}/checkpoints", Every(steps=100)), Preemption()],
    )

    @loop.on(Event.EPOCH_END)
    def report(moment: Moment) -> None:
        print(f"step {moment.step}: {np.mean(replay.returns):.0f} moves", flush=True)

    result = loop.run(steps=STEPS.value)
    print(f"The pole was kept up for {np.mean(replay.returns):.0f} moves on average: {result.reason}.")


if __name__ == "__main__":
    app.run(main)
