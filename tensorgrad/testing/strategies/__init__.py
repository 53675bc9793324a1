"""Hypothesis strategies for gradient checks: what functions of arrays are tried on.

    from hypothesis import given
    from tensorgrad.testing import strategies as sts

    @given(x=sts.arrays((3, sts.sides())), y=sts.away_from(sts.arrays(), kink=lambda y: y))
    def test(x, y): ...

Built on `hypothesis.extra.numpy`: its strategies of shapes and indices stand here as they are, and
all compose with your own. A failing example shrinks to few, short, distinct numbers (`arrays.py`).
"""

from hypothesis.extra.numpy import (
    array_shapes,
    basic_indices,
    broadcastable_shapes,
    floating_dtypes,
    integer_array_indices,
    mutually_broadcastable_shapes,
    valid_tuple_axes,
)

from tensorgrad.testing.strategies.arrays import arrays, away_from, sides
from tensorgrad.testing.strategies.indexing import axes, indices, permutations
from tensorgrad.testing.strategies.matrices import (
    orthogonal,
    positive_definite,
    probability_vectors,
    well_conditioned,
)

__all__ = [
    "array_shapes",
    "arrays",
    "away_from",
    "axes",
    "basic_indices",
    "broadcastable_shapes",
    "floating_dtypes",
    "indices",
    "integer_array_indices",
    "mutually_broadcastable_shapes",
    "orthogonal",
    "permutations",
    "positive_definite",
    "probability_vectors",
    "sides",
    "valid_tuple_axes",
    "well_conditioned",
]
