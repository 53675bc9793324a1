"""A policy gradient balances a pole on a cart: REINFORCE with a learned baseline.

The cart and its pole are those of A. Barto, R. Sutton and C. Anderson, "Neuronlike adaptive
elements that can solve difficult learning control problems" (1983), with the constants, the end of
an episode and the 500 steps of Gymnasium's CartPole-v1, whose documentation calls a mean return of
475 in 100 episodes solved. The policy: R. Sutton and A. Barto, Reinforcement Learning (2018), 13.4.
"""

import numpy as np

import tensorgrad as tg
from examples.by_hand import cartpole as by_hand
from examples.experiment import Claim, Reached, experiment
from tensorgrad import nn, optim
from tensorgrad.viz.figures import canvas

F = nn.functional
GRAVITY, CART, POLE, HALF, FORCE, TAU = 9.8, 1.0, 0.1, 0.5, 10.0, 0.02  # m, kg, half a length, N, s
STEPS, GAMMA = 500, 0.99


def accelerations(angle, spin, force):
    """Of cart and pole: the paper's equations, without friction."""
    sin, cos, total = np.sin(angle), np.cos(angle), CART + POLE
    push = (force + POLE * HALF * spin**2 * sin) / total
    turn = (GRAVITY * sin - cos * push) / (HALF * (4 / 3 - POLE * cos**2 / total))
    return push - POLE * HALF * turn * cos / total, turn


def move(state, force):
    """The state, (4, n), after a 50th of a second."""
    _, speed, angle, spin = state  # the position on the track adds nothing
    a, turn = accelerations(angle, spin, force)
    return state + TAU * np.stack([speed, a, spin, turn])


def play(policy, n, rng):
    """n episodes at once: states (500, n, 4), whether right was pushed, and while the pole stood.

    `policy`: the logits (n, 1) of a push to the right in states (n, 4).
    """
    state, stands = rng.uniform(-0.05, 0.05, (4, n)), np.ones(n, bool)
    states = np.zeros((STEPS, n, 4), np.float32)
    rights, alive = np.zeros((2, STEPS, n), bool)
    for t in range(STEPS):
        states[t], alive[t] = state.T, stands
        with tg.no_grad():
            rights[t] = rng.random(n) < F.sigmoid(policy(states[t]))[:, 0]
        state = move(state, np.where(rights[t], FORCE, -FORCE))
        stands = stands & (np.abs(state[0]) < 2.4) & (np.abs(state[2]) < np.radians(12))
        if not stands.any():
            break
    return states, rights, alive


def to_come(alive):
    """The discounted return from each step on: a reward of 1 for each that the pole stands."""
    g = alive.astype(np.float32)
    for t in reversed(range(STEPS - 1)):
        g[t] += GAMMA * g[t + 1]
    return g


def network(rng):
    return nn.Sequential(nn.Linear(4, 32, rng=rng), nn.Tanh(), nn.Linear(32, 1, rng=rng))


def train(policy, baseline, epochs, rng, n=20, lr=1e-2):
    """How many steps the pole stood in each of the epochs' n episodes, (epochs, n)."""
    adam = optim.Adam([*policy.parameters(), *baseline.parameters()], lr=lr)
    schedule = optim.lr_scheduler.LinearLR(adam, 1, 0, total_iters=epochs)
    lengths = []
    for epoch in range(epochs):
        states, rights, alive = play(policy, n, rng)
        s, a, g = states[alive], rights[alive][:, None], to_come(alive)[alive][:, None]
        expected = baseline(s)
        surprise = g - expected.data  # what the policy gradient is weighted with
        surprise /= surprise.std()
        surprised = F.binary_cross_entropy_with_logits(policy(s), a, weight=surprise)
        adam.zero_grad()
        (surprised + F.mse_loss(expected, g)).backward()
        adam.step()
        schedule.step()
        lengths.append(alive.sum(axis=0))
        if epoch % 20 == 19:
            print(f"  epoch {epoch + 1}: {lengths[-1].mean():.0f} steps", flush=True)
    return np.array(lengths)


def draw(lengths, policy):
    figure = canvas.sheet(10, 4)
    left, right = figure.subplots(1, 2)
    left.plot(lengths, ".", color=canvas.COLOURS[5], markersize=3, alpha=0.5)
    left.plot(lengths.mean(axis=1), color=canvas.COLOURS[0], linewidth=2.5)
    left.axhline(475, color=canvas.COLOURS[1], linestyle="--")
    canvas.caption(left, "The pole stands (475: solved)", "epoch of 20 episodes", "steps")
    angle, spin = np.meshgrid(np.linspace(-12, 12, 121), np.linspace(-150, 150, 121))
    states = np.zeros((*angle.shape, 4), np.float32)
    states[..., 2:] = np.radians(np.stack([angle, spin], axis=-1))
    p = F.sigmoid(policy(states)).data[..., 0]
    colours = right.contourf(angle, spin, p, np.linspace(0, 1, 21), cmap=canvas.SIGNED)
    right.contour(angle, spin, p, [0.5], colors="black", linewidths=2)
    figure.colorbar(colours, ax=right, ticks=[0, 0.5, 1], label="probability")
    canvas.caption(right, "Push to the right, in mid-track", "angle, degrees", "degrees / s")
    return figure


@experiment(
    Claim("CartPole-v1, mean return of 100 episodes", 475, at_least=475, quick=150, form=".1f"),
    quick={"epochs": 100},
    by_hand=lambda seed, **of: by_hand.train(network, play, to_come, seed, **of),
    timed={"epochs": 30},
)
def cartpole(seed=0, epochs=250):
    rng = np.random.default_rng(seed)
    policy, baseline = network(rng), network(rng)
    lengths = train(policy, baseline, epochs, rng)
    *_, alive = play(policy, 100, np.random.default_rng(1000 + seed))
    return Reached(alive.sum() / 100, lambda: draw(lengths, policy))
