"""Sparse arrays, two kinds: those of PyData's `sparse`, and SciPy's matrices; and linear operators.

A Value may hold one. What is not stored is no variable: it adds 0, and has no gradient. So between
its nodes a sweep hands on the cotangents of the entries that are stored, a plain vector, and makes
an array with the same pattern of them at its end.

No library's own operations compute with Values: they leave entries out that are 0 today. An
operation moves or computes the entries, in words of primitives of dense arrays, and `INSTEAD` says
how; it is filled by `ops/sparse.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from copy import copy
from types import FrameType
from typing import Any

import numpy as np

from tensorgrad.engine.arrays import Kind, created, kind_of, kinds
from tensorgrad.engine.batching import BatchingRule, by_itself, levels_of
from tensorgrad.engine.levels import alias
from tensorgrad.engine.node import Array, Handle, data_of
from tensorgrad.engine.primitive import Primitive, apply, registry

Instead = Callable[[Primitive, Sequence[Array], Any], Array]

INSTEAD: dict[str | BatchingRule, Instead] = {}
"""What runs instead of a primitive: by its name, or by how it treats examples."""


class Sparse(Kind):
    """The rows of both: an array has `data`, the stored entries, and its pattern beside them."""

    def instead(self, op: Primitive) -> Instead | None:
        if op in KNOWN:
            return None
        return INSTEAD.get(op.name) or INSTEAD.get(op.batch) or refused

    def entries(self, x: Array) -> Array:
        return x.data

    def opened(self, g: Array, x: Array) -> Array:
        return entries_at(g, x)

    def closed(self, g: Array, x: Array) -> Array:
        if isinstance(g, Handle):
            return apply(from_entries, (g,), {"like": x})
        return with_entries(x, g, own=True)  # who prunes a gradient in place prunes no Value

    def plus(self, x: Array, y: Array) -> Array:
        if isinstance(x, Handle) or isinstance(y, Handle):
            return x + y
        return with_entries(y, entries_at(x, y) + y.data)

    def create(self, function: Callable[..., Array], like: Array, *args: Any, **params: Any) -> Any:
        return function(*args, **params)  # dense: it meets entries

    def copy(self, x: Array, dtype: Any = None) -> Array:
        x = canonical(x)
        return with_entries(x, np.array(x.data, dtype), own=True)

    def spread(self, x: Array, like: Array) -> Array:
        if not is_sparse(x):
            x = np.broadcast_to(x, like.shape)
        elif x.shape != like.shape:
            raise ValueError(f"{brief(x)} for {brief(like)}")
        if kind_of(x) is self:
            return self.copy(x)
        return with_entries(like, entries_at(x, like), own=True)

    def finite(self, g: Array) -> bool:
        return bool(np.isfinite(g.data).all())

    def to_numbers(self, x: Array) -> Any:
        raise TypeError(
            f"what is stored sparsely, {brief(x)}, is no dense array: write v.todense()"
        )


class Operator(Kind):
    """The row of SciPy's linear operators: constants of `@`."""

    def instead(self, op: Primitive) -> Instead | None:
        return INSTEAD["linear_operator"] if op.name == "matmul" else refused

    def copy(self, x: Array, dtype: Any = None) -> Array:
        raise TypeError(
            "a LinearOperator is a constant: it holds no numbers, and no Value holds it"
        )


def refused(op: Primitive, operands: Sequence[Array], params: Any) -> Array:
    """NotImplementedError: an operation of which something dense would come, or nobody has it."""
    x = next(x for x in operands if is_sparse(x) or is_operator(x))
    if is_operator(x):
        raise NotImplementedError(f"{op.name}: a LinearOperator knows products, L @ v and v @ L")
    raise NotImplementedError(
        f"{op.name} is not computed of what is stored sparsely, {brief(data_of(x))}: its result "
        f"would be dense, or needs all entries; {way_out(x)}"
    )


def is_sparse(x: Any) -> bool:
    """Whether an array, or what a Value holds, is stored sparsely."""
    return isinstance(kind_of(data_of(x)), Sparse)


def is_operator(x: Any) -> bool:
    return kind_of(x) is OPERATOR


def way_out(x: Any) -> str:
    """What makes a dense array of it."""
    if isinstance(x, Handle):
        return "write v.todense()"
    return "write x.toarray()" if kind_of(x) is SCIPY else "write x.todense()"


def brief(x: Array) -> str:
    return f"{type(x).__name__} of shape {x.shape}"


# Two primitives lead in and out of a sparse array. The cotangent of one is that of its entries.


def with_entries(like: Array, data: Array, own: bool = False) -> Array:
    """An array with the pattern of `like`, or an `own` copy of it, and other entries."""
    made: Any = type(like)
    if own:
        like = like.copy()
    if levels_of(data):
        raise NotImplementedError(
            "inside vmap the entries of a sparse array would differ from example to example: "
            "compute with the dense operand there, or with entries and their coordinates"
        )
    if hasattr(like, "compressed_axes"):
        array: Any = copy(like)  # to construct one compiles checks, for seconds
        array.data, array.fill_value = data, data.dtype.type(0)
        return array
    if kind_of(like) is PYDATA:
        return made(like.coords, data, shape=like.shape, has_duplicates=False, sorted=True)
    if hasattr(like, "indptr"):
        return made((data, like.indices, like.indptr), shape=like.shape)
    return made((data, like.coords), shape=like.shape)


entries_of = Primitive(lambda x: x.data, (lambda g, out, x: g,), "entries_of", notation="{0}")
from_entries = Primitive(
    lambda data, like=None: with_entries(like, data),
    (lambda g, out, data, like=None: g,),
    "from_entries",
    notation="{0}",
    batch=by_itself,
)
KNOWN = {entries_of, from_entries, alias}
"""The primitives that take sparse arrays as they are."""


def entries(x: Array) -> Array:
    """The stored entries of a sparse array or of a Value that holds one, one after the other."""
    return apply(entries_of, (x,), {})


def entries_at(x: Array, like: Array) -> Array:
    """The entries of `x`, dense or sparse, where `like` has some; 0 where a sparse `x` has none."""
    if not is_sparse(x):
        index = coordinates(like)[like.ndim - np.ndim(data_of(x)) :]
        sizes = np.shape(data_of(x))
        index = tuple(i if n != 1 else np.zeros_like(i) for i, n in zip(index, sizes))
        return apply(registry["getitem"], (x,), {"index": index}) if index else x
    own = data_of(x)
    if not (isinstance(x, Handle) and x.node.requires_grad):
        x = own = canonical(own)
    if same_pattern(own, like):
        return entries(x)
    found, places = matches(own, like)
    if not len(own.data):
        return np.zeros(len(places), own.dtype)
    taken = apply(registry["getitem"], (entries(x),), {"index": places})
    return apply(registry["where"], (found, taken, 0.0), {}) if not found.all() else taken


# Patterns. What moves entries is asked of the library itself: an array that holds the numbers of
# its entries, 1, 2, 3, ..., tells where they go. Of PyData's matrices SciPy is asked: it compiles
# nothing first, which takes PyData seconds.


def canonical(x: Array) -> Array:
    """`x` in a layout that is computed with: of PyData COO, or GCXS of two axes; of SciPy arrays
    csr, csc, or coo of one axis. ValueError where something else than 0 is left out."""
    if kind_of(x) is PYDATA:
        if x.fill_value != 0:
            raise ValueError(
                f"what a sparse array leaves out must be 0, not fill_value={x.fill_value}"
            )
        if hasattr(x, "compressed_axes"):
            return x if x.ndim == 2 and x.compressed_axes in ((0,), (1,)) else x.tocoo()
        return x if hasattr(x, "coords") else x.asformat("coo")
    x = laid_out(x)
    if not x.has_canonical_format:
        x = x.copy()
        x.sum_duplicates()
    return array_of(x) if is_matrix(x) else x


def laid_out(x: Array) -> Array:
    """The same of SciPy's, but that several entries may stand in one place, in any order."""
    if x.ndim > 2:
        raise ValueError("sparse arrays of SciPy have up to two axes here: use sparse.COO")
    if x.ndim == 1:
        x = x.tocoo()
    elif x.format not in ("csr", "csc"):
        x = x.tocsr()
    return x


def array_of(x: Array) -> Array:
    """SciPy's sparse array of a matrix, whose * is a product of matrices."""
    import scipy.sparse

    made = getattr(scipy.sparse, f"{x.format}_array")
    return made((x.data, x.indices, x.indptr), shape=x.shape)


def is_matrix(x: Any) -> bool:
    """Whether `x` is one of SciPy's sparse matrices, to which * means @."""
    return kind_of(x) is SCIPY and type(x).__name__.endswith("matrix")


def coordinates(x: Array) -> tuple[Array, ...]:
    """Where the entries are stored: an array for each axis, in the order of `x.data`."""
    if not hasattr(x, "indptr"):
        return tuple(x.coords)
    rows = np.repeat(np.arange(len(x.indptr) - 1), np.diff(x.indptr))
    return (rows, x.indices) if by_rows(x) else (x.indices, rows)


def by_rows(x: Array) -> bool:
    """Whether a compressed matrix is stored row by row."""
    return bool(x.compressed_axes == (0,) if hasattr(x, "compressed_axes") else x.format == "csr")


def places(x: Array) -> Array:
    """The same as numbers of the entries of a dense array."""
    return np.ravel_multi_index(coordinates(x), x.shape) if len(x.data) else np.zeros(0, int)


def numbered(x: Array, start: int = 1) -> Array:
    """The pattern of `x`, each entry its number; of a matrix as SciPy has it."""
    numbers = np.arange(start, start + len(x.data))
    return with_entries(compressed(x) if x.ndim == 2 else x, numbers)


def reordered(moved: Array, like: Array) -> tuple[Array, Array]:
    """Which entries, by number, a pattern has that was `numbered` and moved; and the pattern, in
    the library of `like`."""
    pattern = canonical(moved)
    order = pattern.data - 1
    if kind_of(pattern) is kind_of(like):
        return order, pattern
    at = places(pattern)
    sort = np.argsort(at)
    return order[sort], with_places(like, pattern.shape, at[sort])


def same_pattern(x: Array, y: Array) -> bool:
    """Whether the entries of two arrays are stored in the same places, in the same order."""
    if type(x) is not type(y) or x.shape != y.shape or len(x.data) != len(y.data):
        return False
    if hasattr(x, "indptr"):
        parts = [(x.indices, y.indices), (x.indptr, y.indptr)]
        if getattr(x, "compressed_axes", None) != getattr(y, "compressed_axes", None):
            return False
    else:
        parts = list(zip(x.coords, y.coords))
    return all(a is b or np.array_equal(a, b) for a, b in parts)


def matches(x: Array, y: Array) -> tuple[Array, Array]:
    """Which entries of `y` has `x` too; and their numbers in `x`, 0 for the others."""
    own, asked = places(x), places(y)
    if not len(own):
        return np.zeros(len(asked), bool), np.zeros(len(asked), int)
    order = np.argsort(own, kind="stable")
    at = order[np.minimum(np.searchsorted(own, asked, sorter=order), len(own) - 1)]
    found = own[at] == asked
    return found, np.where(found, at, 0)


def with_places(like: Array, shape: Sequence[int], places: Array) -> Array:
    """A pattern of the library of `like`, with entries at `places`, numbers that increase."""
    coords = np.stack(np.unravel_index(places, shape)) if len(shape) else np.zeros((0, 1), int)
    data = np.ones(len(places))
    if kind_of(like) is PYDATA:
        import sparse

        if hasattr(like, "compressed_axes") and len(shape) == 2:
            parts = (data, coords[1], np.searchsorted(coords[0], np.arange(shape[0] + 1)))
            return sparse.GCXS(parts, shape=tuple(shape), compressed_axes=(0,))
        return sparse.COO(coords, data, shape=tuple(shape), has_duplicates=False, sorted=True)
    import scipy.sparse

    return canonical(scipy.sparse.coo_array((data, tuple(coords)), shape=tuple(shape)))


def compressed(x: Array) -> Array:
    """SciPy's csr or csc array with the pattern and entries of a matrix, in the same order; of a
    vector as a row."""
    if kind_of(x) is SCIPY and x.ndim == 2:
        return x
    import scipy.sparse

    if hasattr(x, "indptr"):
        made = scipy.sparse.csr_array if by_rows(x) else scipy.sparse.csc_array
        return made((x.data, x.indices, x.indptr), shape=x.shape)
    n = x.shape[0] if x.ndim == 2 else 1
    rows = np.searchsorted(x.coords[0], np.arange(n + 1)) if x.ndim == 2 else [0, len(x.data)]
    return scipy.sparse.csr_array((x.data, x.coords[-1], rows), shape=(n, x.shape[-1]))


# As left operands sparse arrays are asked before a Value is, and would take its numbers. Each
# library has a way to decline.

OPERATORS = {"__matmul__", "__rmatmul__", "__mul__", "__rmul__", "__truediv__"}


def is_asked_by_sparse(frame: FrameType) -> bool:
    """Whether an operator of SciPy's sparse arrays asks for the array behind its right operand.

    Told that there is none, a number that is an object, it leaves the operation to that operand.
    """
    asking: FrameType | None = frame
    while asking and str(asking.f_globals.get("__name__", "")).startswith("scipy.sparse._"):
        if asking.f_code.co_name in OPERATORS:
            return True
        asking = asking.f_back
    return False


def is_asked_by_operator(frame: FrameType) -> bool:
    """Whether one of SciPy's linear operators asks: it has no way to decline."""
    asking: FrameType | None = frame
    while asking and (name := asking.f_globals.get("__name__", "")).startswith("scipy."):
        if name == "scipy.sparse.linalg._interface":
            return True
        asking = asking.f_back
    return False


def as_object(x: Any) -> Any:
    """What NumPy makes of an object that is no array."""
    array = created(np.empty, (), object, like=0)
    array[()] = x
    return array


class Declines:
    """An attribute that PyData's sparse arrays ask their right operand for, and nobody else has.

    Where that is not implemented, their `@` leaves the operation to that operand.
    """

    def __get__(self, value: Any, owner: type) -> Any:
        if str(sys._getframe(1).f_globals.get("__name__", "")).partition(".")[0] == "sparse":
            raise NotImplementedError("sparse does not compute with a Value here: write S @ v")
        raise AttributeError("a Value has no attribute 'fill_value'")


PYDATA, SCIPY, OPERATOR = Sparse(), Sparse(), Operator()
for module in ("sparse.numba_backend", "sparse"):
    for name in ("_coo.core.COO", "_compressed.compressed.GCXS", "_dok.DOK"):
        kinds[f"{module}.{name}"] = PYDATA
for layout in ("bsr", "coo", "csc", "csr", "dia", "dok", "lil"):
    for made in ("array", "matrix"):
        kinds[f"scipy.sparse._{layout}.{layout}_{made}"] = SCIPY
kinds["scipy.sparse.linalg._interface.LinearOperator"] = OPERATOR
