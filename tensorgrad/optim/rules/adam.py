"""Adam and its relatives: a mean gradient, over the root of its mean square.

Names, signatures and formulas are PyTorch's.
"""

from __future__ import annotations

import numpy as np

from tensorgrad.engine.node import Array
from tensorgrad.optim.optimizer import Optimizer, State


def adam(
    p: Array,
    g: Array,
    state: State = (),
    *,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    amsgrad: bool = False,
    decoupled_weight_decay: bool = False,
) -> tuple[Array, State]:
    """Adam: Kingma and Ba (2015), algorithm 1; weight_decay is an L2 term in the gradient.

    `decoupled_weight_decay`: it is `adamw`'s. `amsgrad`: the greatest mean square so far counts,
    Reddi et al. (2018).

    >>> p, (m, v, t) = adam(1.0, 2.0, lr=0.5)
    >>> print(f"{p:.3f}")  # the first step is lr long, whatever the gradient
    0.500
    """
    if weight_decay and decoupled_weight_decay:
        p = (1 - lr * weight_decay) * p
    elif weight_decay:
        g = g + weight_decay * p
    m, v, t, *greatest = state or (0.0, 0.0, 0, 0.0)
    t = t + 1
    # In the memory of its own results, which takes a quarter less time:
    mean = g - m  # m ← β₁ m + (1 - β₁) g
    mean *= 1 - betas[0]
    mean += m
    square = g * g  # v ← β₂ v + (1 - β₂) g²
    square -= v
    square *= 1 - betas[1]
    square += v
    top = np.maximum(square, *greatest) if amsgrad else square
    root = np.sqrt(top)  # of the unbiased v; p ← p - lr m / (√v + ε), of the unbiased both
    root *= (1 - betas[1] ** t) ** -0.5
    root += eps
    step = mean / root
    step *= -lr / (1 - betas[0] ** t)
    step += p
    return step, (mean, square, t, top) if amsgrad else (mean, square, t)


class Adam(Optimizer):
    """Adam, `adam`, with the paper's settings as defaults."""

    rule = staticmethod(adam)
    blockwise = True


def adamw(
    p: Array,
    g: Array,
    state: State = (),
    *,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.01,
    amsgrad: bool = False,
) -> tuple[Array, State]:
    """Adam with the decay outside of it, p ← (1 - lr weight_decay) p: Loshchilov, Hutter (2019).

    >>> p, _ = adamw(1.0, 2.0, lr=0.5, weight_decay=0.5)
    >>> print(f"{p:.3f}")
    0.250
    """
    p = (1 - lr * weight_decay) * p
    return adam(p, g, state, lr=lr, betas=betas, eps=eps, amsgrad=amsgrad)


class AdamW(Optimizer):
    """Adam with decoupled weight decay, `adamw`."""

    rule = staticmethod(adamw)
    blockwise = True


def nadam(
    p: Array,
    g: Array,
    state: State = (),
    *,
    lr: float = 2e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    momentum_decay: float = 4e-3,
    decoupled_weight_decay: bool = False,
) -> tuple[Array, State]:
    """Adam with Nesterov's momentum, whose rate μ grows: Dozat (2016).

    >>> p, _ = nadam(1.0, 2.0, lr=0.5)
    >>> print(f"{p:.3f}")
    0.472
    """
    if weight_decay and decoupled_weight_decay:
        p = (1 - lr * weight_decay) * p
    elif weight_decay:
        g = g + weight_decay * p
    m, v, t, product = state or (0.0, 0.0, 0, 1.0)
    t = t + 1
    mu, following = (betas[0] * (1 - 0.5 * 0.96 ** (i * momentum_decay)) for i in (t, t + 1))
    product = product * mu
    m = (g - m) * (1 - betas[0]) + m
    v = (g * g - v) * (1 - betas[1]) + v
    step = m * (following / (1 - product * following)) + g * ((1 - mu) / (1 - product))
    root = np.sqrt(v) * (1 - betas[1] ** t) ** -0.5 + eps
    return step / root * -lr + p, (m, v, t, product)


class NAdam(Optimizer):
    """Adam with Nesterov's momentum, `nadam`."""

    rule = staticmethod(nadam)
    blockwise = True


def radam(
    p: Array,
    g: Array,
    state: State = (),
    *,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    decoupled_weight_decay: bool = False,
) -> tuple[Array, State]:
    """Adam that divides by the root only once its variance is known: Liu et al. (2020), alg. 2.

    >>> p, _ = radam(1.0, 2.0, lr=0.25)  # at first it is a mean gradient alone
    >>> print(f"{p:.3f}")
    0.500
    """
    if weight_decay and decoupled_weight_decay:
        p = (1 - lr * weight_decay) * p
    elif weight_decay:
        g = g + weight_decay * p
    m, v, t = state or (0.0, 0.0, 0)
    t = t + 1
    m = (g - m) * (1 - betas[0]) + m
    v = (g * g - v) * (1 - betas[1]) + v
    longest = max(2 / (1 - betas[1]) - 1, 5.0)
    length = longest - 2 * t * betas[1] ** t / (1 - betas[1] ** t)
    known = length > 5  # times which is a choice that a traced count has too
    ratio = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
    over = (1 - betas[1] ** t) ** 0.5 / (np.sqrt(v) + eps) * (known * abs(ratio) ** 0.5)
    return m * (over + (1 - known)) * (-lr / (1 - betas[0] ** t)) + p, (m, v, t)


class RAdam(Optimizer):
    """Rectified Adam, `radam`: it needs no warm-up."""

    rule = staticmethod(radam)
    blockwise = True


def adamax(
    p: Array,
    g: Array,
    state: State = (),
    *,
    lr: float = 2e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
) -> tuple[Array, State]:
    """Adam with the greatest |g|, forgotten by β₂, in place of the root: ibid., algorithm 2.

    >>> p, _ = adamax(1.0, 2.0, lr=0.5)
    >>> print(f"{p:.3f}")
    0.500
    """
    if weight_decay:
        g = g + weight_decay * p
    m, u, t = state or (0.0, 0.0, 0)
    t = t + 1
    m = (g - m) * (1 - betas[0]) + m
    u = np.maximum(betas[1] * u, np.abs(g) + eps)
    return m / u * (-lr / (1 - betas[0] ** t)) + p, (m, u, t)


class Adamax(Optimizer):
    """Adam by the infinity norm, `adamax`."""

    rule = staticmethod(adamax)
    blockwise = True
