"""Losses, as functions and as Modules, with PyTorch's names and defaults.

`reduction` is "mean" (over everything), "sum" or "none", as in PyTorch.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorgrad.engine.arrays import same_shape, wrong
from tensorgrad.nn.module import module_of
from tensorgrad.ops import nn as ops

quadratic = ops.cost.quadratic
QuadraticLoss = module_of(
    "QuadraticLoss",
    quadratic,
    2,
    "½‖a - y‖², the mean over the examples: Nielsen's quadratic cost (eq. 6).",
)


def cross_entropy(logits: Any, target: Any, reduction: str = "mean") -> Any:
    """-ln of the softmax probability of the right class.

    `logits`: (n, classes) or (classes). `target`: class numbers (n), integers or booleans, or
    probabilities like logits. TypeError for class numbers that are floats, and for names.

    >>> cross_entropy(np.array([[0.0, 0.0], [0.0, 0.0]]), np.array([0, 1]))
    np.float64(0.6931471805599453)
    """
    return ops.cost.cross_entropy(logits, target, reduction=reduction)


CrossEntropyLoss = module_of("CrossEntropyLoss", cross_entropy, 2)


def nll_loss(log_probabilities: Any, target: Any, reduction: str = "mean") -> Any:
    """Minus the log probability of the right class; (n, classes) and class numbers (n).

    More axes of both may follow, or n be missing. Booleans are the classes 0 and 1. ValueError for
    other shapes and for class numbers that are none, TypeError for floats and names.

    >>> nll_loss(np.log([[0.25, 0.75]]), [1]).round(6)
    np.float64(0.287682)
    """
    target = ops.cost.class_numbers(target)
    rows = ops.cost.classes_last(log_probabilities)
    classes, shape = rows.shape[-1], log_probabilities.shape
    if not same_shape(rows.shape[:-1], target.shape):
        raise ValueError(
            f"log probabilities of shape {shape} and class numbers of shape {target.shape}"
        )
    if wrong((target < 0) | (target >= classes)):
        raise ValueError(f"classes {target.min()}..{target.max()}, but there are {classes}")
    chosen = np.take_along_axis(rows, target[..., None], -1)
    return _reduce(-np.reshape(chosen, target.shape), reduction)


NLLLoss = module_of("NLLLoss", nll_loss, 2)


def binary_cross_entropy(a: Any, y: Any, reduction: str = "mean") -> Any:
    """-(y ln a + (1-y) ln(1-a)) for probabilities `a`; same shapes (Nielsen ch. 3, eq. 63).

    As in PyTorch, no answer costs more than 100. ValueError for shapes that differ and for numbers
    outside of 0..1.

    >>> binary_cross_entropy(np.array([0.5, 1.0]), np.array([1.0, 1.0]), "sum").round(6)
    np.float64(0.693147)
    """
    return _reduce(ops.cost.binary_cross_entropy(a, y), reduction)


BCELoss = module_of("BCELoss", binary_cross_entropy, 2)


def binary_cross_entropy_with_logits(z: Any, y: Any, reduction: str = "mean") -> Any:
    """`binary_cross_entropy` of σ(z), exact where σ(z) rounds to 0 or 1.

    ValueError for shapes that differ.

    >>> binary_cross_entropy_with_logits(np.array([-1000.0]), np.array([1.0]))
    np.float64(1000.0)
    """
    return _reduce(ops.cost.binary_cross_entropy_with_logits(z, y), reduction)


BCEWithLogitsLoss = module_of("BCEWithLogitsLoss", binary_cross_entropy_with_logits, 2)


def mse_loss(a: Any, y: Any, reduction: str = "mean") -> Any:
    """(a - y)². ValueError for shapes that differ: (n, 1) against (n,) would make n² differences.

    >>> mse_loss(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
    np.float64(2.0)
    """
    ops.cost.same_shape(a, y)
    return _reduce(np.square(ops.activation.floats(a) - y), reduction)


MSELoss = module_of("MSELoss", mse_loss, 2)


def _reduce(loss: Any, reduction: str) -> Any:
    if reduction == "none":
        return loss
    if reduction not in ("mean", "sum"):
        raise ValueError(f"reduction={reduction!r}; there are 'mean', 'sum' and 'none'")
    return loss.mean() if reduction == "mean" else loss.sum()
