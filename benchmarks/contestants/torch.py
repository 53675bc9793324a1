"""PyTorch, eager, or by torch.compile."""

from functools import partial
from itertools import cycle

import torch
from torch import func, nn
from torch.nn.functional import cross_entropy, mse_loss


def shallow(weights, batches, lr, compiled=False):
    layers = linear_layers(weights)
    model = nn.Sequential(layers[0], nn.Sigmoid(), layers[1], nn.Sigmoid())
    half = 0.5 / len(batches[0][0])
    cost = lambda a, y: half * mse_loss(a, y, reduction="sum")
    return training_step(model, cost, sgd(model, lr), batches, compiled)


def deep(weights, batches, lr, compiled=False):
    layers = linear_layers(weights)
    model = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])
    return training_step(model, cross_entropy, sgd(model, lr), batches, compiled)


def convolutional(weights, batches, lr, compiled=False, last=False):
    """`last`: in the memory layout with channels last."""
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
    if last:
        model = model.to(memory_format=torch.channels_last)
    return training_step(model, cross_entropy, sgd(model, lr), batches, compiled)


def linear_layers(weights):
    layers = [nn.Linear(*W.shape) for W, _ in weights]
    with torch.no_grad():
        for layer, (W, b) in zip(layers, weights, strict=True):
            layer.weight.copy_(torch.tensor(W.T))
            layer.bias.copy_(torch.tensor(b))
    return layers


def lstm(weights, batches, lr, compiled=False):
    units, pixels = weights["lstm.weight_hh_l0"].shape[1], batches[0][0].shape[2]

    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(pixels, units, batch_first=True)
            self.answer = nn.Linear(units, len(weights["answer.bias"]))

        def forward(self, x):
            return self.answer(self.lstm(x)[0][:, -1])

    model = Reader()
    model.load_state_dict({name: torch.tensor(a) for name, a in weights.items()})
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    return training_step(model, cross_entropy, optimizer, batches, compiled)


def sgd(model, lr):
    return torch.optim.SGD(model.parameters(), lr=lr)


def training_step(model, cost, optimizer, batches, compiled=False):
    """`compiled`: forward and gradients by torch.compile, as its users do."""
    batches = cycle([tensors(batch) for batch in batches])
    loss_of = lambda x, y: cost(model(x), y)
    loss_of = torch.compile(loss_of) if compiled else loss_of

    def step():
        loss = loss_of(*next(batches))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return step


class Spelled:
    """PyTorch's functions under NumPy's names, for numbers among the arguments too."""

    def maximum(self, x, y):
        return torch.clamp(x, min=y)

    def minimum(self, x, y):
        return torch.clamp(x, max=y)

    def __getattr__(self, name):
        return getattr(torch, name)


def function(f, arrays, compiled=False):
    compute, arrays = partial(f, Spelled()), cycle(tensors(arrays))
    compute = torch.compile(compute) if compiled else compute
    return lambda: compute(next(arrays))


def gradients(f, points, constants, compiled=False):
    points, constants = cycle([tensors(point) for point in points]), tensors(constants)
    compute = partial(f, Spelled())
    compute = torch.compile(compute) if compiled else compute

    def step():
        x = next(points)[0].requires_grad_()
        value = compute(x, *constants)
        return value, *torch.autograd.grad(value, x)

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
