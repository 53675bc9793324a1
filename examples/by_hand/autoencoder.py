"""The training of examples/beyond/autoencoder.py in plain NumPy: gradients by hand, and Adam."""

import math
from itertools import pairwise

import numpy as np

from examples.by_hand.adam import Adam
from tensorgrad import data

WIDTHS = (784, 500, 250, 30, 250, 500, 784)
CODE = 2  # the layer whose output is not cut at 0


def start(rng):
    """Weights of N(0, 2/n) and biases 0, float32."""
    weights = [
        (rng.standard_normal((out, n)) * np.sqrt(2 / n)).astype(np.float32)
        for n, out in pairwise(WIDTHS)
    ]
    return [p for w in weights for p in (w, np.zeros(len(w), np.float32))]


def forward(parameters, x):
    """The output of each layer, x before them all."""
    outputs = [x]
    for i, (w, b) in enumerate(zip(parameters[::2], parameters[1::2])):
        z = outputs[-1] @ w.T + b
        if i == len(WIDTHS) - 2:
            z = 1 / (1 + np.exp(-z))
        elif i != CODE:
            z = np.maximum(z, 0)
        outputs.append(z)
    return outputs


def gradients(parameters, x):
    """Of half the squared error, the mean over the images, by each weight and bias."""
    weights, outputs, found = parameters[::2], forward(parameters, x), []
    z = outputs[-1]
    delta = (z - x) * z * (1 - z) / np.float32(len(x))
    for i in reversed(range(len(weights))):
        found += [delta.sum(axis=0), delta.T @ outputs[i]]
        if i:
            delta = delta @ weights[i]
            if i - 1 != CODE:
                delta *= outputs[i] > 0
    return found[::-1]


def train(seed=0, epochs=1, images=60_000, lr=2e-3, batch=200):
    x, *_ = data.mnist()
    x, rng = x[:images], np.random.default_rng(seed)
    parameters = start(rng)
    adam = Adam(parameters, lr)
    steps = epochs * -(-images // batch)
    for t in range(steps):
        if t * batch % images == 0:
            order = rng.permutation(images)
        i = t * batch % images
        adam.lr = lr * (1 + math.cos(math.pi * t / steps)) / 2
        adam.step(gradients(parameters, x[order[i : i + batch]]))
    return parameters
