"""Activations. Each is one declaration: its Module and documentation follow from the function."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorgrad.nn.module import module_of
from tensorgrad.ops import nn as ops

sigmoid = ops.activation.sigmoid
relu = ops.activation.relu
softplus = ops.activation.softplus
Sigmoid = module_of("Sigmoid", sigmoid, 1, "1 / (1 + e⁻ˣ).")
ReLU = module_of("ReLU", relu, 1, "max(0, x), with gradient 0 at 0.")
Softplus = module_of("Softplus", softplus, 1, "ln(1 + eˣ).")


def tanh(x: Any) -> Any:
    """The hyperbolic tangent, entry by entry."""
    return np.tanh(x)


Tanh = module_of("Tanh", tanh, 1)


def softmax(x: Any, dim: int = -1) -> Any:
    """e^x / Σ e^x along `dim`; same shape.

    >>> softmax(np.log([1.0, 3.0])).round(6)
    array([0.25, 0.75])
    """
    return ops.softmax.softmax(x, axis=dim)


Softmax = module_of("Softmax", softmax, 1)


def log_softmax(x: Any, dim: int = -1) -> Any:
    """ln softmax(x) along `dim`, without underflow; same shape.

    >>> log_softmax(np.array([0.0, 1000.0]))
    array([-1000.,     0.])
    """
    return ops.softmax.log_softmax(x, axis=dim)


LogSoftmax = module_of("LogSoftmax", log_softmax, 1)
