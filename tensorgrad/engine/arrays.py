"""Kinds of array: what an operand may be besides NumPy's own, and how it is computed with.

NumPy's arrays and numbers, the `PLAIN` ones, need no table: an operation on them is its forward. A
kind of array that is none of these is a row of `kinds`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tensorgrad.engine.node import Array, Handle
from tensorgrad.engine.rules import Reading

if TYPE_CHECKING:
    from tensorgrad.engine.primitive import Primitive

SCALARS = frozenset(np.sctypeDict.values())
PLAIN = SCALARS | {np.ndarray, bool, int, float, complex}


class Kind(NamedTuple):
    """How arrays of one kind are computed with.

    `run`: the result of a primitive on operands and params among which there is such an array; by
    default its forward, for arrays that speak NumPy's protocols. `rank`: the kind of the highest
    rank runs the operation; two of one rank do not mix. `readings`: what stands between a sweep and
    the rules of a node that holds one. `alone`: whether it may be held without a Value around it.
    `numbers`: whether its numbers are there to be looked at.
    """

    run: Callable[[Primitive, Sequence[Array], Mapping[str, Any]], Array] | None = None
    rank: int = 0
    readings: tuple[Reading, ...] = ()
    alone: bool = True
    numbers: bool = True


kinds: dict[type | str, Kind] = {}
"""The rows, by type, or by its full name where that belongs to a library not loaded yet."""


met: set[type] = set()
"""The types of such arrays that were met so far: until there is one, no operation looks for any."""


def kind_of(x: Any) -> Kind | None:
    """The row of `x`; None for NumPy's own arrays, and for what is no array."""
    made = type(x)
    if made in PLAIN:
        return None
    kind = kinds.get(made) or kinds.get(f"{made.__module__}.{made.__qualname__}")
    if kind is not None:
        met.add(made)
        kinds[made] = kind
    return kind


def kinds_in(xs: Any) -> list[Kind]:
    """The kinds of the arrays among `xs`, also inside lists, tuples and mappings."""
    found: list[Kind] = []
    for x in xs.values() if isinstance(xs, Mapping) else xs:
        kind = kind_of(x)
        if kind is not None:
            found.append(kind)
        elif type(x) in (list, tuple, dict):
            found += kinds_in(x)
    return found


def run(op: Primitive, inputs: Sequence[Array], params: Mapping[str, Any]) -> Array:
    """The result of `op`, whatever kinds of array it is given."""
    kind = max(kinds_in((*inputs, params)), key=lambda kind: kind.rank, default=None)
    if kind is None or kind.run is None:
        return op.forward(*inputs, **params)
    return kind.run(op, inputs, params)


def has_numbers(x: Array) -> bool:
    """Whether the numbers of an array, or of what a Value holds, can be looked at."""
    kind = kind_of(x.node.data if isinstance(x, Handle) else x)
    return kind is None or kind.numbers
