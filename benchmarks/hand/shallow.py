"""784-30-10 in NumPy by hand: sigmoid layers, ½‖a - y‖², the mean over the batch, SGD.

M. Nielsen, Neural Networks and Deep Learning (2015), ch. 2, BP1 to BP4.
"""

from itertools import cycle

import numpy as np


def plain(weights, batches, lr):
    (W1, b1), (W2, b2) = [(W.copy(), b.copy()) for W, b in weights]
    batches = cycle(batches)

    def step():
        x, y = next(batches)
        n = len(x)
        a1 = 1 / (1 + np.exp(-(x @ W1 + b1)))
        a2 = 1 / (1 + np.exp(-(a1 @ W2 + b2)))
        error = a2 - y
        loss = 0.5 * np.sum(error * error) / n
        d2 = error / n * a2 * (1 - a2)
        d1 = d2 @ W2.T * a1 * (1 - a1)
        gradients = x.T @ d1, d1.sum(axis=0), a1.T @ d2, d2.sum(axis=0)
        for p, g in zip((W1, b1, W2, b2), gradients, strict=True):
            p -= lr * g
        return loss

    return step


def out(weights, batches, lr):
    """The same in arrays that are there."""
    (W1, b1), (W2, b2) = [(W.copy(), b.copy()) for W, b in weights]
    n, f, batches = len(batches[0][0]), np.float32, cycle(batches)
    a1, s1, d1 = (np.empty((n, b1.size), f) for _ in range(3))
    a2, s2, error = (np.empty((n, b2.size), f) for _ in range(3))
    gradients = gW1, gb1, gW2, gb2 = [np.empty_like(p) for p in (W1, b1, W2, b2)]

    def sigmoid(x, W, b, a):
        np.matmul(x, W, out=a)
        np.add(a, b, out=a)
        np.negative(a, out=a)
        np.exp(a, out=a)
        np.add(a, 1, out=a)
        np.reciprocal(a, out=a)

    def step():
        x, y = next(batches)
        sigmoid(x, W1, b1, a1)
        sigmoid(a1, W2, b2, a2)
        np.subtract(a2, y, out=error)
        loss = 0.5 * np.vdot(error, error) / n
        np.subtract(1, a2, out=s2)
        np.multiply(s2, a2, out=s2)
        np.multiply(error, s2, out=error)
        np.multiply(error, 1 / n, out=error)
        np.matmul(error, W2.T, out=d1)
        np.subtract(1, a1, out=s1)
        np.multiply(s1, a1, out=s1)
        np.multiply(d1, s1, out=d1)
        np.matmul(x.T, d1, out=gW1)
        np.add.reduce(d1, axis=0, out=gb1)
        np.matmul(a1.T, error, out=gW2)
        np.add.reduce(error, axis=0, out=gb2)
        for p, g in zip((W1, b1, W2, b2), gradients, strict=True):
            np.multiply(g, lr, out=g)
            np.subtract(p, g, out=p)
        return loss

    return step
