"""Products of vectors, matrices and tensors. One primitive multiplies matrices, one does Einstein
sums; the others rearrange their operands and call these.
"""

from __future__ import annotations

import math
import operator
import string
from collections.abc import Sequence
from typing import Any

import numpy as np

from tensorgrad.domain import Domain
from tensorgrad.node import Array
from tensorgrad.ops.index import scatter_add
from tensorgrad.primitive import Each, implements, primitive


def as_matrix(x: Array) -> Array:
    """Stacked rows as one matrix. (A -1 for their number is ambiguous where rows are empty.)"""
    return np.reshape(x, (math.prod(x.shape[:-1]), x.shape[-1]))


def as_array(x: Array) -> Array:
    """A list as an array; a Value as it is."""
    return x if hasattr(x, "ndim") else np.asarray(x)


def matmul_x(g: Array, out: Array, x: Array, y: Array) -> Array:
    """g yᵀ; a vector counts as the row (x) or column (y) that `@` makes of it."""
    if y.ndim == 1:
        return g[..., None] * y
    if x.ndim == 1:
        return (y @ g[..., None])[..., 0]
    return g @ np.swapaxes(y, -1, -2)


def matmul_y(g: Array, out: Array, x: Array, y: Array) -> Array:
    """xᵀ g; stacks of matrices that met one matrix are summed in the same product."""
    if x.ndim == 1:
        return g * x if y.ndim == 1 else x[:, None] * g[..., None, :]
    if y.ndim == 1:
        return (g[..., None, :] @ x)[..., 0, :]
    if y.ndim == 2 and x.ndim > 2:
        x, g = as_matrix(x), as_matrix(g)
    return np.swapaxes(x, -1, -2) @ g


matmul = primitive(
    operator.matmul,
    matmul_x,
    matmul_y,
    notation="{0} {1}",
    domain=Domain(signature="(m?,k),(k,n?)", complex=True),
)
implements(np.matmul)(matmul)


@implements(np.tensordot)
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


@implements(np.dot)
def dot(a: Array, b: Array) -> Array:
    """`np.dot`: a product for scalars, else a sum over `a`'s last and `b`'s last but one axis."""
    if not np.ndim(a) or not np.ndim(b):
        return a * b
    return a @ b if np.ndim(b) <= 2 else tensordot(a, b, (-1, -2))


@implements(np.inner)
def inner(a: Array, b: Array) -> Array:
    """Sum over the last axes."""
    a, b = as_array(a), as_array(b)
    return a * b if not a.ndim or not b.ndim else tensordot(a, b, (-1, -1))


@implements(np.outer)
def outer(a: Array, b: Array) -> Array:
    """Every product of an entry of `a` and one of `b`."""
    return np.ravel(a)[:, None] * np.ravel(b)


@implements(np.vdot)
def vdot(a: Array, b: Array) -> Array:
    """The scalar product of two arrays of real numbers, flattened."""
    if np.iscomplexobj(a):
        raise TypeError("vdot: no gradient rule for a complex first operand")
    return np.ravel(a) @ np.ravel(b)


@implements(np.diagonal)
def diagonal(a: Array, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Array:
    """The entries (i, i + offset) of two axes, along a new last axis."""
    matrices = np.moveaxis(a, (axis1, axis2), (-2, -1))
    rows = np.arange(len(np.diagonal(np.empty(matrices.shape[-2:]), offset)))
    return matrices[..., rows + max(-offset, 0), rows + max(offset, 0)]


@implements(np.trace)
def trace(a: Array, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Array:
    """The sum of a diagonal."""
    return np.sum(diagonal(a, offset, axis1, axis2), axis=-1)


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
    A letter that it repeats was read on the diagonal: identity matrices put it back there.
    """
    terms, result = explicit(subscripts, [np.ndim(x) for x in xs])
    others, met = [*terms[:i], *terms[i + 1 :]], [*xs[:i], *xs[i + 1 :]]
    unused = iter(c for c in "zyxwvutsrqponmlkjihgfedcba" if c not in "".join((*terms, result)))
    distinct = ""
    for letter, n in zip(terms[i], np.shape(xs[i])):
        if letter in distinct:
            copy = next(unused)
            others.append(letter + copy)
            met.append(np.eye(n, dtype=g.dtype))
            distinct += copy
        else:
            if letter not in result + "".join(others):
                others.append(letter)
                met.append(np.ones(n, g.dtype))
            distinct += letter
    return einsum_terms(g, *met, subscripts=",".join((result, *others)) + "->" + distinct)


einsum_terms = primitive(
    # the optimised path finds BLAS, and pays its planning back from three operands on
    lambda *xs, subscripts: np.einsum(subscripts, *xs, optimize=len(xs) > 2),
    Each(einsum_rule),
    name="einsum",
    domain=Domain(
        signature="(i,j),(j,k)",
        params=lambda *shapes: (
            {"subscripts": s}
            for s in ("...ij,...jk->...ik", "...ij,...jk->...j", "...ij,...jk", "...ij,...jk->...")
        ),
    ),
)


@implements(np.einsum)
def einsum(*operands: Any, optimize: Any = None) -> Array:
    """`np.einsum` in both its spellings: subscripts first, or an axis list after each operand."""
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
