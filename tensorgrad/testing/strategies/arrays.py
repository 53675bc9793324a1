"""Arrays of real or complex numbers that shrink well, and points away from kinks.

What is the simplest array? To `hypothesis.extra.numpy` it is all zeros; but 0 is where kinks are,
1 hides factors (x² = x), and equal entries are ties and hide a swapped axis. Here entries shrink to
distinct, short numbers that are nothing special: 0.5, -1.5, 2.5, -0.5, ... All of them still occur,
0, 1, both ends of the range and ties among them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import hypothesis.extra.numpy as hnp
import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from tensorgrad.engine.dtypes import is_inexact

T = TypeVar("T")
Shape = tuple[int, ...]
Size = int | st.SearchStrategy[int]
ShapeLike = Size | tuple[Size, ...] | st.SearchStrategy[Shape] | None
DRAWN_ONE_BY_ONE = 50
"""Entries up to here are drawn each by Hypothesis, whose buffer is limited; larger arrays come from
one drawn seed."""
FINE = 256  # parts of half a step
SHIFTS = sorted(
    range(-FINE, FINE + 1), key=lambda k: (-(k & -k) if k else -2 * FINE, abs(k), k < 0)
)
"""What is added to a simple number, in these parts: those that make few digits first."""


def drawn(draw: st.DrawFn, x: Any) -> Any:
    """`x`, drawn where it is a strategy."""
    return draw(x) if isinstance(x, st.SearchStrategy) else x


def drawn_shape(draw: st.DrawFn, shape: ShapeLike) -> Shape:
    """The shape that is meant by None (any small one), a side, a tuple of sides or a strategy."""
    if shape is None:
        return draw(hnp.array_shapes(min_dims=0, max_dims=3, max_side=3))
    given = drawn(draw, shape)
    return tuple(drawn(draw, n) for n in (given if isinstance(given, tuple) else (given,)))


def check_shape(shape: Any) -> None:
    """TypeError or ValueError for what cannot be a shape."""
    for n in shape if isinstance(shape, tuple) else (shape,):
        if n is None or isinstance(n, st.SearchStrategy):
            continue
        if isinstance(n, bool) or not isinstance(n, (int, np.integer)):
            raise TypeError(
                f"shape={shape!r}: pass an int, a tuple of ints, a strategy of these, or None"
            )
        if n < 0:
            raise ValueError(f"shape={shape!r}: sides are 0 or more")


def check_range(low: float, high: float) -> None:
    """ValueError for an empty or endless range."""
    if not math.isfinite(high - low) or low > high:
        raise ValueError(f"low={low}, high={high}: pass two finite numbers, the smaller one as low")


def checked_dtype(dtype: Any) -> np.dtype[Any]:
    """TypeError unless `dtype` has real or complex entries."""
    kind: np.dtype[Any] = np.dtype(dtype)
    if not is_inexact(kind):
        raise TypeError(
            f"dtype={kind}: gradients need real or complex numbers; "
            "hypothesis.extra.numpy.arrays draws the others"
        )
    return kind


@cache
def simple_numbers(low: float, high: float) -> tuple[tuple[float, ...], float]:
    """Short numbers all over the range, the simplest first, and how far apart they are.

    Halves come first, then whole numbers, quarters, and so on; of each the ones with numerator
    1, -3, 5, -7, ... first, so that neighbours differ in magnitude too. 0, 1 and -1 come last.
    """
    if low == high:
        return (low,), 0.0
    step = 2.0 ** math.floor(math.log2((high - low) / 12))

    def multiples(of: float, low: float, high: float) -> set[float]:
        return {k * of for k in range(math.ceil(low / of), math.floor(high / of) + 1)}

    def simplicity(x: float) -> tuple[Any, ...]:
        numerator, denominator = x.as_integer_ratio()
        rank = {2: 0, 1: 1}.get(denominator, denominator)
        return x in (0, 1, -1), rank, numerator % 4 != 1, abs(x), x < 0

    numbers = multiples(step, low, high) | multiples(0.5, max(low, -3), min(high, 3))
    return tuple(sorted(numbers, key=simplicity)), step


def entries(
    draw: st.DrawFn, shape: Shape, dtype: np.dtype[Any], low: float, high: float, start: int
) -> npt.NDArray[Any]:
    """An array: each entry a simple number and a fine shift, which shrinks to 0."""
    numbers, step = simple_numbers(low, high)
    parts = 2 if dtype.kind == "c" else 1
    count = parts * math.prod(shape)
    places = st.sampled_from(range(len(numbers)))
    fine = st.integers(0, 2 * len(SHIFTS))  # beyond the end: no shift either, for half of all
    which: list[int] = []
    shifts: list[int] = []
    used: set[int] = set()

    def unused(place: int) -> bool:
        return place not in used

    if count <= DRAWN_ONE_BY_ONE:
        ties = draw(st.booleans())
        for i in range(count):
            shifts.append(draw(fine))  # the shift first: it shrinks first
            place = draw(places)
            used = set() if ties else set(which[i - i % len(numbers) :])
            which.append(draw(places.filter(unused)) if place in used else place)
    else:
        rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        shifts = rng.integers(0, 2 * len(SHIFTS), count).tolist()
        which = rng.integers(0, len(numbers), count).tolist()
    fractions = [SHIFTS[k] if k < len(SHIFTS) else 0 for k in shifts]
    simple = [numbers[(start + w) % len(numbers)] for w in which]
    x = np.clip(np.array(simple) + np.array(fractions) * (step / 2 / FINE), low, high)
    if parts == 2:
        return (x[::2] + 1j * x[1::2]).astype(dtype).reshape(shape)
    ends = np.array([low, high], dtype)  # rounded, they may lie outside
    ends = np.where(
        [ends[0] < low, ends[1] > high], np.nextafter(ends, ends[::-1], dtype=dtype), ends
    )
    rounded: npt.NDArray[Any] = np.clip(x.astype(dtype), *ends)
    return rounded.reshape(shape)


def arrays(
    shape: ShapeLike = None,
    dtype: Any = np.float64,
    low: float = -3.0,
    high: float = 3.0,
    *,
    start: int = 0,
) -> st.SearchStrategy[npt.NDArray[Any]]:
    """Arrays with entries from `low` to `high`, both ends included.

    `shape`: an int, a tuple of ints and strategies of ints, a strategy of shapes; None for all
    small shapes, () included. `dtype`: a real or complex dtype, or a strategy of them; the range
    holds for the real and the imaginary part. `start`: the place of the first entry in the list of
    simple numbers that entries shrink to; with different starts two arrays shrink to different
    ones. Numbers have few binary digits, so that float32 holds the very ones that float64 does
    (but for ends of the range that it does not). Up to 50 entries shrink one by one; larger arrays
    come from a drawn seed.

    ValueError for a range that is empty or endless, TypeError for another dtype or shape.

    >>> from hypothesis import find, given, strategies as st
    >>> find(arrays((2, 3)), lambda x: True)
    array([[ 0.5, -1.5,  2.5],
           [-0.5,  1.5, -2.5]])
    >>> find(arrays(dtype=st.sampled_from([np.float64, np.float32])), lambda x: np.any(x < 0))
    array(-1.5)
    >>> @given(arrays((3, sides()), low=0, high=1))
    ... def test(x):
    ...     assert x.shape[0] == 3 and np.all((x >= 0) & (x <= 1))
    >>> test()
    """
    check_shape(shape)
    check_range(low, high)
    kind = dtype if isinstance(dtype, st.SearchStrategy) else checked_dtype(dtype)
    return array(shape, kind, low, high, start)


@st.composite  # here and not in `arrays`: to make one takes longer than to draw from it
def array(
    draw: st.DrawFn, shape: ShapeLike, dtype: Any, low: float, high: float, start: int
) -> npt.NDArray[Any]:
    """What `arrays` draws."""
    sizes = drawn_shape(draw, shape)
    return entries(draw, sizes, checked_dtype(drawn(draw, dtype)), low, high, start)


def sides(min_side: int = 1, max_side: int = 4) -> st.SearchStrategy[int]:
    """The length of an axis: what `arrays` takes in a shape. Shrinks to `min_side`.

    ValueError unless 0 <= min_side <= max_side.

    >>> from hypothesis import find
    >>> find(arrays((2, sides(min_side=0))), lambda x: True).shape
    (2, 0)
    """
    if not 0 <= min_side <= max_side:
        raise ValueError(
            f"sides({min_side}, {max_side}): pass two ints with 0 <= min_side <= max_side"
        )
    return st.integers(min_side, max_side)


def away_from(
    strategy: st.SearchStrategy[T], kink: Callable[..., Any], margin: float = 2.0**-6
) -> st.SearchStrategy[T]:
    """What `strategy` draws, if `kink` of it is more than `margin` from 0, entry by entry.

    `kink`: a function that is 0 where there is no derivative, as in a primitive's `Domain`: `x - 1`
    for a kink at 1, `np.diff(np.sort(x))` where equal entries are one. It returns a number or an
    array of any shape. Of a drawn tuple or list, each element is one argument of `kink`.

    TypeError unless `strategy` is one and `kink` a function; ValueError for a negative margin.

    >>> from hypothesis import find, given
    >>> find(away_from(arrays(()), lambda x: x - 0.5), lambda x: True)
    array(-1.5)
    >>> @given(away_from(st.tuples(arrays((2,)), arrays((2,))), lambda x, y: x - y, margin=0.1))
    ... def test(pair):
    ...     x, y = pair
    ...     assert np.all(np.abs(x - y) > 0.1)
    >>> test()
    """
    if not isinstance(strategy, st.SearchStrategy):
        raise TypeError(f"away_from: pass a strategy such as arrays() first, not {strategy!r}")
    if not callable(kink):
        raise TypeError(f"kink={kink!r}: pass a function that is 0 at a kink")
    if not margin >= 0:
        raise ValueError(f"margin={margin}: pass 0 or more")

    def clear(x: T) -> bool:
        xs = x if isinstance(x, (tuple, list)) else (x,)
        return bool(np.all(np.abs(kink(*xs)) > margin))

    return strategy.filter(clear)
