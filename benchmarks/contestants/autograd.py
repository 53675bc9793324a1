"""HIPS autograd. Targets are one-hot rows, which it differentiates faster than indexing."""

from functools import partial

import autograd
import autograd.numpy as np
from autograd import value_and_grad

from contestants.tensorgrad import on_each


def shallow(weights, batches, lr):
    def loss(parameters, x, y):
        a = x
        for W, b in parameters:
            a = 1 / (1 + np.exp(-(a @ W + b)))
        return 0.5 * np.sum((a - y) ** 2) / len(x)

    return training_step(loss, weights, batches, lr)


def deep(weights, batches, lr):
    eye = np.eye(weights[-1][1].size, dtype=weights[0][0].dtype)
    batches = [(x, eye[y]) for x, y in batches]

    def loss(parameters, x, y):
        a = x
        for W, b in parameters[:-1]:
            a = np.maximum(a @ W + b, 0)
        W, b = parameters[-1]
        z = a @ W + b
        z = z - np.max(z, axis=1, keepdims=True)
        return np.mean(np.log(np.sum(np.exp(z), axis=1)) - np.sum(z * y, axis=1))

    return training_step(loss, weights, batches, lr)


def training_step(loss, weights, batches, lr):
    parameters = [(W.copy(), b.copy()) for W, b in weights]
    loss_and_gradients = value_and_grad(loss)

    def step(x, y):
        cost, gradients = loss_and_gradients(parameters, x, y)
        for layer, layer_gradients in zip(parameters, gradients, strict=True):
            for p, g in zip(layer, layer_gradients, strict=True):
                p -= lr * g
        return cost

    return on_each(step, batches)


def gradients(f, points, constants):
    both = value_and_grad(partial(f, np))
    return on_each(lambda x: both(x, *constants), points)


def gradient(f, variables, constants):
    derivative = autograd.grad(partial(f, np), argnum=tuple(range(len(variables))))
    return partial(derivative, *variables, *constants)


def hessian(f, variables, constants):
    return partial(autograd.hessian(partial(f, np)), *variables, *constants)


def hvp(f, variables, constants, tangents):
    product = autograd.make_hvp(partial(f, np), argnum=tuple(range(len(variables))))

    def step():
        times_hessian, _ = product(*variables, *constants)
        return times_hessian(tuple(tangents))

    return step


def jacobian(f, variables, constants):
    return partial(autograd.jacobian(partial(f, np)), *variables, *constants)
