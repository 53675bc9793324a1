"""A graph convolution of two layers by hand: Kipf and Welling's eq. 9 and its gradient."""

import numpy as np

from examples.by_hand.adam import Adam


def train(model, a, told, club, epochs, lr=0.01):
    """Softmax of A relu(A W1) W2, told the club of some nodes: the weights after so many epochs.

    `model`: whose weights, (out, in), to start with; `a`: (n, n), symmetric.
    """
    w1, w2 = weights = [p.data.copy() for p in model.parameters()]
    adam = Adam(weights, lr)
    for _ in range(epochs):
        h = np.maximum(a @ w1.T, 0)
        mean = a @ h
        z = mean @ w2.T
        e = np.exp(z - z.max(axis=1, keepdims=True))
        dz = np.zeros_like(z)
        dz[told] = (e / e.sum(axis=1, keepdims=True))[told]
        dz[told, club[told]] -= 1
        dz /= len(told)
        g2 = dz.T @ mean
        g1 = ((a @ (dz @ w2)) * (h > 0)).T @ a
        adam.step([g1, g2])
    return w1, w2
