"""Chapter 1 of M. Nielsen, Neural Networks and Deep Learning (2015), in NumPy by hand: 784-30-10,
30 epochs of 50,000 images of MNIST in batches of 10, the data read and the network tested.
"""

import gzip
import os
from pathlib import Path

import numpy as np

EPOCHS, BATCH, LR, IMAGES = 30, 10, 3.0, 50_000


def read(name):
    path = Path(os.environ["TENSORGRAD_DATA"]) / "mnist" / name
    data = path.read_bytes() if path.exists() else gzip.decompress(Path(f"{path}.gz").read_bytes())
    axes = data[3]
    return np.frombuffer(data, np.uint8, offset=4 + 4 * axes)


def images(name):
    return read(name).reshape(-1, 784).astype(np.float32) / 255


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


@np.errstate(over="ignore")
def plain():
    """The share of the test images that it names right."""
    x = images("train-images-idx3-ubyte")[:IMAGES]
    y = np.eye(10, dtype=np.float32)[read("train-labels-idx1-ubyte")[:IMAGES]]
    x_test, y_test = images("t10k-images-idx3-ubyte"), read("t10k-labels-idx1-ubyte")
    rng = np.random.default_rng(0)
    draw = lambda *shape: (rng.normal(size=shape) / np.sqrt(shape[0])).astype(np.float32)
    W1, b1, W2, b2 = draw(784, 30), draw(1, 30)[0], draw(30, 10), draw(1, 10)[0]
    for _ in range(EPOCHS):
        order = rng.permutation(len(x))
        for start in range(0, len(x), BATCH):
            rows = order[start : start + BATCH]
            a, t = x[rows], y[rows]
            a1 = sigmoid(a @ W1 + b1)
            a2 = sigmoid(a1 @ W2 + b2)
            d2 = (a2 - t) / BATCH * a2 * (1 - a2)
            d1 = d2 @ W2.T * a1 * (1 - a1)
            gradients = a.T @ d1, d1.sum(axis=0), a1.T @ d2, d2.sum(axis=0)
            for p, g in zip((W1, b1, W2, b2), gradients, strict=True):
                p -= LR * g
        right = sigmoid(sigmoid(x_test @ W1 + b1) @ W2 + b2).argmax(axis=1) == y_test
    return right.mean()
