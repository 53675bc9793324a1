"""Chapter 6's two convolutions with ReLU by hand: the formulas of its layers, written in NumPy.

Images are (height, width, examples, channels): a window's pixels lie in one piece for all examples,
and a convolution is one product with the matrix of all windows. Nothing is computed that is not
needed: no gradient of the images, and the activation only of what pooling leaves. From the seed
come the weights and batches of examples.nielsen.ch6.
"""

import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from examples import mnist


def columns(a):
    """The windows of 5 x 5, as rows."""
    windows = sliding_window_view(a, (5, 5), (0, 1)).transpose(0, 1, 2, 4, 5, 3)
    return windows.reshape(-1, 25 * a.shape[3])


def images_of(d, shape):
    """The cotangents of columns, added up where they came from."""
    out = np.zeros(shape, np.float32)
    h, w, n, c = shape[0] - 4, shape[1] - 4, *shape[2:]
    for i in range(5):
        for j in range(5):
            out[i : i + h, j : j + w] += d[:, 5 * i + j].reshape(h, w, n, c)
    return out


def quarters(a):
    """The four pixels of which pooling takes the largest."""
    return a[::2, ::2], a[::2, 1::2], a[1::2, ::2], a[1::2, 1::2]


def pooled(a):
    p, q, r, s = quarters(a)
    return np.maximum(np.maximum(p, q), np.maximum(r, s))


def unpooled(g, a, largest):
    """The cotangent of the largest, back where it was; shared where several are."""
    hits = [part == largest for part in quarters(a)]
    share = g / np.sum(hits, axis=0, dtype=np.float32)
    out = np.empty_like(a)
    for part, hit in zip(quarters(out), hits, strict=True):
        np.multiply(share, hit, out=part)
    return out.reshape(-1, a.shape[3])


def forward(weights, x):
    W1, b1, W2, b2, W3, b3, W4, b4 = weights
    n = len(x)
    c1 = columns(np.ascontiguousarray(x.T).reshape(28, 28, n, 1))
    z1 = (c1 @ W1).reshape(24, 24, n, 20)
    m1 = pooled(z1)
    p1 = np.maximum(m1 + b1, 0)
    c2 = columns(p1)
    z2 = (c2 @ W2).reshape(8, 8, n, 40)
    m2 = pooled(z2)
    p2 = np.maximum(m2 + b2, 0)
    flat = p2.transpose(2, 0, 1, 3).reshape(n, -1)
    a3 = np.maximum(flat @ W3 + b3, 0)
    return c1, z1, m1, p1, c2, z2, m2, p2, flat, a3, a3 @ W4 + b4


def gradients(weights, x, y):
    """Of the mean of the log-likelihood cost, in the order of the weights."""
    _, _, W2, _, W3, _, W4, _ = weights
    c1, z1, m1, p1, c2, z2, m2, p2, flat, a3, z4 = forward(weights, x)
    n = len(x)
    d4 = np.exp(z4 - z4.max(axis=1, keepdims=True))
    d4 /= d4.sum(axis=1, keepdims=True)
    d4[np.arange(n), y] -= 1
    d4 /= n
    d3 = d4 @ W4.T * (a3 > 0)
    g2 = (d3 @ W3.T).reshape(n, 4, 4, 40).transpose(1, 2, 0, 3) * (p2 > 0)
    d2 = unpooled(g2, z2, m2)
    g1 = images_of((d2 @ W2.T).reshape(len(d2), 25, 20), p1.shape) * (p1 > 0)
    d1 = unpooled(g1, z1, m1)
    return (
        *(c1.T @ d1, g1.sum(axis=(0, 1, 2)), c2.T @ d2, g2.sum(axis=(0, 1, 2))),
        *(flat.T @ d3, d3.sum(axis=0), a3.T @ d4, d4.sum(axis=0)),
    )


def draw(rng):
    """His weights, each matrix (inputs, outputs), and biases."""
    weights = []
    for out, n, spread in ((20, 25, 125), (40, 500, 250), (100, 640, 100)):
        weights += [rng.standard_normal((out, n)) / math.sqrt(spread), rng.standard_normal(out)]
    W1, b1, W2, b2, W3, b3 = weights
    W2 = W2.reshape(40, 20, 5, 5).transpose(0, 2, 3, 1).reshape(40, 500)
    W3 = W3.reshape(100, 40, 4, 4).transpose(0, 2, 3, 1).reshape(100, 640)
    weights = [W1.T, b1, W2.T, b2, W3.T, b3, np.zeros((100, 10)), np.zeros(10)]
    return [np.ascontiguousarray(w, np.float32) for w in weights]


def accuracy(weights, images):
    parts = [forward(weights, images.x[i : i + 1000])[-1] for i in range(0, len(images.x), 1000)]
    return np.mean(np.concatenate(parts).argmax(axis=1) == images.y)


def train(seed=0, epochs=12, images=50_000, batch=64, lr=0.05, momentum=0.9, l2=0.1 / 5000):
    """Returns the weights after the best epoch by the validation images."""
    split = mnist.split()
    x, y = split.training.first(images)
    rng = np.random.default_rng(seed)
    weights = draw(rng)
    velocities = [np.zeros_like(w) for w in weights]
    steps = epochs * -(-images // batch)
    up = steps // 20
    step, best, kept = 0, -1.0, weights
    for _ in range(epochs):
        order = rng.permutation(len(x))
        for i in range(0, len(x), batch):
            rows = order[i : i + batch]
            cosine = (1 + math.cos(math.pi * (step - up) / (steps - up))) / 2
            rate = lr * ((step + 1) / up if step < up else cosine)
            step += 1
            found = gradients(weights, x[rows], y[rows])
            for w, v, g in zip(weights, velocities, found, strict=True):
                if w.ndim > 1:
                    g += l2 * w
                v *= momentum
                v += g
                w -= rate * v
        reached = accuracy(weights, split.validation)
        if reached > best:
            best, kept = reached, [w.copy() for w in weights]
    return kept, accuracy(kept, split.test)
