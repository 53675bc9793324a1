"""Operations that give an array another shape or order. They move entries and change none, so their
rules move the cotangent back. Joining and splitting is in `join.py`, padding in `pad.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tensorgrad.engine.arguments import as_param
from tensorgrad.engine.arrays import as_array, created, kind_of
from tensorgrad.engine.batching import moving
from tensorgrad.engine.domain import Domain, Shape, one_axis
from tensorgrad.engine.node import Array, data_of
from tensorgrad.engine.primitive import implements, primitive
from tensorgrad.ops.index import take
from tensorgrad.ops.keep import places


def reshapes(shape: Shape) -> Any:
    return [{"shape": s, "order": order} for s in (shape[::-1], (1, *shape)) for order in "CF"]


def permutations(shape: Shape) -> Any:
    axes = range(len(shape))
    return [{"axes": None}, {"axes": (*axes[1:], *axes[:1])}, {"axes": [-1 - a for a in axes]}]


def axis_pairs(shape: Shape) -> Any:
    n = len(shape)
    return [(a, b) for a in range(-n, n) for b in range(n)]


def reshaped(a: Array, shape: Any, order: str = "C", **copy: Any) -> Array:
    """`np.reshape`, asked for a tuple and no order where that will do: not all kinds know more.

    (NumPy 2.0 calls the shape newshape, and has no copy.)
    """
    shape = (shape,) if isinstance(shape, int) else shape
    return np.reshape(a, shape, **(copy if order == "C" else {"order": order, **copy}))


reshape = primitive(
    reshaped,
    lambda g, out, x, shape=None, order="C", copy=None: reshaped(g, x.shape, order),
    name="reshape",
    domain=Domain(params=reshapes, complex=True),
    batch=moving,
    view=True,
)
ravel = primitive(
    np.ravel,
    lambda g, out, x, order="C": reshaped(g, x.shape, order),
    domain=Domain(params=lambda shape: [{}, {"order": "F"}], complex=True),
    batch=moving,
    view=True,
)
squeeze = primitive(
    np.squeeze,
    lambda g, out, x, axis=None: np.reshape(g, x.shape),
    domain=Domain(params=lambda shape: [{}, *({"axis": i} for i, n in enumerate(shape) if n == 1)]),
    batch=moving,
    view=True,
)
expand_dims = primitive(
    np.expand_dims,
    lambda g, out, x, axis=None: np.reshape(g, x.shape),
    domain=Domain(params=lambda shape: ({"axis": a} for a in (0, -1, (0, -1)))),
    batch=moving,
    view=True,
)
transpose = primitive(
    np.transpose,
    lambda g, out, x, axes=None: np.transpose(
        g, None if axes is None else np.argsort(np.mod(axes, x.ndim)).tolist()
    ),
    notation=r"{0}^{{\top}}",
    domain=Domain(params=permutations),
    batch=moving,
    view=True,
)
swapaxes = primitive(
    np.swapaxes,
    lambda g, out, x, axis1=0, axis2=1: np.swapaxes(g, axis1, axis2),
    domain=Domain(params=lambda shape: [{"axis1": a, "axis2": b} for a, b in axis_pairs(shape)]),
    batch=moving,
    view=True,
)
moveaxis = primitive(
    np.moveaxis,
    lambda g, out, x, source=0, destination=0: np.moveaxis(g, destination, source),
    domain=Domain(
        params=lambda shape: [{"source": a, "destination": b} for a, b in axis_pairs(shape)]
    ),
    batch=moving,
    view=True,
)
broadcast_to = primitive(
    np.broadcast_to,
    lambda g, out, x, shape=None, subok=False: g,  # the sweep sums what was broadcast
    domain=Domain(params=lambda shape: ({"shape": s} for s in (shape, (2, *shape)))),
    batch=moving,
    view=True,
)
flip = primitive(
    np.flip,
    lambda g, out, x, axis=None: np.flip(g, axis),
    domain=Domain(params=lambda shape: [{}, *one_axis(shape)]),
    batch=moving,
    view=True,
)
roll = primitive(
    np.roll,
    lambda g, out, x, shift=0, axis=None: np.roll(g, np.negative(shift), axis),
    domain=Domain(
        params=lambda shape: [
            {"shift": s, "axis": a} for s in (1, -2) for a in (None, *range(len(shape)))
        ]
    ),
    batch=moving,
)


# Order. "A" and "K" ask how the entries lie in memory.


def definite(order: str, a: Array) -> str:
    """The order that is meant: "C" or "F"; or "K". TypeError where nobody knows of a program."""
    order, x = order.upper(), data_of(a)
    if order in "AK" and kind_of(x).writes and not kind_of(x).in_order():
        raise TypeError(
            f"order={order!r} asks how an array lies in memory, which a compiled function does not "
            "ask: write 'C' or 'F', or compile it with exact=True"
        )
    flags = getattr(x, "flags", None)
    return {"A": "F" if flags is not None and flags.fnc else "C"}.get(order, order)


@implements(np.reshape)
def reshape_in_order(a: Array, shape: Any, order: str = "C", *, copy: bool | None = None) -> Array:
    """`np.reshape`: the entries read, and put in their new places, in `order`."""
    params = {"order": definite(order, a), "copy": copy}
    return reshape(a, shape=shape, **{k: v for k, v in params.items() if v not in ("C", None)})


@implements(np.ravel)
def ravel_in_order(a: Array, order: str = "C") -> Array:
    """`np.ravel`: the entries in one axis."""
    order = definite(order, a)
    if order == "K":
        strides = getattr(data_of(a), "strides", (0,) * a.ndim)
        a, order = np.transpose(a, np.argsort(-np.abs(strides), kind="stable")), "C"
    return ravel(a) if order == "C" else ravel(a, order=order)


# Axes.


@implements(np.matrix_transpose, np.linalg.matrix_transpose)
def matrix_transpose(x: Array, /) -> Array:
    """The last two axes exchanged."""
    return np.swapaxes(x, -1, -2)


@implements(np.rollaxis)
def rollaxis(a: Array, axis: int, start: int = 0) -> Array:
    """`axis` moved to before `start`."""
    numbers = np.empty(range(a.ndim))  # axis i has size i: none takes memory, as axis 0 is empty
    return np.transpose(a, np.rollaxis(numbers, axis, start).shape)


NEW_AXES = {1: ((0,),), 2: ((0, 1), (0,)), 3: ((0, 1, 2), (0, 2), (2,))}


def at_least(n: int, x: Array) -> Array:
    x = as_array(x)
    return x if x.ndim >= n else np.expand_dims(x, NEW_AXES[n][x.ndim])


@implements(np.atleast_1d)
def atleast_1d(*arys: Array) -> Any:
    """A number as a vector."""
    return at_least(1, arys[0]) if len(arys) == 1 else tuple(at_least(1, x) for x in arys)


@implements(np.atleast_2d)
def atleast_2d(*arys: Array) -> Any:
    """A vector as a row."""
    return at_least(2, arys[0]) if len(arys) == 1 else tuple(at_least(2, x) for x in arys)


@implements(np.atleast_3d)
def atleast_3d(*arys: Array) -> Any:
    """A vector as (1, n, 1), a matrix as (m, n, 1)."""
    return at_least(3, arys[0]) if len(arys) == 1 else tuple(at_least(3, x) for x in arys)


@implements(np.fliplr)
def fliplr(m: Array) -> Array:
    """Axis 1 reversed."""
    return np.flip(m, 1)


@implements(np.flipud)
def flipud(m: Array) -> Array:
    """Axis 0 reversed."""
    return np.flip(m, 0)


@implements(np.rot90)
def rot90(m: Array, k: int = 1, axes: Any = (0, 1)) -> Array:
    """Turned k times by a right angle, from the first of `axes` towards the second."""
    np.rot90(np.empty((0,) * m.ndim), k, axes)  # NumPy's errors
    if k % 2 == 0:
        return np.flip(m, tuple(axes)) if k % 4 else m
    return np.flip(np.swapaxes(m, *axes), axes[0] if k % 4 == 1 else axes[1])


# Broadcasting and repeating. What is repeated is broadcast, or taken several times.


@implements(np.broadcast_arrays)
def broadcast_arrays(*args: Array, subok: bool = False) -> tuple[Array, ...]:
    """All arrays in the shape to which they broadcast."""
    shape = np.broadcast_shapes(*map(np.shape, args))
    return tuple(np.broadcast_to(x, shape) for x in args)


@implements(np.meshgrid)
def meshgrid(
    *xi: Array, copy: bool = True, sparse: bool = False, indexing: str = "xy"
) -> tuple[Array, ...]:
    """The coordinates of the points of a grid, with one axis for each of `xi`."""
    if indexing not in ("xy", "ij"):
        raise ValueError(f"meshgrid: indexing is 'xy' or 'ij', not {indexing!r}")
    axes = list(range(len(xi)))
    if indexing == "xy":
        axes[:2] = axes[:2][::-1]
    grids = [np.reshape(x, [-1 if a == b else 1 for b in range(len(xi))]) for x, a in zip(xi, axes)]
    shown = tuple(grids if sparse else np.broadcast_arrays(*grids))
    return tuple(map(np.copy, shown)) if copy else shown


@implements(np.full)
def full(
    shape: Any, fill_value: Array, dtype: Any = None, order: str = "C", device: str | None = None
) -> Array:
    """`np.full`, called with `like=` a Value: each entry is `fill_value`."""
    return as_array(np.broadcast_to(fill_value, shape), dtype).copy()


@implements(np.full_like)
def full_like(
    a: Array,
    fill_value: Array,
    dtype: Any = None,
    order: str = "K",
    subok: bool = True,
    shape: Any = None,
    *,
    device: str | None = None,
) -> Array:
    """`fill_value`, which may be a Value, in the shape of `a`."""
    full = np.broadcast_to(fill_value, np.shape(a) if shape is None else shape)
    return full.astype(a.dtype if dtype is None else dtype)


@implements(np.tile)
def tile(A: Array, reps: int | Sequence[int]) -> Array:
    """`A` laid side by side `reps` times along each axis."""
    times = tuple(np.atleast_1d(as_param(reps)).tolist())
    ndim = max(len(times), A.ndim)
    times = (1,) * (ndim - len(times)) + times
    shape = (1,) * (ndim - A.ndim) + A.shape
    apart = [n for size in shape for n in (1, size)]
    wide = [n for pair in zip(times, shape) for n in pair]
    tall = [t * size for t, size in zip(times, shape)]
    return np.copy(np.reshape(np.broadcast_to(np.reshape(A, apart), wide), tall))


@implements(np.repeat)
def repeat(a: Array, repeats: int | Sequence[int], axis: int | None = None) -> Array:
    """Each entry along `axis`, `repeats` times."""
    return take(a, np.repeat(places(a, axis), as_param(repeats)), axis=axis)


@implements(np.resize)
def resize(a: Array, new_shape: int | Sequence[int]) -> Array:
    """The first entries in another shape; all over again where there are too few."""
    numbers = np.resize(np.arange(a.size), new_shape)
    return np.take(a, numbers) if a.size else created(np.zeros, numbers.shape, a.dtype, like=a)


if hasattr(np, "astype"):  # since NumPy 2.1

    @implements(np.astype)
    def astype(x: Array, dtype: Any, /, *, copy: bool = True, device: str | None = None) -> Array:
        """In another dtype; a constant if that carries no gradient."""
        return x.astype(dtype)
