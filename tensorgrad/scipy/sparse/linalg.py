"""Sparse linear systems, A x = b: the cotangent of b solves the transposed one, Aᵀ λ = g, and that
of A is -λᵢ xⱼ where A has entries.

Names and arguments are SciPy's, whose functions turn their operands into arrays first. A is a
sparse array, a Value that holds one, or, for what iterates, a linear operator.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.sparse import linalg

from tensorgrad.engine.arrays import as_array
from tensorgrad.engine.care import whole
from tensorgrad.engine.node import Array, Handle, data_of
from tensorgrad.engine.primitive import Primitive, apply
from tensorgrad.engine.sparse import is_operator, is_sparse, with_entries
from tensorgrad.ops.linalg import matmul
from tensorgrad.ops.sparse import columns, matrix_of, reshaped, sampled_by

__all__ = ["aslinearoperator", "bicgstab", "cg", "factorized", "gmres", "splu", "spsolve"]


# By a factorisation.


class Factors:
    """The LU factors of a matrix with a pattern, kept for the entries that they were made of."""

    def __init__(self, pattern: Array, settings: dict[str, Any]) -> None:
        self.pattern, self.settings = pattern, settings
        self.values, self.made_of = pattern.data, (0, pattern.dtype)
        self.lu: Any = None

    def solve(self, values: Array, b: Array, transpose: bool) -> Array:
        dtype = np.result_type(values, b, np.float32)
        if not b.size:
            return b.astype(dtype)
        made_of = values.__array_interface__["data"][0], dtype
        if self.lu is None or self.made_of != made_of:
            a = with_entries(self.pattern, values.astype(dtype))
            try:
                # SuperLU works by columns: what is stored by rows is taken for its transpose
                self.lu = linalg.splu(a if a.format == "csc" else a.T, **self.settings)
            except RuntimeError as error:
                raise np.linalg.LinAlgError(f"the sparse matrix is singular: {error}") from None
            self.values, self.made_of = values, made_of  # held: nothing else lies there
        turned = transpose != (self.pattern.format == "csr")
        x: Array = self.lu.solve(b.astype(dtype), "T" if turned else "N")
        return x


def by_entries(
    g: Array, out: Array, values: Array, b: Array, factors: Any = None, transpose: bool = False
) -> Array:
    adjoint = by_right_side(g, out, values, b, factors, transpose)
    left, right = (out, adjoint) if transpose else (adjoint, out)
    return -sampled_by(left, right, factors.pattern)


def by_right_side(
    g: Array, out: Array, values: Array, b: Array, factors: Any = None, transpose: bool = False
) -> Array:
    params = {"factors": factors, "transpose": not transpose}
    return apply(sparse_solve, (values, g), params)


def solved(values: Array, b: Array, factors: Any = None, transpose: bool = False) -> Array:
    x: Array = factors.solve(values, b, transpose)
    return x


sparse_solve = Primitive(
    solved,
    (by_entries, by_right_side),
    "sparse_solve",
    notation="{0}^{{-1}} {1}",
    care=whole,
    batch=columns,
)


class Solver:
    """What `splu` returns: a factorised matrix."""

    def __init__(self, name: str, a: Any, settings: dict[str, Any]) -> None:
        self.name = name
        self.values, pattern = system(name, a)
        self.factors = Factors(pattern, settings)
        self.shape = pattern.shape

    def solve(self, rhs: Array, trans: str = "N") -> Array:
        """The x with A x = rhs, (n,) or (n, k); with `trans` "T" or "H" of Aᵀ or Aᴴ."""
        if trans not in ("N", "T", "H"):
            raise ValueError(f"{self.name}: trans={trans!r}; there are 'N', 'T' and 'H'")
        b = right_side(self.name, rhs, self.shape[0])
        n = np.shape(data_of(b))
        b = np.conjugate(b) if trans == "H" else b
        column = reshaped(b, (n[0], 1)) if len(n) == 1 else b
        params = {"factors": self.factors, "transpose": trans != "N"}
        x = reshaped(apply(sparse_solve, (self.values, column), params), n)
        return np.conjugate(x) if trans == "H" else x


def spsolve(A: Any, b: Array, permc_spec: str | None = None, use_umfpack: bool = True) -> Array:
    """`scipy.sparse.linalg.spsolve`: the x with A x = b, by an LU factorisation (SuperLU's, also
    with `use_umfpack`), which the gradient uses again.

    `A`: (n, n), sparse, or a Value that holds one. `b`: (n,) or (n, k), dense; of (n, 1) the result
    is (n,), as SciPy's. ValueError for other shapes, LinAlgError where A is singular.

    >>> import scipy.sparse
    >>> from tensorgrad import Value
    >>> A, b = Value(scipy.sparse.csr_array([[2.0, 1.0], [0.0, 4.0]])), Value([4.0, 8.0])
    >>> x = spsolve(A, b)
    >>> x.data
    array([1., 2.])
    >>> x.sum().backward()
    >>> b.grad
    array([0.5  , 0.125])
    >>> A.grad.toarray()
    array([[-0.5 , -1.  ],
           [ 0.  , -0.25]])
    """
    x = Solver("spsolve", A, {"permc_spec": permc_spec}).solve(b)
    n = np.shape(data_of(x))
    return reshaped(x, n[:1]) if n[1:] == (1,) else x


def splu(A: Any, permc_spec: str | None = None, **settings: Any) -> Solver:
    """`scipy.sparse.linalg.splu`: A, factorised once, with a method `solve(b, trans="N")`.

    >>> import scipy.sparse
    >>> from tensorgrad import Value
    >>> lu = splu(scipy.sparse.csc_array([[2.0, 0.0], [0.0, 4.0]]))
    >>> b = Value([2.0, 4.0])
    >>> (lu.solve(b) + lu.solve(2 * b)).sum().backward()
    >>> b.grad
    array([1.5 , 0.75])
    """
    return Solver("splu", A, {"permc_spec": permc_spec, **settings})


def factorized(A: Any) -> Callable[[Array], Array]:
    """`scipy.sparse.linalg.factorized`: the function b ↦ x with A x = b."""
    return Solver("factorized", A, {}).solve


def system(name: str, a: Any) -> tuple[Array, Array]:
    """The entries and the pattern of a square sparse matrix."""
    if not is_sparse(a):
        raise TypeError(f"{name}: A is a sparse array, not {type(a).__name__}: np.linalg.solve")
    n = data_of(a).shape
    if len(n) != 2 or n[0] != n[1]:
        raise ValueError(f"{name}: A is a square matrix, not of shape {[*n]}")
    return matrix_of(a)


def right_side(name: str, b: Any, n: int) -> Array:
    """b of A x = b, dense, for n equations."""
    if is_sparse(b):
        raise NotImplementedError(f"{name}: a sparse right side has a dense solution: b.todense()")
    b = b if isinstance(b, Handle) else as_array(b)
    shape = np.shape(data_of(b))
    if not 1 <= len(shape) <= 2 or shape[0] != n:
        raise ValueError(f"{name}: A is ({n}, {n}), and b of shape {[*shape]}")
    return b


# By iteration.


class Iteration:
    """A method of SciPy's and its settings, and how its last call ended."""

    def __init__(self, method: str, settings: dict[str, Any]) -> None:
        self.method, self.settings = method, settings
        self.info = 0
        self.is_adjoint = False

    @property
    def is_hermitian(self) -> bool:
        """Whether the method takes A and M to be Hermitian."""
        return self.method == "cg"

    def run(self, a: Any, b: Array) -> Array:
        x, info = getattr(linalg, self.method)(a, b, **self.settings)
        self.info = info if info < 0 else max(info, self.info)
        if info and self.is_adjoint:
            warnings.warn(
                f"{self.method} did not converge to rtol={self.settings['rtol']:g} in a gradient "
                f"(info={info}): pass a larger maxiter, or a preconditioner M",
                RuntimeWarning,
                stacklevel=2,
            )
        found: Array = x
        return found

    def adjoint(self, b: Array) -> Iteration:
        """That of the transposed system: as exact, relative to its own right side, as this one was
        to `b`."""
        settings = {**self.settings, "x0": None, "callback": None, "atol": 0.0}
        size = float(np.linalg.norm(data_of(b))) if self.settings["atol"] else 1.0
        if size:
            settings["rtol"] = max(settings["rtol"], self.settings["atol"] / size)
        settings["M"] = transposed(settings["M"], self.is_hermitian)
        made = Iteration(self.method, settings)
        made.is_adjoint = True
        return made


def transposed(a: Any, hermitian: bool) -> Any:
    """Aᵀ, for what SciPy iterates with; of what is Hermitian, conj A, which needs no rmatvec."""
    if a is None or not (is_operator(a) and hermitian):
        return a if a is None else a.T
    if np.dtype(a.dtype).kind != "c":
        return a
    return linalg.LinearOperator(
        a.shape, lambda v: np.conjugate(a.matvec(np.conjugate(v))), dtype=a.dtype
    )


def iterated(values: Array, b: Array, a: Any = None, how: Any = None) -> Array:
    """The solution, for the entries of a pattern `a`, or for an operator `a` without entries."""
    x: Array = how.run(a if is_operator(a) else with_entries(a, values), b)
    return x


def adjoint_of(g: Array, values: Array, b: Array, a: Any, how: Any) -> Array:
    turned = transposed(a, how.is_hermitian)
    try:
        return apply(iterative_solve, (values, g), {"a": turned, "how": how.adjoint(b)})
    except NotImplementedError as error:
        raise NotImplementedError(
            f"{how.method}: the gradient solves the transposed system, and needs the rmatvec of A "
            f"and M ({error})"
        ) from None


def by_iterated_entries(
    g: Array, out: Array, values: Array, b: Array, a: Any = None, how: Any = None
) -> Array:
    adjoint = adjoint_of(g, values, b, a, how)
    n = np.shape(b)[0]
    return -sampled_by(reshaped(adjoint, (n, 1)), reshaped(out, (n, 1)), a)


iterative_solve = Primitive(
    iterated,
    (
        by_iterated_entries,
        lambda g, out, values, b, a=None, how=None: adjoint_of(g, values, b, a, how),
    ),
    "iterative_solve",
    notation="{0}^{{-1}} {1}",
)


def iterate(method: str, A: Any, b: Any, **settings: Any) -> tuple[Array, int]:
    values: Array = 0.0
    if is_operator(A):
        if A.shape[0] != A.shape[1]:
            raise ValueError(f"{method}: A is a square operator, not of shape {[*A.shape]}")
        pattern = A
    else:
        values, pattern = system(method, A)
    n = pattern.shape[0]
    b = right_side(method, b, n)
    if np.shape(data_of(b)) not in ((n,), (n, 1)):
        raise ValueError(f"{method}: b is one right side, (n,): of several use tg.vmap")
    x0 = data_of(settings.get("x0"))
    settings = {**settings, "x0": x0, "M": data_of(settings["M"])}
    how = Iteration(method, settings)
    x = apply(iterative_solve, (values, reshaped(b, (n,))), {"a": pattern, "how": how})
    return x, how.info


def cg(
    A: Any,
    b: Array,
    x0: Array | None = None,
    *,
    rtol: float = 1e-5,
    atol: float = 0.0,
    maxiter: int | None = None,
    M: Any = None,
    callback: Callable[[Array], object] | None = None,
) -> tuple[Array, int]:
    """`scipy.sparse.linalg.cg`: x with A x = b, by conjugate gradients; and SciPy's `info`, which
    is 0 where it converged, and otherwise the number of iterations.

    `A`: (n, n), Hermitian and positive definite, which nobody checks: sparse, a Value that holds
    one, or a linear operator. `b`: (n,). `x0`, where to begin, and `M` are constants.
    The gradient solves Aᵀ λ = g with the same method and the same relative tolerance, so it is off
    by about `rtol` too; a RuntimeWarning says where that did not converge.

    >>> import scipy.sparse
    >>> from tensorgrad import Value
    >>> b = Value([2.0, 4.0])
    >>> x, info = cg(scipy.sparse.csr_array([[2.0, 0.0], [0.0, 4.0]]), b, rtol=1e-10)
    >>> x.sum().backward()
    >>> info, b.grad.round(6)
    (0, array([0.5 , 0.25]))
    """
    how = {"rtol": rtol, "atol": atol, "maxiter": maxiter, "callback": callback}
    return iterate("cg", A, b, x0=x0, M=M, **how)


def bicgstab(
    A: Any,
    b: Array,
    x0: Array | None = None,
    *,
    rtol: float = 1e-5,
    atol: float = 0.0,
    maxiter: int | None = None,
    M: Any = None,
    callback: Callable[[Array], object] | None = None,
) -> tuple[Array, int]:
    """`scipy.sparse.linalg.bicgstab`, as `cg`, for any A; an operator needs its `rmatvec`. It may
    break down where few entries of b, or of a cotangent, are not 0: info < 0, and a warning."""
    how = {"rtol": rtol, "atol": atol, "maxiter": maxiter, "callback": callback}
    return iterate("bicgstab", A, b, x0=x0, M=M, **how)


def gmres(
    A: Any,
    b: Array,
    x0: Array | None = None,
    *,
    rtol: float = 1e-5,
    atol: float = 0.0,
    restart: int | None = None,
    maxiter: int | None = None,
    M: Any = None,
    callback: Callable[[Any], object] | None = None,
    callback_type: str | None = None,
) -> tuple[Array, int]:
    """`scipy.sparse.linalg.gmres`, as `cg`, for any A; an operator needs its `rmatvec`."""
    how = {"rtol": rtol, "atol": atol, "maxiter": maxiter, "callback": callback}
    more = {"restart": restart, "callback_type": callback_type}
    return iterate("gmres", A, b, x0=x0, M=M, **how, **more)


# Linear operators.


class Map(linalg.LinearOperator):  # type: ignore[misc]
    """A linear operator of SciPy's that leaves a product with a Value to its rule."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner.dtype, inner.shape)
        self.inner = inner

    def dot(self, x: Any) -> Any:
        return apply(matmul, (self, x), {}) if isinstance(x, Handle) else super().dot(x)

    def _matvec(self, x: Array) -> Array:
        return self.inner.matvec(x)

    def _matmat(self, x: Array) -> Array:
        return self.inner.matmat(x)

    def _rmatvec(self, x: Array) -> Array:
        return self.inner.rmatvec(x)

    def _rmatmat(self, x: Array) -> Array:
        return self.inner.rmatmat(x)

    def _transpose(self) -> Map:
        return Map(super()._transpose())

    def _adjoint(self) -> Map:
        return Map(super()._adjoint())


def aslinearoperator(A: Any) -> Any:
    """`scipy.sparse.linalg.aslinearoperator`, of which `L @ v` and `v @ L` have gradients by v.

    SciPy's own takes the numbers of `v`; so make one of ours of it. The gradient asks for `rmatvec`
    or `rmatmat`; NotImplementedError where there is none.

    >>> from tensorgrad import Value
    >>> L = linalg.LinearOperator((2, 3), lambda v: v[:2], rmatvec=lambda u: np.append(u, 0.0))
    >>> v = Value([1.0, 2.0, 3.0])
    >>> (aslinearoperator(L) @ v).sum().backward()
    >>> v.grad
    array([1., 1., 0.])
    """
    if isinstance(A, Handle):
        raise TypeError("a linear operator is a constant: multiply with the Value itself, A @ v")
    return A if isinstance(A, Map) else Map(linalg.aslinearoperator(A))
