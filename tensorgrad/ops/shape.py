"""Operations that move entries without changing them: their rules move the cotangent back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tensorgrad.domain import REAL, Domain, Shape, one_axis
from tensorgrad.node import Array
from tensorgrad.ops.index import take
from tensorgrad.primitive import Each, implements, primitive


def permutations(shape: Shape) -> Any:
    return [{"axes": None}, {"axes": tuple(np.roll(range(len(shape)), 1).tolist())}]


def axis_pairs(shape: Shape) -> Any:
    n = len(shape)
    return [(a, b) for a in range(-n, n) for b in range(n)]


reshape = primitive(
    lambda a, shape: np.reshape(a, shape),  # NumPy 2.0 calls it newshape
    lambda g, out, x, shape=None: np.reshape(g, x.shape),
    name="reshape",
    domain=Domain(params=lambda shape: ({"shape": s} for s in (shape[::-1], (1, *shape)))),
)
implements(np.reshape)(reshape)
ravel = primitive(np.ravel, lambda g, out, x: np.reshape(g, x.shape), domain=REAL)
squeeze = primitive(
    np.squeeze,
    lambda g, out, x, axis=None: np.reshape(g, x.shape),
    domain=Domain(params=lambda shape: [{}, *({"axis": i} for i, n in enumerate(shape) if n == 1)]),
)
expand_dims = primitive(
    np.expand_dims,
    lambda g, out, x, axis=None: np.reshape(g, x.shape),
    domain=Domain(params=lambda shape: ({"axis": a} for a in (0, -1, (0, -1)))),
)
transpose = primitive(
    np.transpose,
    lambda g, out, x, axes=None: np.transpose(g, None if axes is None else np.argsort(axes)),
    notation="{0}^T",
    domain=Domain(params=permutations),
)
swapaxes = primitive(
    np.swapaxes,
    lambda g, out, x, axis1=0, axis2=1: np.swapaxes(g, axis1, axis2),
    domain=Domain(params=lambda shape: [{"axis1": a, "axis2": b} for a, b in axis_pairs(shape)]),
)
moveaxis = primitive(
    np.moveaxis,
    lambda g, out, x, source=0, destination=0: np.moveaxis(g, destination, source),
    domain=Domain(
        params=lambda shape: [{"source": a, "destination": b} for a, b in axis_pairs(shape)]
    ),
)
broadcast_to = primitive(
    np.broadcast_to,
    lambda g, out, x, shape=None: g,  # the sweep sums what was broadcast
    domain=Domain(params=lambda shape: ({"shape": s} for s in (shape, (2, *shape)))),
)
flip = primitive(
    np.flip,
    lambda g, out, x, axis=None: np.flip(g, axis),
    domain=Domain(params=lambda shape: [{}, *one_axis(shape)]),
)
roll = primitive(
    np.roll,
    lambda g, out, x, shift=0, axis=None: np.roll(
        g, tuple(-np.atleast_1d(shift)) if axis is not None else -np.asarray(shift), axis
    ),
    domain=Domain(
        params=lambda shape: [
            {"shift": s, "axis": a} for s in (1, -2) for a in (None, *range(len(shape)))
        ]
    ),
)


# Joining and splitting.


def piece(i: int, g: Array, out: Array, *xs: Array, axis: int | None = 0) -> Array:
    """The part of the cotangent that lies where operand `i` was put."""
    if axis is None:
        start = sum(x.size for x in xs[:i])
        return np.reshape(g[start : start + xs[i].size], xs[i].shape)
    start = sum(x.shape[axis] for x in xs[:i])
    return g[(slice(None),) * (axis % g.ndim) + (slice(start, start + xs[i].shape[axis]),)]


JOINED = Domain(broadcast=False, params=lambda shape, *same: one_axis(shape))
concatenate = primitive(
    lambda *xs, axis=0: np.concatenate(xs, axis),
    Each(piece),
    name="concatenate",
    domain=JOINED,
)
stack = primitive(
    lambda *xs, axis=0: np.stack(xs, axis),
    Each(lambda i, g, out, *xs, axis=0: np.take(g, i, axis)),
    name="stack",
    domain=JOINED,
)


@implements(np.concatenate)
def concatenate_all(arrays: Sequence[Array], axis: int | None = 0) -> Array:
    """`np.concatenate`: arrays end to end along an axis, or flattened."""
    return concatenate(*arrays, axis=axis)


@implements(np.stack)
def stack_all(arrays: Sequence[Array], axis: int = 0) -> Array:
    """`np.stack`: arrays of one shape along a new axis."""
    return stack(*arrays, axis=axis)


@implements(np.full_like)
def full_like(a: Array, fill_value: Array, dtype: Any = None) -> Array:
    """`fill_value`, which may be a Value, in the shape of `a`."""
    shape, dtype = np.shape(a), dtype or a.dtype
    return np.broadcast_to(fill_value, shape).astype(dtype)


@implements(np.split)
def split(ary: Array, indices_or_sections: int | Sequence[int], axis: int = 0) -> list[Array]:
    """Equal sections, or the pieces between the given indices."""
    if np.ndim(indices_or_sections) == 0 and ary.shape[axis] % indices_or_sections:
        raise ValueError(
            f"split: axis {axis} of shape {ary.shape} has no {indices_or_sections} equal sections"
        )
    return array_split(ary, indices_or_sections, axis)


@implements(np.array_split)
def array_split(ary: Array, indices_or_sections: int | Sequence[int], axis: int = 0) -> list[Array]:
    """As `split`, but sections may differ by one."""
    before = (slice(None),) * (axis % ary.ndim)
    parts = np.array_split(np.arange(ary.shape[axis]), indices_or_sections)
    starts = [part[0] if part.size else 0 for part in parts]
    return [ary[(*before, slice(start, start + part.size))] for start, part in zip(starts, parts)]


# Repeating. What is repeated is broadcast, or taken several times.


@implements(np.tile)
def tile(A: Array, reps: int | Sequence[int]) -> Array:
    """`A` laid side by side `reps` times along each axis."""
    times = tuple(np.atleast_1d(reps).tolist())
    ndim = max(len(times), A.ndim)
    times = (1,) * (ndim - len(times)) + times
    shape = (1,) * (ndim - A.ndim) + A.shape
    apart = [n for size in shape for n in (1, size)]
    wide = [n for pair in zip(times, shape) for n in pair]
    tall = [t * size for t, size in zip(times, shape)]
    return np.reshape(np.broadcast_to(np.reshape(A, apart), wide), tall)


@implements(np.repeat)
def repeat(a: Array, repeats: int | Sequence[int], axis: int | None = None) -> Array:
    """Each entry along `axis`, `repeats` times."""
    n = a.size if axis is None else a.shape[axis]
    return take(a, np.repeat(np.arange(n), repeats), axis=axis)


@implements(np.pad)
def pad(array: Array, pad_width: Any, mode: Any = "constant", constant_values: Any = 0) -> Array:
    """`np.pad` for the modes that fill with a constant or with entries of the array."""
    width = np.broadcast_to(np.asarray(pad_width), (array.ndim, 2)).tolist()
    if mode == "constant":
        return pad_constant(array, pad_width=width, constant_values=constant_values)
    if mode not in ("edge", "reflect", "symmetric", "wrap"):
        raise TypeError(
            f"pad: no gradient rule for mode={mode!r}; there is one for 'constant', "
            "'edge', 'reflect', 'symmetric' and 'wrap'"
        )
    for axis, ends in enumerate(width):
        array = take(array, np.pad(np.arange(array.shape[axis]), ends, mode), axis=axis)
    return array


pad_constant = primitive(
    lambda x, pad_width, constant_values=0: np.pad(x, pad_width, constant_values=constant_values),
    lambda g, out, x, pad_width=(), constant_values=0: g[
        tuple(slice(low, low + n) for (low, _), n in zip(pad_width, x.shape))
    ],
    name="pad",
    domain=Domain(params=lambda shape: [{"pad_width": [(1, 2)] * len(shape)}] if shape else ()),
)
