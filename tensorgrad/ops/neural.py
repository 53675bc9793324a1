"""What networks add to NumPy: squashing functions, softmax, the affine map, and costs, each one
node with the formula that textbooks derive for it. Stable at any magnitude of the input.

Choices: relu'(0) = 0; infinite entries that tie share the gradient of logsumexp equally.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tensorgrad.engine import arrays
from tensorgrad.engine.arrays import as_array, created, total, wrong
from tensorgrad.engine.batching import alike, elementwise, full, padded, reduction
from tensorgrad.engine.domain import REAL, Domain, Shape, axes, one_axis
from tensorgrad.engine.node import Array, data_of
from tensorgrad.engine.primitive import Primitive, primitive
from tensorgrad.ops.elementwise import difference, only
from tensorgrad.ops.linalg import as_matrix
from tensorgrad.ops.reduce import Axis, divided, unreduce, wide

FLOAT = np.dtype(float)


def floats(x: Array) -> Array:
    """Integers and booleans as float64, as in SciPy; all else as it is."""
    return x.astype(float) if getattr(x, "dtype", FLOAT).kind in "biu" else x


@np.errstate(over="ignore")
def logistic(x: Array) -> Array:
    """1 / (1 + e⁻ˣ). Where e⁻ˣ overflows the answer, 0, is right: only the warning is not."""
    d = np.exp(-floats(x))
    d += 1  # in place: it is our own
    return np.reciprocal(d)


sigmoid = primitive(
    logistic,
    lambda g, out, x: g * out * (1 - out),
    name="sigmoid",
    notation=r"\sigma({0})",
    domain=REAL,
    batch=elementwise,
)


def rectified(x: Array) -> Array:
    """max(0, x), NaN for NaN. (On a number np.maximum takes 0.6 µs, comparing 0.1.)"""
    if isinstance(x, np.floating):
        return type(x)(0) if x <= 0 else x
    return np.maximum(x, 0)


relu = primitive(
    rectified,
    lambda g, out, x: only(x > 0, g),
    name="relu",
    notation=r"\max(0, {0})",
    domain=Domain(kink=lambda x: x),
    batch=elementwise,
    choice="relu'(0) = 0",
)
# σ as the slope of other functions: differentiated it keeps its digits where 1 - out has none.
exact_sigmoid: Primitive = primitive(
    logistic,
    lambda g, out, x: g * out * exact_sigmoid(-x),
    name="exact_sigmoid",
    notation=r"\sigma({0})",
    domain=REAL,
    batch=elementwise,
)
softplus = primitive(
    lambda x: np.logaddexp(x, 0),
    lambda g, out, x: g * exact_sigmoid(x),
    name="softplus",
    notation=r"\ln(1 + e^{{{0}}})",
    batch=elementwise,
)

# Softmax and its logarithm. Subtracting the largest entry changes nothing but the range of e^x.


numbers = np.vectorize(data_of, otypes=[float])


def top(x: Array, axis: Axis) -> Array:
    """The largest entry, as a constant."""
    if x.dtype == object:  # scalars that `zoom` takes a forward apart into
        x = numbers(x)
    if 0 in x.shape:
        return x.max(axis=axis, keepdims=True, initial=-np.inf)
    return x.max(axis=axis, keepdims=True)


def shares(x: Array, axis: int = -1) -> Array:
    x = floats(x)
    e = np.exp(x - top(x, axis))
    return as_array(e / wide(e).sum(axis=axis, keepdims=True), e.dtype)


def log_shares(x: Array, axis: int = -1) -> Array:
    x = floats(x)
    x = x - top(x, axis)
    with np.errstate(divide="ignore"):  # along an empty axis: log 0, which nothing is left to see
        return as_array(x - np.log(wide(np.exp(x)).sum(axis=axis, keepdims=True)), x.dtype)


def log_of_sum(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    x = floats(x)
    largest = top(x, axis)
    largest = np.where(np.isfinite(largest), largest, 0)  # an infinite one stands for itself
    with np.errstate(divide="ignore"):  # an empty sum: log 0 = -inf
        out = np.log(np.sum(wide(np.exp(x - largest)), axis=axis, keepdims=True)) + largest
    out = as_array(out, x.dtype)
    return out if keepdims else np.squeeze(out, axis)[()]


softmax = primitive(
    shares,
    lambda g, out, x, axis=-1: out * (g - np.sum(wide(g * out), axis=axis, keepdims=True)),
    name="softmax",
    notation=r"\operatorname{{softmax}}_{{{axis}}} {0}",
    domain=Domain(params=one_axis),
    batch=reduction,
)
log_softmax = primitive(
    log_shares,
    lambda g, out, x, axis=-1: g - np.exp(out) * np.sum(wide(g), axis=axis, keepdims=True),
    name="log_softmax",
    notation=r"\ln \operatorname{{softmax}}_{{{axis}}} {0}",
    domain=Domain(params=one_axis),
    batch=reduction,
)
logsumexp = primitive(
    log_of_sum,
    # e^(x - out) has the rounding of out, and equal infinities have no difference
    lambda g, out, x, axis=None, keepdims=False: (
        unreduce(g, axis, keepdims)
        * softmax(difference(x, unreduce(out, axis, keepdims)), axis=axis)
    ),
    name="logsumexp",
    notation=r"\ln \sum_{{{axis}}} e^{{{{{0}}}_{{{indices}}}}}",
    domain=Domain(params=lambda shape: axes(shape) if 0 not in shape else ()),  # ln 0 = -∞
    batch=reduction,
)

# The affine map of a layer, with PyTorch's layout: x (..., in), weight (out, in), bias (out).


def weight_rule(g: Array, out: Array, x: Array, weight: Array, bias: Array) -> Array:
    """BP4, ∂C/∂W = δ aᵀ, summed over a batch by the product itself."""
    if x.ndim != 2:
        g, x = as_matrix(g), as_matrix(x)
    return g.T @ x


LARGE = 1 << 13  # entries; with fewer, the other order of the result costs more than it gains


def affine(x: Array, weight: Array, bias: Array) -> Array:
    """x Wᵀ + b. Of a large matrix as (W xᵀ)ᵀ, which BLAS computes in 0.9 of the time of x Wᵀ."""
    try:
        out = (weight @ x.T).T if x.ndim == 2 and x.size >= LARGE else x @ weight.T
    except ValueError:
        if x.ndim and weight.ndim and x.shape[-1] != weight.shape[-1]:
            had, wanted = x.shape[-1], weight.shape[-1]
            raise ValueError(f"x has {had} features, the layer takes {wanted}") from None
        raise
    if getattr(bias, "ndim", 0) == 1 and out.dtype == bias.dtype:
        out += bias  # in place: it is our own
        return out
    return out + bias


def affine_examples(op: Any, batch: Shape, xs: list[Array], params: Mapping[str, Any]) -> Array:
    """With one weight for all examples, one product; with their own, a product for each."""
    k, (x, weight, bias) = len(batch), xs
    weight = np.swapaxes(weight, -1, -2)
    if math.prod(weight.shape[:k]) == 1:
        out = x @ weight.reshape(weight.shape[k:])
    elif x.ndim == k + 1:
        out = (x[..., None, :] @ weight)[..., 0, :]
    else:
        out = np.matmul(*padded([x, weight], k, (2, 2)))
    return np.add(*padded([out, bias], k))


linear = primitive(
    affine,
    lambda g, out, x, weight, bias: g @ weight,
    weight_rule,
    lambda g, out, x, weight, bias: g,
    name="linear",
    notation=r"{0} {1}^{{\top}} + {2}",
    domain=Domain(signature="(i),(o,i),(o)", broadcast=False, complex=True),
    batch=affine_examples,
)

# Costs. `a` is what a network answers, `y` what it should have answered: one row an example.


def rows(a: Array) -> int:
    """How many examples there are."""
    return total(a.shape[:-1])


def same_shape(a: Array, y: Array) -> None:
    """A cost compares entry by entry: (n, 1) against (n,) would broadcast to n² differences."""
    if getattr(getattr(y, "dtype", FLOAT), "kind", "f") not in "biufc":  # strangers have their own
        raise TypeError(NAMES.format(y.dtype))
    if not arrays.same_shape(np.shape(a), np.shape(y)):
        column = np.shape(a) == (*np.shape(y), 1)
        way = ": write y[:, None] for targets y, or model(x)[:, 0]" * column
        raise ValueError(f"the answers have shape {np.shape(a)}, the targets {np.shape(y)}{way}")


NAMES = (
    "targets are numbers, not {}: number the classes, "
    "names, y = np.unique(labels, return_inverse=True)"
)


def class_numbers(y: Array) -> Array:
    """Targets that count classes: a boolean is 0 or 1. TypeError for others."""
    y = as_array(y)
    if y.dtype.kind == "b":  # it would choose as a mask
        return y.astype(np.intp)
    if y.dtype.kind in "fc":
        raise TypeError(
            f"class numbers are integers, not {y.dtype}: write y.astype(int) (probabilities of "
            "the classes have the shape of the logits)"
        )
    if y.dtype.kind not in "iu":
        raise TypeError(NAMES.format(y.dtype))
    return y


def mean_half_square(a: Array, y: Array) -> Array:
    same_shape(a, y)
    difference = np.subtract(floats(a), y)
    d = wide(difference)
    cost = 0.5 * np.vdot(d, d) / rows(a)  # 0.4 µs where np.sum takes 2
    return cost if d is difference else cost.astype(difference.dtype)


def half_squares(op: Any, batch: Shape, xs: list[Array], params: Mapping[str, Any]) -> Array:
    """The cost of each example of a vmap, which may be rows itself."""
    a, y = (full(x, batch) for x in xs)
    same_shape(a, y)
    core, difference = a.shape[len(batch) :], np.subtract(floats(a), y)
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


def log_odds(a: Array) -> tuple[Array, Array]:
    """ln a and ln(1 - a). As in PyTorch, ln 0 is -100: no answer costs more than 100."""
    with np.errstate(divide="ignore"):
        return np.maximum(np.log(a), -100), np.maximum(np.log1p(-a), -100)


def surprise(a: Array, y: Array) -> Array:
    same_shape(a, y)
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
    same_shape(z, y)
    return np.logaddexp(floats(z), 0) - y * z


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


def nats(z: Array, y: Array, reduction: str = "none") -> Array:
    """-ln of the softmax probability of the right class, of each row or together."""
    if reduction not in ("none", "sum", "mean"):
        raise ValueError(f"reduction={reduction!r}; there are 'mean', 'sum' and 'none'")
    z = floats(z)
    if z.dtype.char == "e":  # its sums end at 65504
        return as_array(nats(z.astype(np.float32), y, reduction), z.dtype)
    shape, z, y = z.shape, classes_last(z), as_array(y)
    if y.dtype.kind == "f" and y.ndim == z.ndim:
        y = classes_last(y)
        same_shape(z, y)
        cost = -np.sum(y * log_shares(z), axis=-1)
    else:
        y = class_numbers(y)
        n, classes = y.size, z.shape[-1]
        if y.shape != z.shape[:-1]:
            way = "; write probabilities as floats, y.astype(float)" * (y.shape == shape)
            raise ValueError(f"logits of shape {shape} and class numbers of shape {y.shape}{way}")
        if wrong(y // classes if classes else y == y):  # 0 for 0..classes-1 alone, 1 µs less
            way = ": of one logit for two classes binary_cross_entropy_with_logits" * (classes == 1)
            raise ValueError(f"classes {y.min()}..{y.max()}, but there are {classes} logits{way}")
        z = z - top(z, -1)
        chosen = z.reshape(n, classes)[np.arange(n), y.ravel()].reshape(y.shape)
        cost = np.log(np.exp(z).sum(axis=-1)) - chosen
    if reduction == "none":
        return cost
    return cost.sum() / (cost.size if reduction == "mean" else 1)  # 3 µs less than mean()


def nats_of_examples(op: Any, batch: Shape, xs: list[Array], params: Mapping[str, Any]) -> Array:
    """The rows of all examples of a vmap together; what is summed is summed over their own."""
    z, y = (full(x, batch) for x in xs)
    k = len(batch)
    if y.ndim == z.ndim and y.dtype.kind == "f":
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
    return np.expand_dims(y, -1) == created(np.arange, classes, like=y)


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
