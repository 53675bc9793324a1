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
        return apply(ops.linear.linear_map, (x, weight), NO_PARAMS)
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
        self.in_features, self.out_features = in_features, out_features
        draw, dtype = find(init), learning(dtype)
        self.in_features, self.out_features = in_features, out_features
        weight, offset = draw(generator(rng), out_features, in_features)
        self.weight = Value(weight.astype(dtype))
        self.bias = Value(offset.astype(dtype)) if bias else None

    def forward(self, x: Any) -> Any:
        return linear(x, self.weight, self.bias)


def bilinear(input1: Any, input2: Any, weight: Any, bias: Any = None) -> Any:
    """x₁ᵀ Aₒ x₂ + bₒ: of (..., n) and (..., m), with weight (out, n, m) and bias (out), (..., out).

    ValueError for sizes that do not fit.

    >>> bilinear(np.array([1.0, 2.0]), np.array([3.0]), np.ones((1, 2, 1)))
    array([9.])
    """
    out, n, m = weight.shape
    if input1.shape[-1] != n or input2.shape[-1] != m:
        raise ValueError(
            f"bilinear: inputs of shape {input1.shape} and {input2.shape} for a weight "
            f"(out, {n}, {m})"
        )
    table = np.reshape(np.transpose(weight, (1, 0, 2)), (n, out * m))
    rows = np.reshape(input1 @ table, (*input1.shape[:-1], out, m))
    y = np.squeeze(rows @ input2[..., None], -1)
    return y if bias is None else y + bias


class Bilinear(Module):
    """`bilinear`, of in1_features and in2_features to out_features; drawn from U(±1/√in1).

    >>> Bilinear(3, 4, 2)(np.zeros((5, 3)), np.zeros((5, 4))).shape
    (5, 2)
    """

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        *,
        dtype: npt.DTypeLike = np.float32,
        rng: Any = None,
    ) -> None:
        sizes = (out_features, in1_features, in2_features)
        if min(sizes) < 1:
            raise ValueError(f"Bilinear{sizes[1:] + sizes[:1]}: all sizes must be positive")
        self.in1_features, self.in2_features = in1_features, in2_features
        self.out_features = out_features
        rng, dtype, limit = generator(rng), learning(dtype), in1_features**-0.5
        self.weight = Value(rng.uniform(-limit, limit, sizes).astype(dtype))
        offset = rng.uniform(-limit, limit, out_features).astype(dtype)
        self.bias = Value(offset) if bias else None

    def forward(self, input1: Any, input2: Any) -> Any:
        return bilinear(input1, input2, self.weight, self.bias)


class Identity(Module):
    """x itself."""

    def forward(self, x: Any) -> Any:
        return x
