"""Dropout: Srivastava et al. (2014), with what is kept scaled up, so that its mean stays.

Which entries are kept is drawn first, and is an operand like any other; nothing is differentiated
by it. Every layer that draws as it runs draws here, for what is drawn again when a checkpoint
computes again is the same: `engine/calls.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tensorgrad.engine.arrays import created
from tensorgrad.engine.batching import elementwise
from tensorgrad.engine.calls import drawing
from tensorgrad.engine.domain import Domain, Shape
from tensorgrad.engine.node import Array
from tensorgrad.engine.primitive import Primitive, primitive
from tensorgrad.engine.rules import flat_with_params
from tensorgrad.ops.elementwise import only


def numbers(
    x: Array, rng: Any, whole: int | None = None, dtype: npt.DTypeLike = np.float64
) -> Array:
    """Of 0..1, one for each entry of `x`, or each part x[i, j, ...] of `whole` numbers."""
    drawing.get()(rng)
    whole = x.ndim if whole is None else whole
    shape = x.shape[:whole] + (1,) * (x.ndim - whole)
    return created(rng.random, shape, dtype=dtype, like=x)


def kept(x: Array, p: float, rng: Any, whole: int | None = None) -> Array:
    """True with probability 1 - p, for each entry of `x`, or each part."""
    return numbers(x, rng, whole, np.float32) >= p


def drawn(name: str, draw: Callable[..., Array]) -> Primitive:
    """The primitive that draws: nothing is differentiated by it.

    It is not in the registry, for its result is another each time.
    """

    def in_examples(op: Any, batch: Shape, xs: list[Array], params: Mapping[str, Any]) -> Array:
        """Every example of a vmap has its own."""
        (x,), whole = xs, params.get("whole")
        whole = x.ndim if whole is None else whole + len(batch)
        return draw(x, **{**params, "whole": whole})

    return Primitive(draw, (flat_with_params,), name, batch=in_examples)


bernoulli = drawn("bernoulli", kept)
uniform = drawn("uniform", numbers)


def probability(name: str, p: float) -> float:
    """`p`; ValueError unless it is one."""
    if not 0 <= p <= 1:
        raise ValueError(f"{name}: the probability p is between 0 and 1, not {p}")
    return p


def scale(p: float) -> float:
    """What those that are kept are multiplied with; if none is, 0."""
    return 1 / (1 - p) if p < 1 else 0.0


dropout = primitive(
    lambda x, mask, p=0.5: only(mask, x) * scale(p),
    lambda g, out, x, mask, p=0.5: only(mask, g) * scale(p),
    flat_with_params,
    name="dropout",
    notation=r"\frac{{{1} \odot {0}}}{{1 - {p}}}",
    domain=Domain(
        params=lambda x, mask: [{"p": 0.2}],
        make=lambda x, mask: (x, mask > 0.3037),  # not where x is 0, if they are one
        broadcast=False,
    ),
    batch=elementwise,
)
