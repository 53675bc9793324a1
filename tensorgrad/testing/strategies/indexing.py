"""What picks and orders entries: axes, indices of every form, permutations."""

from __future__ import annotations

from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
from hypothesis import strategies as st

from tensorgrad.testing.strategies.arrays import Shape, check_shape


def sizes_of(shape: Any) -> Shape:
    """TypeError unless `shape` is a tuple of ints."""
    if not isinstance(shape, tuple) or any(isinstance(n, st.SearchStrategy) for n in shape):
        raise TypeError(f"shape={shape!r}: pass a tuple of ints, such as x.shape")
    check_shape(shape)
    return shape


def axes(shape: Shape) -> st.SearchStrategy[int | tuple[int, ...] | None]:
    """The `axis=` of a reduction: None, one axis (counted from either end), a tuple of axes.

    Shrinks to None. TypeError or ValueError for what is no shape.

    >>> from hypothesis import find, given
    >>> @given(axes((2, 3, 1)))
    ... def test(axis):
    ...     np.ones((2, 3, 1)).sum(axis=axis)
    >>> test()
    >>> find(axes((2, 3)), lambda axis: isinstance(axis, tuple) and len(axis) == 2)
    (0, 1)
    """
    n = len(sizes_of(shape))
    forms: list[st.SearchStrategy[Any]] = [st.none(), hnp.valid_tuple_axes(n)]
    return st.one_of(*forms[:1], *([st.integers(-n, n - 1)] if n else []), *forms[1:])


def permutations(shape: int | Shape) -> st.SearchStrategy[Any]:
    """Permutations: of n numbers as an index array, or of the axes of a shape as a tuple.

    The first is what `rng.permutation(n)` returns, the second what `np.transpose` takes. Shrinks to
    the identity. TypeError or ValueError for what is neither a number nor a shape.

    >>> from hypothesis import find
    >>> find(permutations(3), lambda p: p[0] != 0)
    array([1, 0, 2])
    >>> find(permutations((2, 3)), lambda axes: axes != (0, 1))
    (1, 0)
    """
    check_shape(shape)
    if isinstance(shape, tuple):
        return st.permutations(range(len(sizes_of(shape)))).map(tuple)
    if not isinstance(shape, (int, np.integer)):
        raise TypeError(f"permutations({shape!r}): pass a number or a shape")
    return st.permutations(range(shape)).map(lambda p: np.array(p, np.intp))


def indices(shape: Shape) -> st.SearchStrategy[Any]:
    """An index `i` of every form for `x[i]`, x of this shape.

    Basic ones (numbers, slices, `...`, None), integer arrays and lists (entries may repeat, and
    count from either end), boolean masks over the first axes, and tuples that mix all of them.
    TypeError or ValueError for what is no shape.

    >>> from hypothesis import find, given
    >>> @given(indices((3, 0, 2)))
    ... def test(i):
    ...     np.ones((3, 0, 2))[i]
    >>> test()
    >>> def repeats(i):
    ...     return isinstance(i, list) and len(set(i)) < len(i)
    >>> find(indices((3, 2)), repeats)
    [0, 0]
    """
    sizes = sizes_of(shape)
    alone: list[st.SearchStrategy[Any]] = [st.just(...), st.none()]
    if sizes:
        alone = [st.slices(sizes[0]), *alone]
    numbers = st.integers(-sizes[0], sizes[0] - 1) if sizes and sizes[0] else st.nothing()
    basic = hnp.basic_indices(sizes, max_dims=len(sizes) + 2, allow_newaxis=True)
    masks = st.integers(min(1, len(sizes)), len(sizes)).flatmap(
        lambda k: hnp.arrays(np.bool, sizes[:k])
    )
    forms = [st.one_of(numbers, *alone), basic, mixed_indices(sizes), masks]
    if not numbers.is_empty:
        forms.append(st.lists(numbers, min_size=1, max_size=4))
        forms.append(hnp.array_shapes(max_dims=2, max_side=3).flatmap(integers_below(sizes[0])))
    return st.one_of(forms)


def integers_below(n: int) -> Any:
    """From a shape to arrays of that shape that index an axis of length n."""
    return lambda shape: hnp.arrays(np.intp, shape, elements=st.integers(-n, n - 1))


@st.composite
def mixed_indices(draw: st.DrawFn, shape: Shape) -> tuple[Any, ...]:
    """For each axis a number, a slice, an integer array or a mask; with `...` and None."""
    whole = draw(hnp.array_shapes(max_dims=2, max_side=2))  # what the arrays broadcast to
    parts: list[Any] = []
    for n in shape:
        form = draw(st.sampled_from(["slice", "int", "array", "mask"] if n else ["slice"]))
        if form == "int":
            parts.append(draw(st.integers(-n, n - 1)))
        elif form == "array":
            partner = hnp.broadcastable_shapes(whole, max_dims=len(whole), max_side=2)
            fits = partner.filter(lambda s: np.broadcast_shapes(s, whole) == whole)
            parts.append(draw(fits.flatmap(integers_below(n))))
        elif form == "mask":  # as many entries as the arrays have along their last axis, or one
            count = draw(st.sampled_from([1, whole[-1]]))
            chosen = draw(st.permutations(range(n)))[: count if count <= n else 1]
            parts.append(np.isin(np.arange(n), chosen))
        else:
            parts.append(draw(st.slices(n)))
    if draw(st.booleans()):  # an ellipsis in the place of some axes, maybe none
        first = draw(st.integers(0, len(parts)))
        last = draw(st.integers(first, len(parts)))
        parts[first:last] = [...]
    elif draw(st.booleans()):  # the last axes are left out
        parts = parts[: draw(st.integers(0, len(parts)))]
    for _ in range(draw(st.integers(0, 2))):
        parts.insert(draw(st.integers(0, len(parts))), None)
    return tuple(parts)
