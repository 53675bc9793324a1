"""Initialisers: the first draw the weights (out, in) and biases (out) of a layer, those of
PyTorch, whose names end in _, fill what there is.

`n` is the number of inputs of a neuron, `rng` a `numpy.random.Generator`.

>>> weights, biases = he(np.random.default_rng(0), 30, 784)
>>> weights.shape, biases.shape
((30, 784), (30,))
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any

import numpy as np
import numpy.typing as npt

from tensorgrad.engine.arrays import beside, is_array
from tensorgrad.random import generator

Parameters = tuple[npt.NDArray[Any], npt.NDArray[Any]]
Initialiser = Callable[[np.random.Generator, int, int], Parameters]

# Told how many numbers a Module is about to make: who builds one from a file that is not trusted
# has room for so many.
taking: ContextVar[Callable[[int], object]] = ContextVar("taking", default=lambda n: None)


def full(value: float, shape: int | Sequence[int], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """An array of one value, for a parameter or buffer that is not drawn."""
    taking.get()(math.prod(shape) if isinstance(shape, Sequence) else shape)
    return np.full(shape, value, dtype)


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


# PyTorch's: each fills a Value (or an array) in place and returns it. `rng`: a NumPy generator or
# a seed, None for the program's.


def filled(tensor: Any, numbers: Any) -> Any:
    """`tensor`, with these numbers in its dtype; a Value that learns gets a new array."""
    data = np.empty(tensor.shape, tensor.dtype)
    data[...] = numbers
    if is_array(tensor):
        tensor[...] = beside(data, tensor)
    else:
        tensor.data = beside(data[()], tensor)
    return tensor


def fans(tensor: Any) -> tuple[int, int]:
    """How many inputs a neuron has, and how many outputs an input; ValueError below two axes."""
    shape = tensor.shape
    if len(shape) < 2:
        raise ValueError(f"a weight (out, in, ...) has a fan in and out, shape {shape} has not")
    area = math.prod(shape[2:])
    return shape[1] * area, shape[0] * area


GAINS = {
    **dict.fromkeys(("linear", "sigmoid", "conv1d", "conv2d", "conv3d"), 1.0),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), 1.0),
    "tanh": 5 / 3,
    "relu": math.sqrt(2),
    "selu": 3 / 4,
}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """What weights before an activation are multiplied with; `param`: the slope of leaky_relu.

    >>> calculate_gain("leaky_relu", 1.0)
    1.0
    """
    if nonlinearity == "leaky_relu":
        return math.sqrt(2 / (1 + (0.01 if param is None else param) ** 2))
    if nonlinearity not in GAINS:
        names = ", ".join([*GAINS, "leaky_relu"])
        raise ValueError(f"no gain for {nonlinearity!r}; there are {names}")
    return GAINS[nonlinearity]


def uniform_(tensor: Any, a: float = 0.0, b: float = 1.0, *, rng: Any = None) -> Any:
    """Fill with draws from U(a, b).

    >>> from tensorgrad import Value
    >>> w = uniform_(Value(np.zeros((2, 3))), -1, 1, rng=0)
    >>> bool(np.all(np.abs(w.data) < 1))
    True
    """
    return filled(tensor, generator(rng).uniform(a, b, tensor.shape))


def normal_(tensor: Any, mean: float = 0.0, std: float = 1.0, *, rng: Any = None) -> Any:
    """Fill with draws from N(mean, std²)."""
    return filled(tensor, generator(rng).normal(mean, std, tensor.shape))


def trunc_normal_(
    tensor: Any,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    *,
    rng: Any = None,
) -> Any:
    """Fill with draws from N(mean, std²) that lie in [a, b]; those outside are drawn again.

    ValueError where fewer than one draw in a thousand lies there.
    """
    rng = generator(rng)
    low, high = ((x - mean) / (std * math.sqrt(2)) for x in (a, b))
    if not math.erf(high) - math.erf(low) > 2e-3:
        raise ValueError(f"trunc_normal_: N({mean}, {std}²) has next to nothing in [{a}, {b}]")
    x = rng.normal(mean, std, tensor.shape)
    out = (x < a) | (x > b)
    while np.any(out):
        x = np.where(out, rng.normal(mean, std, tensor.shape), x)
        out = (x < a) | (x > b)
    return filled(tensor, x)


def constant_(tensor: Any, val: float) -> Any:
    """Fill with a number."""
    return filled(tensor, val)


def ones_(tensor: Any) -> Any:
    """Fill with 1."""
    return filled(tensor, 1)


def zeros_(tensor: Any) -> Any:
    """Fill with 0."""
    return filled(tensor, 0)


def eye_(tensor: Any) -> Any:
    """Fill a matrix with the identity's entries; ValueError for other than two axes."""
    if tensor.ndim != 2:
        raise ValueError(f"eye_: a matrix, not shape {tensor.shape}")
    return filled(tensor, np.eye(*tensor.shape))


def dirac_(tensor: Any, groups: int = 1) -> Any:
    """Fill a convolution's weight (out, in, ...) so that channels pass unchanged, in each group.

    ValueError for other than 3 to 5 axes, and where the groups do not divide the outputs.
    """
    if not 3 <= tensor.ndim <= 5 or tensor.shape[0] % groups:
        raise ValueError(f"dirac_: a weight (out, in, ...) of {groups} groups, not {tensor.shape}")
    x, (out, n, *kernel) = np.zeros(tensor.shape), tensor.shape
    center = tuple(size // 2 for size in kernel)
    for i in range(out):
        if i % (out // groups) < n:
            x[(i, i % (out // groups), *center)] = 1
    return filled(tensor, x)


def xavier_uniform_(tensor: Any, gain: float = 1.0, *, rng: Any = None) -> Any:
    """Fill with draws from U(-a, a), a = gain √(6 / (fan in + fan out)): Glorot and Bengio."""
    limit = gain * math.sqrt(6 / sum(fans(tensor)))
    return uniform_(tensor, -limit, limit, rng=rng)


def xavier_normal_(tensor: Any, gain: float = 1.0, *, rng: Any = None) -> Any:
    """Fill with draws from N(0, gain² · 2 / (fan in + fan out)): Glorot and Bengio (2010)."""
    return normal_(tensor, 0.0, gain * math.sqrt(2 / sum(fans(tensor))), rng=rng)


def kaiming_std(tensor: Any, a: float, mode: str, nonlinearity: str) -> float:
    """gain / √fan, of `mode` "fan_in" or "fan_out"."""
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"mode={mode!r}; there are 'fan_in' and 'fan_out'")
    fan = fans(tensor)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(fan)


def kaiming_uniform_(
    tensor: Any,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    *,
    rng: Any = None,
) -> Any:
    """Fill with draws from U(-b, b) of standard deviation gain / √fan: He et al. (2015).

    `a`: the slope of a leaky ReLU. `mode`: which fan, "fan_in" or "fan_out".
    """
    limit = math.sqrt(3) * kaiming_std(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -limit, limit, rng=rng)


def kaiming_normal_(
    tensor: Any,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    *,
    rng: Any = None,
) -> Any:
    """Fill with draws from N(0, gain² / fan): He et al. (2015); as `kaiming_uniform_`."""
    return normal_(tensor, 0.0, kaiming_std(tensor, a, mode, nonlinearity), rng=rng)


def orthogonal_(tensor: Any, gain: float = 1, *, rng: Any = None) -> Any:
    """Fill with a matrix of orthonormal rows, or columns if there are fewer: Saxe et al. (2013).

    Of more than two axes all after the first are one. ValueError for fewer.
    """
    if tensor.ndim < 2:
        raise ValueError(f"orthogonal_: two axes or more, not shape {tensor.shape}")
    rows, columns = tensor.shape[0], math.prod(tensor.shape[1:])
    x = generator(rng).standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(x)
    q = q * np.sign(np.diag(r))  # else they are not uniform: Mezzadri (2007)
    return filled(tensor, gain * np.reshape(q if rows >= columns else q.T, tensor.shape))


def sparse_(tensor: Any, sparsity: float, std: float = 0.01, *, rng: Any = None) -> Any:
    """Fill with draws from N(0, std²), a share `sparsity` of each column 0: Martens (2010).

    ValueError for other than two axes, and a share outside of 0..1.
    """
    if tensor.ndim != 2 or not 0 <= sparsity <= 1:
        raise ValueError(f"sparse_({tensor.shape}, {sparsity}): a matrix, and a share of 0..1")
    rng, rows = generator(rng), tensor.shape[0]
    x = rng.normal(0, std, tensor.shape)
    order = np.argsort(rng.random(tensor.shape), axis=0)
    return filled(tensor, np.where(order < math.ceil(sparsity * rows), 0, x))
