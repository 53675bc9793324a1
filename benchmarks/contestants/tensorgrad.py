"""tensorgrad, eager, through its public API."""

from functools import partial

import numpy as np

import tensorgrad as tg
from tensorgrad import nn, optim
from tensorgrad.nn.functional import cross_entropy, quadratic


def shallow(weights, x, y, lr, wrap=None):
    layers = linear_layers(weights)
    model = nn.Sequential(layers[0], nn.Sigmoid(), layers[1], nn.Sigmoid())
    return training_step(model, quadratic, x, y, lr, wrap)


def deep(weights, x, y, lr, wrap=None):
    layers = linear_layers(weights)
    model = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])
    return training_step(model, cross_entropy, x, y, lr, wrap)


def convolutional(weights, x, y, lr, wrap=None):
    (W1, b1), (W2, b2), *dense = weights
    kernels = [nn.Conv2d(W.shape[1], W.shape[0], 5) for W in (W1, W2)]
    for layer, W, b in zip(kernels, (W1, W2), (b1, b2), strict=True):
        layer.load_state_dict({"weight": W, "bias": b})
    layers = linear_layers(dense)
    model = nn.Sequential(
        *(kernels[0], nn.ReLU(), nn.MaxPool2d(2), kernels[1], nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), layers[0], nn.ReLU(), layers[1]),
    )
    return training_step(model, cross_entropy, x, y, lr, wrap)


def linear_layers(weights):
    layers = [nn.Linear(*W.shape) for W, _ in weights]
    for layer, (W, b) in zip(layers, weights, strict=True):
        layer.load_state_dict({"weight": np.ascontiguousarray(W.T), "bias": b})
    return layers


def training_step(model, cost, x, y, lr, wrap=None):
    """The step on this batch; `wrap` makes another function of the step on any."""
    optimizer = optim.SGD(model.parameters(), lr=lr)

    def step(x, y):
        loss = cost(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if wrap is not None:
            optimizer.zero_grad()
        return loss

    return partial(step if wrap is None else wrap(step), x, y)


def gradient(f, variables, constants):
    derivative = tg.grad(partial(f, np), argnums=tuple(range(len(variables))))
    return partial(derivative, *variables, *constants)


def hessian(f, variables, constants):
    return partial(tg.hessian(partial(f, np)), *variables, *constants)


def hvp(f, variables, constants, tangents):
    return partial(tg.hvp, lambda *xs: f(np, *xs, *constants), variables, tangents)


def jacobian(f, variables, constants):
    return partial(tg.jacobian(partial(f, np)), *variables, *constants)
