"""Logistic regression of 1e5 examples and 100 features, float64: the loss and its gradient."""

from itertools import cycle

import numpy as np


def plain(f, points, constants):
    """`f` is the loss, which is not called: what is computed is its formula and gradient."""
    (X, y), points = constants, cycle(points)

    def step():
        (w,) = next(points)
        z = X @ w
        loss = np.mean(np.logaddexp(0, z) - y * z)
        p = 1 / (1 + np.exp(-z))
        return loss, X.T @ (p - y) / len(y)

    return step


def out(f, points, constants):
    """The same in arrays that are there."""
    (X, y), points = constants, cycle(points)
    z, t, gradient = np.empty_like(y), np.empty_like(y), np.empty(X.shape[1])

    def step():
        (w,) = next(points)
        np.matmul(X, w, out=z)
        np.logaddexp(0, z, out=t)
        loss = (np.add.reduce(t) - np.vdot(y, z)) / len(y)
        np.negative(z, out=z)
        np.exp(z, out=z)
        np.add(z, 1, out=z)
        np.reciprocal(z, out=z)
        np.subtract(z, y, out=z)
        np.matmul(z, X, out=gradient)
        return loss, gradient / len(y)

    return step
