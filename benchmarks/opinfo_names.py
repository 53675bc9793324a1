"""PyTorch's operations in NumPy's words: the table of opinfo.py."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.special

import tensorgrad.nn.functional as F
from tensorgrad.scipy import linalg, special

Function = Callable[..., Any]
HOMES = {"linalg": np.linalg, "fft": np.fft, "special": special, "functional": F}
ROUND = {"floor": np.floor, "trunc": np.trunc}
OF_ARGUMENTS = "interpolation=method keepdim=keepdims correction=ddof offset=k diagonal=k"
OF_NUMPY = """
    T=transpose bmm=matmul mm=matmul movedim=moveaxis mul=multiply mv=matmul neg=negative
    permute=transpose repeat=tile sgn=sign tensor_split=array_split transpose=swapaxes
    unsqueeze=expand_dims view=reshape
"""
OF_SCIPY = """
    igamma=gammainc igammac=gammaincc lgamma=gammaln mvlgamma=multigammaln
    special.bessel_j0=j0 special.bessel_j1=j1
    special.bessel_y0=y0 special.bessel_y1=y1 special.modified_bessel_i0=i0
    special.modified_bessel_i1=i1 special.modified_bessel_k0=k0 special.modified_bessel_k1=k1
"""


def pairs(names: str) -> dict[str, str]:
    """The names that differ, PyTorch's first."""
    return dict(name.split("=") for name in names.split())


def axes(dim: Any) -> Any:
    """PyTorch's `dim`: [] stands for all."""
    return tuple(dim) or None if isinstance(dim, (list, tuple)) else dim


def reduction(f: Function) -> Function:
    return lambda x, dim=None, keepdim=False, **more: f(x, axis=axes(dim), keepdims=keepdim, **more)


def extremum(f: Function, binary: Function) -> Function:
    def of(x: Any, *args: Any, **more: Any) -> Any:
        static = not args or isinstance(args[0], int)
        return reduction(f)(x, *args, **more) if static else binary(x, *args)

    return of


def spread(f: Function) -> Function:
    def of(x: Any, unbiased: Any = 1, dim: Any = None, correction: Any = None, **more: Any) -> Any:
        return reduction(f)(x, dim, ddof=unbiased if correction is None else correction, **more)

    return of


def along(f: Function) -> Function:
    return lambda x, dim, dtype=None: f(x, axis=dim)


def swapped(f: Function) -> Function:
    return lambda x, y: f(y, x)


def several(f: Function) -> Function:
    return lambda *xs, **how: f(*(xs[0] if isinstance(xs[0], (list, tuple)) else xs), **how)


def fourier(f: Function) -> Function:
    def of(x: Any, s: Any = None, dim: Any = None, norm: str | None = None) -> Any:
        s, dim = ((k,) if isinstance(k, int) else k for k in (s, dim))
        return f(x, s, *([] if dim is None else [dim]), norm=norm)

    return of


def diff(x: Any, n: int, dim: int, *ends: Any) -> Any:
    given = {name: x for name, x in zip(("prepend", "append"), ends) if x is not None}
    return np.diff(x, n, dim, **given)


def gradient(x: Any, spacing: Any = None, dim: Any = None, edge_order: int = 1) -> Any:
    steps = () if spacing is None else spacing if isinstance(spacing, list) else (spacing,)
    return np.gradient(x, *steps, axis=axes(dim), edge_order=edge_order)


def solve(a: Any, b: Any) -> Any:
    vector = np.ndim(b) in (1, np.ndim(a) - 1) and np.shape(b) == np.shape(a)[:-1]
    return np.linalg.solve(a, b[..., None])[..., 0] if vector else np.linalg.solve(a, b)


def triangular(a: Any, b: Any, upper: bool, left: bool = True, unitriangular: bool = False) -> Any:
    if not left:
        return triangular(a.mT, b.mT, not upper, unitriangular=unitriangular).mT
    return linalg.solve_triangular(a, b, lower=not upper, unit_diagonal=unitriangular)


def sort(x: Any, dim: int = -1, descending: bool = False, stable: bool = False) -> Any:
    return -np.sort(-x, axis=dim) if descending else np.sort(x, axis=dim)


def split(x: Any, n: Any, dim: int = 0) -> Any:
    at = np.cumsum(n)[:-1] if isinstance(n, (list, tuple)) else range(n, x.shape[dim], n)
    return np.split(x, at, dim)


OURS: dict[str, Function | None] = {  # what differs by more than the names of arguments
    **{theirs: getattr(np, ours) for theirs, ours in pairs(OF_NUMPY).items()},
    **{theirs: getattr(special, ours) for theirs, ours in pairs(OF_SCIPY).items()},
    **{name: reduction(getattr(np, name)) for name in ("sum", "prod", "mean", "amax", "amin")},
    **{name: reduction(getattr(np, name)) for name in ("nansum", "nanmean")},
    **{name: spread(getattr(np, name)) for name in ("std", "var")},
    **{name: along(getattr(np, name)) for name in ("cumsum", "cumprod")},
    **{name: along(getattr(special, name)) for name in ("softmax", "log_softmax")},
    **{f"fft.{f}": fourier(getattr(np.fft, f)) for f in ("fft2", "fftn", "ifft2", "ifftn")},
    **{f"fft.{f}": fourier(getattr(np.fft, f)) for f in ("rfft2", "rfftn", "irfft2", "irfftn")},
    "__getitem__": operator.getitem,
    **{f"__r{f}__": swapped(getattr(operator, f)) for f in ("add", "sub", "mul", "mod", "pow")},
    "__rmatmul__": swapped(np.matmul),
    "add": lambda x, y, alpha=1: x + alpha * y,
    **{f"atleast_{d}d": several(getattr(np, f"atleast_{d}d")) for d in (1, 2, 3)},
    "cat": lambda xs, dim=0: np.concatenate(xs, axis=dim),
    "clamp": lambda x, min=None, max=None: np.clip(x, min, max),
    "clone": lambda x, **how: np.copy(x),
    "cov": lambda x, correction=1, **weights: np.cov(x, ddof=correction, **weights),
    "cummax": along(np.maximum.accumulate),
    "cummin": along(np.minimum.accumulate),
    "diagonal": lambda x, offset=0, dim1=0, dim2=1: np.diagonal(x, offset, dim1, dim2),
    "diff": diff,
    "div": lambda x, y, rounding_mode="": ROUND.get(rounding_mode, np.positive)(x / y),
    "einsum": lambda xs, how: np.einsum(how, *xs),
    "gather": lambda x, dim, i: np.take_along_axis(x, i, dim),
    "gradient": gradient,
    "index_select": lambda x, dim, i: np.take(x, np.atleast_1d(i), axis=dim),
    "lerp": lambda x, y, w: x + w * (y - x),
    "linalg.cross": lambda x, y, dim=-1: np.cross(x, y, axis=dim),
    "linalg.diagonal": lambda x, offset=0, dim1=-2, dim2=-1: np.diagonal(x, offset, dim1, dim2),
    "linalg.lstsq": lambda a, b, driver: np.linalg.lstsq(a, b),
    "linalg.matrix_norm": lambda x, ord="fro", dim=(-2, -1), keepdim=False: np.linalg.norm(
        x, ord, axes(dim), keepdim
    ),
    "linalg.pinv": lambda x, y=None, rtol=None, hermitian=False: np.linalg.pinv(
        x if y is None else x @ y.mT, rtol, hermitian
    ),
    "linalg.solve": solve,
    "linalg.solve_triangular": triangular,
    "linalg.vander": lambda x, N=None: np.vander(x, N, increasing=True),
    "logcumsumexp": along(np.logaddexp.accumulate),
    "logdet": lambda x: np.linalg.slogdet(x)[1],
    "logit": lambda x, eps=0.0: scipy.special.logit(np.clip(x, eps, 1 - eps) if eps else x),
    "logsumexp": reduction(special.logsumexp),
    "mT": lambda x: x.mT,
    "matrix_exp": linalg.expm,
    "max": extremum(np.max, np.maximum),
    "meshgrid": several(np.meshgrid),
    "min": extremum(np.min, np.minimum),
    "msort": lambda x: np.sort(x, axis=0),
    "polygamma": swapped(special.polygamma),
    "special.polygamma": swapped(special.polygamma),
    "roll": lambda x, shifts, dims=None: np.roll(x, shifts, axes(dims)),
    "rsub": lambda x, y, alpha=1: y - alpha * x,
    "select": lambda x, dim, i: np.take(x, i, axis=dim),
    "sort": sort,
    "special.airy_ai": lambda x: scipy.special.airy(x)[0],
    "split": split,
    "stack": lambda xs, dim=0: np.stack(xs, axis=dim),
    "sub": lambda x, y, alpha=1: x - alpha * y,
    "take_along_dim": lambda x, i, dim=None: np.take_along_axis(x, i, dim),
    "tensordot": lambda x, y, dims: np.tensordot(x, y, dims),
    "trapezoid": lambda y, x=None, dx=1.0, dim=-1: np.trapezoid(y, x, dx, dim),
    "unbind": lambda x, dim=0: np.unstack(x, axis=dim),
    "nn.functional.embedding": lambda w, i, **how: F.embedding(i, w, **how),
    "nn.functional.embedding_bag": lambda w, i, **how: F.embedding_bag(i, w, **how),
    "where": lambda x, condition, y: np.where(condition, x, y),
}


def unsigned(*vectors: int) -> Function:
    """The results that do not depend on the sign or phase of vectors: these in absolute value."""
    return lambda y: [abs(part) if i in vectors else part for i, part in enumerate(y)]


def reduced(y: Any) -> Any:
    k = y[1].shape[-1]  # what is more belongs to no singular value
    return abs(y[0][..., :k]), y[1], abs(y[2][..., :k, :])


OUTCOME = {
    **{"linalg.eigh": unsigned(1), "linalg.eig": unsigned(1), "linalg.qr": unsigned(0, 1)},
    **{"linalg.svd": reduced, "linalg.lstsq": lambda y: y[0]},
}
HERMITIAN = ("linalg.cholesky", "linalg.eigh", "linalg.eigvalsh")  # here both triangles share
LEFT_OUT = {
    "SciPy has no empty stacks, NumPy no axis of a number": (
        r"^linalg.solve_triangular.*\(\(0, \d.*ValueError|^index_select .*\(\(\)"
        r"|^logsumexp.*AxisError|\(\(\), 0, \): Different: value: shape"
    ),
    "another definition (middle of an even number, dtype of the result, branch of a logarithm)": (
        r"^(nan)?median.*value|^(log_)?softmax with_dtype complex|^log(det|sumexp) *complex.*value"
    ),
    "it draws at random": r"dropout_p=0.[1-9]|^nn.functional.multi_head_attention.*False, 0.5",
    "PyTorch's gradient also goes to numbers that another was written over": (
        r"^nn.functional.max_unpool.*gradient: 0, Py"
    ),
    "PyTorch's operation in pieces has no second derivative, and says 0": (
        r"^nn.functional.linear_cross_entropy chunked.*second derivative.*PyTorch's -?0$"
    ),
    "an input without channels, which PyTorch's own layers refuse": r"batch_norm.*\(\(0,\), \(0,\)",
    "PyTorch's own answer is NaN": r"PyTorch's nan",
    "PyTorch computes in float32": r"^cov.*aweights=\(",
    "an entry that another one overwrote has gradient 0": r"max_unpool\dd.*gradient: 0, PyTorch",
    "a stated choice: the norm of 0 has gradient 0": r"^linalg.norm subgradients.*: 0[-+0j]*, Py",
}


def function_of(name: str) -> Function | None:
    """What is called so here, in PyTorch's spelling."""
    if name in OURS:
        return OURS[name]
    *home, last = name.split(".")
    rooms = [HOMES.get(home[-1])] if home else [np, special, F]
    function = next((getattr(room, last) for room in rooms if last in dir(room)), None)
    if not callable(function) or isinstance(function, type):
        return None
    ufunc = isinstance(function, np.ufunc)
    names = () if ufunc else inspect.signature(function).parameters
    axis = "axes" if "axes" in names else "axis"
    spelled = {**pairs(OF_ARGUMENTS), "dim": axis, "dims": axis}
    spelled = {} if home == ["nn", "functional"] else spelled
    return lambda *args, **kw: function(*args, **{spelled.get(k, k): v for k, v in kw.items()})


RANDOM = [
    f"nn.functional.{name}"
    for name in (
        *("dropout", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout", "rrelu"),
        *("fractional_max_pool2d", "fractional_max_pool3d"),
    )
]
