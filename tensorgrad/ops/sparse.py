"""Operations on sparse arrays, in words of their entries. (What holds them: `engine/sparse.py`.)

Two primitives are products: `sparse_matmul`, A x, linear in the entries of A and in x; and
`sampled_matmul`, the entries of g xᵀ at the places of a pattern. Each is the other's rule.

    y = A x        Ā at (i, j) = ḡᵢ xⱼ, sampled        x̄ = Aᵀ ḡ

All other operations compute the entries as they would those of a dense array, or move them; or
they are refused, where something dense would come out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from tensorgrad.engine.arrays import anywhere, as_array, kind_of
from tensorgrad.engine.batching import elementwise, full, moving, one_by_one
from tensorgrad.engine.care import contraction
from tensorgrad.engine.dtypes import is_short
from tensorgrad.engine.node import Array, Handle, data_of
from tensorgrad.engine.primitive import Primitive, apply
from tensorgrad.engine.sparse import (
    INSTEAD,
    PYDATA,
    SCIPY,
    canonical,
    compressed,
    coordinates,
    entries,
    entries_at,
    from_entries,
    is_matrix,
    is_operator,
    is_sparse,
    laid_out,
    numbered,
    places,
    refused,
    reordered,
    same_pattern,
    with_entries,
    with_places,
)
from tensorgrad.ops.index import getitem, scatter_add
from tensorgrad.ops.linalg import matmul
from tensorgrad.ops.shape import broadcast_to, reshape, transpose

Shape = tuple[int, ...]
BLOCK = 1 << 18  # entries of the factors that are gathered at once


def columns(op: Primitive, batch: Shape, xs: list[Array], params: Mapping[str, Any]) -> Array:
    """Of a linear map of columns: the examples are further columns, where the map is the same."""
    *fixed, x = xs
    k = len(batch)
    if any(np.shape(values)[:k] != (1,) * k for values in fixed):
        return one_by_one(op, batch, xs, params)
    x = np.moveaxis(full(x, batch), k, 0)
    values = [np.reshape(values, values.shape[k:]) for values in fixed]
    out = op.forward(*values, np.reshape(x, (len(x), math.prod(x.shape[1:]))), **params)
    return np.moveaxis(np.reshape(out, (len(out), *x.shape[1:])), 0, k)


def multiplied(values: Array, x: Array, pattern: Any = None) -> Array:
    """A x. (SciPy has no short floats.)"""
    dtype = np.result_type(values, x)
    if is_short(dtype):
        values, x = values.astype(np.float32), x.astype(np.float32)
    return (with_entries(pattern, values) @ x).astype(dtype, copy=False)


def sampled(g: Array, x: Array, pattern: Any = None) -> Array:
    """The entries of g xᵀ at the places of a pattern."""
    rows, cols = coordinates(pattern)
    out = np.empty_like(g, np.result_type(g, x), shape=len(rows))
    step = max(1, BLOCK // max(1, g.shape[1]))
    for i in range(0, len(rows), step):
        part = slice(i, i + step)
        out[part] = np.einsum("ij,ij->i", g[rows[part]], x[cols[part]])
    return out


def sampled_examples(
    op: Primitive, batch: Shape, xs: list[Array], params: Mapping[str, Any]
) -> Array:
    """One by one; the pattern is the same."""
    return one_by_one(op, batch, [full(x, batch) for x in xs], params)


sparse_matmul: Primitive = Primitive(
    multiplied,
    (
        lambda g, out, values, x, pattern=None: sampled_by(g, x, pattern),
        lambda g, out, values, x, pattern=None: multiplied_by(values, g, pattern.T),
    ),
    "sparse_matmul",
    notation="{0} {1}",
    care=contraction,
    batch=columns,
)
sampled_matmul: Primitive = Primitive(
    sampled,
    (
        lambda h, out, g, x, pattern=None: multiplied_by(h, x, pattern),
        lambda h, out, g, x, pattern=None: multiplied_by(h, g, pattern.T),
    ),
    "sampled_matmul",
    notation=r"{0} {1}^{{\top}}",
    care=contraction,
    batch=sampled_examples,
)


def affine(op: Primitive, operands: Sequence[Array], params: Any) -> Array:
    """x Wᵀ + b of a layer."""
    x, weight, *bias = operands
    out = product(op, (x, np.transpose(weight)), {})
    return out + bias[0] if bias else out


def multiplied_by(values: Array, x: Array, pattern: Array) -> Array:
    """A x. (Called like this, a primitive would copy its params.)"""
    return apply(sparse_matmul, (values, x), {"pattern": pattern})


def sampled_by(g: Array, x: Array, pattern: Array) -> Array:
    """The entries of g xᵀ at the places of a pattern."""
    return apply(sampled_matmul, (g, x), {"pattern": pattern})


def operated(x: Array, operator: Any = None) -> Array:
    try:
        out: Array = operator.matmat(x)
    except (NotImplementedError, TypeError) as error:
        if isinstance(error, TypeError) and "'NoneType'" not in f"{error}":
            raise
        raise NotImplementedError(  # SciPy's own tries to call one that is None
            "the gradient of L @ v by v is Lᵀ g: a LinearOperator needs rmatvec= for it"
        ) from error
    return out


linear: Primitive = Primitive(
    operated,
    (lambda g, out, x, operator=None: apply(linear, (g,), {"operator": operator.T}),),
    "linear_operator",
    notation=r"\operatorname{{L}} {0}",
    batch=columns,
)


def product(op: Primitive, operands: Sequence[Array], params: Any) -> Array:
    """x @ y, one of them sparse or both; dense ones may be stacks."""
    x, y = operands
    n, m = np.shape(data_of(x)), np.shape(data_of(y))
    if not (n and m) or n[-1] != m[-2:][0]:
        raise ValueError(f"matmul: shapes {[*n]} and {[*m]} do not fit")
    if is_sparse(x) and len(n) > 2 and not is_sparse(y) and len(m) <= 2:
        rows = with_shape(reshape, (x,), {"shape": (math.prod(n[:-1]), n[-1])})
        return reshaped(product(op, (rows, y), params), n[:-1] + m[1:])
    if any(is_sparse(v) and len(data_of(v).shape) > 2 for v in (x, y)):
        raise NotImplementedError("matmul of a sparse stack of matrices: reshape it to two axes")
    if is_sparse(x) and is_sparse(y):
        return product_of_two(x, y)
    if is_sparse(y):  # (yᵀ xᵀ)ᵀ
        values, pattern = matrix_of(y)
        pattern = pattern.T if len(m) == 2 else pattern
        rows = reshaped(x, (math.prod(n[:-1]), n[-1]))
        return reshaped(multiplied_by(values, np.transpose(rows), pattern).T, n[:-1] + m[1:])
    values, pattern = matrix_of(x)
    stack, last = m[:-2], m[-1:] if len(m) > 1 else ()
    columns = np.moveaxis(y, -2, 0) if stack else y
    out = multiplied_by(values, reshaped(columns, (n[-1], math.prod(stack + last))), pattern)
    out = reshaped(out, (*n[:-1], *stack, *last))
    return np.moveaxis(out, 0, -2) if stack and len(n) == 2 else out


def reshaped(x: Array, shape: Shape) -> Array:
    return x if np.shape(data_of(x)) == shape else apply(reshape, (x,), {"shape": shape})


def matrix_of(x: Array) -> tuple[Array, Array]:
    """The entries of a sparse matrix, and its pattern; of a vector as a row."""
    if not requires_grad(x) and kind_of(data_of(x)) is SCIPY and data_of(x).ndim == 2:
        data = laid_out(data_of(x))
        return data.data, data
    x, data = usable(x)
    return entries(x), compressed(data)


def requires_grad(x: Array) -> bool:
    return isinstance(x, Handle) and x.node.requires_grad


def usable(x: Array) -> tuple[Array, Array]:
    """A sparse operand in a layout that is computed with, and its array."""
    data = data_of(x)
    if requires_grad(x):  # as a Value holds it, and its results are
        return x, data
    data = canonical(data)
    return data, data


def product_of_two(x: Array, y: Array) -> Array:
    """A sparse product of sparse operands: the sums of the products of entries that meet."""
    (x, a), (y, b) = usable(x), usable(y)
    n, m = a.shape, b.shape
    rows, inner = (
        coordinates(a) if len(n) == 2 else (np.zeros_like(coordinates(a)[0]), *coordinates(a))
    )
    first, cols = (
        coordinates(b) if len(m) == 2 else (*coordinates(b), np.zeros_like(coordinates(b)[0]))
    )
    order = np.argsort(first, kind="stable")  # the entries of b, row by row
    starts = np.searchsorted(first[order], np.arange(m[0] + 1))
    met = np.diff(starts)[inner]  # how many of them an entry of a meets
    left = np.repeat(np.arange(len(inner)), met)
    right = order[np.arange(len(left)) - np.repeat(np.cumsum(met) - met, met) + starts[inner[left]]]
    width = m[1] if len(m) == 2 else 1
    at, target = np.unique(rows[left].astype(np.intp) * width + cols[right], return_inverse=True)
    terms = chosen(entries(x), left) * chosen(entries(y), right)
    sums = added(terms, len(at), target)
    shape = n[:-1] + m[1:]
    if not shape:
        return np.sum(sums)
    return joined(sums, with_places(a, shape, at))


def chosen(x: Array, index: Any) -> Array:
    return apply(getitem, (x,), {"index": index})


def added(x: Array, n: int, index: Any) -> Array:
    """n sums: entry i of `x` belongs to that of the number index[i]."""
    return apply(scatter_add, (x,), {"shape": (n,), "index": index})


def joined(values: Array, pattern: Array) -> Array:
    """A sparse array of entries and a pattern."""
    return apply(from_entries, (values,), {"like": pattern})


# Elementwise.


def of_entries(op: Primitive, operands: Sequence[Array], params: Any) -> Array:
    """An elementwise function of the entries, with numbers, that makes 0 of 0."""
    if any(not is_sparse(x) and np.ndim(data_of(x)) for x in operands):
        return refused(op, operands, params)
    sparse = [x for x in operands if is_sparse(x)]
    if len(sparse) > 1:
        return refused(op, operands, params)
    (x, data), values = usable(sparse[0]), []
    zero = data.dtype.type(0)
    with np.errstate(all="ignore"):
        at_zero = op.forward(*(zero if is_sparse(y) else data_of(y) for y in operands), **params)
    if anywhere(at_zero != 0):
        return refused(op, operands, params)
    values = [entries(x) if is_sparse(y) else y for y in operands]
    return joined(apply(op, values, params), data)


def sum_of_two(op: Primitive, operands: Sequence[Array], params: Any) -> Array:
    """x + y or x - y of sparse arrays: entries wherever one of them has some."""
    x, y = operands
    if not (is_sparse(x) and is_sparse(y)):
        return of_entries(op, operands, params)
    (x, a), (y, b) = usable(x), usable(y)
    if same_pattern(a, b):
        return joined(apply(op, (entries(x), entries(y)), params), a)
    if a.shape != b.shape:
        shape = np.broadcast_shapes(a.shape, b.shape)
        return sum_of_two(op, (widened(x, shape), widened(y, shape)), params)
    own, other = places(a), places(b)
    at = np.union1d(own, other)
    pattern = with_places(a, a.shape, at)
    return joined(apply(op, (entries_at(x, pattern), entries_at(y, pattern)), params), pattern)


def product_by_entries(op: Primitive, operands: Sequence[Array], params: Any) -> Array:
    """x * y and x / y: an entry for each of the sparse operand, of both where both are sparse."""
    x, y = operands = [as_array(v) if isinstance(v, (list, tuple)) else v for v in operands]
    numbers = [v for v in operands if not np.ndim(data_of(v))]
    if op.name == "multiply" and not numbers and (is_matrix(x) or is_matrix(y)):
        return product(matmul, operands, params)  # as SciPy's matrices have it
    if op.name == "divide" and is_sparse(y):
        return refused(op, operands, params)
    if numbers:
        return of_entries(op, operands, params)
    shape = np.broadcast_shapes(data_of(x).shape, data_of(y).shape)
    x, y = (widened(v, shape) if is_sparse(v) else v for v in (x, y))
    x, y = (usable(v)[0] if is_sparse(v) else v for v in (x, y))
    like = data_of(x if is_sparse(x) else y)
    if is_sparse(x) and is_sparse(y):
        at = np.intersect1d(places(like), places(data_of(y)))
        like = with_places(like, shape, at) if len(at) < len(like.data) else like
    return joined(apply(op, (entries_at(x, like), entries_at(y, like)), params), like)


def widened(x: Array, shape: Shape) -> Array:
    """A sparse operand, broadcast to `shape`."""
    x, data = usable(x)
    if data.shape == shape:
        return x
    if kind_of(data) is not PYDATA:
        raise ValueError(
            f"a sparse array of SciPy of shape {[*data.shape]} does not broadcast to {[*shape]}: "
            "use sparse.COO"
        )
    return moved(broadcast_to, (x,), {"shape": shape})


# What moves entries, and what adds them up.


def moved(op: Primitive, operands: Sequence[Array], params: Any) -> Array:
    """What moves the entries of one array: reshaped, transposed, indexed."""
    x, data = usable(operands[0])
    try:
        found = moved_by(op, data, params)
    except IndexError:
        if op is getitem:  # NumPy's own error, where it is one of NumPy's too
            op.forward(np.broadcast_to(0.0, data.shape), **params)
        return refused(op, operands, params)
    except (TypeError, NotImplementedError, AttributeError, ValueError) as error:
        if isinstance(error, ValueError) and op is reshape:
            raise
        raise NotImplementedError(f"{op.name}: {type(data).__name__} has none: {error}") from error
    if not is_sparse(found):
        if found.dtype.kind != "i":  # SciPy's matrix as one object
            return refused(op, operands, params)
        at = np.flatnonzero(found)
        picked = chosen(entries(x), np.ravel(found)[at] - 1)
        return reshaped(added(picked, found.size, at), np.shape(found))
    order, pattern = reordered(found, data)
    return joined(chosen(entries(x), order), pattern)


def moved_by(op: Primitive, data: Array, params: Any) -> Array:
    """Where an operation moves the entries of an array, by number."""
    try:
        return op.forward(numbered(data), **params)
    except (TypeError, ValueError, NotImplementedError):
        if data.ndim != 2 or kind_of(data) is not PYDATA:
            raise
    numbers = with_entries(data, np.arange(1, 1 + len(data.data)))  # has more than two axes then
    return op.forward(numbers, **params)


def transposed(op: Primitive, operands: Sequence[Array], params: Any) -> Array:
    """The axes in another order. SciPy knows one order of two, and no names of others."""
    x, data = usable(operands[0])
    n = data.ndim
    sizes = range(2, n + 2)  # all different: those of the result tell the order
    order = [m - 2 for m in np.shape(op.forward(np.broadcast_to(0.0, sizes), **params))]
    if n == 2:
        return moved(transpose, (x,), {}) if order == [1, 0] else x
    coords, shape = coordinates(data), data.shape
    return rearranged(x, data, [coords[i] for i in order], [shape[i] for i in order])


def with_shape(op: Primitive, operands: Sequence[Array], params: Any) -> Array:
    """The entries in another shape; in C's order PyData, which compiles, is not asked."""
    x, data = usable(operands[0])
    new = params.get("shape")
    new = (new,) if isinstance(new, int) else tuple(new)
    if kind_of(data) is not PYDATA or params.get("order", "C") != "C" or data.ndim == 2 == len(new):
        return moved(op, operands, params)
    size = math.prod(data.shape)
    rest = math.prod(n for n in new if n != -1)
    new = tuple(size // max(1, rest) if n == -1 else n for n in new)
    if math.prod(new) != size:
        raise ValueError(f"reshape: {size} entries do not fit into {params['shape']}")
    coords = np.unravel_index(places(data), new)
    return rearranged(x, data, coords, new)


def rearranged(x: Array, data: Array, coords: Sequence[Array], shape: Sequence[int]) -> Array:
    """The entries of `x` at other places."""
    at = np.ravel_multi_index(tuple(coords), tuple(shape)) if len(data.data) else places(data)
    order = np.argsort(at)
    return joined(chosen(entries(x), order), with_places(data, shape, at[order]))


def raveled(op: Primitive, operands: Sequence[Array], params: Any) -> Array:
    """All entries in one axis."""
    return with_shape(
        reshape, operands, {"shape": (math.prod(data_of(operands[0]).shape),), **params}
    )


def norm(op: Primitive, operands: Sequence[Array], params: Any) -> Array:
    """The length of all entries in one axis."""
    x, data = usable(operands[0])
    return apply(op, (entries(x),), params) if data.ndim == 1 else refused(op, operands, params)


def concatenate(op: Primitive, operands: Sequence[Array], params: Any) -> Array:
    """Sparse arrays of one library, one after the other."""
    if not all(map(is_sparse, operands)):
        return refused(op, operands, params)
    pairs = [usable(x) for x in operands]
    counts = np.cumsum([1, *(len(data.data) for _, data in pairs)])
    numbers = [numbered(data, start) for (_, data), start in zip(pairs, counts)]
    like = pairs[0][1]
    n = like.ndim
    axis = params.get("axis", 0)
    if axis is None or any(data.ndim != n for _, data in pairs):
        raise ValueError("concatenate: sparse arrays of as many axes, along one of them")
    axis = normalize_axis_index(axis, n)
    if kind_of(numbers[0]) is PYDATA:
        import sparse

        found = sparse.concatenate(numbers, axis=axis)
    else:
        import scipy.sparse

        join = scipy.sparse.vstack if n == 2 and not axis else scipy.sparse.hstack
        found = join([*map(compressed, numbers)])
        found = found if n == 2 else found.tocoo().reshape((found.shape[1],))
    order, pattern = reordered(found, like)
    return joined(chosen(np.concatenate([entries(x) for x, _ in pairs]), order), pattern)


def total(op: Primitive, operands: Sequence[Array], params: Any) -> Array:
    """A sum or mean over axes: dense."""
    x, data = usable(operands[0])
    values, shape = entries(x), data.shape
    axis = params.get("axis")
    axes = range(len(shape)) if axis is None else normalize_axis_tuple(axis, len(shape))
    rest = [i for i in range(len(shape)) if i not in axes]
    if rest:
        sizes = tuple(shape[i] for i in rest)
        index = coordinates(data)
        target = (
            np.ravel_multi_index([index[i] for i in rest], sizes) if len(index[0]) else index[0]
        )
        out = reshaped(added(values, math.prod(sizes), target), sizes)
    else:
        out = np.sum(values)
    if op.name == "mean":
        out = out / math.prod(shape[i] for i in axes)
    if params.get("keepdims"):
        out = reshaped(out, tuple(1 if i in axes else n for i, n in enumerate(shape)))
    return out


def todense(x: Array) -> Array:
    """The same entries in a dense array, 0 elsewhere; a dense one as it is.

    >>> import scipy.sparse
    >>> todense(scipy.sparse.csr_array([[0.0, 2.0]]))
    array([[0., 2.]])
    """
    if not is_sparse(x):
        return x
    x, data = usable(x)
    flat = added(entries(x), math.prod(data.shape), places(data))
    return reshaped(flat, data.shape)


def mapped(op: Primitive, operands: Sequence[Array], params: Any) -> Array:
    """L @ v, of a linear operator; and v @ L, which is Lᵀ @ v."""
    x, y = operands
    if is_operator(x) and is_operator(y):
        return refused(op, operands, params)
    operator, v = (x, y) if is_operator(x) else (y.T, np.transpose(x))
    n = np.shape(data_of(v))
    if not n or len(n) > 2 or operator.shape[1] != n[0]:
        sizes = [[*np.shape(data_of(u))] for u in operands]
        raise ValueError(f"matmul: shapes {sizes[0]} and {sizes[1]} do not fit")
    out = apply(linear, (reshaped(v, (n[0], math.prod(n[1:]))),), {"operator": operator})
    out = reshaped(out, (operator.shape[0], *n[1:]))
    return out if is_operator(x) else np.transpose(out)


INSTEAD.update(
    {
        "matmul": product,
        "linear_operator": mapped,
        "linear": affine,
        "linear_map": affine,
        "add": sum_of_two,
        "subtract": sum_of_two,
        "multiply": product_by_entries,
        "divide": product_by_entries,
        "concatenate": concatenate,
        "transpose": transposed,
        "swapaxes": transposed,
        "moveaxis": transposed,
        "reshape": with_shape,
        "ravel": raveled,
        "norm": norm,
        "transfer": refused,
        "sum": total,
        "mean": total,
        elementwise: of_entries,
        moving: moved,
    }
)
