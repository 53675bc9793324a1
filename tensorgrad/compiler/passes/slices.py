"""Sums of arrays that are 0 but for a slice, as gradients of `x[1:]` and `x[:-1]` add up."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorgrad.compiler.passes.parts import Region, lengths_of, region_of
from tensorgrad.compiler.passes.rewrite import changed, is_array, rewritten, uses
from tensorgrad.compiler.passes.tidy import dead_code
from tensorgrad.compiler.program import Instruction, Program, sum_of_slices, with_items

Terms = dict[Region, Any]
"""By place: what is there."""


def sums_of_slices(program: Program) -> Program:
    """Arrays that are 0 but for one place, added up: what is in the same place first, then all into
    one array. Only -0. + 0. is another number."""
    read = uses(program)
    read.update(program.guards)

    def terms_of(x: Any) -> Terms | None:
        """What nobody else reads, if it is 0 but for some places."""
        if not is_array(x) or read[x] > 1:
            return None
        if x.function is sum_of_slices:
            return dict(zip(x.args[1], x.args[2]))
        if x.function is not with_items or not zero(x.args[0], x):
            return None
        _, index, value = x.args
        place = region_of(index, x.shape)
        if place is None or not is_array(value) or value.dtype != x.dtype:
            return None
        return {place: value} if value.shape == lengths_of(place) else None

    def rule(i: Instruction) -> Any:
        if i.function is not np.add or i.kwargs or not is_array(i) or i.order:
            return i
        found = [*map(terms_of, i.args)]
        if None in found or any(x.shape != i.shape for x in i.args):
            return i
        terms: Terms = {**found[0]}  # type: ignore[dict-item]
        for place, x in found[1].items():  # type: ignore[union-attr]
            y = terms.get(place)
            both = (y, x)
            terms[place] = x if y is None else Instruction(np.add, both, None, x.shape, x.dtype)
        return changed(i, sum_of_slices, (i.shape, (*terms,), (*terms.values(),)), {})

    return dead_code(rewritten(program, rule, {np.add}))  # no more reads what was added up


def zero(x: Any, like: Instruction) -> bool:
    """Whether all of it is 0; a small array is a constant."""
    made = x.function is np.zeros if is_array(x) else isinstance(x, np.ndarray) and not x.any()
    return made and (x.shape, x.dtype) == (like.shape, like.dtype)
