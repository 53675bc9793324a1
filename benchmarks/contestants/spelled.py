"""tensorgrad, eager, spelled out as a user of NumPy writes it: no layers, no optimiser."""

import numpy as np

from contestants.tensorgrad import on_each
from tensorgrad import Value
from tensorgrad.nn.functional import cross_entropy, relu, sigmoid


def shallow(weights, batches, lr):
    W1, b1, W2, b2 = parameters = [Value(p) for pair in weights for p in pair]
    scale = 0.5 / len(batches[0][0])

    def loss(x, y):
        d = sigmoid(sigmoid(x @ W1 + b1) @ W2 + b2) - y
        return np.sum(d * d) * scale

    return training_step(loss, parameters, batches, lr)


def deep(weights, batches, lr):
    W1, b1, W2, b2, W3, b3 = parameters = [Value(p) for pair in weights for p in pair]

    def loss(x, y):
        return cross_entropy(relu(relu(x @ W1 + b1) @ W2 + b2) @ W3 + b3, y)

    return training_step(loss, parameters, batches, lr)


def training_step(loss, parameters, batches, lr):
    def step(x, y):
        for p in parameters:
            p.grad = None
        value = loss(x, y)
        value.backward()
        for p in parameters:
            p.data = p.data - lr * p.grad
        return value

    return on_each(step, batches)
