"""Costs. `a` is what a network answers, `y` what it should have answered: one row an example."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tensorgrad.engine import arrays
from tensorgrad.engine.arrays import as_array, created, total, wrong
from tensorgrad.engine.batching import alike, full
from tensorgrad.engine.domain import Domain, Shape
from tensorgrad.engine.dtypes import is_floating, is_inexact
from tensorgrad.engine.node import Array
from tensorgrad.engine.primitive import primitive
from tensorgrad.engine.short import has_short
from tensorgrad.engine.sparse import brief, is_sparse, way_out
from tensorgrad.ops.nn.activation import FLOAT, exact_sigmoid, floats, reals, smooth_max
from tensorgrad.ops.nn.softmax import log_shares, log_softmax, softmax, top
from tensorgrad.ops.reduce import divided, wide


def rows(a: Array) -> int:
    """How many examples there are."""
    return total(a.shape[:-1])


def pair(a: Array, y: Array) -> tuple[Array, Array]:
    """Answers and targets of one shape: (n, 1) against (n,) would broadcast to n² differences.

    Targets that are integers come in the dtype of the answers: with int64 float32 is float64.
    """
    a, y = floats(as_array(a)), as_array(y)
    kind = getattr(getattr(y, "dtype", FLOAT), "kind", "f")  # strangers have their own
    if kind not in "biufc" and not has_short(y):
        raise TypeError(NAMES.format(y.dtype))
    if not arrays.same_shape(np.shape(a), np.shape(y)):
        column = np.shape(a) == (*np.shape(y), 1)
        way = ": write y[:, None] for targets y, or model(x)[:, 0]" * column
        raise ValueError(f"the answers have shape {np.shape(a)}, the targets {np.shape(y)}{way}")
    return a, y.astype(a.dtype) if kind in "biu" else y


NAMES = (
    "targets are numbers, not {}: number the classes, "
    "names, y = np.unique(labels, return_inverse=True)"
)


def class_numbers(y: Array) -> Array:
    """Targets that count classes: a boolean is 0 or 1. TypeError for others."""
    y = as_array(y)
    if is_sparse(y):
        raise TypeError(f"class numbers are a dense array, not {brief(y)}: {way_out(y)}")
    if y.dtype.itemsize == 1 and y.dtype.kind in "biu":  # booleans would choose as a mask, and
        return y.astype(np.intp)  # 8 bits do not hold the number of classes
    if is_inexact(y.dtype):
        raise TypeError(
            f"class numbers are integers, not {y.dtype}: write y.astype(int) (probabilities of "
            "the classes have the shape of the logits)"
        )
    if y.dtype.kind not in "iu":
        raise TypeError(NAMES.format(y.dtype))
    return y


def mean_half_square(a: Array, y: Array) -> Array:
    a, y = pair(reals(a), y)
    difference = np.subtract(a, y)
    d = wide(difference)
    cost = 0.5 * np.vdot(d, d) / rows(a)  # 0.4 µs where np.sum takes 2
    return cost if d is difference else cost.astype(difference.dtype)


def half_squares(op: Any, batch: Shape, xs: list[Array], params: Mapping[str, Any]) -> Array:
    """The cost of each example of a vmap, which may be rows itself."""
    a, y = (full(x, batch) for x in xs)
    a, y = pair(reals(a), y)
    core, difference = a.shape[len(batch) :], np.subtract(a, y)
    squares = np.square(wide(difference)).reshape(*batch, total(core))
    return as_array(0.5 * squares.sum(axis=-1) / total(core[:-1]), difference.dtype)


quadratic = primitive(
    mean_half_square,
    lambda g, out, a, y: divided(g, rows(a)) * (a - y),
    lambda g, out, a, y: divided(g, rows(a)) * (y - a),
    name="quadratic",
    notation=r"\frac{{1}}{{2n}} \sum \lVert {0} - {1} \rVert^2",
    domain=Domain(broadcast=False, params=lambda a, y: [{}] if 0 not in a else ()),
    batch=half_squares,
)


def half_sum(x: Array) -> Array:
    d = wide(x)
    cost = 0.5 * np.vdot(d, d)
    return cost if d is x else cost.astype(x.dtype)


def half_sums(op: Any, batch: Shape, xs: list[Array], params: Mapping[str, Any]) -> Array:
    """That of each example of a vmap."""
    x = full(xs[0], batch)
    squares = np.square(wide(x)).reshape(*batch, total(x.shape[len(batch) :]))
    return as_array(0.5 * squares.sum(axis=-1), x.dtype)


half_square = primitive(
    half_sum,
    lambda g, out, x: g * x,
    name="half_square",
    notation=r"\tfrac{{1}}{{2}} \lVert {0} \rVert^2",
    domain=Domain(),
    batch=half_sums,
)


def bounded_square(a: Array, y: Array, delta: float = 1.0) -> Array:
    a, y = pair(a, y)
    d = a - y
    near = np.minimum(np.maximum(d, -delta), delta)
    return near * (d - near / 2)


huber = primitive(
    bounded_square,
    lambda g, out, a, y, delta=1.0: g * np.clip(a - y, -delta, delta),
    lambda g, out, a, y, delta=1.0: g * np.clip(y - a, -delta, delta),
    name="huber_loss",
    notation=r"\operatorname{{huber}}_{{{delta}}}({0} - {1})",
    domain=Domain(
        broadcast=False,
        kink=lambda a, y: np.abs(a - y) - 1,
        params=lambda a, y: [{"delta": 1.0}],
    ),
    batch=alike,
)


def log_odds(a: Array) -> tuple[Array, Array]:
    """ln a and ln(1 - a). As in PyTorch, ln 0 is -100: no answer costs more than 100."""
    with np.errstate(divide="ignore"):
        return np.maximum(np.log(a), -100), np.maximum(np.log1p(-a), -100)


def surprise(a: Array, y: Array) -> Array:
    a, y = pair(a, y)
    if wrong((a < 0) | (a > 1) | (a != a)):
        raise ValueError(
            "probabilities outside of 0..1; for weighted sums take the cost with_logits"
        )
    yes, no = log_odds(a)
    return -(y * yes + (1 - y) * no)


def surprise_by_target(g: Array, out: Array, a: Array, y: Array) -> Array:
    yes, no = log_odds(a)
    return g * (no - yes)


binary_cross_entropy = primitive(
    surprise,
    # (a - y) / (a (1 - a)), with the division held off 0 as the cost is
    lambda g, out, a, y: g * (a - y) / np.maximum(a * (1 - a), 1e-12),
    surprise_by_target,
    name="binary_cross_entropy",
    notation=r"-({1} \ln {0} + (1 - {1}) \ln(1 - {0}))",
    domain=Domain((0.1, 0.9), broadcast=False),
    batch=alike,
)


def surprise_of_logits(z: Array, y: Array) -> Array:
    z, y = pair(z, y)
    return smooth_max(z) - y * z


binary_cross_entropy_with_logits = primitive(
    surprise_of_logits,
    lambda g, out, z, y: g * (exact_sigmoid(z) - y),
    lambda g, out, z, y: -g * z,
    name="binary_cross_entropy_with_logits",
    notation=r"\ln(1 + e^{{{0}}}) - {1} {0}",
    domain=Domain(broadcast=False),
    batch=alike,
)


def classes_last(z: Array, k: int = 0) -> Array:
    """From PyTorch's layout, (classes), (n, classes) or (n, classes, ...), classes at the end.

    `k`: how many axes of examples of a vmap there are before these.
    """
    return z if z.ndim <= k + 2 else np.moveaxis(z, k + 1, -1)


def classes_second(z: Array) -> Array:
    """Back to PyTorch's layout."""
    return z if z.ndim <= 2 else np.moveaxis(z, -1, 1)


def way_to_fit(logits: Shape, numbers: Shape) -> str:
    """What to write where class numbers have none of the shapes that belong to the logits."""
    if numbers == logits:
        return "; write probabilities as floats, y.astype(float)"
    if len(logits) > 2 and numbers == logits[:-1]:
        return (
            "; the classes are axis 1, as in PyTorch: write logits.reshape(-1, "
            f"{logits[-1]}) and targets.reshape(-1), or np.moveaxis(logits, -1, 1)"
        )
    return ""


def nats(z: Array, y: Array, reduction: str = "none") -> Array:
    """-ln of the softmax probability of the right class, of each row or together."""
    if reduction not in ("none", "sum", "mean"):
        raise ValueError(f"reduction={reduction!r}; there are 'mean', 'sum' and 'none'")
    z = reals(z)
    if z.dtype.char == "e":  # its sums end at 65504
        return as_array(nats(z.astype(np.float32), y, reduction), z.dtype)
    shape, z, y = z.shape, classes_last(z), as_array(y)
    if is_floating(y.dtype) and y.ndim == z.ndim:
        z, y = pair(z, classes_last(y))
        cost = -np.sum(y * log_shares(z), axis=-1)
    else:
        n, classes = y.size, z.shape[-1]
        if y.shape != z.shape[:-1]:
            way = way_to_fit(shape, y.shape)
            raise ValueError(f"logits of shape {shape} and class numbers of shape {y.shape}{way}")
        z = z - top(z, -1)
        chosen = z.reshape(n, classes)[np.arange(n), y.ravel()].reshape(y.shape)
        cost = np.log(np.exp(z).sum(axis=-1)) - chosen
    if reduction == "none":
        return cost
    if not cost.size and reduction == "mean":
        raise ValueError(f"the mean of no losses (logits {shape}): the batch is empty")
    return cost.sum() / (cost.size if reduction == "mean" else 1)  # 3 µs less than mean()


def nats_of_examples(op: Any, batch: Shape, xs: list[Array], params: Mapping[str, Any]) -> Array:
    """The rows of all examples of a vmap together; what is summed is summed over their own."""
    z, y = (full(x, batch) for x in xs)
    k = len(batch)
    if y.ndim == z.ndim and is_floating(y.dtype):
        y = classes_last(y, k)
        y = y.reshape(-1, y.shape[-1])
    else:
        y = y.reshape(-1)
    z = classes_last(z, k)
    cost = nats(z.reshape(-1, z.shape[-1]), y).reshape(z.shape[:-1])
    if params.get("reduction", "none") == "none":
        return cost
    of_example = wide(cost).reshape(*batch, total(cost.shape[k:]))
    n = of_example.shape[-1] if params["reduction"] == "mean" else 1
    return as_array(of_example.sum(axis=-1) / n, cost.dtype)


def nats_in_words(z: Shape = (), y: Shape = ()) -> str:
    """The notation, of probabilities or of class numbers, of several examples or of one."""
    p = r"\ln \operatorname{{softmax}}({0})"
    if z and z == y:
        ik = "k" if len(z) == 1 else "ik"
        return rf"-{{reduction}} \sum_{{{{k}}}} {{{{{{1}}}}}}_{{{{{ik}}}}} {p}_{{{{{ik}}}}}"
    right = "{1}" if len(z) == 1 else "i, {{{1}}}_{{i}}"
    return rf"-{{reduction}} {p}_{{{{{right}}}}}"


def of_each(g: Array, z: Array, reduction: str) -> Array:
    """The cotangent of each row's cost, to be multiplied with rows of classes."""
    if reduction == "none":
        return g[..., None]
    return g if reduction == "sum" else divided(g, rows(z))


def one_hot(y: Array, classes: int) -> Array:
    """Class numbers as rows, True in the place of the class."""
    return as_array(y)[..., None] == created(np.arange, classes, like=y)


def by_logits(g: Array, out: Array, z: Array, y: Array, reduction: str = "none") -> Array:
    """The output error of softmax with log-likelihood, p - y (Nielsen ch. 3, eq. 84)."""
    targets = np.shape(y) == z.shape  # probabilities, not class numbers
    z = classes_last(z)
    p, g = softmax(z), of_each(g, z, reduction)
    if targets:
        y = classes_last(y)
        return classes_second(g * (p * np.sum(y, axis=-1, keepdims=True) - y))
    return classes_second(g * (p - one_hot(y, p.shape[-1])))


def by_targets(g: Array, out: Array, z: Array, y: Array, reduction: str = "none") -> Array:
    z = classes_last(z)
    return classes_second(-of_each(g, z, reduction) * log_softmax(z))


def reductions(z: Shape, y: Shape) -> Any:
    """The calls for logits that are not empty."""
    return [{"reduction": r} for r in ("none", "sum", "mean") if z and 0 not in z]


def with_classes(z: Array, y: Array) -> tuple[Array, Array]:
    """The logits, and a class number for each row of them."""
    return z, np.argmax(y, axis=1 if z.ndim > 2 else -1)


cross_entropy = primitive(
    nats,
    by_logits,
    by_targets,
    name="cross_entropy",
    notation=nats_in_words,
    domain=Domain(
        broadcast=False,
        params=reductions,
        also=Domain(broadcast=False, params=reductions, make=with_classes),
    ),
    batch=nats_of_examples,
)
