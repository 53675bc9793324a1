"""`np.pad`: what lies beyond the ends of an array, one axis after the other.

A constant is one primitive, NumPy's own pad. Entries of the array are taken where NumPy's pad moves
their numbers. The rest is computed by the functions of `BEYOND` and joined to the array.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from tensorgrad.engine.arguments import as_param
from tensorgrad.engine.arrays import as_array, created, is_numpy
from tensorgrad.engine.batching import full, one_by_one
from tensorgrad.engine.domain import Domain, Shape
from tensorgrad.engine.dtypes import is_inexact
from tensorgrad.engine.node import Array, Handle, data_of
from tensorgrad.engine.primitive import implements, primitive


def framed(x: Array, pad_width: Any, constant_values: Array = 0) -> Array:
    """`np.pad`; around one of NumPy's arrays in the order that it lies in memory."""
    if not is_numpy(x) or not x.ndim or np.ndim(constant_values):
        return np.pad(x, pad_width, constant_values=constant_values)
    shape = [low + n + high for n, (low, high) in zip(x.shape, pad_width)]
    out = np.full_like(x, constant_values, shape=shape)
    out[tuple(slice(low, low + n) for n, (low, _) in zip(x.shape, pad_width))] = x
    return out


def framed_examples(op: Any, batch: Shape, xs: list[Array], params: Mapping[str, Any]) -> Array:
    """Examples of a vmap are axes in front, with nothing around them."""
    if np.ndim(params.get("constant_values", 0)):  # of each axis
        return one_by_one(op, batch, xs, params)
    widths = [(0, 0)] * len(batch) + [*params["pad_width"]]
    return op.forward(full(xs[0], batch), **{**params, "pad_width": widths})


pad_constant = primitive(
    framed,
    lambda g, out, x, pad_width=(), constant_values=0: g[
        tuple(slice(low, low + n) for (low, _), n in zip(pad_width, x.shape))
    ],
    name="pad",
    domain=Domain(
        params=lambda shape: [{"pad_width": [(1, 2)] * len(shape)}] if shape else (), complex=True
    ),
    batch=framed_examples,
)


# `n` entries beyond one end of `axis`: the first for `side` 0, the last for -1.


def filled(x: Array, axis: int, n: int, side: int, value: Array) -> Array:
    return np.full_like(x, value, shape=(*x.shape[:axis], n, *x.shape[axis + 1 :]))


def ramp(x: Array, axis: int, n: int, side: int, end: Array) -> Array:
    """Straight from the edge to `end`, which the outermost entry reaches."""
    steps = created(np.arange, n, like=x)
    steps = (steps if side == 0 else steps[::-1]) / n
    along = np.reshape(steps, [n if a == axis else 1 for a in range(x.ndim)])
    return (end + (np.take(x, [side], axis) - end) * along).astype(x.dtype)


def statistic(
    function: Callable[..., Array], x: Array, axis: int, n: int, side: int, length: int | None
) -> Array:
    """`function` of the `length` entries at this end."""
    size = x.shape[axis]
    length = size if length is None else min(length, size)
    start = 0 if side == 0 else size - length
    near = x[(*[slice(None)] * axis, slice(start, start + length))]
    return filled(x, axis, n, side, function(near, axis=axis, keepdims=True))


def mirrored(skip: int, x: Array, axis: int, n: int, side: int, option: str) -> Array:
    """The mirror image, upside down, so that it goes on from the edge: 2·edge - x.

    `skip`: how many entries it leaves out, 1 where the edge is not repeated. Where it is too short,
    array and image are mirrored together.
    """
    if side == 0:
        return np.flip(mirrored(skip, np.flip(x, axis), axis, n, -1, option), axis)
    before, size = [slice(None)] * axis, x.shape[axis]
    while x.shape[axis] < size + n:
        image = np.flip(x, axis)[(*before, slice(skip if size > 1 else 0, None))]
        x = np.concatenate([x, 2 * np.take(x, [-1], axis) - image], axis)
    return x[(*before, slice(size, size + n))]


BEYOND: Mapping[str, Callable[..., Array]] = {
    "constant": filled,
    "linear_ramp": ramp,
    "maximum": partial(statistic, np.max),
    "mean": partial(statistic, np.mean),
    "median": partial(statistic, np.median),
    "minimum": partial(statistic, np.min),
    "odd reflect": partial(mirrored, 1),
    "odd symmetric": partial(mirrored, 0),
}
OPTION: Mapping[str, str] = {
    "constant": "constant_values",
    "linear_ramp": "end_values",
    **dict.fromkeys(("maximum", "mean", "median", "minimum"), "stat_length"),
    **dict.fromkeys(("reflect", "symmetric"), "reflect_type"),
    **dict.fromkeys(("edge", "empty", "wrap"), "none"),
}
DEFAULT = {"stat_length": None, "reflect_type": "even"}


def joined(x: Any) -> Array:
    """Values in lists or tuples as one."""
    return np.stack([joined(part) for part in x]) if isinstance(x, (list, tuple)) else x


def widths(pad_width: Any, ndim: int) -> list[list[int]]:
    """How many entries to add before and after, for each axis."""
    if isinstance(pad_width, dict):
        by_axis, pad_width = pad_width, [(0, 0)] * ndim
        for axis, width in by_axis.items():
            pad_width[axis] = width if isinstance(width, tuple) else (width, width)
    width = as_array(as_param(pad_width))
    if width.dtype.kind != "i" or (width < 0).any():
        kind = TypeError if width.dtype.kind != "i" else ValueError
        raise kind(f"pad: widths are integers of 0 or more, not {pad_width!r}")
    pairs: list[list[int]] = np.broadcast_to(width, (ndim, 2)).tolist()
    return pairs


@implements(np.pad)
def pad(array: Array, pad_width: Any, mode: Any = "constant", **options: Any) -> Array:
    """`np.pad` in all its modes; the constants and end values may be Values."""
    if callable(mode):
        raise TypeError("pad: a function as mode writes into arrays: join with np.concatenate")
    if mode not in OPTION or options.keys() - {OPTION[mode]}:
        raise ValueError(f"pad: no mode {mode!r}, or it has no option {', '.join(options)}")
    width, name = widths(pad_width, array.ndim), OPTION[mode]
    option = joined(options.get(name, DEFAULT.get(name, 0)))
    if name == "reflect_type":
        mode = f"odd {mode}" if option == "odd" else mode
    if mode in ("constant", "empty") and width and not isinstance(option, Handle):
        return pad_constant(array, pad_width=width, constant_values=option)
    if not is_inexact(array.dtype) and mode != "constant":
        return np.pad(data_of(array), width, mode, **as_param(options))  # rounded
    if not np.any(width):
        return np.copy(array)
    for axis, ends in enumerate(width):
        size = array.shape[axis]
        if not any(ends):
            continue
        if not size and mode != "constant":
            raise ValueError(f"pad: mode {mode!r} cannot extend axis {axis}, which is empty")
        if mode in BEYOND:
            values = np.broadcast_to(option, (array.ndim, 2))
            before, after = (
                BEYOND[mode](array, axis, n, side, values[axis, side])
                for n, side in zip(ends, (0, -1))
            )
            array = np.concatenate([before, array, after], axis)
        else:
            array = np.take(array, np.pad(np.arange(size), ends, mode), axis)
    return array
