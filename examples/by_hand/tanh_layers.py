"""Layers of tanh under a softmax, trained by Adam on all examples at once, in plain NumPy."""

import numpy as np

from examples.by_hand.adam import Adam


def train(model, x, y, epochs, lr=0.02):
    """The weights W, b, W, b, ... of `model`, Linear, Tanh, ..., Linear, after so many steps."""
    p = [q.data.copy() for q in model.parameters()]
    adam = Adam(p, lr)
    one_hot = np.eye(len(p[-1]), dtype=x.dtype)[y]
    for _ in range(epochs):
        a = [x]
        for W, b in zip(p[:-2:2], p[1:-2:2]):
            a.append(np.tanh(a[-1] @ W.T + b))
        z = a[-1] @ p[-2].T + p[-1]
        e = np.exp(z - z.max(axis=1, keepdims=True))
        delta = (e / e.sum(axis=1, keepdims=True) - one_hot) / len(x)
        gradients = []
        for W, before in zip(p[-2::-2], a[::-1]):
            gradients += [delta.sum(axis=0), delta.T @ before]
            delta = delta @ W * (1 - before**2)
        adam.step(gradients[::-1])
    return p
