"""Norms of vectors and matrices, and condition numbers.

Choices: a norm of 0 has gradient 0, and so has every entry that is 0, except in the 2-norm, which
is smooth there; largest (or smallest) entries, sums and singular values that tie share equally.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorgrad.engine.arrays import anywhere, created
from tensorgrad.engine.batching import reduction
from tensorgrad.engine.domain import Domain, Shape
from tensorgrad.engine.node import Array
from tensorgrad.engine.primitive import implements, primitive
from tensorgrad.ops.adjoint import conj, even
from tensorgrad.ops.reduce import Axis, unreduce

EUCLIDEAN = (None, 2, "fro", "f")


def steepest(x: Array, r: Array, ord: Any) -> Array:
    """∂‖x‖/∂x = (|x| / ‖x‖)^(p-1) x / |x|: the direction in which the p-norm grows."""
    origin = r == 0
    if ord in EUCLIDEAN and not anywhere(origin):
        return conj(x) / r
    r = np.where(origin, 1, r)
    if ord in EUCLIDEAN:
        return np.where(origin, 0, conj(x) / r)
    flat = origin | (x == 0)
    size = np.where(flat, 1, np.abs(np.where(flat, 1, x)) / r)
    return np.where(flat, 0, conj(x) / r * size ** (ord - 2))


def norm_rule(
    g: Array, out: Array, x: Array, ord: Any = None, axis: Axis = None, keepdims: bool = False
) -> Array:
    return unreduce(g, axis, keepdims) * steepest(x, unreduce(out, axis, keepdims), ord)


def squares_rule(
    q: Array, out: Array, x: Array, ord: Any = None, axis: Axis = None, keepdims: bool = False
) -> Array:
    """q ‖x‖ ∂‖x‖/∂x of the 2-norm; no other has a smooth square."""
    return unreduce(q, axis, keepdims) * conj(x) if ord in EUCLIDEAN else 0.0


def calls(shape: Shape) -> Any:
    """Euclidean norms over everything, over pairs of axes and over one; p-norms over one."""
    yield from [{}, {"keepdims": True}] if len(shape) in (1, 2) else []
    for axis in (a for a in range(-len(shape), len(shape)) if shape[a]):
        yield from ({"ord": p, "axis": axis} for p in (None, 2, 3, 1.5, 0.5, -2))
        yield {"ord": 4, "axis": axis, "keepdims": True}
    if len(shape) > 1:
        yield {"axis": (0, -1), "keepdims": True}
        yield {"ord": "fro", "axis": (-1, 0)}


p_norm = primitive(
    np.linalg.norm,
    even(norm_rule, squares_rule),
    notation=r"\lVert {0} \rVert",
    domain=Domain((0.2, 3.0), params=calls),
    choice="‖x‖' = 0 at 0",
    batch=reduction,
)


def largest(x: Array, axis: int, keepdims: bool = False) -> Array:
    """The largest magnitude; of none it is 0."""
    over: Any = {"axis": axis, "keepdims": keepdims} | ({} if x.size else {"initial": 0})
    return np.max(x, **over)


SPECTRAL: dict[Any, Any] = {2: largest, -2: np.min, "nuc": np.sum}
LARGEST: dict[Any, Any] = {np.inf: largest, -np.inf: np.min, 1: largest, -1: np.min}


@implements(np.linalg.norm)
def norm(x: Array, ord: Any = None, axis: Axis = None, keepdims: bool = False) -> Array:
    """`np.linalg.norm`: of vectors along one axis, of matrices over two, of all entries."""
    axes = tuple(np.atleast_1d(range(x.ndim) if axis is None else axis).tolist())
    if axis is None and ord is None:
        of_all = p_norm(np.ravel(x))
        return np.reshape(of_all, (1,) * x.ndim) if keepdims else of_all
    if len(axes) == 1:
        return vectors_norm(x, ord, axes[0], keepdims)
    if len(axes) == 2:
        return matrices_norm(x, ord, axes, keepdims)
    raise ValueError(f"norm: of a vector or a matrix, not over {len(axes)} axes")


def vectors_norm(x: Array, ord: Any, axis: int, keepdims: bool) -> Array:
    if isinstance(ord, str):
        raise ValueError(f"norm: vectors have no norm of order {ord!r}")
    over: Any = {"axis": axis, "keepdims": keepdims}
    if ord == 0:
        return np.sum(np.sign(np.abs(x)), **over)  # how many are not 0
    if ord == 1:
        return np.sum(np.abs(x), **over)
    if ord in (np.inf, -np.inf):
        return LARGEST[ord](np.abs(x), **over)
    return p_norm(x, ord=ord, **over)


def matrices_norm(x: Array, ord: Any, axes: tuple[int, ...], keepdims: bool) -> Array:
    if ord in (None, "fro", "f"):
        return p_norm(x, ord=ord, axis=axes, keepdims=keepdims)
    rows, columns = np.lib.array_utils.normalize_axis_tuple(axes, x.ndim)
    matrices = np.moveaxis(x, (rows, columns), (-2, -1))
    if ord in SPECTRAL:
        norms = SPECTRAL[ord](np.abs(np.linalg.svdvals(matrices)), axis=-1)
    elif ord in LARGEST:
        sums = np.sum(np.abs(matrices), axis=-1 if np.isinf(ord) else -2)
        norms = LARGEST[ord](sums, axis=-1)
    else:
        raise ValueError(f"norm: matrices have no norm of order {ord!r}")
    return np.expand_dims(norms, (rows, columns)) if keepdims else norms


@implements(np.linalg.vector_norm)
def vector_norm(x: Array, /, *, axis: Axis = None, keepdims: bool = False, ord: Any = 2) -> Array:
    """`np.linalg.vector_norm`: over any axes, taken together as one vector."""
    axes = tuple(range(x.ndim)) if axis is None else axis
    if not isinstance(axes, tuple):
        return vectors_norm(x, ord, axes, keepdims)
    axes = np.lib.array_utils.normalize_axis_tuple(axes, x.ndim)
    rest = [n for i, n in enumerate(x.shape) if i not in axes]
    moved = np.moveaxis(x, axes, range(-len(axes), 0))
    norms = vectors_norm(np.reshape(moved, (*rest, -1)), ord, -1, False)
    return np.expand_dims(norms, axes) if keepdims else norms


@implements(np.linalg.matrix_norm)
def matrix_norm(x: Array, /, *, keepdims: bool = False, ord: Any = "fro") -> Array:
    """`np.linalg.matrix_norm`: of the last two axes."""
    return matrices_norm(x, ord, (-2, -1), keepdims)


@implements(np.linalg.cond)
def cond(x: Array, p: Any = None) -> Array:
    """`np.linalg.cond`: ‖A‖ ‖A⁻¹‖ in a matrix norm, infinite for a singular matrix."""
    if not x.size:
        raise np.linalg.LinAlgError("cond is not defined on empty arrays")
    if p in (None, 2, -2):
        s = np.linalg.svdvals(x)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = s[..., -1] / s[..., 0] if p == -2 else s[..., 0] / s[..., -1]
        return np.where(np.all(s == 0, axis=-1), np.inf, ratio)
    singular = np.linalg.slogdet(x).sign == 0
    inverse = np.linalg.inv(
        np.where(singular[..., None, None], created(np.eye, x.shape[-1], dtype=x.dtype, like=x), x)
    )
    product = np.linalg.matrix_norm(x, ord=p) * np.linalg.matrix_norm(inverse, ord=p)
    return np.where(singular, np.inf, product)
