"""784-16-16-10 with ReLU and softmax, by Adam at a rate that falls along a cosine."""

import math

import numpy as np

from examples.by_hand.adam import Adam


def forward(x, parameters):
    """The activations of all layers, the first of which is x; of the last, before the softmax."""
    W1, b1, W2, b2, W3, b3 = parameters
    a1 = np.maximum(x @ W1.T + b1, 0)
    a2 = np.maximum(a1 @ W2.T + b2, 0)
    return x, a1, a2, a2 @ W3.T + b3


def gradients(x, y, parameters):
    """Those of the mean of -ln p_y over the batch."""
    _, _, W2, _, W3, _ = parameters
    x, a1, a2, z = forward(x, parameters)
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    p[np.arange(len(y)), y] -= 1
    d3 = p / len(y)
    d2 = (d3 @ W3) * (a2 > 0)
    d1 = (d2 @ W2) * (a1 > 0)
    return d1.T @ x, d1.sum(0), d2.T @ a1, d2.sum(0), d3.T @ a2, d3.sum(0)


def train(parameters, batches, epochs, test=None, lr=3e-3):
    """Changes the parameters (W1, b1, ..., b3), and returns the accuracy after each epoch."""
    adam, steps, reached = Adam(parameters, lr), epochs * len(batches), []
    for _ in range(epochs):
        for x, y in batches:
            adam.lr = lr * (1 + math.cos(math.pi * adam.t / steps)) / 2
            adam.step(gradients(x, y, parameters))
        if test is not None:
            reached.append((forward(test[0], parameters)[-1].argmax(axis=1) == test[1]).mean())
    return reached
