"""Losses, as functions and as Modules, with PyTorch's names and defaults.

`reduction` is "mean" (over everything), "sum" or "none", as in PyTorch, whose deprecated
`size_average` and `reduce` are not taken. A mean of nothing, of an empty batch, is a ValueError
(PyTorch's is NaN), and so are answers and targets of shapes that differ: they would broadcast, (n,
1) and (n,) to n² losses.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from tensorgrad.engine.arrays import (
    anywhere,
    as_array,
    beside,
    outside,
    same_shape,
    taken_as_nowhere,
    to_numbers,
    wrong,
)
from tensorgrad.engine.dtypes import is_floating
from tensorgrad.engine.primitive import apply
from tensorgrad.nn.linear import Linear, linear
from tensorgrad.nn.module import Module, module_of
from tensorgrad.nn.shape import pairwise_distance
from tensorgrad.ops import index as indexing
from tensorgrad.ops import nn as ops
from tensorgrad.ops.nn.activation import floats
from tensorgrad.ops.nn.cost import class_numbers, classes_last, classes_second, one_hot, pair
from tensorgrad.transforms.derivatives import stop_gradient

quadratic = ops.cost.quadratic
QuadraticLoss = module_of(
    "QuadraticLoss",
    quadratic,
    2,
    "½‖a - y‖², the mean over the examples: Nielsen's quadratic cost (eq. 6).",
)


def sigmoid_cross_entropy(logits: Any, target: Any) -> Any:
    """-Σ (y ln σ(z) + (1-y) ln(1-σ(z))) over the outputs, the mean over the examples.

    Nielsen's cross-entropy cost (ch. 3, eq. 63), of the weighted sums z of the last layer. Same
    shapes, (n, outputs) or (outputs).

    >>> sigmoid_cross_entropy(np.zeros((5, 2)), np.zeros((5, 2))).round(6)
    np.float64(1.386294)
    """
    cost = ops.cost.binary_cross_entropy_with_logits(logits, target)
    return _reduced(cost, "sum") / ops.cost.rows(cost)


SigmoidCrossEntropyLoss = module_of("SigmoidCrossEntropyLoss", sigmoid_cross_entropy, 2)


divisors: ContextVar[list[Any] | None] = ContextVar("divisors", default=None)
"""Hears by which sums of weights means divide: what a part of a batch weighs in the whole."""


def _reduced(loss: Any, reduction: str, n: Any = None) -> Any:
    """The losses together; their mean over `n`, by default over all."""
    if reduction == "none":
        return loss
    if reduction not in ("mean", "sum"):
        raise ValueError(f"reduction={reduction!r}; there are 'mean', 'sum' and 'none'")
    if reduction == "sum":
        return loss.sum()
    if 0 in loss.shape:
        raise ValueError(f"the mean of no losses (shape {loss.shape}): the batch is empty")
    if n is None:
        return loss.mean()
    heard = divisors.get()
    if heard is not None:
        heard.append(n)
        n = np.where(n == 0, 1, n)  # of a part of a batch, in which no target counts
    elif wrong(n == 0):
        raise ValueError("the mean of losses whose weights are 0 together: no target counts")
    return loss.sum() / n


def _weighted(loss: Any, weight: Any) -> Any:
    """The losses times their weights, if there are any."""
    return loss if weight is None else loss * _weights(weight, loss)


def _weights(weight: Any, like: Any) -> Any:
    """The weights in the dtype of the losses. TypeError for a word that was meant otherwise."""
    if isinstance(weight, str):
        raise TypeError(f"weight={weight!r} are no numbers: write reduction={weight!r}")
    return as_array(weight, like.dtype)


# Of classes.


def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """-ln of the softmax probability of the right class.

    `input`: logits (n, classes), (classes) or (n, classes, d1, ...). `target`: class numbers (n),
    (), (n, d1, ...), integers or booleans, or probabilities like `input`. `weight`: a number for
    each class; a mean is then one by the weights. Class numbers that are `ignore_index` do not
    count. `label_smoothing`: the share of the right class that all classes share.
    TypeError for class numbers that are floats, and for names; ValueError for those that do not
    exist, for shapes that do not fit, and for a mean of nothing.

    >>> cross_entropy(np.array([[0.0, 0.0], [0.0, 0.0]]), np.array([0, 1]))
    np.float64(0.6931471805599453)
    >>> cross_entropy(np.array([[0.0, 0.0], [9.0, 0.0]]), np.array([0, -100]))
    np.float64(0.6931471805599453)
    """
    cost, y = ops.cost.cross_entropy, as_array(target)
    if is_floating(y.dtype) and y.ndim == np.ndim(input):
        if weight is None and not label_smoothing:
            return cost(input, y, reduction=reduction)
        input = floats(as_array(input))
        shares = classes_last(_smooth(y, label_smoothing))
        return cost(input, classes_second(_scaled(shares, weight, input)), reduction=reduction)
    z = as_array(input)
    y, counts = _those_that_count(z, class_numbers(y), ignore_index)
    if counts is True and weight is None and not label_smoothing:
        return apply(cost, (z, y), {"reduction": reduction})  # straight to it: 1 µs less
    z = floats(z)
    each = cost(z, y)
    w = _of_targets(weight, y, counts, each, classes_last(z).shape[-1])
    if label_smoothing:
        shares = one_hot(y, classes_last(z).shape[-1]).astype(z.dtype)
        shares = _scaled(_smooth(shares, label_smoothing, -1), weight, z)
        each = cost(z, classes_second(shares))
    else:
        each = w * each
    return _reduced(_counted(counts, each), reduction, w.sum())


CrossEntropyLoss = module_of("CrossEntropyLoss", cross_entropy, 2)


def _those_that_count(z: Any, y: Any, ignore_index: int) -> tuple[Any, Any]:
    """The class numbers, 0 where they are `ignore_index`, and where they count: True for all."""
    classes = z.shape[1 if z.ndim > 1 else 0] if z.ndim else 0
    no_class = outside(y, classes)
    if not 0 <= ignore_index < classes and taken_as_nowhere(no_class):
        return y, True
    counts = y != ignore_index
    if wrong(np.where(counts, no_class, 0)):
        way = ": of one logit for two classes binary_cross_entropy_with_logits" * (classes == 1)
        way = ops.cost.way_to_fit(z.shape, y.shape) or way
        found = np.where(counts, y, 0)
        raise ValueError(
            f"cross_entropy: classes {found.min()}..{found.max()}, but there are {classes} logits"
            + way
        )
    return np.where(counts, y, 0), counts


def _counted(counts: Any, x: Any) -> Any:
    """`x`, and 0 where targets do not count; `counts` may be True, for all."""
    return x if counts is True else np.where(counts, x, 0)


def _of_targets(weight: Any, y: Any, counts: Any, like: Any, classes: int) -> Any:
    """The weight of each target: that of its class, 0 for one that does not count."""
    if weight is None:
        return _counted(counts, np.ones_like(like))
    return _counted(counts, _taken(_of_classes(weight, like, classes), y))


def _taken(weight: Any, y: Any) -> Any:
    """The weight of each class number; inside vmap too, where an array takes no Value as index, and
    where the numbers are chunked."""
    table = np.broadcast_to(weight, (*y.shape, weight.size))
    return indexing.take_along_axis(table, y[..., None], axis=-1)[..., 0]


def _of_classes(weight: Any, like: Any, classes: int) -> Any:
    """The weights of the classes. ValueError unless there is one for each."""
    weight = _weights(weight, like)
    if weight.shape != (classes,):
        raise ValueError(f"weight of shape {weight.shape}: there are {classes} classes")
    return weight


def _scaled(shares: Any, weight: Any, like: Any) -> Any:
    """The shares of the classes, along the last axis, times the weights of these."""
    return shares if weight is None else shares * _of_classes(weight, like, shares.shape[-1])


def _smooth(shares: Any, label_smoothing: float, axis: int | None = None) -> Any:
    """The shares of the classes, a part of them spread over all. PyTorch's layout, or `axis`."""
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing={label_smoothing} is not in 0..1")
    axis = min(1, shares.ndim - 1) if axis is None else axis
    return (1 - label_smoothing) * shares + label_smoothing / shares.shape[axis]


def nll_loss(
    input: Any, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean"
) -> Any:
    """Minus the log probability of the right class; (n, classes) and class numbers (n).

    More axes of both may follow, or n be missing. Booleans are the classes 0 and 1. `weight`,
    `ignore_index`: as of `cross_entropy`. ValueError for other shapes and for class numbers that
    are none, TypeError for floats and names.

    >>> nll_loss(np.log([[0.25, 0.75]]), [1]).round(6)
    np.float64(0.287682)
    """
    input, y = as_array(input), class_numbers(target)
    rows = classes_last(input)
    if not same_shape(rows.shape[:-1], y.shape):
        raise ValueError(
            f"log probabilities of shape {input.shape} and class numbers of shape {y.shape}"
        )
    y, counts = _those_that_count(input, y, ignore_index)
    each = -np.take_along_axis(rows, y[..., None], -1)[..., 0]
    if counts is True and weight is None:
        return _reduced(each, reduction)
    w = _of_targets(weight, y, counts, each, rows.shape[-1])
    return _reduced(_counted(counts, w * each), reduction, w.sum())


NLLLoss = module_of("NLLLoss", nll_loss, 2)


def linear_cross_entropy(
    input: Any,
    linear_weight: Any,
    target: Any,
    *,
    linear_bias: Any = None,
    weight: Any = None,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: Any = None,
) -> Any:
    """`cross_entropy` of `linear`: input (n, features), linear_weight (classes, ..., features).

    `options`, how PyTorch cuts the work into pieces, has no effect.

    >>> linear_cross_entropy(np.ones((2, 3)), np.zeros((2, 3)), np.array([0, 1])).round(6)
    np.float64(0.693147)
    """
    input, linear_weight = as_array(input), as_array(linear_weight)
    rows = linear_weight.reshape(-1, linear_weight.shape[-1])
    bias = None if linear_bias is None else linear_bias.reshape(-1)
    logits = linear(input, rows, bias).reshape(*input.shape[:-1], *linear_weight.shape[:-1])
    ignored = -100 if ignore_index is None else ignore_index
    return cross_entropy(logits, target, weight, ignored, reduction, label_smoothing)


class LinearCrossEntropyLoss(Module):
    """A linear layer without bias and the cross entropy of what it gives, as one.

    >>> LinearCrossEntropyLoss(3, 2)(np.zeros((4, 3)), np.array([0, 1, 1, 0])).data.round(6)
    np.float64(0.693147)
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        bias: bool = False,
        dtype: npt.DTypeLike = np.float32,
        reduction: str = "mean",
        weight: Any = None,
        ignore_index: int | None = None,
        label_smoothing: float = 0.0,
        rng: Any = None,
    ) -> None:
        self.in_features, self.num_classes = in_features, num_classes
        self.linear = Linear(in_features, num_classes, bias, dtype=dtype, rng=rng)
        self.weight, self.ignore_index = weight, ignore_index
        self.reduction, self.label_smoothing = reduction, label_smoothing

    def forward(self, input: Any, target: Any) -> Any:
        ignored = -100 if self.ignore_index is None else self.ignore_index
        logits = self.linear(input)
        return cross_entropy(
            logits, target, self.weight, ignored, self.reduction, self.label_smoothing
        )


# Of probabilities.


def binary_cross_entropy(
    input: Any, target: Any, weight: Any = None, reduction: str = "mean"
) -> Any:
    """-(y ln a + (1-y) ln(1-a)) for probabilities `a`; same shapes (Nielsen ch. 3, eq. 63).

    `weight` broadcasts to them. As in PyTorch, no answer costs more than 100. ValueError for shapes
    that differ and for numbers outside of 0..1.

    >>> binary_cross_entropy(np.array([0.5, 1.0]), np.array([1.0, 1.0]), reduction="sum").round(6)
    np.float64(0.693147)
    """
    return _reduced(_weighted(ops.cost.binary_cross_entropy(input, target), weight), reduction)


BCELoss = module_of("BCELoss", binary_cross_entropy, 2)


def binary_cross_entropy_with_logits(
    input: Any, target: Any, weight: Any = None, reduction: str = "mean", pos_weight: Any = None
) -> Any:
    """`binary_cross_entropy` of σ(z), exact where σ(z) rounds to 0 or 1.

    `pos_weight`: what the term of y counts, times 1. ValueError for shapes that differ.

    >>> binary_cross_entropy_with_logits(np.array([-1000.0]), np.array([1.0]))
    np.float64(1000.0)
    """
    if pos_weight is None:
        each = ops.cost.binary_cross_entropy_with_logits(input, target)
    else:
        z, y = pair(input, target)
        positive = 1 + (_weights(pos_weight, z) - 1) * y
        each = (1 - y) * z + positive * ops.activation.softplus(-z)
    return _reduced(_weighted(each, weight), reduction)


BCEWithLogitsLoss = module_of("BCEWithLogitsLoss", binary_cross_entropy_with_logits, 2)


def kl_div(input: Any, target: Any, reduction: str = "mean", log_target: bool = False) -> Any:
    """y (ln y - x) for log probabilities `x` and probabilities `y`; same shapes.

    `log_target`: y is given as ln y. `reduction="batchmean"` divides the sum by the size of the
    first axis: that is the Kullback-Leibler divergence.

    >>> kl_div(np.log([[0.5, 0.5]]), np.array([[1.0, 0.0]]), "batchmean").round(6)
    np.float64(0.693147)
    """
    x, y = pair(input, target)
    if log_target:
        each = np.exp(y) * (y - x)
    else:
        inside = np.where(y > 0, y, 1)  # 0 ln 0 is 0
        each = inside * np.log(inside) - y * x
    if reduction != "batchmean":
        return _reduced(each, reduction)
    return _reduced(each, "sum") / (each.shape[0] if each.ndim else 1)


KLDivLoss = module_of("KLDivLoss", kl_div, 2)


def poisson_nll_loss(
    input: Any,
    target: Any,
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
    reduction: str = "mean",
) -> Any:
    """λ - y ln λ, of the rate λ of a Poisson distribution, given as ln λ unless `log_input=False`.

    `full`: with Stirling's approximation of ln y! for y > 1. `eps` keeps ln λ finite.

    >>> poisson_nll_loss(np.array([0.0]), np.array([2.0]))
    np.float64(1.0)
    """
    x, y = pair(input, target)
    each = np.exp(x) - y * x if log_input else x - y * np.log(x + eps)
    if full:
        many = np.where(y > 1, y, 1)
        stirling = many * np.log(many) - many + 0.5 * np.log(2 * math.pi * many)
        each = each + np.where(y > 1, stirling, 0)
    return _reduced(each, reduction)


PoissonNLLLoss = module_of("PoissonNLLLoss", poisson_nll_loss, 2)


def gaussian_nll_loss(
    input: Any,
    target: Any,
    var: Any,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Any:
    """½ (ln var + (x - y)² / var), of the mean x and variance of a normal distribution.

    `var`: like `input`, without its last axis, or with one axis of size 1; one below `eps` counts
    as `eps`, and has the gradient of that. `full`: with ½ ln 2π. ValueError for a negative one.

    >>> gaussian_nll_loss(np.array([0.0]), np.array([2.0]), np.array([1.0]))
    np.float64(2.0)
    """
    x, y, var = floats(as_array(input)), as_array(target), as_array(var)
    y = y.astype(x.dtype) if y.dtype.kind in "biu" else y  # of any shape that broadcasts
    if wrong(var < 0):
        raise ValueError("gaussian_nll_loss: a variance is negative")
    if var.ndim and var.shape == x.shape[:-1] and x.ndim:
        var = var[..., None]
    ones = sum(n != m for n, m in zip(x.shape, var.shape))
    if var.ndim and (var.ndim != x.ndim or ones > 1):
        raise ValueError(f"gaussian_nll_loss: var of shape {var.shape} for {x.shape}")
    if anywhere(var < eps):
        var = var + np.maximum(eps - stop_gradient(var), 0)
    each = 0.5 * (np.log(var) + np.square(x - y) / var)
    return _reduced(each + 0.5 * math.log(2 * math.pi) if full else each, reduction)


GaussianNLLLoss = module_of("GaussianNLLLoss", gaussian_nll_loss, 3)


# Of differences.


def _by_weight(each: Any, weight: Any, reduction: str) -> Any:
    """Losses times weights of the same shape, if there are any, and their mean by these."""
    if weight is None:
        return _reduced(each, reduction)
    weight = _weights(weight, each)
    if not same_shape(weight.shape, each.shape):
        raise ValueError(f"weight of shape {weight.shape} for losses of shape {each.shape}")
    return _reduced(weight * each, reduction, weight.sum() if reduction == "mean" else None)


def mse_loss(input: Any, target: Any, reduction: str = "mean", weight: Any = None) -> Any:
    """(a - y)². ValueError for shapes that differ. `weight` is like them: a mean is one by it.

    >>> mse_loss(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
    np.float64(2.0)
    """
    a, y = pair(input, target)
    return _by_weight(np.square(a - y), weight, reduction)


MSELoss = module_of("MSELoss", mse_loss, 2)


def l1_loss(input: Any, target: Any, reduction: str = "mean", weight: Any = None) -> Any:
    """|a - y|. ValueError for shapes that differ. `weight` is like them: a mean is one by it.

    >>> l1_loss(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
    np.float64(1.0)
    """
    a, y = pair(input, target)
    return _by_weight(np.abs(a - y), weight, reduction)


L1Loss = module_of("L1Loss", l1_loss, 2)


def huber_loss(
    input: Any, target: Any, reduction: str = "mean", delta: float = 1.0, weight: Any = None
) -> Any:
    """½ (a - y)² up to |a - y| = delta, from there on delta (|a - y| - delta / 2) (Huber 1964).

    `weight` is like `input`, and counts in no mean, as in PyTorch. ValueError unless delta > 0.

    >>> huber_loss(np.array([1.0, 2.0]), np.array([0.0, -8.0]), "none")
    array([0.5, 9.5])
    """
    if not delta > 0:
        raise ValueError(f"huber_loss: delta={delta} is not positive")
    return _reduced(_weighted(ops.cost.huber(input, target, delta=delta), weight), reduction)


HuberLoss = module_of("HuberLoss", huber_loss, 2)


def smooth_l1_loss(input: Any, target: Any, reduction: str = "mean", beta: float = 1.0) -> Any:
    """`huber_loss` with delta = beta, divided by beta; |a - y| for beta = 0 (Girshick 2015, eq. 3).

    >>> smooth_l1_loss(np.array([1.0, 2.0]), np.array([0.0, -8.0]), "none", 2.0)
    array([0.25, 9.  ])
    """
    if beta < 0:
        raise ValueError(f"smooth_l1_loss: beta={beta} is negative")
    if beta == 0:
        return l1_loss(input, target, reduction)
    return _reduced(ops.cost.huber(input, target, delta=beta) / beta, reduction)


SmoothL1Loss = module_of("SmoothL1Loss", smooth_l1_loss, 2)


# Of margins. Where a margin is exactly met the slope is 0, that of relu.


def _signs(target: Any) -> Any:
    """Targets that are 1 or -1. ValueError for 0."""
    y = as_array(target)
    if wrong(y == 0):
        raise ValueError("targets are 1 and -1: of labels 0 and 1 write 2 * y - 1")
    return y


def hinge_embedding_loss(
    input: Any, target: Any, margin: float = 1.0, reduction: str = "mean"
) -> Any:
    """The distance x where the target is 1, max(0, margin - x) where it is -1.

    >>> hinge_embedding_loss(np.array([2.0, 0.25]), np.array([1, -1]), reduction="none")
    array([2.  , 0.75])
    """
    x, y = pair(input, _signs(target))
    far = ops.activation.relu(margin - x)
    return _reduced(np.where(y != 1, far, 0) + np.where(y != -1, x, 0), reduction)


HingeEmbeddingLoss = module_of("HingeEmbeddingLoss", hinge_embedding_loss, 2)


def margin_ranking_loss(
    input1: Any, input2: Any, target: Any, margin: float = 0.0, reduction: str = "mean"
) -> Any:
    """max(0, margin - y (x1 - x2)): where y is 1, x1 should be the greater one.

    >>> margin_ranking_loss(np.array([1.0]), np.array([3.0]), np.array([1]))
    np.float64(2.0)
    """
    x, y = pair(as_array(input1) - input2, _signs(target))
    return _reduced(ops.activation.relu(margin - y * x), reduction)


MarginRankingLoss = module_of("MarginRankingLoss", margin_ranking_loss, 3)


def soft_margin_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """ln(1 + e^(-y x)), y 1 or -1; same shapes.

    >>> soft_margin_loss(np.array([0.0]), np.array([1])).round(6)
    np.float64(0.693147)
    """
    x, y = pair(input, target)
    return _reduced(ops.activation.softplus(-y * x), reduction)


SoftMarginLoss = module_of("SoftMarginLoss", soft_margin_loss, 2)


def multi_margin_loss(
    input: Any,
    target: Any,
    p: int = 1,
    margin: float = 1.0,
    weight: Any = None,
    reduction: str = "mean",
) -> Any:
    """Σ max(0, margin - x_y + x_i)ᵖ / classes over i ≠ y, the class; (n, classes) and (n).

    `weight`: a factor for each class. p is 1 or 2, else a ValueError.

    >>> multi_margin_loss(np.array([[0.0, 1.0]]), np.array([1]), margin=2.0)
    np.float64(0.5)
    """
    if p not in (1, 2):
        raise ValueError(f"multi_margin_loss: p={p}; there are 1 and 2")
    x, y = np.atleast_1d(floats(as_array(input))), class_numbers(target)
    if x.ndim == 1 and y.ndim == 1:
        y = y.reshape(())
    if not same_shape(x.shape[:-1], y.shape):
        raise ValueError(f"scores of shape {x.shape} and class numbers of shape {y.shape}")
    y, _ = _those_that_count(x, y, -100)
    classes = x.shape[-1]
    short = ops.activation.relu(margin - np.take_along_axis(x, y[..., None], -1) + x)
    each = np.where(one_hot(y, classes), 0, short if p == 1 else np.square(short))
    if weight is not None:
        each = _taken(_of_classes(weight, x, classes), y)[..., None] * each
    return _reduced(each.sum(axis=-1) / classes, reduction)


MultiMarginLoss = module_of("MultiMarginLoss", multi_margin_loss, 2)


def multilabel_margin_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """Σ max(0, 1 - (x_j - x_i)) / classes over right classes j and wrong ones i.

    `target`: the numbers of the right classes in each row, up to the first -1; both (n, classes) or
    (classes).

    >>> multilabel_margin_loss(np.array([0.5, 1.0]), np.array([1, -1]))
    np.float64(0.25)
    """
    x, y = np.atleast_1d(floats(as_array(input)), class_numbers(target))
    pair(x, y)  # the ValueError
    classes = x.shape[-1]
    named = np.cumprod(y >= 0, axis=-1) > 0
    if wrong(named & (y >= classes)):
        raise ValueError(f"classes up to {y.max()}, but there are {classes}")
    y = np.where(named, y, 0)
    right = np.any(one_hot(y, classes) & named[..., None], axis=-2)
    short = ops.activation.relu(1 - np.take_along_axis(x, y, -1)[..., None] + x[..., None, :])
    counts = named[..., None] & ~right[..., None, :]
    return _reduced(np.where(counts, short, 0).sum(axis=(-2, -1)) / classes, reduction)


MultiLabelMarginLoss = module_of("MultiLabelMarginLoss", multilabel_margin_loss, 2)


def multilabel_soft_margin_loss(
    input: Any, target: Any, weight: Any = None, reduction: str = "mean"
) -> Any:
    """The mean over the classes, along the last axis, of `binary_cross_entropy_with_logits`.

    >>> multilabel_soft_margin_loss(np.zeros((1, 2)), np.array([[0, 1]])).round(6)
    np.float64(0.693147)
    """
    each = _weighted(ops.cost.binary_cross_entropy_with_logits(input, target), weight)
    return _reduced(each.sum(axis=-1) / each.shape[-1], reduction)


MultiLabelSoftMarginLoss = module_of("MultiLabelSoftMarginLoss", multilabel_soft_margin_loss, 2)


def cosine_embedding_loss(
    input1: Any, input2: Any, target: Any, margin: float = 0.0, reduction: str = "mean"
) -> Any:
    """1 - cos where the target is 1, max(0, cos - margin) where it is -1; (n, size), (n).

    >>> cosine_embedding_loss(np.array([[1.0, 0.0]]), np.array([[0.0, 2.0]]), np.array([1]))
    np.float64(1.0)
    """
    a, b, y = floats(as_array(input1)), floats(as_array(input2)), _signs(target)
    if not same_shape(a.shape, b.shape) or not same_shape(a.shape[:-1], y.shape):
        raise ValueError(f"vectors of shape {a.shape} and {b.shape}, targets of shape {y.shape}")
    lengths = (np.sum(a * a, axis=-1) + 1e-12) * (np.sum(b * b, axis=-1) + 1e-12)
    cosine = np.sum(a * b, axis=-1) / np.sqrt(lengths)
    unlike = np.where(y == -1, ops.activation.relu(cosine - margin), 0)
    return _reduced(np.where(y == 1, 1 - cosine, unlike), reduction)


CosineEmbeddingLoss = module_of("CosineEmbeddingLoss", cosine_embedding_loss, 3)


def triplet_margin_with_distance_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    *,
    distance_function: Callable[[Any, Any], Any] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Any:
    """max(0, margin + d(anchor, positive) - d(anchor, negative)).

    `distance_function`: by default `pairwise_distance`. `swap`: d(positive, negative) where that is
    smaller (Balntas et al. 2016). ValueError unless margin > 0.

    >>> a, b, c = np.zeros((1, 2)), np.full((1, 2), 3.0), np.full((1, 2), 4.0)
    >>> triplet_margin_with_distance_loss(a, b, c, margin=5.0).round(6)
    np.float64(3.585786)
    """
    if not margin > 0:
        raise ValueError(f"margin={margin} is not positive")
    distance = distance_function or pairwise_distance
    far = distance(anchor, negative)
    if swap:
        far = np.minimum(far, distance(positive, negative))
    return _reduced(ops.activation.relu(margin + distance(anchor, positive) - far), reduction)


TripletMarginWithDistanceLoss = module_of(
    "TripletMarginWithDistanceLoss", triplet_margin_with_distance_loss, 3
)


def triplet_margin_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    reduction: str = "mean",
) -> Any:
    """`triplet_margin_with_distance_loss` of `pairwise_distance` with `p` and `eps`.

    >>> triplet_margin_loss(np.zeros((1, 2)), np.ones((1, 2)), np.ones((1, 2)))
    np.float64(1.0)
    """
    distance = partial(pairwise_distance, p=p, eps=eps)
    return triplet_margin_with_distance_loss(
        *(anchor, positive, negative),
        distance_function=distance,
        margin=margin,
        swap=swap,
        reduction=reduction,
    )


TripletMarginLoss = module_of("TripletMarginLoss", triplet_margin_loss, 3)


# Of sequences.


def ctc_loss(
    log_probs: Any,
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Any:
    """-ln of the probability of labels whose times are not known (Graves et al. 2006).

    `log_probs`: (time, n, classes), or (time, classes) of one example. `targets`: (n, longest), or
    the labels of all examples in one row. `input_lengths`, `target_lengths`: (n). A mean is one of
    the losses divided by the lengths of their targets. Labels that do not fit into their time cost
    infinity; with `zero_infinity` nothing. ValueError for shapes, lengths and labels that do not
    fit.

    >>> quarter = np.log(np.full((2, 1, 2), 0.5))  # of 4 paths 1-, -1, 11 are read as 1
    >>> ctc_loss(quarter, np.array([[1]]), [2], [1]).round(6)
    np.float64(0.287682)
    """
    x = floats(as_array(log_probs))
    single = x.ndim == 2
    x = x[:, None] if single else x
    if x.ndim != 3:
        raise ValueError(f"ctc_loss takes (time, n, classes), not {x.shape}")
    times, lengths, labels = (
        np.asarray(to_numbers(y)) for y in (input_lengths, target_lengths, targets)
    )
    times, lengths = times.reshape(-1), lengths.reshape(-1)
    labels = _in_rows(labels, lengths)
    steps, n, classes = x.shape
    if times.shape != (n,) or lengths.shape != (n,) or len(labels) != n:
        raise ValueError(
            f"ctc_loss: {n} examples, {len(labels)} targets, {times.size} input lengths and "
            f"{lengths.size} target lengths"
        )
    if wrong((times < 1) | (times > steps)):
        raise ValueError(f"input_lengths {times.tolist()}: there are 1..{steps} times")
    if wrong((lengths < 0) | (lengths > labels.shape[1])):
        raise ValueError(f"target_lengths {lengths.tolist()}: there are {labels.shape[1]} labels")
    labels = np.where(np.arange(labels.shape[1]) < lengths[:, None], labels, blank)
    if not 0 <= blank < classes or wrong((labels < 0) | (labels >= classes)):
        raise ValueError(
            f"labels {labels.min()}..{labels.max()}, blank {blank}: there are {classes} classes"
        )
    each = ops.ctc.ctc(x, targets=labels, input_lengths=times, target_lengths=lengths, blank=blank)
    if zero_infinity:
        each = np.where(np.isinf(each), 0, each)
    if single:
        each = each[0]
    if reduction == "mean":
        each = each / beside(np.maximum(lengths, 1).astype(x.dtype).reshape(each.shape), each)
    return _reduced(each, reduction)


CTCLoss = module_of("CTCLoss", ctc_loss, 4)


def _in_rows(targets: Any, lengths: Any) -> Any:
    """The labels of each example in its row; those that come in one row are cut by `lengths`."""
    if targets.ndim == 2:
        return targets
    if len(lengths) == 1:
        return targets.reshape(1, -1)
    if lengths.sum() != targets.size:
        raise ValueError(f"ctc_loss: {targets.size} labels, {lengths.sum()} by target_lengths")
    rows = np.zeros((len(lengths), lengths.max(initial=0)), int)
    rows[np.arange(rows.shape[1]) < lengths[:, None]] = targets
    return rows
