"""Modules made of Modules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tensorgrad.nn.module import Module


class Sequential(Module):
    """Modules (or functions) one after the other. A slice is a Sequential of the same Modules.

    >>> import numpy as np
    >>> from tensorgrad import nn
    >>> model = Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1))
    >>> model(np.zeros((5, 3))).shape
    (5, 1)
    >>> model[:-1]
    Sequential(Linear(3, 2), ReLU())
    """

    def __init__(self, *layers: Any) -> None:
        self.layers = list(layers)

    def forward(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer(x)
        return x

    def __iter__(self) -> Iterator[Any]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, i: Any) -> Any:
        return Sequential(*self.layers[i]) if isinstance(i, slice) else self.layers[i]
