"""A graph convolution of two layers by hand: Kipf and Welling's eq. 9 and its gradient."""

import numpy as np


def train(model, a, told, club, epochs, lr=0.01):
    """Softmax of A relu(A W1) W2, told the club of some nodes: the weights after so many epochs.

    `model`: whose weights, (out, in), to start with; `a`: (n, n), symmetric.
    """
    w1, w2 = (p.data.copy() for p in model.parameters())
    m1, m2, v1, v2 = np.zeros_like(w1), np.zeros_like(w2), np.zeros_like(w1), np.zeros_like(w2)
    for t in range(1, epochs + 1):
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
        for w, g, m, v in ((w1, g1, m1, v1), (w2, g2, m2, v2)):
            m += (1 - 0.9) * (g - m)
            v += (1 - 0.999) * (g * g - v)
            w -= lr / (1 - 0.9**t) * m / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    return w1, w2
