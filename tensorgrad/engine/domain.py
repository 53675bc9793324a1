"""Where a primitive is defined: what a test may draw for its operands and params.

A primitive declares its domain once; the property tests of every primitive follow from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

Shape = tuple[int, ...]


class Domain(NamedTuple):
    """What operands and params a primitive takes.

    `interval`: the range of every entry, or one range per operand where they differ.
    `signature`: core dimensions in NumPy's gufunc notation, `(m,k),(k,n)`; the dimensions before
    them broadcast. By default the primitive's own, or every operand is `()`: all broadcasts. With
    `broadcast=False` only the first operand has more than its core dimensions, or, where there is
    no signature, all share one shape.
    `params`: the calls to try, given the operands' shapes; none where they do not fit together.
    `kink`: zero where the function, or its first derivative, has no derivative (two entries tie,
    say); tests stay off it.
    `complex`: whether complex operands may be drawn.
    `make`: makes operands that belong together or have a structure (a symmetric matrix, say) of
    freely drawn ones; it runs on Values too, and tests differentiate through it.
    `also`: another domain, of calls that this one does not reach.
    """

    interval: tuple[float, float] | tuple[tuple[float, float], ...] = (-3.0, 3.0)
    signature: str | None = None
    broadcast: bool = True
    params: Callable[..., Iterable[Mapping[str, Any]]] = lambda *shapes: ({},)
    kink: Callable[..., Any] | None = None
    complex: bool = False
    make: Callable[..., tuple[Any, ...]] | None = None
    also: Domain | None = None

    def of(self, i: int) -> tuple[float, float]:
        """The interval of operand `i`."""
        first = self.interval[0]
        if isinstance(first, tuple):
            return self.interval[min(i, len(self.interval) - 1)]  # type: ignore[return-value]
        return self.interval  # type: ignore[return-value]


REAL = Domain(complex=True)
POSITIVE = Domain((0.1, 3.0), complex=True)


def ties(x: Any) -> Any:
    """Zero where two entries of `x` are equal: the kink of `max`, `sort`, ..."""
    return np.diff(np.sort(np.ravel(x)))


def with_zeros(x: Any) -> Any:
    """`x` with 0 for every third entry: at random, exact zeros would never be drawn."""
    return x * (np.arange(x.size, 2 * x.size).reshape(x.shape) % 3 != 2)


def axes(shape: Shape) -> Iterable[Mapping[str, Any]]:
    """The calls of a reduction: over everything, each axis, a pair of axes; kept or not."""
    choices: list[Any] = [None, *range(-len(shape), len(shape))]
    choices += [(0, -1)] if len(shape) > 1 else []
    return [{"axis": a, "keepdims": k} for a in choices for k in (False, True)]


def one_axis(shape: Shape) -> Iterable[Mapping[str, Any]]:
    """The calls of a function along one axis."""
    return [{"axis": a} for a in range(-len(shape), len(shape))]
