"""PyTorch, eager."""

from functools import partial

import torch
from torch import func, nn
from torch.nn.functional import cross_entropy, mse_loss


def shallow(weights, x, y, lr):
    layers = linear_layers(weights)
    model = nn.Sequential(layers[0], nn.Sigmoid(), layers[1], nn.Sigmoid())
    half = 0.5 / len(x)
    return training_step(model, lambda a, y: half * mse_loss(a, y, reduction="sum"), x, y, lr)


def deep(weights, x, y, lr):
    layers = linear_layers(weights)
    model = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])
    return training_step(model, cross_entropy, x, y, lr)


def convolutional(weights, x, y, lr):
    kernels = [nn.Conv2d(W.shape[1], W.shape[0], 5) for W, _ in weights[:2]]
    with torch.no_grad():
        for layer, (W, b) in zip(kernels, weights[:2], strict=True):
            layer.weight.copy_(torch.tensor(W))
            layer.bias.copy_(torch.tensor(b))
    layers = linear_layers(weights[2:])
    model = nn.Sequential(
        *(kernels[0], nn.ReLU(), nn.MaxPool2d(2), kernels[1], nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), layers[0], nn.ReLU(), layers[1]),
    )
    return training_step(model, cross_entropy, x, y, lr)


def linear_layers(weights):
    layers = [nn.Linear(*W.shape) for W, _ in weights]
    with torch.no_grad():
        for layer, (W, b) in zip(layers, weights, strict=True):
            layer.weight.copy_(torch.tensor(W.T))
            layer.bias.copy_(torch.tensor(b))
    return layers


def training_step(model, cost, x, y, lr):
    x, y = torch.tensor(x), torch.tensor(y)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)

    def step():
        loss = cost(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return step


def gradient(f, variables, constants):
    derivative = func.grad(partial(f, torch), argnums=tuple(range(len(variables))))
    return partial(derivative, *tensors(variables), *tensors(constants))


def hessian(f, variables, constants):
    return partial(func.hessian(partial(f, torch)), *tensors(variables), *tensors(constants))


def hvp(f, variables, constants, tangents):
    variables, constants, tangents = map(tensors, (variables, constants, tangents))
    gradient = func.grad(partial(f, torch), argnums=tuple(range(len(variables))))

    def step():
        _, product = func.jvp(lambda *xs: gradient(*xs, *constants), variables, tangents)
        return product

    return step


def jacobian(f, variables, constants):
    return partial(func.jacrev(partial(f, torch)), *tensors(variables), *tensors(constants))


def tensors(arrays):
    return tuple(map(torch.tensor, arrays))
