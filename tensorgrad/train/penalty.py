"""Steps that hold weights and gradients down: L1, L2 and max-norm penalties, clipping.

Each makes a class of steps out of another, so they compose, with one another and with yours:
`fit(..., step=clipped(penalised(l2=1e-4), norm=1.0))`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tensorgrad.engine.dtypes import finfo
from tensorgrad.engine.node import Array
from tensorgrad.nn.module import Module
from tensorgrad.nn.utils import clip_grad_norm_, clip_grad_value_
from tensorgrad.ops.nn.cost import half_square
from tensorgrad.train.step import Step
from tensorgrad.value import Value


def is_weight(name: str, p: Value) -> bool:
    """Whether a parameter is a matrix or a kernel: no bias, and no scale."""
    return p.ndim > 1


def penalised(
    step: type[Step] = Step,
    *,
    l1: float = 0.0,
    l2: float = 0.0,
    max_norm: float | None = None,
    of: Callable[[str, Value], bool] = is_weight,
) -> type[Step]:
    """Steps by the loss plus l1 Σ|w| + l2/2 Σw², and then with no unit's weights of a norm over
    `max_norm`.

    The sums are over the parameters of which `of(name, parameter)` is true, by default weights, not
    biases. The losses that `fit` monitors, on training and validation data, have them
    (`Step.with_penalty`). In Nielsen's chapter 3, with n examples, λ/n is
    `l2` (equations 87 and 93) or `l1` (95), so that SGD shrinks weights by 1 - ηλ/n each step.
    A unit's weights are those of one index of the first axis: Srivastava et al. (2014), section 5.1
    (there an exception is made of biases too).

    ValueError for a number below 0, and where no parameter is penalised.

    >>> from tensorgrad import nn, optim
    >>> x, y = np.ones((4, 1)), np.ones((4, 1))
    >>> model = nn.Linear(1, 1, rng=0)
    >>> sgd = optim.SGD(model.parameters(), lr=0.1)
    >>> step = penalised(l2=0.5)(model, nn.functional.mse_loss, sgd)
    >>> losses = [step(x, y).item() for _ in range(500)]
    >>> print(f"{model.weight.item():.2f} {model.bias.item():.2f}")  # the bias learns it all
    0.00 1.00
    """
    for name, x in (("l1", l1), ("l2", l2), ("max_norm", max_norm)):
        if x is not None and not 0 <= x < np.inf:
            raise ValueError(f"{name}={x}: must be 0 or more, and finite")

    def added(loss: Any, weights: list[Value]) -> Any:
        for w in weights:
            if l1:
                loss = loss + l1 * np.sum(np.abs(w))
            if l2:
                square = np.sum(np.abs(w) ** 2) / 2 if w.dtype.kind == "c" else half_square(w)
                loss = loss + l2 * square
        return loss

    class Penalised(step):  # type: ignore[misc, valid-type]
        def __init__(self, model: Module, *args: Any, **settings: Any) -> None:
            super().__init__(model, *args, **settings)
            weights = [p for name, p in model.named_parameters() if of(name, p)]
            if not weights:
                raise ValueError(f"{type(model).__name__} has no weights to penalise")
            self.weights = {**getattr(self, "weights", {}), Penalised: weights}

        def forward(self, *batch: Any) -> Value:
            loss: Value = added(super().forward(*batch), self.weights[Penalised])
            return loss

        def with_penalty(self, loss: Any) -> Any:
            return added(super().with_penalty(loss), self.weights[Penalised])

        def update(self, evaluate: Callable[[], Value]) -> Value:
            loss: Value = super().update(evaluate)
            if max_norm is not None:
                for w in self.weights[Penalised]:
                    w.data = within(w.data, max_norm)
            return loss

    return Penalised


def within(w: Array, most: float) -> Array:
    """Each unit's weights, those of one index of the first axis, scaled to at most this norm."""
    norms = np.sqrt(np.sum(np.abs(w) ** 2, axis=tuple(range(1, w.ndim)), keepdims=True))
    return w * np.minimum(1, most / np.maximum(norms, finfo(w.dtype).tiny))


def clipped(
    step: type[Step] = Step, *, norm: float | None = None, value: float | None = None
) -> type[Step]:
    """Steps whose gradient, of all parameters as one vector, is scaled to at most this norm, or
    whose entries are cut to at most this value.

    Pascanu, Mikolov and Bengio (2013), algorithm 1. ValueError unless one is given, above 0.

    >>> from tensorgrad import nn, optim
    >>> model = nn.Linear(1, 1, bias=False, rng=0)
    >>> model.weight.data = np.zeros((1, 1))
    >>> sgd = optim.SGD(model.parameters(), lr=1.0)
    >>> step = clipped(norm=0.25)(model, nn.functional.mse_loss, sgd)
    >>> loss = step(np.ones((1, 1)), np.ones((1, 1)))
    >>> print(f"{model.weight.item():.3f}")
    0.250
    """
    if (norm is None) == (value is None):
        raise ValueError("clipped takes either a norm or a value")
    most: float = (norm or 0.0) if value is None else value
    if not most > 0:
        raise ValueError(f"a gradient is clipped to something above 0, not {most}")

    class Clipped(step):  # type: ignore[misc, valid-type]
        def backward(self, loss: Value) -> None:
            super().backward(loss)
            clip = clip_grad_value_ if norm is None else clip_grad_norm_
            clip(self.optimizer.params, most)

    return Clipped
