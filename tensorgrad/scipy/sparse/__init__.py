"""Sparse matrices of Values: `csr_array`, `csc_array` and `coo_array`, as SciPy has them.

A Value may hold a sparse array of SciPy, `tg.Value(A)`; these make one whose entries are computed,
such as the coefficients of an equation. `linalg` has the solvers.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse

from tensorgrad.engine.node import Array, Handle
from tensorgrad.engine.sparse import numbered, reordered, with_places
from tensorgrad.ops.sparse import added, chosen, joined

if TYPE_CHECKING:
    from tensorgrad.scipy.sparse import linalg

__all__ = ["coo_array", "csc_array", "csr_array", "linalg"]


def __getattr__(name: str) -> Any:
    if name == "linalg":
        return importlib.import_module("tensorgrad.scipy.sparse.linalg")
    raise AttributeError(f"module 'tensorgrad.scipy.sparse' has no attribute {name!r}")


def csr_array(arg: Any, shape: tuple[int, int] | None = None, **settings: Any) -> Any:
    """`scipy.sparse.csr_array`; of `(values, indices, indptr)` or `(values, (rows, columns))` with
    Values, a Value with one entry for each place. What stands in one place is added up.

    >>> from tensorgrad import Value
    >>> v = Value([2.0, 3.0])
    >>> A = csr_array((v, ([0, 1], [1, 0])), shape=(2, 2))
    >>> (A @ np.array([1.0, 10.0])).sum().backward()
    >>> v.grad
    array([10.,  1.])
    """
    return made(scipy.sparse.csr_array, arg, shape, settings)


def csc_array(arg: Any, shape: tuple[int, int] | None = None, **settings: Any) -> Any:
    """`scipy.sparse.csc_array`, with Values as `csr_array`."""
    return made(scipy.sparse.csc_array, arg, shape, settings)


def coo_array(arg: Any, shape: tuple[int, int] | None = None, **settings: Any) -> Any:
    """`scipy.sparse.coo_array`; with Values, `(values, (rows, columns))`, a Value that holds a
    `csr_array`."""
    return made(scipy.sparse.coo_array, arg, shape, settings)


def made(layout: Any, arg: Any, shape: Any, settings: Any) -> Any:
    if not (isinstance(arg, tuple) and arg and isinstance(arg[0], Handle)):
        return layout(arg, shape=shape, **settings)
    values, *places = arg
    given = layout if len(places) == 2 else scipy.sparse.coo_array
    n = np.shape(values)
    if len(n) != 1:
        raise ValueError(f"{layout.__name__}: the values have one axis, not shape {[*n]}")
    dtype = settings.pop("dtype", None)
    if dtype is not None:
        values = values.astype(dtype)
    where: Array = given((np.arange(n[0]), *places), shape=shape, **settings).tocoo()
    rows, columns = where.coords
    at, target = np.unique(rows.astype(np.intp) * where.shape[1] + columns, return_inverse=True)
    entries = added(chosen(values, where.data), len(at), target)
    pattern = with_places(scipy.sparse.csr_array((0, 0)), where.shape, at)
    if layout is scipy.sparse.csc_array:
        order, pattern = reordered(numbered(pattern).tocsc(), pattern)
        entries = chosen(entries, order)
    return joined(entries, pattern)
