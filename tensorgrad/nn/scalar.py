"""micrograd's networks: every weight a node of its own, to be drawn and stepped through.

A neuron does not care whether its inputs are numbers or columns of a batch, so the same 337-node
network also takes a whole batch at once: `MLP(2, [16, 16, 1])(X)` for `X` of shape (n, 2).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from tensorgrad.nn.module import Module
from tensorgrad.ops.nn.activation import relu, sigmoid
from tensorgrad.random import generator
from tensorgrad.value import Value

ACTIVATIONS: dict[str, Any] = {"relu": relu, "sigmoid": sigmoid, "tanh": np.tanh}


class Neuron(Module):
    """activation(w · x + b), of scalar weights drawn from U(-1, 1) and bias 0.

    `nonlin=False` leaves out the activation ("relu", "sigmoid", "tanh" or a function).

    >>> neuron = Neuron(2)
    >>> neuron
    ReLUNeuron(2)
    >>> len(neuron.parameters())
    3
    """

    def __init__(
        self, nin: int, nonlin: bool = True, activation: Any = "relu", rng: Any = None
    ) -> None:
        if not callable(activation) and activation not in ACTIVATIONS:
            raise ValueError(f"no activation {activation!r}; there are {', '.join(ACTIVATIONS)}")
        self.w = [Value(w) for w in generator(rng).uniform(-1, 1, nin)]
        self.b = Value(0.0)
        self.nonlin, self.activation = nonlin, activation

    def forward(self, x: Sequence[Any]) -> Value:
        if len(x) != len(self.w):
            raise ValueError(f"{self!r} got {len(x)} inputs")
        z: Value = sum((wi * xi for wi, xi in zip(self.w, x)), self.b)
        if not self.nonlin:
            return z
        a: Value = ACTIVATIONS.get(self.activation, self.activation)(z)
        return a

    def __repr__(self) -> str:
        name = getattr(self.activation, "name", self.activation)
        kind = {"relu": "ReLU", "sigmoid": "Sigmoid", "tanh": "Tanh"}.get(name, str(name))
        return f"{kind if self.nonlin else 'Linear'}Neuron({len(self.w)})"


class Layer(Module):
    """`nout` neurons that see the same `nin` inputs; a single neuron's answer is not in a list."""

    def __init__(self, nin: int, nout: int, **neuron: Any) -> None:
        if nin < 0 or nout < 0:
            raise ValueError(f"Layer({nin}, {nout}): no size can be negative")
        rng = generator(neuron.pop("rng", None))
        self.neurons = [Neuron(nin, rng=rng, **neuron) for _ in range(nout)]

    def forward(self, x: Sequence[Any]) -> Any:
        out = [neuron(x) for neuron in self.neurons]
        return out[0] if len(out) == 1 else out

    def __repr__(self) -> str:
        return f"Layer of [{', '.join(map(str, self.neurons))}]"


class MLP(Module):
    """Layers of scalar neurons, the last one without activation.

    `MLP(nin, nouts)(x)`: for a sequence of `nin` numbers or Values a Value (a list of them where
    the last layer has several neurons); for an array (n, nin) a Value of shape (n, nouts[-1]).

    >>> model = MLP(2, [16, 16, 1])
    >>> len(model.parameters())
    337
    >>> model(np.zeros((5, 2))).shape
    (5, 1)
    """

    def __init__(
        self, nin: int, nouts: Sequence[int], activation: Any = "relu", rng: Any = None
    ) -> None:
        rng = generator(rng)
        sizes = [nin, *nouts]
        self.layers = [
            Layer(a, b, nonlin=i != len(nouts), activation=activation, rng=rng)
            for i, (a, b) in enumerate(pairwise(sizes), start=1)
        ]

    def forward(self, x: Any) -> Any:
        if any(isinstance(row, (list, tuple)) for row in x):
            x = np.asarray(x)
        batch = getattr(x, "ndim", 1) > 1
        out: Any = [x[..., i] for i in range(x.shape[-1])] if batch else x
        for layer in self.layers:
            out = layer(out if isinstance(out, (list, tuple)) or out is x else [out])
        if batch:
            return np.stack(out if isinstance(out, list) else [out], axis=-1)
        return out

    def __repr__(self) -> str:
        return f"MLP of [{', '.join(map(str, self.layers))}]"
