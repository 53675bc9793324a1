"""A digit classifier, trained as in M. Nielsen's book: network, cost, plain gradient descent.

The cost decides how the network ends. Each cost but the quadratic is computed from the weighted
sums of the last layer, and the finished model ends in the activation that belongs to it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np

from tensorgrad import data, nn
from tensorgrad.nn import functional
from tensorgrad.optim import SGD
from tensorgrad.train import Epoch, fit

Activation = Literal["sigmoid", "tanh", "relu"]
Cost = Literal["quadratic", "cross-entropy", "softmax"]
Data = Literal["digits", "mnist"]

ACTIVATIONS: dict[Activation, type[nn.Module]] = {
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
}


class _Cost(NamedTuple):
    loss: Callable[[Any, Any], Any]
    included: type[nn.Module] | None  # the activation within the loss, which the model ends in
    lr: float  # what trained well on both data sets: with sigmoid,
    lr_other: float  # and with the other activations


COSTS: dict[Cost, _Cost] = {
    "quadratic": _Cost(functional.quadratic, None, 3.0, 0.5),
    "cross-entropy": _Cost(functional.sigmoid_cross_entropy, nn.Sigmoid, 0.5, 0.1),
    "softmax": _Cost(functional.cross_entropy, nn.Softmax, 0.5, 0.1),
}


def learning_rate(cost: Cost, activation: Activation) -> float:
    """The default."""
    return COSTS[cost].lr if activation == "sigmoid" else COSTS[cost].lr_other


def initialiser(cost: Cost, activation: Activation) -> str:
    """N(0, 1) as in Nielsen's first network, the better ones of his third chapter elsewhere."""
    if activation == "relu":
        return "he"
    return "normal" if (cost, activation) == ("quadratic", "sigmoid") else "lecun"


def load_data(name: Data, folder: str | os.PathLike[str] | None = None) -> data.TrainTest:
    """The data set; of MNIST's training images the first 50,000, as in the book."""
    if name == "digits":
        return data.digits()
    x, y, x_test, y_test = data.mnist(folder)
    return data.TrainTest(x[:50_000], y[:50_000], x_test, y_test)


def one_hot(y: Any) -> Any:
    """Ten numbers for each class: what the networks answer, ideally."""
    return np.eye(10, dtype=np.float32)[y]


def train(
    images: data.TrainTest,
    *,
    hidden: Sequence[int],
    activation: Activation,
    cost: Cost,
    epochs: int,
    batch_size: int,
    lr: float,
    l2: float,
    rng: np.random.Generator,
    on_epoch: Callable[[nn.Module, Epoch], object],
) -> list[Epoch]:
    """Train on the images and return the history. `on_epoch` is given the model as it stands.
    KeyboardInterrupt for Ctrl-C.

    `l2` is Nielsen's λ: each step shrinks the weights, not the biases, by 1 - lr λ/n (eq. 93).
    """
    loss, included = COSTS[cost].loss, COSTS[cost].included
    init = initialiser(cost, activation)
    sizes = [images.x_train.shape[1], *hidden, 10]
    layers: list[nn.Module] = []
    for i, (a, b) in enumerate(pairwise(sizes), start=1):
        layers.append(nn.Linear(a, b, init=init, rng=rng))
        layers.append(ACTIVATIONS[activation]() if i < len(sizes) - 1 else nn.Sigmoid())
    if included is not None:
        layers.pop()
    body = nn.Sequential(*layers)
    model = body if included is None else nn.Sequential(*layers, included())

    parameters = body.parameters()
    weights = [p for p in parameters if p.ndim == 2]
    biases = [p for p in parameters if p.ndim == 1]
    groups = [{"params": weights, "weight_decay": l2 / len(images.x_train)}, {"params": biases}]
    history = fit(
        body,
        data.DataLoader(
            images.x_train, one_hot(images.y_train), batch_size=batch_size, shuffle=True, rng=rng
        ),
        loss,
        SGD(groups, lr=lr),
        epochs=epochs,
        validation=(images.x_test, one_hot(images.y_test)),
        on_epoch=lambda line: on_epoch(model, line),
    )
    if history.interrupted:
        raise KeyboardInterrupt
    return history
