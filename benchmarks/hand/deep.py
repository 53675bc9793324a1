"""Three layers in NumPy by hand: ReLU, softmax cross-entropy with class numbers, the mean over the
batch, SGD.
"""

from itertools import cycle

import numpy as np


def plain(weights, batches, lr):
    (W1, b1), (W2, b2), (W3, b3) = [(W.copy(), b.copy()) for W, b in weights]
    n, batches = len(batches[0][0]), cycle(batches)
    rows = np.arange(n)

    def step():
        x, y = next(batches)
        a1 = np.maximum(x @ W1 + b1, 0)
        a2 = np.maximum(a1 @ W2 + b2, 0)
        z = a2 @ W3 + b3
        z -= z.max(axis=1, keepdims=True)
        e = np.exp(z)
        total = e.sum(axis=1, keepdims=True)
        loss = np.mean(np.log(total[:, 0]) - z[rows, y])
        d3 = e / total
        d3[rows, y] -= 1
        d3 /= n
        d2 = d3 @ W3.T * (a2 > 0)
        d1 = d2 @ W2.T * (a1 > 0)
        gradients = (
            *(x.T @ d1, d1.sum(axis=0)),
            *(a1.T @ d2, d2.sum(axis=0)),
            *(a2.T @ d3, d3.sum(axis=0)),
        )
        for p, g in zip((W1, b1, W2, b2, W3, b3), gradients, strict=True):
            p -= lr * g
        return loss

    return step


def out(weights, batches, lr):
    """The same in arrays that are there."""
    (W1, b1), (W2, b2), (W3, b3) = [(W.copy(), b.copy()) for W, b in weights]
    n, f, batches = len(batches[0][0]), np.float32, cycle(batches)
    rows = np.arange(n)
    a1, d1 = (np.empty((n, b1.size), f) for _ in range(2))
    a2, d2 = (np.empty((n, b2.size), f) for _ in range(2))
    z, total = np.empty((n, b3.size), f), np.empty((n, 1), f)
    m1, m2 = np.empty(a1.shape, bool), np.empty(a2.shape, bool)
    gradients = gW1, gb1, gW2, gb2, gW3, gb3 = [np.empty_like(p) for p in (W1, b1, W2, b2, W3, b3)]

    def step():
        x, y = next(batches)
        np.matmul(x, W1, out=a1)
        np.add(a1, b1, out=a1)
        np.maximum(a1, 0, out=a1)
        np.matmul(a1, W2, out=a2)
        np.add(a2, b2, out=a2)
        np.maximum(a2, 0, out=a2)
        np.matmul(a2, W3, out=z)
        np.add(z, b3, out=z)
        np.maximum.reduce(z, axis=1, keepdims=True, out=total)
        np.subtract(z, total, out=z)
        right = z[rows, y]
        np.exp(z, out=z)
        np.add.reduce(z, axis=1, keepdims=True, out=total)
        loss = np.mean(np.log(total[:, 0]) - right)
        np.divide(z, total, out=z)
        z[rows, y] -= 1
        np.multiply(z, 1 / n, out=z)
        np.matmul(z, W3.T, out=d2)
        np.greater(a2, 0, out=m2)
        np.multiply(d2, m2, out=d2)
        np.matmul(d2, W2.T, out=d1)
        np.greater(a1, 0, out=m1)
        np.multiply(d1, m1, out=d1)
        np.matmul(x.T, d1, out=gW1)
        np.add.reduce(d1, axis=0, out=gb1)
        np.matmul(a1.T, d2, out=gW2)
        np.add.reduce(d2, axis=0, out=gb2)
        np.matmul(a2.T, z, out=gW3)
        np.add.reduce(z, axis=0, out=gb3)
        for p, g in zip((W1, b1, W2, b2, W3, b3), gradients, strict=True):
            np.multiply(g, lr, out=g)
            np.subtract(p, g, out=p)
        return loss

    return step
