"""Matrices with a structure, and vectors of probabilities. `n` is a number or a strategy of them.

Orthogonal matrices are products of Householder reflections 1 - 2vvᵀ / vᵀv of drawn vectors v: of
two or more where they can be told from their transpose; all others are made of them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from tensorgrad.testing.strategies.arrays import (
    ShapeLike,
    Size,
    check_shape,
    drawn,
    drawn_shape,
    entries,
)

Matrix = npt.NDArray[np.float64]
FLOAT64: np.dtype[Any] = np.dtype(np.float64)


def check_size(n: Any) -> None:
    """TypeError or ValueError for what is no number of rows."""
    if n is None or isinstance(n, tuple):
        raise TypeError(f"n={n!r}: pass a number of rows, or a strategy of them")
    check_shape(n)


def check_condition(condition: float) -> None:
    """ValueError for what no matrix has."""
    if not 1 <= condition < math.inf:
        raise ValueError(f"condition={condition}: pass 1 or more, a finite number")


def product_of_reflections(draw: st.DrawFn, n: int, start: int) -> Matrix:
    """An orthogonal matrix of n rows."""
    Q = np.eye(n)
    if not n:
        return Q
    for v in entries(draw, (draw(st.integers(2, n + 1)), n), FLOAT64, -3.0, 3.0, start):
        if v.any():
            Q = Q - np.outer(Q @ v, 2 / (v @ v) * v)
    return Q


def factors(draw: st.DrawFn, n: int, condition: float) -> Matrix:
    """n positive numbers around 1, the largest at most `condition` times the smallest."""
    bound = math.log2(condition) / 2
    powers: Matrix = np.exp2(entries(draw, (n,), FLOAT64, -bound, bound, 0))
    return powers


def orthogonal(n: Size) -> st.SearchStrategy[Matrix]:
    """Orthogonal matrices, (n, n), float64, of either determinant; to rounding, QᵀQ = 1.

    TypeError or ValueError for an `n` that is none.

    >>> from hypothesis import find, given
    >>> @given(orthogonal(3))
    ... def test(Q):
    ...     np.testing.assert_allclose(Q.T @ Q, np.eye(3), atol=1e-12)
    >>> test()
    >>> find(orthogonal(2), lambda Q: True).round(2)
    array([[-0.51,  0.86],
           [-0.86, -0.51]])
    """
    check_size(n)

    @st.composite
    def matrix(draw: st.DrawFn) -> Matrix:
        return product_of_reflections(draw, drawn(draw, n), 0)

    return matrix()


def well_conditioned(n: Size, condition: float = 10) -> st.SearchStrategy[Matrix]:
    """Invertible matrices, (n, n), float64, with condition number (2-norm) up to `condition`.

    UΣVᵀ with orthogonal U and V. ValueError for a condition below 1.

    >>> from hypothesis import given
    >>> @given(well_conditioned(3, condition=100))
    ... def test(A):
    ...     assert np.linalg.cond(A) < 100 * (1 + 1e-9)
    >>> test()
    """
    check_size(n)
    check_condition(condition)

    @st.composite
    def matrix(draw: st.DrawFn) -> Matrix:
        rows = drawn(draw, n)
        U = product_of_reflections(draw, rows, 0)
        return U * factors(draw, rows, condition) @ product_of_reflections(draw, rows, 1)

    return matrix()


def positive_definite(n: Size, condition: float = 10) -> st.SearchStrategy[Matrix]:
    """Symmetric matrices with positive eigenvalues, (n, n), float64, exactly symmetric.

    QΛQᵀ with an orthogonal Q; the condition number is at most `condition`. ValueError for one
    below 1. Eigenvalues may be equal: `away_from` keeps them apart.

    >>> from hypothesis import given
    >>> from tensorgrad.testing.strategies import away_from
    >>> @given(positive_definite(3))
    ... def test(A):
    ...     assert np.array_equal(A, A.T) and np.all(np.linalg.eigvalsh(A) > 0)
    >>> test()
    >>> @given(away_from(positive_definite(2), lambda A: np.diff(np.linalg.eigvalsh(A))))
    ... def test(A):
    ...     low, high = np.linalg.eigvalsh(A)
    ...     assert high - low > 2**-6
    >>> test()
    """
    check_size(n)
    check_condition(condition)

    @st.composite
    def matrix(draw: st.DrawFn) -> Matrix:
        rows = drawn(draw, n)
        Q = product_of_reflections(draw, rows, 0)
        A = Q * factors(draw, rows, condition) @ Q.T
        return (A + A.T) / 2

    return matrix()


def probability_vectors(shape: ShapeLike, axis: int = -1) -> st.SearchStrategy[Matrix]:
    """Positive numbers, float64, that sum to 1 along `axis`; `shape` as in `arrays`.

    None is smaller than about 1 / (16 n): ln p and its derivatives stay tame. ValueError for a
    shape without that axis, or with length 0 along it.

    >>> from hypothesis import find, given
    >>> find(probability_vectors(2), lambda p: True)
    array([0.25, 0.75])
    >>> @given(probability_vectors((2, 3), axis=0))
    ... def test(p):
    ...     np.testing.assert_allclose(p.sum(axis=0), [1, 1, 1])
    >>> test()
    """
    if shape is None:
        raise TypeError("shape=None: pass an int or a shape with an axis to sum over")
    check_shape(shape)

    if not isinstance(shape, st.SearchStrategy):
        check_axis(shape if isinstance(shape, tuple) else (shape,), axis)
    return normalised(shape, axis)


def check_axis(sizes: tuple[Any, ...], axis: int) -> None:
    """ValueError for sizes without that axis, or of length 0 along it."""
    if not -len(sizes) <= axis < len(sizes) or sizes[axis] == 0:
        raise ValueError(f"shape={sizes}, axis={axis}: no probabilities to sum to 1 there")


@st.composite
def normalised(draw: st.DrawFn, shape: ShapeLike, axis: int) -> Matrix:
    """What `probability_vectors` draws."""
    sizes = drawn_shape(draw, shape)
    check_axis(sizes, axis)
    weights: Matrix = entries(draw, sizes, FLOAT64, 0.125, 2.0, 0)
    p: Matrix = weights / weights.sum(axis=axis, keepdims=True)
    return p
