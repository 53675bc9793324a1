"""A rate for each entry, by the squares of its gradients: Adagrad, RMSprop, Adadelta, Adafactor.

Names, signatures and formulas are PyTorch's.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorgrad.engine.dtypes import finfo
from tensorgrad.engine.node import Array
from tensorgrad.optim.optimizer import Optimizer, State
from tensorgrad.value import Value


def adagrad(
    p: Array,
    g: Array,
    state: State = (),
    *,
    lr: float = 1e-2,
    lr_decay: float = 0.0,
    weight_decay: float = 0.0,
    initial_accumulator_value: float = 0.0,
    eps: float = 1e-10,
) -> tuple[Array, State]:
    """p ← p - lr g / sqrt(s), s the sum of all g²: Duchi, Hazan and Singer (2011).

    >>> p, _ = adagrad(1.0, 2.0, lr=0.5)
    >>> print(f"{p:.3f}")
    0.500
    """
    if weight_decay:
        g = g + weight_decay * p
    s, t = state or (initial_accumulator_value, 0)
    s = g * g + s
    return g / (np.sqrt(s) + eps) * (-lr / (1 + t * lr_decay)) + p, (s, t + 1)


class Adagrad(Optimizer):
    """`adagrad`: rare gradients count more."""

    rule = staticmethod(adagrad)
    blockwise = True


def rmsprop(
    p: Array,
    g: Array,
    state: State = (),
    *,
    lr: float = 1e-2,
    alpha: float = 0.99,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    momentum: float = 0.0,
    centered: bool = False,
) -> tuple[Array, State]:
    """p ← p - lr g / sqrt(mean of g²), or of its variance if `centered`: Hinton (2012), lecture 6.

    >>> p, _ = rmsprop(1.0, 2.0, lr=0.5, alpha=0.0)
    >>> print(f"{p:.3f}")
    0.500
    """
    if weight_decay:
        g = g + weight_decay * p
    s, mean, v = state or (0.0, 0.0, 0.0)
    s = (g * g) * (1 - alpha) + alpha * s
    variance = s
    if centered:
        mean = (g - mean) * (1 - alpha) + mean
        variance = s - mean * mean
    step = g / (np.sqrt(variance) + eps)
    if momentum:
        step = v = momentum * v + step
    return p - lr * step, (s, mean, v)


class RMSprop(Optimizer):
    """`rmsprop`: a mean square that forgets, where Adagrad's grows."""

    rule = staticmethod(rmsprop)
    blockwise = True


def adadelta(
    p: Array,
    g: Array,
    state: State = (),
    *,
    lr: float = 1.0,
    rho: float = 0.9,
    eps: float = 1e-6,
    weight_decay: float = 0.0,
) -> tuple[Array, State]:
    """p ← p - lr d, d = g sqrt(mean of d²) / sqrt(mean of g²): Zeiler (2012), algorithm 1.

    >>> p, _ = adadelta(1.0, 2.0)
    >>> print(f"{p:.4f}")
    0.9968
    """
    if weight_decay:
        g = g + weight_decay * p
    s, d = state or (0.0, 0.0)
    s = (g * g) * (1 - rho) + rho * s
    step = np.sqrt((d + eps) / (s + eps)) * g
    return p - lr * step, (s, (step * step) * (1 - rho) + rho * d)


class Adadelta(Optimizer):
    """`adadelta`: steps of the parameter's own unit."""

    rule = staticmethod(adadelta)
    blockwise = True


def adafactor(
    p: Array,
    g: Array,
    state: State = (),
    *,
    lr: float = 1e-2,
    beta2_decay: float = -0.8,
    eps: tuple[float | None, float] = (None, 1e-3),
    d: float = 1.0,
    weight_decay: float = 0.0,
) -> tuple[Array, State]:
    """Adam without a mean, whose mean squares of a matrix are those of its rows and columns.

    Shazeer and Stern (2018), algorithms 4 and 5, in PyTorch's form: a step relative to the size of
    p, at most d in root mean square. `eps[0]`: None is that of the dtype.

    >>> w = np.ones((3, 2))
    >>> p, (rows, columns, t) = adafactor(w, w, lr=0.5)
    >>> print(p[0], rows.shape, columns.shape)
    [0.5 0.5] (3, 1) (1, 2)
    """
    tiny = float(finfo(p.dtype).eps) if eps[0] is None else eps[0]
    *squares, t = state or (0.0, 0.0, 0)
    t = t + 1
    new = t**beta2_decay
    size = np.maximum(_rms(p), eps[1])
    p = (1 - lr * weight_decay) * p
    if g.ndim > 1:
        row, column = squares
        row = (np.mean(g * g, axis=-1, keepdims=True) - row) * new + row
        column = (np.mean(g * g, axis=-2, keepdims=True) - column) * new + column
        squares = [row, column]
        v = row @ column / np.maximum(np.mean(row, axis=-2, keepdims=True), tiny)
    else:
        v = (g * g - squares[0]) * new + squares[0]
        squares = [v, 0.0]
    step = g / np.sqrt(np.maximum(v, tiny * tiny))
    rate = np.minimum(lr * size, t**-0.5 * size)
    return p - rate / np.maximum(_rms(step) / d, 1) * step, (*squares, t)


def _rms(x: Array) -> Array:
    """The root mean square of all numbers."""
    return np.sqrt(np.mean(x * x))


class Adafactor(Optimizer):
    """`adafactor`, with n + m numbers of memory for n times m parameters."""

    rule = staticmethod(adafactor)
    entrywise = False

    def fits(self, shape: tuple[int, ...], p: Value) -> bool:
        rows, columns = (*p.shape[:-1], 1), (*p.shape[:-2], 1, *p.shape[-1:])
        return shape in ((rows, columns) if p.ndim > 1 else (p.shape,))

    def _check(self, params: list[Any], **settings: Any) -> None:
        super()._check(params, **settings)
        if any(p.dtype.kind == "c" for p in params):
            raise ValueError("Adafactor is for real parameters")
        if not settings["d"] >= 1 or not settings["beta2_decay"] <= 0:
            raise ValueError(
                f"d={settings['d']} must be 1 or more, beta2_decay={settings['beta2_decay']} not "
                "above 0"
            )
