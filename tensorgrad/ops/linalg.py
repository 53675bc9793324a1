"""Products of vectors, matrices and tensors. One primitive multiplies matrices, one does Einstein
sums, one the vector product in space; the others rearrange their operands and call these.

NumPy's `vdot`, `vecdot` and `vecmat` take the complex conjugate of their first operand.
"""

from __future__ import annotations

import math
import operator
import string
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import zip_longest
from typing import Any

import numpy as np

from tensorgrad.engine.arrays import as_array, created, is_numpy, kind_of
from tensorgrad.engine.batching import moving, padded
from tensorgrad.engine.care import contraction
from tensorgrad.engine.domain import Domain, Shape
from tensorgrad.engine.node import Array
from tensorgrad.engine.primitive import Primitive, implementations, implements, primitive
from tensorgrad.engine.rules import Each
from tensorgrad.ops.adjoint import T, conj
from tensorgrad.ops.index import scatter_add
from tensorgrad.ops.reduce import numpy_call


def as_matrix(x: Array) -> Array:
    """Stacked rows as one matrix. (A -1 for their number is ambiguous where rows are empty.)"""
    return np.reshape(x, (math.prod(x.shape[:-1]), x.shape[-1]))


def product(x: Array, y: Array) -> Array:
    """x @ y. A column times a row, as in the gradient of a weight by one example, goes to BLAS by
    `np.dot`: of 200 and 784 float32 that takes 25 µs, and NumPy's own loop behind `@` 180.
    """
    plain = all(is_numpy(z) or kind_of(z).in_order() for z in (x, y))
    if plain and x.shape[-1] == 1 and x.ndim == y.ndim == 2:
        return np.dot(x, y)
    return x @ y


def matmul_x(g: Array, out: Array, x: Array, y: Array) -> Array:
    """g yᵀ; a vector counts as the row (x) or column (y) that `@` makes of it."""
    if y.ndim == 1:
        return g[..., None] * y
    if x.ndim == 1:
        return y @ g if y.ndim == 2 else (y @ g[..., None])[..., 0]
    return g @ T(y)


def matmul_y(g: Array, out: Array, x: Array, y: Array) -> Array:
    """xᵀ g; stacks of matrices that met one matrix are summed in the same product."""
    if x.ndim == 1:
        return g * x if y.ndim == 1 else x[:, None] * g[..., None, :]
    if y.ndim == 1:
        return g @ x if x.ndim == 2 else (g[..., None, :] @ x)[..., 0, :]
    if y.ndim == 2 and x.ndim > 2:
        x, g = as_matrix(x), as_matrix(g)
    return product(T(x), g)


def matmul_examples(
    op: Primitive, batch: Shape, xs: list[Array], params: Mapping[str, Any]
) -> Array:
    """Vectors become rows and columns; vectors that meet one matrix, the rows of another."""
    k = len(batch)
    x, y = xs
    row, column = x.ndim == k + 1, y.ndim == k + 1
    if y.ndim == k + 2 and y.shape[:k] == (1,) * k:  # one matrix for all: one product
        product = as_matrix(x) @ np.reshape(y, y.shape[k:])
        return np.reshape(product, (*x.shape[:-1], y.shape[-1]))
    x, y = padded([x[..., None, :] if row else x, y[..., None] if column else y], k, (2, 2))
    out = x @ y
    out = out[..., 0] if column else out
    return (out[..., 0] if column else out[..., 0, :]) if row else out


matmul = primitive(
    operator.matmul,
    matmul_x,
    matmul_y,
    notation=lambda x=(), y=(): r"{0}^{{\top}} {1}" if len(x) == 1 else "{0} {1}",
    domain=Domain(signature="(m?,k),(k,n?)", complex=True),
    care=contraction,
    batch=matmul_examples,
)
implements(np.matmul, np.linalg.matmul)(matmul)


def as_implemented(function: Any, args: list[Array], params: Mapping[str, Any]) -> Array:
    """The care that its implementation takes."""
    return implementations[function](*args, **params)


@numpy_call(np.linalg.multi_dot, care=as_implemented)
def multi_dot(arrays: Sequence[Array], *, out: None = None) -> Array:
    """A product of matrices in the order with the fewest multiplications (Cormen, ch. 15.2)."""
    matrices = [as_array(a) for a in arrays]
    if len(matrices) < 2:
        raise ValueError("multi_dot: pass at least two arrays")
    row, column = matrices[0].ndim == 1, matrices[-1].ndim == 1
    matrices[0] = matrices[0][None, :] if row else matrices[0]
    matrices[-1] = matrices[-1][:, None] if column else matrices[-1]
    if any(a.ndim != 2 for a in matrices):
        raise np.linalg.LinAlgError("multi_dot: only the first and last may be vectors")
    sizes = [len(a) for a in matrices] + [matrices[-1].shape[1]]

    @cache
    def cost(i: int, j: int) -> tuple[int, int]:
        """The multiplications that the product of matrices i to j takes, and where to split it."""
        if i == j:
            return 0, i
        ends = sizes[i] * sizes[j + 1]
        return min(
            (cost(i, k)[0] + cost(k + 1, j)[0] + ends * sizes[k + 1], k) for k in range(i, j)
        )

    def product(i: int, j: int) -> Array:
        k = cost(i, j)[1]
        return matrices[i] if i == j else product(i, k) @ product(k + 1, j)

    whole = product(0, len(matrices) - 1)
    whole = whole[:, 0] if column else whole
    return whole[0] if row else whole


@implements(np.tensordot, np.linalg.tensordot, care=contraction)
def tensordot(a: Array, b: Array, axes: Any = 2) -> Array:
    """Sum over pairs of axes: the last of `a` with the first of `b`, or the ones given."""
    a, b = as_array(a), as_array(b)
    if np.ndim(axes) == 0:
        axes = (range(a.ndim - axes, a.ndim), range(axes))
    ours = [i % a.ndim for i in np.atleast_1d(axes[0]).tolist()]
    theirs = [i % b.ndim for i in np.atleast_1d(axes[1]).tolist()]
    left, summed = [a.shape[i] for i in range(a.ndim) if i not in ours], [a.shape[i] for i in ours]
    right = [b.shape[i] for i in range(b.ndim) if i not in theirs]
    if summed != [b.shape[i] for i in theirs]:
        raise ValueError(f"tensordot: shapes {a.shape} and {b.shape} differ on axes {axes}")
    rows = np.moveaxis(a, ours, range(len(left), a.ndim))
    columns = np.moveaxis(b, theirs, range(len(theirs)))
    k = math.prod(summed)
    product = np.reshape(rows, (math.prod(left), k)) @ np.reshape(columns, (k, math.prod(right)))
    return np.reshape(product, left + right)


@numpy_call(np.dot, care=contraction)
def dot(a: Array, b: Array, out: None = None) -> Array:
    """`np.dot`: a product for scalars, else a sum over `a`'s last and `b`'s last but one axis."""
    a, b = as_array(a), as_array(b)
    if not a.ndim or not b.ndim:
        return a * b
    return a @ b if b.ndim <= 2 else tensordot(a, b, (-1, -2))


@implements(np.inner, care=contraction)
def inner(a: Array, b: Array) -> Array:
    """Sum over the last axes."""
    a, b = as_array(a), as_array(b)
    return a * b if not a.ndim or not b.ndim else tensordot(a, b, (-1, -1))


@numpy_call(np.outer, care=contraction)
def outer(a: Array, b: Array, out: None = None) -> Array:
    """Every product of an entry of `a` and one of `b`."""
    return np.ravel(a)[:, None] * np.ravel(b)


@implements(np.linalg.outer, care=contraction)
def outer_of_vectors(x1: Array, x2: Array, /) -> Array:
    """`np.linalg.outer`: of vectors only."""
    x1, x2 = as_array(x1), as_array(x2)
    if x1.ndim != 1 or x2.ndim != 1:
        raise ValueError(f"outer: of two vectors, not of shapes {x1.shape} and {x2.shape}")
    return outer(x1, x2)


@implements(np.kron, care=contraction)
def kron(a: Array, b: Array) -> Array:
    """Kronecker's product: each entry of `a`, replaced by its multiple of `b`."""
    a, b = as_array(a), as_array(b)
    pairs = list(zip_longest(a.shape[::-1], b.shape[::-1], fillvalue=1))[::-1]
    blocks = np.reshape(a, [k for n, _ in pairs for k in (n, 1)])
    entries = np.reshape(b, [k for _, m in pairs for k in (1, m)])
    return np.reshape(blocks * entries, [n * m for n, m in pairs])


@implements(np.vdot, care=contraction)
def vdot(a: Array, b: Array) -> Array:
    """The scalar product of two arrays, flattened; the first one is conjugated."""
    return conj(np.ravel(a)) @ np.ravel(b)


@implements(np.linalg.vecdot, care=contraction)
def vecdot(x1: Array, x2: Array, /, *, axis: int = -1) -> Array:
    """The scalar products of vectors along `axis`; the first ones are conjugated."""
    x, y = np.moveaxis(as_array(x1), axis, -1), np.moveaxis(as_array(x2), axis, -1)
    return (conj(x)[..., None, :] @ y[..., :, None])[..., 0, 0]


@implements(np.vecdot, care=contraction)
def vecdot_of(x1: Array, x2: Array, /, *, axis: int = -1, keepdims: bool = False) -> Array:
    """`np.vecdot`."""
    products = vecdot(x1, x2, axis=axis)
    return np.expand_dims(products, axis) if keepdims else products


def matvec(x1: Array, x2: Array, /) -> Array:
    """Matrices times vectors."""
    return (x1 @ as_array(x2)[..., :, None])[..., 0]


def vecmat(x1: Array, x2: Array, /) -> Array:
    """Vectors, conjugated, times matrices."""
    return (conj(as_array(x1))[..., None, :] @ x2)[..., 0, :]


if hasattr(np, "vecmat"):  # NumPy 2.2
    implements(np.matvec, care=contraction)(matvec)
    implements(np.vecmat, care=contraction)(vecmat)

# The vector product in space.


def by_components(function: Any, args: list[Array], params: Mapping[str, Any]) -> Array:
    """Care of x × y: each of its two terms is a product."""
    x, y = args
    after, before = [1, 2, 0], [2, 0, 1]
    return x[..., after] * y[..., before] - x[..., before] * y[..., after]


vector_product = primitive(
    np.cross,
    lambda g, out, x, y: np.cross(y, g),  # g · (x × y) = x · (y × g) = y · (g × x)
    lambda g, out, x, y: np.cross(g, x),
    notation=r"{0} \times {1}",
    signature="(n),(n)",
    domain=Domain(params=lambda x, y: [{}] if x[-1:] == (3,) else [], complex=True),
    care=by_components,
)


@implements(np.cross, care=as_implemented)
def cross(
    a: Array, b: Array, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None
) -> Array:
    """`np.cross`; vectors of length 2 lie in the plane, and the product of two such is a number."""
    if axis is not None:
        axisa = axisb = axisc = axis
    a, b = np.moveaxis(as_array(a), axisa, -1), np.moveaxis(as_array(b), axisb, -1)
    if a.shape[-1:] == b.shape[-1:] == (3,):
        return np.moveaxis(vector_product(a, b), -1, axisc)
    n, m = a.shape[-1], b.shape[-1]
    np.cross(np.empty((0, n)), np.empty((0, m)))  # NumPy warns of length 2, and refuses the rest
    a = np.concatenate([a, np.zeros_like(a[..., :1])], axis=-1) if n == 2 else a
    b = np.concatenate([b, np.zeros_like(b[..., :1])], axis=-1) if m == 2 else b
    product = vector_product(a, b)
    return product[..., 2] if n == m else np.moveaxis(product, -1, axisc)


@implements(np.linalg.cross, care=as_implemented)
def cross_in_space(x1: Array, x2: Array, /, *, axis: int = -1) -> Array:
    """`np.linalg.cross`: of vectors of length 3 only."""
    x1, x2 = as_array(x1), as_array(x2)
    if x1.shape[axis] != 3 or x2.shape[axis] != 3:
        raise ValueError(f"cross: shapes {x1.shape}, {x2.shape} have no 3 entries on axis {axis}")
    return cross(x1, x2, axis=axis)


# Diagonals.


def onto_diagonal(
    g: Array, out: Array, x: Array, offset: int = 0, axis1: int = 0, axis2: int = 1
) -> Array:
    """The cotangent, back on the diagonal."""
    rows, columns = axis1 % x.ndim, axis2 % x.ndim
    others = [n for axis, n in enumerate(x.shape) if axis not in (rows, columns)]
    i = np.arange(out.shape[-1])
    index = (..., i + max(-offset, 0), i + max(offset, 0))
    matrices = scatter_add(g, shape=(*others, x.shape[rows], x.shape[columns]), index=index)
    return np.moveaxis(matrices, (-2, -1), (rows, columns))


diagonal = primitive(
    np.diagonal,
    onto_diagonal,
    domain=Domain(
        params=lambda shape: [
            {"offset": k, "axis1": a, "axis2": b}
            for k, a, b in ((0, 0, 1), (1, -1, 0), (-1, 1, -1))
            if len(shape) > 1 and (a - b) % len(shape)
        ],
        complex=True,
    ),
    batch=moving,
    view=True,
)


@numpy_call(np.trace)
def trace(
    a: Array, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None, out: None = None
) -> Array:
    """The sum of a diagonal."""
    entries = diagonal(a, offset, axis1, axis2)
    return np.sum(entries if dtype is None else entries.astype(dtype), axis=-1)


@implements(np.linalg.diagonal)
def diagonal_of_matrices(x: Array, /, *, offset: int = 0) -> Array:
    """`np.linalg.diagonal`: of the last two axes."""
    return diagonal(x, offset, -2, -1)


@implements(np.linalg.trace)
def trace_of_matrices(x: Array, /, *, offset: int = 0, dtype: Any = None) -> Array:
    """`np.linalg.trace`: of the last two axes."""
    return trace(x, offset, -2, -1, dtype)


@implements(np.diag)
def diag(v: Array, k: int = 0) -> Array:
    """The diagonal of a matrix, or the matrix with a diagonal."""
    if v.ndim == 2:
        return diagonal(v, k)
    rows, n = np.arange(len(v)), len(v) + abs(k)
    return scatter_add(v, shape=(n, n), index=(rows + max(-k, 0), rows + max(k, 0)))


# Einstein sums.


def explicit(subscripts: str, ndims: Sequence[int]) -> tuple[list[str], str]:
    """The operands' terms and the result's, every axis a letter: no `...`, no implied result."""
    inputs, arrow, result = subscripts.replace(" ", "").partition("->")
    unused = [c for c in "ZYXWVUTSRQPONMLKJIHGFEDCBA" if c not in subscripts]
    terms, widest = [], ""
    for term, ndim in zip(inputs.split(","), ndims):
        named = len(term.replace("...", ""))
        rest = "".join(unused[: ndim - named])[::-1]  # aligned on the right, as broadcasting is
        terms.append(term.replace("...", rest))
        widest = max(widest, rest if "..." in term else "", key=len)
    if not arrow:
        once = [c for c in sorted(set(inputs)) if c.isalpha() and inputs.count(c) == 1]
        result = widest + "".join(once)
    return terms, result.replace("...", widest)


def einsum_rule(i: int, g: Array, out: Array, *xs: Array, subscripts: str = "") -> Array:
    """Exchange the operand's term with the result's: the other operands meet the cotangent.

    A letter of this operand alone was summed away: a vector of ones spreads the cotangent over it.
    A letter that it repeats was read on the diagonal: there the cotangent is put back.
    """
    xs = tuple(map(as_array, xs))
    terms, result = explicit(subscripts, [x.ndim for x in xs])
    others, met = [*terms[:i], *terms[i + 1 :]], [*xs[:i], *xs[i + 1 :]]
    distinct = "".join(dict.fromkeys(terms[i]))
    for letter, n in zip(terms[i], xs[i].shape):
        if letter not in result + "".join(others):
            others.append(letter)
            met.append(created(np.ones, n, g.dtype, like=g))
    c = einsum_terms(g, *met, subscripts=",".join((result, *others)) + "->" + distinct)
    for axis, letter in enumerate(terms[i]):
        first = terms[i].index(letter)
        if axis != first:
            rest = tuple(a for a in range(c.ndim + 1) if a not in (first, axis))
            eye = created(np.eye, xs[i].shape[axis], dtype=bool, like=c)
            on_diagonal = np.expand_dims(eye, rest)
            c = np.where(on_diagonal, np.expand_dims(c, axis), 0)
    return c


def einsum_examples(
    op: Primitive, batch: Shape, xs: list[Array], params: Mapping[str, Any]
) -> Array:
    """Each batch axis becomes one more letter, of the operands that vary along it."""
    k, xs = len(batch), [*map(as_array, xs)]
    terms, result = explicit(params["subscripts"], [max(x.ndim - k, 0) for x in xs])
    letters = [c for c in string.ascii_letters if c not in "".join((*terms, result))][:k]
    for i, x in enumerate(xs):
        varies = [n > 1 for n in x.shape[:k]]
        terms[i] = "".join(c for c, v in zip(letters, varies) if v) + terms[i]
        xs[i] = np.squeeze(x, tuple(axis for axis, v in enumerate(varies) if not v))
    kept = "".join(c for c in letters if any(c in term for term in terms))
    out = op.forward(*xs, subscripts=",".join(terms) + "->" + kept + result)
    return np.reshape(out, batch + out.shape[len(kept) :])


def sum_of_products(*xs: Array, subscripts: str) -> Array:
    """`np.einsum`. Its optimised path finds BLAS, up to 18 times as fast where a letter is summed
    over; the planning takes 6 µs, which small arrays and single operands do not pay back.
    """
    inputs, arrow, result = subscripts.partition("->")
    summed = not arrow or set(inputs) - {*result, ",", " "}
    large = len(xs) == 2 and summed and max(as_array(x).size for x in xs) > 1000
    if len(xs) > 2:  # on the way two of integers would meet alone, and their products overflow
        dtype = np.result_type(*(as_array(x).dtype for x in xs))
        xs = tuple(as_array(x, dtype) for x in xs)
    return np.einsum(subscripts, *xs, optimize=bool(large) or len(xs) > 2)


einsum_terms = primitive(
    sum_of_products,
    Each(einsum_rule),
    name="einsum",
    domain=Domain(
        signature="(i,j),(j,k)",
        params=lambda *shapes: (
            {"subscripts": s}
            for s in ("...ij,...jk->...ik", "...ij,...jk->...j", "...ij,...jk", "...ij,...jk->...")
        ),
        complex=True,
    ),
    batch=einsum_examples,
    care=contraction,
    view=True,
)


@implements(np.einsum, care=contraction)
def einsum(
    *operands: Any,
    out: None = None,
    optimize: Any = None,
    dtype: Any = None,
    order: str = "K",
    casting: str = "safe",
) -> Array:
    """`np.einsum` in both its spellings: subscripts first, or an axis list after each operand."""
    if out is not None or (dtype, order, casting) != (None, "K", "safe"):
        raise TypeError(
            "einsum: no gradient rule for out=, dtype=, order= and casting=: .astype() its operands"
        )
    if isinstance(operands[0], str):
        return einsum_terms(*operands[1:], subscripts=operands[0])
    letters = string.ascii_uppercase + string.ascii_lowercase  # NumPy's order, which it sorts by

    def term(axes: Sequence[Any]) -> str:
        return "".join("..." if a is Ellipsis else letters[a] for a in axes)

    pairs = len(operands) // 2
    subscripts = ",".join(term(axes) for axes in operands[1 : 2 * pairs : 2])
    if len(operands) % 2:
        subscripts += "->" + term(operands[-1])
    return einsum_terms(*operands[0 : 2 * pairs : 2], subscripts=subscripts)
