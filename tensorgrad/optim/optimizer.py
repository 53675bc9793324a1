"""SGD with momentum, Adam and AdamW: signatures and formulas as in PyTorch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from tensorgrad.engine.node import Array
from tensorgrad.value import Value

State = tuple[Array, ...]


def sgd(
    p: Array,
    g: Array,
    state: State,
    *,
    lr: float,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
) -> tuple[Array, State]:
    """p ← p - lr v, with v ← momentum v + g and g including the L2 term weight_decay p.

    Nesterov: p ← p - lr (g + momentum v). Sutskever et al. (2013), in PyTorch's form.

    >>> sgd(1.0, 2.0, (), lr=0.25)
    (0.5, ())
    """
    if weight_decay:
        g = g + weight_decay * p
    if not momentum:
        return -lr * g + p, ()  # in this order NumPy adds into the product's memory
    (v,) = state or (0.0,)
    v = momentum * v + g
    return p - lr * (g + momentum * v if nesterov else v), (v,)


def adam(
    p: Array,
    g: Array,
    state: State,
    *,
    lr: float,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
) -> tuple[Array, State]:
    """Adam: Kingma and Ba (2015), algorithm 1; weight_decay is an L2 term in the gradient.

    >>> p, (m, v, t) = adam(1.0, 2.0, (), lr=0.5)
    >>> print(f"{p:.3f}")  # the first step is lr long, whatever the gradient
    0.500
    """
    if weight_decay:
        g = g + weight_decay * p
    m, v, t = state or (0.0, 0.0, 0)
    t = t + 1
    m = betas[0] * m + (1 - betas[0]) * g
    v = betas[1] * v + (1 - betas[1]) * g * g
    unbiased_m, unbiased_v = m / (1 - betas[0] ** t), v / (1 - betas[1] ** t)
    return p - lr * unbiased_m / (np.sqrt(unbiased_v) + eps), (m, v, t)


def adamw(
    p: Array, g: Array, state: State, *, lr: float, weight_decay: float = 0.01, **rest: Any
) -> tuple[Array, State]:
    """Adam with the decay outside of it, p ← (1 - lr weight_decay) p: Loshchilov, Hutter (2019).

    >>> p, _ = adamw(1.0, 2.0, (), lr=0.5, weight_decay=0.5)
    >>> print(f"{p:.3f}")
    0.250
    """
    return adam((1 - lr * weight_decay) * p, g, state, lr=lr, **rest)


class Optimizer:
    """Applies an update rule to parameters.

    `params`: Values, or groups as dicts `{"params": Values, **other settings}`.
    ValueError where there are none, for one given twice and for a bad setting, TypeError where one
    is no leaf. Frozen parameters (`requires_grad=False`) get no gradient and stay as they are.
    """

    rule: Any

    def __init__(self, params: Iterable[Any], **settings: Any) -> None:
        entries = list(params)
        groups = entries if entries and isinstance(entries[0], dict) else [{"params": entries}]
        self.param_groups = [{**settings, **g, "params": list(g["params"])} for g in groups]
        for group in self.param_groups:
            self._check(settings, **group)
        nodes = [p.node for group in self.param_groups for p in group["params"]]
        if not nodes:
            raise ValueError(f"{type(self).__name__} got no parameters")
        if len(set(nodes)) < len(nodes):
            raise ValueError(
                f"{type(self).__name__} got a parameter twice: each step takes it once"
            )
        self._states: dict[int, State] = {}

    def _check(self, known: dict[str, Any], params: list[Any], **settings: Any) -> None:
        for p in params:
            if not isinstance(p, Value) or p.op is not None:
                raise TypeError(f"an optimiser changes leaves, not {p!r}")
        if unknown := settings.keys() - known.keys():
            raise ValueError(f"{type(self).__name__} has no {', '.join(sorted(unknown))}")
        for name in ("lr", "momentum", "weight_decay", "eps"):
            if not settings.get(name, 0) >= 0:
                raise ValueError(f"{name}={settings[name]}: must be 0 or more")
        if not all(0 <= beta < 1 for beta in settings.get("betas", ())):
            raise ValueError(f"betas={settings['betas']}: must be at least 0 and below 1")
        if settings.get("nesterov") and not settings["momentum"]:
            raise ValueError("nesterov=True needs a momentum")

    def step(self) -> None:
        """Update every parameter that has a gradient."""
        rule, states, i = self.rule, self._states, 0
        for group in self.param_groups:
            # Python numbers: a NumPy one, say of a schedule, would turn float32 into float64.
            settings = {
                k: v.item() if isinstance(v, (np.generic, np.ndarray)) else v
                for k, v in group.items()
                if k != "params"
            }
            for p in group["params"]:
                node, i = p.node, i + 1
                g = node.grad
                if g is not None:
                    if isinstance(g, Value):  # after backward(create_graph=True)
                        g = g.data
                    node.data, states[i] = rule(node.data, g, states.get(i, ()), **settings)

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for group in self.param_groups:
            for p in group["params"]:
                p.node.grad = None


class SGD(Optimizer):
    """Stochastic gradient descent.

    >>> w = Value(1.0)
    >>> optimizer = SGD([w], lr=0.5)
    >>> (w * w).backward()
    >>> optimizer.step()
    >>> w
    Value(0.0)
    """

    rule = staticmethod(sgd)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(
            params, lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov
        )


class Adam(Optimizer):
    """Adam, with the paper's settings as defaults."""

    rule = staticmethod(adam)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)


class AdamW(Adam):
    """Adam with decoupled weight decay."""

    rule = staticmethod(adamw)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)
