"""Activations and losses of `nn.functional` against PyTorch's, at random and at extremes.

    python benchmarks/pytorch_activations.py [NUMBER OF DRAWS] [NAME ...]

Wanted is PyTorch. Of each function so many random calls are drawn: shapes, settings, magnitudes
from 1e-3 to 1e3. Compared are the value, the gradients by all operands of floats, and the
derivative of these in a random direction, in float64. Each difference is a line.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from beside import compare, report, tensor

# isort: split
import numpy as np
import torch.nn.functional as theirs

import tensorgrad.nn.functional as ours

Call = tuple[list[Any], dict[str, Any]]
SHAPES = [(4,), (3, 4), (2, 4, 3), (1, 2, 2, 2), (5, 1), ()]
SCALES = [1e-3, 1, 1, 1, 30, 1e3]
REDUCTIONS = ["mean", "sum", "none"]


class Draw:
    """What random calls are made of."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.reduction = {"reduction": self.one_of(REDUCTIONS)}

    def one_of(self, xs: Any) -> Any:
        return xs[self.rng.integers(len(xs))]

    def shape(self) -> Any:
        return self.one_of(SHAPES)

    def x(self, shape: Any = None) -> Any:
        shape = self.shape() if shape is None else shape
        return np.asarray(self.rng.normal(size=shape) * self.one_of(SCALES))

    def p(self, shape: Any, low: float = 0.01, high: float = 0.99) -> Any:
        return np.asarray(self.rng.uniform(low, high, shape))

    def maybe(self, **options: Any) -> dict[str, Any]:
        return {name: x for name, x in options.items() if self.rng.random() < 0.5}

    def number(self) -> float:
        return float(self.one_of([0.1, 0.5, 1, 2, 3]))

    def signs(self, shape: Any) -> Any:
        return self.rng.choice([-1.0, 1.0], shape)


def entrywise(*options: str) -> Callable[[Draw], Call]:
    return lambda d: ([d.x()], d.maybe(**{name: d.number() for name in options}))


def along(d: Draw) -> Call:
    x = d.x((2, 4, 6))
    return [x], {"dim": int(d.rng.integers(-3, 3))}


def pair(**options: Callable[[Draw, Any], Any]) -> Callable[[Draw], Call]:
    def call(d: Draw) -> Call:
        shape = d.shape()
        more = d.maybe(**{name: option(d, shape) for name, option in options.items()})
        return [d.x(shape), d.x(shape)], more | d.reduction

    return call


def probabilities(d: Draw) -> Call:
    shape = d.shape()
    more = d.maybe(weight=d.p(shape, 0.1, 2))
    return [d.p(shape), d.p(shape)], more | d.reduction


def logits(d: Draw) -> Call:
    shape = d.one_of([(3, 4), (2, 3, 4)])
    more = d.maybe(weight=d.p(shape, 0.1, 2), pos_weight=d.p(shape[-1:], 0.1, 3))
    return [d.x(shape), d.p(shape, 0, 1)], more | d.reduction


def classes(d: Draw, log: bool = False) -> Call:
    n = int(d.rng.integers(2, 6))
    shape = d.one_of([(3, n), (4, n, 2), (2, n, 2, 3), (1, n), (n,)])
    targets = shape[:1] + shape[2:] if len(shape) > 1 else ()
    y = np.asarray(d.rng.integers(n, size=targets))
    more = d.maybe(weight=d.p(n, 0.1, 2))
    if d.rng.random() < 0.5:
        ignored = int(d.one_of([-100, 0, 1, 77]))
        y = np.where(d.rng.random(targets) < 0.3, ignored, y)
        if np.all(y == ignored):
            y = y * 0 + (ignored != 1)
        more["ignore_index"] = ignored
    x = d.x(shape)
    if log:
        x = x - np.log(np.sum(np.exp(x), axis=min(1, x.ndim - 1), keepdims=True))
        return [x, y], more | d.reduction
    more |= d.maybe(label_smoothing=0.2)
    if d.rng.random() < 0.3:
        more.pop("ignore_index", None)
        y = d.rng.dirichlet(np.ones(n), targets)
        y = np.moveaxis(y, -1, min(1, len(shape) - 1))
    return [x, y], more | d.reduction


def divergence(d: Draw) -> Call:
    shape, log = d.one_of([(3, 4), (2, 3, 4), (4,)]), bool(d.rng.random() < 0.5)
    y = d.p(shape)
    word = d.one_of([*REDUCTIONS, "batchmean"])
    return [np.log(d.p(shape)), np.log(y) if log else y], {"log_target": log, "reduction": word}


def margins(d: Draw) -> Call:
    n = int(d.rng.integers(2, 6))
    shape = d.one_of([(3, n), (1, n), (n,)])
    more = d.maybe(p=d.one_of([1, 2]), margin=d.number(), weight=d.p(n, 0.1, 2))
    return [d.x(shape), np.asarray(d.rng.integers(n, size=shape[:-1]))], more | d.reduction


def labels(d: Draw) -> Call:
    n = int(d.rng.integers(2, 6))
    shape = d.one_of([(3, n), (1, n), (n,)])
    y = np.stack([d.rng.permutation(n) for _ in range(int(np.prod(shape[:-1])))])
    y[np.arange(n) >= d.rng.integers(0, n + 1, (len(y), 1))] = -1
    return [d.x(shape), y.reshape(shape)], d.reduction


def soft_labels(d: Draw) -> Call:
    shape = d.one_of([(3, 4), (1, 2), (2, 3, 2)])
    y = d.rng.integers(2, size=shape) * 1.0
    return [d.x(shape), y], d.maybe(weight=d.p(shape[-1:], 0.1, 2)) | d.reduction


def signed(n: int) -> Callable[[Draw], Call]:
    def call(d: Draw) -> Call:
        shape = d.shape()
        xs = [d.x(shape) for _ in range(n)]
        return [*xs, d.signs(shape)], d.maybe(margin=d.number()) | d.reduction

    return call


def angles(d: Draw) -> Call:
    a, b = d.x((3, 4)), d.x((3, 4))
    return [a, b, d.signs(3)], d.maybe(margin=0.3) | d.reduction


def triplets(d: Draw) -> Call:
    shape = d.one_of([(3, 4), (1, 2), (5,)])
    xs = [d.rng.normal(size=shape) for _ in range(3)]
    more = d.maybe(margin=d.number(), p=d.one_of([1.0, 2.0, 3.0]), swap=True)
    return xs, more | d.reduction


def poisson(d: Draw) -> Call:
    shape, log = d.shape(), bool(d.rng.random() < 0.5)
    x = d.rng.normal(size=shape) if log else d.p(shape, 0.1, 5)
    more = d.maybe(full=True) | d.reduction | {"log_input": log}
    return [np.asarray(x), np.asarray(d.rng.poisson(2, shape) * 1.0)], more


def gaussian(d: Draw) -> Call:
    var = d.one_of([(3, 4), (3, 1), (3,)])
    variances = d.p(var, 0, 2) * d.one_of([1, 1e-7])
    return [d.x((3, 4)), d.x((3, 4)), variances], d.maybe(full=True, eps=1e-3) | d.reduction


def alignments(d: Draw) -> Call:
    t, n, c, s = int(d.rng.integers(4, 9)), int(d.rng.integers(1, 4)), 4, 3
    x = d.rng.normal(size=(t, n, c)) * d.one_of([1, 10])
    y = d.rng.integers(1, c, (n, s))
    lengths = d.rng.integers(s + 1, t + 1, n) if t > s else np.full(n, t)
    more = {"zero_infinity": bool(d.rng.random() < 0.5)} | d.reduction
    return [x, y, lengths, d.rng.integers(0, s + 1, n)], more


def rectified(d: Draw) -> Call:
    return [d.x(d.one_of([(3, 4), (2, 4, 3)])), d.x((d.one_of([1, 4]),))], {}


WEIGHTED = {"weight": lambda d, shape: d.p(shape, 0.1, 2)}
CASES: dict[str, Callable[[Draw], Call]] = {
    **dict.fromkeys(["relu", "relu6", "selu", "silu", "mish", "softsign"], entrywise()),
    **dict.fromkeys(["tanhshrink", "sigmoid", "tanh"], entrywise()),
    **dict.fromkeys(["hardsigmoid", "hardswish", "logsigmoid", "rrelu"], entrywise()),
    **{"leaky_relu": entrywise("negative_slope"), "elu": entrywise("alpha")},
    **{"celu": entrywise("alpha"), "softshrink": entrywise("lambd"), "prelu": rectified},
    **{"hardshrink": entrywise("lambd"), "softplus": entrywise("beta", "threshold")},
    "gelu": lambda d: ([d.x()], d.maybe(approximate="tanh")),
    "hardtanh": lambda d: ([d.x()], d.maybe(min_val=-d.number(), max_val=d.number())),
    "threshold": lambda d: ([d.x(), d.number(), d.number()], {}),
    **dict.fromkeys(("glu", "softmax", "log_softmax", "softmin"), along),
    **{"mse_loss": pair(**WEIGHTED), "l1_loss": pair(**WEIGHTED)},
    "huber_loss": pair(delta=lambda d, shape: d.number(), **WEIGHTED),
    "smooth_l1_loss": pair(beta=lambda d, shape: d.one_of([0.0, 0.5, 2.0])),
    "cross_entropy": classes,
    "nll_loss": lambda d: classes(d, log=True),
    "binary_cross_entropy": probabilities,
    "binary_cross_entropy_with_logits": logits,
    "kl_div": divergence,
    **{"hinge_embedding_loss": signed(1), "margin_ranking_loss": signed(2)},
    **{"soft_margin_loss": lambda d: (signed(1)(d)[0], d.reduction)},
    **{"multi_margin_loss": margins, "multilabel_margin_loss": labels},
    **{"multilabel_soft_margin_loss": soft_labels, "cosine_embedding_loss": angles},
    **{"triplet_margin_loss": triplets, "poisson_nll_loss": poisson},
    **{"gaussian_nll_loss": gaussian, "ctc_loss": alignments},
    "pairwise_distance": lambda d: ([d.x((3, 4)), d.x((3, 4))], d.maybe(p=3.0, keepdim=True)),
    "cosine_similarity": lambda d: ([d.x((3, 4)), d.x((3, 4))], d.maybe(dim=0)),
}
NO_GRADIENT = {  # by these PyTorch has none, or they are labels
    "binary_cross_entropy": 1,
    "hinge_embedding_loss": -1,
    "margin_ranking_loss": -1,
    "cosine_embedding_loss": -1,
    "soft_margin_loss": -1,
    "multilabel_soft_margin_loss": -1,
    "poisson_nll_loss": -1,
}


def beside(name: str, args: list[Any], kwargs: dict[str, Any]) -> None:
    """One call, differentiated by its arrays of floats."""
    f, g = getattr(ours, name), getattr(theirs, name)
    if name == "ctc_loss":  # PyTorch's gradient by log probabilities is that by logits
        plain_f, plain_g = f, g
        f = lambda x, *more, **how: plain_f(ours.log_softmax(x), *more, **how)
        g = lambda x, *more, **how: plain_g(theirs.log_softmax(x, -1), *more, **how)
    by = [i for i, x in enumerate(args) if getattr(x, "dtype", np.dtype(int)).kind == "f"]
    if name in NO_GRADIENT:
        by = [i for i in by if i != range(len(args))[NO_GRADIENT[name]]]

    def call(of: Any, args: list[Any], kwargs: dict[str, Any], *xs: Any) -> Any:
        args = [*args]
        for i, x in zip(by, xs, strict=True):
            args[i] = x
        return of(*args, **kwargs)

    given, more = [*map(tensor, args)], {k: tensor(x) for k, x in kwargs.items()}
    compare(
        name,
        lambda *xs: call(f, args, kwargs, *xs),
        lambda *xs: call(g, given, more, *xs),
        [args[i] for i in by],
        kwargs,
    )


def main() -> int:
    np.seterr(all="ignore")
    numbers = [int(x) for x in sys.argv[1:] if x.isdigit()]
    for name in [x for x in sys.argv[1:] if not x.isdigit()] or CASES:
        for seed in range(*numbers or [100]):
            beside(name, *CASES[name](Draw(seed)))
    return report()


if __name__ == "__main__":
    sys.exit(main() > 0)
