"""MyGrad, with memory guarding off as its documentation advises for speed."""

import mygrad as mg
import numpy as np
from mygrad.nnet.activations import relu, sigmoid
from mygrad.nnet.losses import softmax_crossentropy

from contestants.tensorgrad import on_each

mg.turn_memory_guarding_off()


def shallow(weights, batches, lr):
    def loss(parameters, x, y):
        a = x
        for W, b in parameters:
            a = sigmoid(a @ W + b)
        return 0.5 * mg.sum((a - y) ** 2) / len(x)

    return training_step(loss, weights, batches, lr)


def deep(weights, batches, lr):
    def loss(parameters, x, y):
        a = x
        for W, b in parameters[:-1]:
            a = relu(a @ W + b)
        W, b = parameters[-1]
        return softmax_crossentropy(a @ W + b, y)

    return training_step(loss, weights, batches, lr)


def training_step(loss, weights, batches, lr):
    parameters = [(mg.tensor(W), mg.tensor(b)) for W, b in weights]

    def step(x, y):
        cost = loss(parameters, x, y)
        cost.backward()
        for layer in parameters:
            for p in layer:
                p.data -= lr * p.grad
                p.null_grad()
        return cost

    return on_each(step, batches)


def gradients(f, points, constants):
    def both(x):
        x = mg.tensor(x)
        value = f(mg, x, *constants)
        value.backward()
        return value.data, x.grad

    return on_each(both, points)


def gradient(f, variables, constants):
    xs = [mg.tensor(x) for x in variables]

    def step():
        f(mg, *xs, *constants).backward()
        return [x.grad for x in xs]

    return step


def jacobian(f, variables, constants):
    """A sweep clears the graph, so each row computes the function again."""
    (x,) = map(mg.tensor, variables)
    rows = np.eye(f(mg, x, *constants).size)

    def step():
        jacobian = np.empty((len(rows), x.size))
        for i, row in enumerate(rows):
            f(mg, x, *constants).backward(row)
            jacobian[i] = x.grad
        return jacobian

    return step


def hessian(*_):
    raise NotImplementedError("MyGrad differentiates once")


hvp = hessian
