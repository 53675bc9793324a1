"""Initialisers: each draws the weights (out, in) and biases (out) of a layer.

`n` is the number of inputs of a neuron, `rng` a `numpy.random.Generator`.

>>> weights, biases = he(np.random.default_rng(0), 30, 784)
>>> weights.shape, biases.shape
((30, 784), (30,))
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Parameters = tuple[npt.NDArray[Any], npt.NDArray[Any]]
Initialiser = Callable[[np.random.Generator, int, int], Parameters]


def normal(rng: np.random.Generator, out: int, n: int) -> Parameters:
    """N(0, 1) for both: Nielsen's first network (ch. 1), and why deep ones saturate (ch. 3)."""
    return rng.standard_normal((out, n)), rng.standard_normal(out)


def lecun(rng: np.random.Generator, out: int, n: int) -> Parameters:
    """N(0, 1/n), biases N(0, 1): Nielsen ch. 3; LeCun et al., Efficient BackProp (1998)."""
    return rng.standard_normal((out, n)) / math.sqrt(n), rng.standard_normal(out)


def xavier(rng: np.random.Generator, out: int, n: int) -> Parameters:
    """N(0, 2/(n + out)), biases 0: Glorot and Bengio (2010), eq. 12."""
    return rng.standard_normal((out, n)) * math.sqrt(2 / (n + out)), np.zeros(out)


def he(rng: np.random.Generator, out: int, n: int) -> Parameters:
    """N(0, 2/n), biases 0, for ReLU: He et al. (2015), eq. 10."""
    return rng.standard_normal((out, n)) * math.sqrt(2 / n), np.zeros(out)


def uniform(rng: np.random.Generator, out: int, n: int) -> Parameters:
    """U(-1/√n, 1/√n) for both: PyTorch's default, and gonn's."""
    limit = 1 / math.sqrt(n)
    return rng.uniform(-limit, limit, (out, n)), rng.uniform(-limit, limit, out)


by_name: dict[str, Initialiser] = {f.__name__: f for f in (normal, lecun, xavier, he, uniform)}


def find(init: str | Initialiser) -> Initialiser:
    """The initialiser of that name; ValueError with the names otherwise."""
    if callable(init):
        return init
    if init not in by_name:
        raise ValueError(f"no initialiser {init!r}; there are {', '.join(by_name)}")
    return by_name[init]
