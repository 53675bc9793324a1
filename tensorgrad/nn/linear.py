"""Linear maps, as layers: one node of the graph for a whole layer and batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tensorgrad.engine.node import NO_PARAMS
from tensorgrad.engine.primitive import apply
from tensorgrad.nn.init import Initialiser, find
from tensorgrad.nn.module import Module, learning
from tensorgrad.ops import nn as ops
from tensorgrad.random import generator
from tensorgrad.value import Value


def linear(x: Any, weight: Any, bias: Any = None) -> Any:
    """x Wᵀ + b: x (..., in), weight (out, in), bias (out)."""
    if bias is None:
        return x @ weight.T
    return apply(ops.linear.linear, (x, weight, bias), NO_PARAMS)


class Linear(Module):
    """x Wᵀ + b, from (..., in_features) to (..., out_features); weight (out, in) as in PyTorch.

    `init`: an initialiser or its name: normal, lecun, xavier, he, uniform (PyTorch's default).
    `rng`: a NumPy generator or a seed.

    >>> Linear(784, 30)(np.zeros((10, 784))).shape
    (10, 30)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        init: str | Initialiser = "uniform",
        dtype: npt.DTypeLike = np.float32,
        rng: Any = None,
    ) -> None:
        if in_features < 1 or out_features < 1:
            raise ValueError(f"Linear({in_features}, {out_features}): both sizes must be positive")
        draw, dtype = find(init), learning(dtype)
        weight, offset = draw(generator(rng), out_features, in_features)
        self.weight = Value(weight.astype(dtype))
        self.bias = Value(offset.astype(dtype)) if bias else None

    def forward(self, x: Any) -> Any:
        return linear(x, self.weight, self.bias)


class Identity(Module):
    """x itself."""

    def forward(self, x: Any) -> Any:
        return x
