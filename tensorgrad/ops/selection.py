"""One of several arrays, entry by entry; only the one that was chosen receives a cotangent.

(`np.where`, `maximum` and the like are in `elementwise.py`.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tensorgrad.engine.arrays import as_array, to_numbers
from tensorgrad.engine.batching import elementwise
from tensorgrad.engine.domain import Domain
from tensorgrad.engine.node import Array, data_of
from tensorgrad.engine.primitive import implements, primitive
from tensorgrad.ops.constant import on_data
from tensorgrad.ops.elementwise import only
from tensorgrad.ops.index import setitem


@implements(np.select)
def select(condlist: Sequence[Array], choicelist: Sequence[Array], default: Array = 0) -> Array:
    """The first choice whose condition holds, else `default`."""
    if len(condlist) != len(choicelist) or not len(condlist):
        raise ValueError(
            f"select: {len(condlist)} conditions for {len(choicelist)} choices; "
            "give each choice its condition, and at least one"
        )
    out = default
    if not hasattr(out, "dtype"):
        out = as_array(out, np.result_type(*choicelist, out))
    for condition, choice in zip(condlist[::-1], choicelist[::-1]):
        if (kind := np.result_type(condition)).kind != "b":
            raise TypeError(f"select: a condition is an array of booleans, not of {kind}")
        out = np.where(condition, choice, out)
    return out


@implements(np.piecewise)
def piecewise(x: Array, condlist: Any, funclist: Sequence[Any], *args: Any, **kw: Any) -> Array:
    """Each function (or number) where its condition holds; one more is for everywhere else.

    A function is given those entries only, so it may be singular at others.
    """
    given = data_of(condlist)
    given = [*map(to_numbers, given)] if isinstance(given, (list, tuple)) else to_numbers(given)
    conditions = as_array(given, bool)
    if conditions.ndim < (2 if x.ndim else 1):  # a single condition
        conditions = conditions[None]
    if len(funclist) == len(conditions) + 1:
        conditions = np.concatenate([conditions, ~conditions.any(axis=0, keepdims=True)])
    if len(funclist) != len(conditions):
        raise ValueError(
            f"piecewise: {len(funclist)} functions for {len(conditions)} conditions; "
            "give as many, or one more"
        )
    entries = np.atleast_1d(x)
    out = np.zeros_like(entries)
    for condition, f in zip(conditions, funclist):
        index = np.nonzero(np.atleast_1d(condition))
        if index[0].size:
            value = f(entries[index], *args, **kw) if callable(f) else f
            out = setitem(out, value, index=index)
    return np.reshape(out, x.shape)


choice_of_each = on_data(np.choose)


@implements(np.choose)
def choose(a: Array, choices: Sequence[Array], out: None = None, mode: str = "raise") -> Array:
    """Each entry from `choices[i]`, where i is the entry of `a` there."""
    if out is not None:
        raise TypeError("choose: out= cannot be differentiated")
    i = choice_of_each(a, np.arange(len(choices)), mode=mode)  # as `mode` says, within range
    i, *entries = np.broadcast_arrays(i, *choices)
    return np.take_along_axis(np.stack(entries), i[None], axis=0)[0]


def by_finite(
    g: Array, out: Array, x: Array, nan: Any = 0.0, posinf: Any = None, neginf: Any = None
) -> Array:
    """Only finite entries are passed on; of complex ones, each part."""
    if x.dtype.kind != "c":
        return only(np.isfinite(x), g)
    across = only(np.isfinite(np.imag(x)), np.imag(g))
    return only(np.isfinite(np.real(x)), np.real(g)) + 1j * across


def with_nan(x: Array) -> tuple[Array]:
    """Every third entry is NaN."""
    return (x + np.where(np.arange(x.size).reshape(x.shape) % 3 == 2, np.nan, 0),)


nan_to_num = primitive(
    np.nan_to_num,
    by_finite,
    domain=Domain(complex=True, also=Domain(make=with_nan)),
    batch=elementwise,
)
