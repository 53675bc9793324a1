"""SGD with momentum, Adam and AdamW: names, signatures and formulas as in PyTorch.

A rule is the update on paper: a pure function of a parameter `p`, its gradient `g`, the state that
it returned last time (`()` at first) and settings, to the new parameter and state. It is written
for real numbers; nothing in it depends on what the arrays hold.
"""

from __future__ import annotations

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
    weight_decay: float = 0.0,
    nesterov: bool = False,
) -> tuple[Array, State]:
    """p ← p - lr v, with v ← momentum v + g and g including the L2 term weight_decay p.

    Nesterov: p ← p - lr (g + momentum v). Sutskever et al. (2013), in PyTorch's form.

    >>> sgd(1.0, 2.0, lr=0.25)
    (0.5, ())
    """
    if weight_decay:
        g = g + weight_decay * p
    if not momentum:
        return -lr * g + p, ()  # in this order NumPy adds into the product's memory
    (v,) = state or (0.0,)
    v = momentum * v + g
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


def adam(
    p: Array,
    g: Array,
    state: State = (),
    *,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
) -> tuple[Array, State]:
    """Adam: Kingma and Ba (2015), algorithm 1; weight_decay is an L2 term in the gradient.

    >>> p, (m, v, t) = adam(1.0, 2.0, lr=0.5)
    >>> print(f"{p:.3f}")  # the first step is lr long, whatever the gradient
    0.500
    """
    if weight_decay:
        g = g + weight_decay * p
    m, v, t = state or (0.0, 0.0, 0)
    t = t + 1
    # In this order NumPy works in the memory of its own intermediate results.
    m = (g - m) * (1 - betas[0]) + m
    v = (g * g - v) * (1 - betas[1]) + v
    root = np.sqrt(v) * (1 - betas[1] ** t) ** -0.5 + eps
    return m / root * (-lr / (1 - betas[0] ** t)) + p, (m, v, t)


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
) -> tuple[Array, State]:
    """Adam with the decay outside of it, p ← (1 - lr weight_decay) p: Loshchilov, Hutter (2019).

    >>> p, _ = adamw(1.0, 2.0, lr=0.5, weight_decay=0.5)
    >>> print(f"{p:.3f}")
    0.250
    """
    return adam((1 - lr * weight_decay) * p, g, state, lr=lr, betas=betas, eps=eps)


class AdamW(Optimizer):
    """Adam with decoupled weight decay, `adamw`."""

    rule = staticmethod(adamw)
    blockwise = True
