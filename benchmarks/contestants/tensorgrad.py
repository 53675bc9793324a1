"""tensorgrad, eager, through its public API."""

from functools import partial
from itertools import cycle

import numpy as np

import tensorgrad as tg
from tensorgrad import nn, optim
from tensorgrad.nn.functional import cross_entropy, quadratic


def shallow(weights, batches, lr, wrap=None):
    layers = linear_layers(weights)
    model = nn.Sequential(layers[0], nn.Sigmoid(), layers[1], nn.Sigmoid())
    return training_step(model, quadratic, optim.SGD(model.parameters(), lr=lr), batches, wrap)


def deep(weights, batches, lr, wrap=None):
    layers = linear_layers(weights)
    model = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])
    return training_step(model, cross_entropy, optim.SGD(model.parameters(), lr=lr), batches, wrap)


def convolutional(weights, batches, lr, wrap=None):
    (W1, b1), (W2, b2), *dense = weights
    kernels = [nn.Conv2d(W.shape[1], W.shape[0], 5) for W in (W1, W2)]
    for layer, W, b in zip(kernels, (W1, W2), (b1, b2), strict=True):
        layer.load_state_dict({"weight": W, "bias": b})
    layers = linear_layers(dense)
    model = nn.Sequential(
        *(kernels[0], nn.ReLU(), nn.MaxPool2d(2), kernels[1], nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), layers[0], nn.ReLU(), layers[1]),
    )
    return training_step(model, cross_entropy, optim.SGD(model.parameters(), lr=lr), batches, wrap)


def linear_layers(weights):
    layers = [nn.Linear(*W.shape) for W, _ in weights]
    for layer, (W, b) in zip(layers, weights, strict=True):
        layer.load_state_dict({"weight": np.ascontiguousarray(W.T), "bias": b})
    return layers


def lstm(weights, batches, lr, wrap=None):
    class Reader(nn.Module):
        def __init__(self):
            units, pixels = weights["lstm.weight_hh_l0"].shape[1], batches[0][0].shape[2]
            self.lstm = nn.LSTM(pixels, units, batch_first=True)
            self.answer = nn.Linear(units, len(weights["answer.bias"]))

        def forward(self, x):
            return self.answer(self.lstm(x)[0][:, -1])

    model = Reader()
    model.load_state_dict(weights)
    optimizer = optim.Adam(model.parameters(), lr=lr)
    return training_step(model, cross_entropy, optimizer, batches, wrap)


def training_step(model, cost, optimizer, batches, wrap=None):
    """The step on the next batch; `wrap` makes another function of the step on any."""

    def step(x, y):
        loss = cost(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if wrap is not None:
            optimizer.zero_grad()
        return loss

    parameters = lambda: [p.data for p in model.parameters()]
    return on_each(step if wrap is None else wrap(step), batches, parameters)


def on_each(f, inputs, parameters=list):
    """A step: `f` of the next of the inputs. `parameters` answers those as they are now."""
    inputs = cycle(inputs)

    def step():
        return f(*next(inputs))

    step.f, step.parameters = f, parameters
    return step


def function(f, arrays, wrap=None):
    """`f(np, array)`, which is eager NumPy; not of `wrap`."""
    if wrap is None:
        raise NotImplementedError("is NumPy there")
    return on_each(wrap(partial(f, np)), [(x,) for x in arrays])


def gradients(f, points, constants, wrap=None):
    """The value and gradient of `f(np, x, *constants)` by each point in turn."""
    both = tg.value_and_grad(partial(f, np))
    both = both if wrap is None else wrap(both)
    step = on_each(lambda x: both(x, *constants), points)
    step.f = both
    return step


def gradient(f, variables, constants):
    derivative = tg.grad(partial(f, np), argnums=tuple(range(len(variables))))
    return partial(derivative, *variables, *constants)


def hessian(f, variables, constants):
    return partial(tg.hessian(partial(f, np)), *variables, *constants)


def hvp(f, variables, constants, tangents):
    return partial(tg.hvp, lambda *xs: f(np, *xs, *constants), variables, tangents)


def jacobian(f, variables, constants):
    return partial(tg.jacobian(partial(f, np)), *variables, *constants)
