"""c ← β c + α x y in one call: BLAS has it, and NumPy, which brings BLAS, no function for it.

A program that is saved brings this file along, which therefore needs NumPy alone.
"""

import ctypes
import importlib.util
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

NAMES = "scipy_cblas_{}64_", "cblas_{}64_", "cblas_{}$NEWLAPACK$ILP64", "cblas_{}"
"""What the routines are called in the libraries that NumPy is built with, the last one with 32 bits
for a size."""
TYPES = {"f": ("sgemm", ctypes.c_float), "d": ("dgemm", ctypes.c_double)}
ROWS, STRAIGHT, TURNED = map(ctypes.c_int, (101, 111, 112))
MEMORY = ctypes.c_char * 0  # as an argument, where an array starts


def libraries() -> Iterator[ctypes.CDLL]:
    """What may know the routines: NumPy's own, whose symbols include those of the BLAS that it
    loads; and on Windows, where they do not, what its wheel brings along."""
    own = importlib.util.find_spec("numpy._core._multiarray_umath")
    beside = sorted((Path(np.__file__).parents[1] / "numpy.libs").glob("*openblas*"))
    for path in (str(file) for file in (own and own.origin, *beside) if file):
        try:
            library = ctypes.CDLL(path)
        except OSError:
            continue
        yield library


def start_of(x: Any) -> Any:
    """Where an array lies, if its numbers lie in a row."""
    return MEMORY.from_buffer(x) if x is not None and x.flags.carray else None


def rows_at(step: int, char: str) -> Callable[[Any], Any]:
    """What tells where a matrix lies whose rows begin so far apart; TypeError for another one."""
    width = np.dtype(char).itemsize
    strides = step * width, width

    def at(x: Any) -> Any:
        if x.strides != strides:
            raise TypeError
        return MEMORY.from_buffer(x[0])

    return at


@cache
def routine(char: str) -> tuple[Any, Any]:
    """The routine for a dtype, and its type of sizes; None where there is none that multiplies."""
    name = TYPES[char][0]
    for library in libraries():
        for called in NAMES:
            gemm = getattr(library, called.format(name), None)
            if gemm is not None:
                gemm.restype = None
                size = ctypes.c_int if called == NAMES[-1] else ctypes.c_int64
                x, c = np.array([[1, 2], [3, 4]], char), np.ones((2, 2), char)
                onto(gemm, size, (2, 2), 2, char, False, True)(c, -2.0, x, x, 3.0)
                if c.tolist() == [[-7, -19], [-19, -47]]:
                    return gemm, size
    return None, None


def adder(
    shape: tuple[int, int],
    inner: int,
    dtype: str,
    x_turned: bool = False,
    y_turned: bool = False,
    x: Any = None,
    y: Any = None,
    x_step: int = 0,
    y_step: int = 0,
) -> Callable[..., None]:
    """`add(c, alpha, x, y, beta=1)` for matrices of one kind: c, of this shape, becomes
    beta c + alpha x y, with x or y turned.

    `inner`: the length that is summed over; `x`, `y`: arrays, if they are the same at each call;
    `x_step`, `y_step`: how far apart their rows begin, if they are part of wider matrices.
    NumPy's own BLAS does it, or SciPy's where that is not found. Where that is not there either,
    and where an array is not contiguous, or cannot be written into, NumPy multiplies and adds.

    >>> c, x, y = np.ones((2, 3)), np.ones((4, 2)), np.ones((4, 3))
    >>> adder((2, 3), 4, "f8", x_turned=True)(c, -0.5, x, y)
    >>> c
    array([[-1., -1., -1.],
           [-1., -1., -1.]])
    """
    char = np.dtype(dtype).char
    steps = x_step, y_step
    return onto(*routine(char), shape, inner, char, x_turned, y_turned, x, y, steps)


def onto(
    gemm: Any,
    size: Any,
    shape: tuple[int, int],
    inner: int,
    char: str,
    x_turned: bool,
    y_turned: bool,
    always_x: Any = None,
    always_y: Any = None,
    steps: tuple[int, int] = (0, 0),
) -> Callable[..., None]:
    """`adder` with this routine: what does not change is given to it once, 1.5 µs of each call."""

    def plain(c: Any, alpha: Any, x: Any, y: Any, beta: Any = 1) -> None:
        c *= beta
        c += alpha * ((x.T if x_turned else x) @ (y.T if y_turned else y))

    if gemm is None:
        return by_scipy(char, x_turned, y_turned, plain)
    real, at = TYPES[char][1], MEMORY.from_buffer
    one, rows, columns, k = real(1), size(shape[0]), size(shape[1]), size(inner)
    turned = (TURNED if x_turned else STRAIGHT), (TURNED if y_turned else STRAIGHT)
    start = partial(gemm, ROWS, *turned, rows, columns, k)
    x_step, y_step = rows if x_turned else k, k if y_turned else columns
    x_start, y_start = (rows_at(n, char) if n else at for n in steps)
    x_step, y_step = (size(n) if n else own for n, own in zip(steps, (x_step, y_step)))
    x_at, y_at = map(start_of, (always_x, always_y))

    def add(c: Any, alpha: Any, x: Any, y: Any, beta: Any = one) -> None:
        if beta is not one:
            beta = real(beta)
        if not (alpha and beta):  # BLAS forgets what it multiplies by 0, NaN included
            return plain(c, alpha, x, y, beta.value)
        try:
            a = x_start(x) if x_at is None else x_at
            b = y_start(y) if y_at is None else y_at
            start(real(alpha), a, x_step, b, y_step, beta, at(c), columns)
        except TypeError:  # no memory to give away
            plain(c, alpha, x, y, beta.value)

    return add


def by_scipy(
    char: str, x_turned: bool, y_turned: bool, plain: Callable[..., None]
) -> Callable[..., None]:
    """The same by SciPy's BLAS, whose matrices lie by columns: cᵀ ← β cᵀ + α yᵀ xᵀ."""
    try:
        from scipy.linalg import blas
    except ImportError:
        return plain
    gemm = getattr(blas, TYPES[char][0])

    def add(c: Any, alpha: Any, x: Any, y: Any, beta: Any = 1) -> None:
        if c.flags.carray and alpha and beta:
            gemm(alpha, y.T, x.T, beta, c.T, y_turned, x_turned, overwrite_c=True)
        else:
            plain(c, alpha, x, y, beta)

    return add
