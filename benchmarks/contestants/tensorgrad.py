"""tensorgrad, eager, through its public API."""

import numpy as np

from tensorgrad import nn, optim
from tensorgrad.nn.functional import cross_entropy, quadratic


def shallow(weights, x, y, lr):
    layers = linear_layers(weights)
    model = nn.Sequential(layers[0], nn.Sigmoid(), layers[1], nn.Sigmoid())
    return training_step(model, quadratic, x, y, lr)


def deep(weights, x, y, lr):
    layers = linear_layers(weights)
    model = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])
    return training_step(model, cross_entropy, x, y, lr)


def linear_layers(weights):
    layers = [nn.Linear(*W.shape) for W, _ in weights]
    for layer, (W, b) in zip(layers, weights, strict=True):
        layer.load_state_dict({"weight": np.ascontiguousarray(W.T), "bias": b})
    return layers


def training_step(model, cost, x, y, lr):
    optimizer = optim.SGD(model.parameters(), lr=lr)

    def step():
        loss = cost(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return step
