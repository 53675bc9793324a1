"""Steps along the gradient, or along a mean of it: SGD, averaged SGD, signs, and Muon.

Names, signatures and formulas are PyTorch's. SGD is the one to read first.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tensorgrad.engine.node import Array
from tensorgrad.optim.optimizer import Optimizer, State


def sgd(
    p: Array,
    g: Array,
    state: State = (),
    *,
    lr: float = 1e-3,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
) -> tuple[Array, State]:
    """p ← p - lr v, with v ← momentum v + g and g including the L2 term weight_decay p.

    Nesterov: p ← p - lr (g + momentum v). Sutskever et al. (2013), in PyTorch's form, where from
    the second step on only 1 - dampening of g enters v.

    >>> sgd(1.0, 2.0, lr=0.25)
    (0.5, ())
    """
    if weight_decay:
        g = g + weight_decay * p
    if not momentum:
        return -lr * g + p, ()  # in this order NumPy adds into the product's memory
    (v,) = state or (0.0,)
    v = momentum * v + ((1 - dampening) * g if state and dampening else g)
    return p - lr * (g + momentum * v if nesterov else v), (v,)


class SGD(Optimizer):
    """Stochastic gradient descent, `sgd`.

    >>> from tensorgrad import Value
    >>> w = Value(1.0)
    >>> optimizer = SGD([w], lr=0.5)
    >>> (w * w).backward()
    >>> optimizer.step()
    >>> w
    Value(0.0)
    """

    rule = staticmethod(sgd)

    def _check(self, params: list[Any], **settings: Any) -> None:
        super()._check(params, **settings)
        if settings.get("nesterov") and (not settings["momentum"] or settings["dampening"]):
            raise ValueError("nesterov=True needs a momentum, and no dampening")


def asgd(
    p: Array,
    g: Array,
    state: State = (),
    *,
    lr: float = 1e-2,
    lambd: float = 1e-4,
    alpha: float = 0.75,
    t0: float = 1e6,
    weight_decay: float = 0.0,
) -> tuple[Array, State]:
    """SGD at a rate that falls, and the mean of where it was: Polyak and Juditsky (1992).

    p ← (1 - lambd η) p - η g, with η = lr / (1 + lambd lr t)^alpha. The mean, from step t0 on, is
    the first part of the state.

    >>> asgd(1.0, 2.0, lr=0.25, lambd=0.0)
    (0.5, (0.5, 1))
    """
    if weight_decay:
        g = g + weight_decay * p
    mean, t = state or (0.0, 0)
    rate = lr / (1 + lambd * lr * t) ** alpha
    p = (1 - lambd * rate) * p - rate * g
    late = t - t0 - 1
    return p, ((p - mean) / (1 + late * (late > 0)) + mean, t + 1)


class ASGD(Optimizer):
    """Averaged stochastic gradient descent, `asgd`; the mean is `optimizer.state[p][0]`."""

    rule = staticmethod(asgd)


def lion(
    p: Array,
    g: Array,
    state: State = (),
    *,
    lr: float = 1e-4,
    betas: tuple[float, float] = (0.9, 0.99),
    weight_decay: float = 0.0,
) -> tuple[Array, State]:
    """p ← p - lr (sign(β₁ m + (1 - β₁) g) + weight_decay p): Chen et al. (2023), algorithm 2.

    >>> p, _ = lion(1.0, 2.0, lr=0.5)
    >>> print(p)
    0.5
    """
    (m,) = state or (0.0,)
    direction = np.sign(betas[0] * m + (1 - betas[0]) * g)
    return p - lr * (direction + weight_decay * p), (betas[1] * m + (1 - betas[1]) * g,)


class Lion(Optimizer):
    """`lion`, the sign of a mean gradient."""

    rule = staticmethod(lion)
    blockwise = True


def rprop(
    p: Array,
    g: Array,
    state: State = (),
    *,
    lr: float = 1e-2,
    etas: tuple[float, float] = (0.5, 1.2),
    step_sizes: tuple[float, float] = (1e-6, 50.0),
) -> tuple[Array, State]:
    """Steps by the sign of g, of a size that grows by etas[1] while the sign stays, and shrinks by
    etas[0], without a step, when it turns: Riedmiller and Braun (1993). For whole batches.

    >>> p, _ = rprop(1.0, 2.0, lr=0.5)
    >>> print(p)
    0.5
    """
    before, size = state or (0.0, lr * np.ones_like(g))
    same = g * before
    size = np.where(same > 0, etas[1] * size, np.where(same < 0, etas[0] * size, size))
    size = np.clip(size, *step_sizes)
    g = np.where(same < 0, 0 * size, g)
    return p - np.sign(g) * size, (g, size)


class Rprop(Optimizer):
    """Resilient backpropagation, `rprop`."""

    rule = staticmethod(rprop)
    blockwise = True

    def _check(self, params: list[Any], **settings: Any) -> None:
        super()._check(params, **settings)
        shrink, grow = settings["etas"]
        if not 0 < shrink < 1 < grow < math.inf:
            raise ValueError(f"etas={settings['etas']}: must be below and above 1, such as .5, 1.2")


QUINTIC = 3.4445, -4.775, 2.0315
"""Jordan's coefficients: steep at 0, so that five steps bring singular values near 1."""


def muon(
    p: Array,
    g: Array,
    state: State = (),
    *,
    lr: float = 1e-3,
    weight_decay: float = 0.1,
    momentum: float = 0.95,
    nesterov: bool = True,
    ns_coefficients: tuple[float, float, float] = QUINTIC,
    eps: float = 1e-7,
    ns_steps: int = 5,
    adjust_lr_fn: str | None = None,
) -> tuple[Array, State]:
    """Momentum made nearly orthogonal: Jordan et al. (2024), kellerjordan.github.io/posts/muon.

    p ← (1 - lr weight_decay) p - lr c O, where O has the singular vectors of the momentum and
    singular values near 1, by the iteration X ← a X + (b X Xᵀ + c (X Xᵀ)²) X of Newton and Schulz.
    `adjust_lr_fn`: "original", c = sqrt(max(1, rows / columns)), or "match_rms_adamw",
    c = .2 sqrt(max(rows, columns)). PyTorch iterates in bfloat16, this in the dtype of p.

    >>> step, _ = muon(np.zeros((2, 2)), np.diag([3.0, 4.0]), lr=1.0, ns_steps=20)
    >>> bool(np.all(abs(step + np.eye(2)) < 0.4))
    True
    """
    (v,) = state or (0.0,)
    v = (g - v) * (1 - momentum) + v
    x = (v - g) * momentum + g if nesterov else v
    rows, columns = p.shape
    x = x.T if rows > columns else x
    x = x / np.maximum(np.sqrt(np.sum(x * x)), eps)
    a, b, c = ns_coefficients
    for _ in range(ns_steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    x = x.T if rows > columns else x
    ratio = math.sqrt(max(1, rows / max(columns, 1)))
    if adjust_lr_fn == "match_rms_adamw":
        ratio = 0.2 * math.sqrt(max(rows, columns))
    return (1 - lr * weight_decay) * p - lr * ratio * x, (v,)


class Muon(Optimizer):
    """`muon`, for the matrices of hidden layers. ValueError for other parameters: those are for
    AdamW."""

    rule = staticmethod(muon)
    entrywise = False

    def _check(self, params: list[Any], **settings: Any) -> None:
        super()._check(params, **settings)
        for p in params:
            if p.ndim != 2 or p.dtype.kind == "c":
                raise ValueError(f"Muon is for real matrices, not {p.dtype} of shape {p.shape}")
        if settings["adjust_lr_fn"] not in (None, "original", "match_rms_adamw"):
            raise ValueError(
                f"adjust_lr_fn={settings['adjust_lr_fn']!r}: must be 'original' or "
                "'match_rms_adamw'"
            )
