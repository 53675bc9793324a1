"""REINFORCE with a baseline by hand: two networks of a hidden layer each, and Adam for both."""

import numpy as np

from examples.by_hand.adam import Adam


def forward(weights, x):
    """Hidden neurons and answers, (n, 32) and (n, 1)."""
    w1, b1, w2, b2 = weights
    h = np.tanh(x @ w1.T + b1)
    return h, h @ w2.T + b2


def backward(weights, x, h, dz):
    """The gradients of the weights from that of the answers, (n, 1)."""
    da = dz @ weights[2] * (1 - h * h)
    return [da.T @ x, da.sum(axis=0), dz.T @ h, dz.sum(axis=0)]


def train(network, play, to_come, seed, epochs, n=20, lr=1e-2):
    """The weights of policy and baseline after so many epochs: w1 (32, 4), b1, w2 (1, 32), b2.

    `network`, `play` and `to_come` are those of examples.beyond.cartpole: where both start, what
    the policy meets, and what that was worth.
    """
    rng = np.random.default_rng(seed)
    policy, baseline = ([p.data.copy() for p in network(rng).parameters()] for _ in range(2))
    adam = Adam(policy + baseline, lr)
    for epoch in range(epochs):
        states, rights, alive = play(lambda s: forward(policy, s)[1], n, rng)
        s, a, g = states[alive], rights[alive][:, None], to_come(alive)[alive][:, None]
        h, z = forward(policy, s)
        k, expected = forward(baseline, s)
        surprise = g - expected
        surprise /= surprise.std()
        gradients = backward(policy, s, h, surprise * (1 / (1 + np.exp(-z)) - a) / len(s))
        gradients += backward(baseline, s, k, 2 * (expected - g) / len(s))
        adam.lr = lr * (1 - epoch / epochs)
        adam.step(gradients)
    return policy, baseline
