"""The net of Nielsen ch. 6 in NumPy by hand: ReLU of two convolutions with pooling, dense layers,
softmax, SGD.

Channels lie last, and each convolution is one product with the matrix of all its columns.
"""

from itertools import cycle

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def plain(weights, batches, lr):
    (W1, b1), (W2, b2), (W3, b3), (W4, b4) = [(W.copy(), b.copy()) for W, b in weights]
    W1, W2 = (np.ascontiguousarray(W.transpose(2, 3, 1, 0)).reshape(-1, len(W)) for W in (W1, W2))
    maps = len(b2)
    W3 = np.ascontiguousarray(W3.reshape(maps, 4, 4, -1).transpose(1, 2, 0, 3)).reshape(W3.shape)
    batches = [(np.ascontiguousarray(x.transpose(0, 2, 3, 1)), y) for x, y in batches]
    n = len(batches[0][0])
    rows, batches = np.arange(n), cycle(batches)

    def columns(a):
        windows = sliding_window_view(a, (5, 5), (1, 2)).transpose(0, 1, 2, 4, 5, 3)
        return windows.reshape(-1, 25 * a.shape[3])

    def pooled(a):
        b, h, w, c = a.shape
        return a.reshape(b, h // 2, 2, w // 2, 2, c).max(axis=(2, 4))

    def unpooled(g, a, largest):
        b, h, w, c = a.shape
        pairs = a.reshape(b, h // 2, 2, w // 2, 2, c)
        hit = pairs == largest[:, :, None, :, None]
        return (hit * g.reshape(largest.shape)[:, :, None, :, None]).reshape(a.shape)

    def images(d, shape):
        """The cotangents of columns, added up where they came from."""
        out = np.zeros(shape, np.float32)
        h, w = shape[1] - 4, shape[2] - 4
        d = d.reshape(n, h, w, 5, 5, -1)
        for i in range(5):
            for j in range(5):
                out[:, i : i + h, j : j + w] += d[:, :, :, i, j]
        return out

    def step():
        x, y = next(batches)
        c1 = columns(x)
        a1 = np.maximum((c1 @ W1).reshape(n, 24, 24, -1) + b1, 0)
        p1 = pooled(a1)
        c2 = columns(p1)
        a2 = np.maximum((c2 @ W2).reshape(n, 8, 8, -1) + b2, 0)
        p2 = pooled(a2)
        flat = p2.reshape(n, -1)
        a3 = np.maximum(flat @ W3 + b3, 0)
        z = a3 @ W4 + b4
        z -= z.max(axis=1, keepdims=True)
        e = np.exp(z)
        total = e.sum(axis=1, keepdims=True)
        loss = np.mean(np.log(total[:, 0]) - z[rows, y])
        d4 = e / total
        d4[rows, y] -= 1
        d4 /= n
        d3 = d4 @ W4.T * (a3 > 0)
        d2 = (unpooled(d3 @ W3.T, a2, p2) * (a2 > 0)).reshape(-1, maps)
        d1 = unpooled(images(d2 @ W2.T, p1.shape), a1, p1) * (a1 > 0)
        d1 = d1.reshape(-1, a1.shape[3])
        gradients = (
            *(c1.T @ d1, d1.sum(axis=0), c2.T @ d2, d2.sum(axis=0)),
            *(flat.T @ d3, d3.sum(axis=0), a3.T @ d4, d4.sum(axis=0)),
        )
        for p, g in zip((W1, b1, W2, b2, W3, b3, W4, b4), gradients, strict=True):
            p -= lr * g
        return loss

    return step
