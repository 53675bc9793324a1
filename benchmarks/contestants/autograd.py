"""HIPS autograd. Targets are one-hot rows, which it differentiates faster than indexing."""

from functools import partial

import autograd
import autograd.numpy as np
from autograd import value_and_grad


def shallow(weights, x, y, lr):
    def loss(parameters):
        a = x
        for W, b in parameters:
            a = 1 / (1 + np.exp(-(a @ W + b)))
        return 0.5 * np.sum((a - y) ** 2) / len(x)

    return training_step(loss, weights, lr)


def deep(weights, x, y, lr):
    one_hot = np.eye(weights[-1][1].size, dtype=x.dtype)[y]

    def loss(parameters):
        a = x
        for W, b in parameters[:-1]:
            a = np.maximum(a @ W + b, 0)
        W, b = parameters[-1]
        z = a @ W + b
        z = z - np.max(z, axis=1, keepdims=True)
        return np.mean(np.log(np.sum(np.exp(z), axis=1)) - np.sum(z * one_hot, axis=1))

    return training_step(loss, weights, lr)


def training_step(loss, weights, lr):
    parameters = [(W.copy(), b.copy()) for W, b in weights]
    loss_and_gradients = value_and_grad(loss)

    def step():
        cost, gradients = loss_and_gradients(parameters)
        for layer, layer_gradients in zip(parameters, gradients, strict=True):
            for p, g in zip(layer, layer_gradients, strict=True):
                p -= lr * g
        return cost

    return step


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
