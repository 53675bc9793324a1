"""The networks that `tensorgrad train` knows, and how each is trained where nothing else is said.

All take rows of pixels, and begin with what makes images of them, so that a file holds all that is
needed to read a picture.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from tensorgrad import nn
from tensorgrad.commands.choices import Cost, misuse
from tensorgrad.nn.init import find
from tensorgrad.train import calibrate, predict
from tensorgrad.value import Value

Shape = tuple[int, int, int]  # channels, height, width


class Plan(NamedTuple):
    """What a network is made of."""

    shape: Shape
    hidden: Sequence[int]
    classes: int
    activation: type[nn.Module]
    bias: bool


def mlp(plan: Plan, rng: Any) -> list[nn.Module]:
    """Layers of neurons, each connected to all of the one before: Nielsen's networks."""
    return dense([int(np.prod(plan.shape)), *plan.hidden, plan.classes], plan, rng)


def dense(sizes: Sequence[int], plan: Plan, rng: Any) -> list[nn.Module]:
    """Linear layers with activations between them."""
    layers: list[nn.Module] = []
    for a, b in pairwise(sizes):
        layers += [nn.Linear(a, b, plan.bias, rng=rng), plan.activation()]
    return layers[:-1]


def conv(plan: Plan, rng: Any) -> list[nn.Module]:
    """Two convolutions with pooling, then dense layers: LeCun et al. (1998), in today's form."""
    channels, height, width = plan.shape
    if min(height, width) < 4:
        raise ValueError(f"images of {width}x{height} pixels are too small for --model conv")
    kernel = 5 if min(height, width) >= 16 else 3
    layers: list[nn.Module] = [nn.Unflatten(1, plan.shape)]
    for a, b in pairwise((channels, *CHANNELS)):
        sweep = nn.Conv2d(a, b, kernel, padding=kernel // 2, bias=plan.bias, rng=rng)
        layers += [sweep, plan.activation(), nn.MaxPool2d(2)]
    pixels = CHANNELS[-1] * (height // 4) * (width // 4)
    return [*layers, nn.Flatten(), *dense([pixels, *plan.hidden, plan.classes], plan, rng)]


CHANNELS = (16, 32)


def lstm(plan: Plan, rng: Any) -> list[nn.Module]:
    """An LSTM that reads the rows from top to bottom; what it remembers at the end tells all."""
    channels, height, width = plan.shape
    size, *more = plan.hidden
    if {*more} - {size}:
        raise misuse("--hidden", f"the layers of --model lstm have one size: {size},{size}")
    return [
        nn.Unflatten(1, (channels * height, width)),
        nn.LSTM(width, size, len(plan.hidden), plan.bias, batch_first=True, rng=rng),
        nn.Last(),
        nn.Linear(size, plan.classes, plan.bias, rng=rng),
    ]


class Kind(NamedTuple):
    """A network, and its settings where nothing else is said. `lr`: that of its `optimizer`."""

    layers: Callable[[Plan, Any], list[nn.Module]]
    hidden: tuple[int, ...] = (30,)
    activation: str = "sigmoid"
    cost: str = "quadratic"
    optimizer: str = "sgd"
    lr: float | None = None
    batch_size: int = 10
    epochs: int = 30
    init: str | None = None
    bias: bool = True


KINDS = {
    "mlp": Kind(mlp),
    "conv": Kind(conv, (100,), "relu", "softmax", "adam", 2e-3, batch_size=32, epochs=10),
    "lstm": Kind(lstm, (128,), "tanh", "softmax", "adam", 2e-3, batch_size=32, epochs=10),
    "gonn": Kind(mlp, (200,), lr=0.1, batch_size=1, epochs=5, init="uniform", bias=False),
}
RATES = {"quadratic": (3.0, 0.5)}  # of plain descent, what trained well: with sigmoid, and without
OTHER_RATES = (0.5, 0.1)


def rate(kind: Kind, optimizer: str, cost: str, activation: str) -> float | None:
    """The learning rate where none is given; None for what the optimiser itself has."""
    name, _, settings = optimizer.partition(":")
    if kind.lr is not None and name.lower() == kind.optimizer:
        return kind.lr
    if name.lower() != "sgd" or "momentum" in settings:
        return None
    return RATES.get(cost, OTHER_RATES)[activation != "sigmoid"]


def initialiser(kind: Kind, cost: str, activation: str) -> str | None:
    """That of mlp: N(0, 1) as in Nielsen's first network, elsewhere those of his third chapter and
    of He; None for what the layers have of their own."""
    if kind.init is not None or kind.layers is not mlp:
        return kind.init
    if activation == "relu":
        return "he"
    return "normal" if (cost, activation) == ("quadratic", "sigmoid") else "lecun"


def build(
    kind: Kind, plan: Plan, cost: Cost, init: str | None, rng: np.random.Generator
) -> tuple[nn.Sequential, nn.Sequential]:
    """What is trained, and the model that it is a part of: they differ by the last activation,
    where the cost has it."""
    layers = kind.layers(plan, rng if init is None else 0)
    if cost.included is None:
        layers.append(nn.Sigmoid())
    body = nn.Sequential(*layers)
    if init is not None:
        draw(body, init, rng)
    return body, body if cost.included is None else nn.Sequential(*layers, cost.included())


def calibrated(model: nn.Sequential, x: Any, y: Any) -> nn.Sequential:
    """The model with probabilities that are right as often as they say, of rows that it was not
    trained on: the layer before its softmax, divided by their temperature (`train.calibrate`).

    As it is without a softmax, and where no temperature is best.
    """
    *layers, last, ending = model
    if not isinstance(ending, nn.Softmax):
        return model
    try:
        temperature = calibrate(predict(nn.Sequential(*layers, last), x, 1000), y)
    except ValueError:  # all is right, or all is chance
        return model
    last = copy.deepcopy(last)
    for p in last.parameters():
        p.data = p.data / temperature
    return nn.Sequential(*layers, last, ending)


def draw(model: nn.Module, init: str, rng: np.random.Generator) -> None:
    """Weights and biases from an initialiser; the inputs of a kernel are all entries it has."""
    for _, module in model.named_modules():
        for name, weight in [*vars(module).items()]:
            if isinstance(weight, Value) and weight.ndim > 1:
                n = weight.shape[0]
                drawn, offset = find(init)(rng, n, weight.size // n)
                weight.data = drawn.reshape(weight.shape).astype(weight.dtype)
                bias = getattr(module, name.replace("weight", "bias"), None)
                if isinstance(bias, Value):
                    bias.data = offset.astype(bias.dtype)
