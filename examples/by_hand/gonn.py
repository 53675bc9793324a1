"""gonn's network, one image at a time."""

import numpy as np

ETA = np.float32(0.1)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def train(hidden, out, x, targets, published=False):
    """One epoch of steps down the gradient of ½‖o - t‖², or of his: changes `hidden` and `out`."""
    for a, t in zip(x, targets):
        h = sigmoid(hidden @ a)
        o = sigmoid(out @ h)
        delta_out = (o - t) * o * (1 - o)
        back = (o - t) if published else delta_out
        delta_hidden = (back @ out) * h * (1 - h)
        out -= np.outer(ETA * delta_out, h)
        hidden -= np.outer(ETA * delta_hidden, a)
