"""Shapes that belong together: of matrix products, of `np.einsum`, of convolutions.

Shapes that broadcast are drawn by `hypothesis.extra.numpy.mutually_broadcastable_shapes`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
from hypothesis import strategies as st

from tensorgrad.testing.strategies.arrays import Shape, sides

Lengths = tuple[int, ...]


def matmul_shapes(
    *, max_dims: int = 1, min_side: int = 1, max_side: int = 3
) -> st.SearchStrategy[tuple[Shape, Shape]]:
    """Shapes of x and y for `x @ y`: vectors, matrices, stacks that broadcast.

    `max_dims`: how many axes there may be before those of the matrices.
    ValueError unless max_dims >= 0 and 0 <= min_side <= max_side.

    >>> from hypothesis import find, given
    >>> @given(matmul_shapes())
    ... def test(shapes):
    ...     x, y = map(np.ones, shapes)
    ...     x @ y
    >>> test()
    >>> find(matmul_shapes(), lambda shapes: len(shapes[0]) == 3)
    ((1, 1, 1), (1,))
    """
    if max_dims < 0:
        raise ValueError(f"max_dims={max_dims}: pass 0 or more")
    sides(min_side, max_side)  # the ValueError
    both = hnp.mutually_broadcastable_shapes(
        signature=np.matmul.signature, max_dims=max_dims, min_side=min_side, max_side=max_side
    )
    return both.map(lambda drawn: (drawn.input_shapes[0], drawn.input_shapes[1]))


def einsum_calls(
    *, max_operands: int = 3, min_side: int = 1, max_side: int = 3
) -> st.SearchStrategy[tuple[str, tuple[Shape, ...]]]:
    """Subscripts for `np.einsum`, and shapes of operands that fit them.

    Sums, products, traces and diagonals (a letter twice), transposes, an ellipsis that broadcasts,
    results that are implied. ValueError unless max_operands >= 1 and 0 <= min_side <= max_side.

    >>> from hypothesis import find, given
    >>> @given(einsum_calls())
    ... def test(call):
    ...     subscripts, shapes = call
    ...     np.einsum(subscripts, *map(np.ones, shapes))
    >>> test()
    >>> find(einsum_calls(), lambda call: "..." in call[0] and call[0].endswith("i"))
    ('...i', ((1,),))
    """
    if max_operands < 1:
        raise ValueError(f"max_operands={max_operands}: pass 1 or more")
    lengths = sides(min_side, max_side)

    words = st.sampled_from([w for n in range(4) for w in itertools.product("ijk", repeat=n)])
    dots = st.sampled_from([None, 0, 1, 2, 3])  # an ellipsis, behind how many letters

    @st.composite
    def call(draw: st.DrawFn) -> tuple[str, tuple[Shape, ...]]:
        terms = draw(st.lists(st.tuples(words, dots), min_size=1, max_size=max_operands))
        size = {letter: draw(lengths) for letter in "ijk"}
        batches = draw(
            hnp.mutually_broadcastable_shapes(
                num_shapes=len(terms), max_dims=2, min_side=min_side, max_side=max_side
            )
        ).input_shapes

        def written(letters: Sequence[str], place: int | None) -> str:
            return "".join(
                letters if place is None else [*letters[:place], "...", *letters[place:]]
            )

        subscripts = ",".join(written(*term) for term in terms) or "i"
        shapes = tuple(
            (*(size[c] for c in letters[:place]), *batch, *(size[c] for c in letters[place:]))
            if place is not None
            else tuple(size[c] for c in letters)
            for (letters, place), batch in zip(terms, batches)
        )
        if subscripts == "i":  # NumPy takes no empty subscripts
            shapes = ((size["i"],),)
        result = draw(st.none() | st.permutations(sorted(set("".join(subscripts)) - set(".,"))))
        if result is not None:
            kept = result[: draw(st.integers(0, len(result)))]
            place = draw(st.integers(0, 3)) if "..." in subscripts else None
            subscripts += "->" + written(kept, place)
        return subscripts, shapes

    return call()


def conv_shapes(
    ndim: int = 2, *, max_side: int = 3
) -> st.SearchStrategy[tuple[Shape, Shape, dict[str, Any]]]:
    """Shapes of an input and a kernel that convolve, and stride, padding, dilation and groups.

    In PyTorch's layout: the input is (N, C, H, W), the kernel (out channels, C / groups, kH, kW),
    for `ndim` = 2; the dict goes as keywords to `conv1d`, `conv2d`, `conv3d`. `max_side`: of the
    kernel, the batch and the result. ValueError unless `ndim` and `max_side` are 1 or more.

    >>> from hypothesis import find
    >>> x, kernel, options = find(conv_shapes(), lambda call: call[1] == (2, 1, 1, 2))
    >>> x
    (1, 1, 1, 2)
    >>> options
    {'stride': (1, 1), 'padding': (0, 0), 'dilation': (1, 1), 'groups': 1}
    """
    if ndim < 1 or max_side < 1:
        raise ValueError(f"conv_shapes({ndim}, max_side={max_side}): pass 1 or more for both")

    @st.composite
    def call(draw: st.DrawFn) -> tuple[Shape, Shape, dict[str, Any]]:
        def each(low: int, high: int) -> Lengths:
            return tuple(draw(st.integers(low, high)) for _ in range(ndim))

        batch, result = draw(st.integers(1, max_side)), each(1, max_side)
        groups, per_group, filters = (draw(st.integers(1, 2)) for _ in range(3))
        kernel, stride, padding, dilation = each(1, max_side), each(1, 2), each(0, 1), each(1, 2)
        rest = each(0, 1)  # of the input, which a stride may leave over
        size = [
            max(1, (n - 1) * s + d * (k - 1) + 1 - 2 * p + r)
            for n, s, d, k, p, r in zip(result, stride, dilation, kernel, padding, rest)
        ]
        options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        return (
            (batch, groups * per_group, *size),
            (groups * filters, per_group, *kernel),
            options,
        )

    return call()
